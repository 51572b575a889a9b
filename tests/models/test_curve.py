"""Tail curves: at grid points the weighted tail itself, between them monotone, and inverted by the level reached."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.contracts import FloatArray
from models.curve import ALPHA, HIGHEST, LEVELS, LOWEST, reached_level, read_curve, tail_curves
from models.scenarios import weighted_tail


def sample(seed: int, n: int = 400) -> tuple[FloatArray, FloatArray]:
    """Return a skewed sample in ascending order and uneven weights."""
    rng = np.random.default_rng(seed)
    values = np.sort(0.02 * rng.standard_t(4, n) - 0.003)
    weights = rng.random(n) ** 2 + 0.01
    return values, weights / weights.sum()


def test_the_grid_holds_both_nominal_levels_and_all_that_a_correction_may_ask_for() -> None:
    for level in (ALPHA, ALPHA / 2):
        assert np.abs(LEVELS - level).min() < 1e-15
    assert LEVELS[0] < LOWEST * ALPHA / 2
    assert LEVELS[-1] > HIGHEST * ALPHA
    assert (np.diff(LEVELS) > 0).all()


@pytest.mark.parametrize("seed", range(4))
def test_at_grid_points_the_curve_is_the_weighted_tail(seed: int) -> None:
    values, weights = sample(seed)
    curves = tail_curves(values, weights)
    assert curves.shape == (2, 2, len(LEVELS))
    mixed = np.random.default_rng(seed).permutation(len(values))
    for side, sign in enumerate((1.0, -1.0)):
        direct = weighted_tail(sign * values[mixed], weights[mixed], LEVELS.tolist())
        for level, tail in zip(LEVELS.tolist(), direct, strict=True):
            var, es = read_curve(curves[side], level)
            assert var == tail.var
            assert es == pytest.approx(tail.es, abs=1e-14)


@given(st.integers(0, 200), st.lists(st.floats(LOWEST * ALPHA / 2, HIGHEST * ALPHA), min_size=2, max_size=8))
def test_between_grid_points_it_is_monotone_and_stays_between_the_neighbours(seed: int, levels: list[float]) -> None:
    curves = tail_curves(*sample(seed, 120))
    for side in range(2):
        read = np.array([read_curve(curves[side], level) for level in sorted(levels)])
        assert (np.diff(read, axis=0) >= -1e-15).all()
        assert (read[:, 1] <= read[:, 0] + 1e-15).all()
        for level, (var, es) in zip(sorted(levels), read, strict=True):
            above = int(np.searchsorted(LEVELS, level * (1 - 1e-9)))
            below = max(above - 1, 0)
            for value, curve in ((var, curves[side, 0]), (es, curves[side, 1])):
                assert curve[below] - 1e-15 <= value <= curve[above] + 1e-15


@given(st.floats(LEVELS[0], LEVELS[-1]))
def test_the_level_reached_undoes_the_quantile(level: float) -> None:
    # Smooth and strictly rising: a curve with flat stretches has no inverse there.
    quantiles = -0.1 + 0.3 * LEVELS**0.4
    var, _ = read_curve(np.stack([quantiles, quantiles]), level)
    assert reached_level(quantiles, var) == pytest.approx(level, rel=1e-9) or level > LEVELS[-1] * (1 - 1e-12)


@given(st.integers(0, 200), st.floats(-0.2, 0.1), st.floats(LOWEST * ALPHA, HIGHEST * ALPHA))
def test_an_outcome_breaches_a_level_just_if_it_reached_a_lower_one(seed: int, outcome: float, level: float) -> None:
    curve = tail_curves(*sample(seed, 120))[0]
    quantile, _ = read_curve(curve, level)
    reached = reached_level(curve[0], outcome)
    if abs(outcome - quantile) > 1e-9:
        assert (outcome < quantile) == (reached < level)


def test_outside_of_the_curve_and_missing() -> None:
    quantiles = tail_curves(*sample(1))[0, 0]
    assert reached_level(quantiles, quantiles[0] - 1e-9) == 0.0
    assert reached_level(quantiles, quantiles[-1]) == 1.0
    assert reached_level(quantiles, 5.0) == 1.0
    assert np.isnan(reached_level(quantiles, float("nan")))
    assert np.isnan(reached_level(np.full(len(LEVELS), np.nan), 0.0))


def test_upper_and_lower_side_are_mirror_images() -> None:
    values, weights = sample(3)
    one, other = tail_curves(values, weights), tail_curves(-values[::-1], weights[::-1])
    np.testing.assert_allclose(one, other[::-1], atol=1e-15)
