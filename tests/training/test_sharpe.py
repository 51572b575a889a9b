"""Ratios and their deflation: closed forms, the authors' own example, and simulated luck."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import kurtosis, norm, skew

from features.errors import DataContractError
from training.sharpe import (
    deflated_sharpe,
    expected_maximum,
    information_ratio,
    probabilistic_sharpe,
    weekly_ratios,
)


def weekly(n: int, ratio: float, seed: int = 0) -> np.ndarray:
    """Returns with exactly this ratio a period."""
    z = np.random.default_rng(seed).standard_normal(n)
    return 0.01 * ((z - z.mean()) / z.std() + ratio)


def test_ratio_by_hand() -> None:
    # mean 0.01, population deviation 0.02
    found = information_ratio(np.array([0.03, -0.01, 0.03, -0.01]), periods=1)
    assert found.value == pytest.approx(0.5)
    assert information_ratio(np.array([0.03, -0.01, 0.03, -0.01])).value == pytest.approx(0.5 * np.sqrt(52))


def test_error_is_that_of_mertens_without_lags() -> None:
    """Mertens (2002): n var = 1 + SR^2 / 2 - skew SR + (kurtosis - 3) SR^2 / 4; Lo (2002) where returns are normal."""
    x = np.random.default_rng(1).gamma(2.0, 0.01, 400) - 0.015
    ratio = x.mean() / x.std()
    variance = 1 + ratio**2 / 2 - skew(x) * ratio + kurtosis(x) * ratio**2 / 4
    found = information_ratio(x, periods=1)
    assert found.error == pytest.approx(np.sqrt(variance / 400))
    normal = norm.ppf((np.arange(100_000) + 0.5) / 100_000) + 0.3
    lo = np.sqrt((1 + 0.3**2 / 2) / 100_000)
    assert information_ratio(normal, periods=1).error == pytest.approx(lo, rel=1e-3)


def test_overlap_widens_the_error() -> None:
    x = np.convolve(np.random.default_rng(2).normal(size=803), np.ones(4), "valid")
    assert information_ratio(x, lags=8).error > 1.5 * information_ratio(x, lags=0).error


def test_error_is_the_spread_of_the_estimate() -> None:
    rng = np.random.default_rng(3)
    found = [information_ratio(0.15 + rng.standard_t(6, 300), periods=1) for _ in range(2000)]
    spread = np.std([one.value for one in found])
    assert np.mean([one.error for one in found]) == pytest.approx(spread, rel=0.05)


def test_what_has_no_ratio() -> None:
    for flat in (np.zeros(50), np.full(50, 0.01), np.empty(0), np.array([0.1, 0.2])):
        assert np.isnan(information_ratio(flat)).all()
        assert np.isnan(probabilistic_sharpe(flat))
    with pytest.raises(DataContractError, match="`lags` must be in"):
        information_ratio(np.ones(5), lags=5)


def test_example_of_bailey_and_lopez_de_prado() -> None:
    """Their numerical example: 100 trials with a variance of 1/2 a year, 250 days: SR0 0.1132 a day; DSR 0.9004 for a
    yearly ratio of 2.5 over 1,250 days with skewness -3 and kurtosis 10."""
    from training.sharpe import _deflate

    benchmark = expected_maximum(100, np.sqrt(0.5 / 250))
    assert benchmark == pytest.approx(0.1132, abs=5e-5)
    assert _deflate(2.5 / np.sqrt(250), benchmark, 1250, -3.0, 10.0) == pytest.approx(0.9004, abs=5e-5)


def test_expected_maximum_is_that_of_normals() -> None:
    draws = np.random.default_rng(4).standard_normal((20_000, 20)).max(axis=1)
    assert expected_maximum(20, 1.0) == pytest.approx(draws.mean(), rel=0.03)
    assert expected_maximum(1, 1.0) == 0.0
    with pytest.raises(DataContractError, match="trials"):
        expected_maximum(0, 1.0)


def test_probabilistic_ratio_of_normal_returns() -> None:
    x = weekly(400, 0.1)
    z = (x - x.mean()) / x.std()
    error = np.sqrt(1 - (z**3).mean() * 0.1 + ((z**4).mean() - 1) / 4 * 0.01)
    assert probabilistic_sharpe(x) == pytest.approx(norm.cdf(0.1 * np.sqrt(399) / error))
    assert probabilistic_sharpe(x, 0.1) == pytest.approx(0.5)


def test_the_best_of_many_worthless_trials_is_seen_through() -> None:
    rng = np.random.default_rng(5)
    plain, deflated = [], []
    for _ in range(300):
        returns = rng.standard_normal((300, 20))
        ratios = weekly_ratios(returns)
        best = returns[:, np.argmax(ratios)]
        plain.append(probabilistic_sharpe(best) > 0.95)
        deflated.append(deflated_sharpe(best, ratios) > 0.95)
    assert np.mean(plain) > 0.5
    assert np.mean(deflated) < 0.05
    # And skill is not.
    skilled = np.column_stack([returns, returns[:, :1] + 0.3])
    assert deflated_sharpe(skilled[:, -1], weekly_ratios(skilled)) > 0.95


def test_more_trials_never_help() -> None:
    x = weekly(300, 0.1)
    few, many = (np.linspace(-0.1, 0.1, n) for n in (5, 50))
    assert deflated_sharpe(x, many) < deflated_sharpe(x, few) < deflated_sharpe(x, np.array([0.1]))
    with_missing = np.append(few, [np.nan] * 5)
    assert deflated_sharpe(x, with_missing) < deflated_sharpe(x, few)
    with pytest.raises(DataContractError, match="`trials` must hold"):
        deflated_sharpe(x, np.empty(0))
