"""The heads alone say what the whole walk-forward says, and a variant of the catalogue sees only its own features."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pandas as pd
import pytest

from features.contracts import EVENTS
from features.errors import DataContractError
from tests import small
from training.ablation import FULL, ablation_markdown, ablation_table, variants
from training.heads_walk import Start, heads_walk, with_features
from training.scores import log_loss

_P = [f"p_{event}{end}" for event in EVENTS for end in ("", "_base", "_lo", "_hi")]


@lru_cache(maxsize=1)
def start() -> Start:
    walked = small.walked()
    volatility = {bundle.cut: bundle.volatility for bundle in walked.bundles}
    return Start(volatility, walked.base[[f"{event}_implied" for event in EVENTS]])


@lru_cache(maxsize=1)
def alone() -> pd.DataFrame:
    return heads_walk(small.dataset(), small.plan(), start(), jobs=1)[0]


def test_the_probabilities_are_those_of_the_whole_walk_forward() -> None:
    keys = ["pair", "decision_date", "horizon_weeks"]
    whole = small.walked().forecasts.set_index(keys).sort_index()
    found = alone().set_index(keys).sort_index()
    assert found.index.equals(whole.index)
    np.testing.assert_allclose(found[_P].to_numpy(np.float64), whole[_P].to_numpy(np.float64), atol=1e-12)


def test_until_leaves_later_weeks_out_and_changes_no_earlier_one() -> None:
    until = np.unique(alone()["decision_date"].to_numpy("datetime64[us]"))[40]
    part, bundles = heads_walk(small.dataset(), small.plan(), start(), jobs=1, until=until)
    whole = alone()
    whole = whole[whole["decision_date"] <= pd.Timestamp(until)].reset_index(drop=True)
    np.testing.assert_allclose(part[_P].to_numpy(np.float64), whole[_P].to_numpy(np.float64), atol=1e-12)
    assert max(bundle.cut for bundle in bundles) <= until
    with pytest.raises(DataContractError, match="nothing to forecast"):
        heads_walk(small.dataset(), small.plan(), start(), jobs=1, until=np.datetime64("2001-01-01", "us"))


def test_a_variant_sees_its_own_features_only() -> None:
    data = small.dataset()
    chosen = variants(data)
    families = {info.family for info in data.features}
    assert set(chosen) >= {FULL, "no driver", *(f"without {family}" for family in families)}
    some = with_features(data, chosen["without style"])
    assert [info.name for info in some.features] == list(some.values) == list(some.known_at) == list(some.stale)
    assert "style" not in {info.family for info in some.features}
    _, bundles = heads_walk(with_features(data, []), small.plan(), start(), jobs=1)
    assert all(bundle.features == () for bundle in bundles)


def test_the_table_says_what_a_variant_lost() -> None:
    whole = alone()
    worse = whole.assign(p_switch=0.5 * whole["p_switch"] + 0.25)
    table = ablation_table({FULL: whole, "worse": worse})
    row = table[(table["variant"] == "worse") & (table["event"] == "switch") & (table["pair"] == "pooled")]
    row = row[row["horizon_weeks"] == 4].iloc[0]
    part = whole[whole["horizon_weeks"] == 4].dropna(subset=["p_switch", "y_switch", "p_switch_base"])
    y = part["y_switch"].to_numpy(np.float64)
    lost = log_loss(0.5 * part["p_switch"].to_numpy(np.float64) + 0.25, y) - log_loss(part["p_switch"].to_numpy(), y)
    base = log_loss(part["p_switch_base"].to_numpy(np.float64), y).mean()
    assert row["change"] == pytest.approx(lost.mean() / base)
    assert row["change_low"] < row["change"] < row["change_high"]
    text = ablation_markdown(table, small.dataset(), None)
    assert text.startswith("SIMULATED")
    assert f"{-100 * row['change']:+.2f}" in text
    own = table[(table["variant"] == FULL) & table["change"].notna()]
    assert (own["change"] == 0).all()
