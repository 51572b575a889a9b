"""Volatility refits: the schedule carried back, fitted on what was known at each cut, and what they imply."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from features.dataset import build_dataset
from models.implied import implied_probabilities
from models.schedule import refit_cuts
from models.volatility import ScenarioSettings, components, fit_volatility
from tests import small
from tests.features.toy import toy_market, toy_observations
from tests.models.closes import PARAMS, toy_dataset, toy_days
from training.volatility import fit_volatilities, implied_history, volatility_cuts

SETTINGS = ScenarioSettings(paths=100, min_days=250, window_days=300)


@pytest.mark.parametrize("refit_weeks", [13, 26, 7])
def test_cuts_are_the_refit_schedule_carried_back_to_the_first_week(refit_weeks: int) -> None:
    dataset, plan = small.dataset(), small.plan(refit_weeks=refit_weeks)
    cuts, weeks = volatility_cuts(dataset, plan), dataset.clock.index.to_numpy("datetime64[us]")
    assert set(refit_cuts(dataset, plan)) <= set(cuts)
    places = np.searchsorted(weeks, cuts)
    assert (weeks[places] == cuts).all()
    assert (np.diff(places) == refit_weeks).all()
    assert places[0] < refit_weeks
    # Later data add cuts and move none.
    shorter = volatility_cuts(small.dataset(small.MIDDLE), plan)
    assert np.array_equal(shorter, cuts[: len(shorter)])


def test_each_cut_is_fitted_on_what_was_known_then() -> None:
    dataset = toy_dataset()
    cuts = toy_days(dataset)[[5, -30]]
    seen: list[tuple[str, int, int]] = []
    fitted = fit_volatilities(dataset, cuts, SETTINGS, jobs=1, progress=lambda *at: seen.append(at))
    assert list(fitted) == list(cuts)
    assert seen == [("volatility", done, 2) for done in (1, 2)]
    assert set(fitted[cuts[0]].values()) == {None}
    at = dataset.clock["decision_at"].loc[pd.Timestamp(cuts[1])]
    observations = toy_observations(4)
    short = build_dataset(observations[observations["known_at"] <= at], toy_market(), cuts[1])
    held = components(short.closes, short.segments, at.to_datetime64(), cuts[1])
    assert None not in fitted[cuts[1]].values()
    assert fitted[cuts[1]] == {name: fit_volatility(held[name], SETTINGS) for name in short.segments}
    # The positive control: the same cut fitted on what was known at the end.
    later = components(dataset.closes, dataset.segments, dataset.clock["decision_at"].iloc[-1].to_datetime64(), cuts[1])
    assert any(fitted[cuts[1]][name] != fit_volatility(later[name], SETTINGS) for name in short.segments)


def test_the_history_is_that_of_every_row() -> None:
    dataset = toy_dataset()
    days = toy_days(dataset)
    refits = {days[0]: dict.fromkeys(dataset.segments, PARAMS), days[80]: dict.fromkeys(dataset.segments, None)}
    seen: list[tuple[str, int, int]] = []
    found = implied_history(dataset, refits, SETTINGS, jobs=1, progress=lambda *at: seen.append(at))
    expected = implied_probabilities(dataset, refits, days, SETTINGS)
    pd.testing.assert_frame_equal(found, expected, check_exact=True)
    assert seen == [("scenarios", done, len(seen)) for done in range(1, len(seen) + 1)]
    # From the cut at which nothing could be fitted there is no set.
    assert found.index.get_level_values("decision_date").max() < pd.Timestamp(days[80])
    assert len(implied_history(dataset, {}, SETTINGS, jobs=1)) == 0
