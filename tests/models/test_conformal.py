"""The level correction: a slow oracle, no outcome before it matures, bounds, and breaches near 5% in the long run."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import ndtr

from features.contracts import FloatArray, TimeArray
from models.conformal import GAMMA, corrected_levels
from models.curve import ALPHA, HIGHEST, LOWEST

WEEK = np.timedelta64(7, "D")


def decisions(n: int) -> TimeArray:
    days: TimeArray = np.datetime64("2001-01-05T07:30", "us") + np.arange(n) * WEEK
    return days


def matured(at: TimeArray, horizon: int) -> TimeArray:
    """Entry on the next session, exit `horizon` weeks later, known in the evening."""
    late: TimeArray = at + horizon * WEEK + np.timedelta64(3, "D")
    return late


def reached(seed: int, n: int, scale: float | FloatArray = 1.0) -> FloatArray:
    """Levels that normal outcomes reach on the curve of a standard normal, `scale` times too narrow."""
    shocks = np.random.default_rng(seed).standard_normal(n)
    return np.asarray(ndtr(scale * shocks))


def slow(levels_reached: FloatArray, at: TimeArray, due: TimeArray, horizon: int, gamma: float) -> FloatArray:
    """Replay each decision from the start: feed what had matured by then, in the order in which it matured."""
    result: list[float] = []
    for now in at:
        level = ALPHA
        known = [row for row in range(len(at)) if not np.isnat(due[row]) and due[row] <= now]
        for row in sorted(known, key=lambda row: (due[row], row)):
            if np.isnan(levels_reached[row]):
                continue
            error = 1.0 if levels_reached[row] < result[row] else 0.0
            level = min(max(level + gamma / horizon * (ALPHA - error), LOWEST * ALPHA), HIGHEST * ALPHA)
        result.append(level)
    return np.array(result)


@pytest.mark.parametrize("horizon", [1, 4])
@pytest.mark.parametrize("gamma", [GAMMA, 0.2])
def test_levels_are_those_of_a_slow_replay(horizon: int, gamma: float) -> None:
    rng = np.random.default_rng(horizon)
    at = decisions(120)
    due = matured(at, horizon) + rng.integers(0, 30, 120) * np.timedelta64(1, "D")
    due[rng.random(120) < 0.05] = np.datetime64("NaT")
    levels = reached(5, 120, 1.6)
    levels[rng.random(120) < 0.1] = np.nan
    found = corrected_levels(levels, at, due, horizon, gamma)
    np.testing.assert_allclose(found, slow(levels, at, due, horizon, gamma), atol=1e-14)
    assert len(np.unique(found.round(12))) > 10


@pytest.mark.parametrize("horizon", [1, 4])
def test_an_outcome_has_no_influence_before_it_matures(horizon: int) -> None:
    at = decisions(200)
    due, levels = matured(at, horizon), reached(7, 200, 1.5)
    whole = corrected_levels(levels, at, due, horizon)
    # The positive control: a level that is fed when the outcome is forecast and not when it has matured.
    leaky = corrected_levels(levels, at, at, horizon)
    caught = 0
    for cut in range(20, 200, 6):
        later = due > at[cut]
        # Every later outcome turned into its opposite, and every later outcome not yet there.
        for twin in (np.where(later, np.where(levels < ALPHA, 1.0, 0.0), levels), np.where(later, np.nan, levels)):
            np.testing.assert_array_equal(corrected_levels(twin, at, due, horizon)[: cut + 1], whole[: cut + 1])
            caught += not np.array_equal(corrected_levels(twin, at, at, horizon)[: cut + 1], leaky[: cut + 1])
    assert caught > 50


def test_an_outcome_counts_at_the_very_time_of_its_maturity() -> None:
    at = decisions(3)
    due = np.array([at[1], at[2] + np.timedelta64(1, "us"), at[2] + WEEK])
    found = corrected_levels(np.array([0.0, 0.0, 0.0]), at, due, 1)
    np.testing.assert_allclose(found, [ALPHA, ALPHA - 0.95 * GAMMA, ALPHA - 0.95 * GAMMA])


def test_the_step_of_a_longer_horizon_is_shared() -> None:
    at = decisions(2)
    due = np.array([at[1], at[1] + WEEK])
    one, four = (corrected_levels(np.array([0.0, 1.0]), at, due, horizon) for horizon in (1, 4))
    assert ALPHA - four[1] == pytest.approx((ALPHA - one[1]) / 4)


def test_what_is_judged_is_the_level_in_force_at_the_decision() -> None:
    # The third outcome breaches 5%, not the level that two earlier breaches had left.
    at = decisions(5)
    due = at + WEEK
    low = ALPHA - 2 * 0.95 * GAMMA + 1e-4
    found = corrected_levels(np.array([0.0, 0.0, low, 1.0, 1.0]), at, due, 1)
    assert found[2] < low < ALPHA
    assert found[3] > found[2]


@given(
    st.lists(st.one_of(st.floats(0, 1), st.just(float("nan"))), min_size=1, max_size=60),
    st.integers(1, 4), st.floats(0.001, 0.5),
)  # fmt: skip
def test_levels_stay_within_their_bounds(levels: list[float], horizon: int, gamma: float) -> None:
    at = decisions(len(levels))
    found = corrected_levels(np.array(levels), at, matured(at, horizon), horizon, gamma)
    assert found[0] == ALPHA
    assert ((found >= LOWEST * ALPHA) & (found <= HIGHEST * ALPHA)).all()


def test_only_breaches_and_none_end_at_the_bounds() -> None:
    at = decisions(700)
    for value, bound in ((0.0, LOWEST), (1.0, HIGHEST)):
        found = corrected_levels(np.full(700, value), at, matured(at, 1), 1)
        assert found[-1] == pytest.approx(bound * ALPHA)


@pytest.mark.parametrize("seed", range(3))
def test_breaches_come_near_five_percent_in_the_long_run_on_a_drifting_series(seed: int) -> None:
    n = 4000
    scale = 1.05 + 0.25 * np.sin(np.arange(n) / 300.0)
    at, levels = decisions(n), reached(seed, n, scale)
    bad = scale > 1.2
    # Without the correction the bad years breach too often.
    assert (levels < ALPHA)[bad].mean() > 0.075
    for gamma in (GAMMA, 0.004):
        found = corrected_levels(levels, at, matured(at, 1), 1, gamma)
        assert (levels < found).mean() == pytest.approx(ALPHA, abs=0.01)
        assert (levels < found)[bad].mean() < (levels < ALPHA)[bad].mean() - 0.015


def test_inputs_are_not_changed() -> None:
    at, levels = decisions(50), reached(1, 50)
    due = matured(at, 4)
    kept = at.copy(), due.copy(), levels.copy()
    corrected_levels(levels, at, due, 4)
    for one, other in zip((at, due, levels), kept, strict=True):
        np.testing.assert_array_equal(one, other)
