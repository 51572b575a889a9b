"""The chain of bundles: what each remembers, levels that run through all of them, and a bundle that stands alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from features.contracts import HORIZONS, TAIL_COLUMNS
from models.base import base_frame
from models.bundle import Bundle
from models.conformal import corrected_levels
from models.curve import ALPHA
from models.implied import implied_probabilities
from models.memory import Memory
from models.predict import draft, predict
from models.schedule import forecast_rows
from tests import small
from training.fit import cut_time

OUTCOMES = ["spread_realised", "y_switch", "y_large", "y_crash"]


def block(place: int) -> pd.MultiIndex:
    bundles = small.walked().bundles
    stop = bundles[place + 1].cut if place + 1 < len(bundles) else None
    return forecast_rows(small.dataset(), small.plan(), bundles[place].cut, stop)


def test_each_bundle_remembers_every_forecast_before_its_cut_and_nothing_else() -> None:
    dataset, bundles = small.dataset(), small.walked().bundles
    seen: set[tuple[str, pd.Timestamp, int]] = set()
    assert bundles[0].memory.to_json() == Memory.empty().to_json()
    for place, bundle in enumerate(bundles):
        memory, at = bundle.memory, cut_time(dataset, bundle.cut)
        assert set(memory.settled) | set(memory.pending) == seen
        assert set(memory.settled).isdisjoint(memory.pending)
        matured = dataset.outcomes["matured_at"]
        if seen:
            assert matured.loc[list(memory.settled)].max() <= pd.Timestamp(at) < matured.loc[list(memory.pending)].min()
        seen |= {(str(pair), day, horizon) for pair, day in block(place) for horizon in HORIZONS}


def test_a_memory_is_the_one_before_and_what_its_bundle_forecast() -> None:
    dataset, bundles = small.dataset(), small.walked().bundles
    fresh = draft(bundles[1], dataset, block(1), small.base()).quantiles
    grown = bundles[1].memory.extended(fresh, dataset, cut_time(dataset, bundles[2].cut))
    assert grown.to_json() == bundles[2].memory.to_json()


def test_levels_run_through_all_bundles() -> None:
    # One long series of each pair, horizon and side, whichever bundle was in force.
    dataset, tails = small.dataset(), small.walked().tails
    last = small.walked().bundles[-1]
    for (pair, horizon), rows in tails.groupby(level=["pair", "horizon_weeks"]):
        rows = rows[rows.index.get_level_values("decision_date") < pd.Timestamp(last.cut)].sort_index()
        at = dataset.clock["decision_at"].loc[rows.index.get_level_values("decision_date")].to_numpy("datetime64[us]")
        due = dataset.outcomes["matured_at"].loc[rows.index].to_numpy("datetime64[us]")
        for side, name in enumerate(("level_lower", "level_upper")):
            # What has not matured by the last cut can have moved none of these levels.
            reached = np.array([last.memory.settled.get(key, (np.nan, np.nan))[side] for key in rows.index])
            np.testing.assert_allclose(rows[name], corrected_levels(reached, at, due, int(horizon)), atol=1e-12)
        assert rows["level_lower"].iloc[0] == ALPHA, pair
        assert rows["level_lower"].nunique() > 3


@pytest.mark.parametrize("place", [0, 2, 3])
def test_a_bundle_from_disk_forecasts_its_weeks_alone(place: int, tmp_path: Path) -> None:
    """No other bundle, no stored forecast, no stored scenario: what a machine without our artefacts would say."""
    dataset = small.dataset()
    bundle = Bundle.load(small.walked().bundles[place].save(tmp_path / "bundle"))
    rows = block(place)
    days = rows.get_level_values("decision_date")
    # Up to a week in the middle of the block, then that week alone is looked at.
    week = days.unique()[9]
    rows = rows[days <= week]
    implied = implied_probabilities(
        dataset, {bundle.cut: bundle.volatility}, days[days <= week].unique().to_numpy(), bundle.settings.scenarios
    )
    done = predict(bundle, dataset, rows, base_frame(dataset, implied))
    stored = small.walked().forecasts
    mine, theirs = (frame[frame["decision_date"] == week].reset_index(drop=True) for frame in (done.forecasts, stored))
    assert len(mine) == 2 * len(dataset.pairs)
    assert mine[list(TAIL_COLUMNS)].notna().all().all()
    pd.testing.assert_frame_equal(mine, theirs, rtol=0, atol=1e-12)
    pd.testing.assert_frame_equal(done.tails, small.walked().tails.loc[done.tails.index], rtol=0, atol=1e-12)
    # The positive control: without its memory a later bundle reads its tails elsewhere.
    forgetful = predict(replace(bundle, memory=Memory.empty()), dataset, rows, base_frame(dataset, implied))
    assert forgetful.tails.equals(done.tails) == (place == 0)


def test_the_base_of_the_chain_is_what_its_parameters_imply() -> None:
    dataset, base = small.dataset(), small.base()
    refits = {bundle.cut: bundle.volatility for bundle in small.walked().bundles}
    days = dataset.clock.index[dataset.clock.index >= pd.Timestamp(small.FIRST)][[0, 30, -1]].to_numpy("datetime64[us]")
    implied = implied_probabilities(dataset, refits, days, small.plan().settings.scenarios)
    assert len(implied) == 3 * len(dataset.pairs) * len(HORIZONS)
    for name in implied.columns:
        assert (base.loc[implied.index, name] == implied[name]).all()
    assert base.index.equals(dataset.outcomes.index)
