"""The causal states against DESIGN section 1, computed a second time and, on a small example, by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.contracts import FloatArray, IntArray
from features.states import (
    SIGMA_MIN_WEEKS,
    STATE_FEATURES,
    short_volatility,
    state_frame,
    style_in_force,
    weekly_sigma,
)
from tests.features import naive

SEEDS = st.integers(0, 2**32 - 1)


def walk(seed: int, n: int) -> FloatArray:
    """A line whose volatility changes and which turns now and then."""
    rng = np.random.default_rng(seed)
    scale = np.exp(0.5 * np.sin(np.arange(n) / 17.0))
    drift = 0.4 * np.sign(np.sin(np.arange(n) / 13.0 + seed % 7))
    return np.asarray(0.02 * np.cumsum(scale * (rng.standard_normal(n) + drift)))


def frame(x: FloatArray, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    month: IntArray = (np.arange(len(x)) // 4) % 12 + 1
    return state_frame(x, np.abs(rng.standard_normal(len(x))), month, 0.02 * rng.standard_normal(len(x)))


@given(SEEDS, st.integers(0, 120))
def test_sigma_equals_the_weighted_mean_square(seed: int, n: int) -> None:
    x = walk(seed, n)
    expected = np.array([naive.sigma(x[: row + 1].tolist()) for row in range(n)])
    np.testing.assert_allclose(weekly_sigma(x), expected, rtol=1e-11)
    assert np.isnan(expected[:SIGMA_MIN_WEEKS]).all()


@settings(max_examples=50)
@given(SEEDS)
def test_style_equals_the_naive_flip_rule(seed: int) -> None:
    x = walk(seed, 160)
    style, extreme, flipped = style_in_force(x, weekly_sigma(x))
    assert style.tolist() == naive.styles(x.tolist())
    for row in np.flatnonzero(style):
        since = x[flipped[row] : row + 1]
        assert extreme[row] == (since.max() if style[row] > 0 else since.min())
        assert style[flipped[row]] == style[row]
        assert flipped[row] == 0 or style[flipped[row] - 1] != style[row]


def test_the_flip_rule_by_hand() -> None:
    """With sigma 1 the bar is root 13 = 3.606. Up to 4: small leads. Down to 0.5 from 5: flip. Back by 3.5: not yet."""
    x = np.array([0.0, 3.6, 4.0, 5.0, 2.0, 1.4, 1.3, 0.5, 4.0, 4.2])
    style, extreme, flipped = style_in_force(x, np.ones(len(x)))
    assert style.tolist() == [0, 0, 1, 1, 1, 1, -1, -1, -1, 1]
    assert np.array_equal(extreme, [np.nan, np.nan, 4.0, 5.0, 5.0, 5.0, 1.3, 0.5, 0.5, 4.2], equal_nan=True)
    assert flipped.tolist() == [-1, -1, 2, 2, 2, 2, 6, 6, 6, 9]


def test_reaching_the_bar_exactly_flips() -> None:
    sigma = np.full(3, 1.0 / np.sqrt(13.0))
    assert style_in_force(np.array([0.0, -sigma[0] * np.sqrt(13.0), 0.0]), sigma)[0].tolist() == [0, -1, 1]


def test_the_bar_is_the_current_weeks() -> None:
    """A move that was short of last week's bar flips when sigma falls."""
    x = np.array([0.0, 4.0, 1.0, 1.0])
    assert style_in_force(x, np.array([1.0, 1.0, 1.0, 0.5]))[0].tolist() == [0, 1, 1, -1]


def test_no_state_before_sigma_exists_and_none_on_a_line_that_stands_still() -> None:
    steps = np.arange(40.0)
    style = style_in_force(steps, weekly_sigma(steps))[0]
    assert np.flatnonzero(style)[0] == SIGMA_MIN_WEEKS
    still = np.full(60, -0.3)
    assert np.isnan(weekly_sigma(still)).all()
    states = frame(still)
    assert (states["style"] == 0).all()
    assert not np.isinf(states.to_numpy(np.float64)).any()


@settings(max_examples=40)
@given(SEEDS, st.integers(1, 219))
def test_a_row_does_not_see_later_rows(seed: int, rows: int) -> None:
    x = walk(seed, 220)
    pd.testing.assert_frame_equal(frame(x, seed).iloc[:rows], frame_prefix(x, seed, rows), check_exact=True)


def frame_prefix(x: FloatArray, seed: int, rows: int) -> pd.DataFrame:
    """States of the first rows, computed from them alone (the random inputs are drawn for the whole line)."""
    rng = np.random.default_rng(seed)
    vol, change = np.abs(rng.standard_normal(len(x))), 0.02 * rng.standard_normal(len(x))
    month: IntArray = (np.arange(rows) // 4) % 12 + 1
    return state_frame(x[:rows], vol[:rows], month, change[:rows])


def test_what_follows_from_the_style() -> None:
    x = walk(5, 300)
    states = frame(x)
    assert set(STATE_FEATURES) < set(states.columns)
    style, extreme, flipped = style_in_force(x, weekly_sigma(x))
    for row in range(200, 300):
        sigma = states["sigma"][row]
        assert states["age"][row] == pytest.approx(np.log(1 + row - flipped[row]))
        assert states["distance"][row] == pytest.approx(style[row] * (extreme[row] - x[row]) / (sigma * 13**0.5))
        assert 0.0 <= states["distance"][row] < 1.0
        for weeks in (4, 13):
            move = style[row] * (x[row] - x[row - weeks]) / (sigma * weeks**0.5)
            assert states[f"style_momentum_{weeks}w"][row] == pytest.approx(move)
        assert states["reversal_1w"][row] == pytest.approx((x[row] - x[row - 1]) / sigma)
        recent = states["sigma"][max(0, row - 155) : row + 1]
        assert states["sigma_percentile"][row] == pytest.approx((recent <= sigma).mean())


def test_short_volatility_is_a_weighted_mean_square() -> None:
    x = walk(9, 80)
    changes = np.diff(x)
    weights = 0.5 ** (np.arange(len(changes))[::-1] / 5.0)
    assert short_volatility(x)[-1] == pytest.approx(np.sqrt((weights * changes**2).sum() / weights.sum()))
    assert np.isnan(short_volatility(x)[:10]).all()
    assert np.isfinite(short_volatility(x)[10:]).all()


def test_the_seasonal_prior_counts_only_weeks_that_have_matured() -> None:
    """At row t the newest outcome is that of the week entered after t - 2; it belongs to that week's month."""
    n = 120
    x, rng = walk(3, n), np.random.default_rng(3)
    month: IntArray = rng.integers(1, 13, n)
    change = 0.02 * rng.standard_normal(n)
    prior = state_frame(x, np.ones(n), month, change)["seasonal"].to_numpy()
    sigma = weekly_sigma(x)
    for row in range(n):
        past = [change[t] / sigma[t - 2] for t in range(2, row + 1) if month[t - 2] == month[row]]
        past = [value for value in past if np.isfinite(value)]
        assert prior[row] == pytest.approx(sum(past) / (len(past) + 40.0))
