"""Correlation and its interval against textbook formulas, and its coverage where volatility clusters."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm, pearsonr

from features.errors import DataContractError
from models.correlation import correlation, newey_west_lags
from tests.models.ladder import ladder


def test_plain_correlation_equals_scipy_and_fishers_interval_where_rows_are_independent() -> None:
    rng = np.random.default_rng(1)
    x = rng.standard_normal(20_000)
    y = 0.6 * x + 0.8 * rng.standard_normal(20_000)
    got, fisher = correlation(x, y), pearsonr(x, y).confidence_interval(0.95)
    assert got.value == pytest.approx(pearsonr(x, y).statistic, abs=1e-12)
    assert got.low == pytest.approx(fisher.low, abs=5e-4)
    assert got.high == pytest.approx(fisher.high, abs=5e-4)


@given(seed=st.integers(0, 10_000), n=st.integers(12, 200), k=st.integers(1, 4))
def test_partial_correlation_is_read_off_the_inverse_covariance(seed: int, n: int, k: int) -> None:
    rows = np.random.default_rng(seed).normal(size=(n, k + 2)) @ np.random.default_rng(seed + 1).normal(
        size=(k + 2, k + 2)
    )
    precision = np.linalg.inv(np.cov(rows, rowvar=False))
    expected = -precision[0, 1] / np.sqrt(precision[0, 0] * precision[1, 1])
    got = correlation(rows[:, 0], rows[:, 1], given=rows[:, 2:])
    assert got.value == pytest.approx(expected, abs=1e-6)
    assert -1 <= got.low <= got.value <= got.high <= 1
    flipped = correlation(rows[:, 0], -rows[:, 1], given=rows[:, 2:])
    np.testing.assert_allclose([flipped.value, flipped.low, flipped.high], [-got.value, -got.high, -got.low], atol=1e-9)


def test_a_wider_level_gives_a_wider_interval_and_units_do_not_matter() -> None:
    tiers = ladder(2).to_numpy()
    narrow, wide = (correlation(tiers[:, 3], tiers[:, 4], level) for level in (0.8, 0.99))
    assert wide.low < narrow.low < narrow.value < narrow.high < wide.high
    scaled = correlation(100 * tiers[:, 3] + 7, 0.01 * tiers[:, 4] - 3, 0.8)
    np.testing.assert_allclose(scaled, narrow, rtol=1e-9)


def test_the_ends_equal_perfect_correlation_and_nothing_left() -> None:
    x, y = ladder(3)["t300"].to_numpy(), ladder(3)["t500"].to_numpy()
    assert correlation(x, -2 * x + 1) == pytest.approx((-1.0, -1.0, -1.0))
    assert np.isnan(correlation(x, y, given=x[:, None] * 3)).all()


def test_lags_of_newey_and_west() -> None:
    assert [newey_west_lags(days) for days in (60, 100, 252, 2000)] == [3, 4, 4, 7]


def test_bad_input_is_refused_in_words() -> None:
    x = np.linspace(0, 1, 30)
    for arguments, word in [
        ((x, x[:-1]), "equal length"), ((x, np.ones(30)), "constant"), ((x, np.where(x > 0.9, np.nan, x)), "finite"),
        ((x, x**2, 1.0), "level"), ((x[:4], x[:4] ** 2), "at least 5 rows"),
    ]:  # fmt: skip
        with pytest.raises(DataContractError, match=word):
            correlation(*arguments)


@pytest.mark.slow
def test_coverage_where_both_series_share_bursts_of_volatility() -> None:
    """True correlation zero, 250 days, log volatility of standard deviation 0.5: Fisher's interval is too narrow."""
    robust = fisher = 0
    trials = 1000
    half = norm.ppf(0.975) / np.sqrt(250 - 3)
    for seed in range(trials):
        rng = np.random.default_rng(seed)
        calm = np.zeros(250)
        for day in range(1, 250):
            calm[day] = 0.95 * calm[day - 1] + 0.15 * rng.standard_normal()
        x, y = rng.standard_normal((2, 250)) * np.exp(calm)
        got = correlation(x, y)
        robust += got.low <= 0 <= got.high
        fisher += abs(np.arctanh(got.value)) <= half
    assert 0.92 < robust / trials < 0.97
    assert fisher / trials < 0.88
