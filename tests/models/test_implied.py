"""Implied probabilities: direct counting, a Gaussian closed form, clipping, and the parameters in force."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import multivariate_normal, norm

from features.contracts import EVENTS, HORIZONS, STYLE_LARGE, STYLE_SMALL, Dataset
from models.implied import Refits, implied_probabilities, pair_states, untilted
from models.scenarios import ScenarioSet
from models.simulate import PairState, path_events
from models.volatility import ScenarioSettings
from tests.models.closes import PARAMS, toy_dataset, toy_days, weekdays

SETTINGS = ScenarioSettings(paths=300, min_days=150, window_days=400)
COLUMNS = [f"{event}_implied" for event in EVENTS]


def refits(dataset: Dataset) -> Refits:
    """Return the same parameters for every segment from the first week on."""
    return {toy_days(dataset)[0]: dict.fromkeys(dataset.segments, PARAMS)}


def test_shares_are_counted_path_by_path_and_only_where_there_is_a_set() -> None:
    dataset = toy_dataset()
    days = toy_days(dataset)
    found = implied_probabilities(dataset, refits(dataset), days, SETTINGS)
    assert list(found.columns) == COLUMNS
    assert found.index.names == dataset.outcomes.index.names
    seen = 0
    for day in days[::5]:
        drawn = untilted(dataset, refits(dataset), day, SETTINGS)
        here = found[found.index.get_level_values("decision_date") == pd.Timestamp(day)]
        if drawn is None:
            assert len(here) == 0
            continue
        scenarios, when = drawn
        expected = {}
        for pair in dataset.pairs:
            if (pair.name, pd.Timestamp(day)) not in dataset.rows.index or pair.small not in scenarios.segments:
                continue
            row = dataset.rows.loc[(pair.name, pd.Timestamp(day))]
            spread = scenarios.spread(pair.large, pair.small).astype(np.float64)
            for horizon in HORIZONS:
                counts = np.zeros(3)
                for path in range(SETTINGS.paths):
                    line = [spread[point, path] for point in when.points[:horizon]]
                    limit = row["sigma"] * np.sqrt(horizon)
                    counts += (
                        any(row["style"] * value < -limit for value in line),
                        line[-1] < 0,
                        any(value < -1.25 * limit for value in line),
                    )
                expected[pair.name, pd.Timestamp(day), horizon] = counts / SETTINGS.paths
        assert set(here.index) == set(expected)
        for key, shares in expected.items():
            edge = 1 / (SETTINGS.paths + 2)
            np.testing.assert_allclose(here.loc[key], np.clip(shares, edge, 1 - edge), atol=1e-12)
            seen += 1
    assert seen > 20
    # The first weeks have too few closes.
    assert found.index.get_level_values("decision_date").min() > pd.Timestamp(days[5])


@pytest.mark.parametrize("style", [STYLE_SMALL, STYLE_LARGE])
def test_gaussian_paths_give_the_closed_form(style: int) -> None:
    # A spread of independent normal steps, one a week: crash and switch are orthant probabilities of a random walk.
    n, deviation, sigma = 200_000, 0.02, 0.018
    rng = np.random.default_rng(0)
    paths = np.zeros((5, 2, n), dtype=np.float32)
    paths[1:, 1] = (deviation * rng.standard_normal((4, n))).cumsum(axis=0)
    paths[:, 0] = 0.3
    paths[:, 1] += 0.3
    scenarios = ScenarioSet(("a", "b"), weekdays(4), {1: 1, 4: 4}, paths, np.full(n, 1 / n))
    state = PairState("a", "b", sigma, style)
    happened = {horizon: path_events(scenarios, state, (1, 2, 3, 4), horizon) for horizon in HORIZONS}
    covariance = deviation**2 * np.minimum.outer(np.arange(1, 5), np.arange(1, 5))
    walk = multivariate_normal(np.zeros(4), covariance)
    # By symmetry the style in force does not matter here.
    expected = {
        ("switch", 1): norm.cdf(-sigma / deviation),
        ("large", 1): 0.5,
        ("crash", 1): norm.cdf(-1.25 * sigma / deviation),
        ("switch", 4): 1 - walk.cdf(np.full(4, 2 * sigma)),
        ("large", 4): 0.5,
        ("crash", 4): 1 - walk.cdf(np.full(4, 2.5 * sigma)),
    }
    for (event, horizon), probability in expected.items():
        share = happened[horizon][event].mean()
        assert share == pytest.approx(probability, abs=4 * np.sqrt(0.25 / n)), (event, horizon)


def test_impossible_and_certain_events_stay_half_a_path_off_the_edges() -> None:
    dataset = toy_dataset()
    days = toy_days(dataset)[-3:]
    edge = 1 / (SETTINGS.paths + 2)
    calm = replace(dataset, rows=dataset.rows.assign(sigma=10.0))
    found = implied_probabilities(calm, refits(dataset), days, SETTINGS)
    assert (found[["switch_implied", "crash_implied"]] == edge).all().all()
    assert found["large_implied"].between(edge, 1 - edge, inclusive="neither").all()
    wild = replace(dataset, rows=dataset.rows.assign(sigma=-1.0))
    found = implied_probabilities(wild, refits(dataset), days, SETTINGS)
    assert (found[["switch_implied", "crash_implied"]] == 1 - edge).all().all()


def test_parameters_in_force_are_the_newest_that_are_not_later() -> None:
    dataset = toy_dataset()
    days = toy_days(dataset)
    early, later = days[-40], days[-20]
    doubled = replace(PARAMS, omega=2 * PARAMS.omega)
    both: Refits = {
        later: dict.fromkeys(dataset.segments, doubled),
        early: dict.fromkeys(dataset.segments, PARAMS),
    }
    for day, params in ((days[-21], PARAMS), (later, doubled), (days[-1], doubled)):
        drawn, alone = (
            untilted(dataset, held, day, SETTINGS)
            for held in (both, {days[0]: dict.fromkeys(dataset.segments, params)})
        )
        assert drawn is not None
        assert alone is not None
        np.testing.assert_array_equal(drawn[0].paths, alone[0].paths)
    assert untilted(dataset, both, days[-41], SETTINGS) is None
    assert untilted(dataset, {}, days[-1], SETTINGS) is None
    assert len(implied_probabilities(dataset, {}, days, SETTINGS)) == 0
    assert list(implied_probabilities(dataset, {}, days, SETTINGS).columns) == COLUMNS


def test_a_pair_whose_segment_is_not_in_the_set_has_no_row() -> None:
    dataset = toy_dataset()
    only: Refits = {toy_days(dataset)[0]: {"large": PARAMS, "small": PARAMS, "micro": None}}
    found = implied_probabilities(dataset, only, toy_days(dataset)[-10:], SETTINGS)
    assert set(found.index.get_level_values("pair")) == {"large-small"}


def test_days_do_not_depend_on_each_other() -> None:
    dataset = toy_dataset()
    days = toy_days(dataset)[-6:]
    block = implied_probabilities(dataset, refits(dataset), days, SETTINGS)
    alone = pd.concat([implied_probabilities(dataset, refits(dataset), days[[place]], SETTINGS) for place in range(6)])
    pd.testing.assert_frame_equal(block, alone, check_exact=True)


def test_the_state_of_a_pair_is_that_of_its_row() -> None:
    dataset = toy_dataset()
    day = toy_days(dataset)[-1]
    for pair in dataset.pairs:
        row = dataset.rows.loc[(pair.name, pd.Timestamp(day))]
        expected = PairState(pair.large, pair.small, row["sigma"], row["style"])
        assert pair_states(dataset, day)[pair.name] == expected
    fewer = replace(dataset, rows=dataset.rows.drop(index=[("large-micro", pd.Timestamp(day))]))
    assert list(pair_states(fewer, day)) == ["large-small"]
