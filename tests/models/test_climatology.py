"""The base rate against a loop that reads the definition word by word."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from features.contracts import EVENTS, Dataset
from models.climatology import FULL_WEEKS, SHARED_WEEKS, climatology
from tests import small

FIRST_GUESS = {"switch": 0.16, "large": 0.5, "crash": 0.11}


def naive(dataset: Dataset, pair: str, date: pd.Timestamp, horizon: int, event: str) -> tuple[float, float, int]:
    """Base rate, shared level and own count of one row, by looking at every outcome of the market."""
    styles = dataset.rows["style"].to_dict()
    now = dataset.rows["decision_at"].to_dict()[pair, date]
    own, mates, pool = [], [], []
    for (other, day, weeks), matured_at, y in zip(
        dataset.outcomes.index, dataset.outcomes["matured_at"], dataset.outcomes[f"y_{event}"], strict=True
    ):
        if weeks != horizon or np.isnan(y) or matured_at > now:
            continue
        pool.append(y)
        if event != "switch" or styles[other, day] == styles[pair, date]:
            mates.append(y)
            if other == pair:
                own.append(y)
    market = (sum(pool) + 26 * FIRST_GUESS[event]) / (len(pool) + 26)
    missing = max(FULL_WEEKS - len(own), 0)
    rate = (sum(own) + missing * market) / (len(own) + missing)
    together = (sum(mates) + 26 * market) / (len(mates) + 26)
    level = (sum(own) + SHARED_WEEKS * horizon * together) / (len(own) + SHARED_WEEKS * horizon)
    edge = 0.5 / (max(len(own), FULL_WEEKS) + 1)
    return float(np.clip(rate, edge, 1 - edge)), float(np.clip(level, edge, 1 - edge)), len(own)


def one_pair(y: list[float], style: list[int] | None = None) -> Dataset:
    """A market with one pair whose 1-week outcomes mature two weeks after the decision."""
    weeks = len(y)
    days = pd.date_range("2010-01-08", periods=weeks, freq="7D", unit="us")
    index = pd.MultiIndex.from_product([["a-b"], days], names=["pair", "decision_date"])
    rows = pd.DataFrame({"style": style or [1] * weeks, "decision_at": days + pd.Timedelta(hours=7)}, index=index)
    outcomes = pd.DataFrame(
        {"matured_at": days + pd.Timedelta(days=10, hours=7), **{f"y_{event}": y for event in EVENTS}},
        index=pd.MultiIndex.from_product([["a-b"], days, [1]], names=["pair", "decision_date", "horizon_weeks"]),
    )
    return replace(small.dataset(), rows=rows, outcomes=outcomes)


def test_equals_the_naive_loop_in_the_first_weeks_and_later() -> None:
    whole = small.dataset()
    kept = whole.rows.index.get_level_values("decision_date") < pd.Timestamp("2002-01-01")
    rows = whole.rows[kept]
    early = whole.outcomes.index.get_level_values("decision_date") < pd.Timestamp("2002-01-01")
    dataset = replace(whole, rows=rows, outcomes=whole.outcomes[early])
    base = climatology(dataset)
    rng = np.random.default_rng(1)
    for place in np.sort(rng.choice(len(base), 25, replace=False)):
        pair, date, horizon = base.index[place]
        for event in EVENTS:
            rate, level, own = naive(dataset, pair, date, horizon, event)
            assert base[event].iloc[place] == pytest.approx(rate, abs=1e-12)
            assert base[f"{event}_shared"].iloc[place] == pytest.approx(level, abs=1e-12)
            assert base[f"{event}_n"].iloc[place] == own


def test_only_matured_outcomes_count() -> None:
    before = climatology(small.dataset())
    outcomes = small.dataset().outcomes.copy()
    cut = small.dataset().clock.loc[pd.Timestamp(small.MIDDLE), "decision_at"]
    later = outcomes["matured_at"] > cut
    for event in EVENTS:
        outcomes.loc[later, f"y_{event}"] = 1.0 - outcomes.loc[later, f"y_{event}"]
    after = climatology(replace(small.dataset(), outcomes=outcomes))
    dates = before.index.get_level_values("decision_date")
    known = dates <= pd.Timestamp(small.MIDDLE)
    pd.testing.assert_frame_equal(before[known], after[known], check_exact=True)
    assert not before[~known].equals(after[~known])


def test_an_outcome_counts_from_the_very_decision_at_which_it_matures() -> None:
    dataset = one_pair([1.0] * 10)
    outcomes = dataset.outcomes.copy()
    third = dataset.rows["decision_at"].iloc[3]
    outcomes.iloc[0, outcomes.columns.get_loc("matured_at")] = third  # type: ignore[index]
    base = climatology(replace(dataset, outcomes=outcomes))
    assert base["large_n"].tolist()[:5] == [0, 0, 0, 2, 3]
    late = outcomes.copy()
    late.iloc[0, late.columns.get_loc("matured_at")] = third + pd.Timedelta(microseconds=1)  # type: ignore[index]
    assert climatology(replace(dataset, outcomes=late))["large_n"].tolist()[:5] == [0, 0, 0, 1, 3]


def test_the_pool_fills_up_to_a_year_and_then_only_the_pair_itself_counts() -> None:
    y = [1.0, 0.0, 0.0, 0.0] * 40
    base = climatology(one_pair(y))
    own = base["crash_n"].to_numpy()
    assert own[0] == 0
    assert base["crash"].iloc[0] == pytest.approx(FIRST_GUESS["crash"])
    full = np.flatnonzero(own >= FULL_WEEKS)
    for row in full:
        assert base["crash"].iloc[row] == pytest.approx(np.mean(y[: int(own[row])]), abs=1e-12)


def test_switch_counts_by_style_in_force_and_the_others_do_not() -> None:
    style = [1, -1] * 80
    base = climatology(one_pair([1.0, 0.0] * 80, style))
    last_small, last_large = base.iloc[-2], base.iloc[-1]
    assert last_small["switch_n"] < 81
    assert last_small["switch"] > 0.95
    assert last_large["switch"] < 0.05
    assert last_small["large"] == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("outcome", [0.0, 1.0])
def test_never_nought_or_one(outcome: float) -> None:
    base = climatology(one_pair([outcome] * 300))
    for event in EVENTS:
        for column in (event, f"{event}_shared"):
            assert ((base[column] > 0) & (base[column] < 1)).all()
        assert abs(base[event].iloc[-1] - outcome) < 0.01


def test_same_index_and_inputs_unchanged() -> None:
    dataset = small.dataset()
    kept = dataset.outcomes.copy(), dataset.rows.copy()
    base = climatology(dataset)
    assert base.index.equals(dataset.outcomes.index)
    pd.testing.assert_frame_equal(dataset.outcomes, kept[0], check_exact=True)
    pd.testing.assert_frame_equal(dataset.rows, kept[1], check_exact=True)
    assert base.notna().all().all()


def test_row_order_is_irrelevant() -> None:
    dataset = one_pair([1.0, 0.0, 1.0] * 30)
    shuffled = dataset.outcomes.sample(frac=1, random_state=3)
    base, other = climatology(dataset), climatology(replace(dataset, outcomes=shuffled))
    pd.testing.assert_frame_equal(base, other.loc[base.index], check_exact=False, rtol=1e-12)
