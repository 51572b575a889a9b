"""The switching autoregression: statsmodels' own filter and search as oracles, and no row that sees a later one."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from statsmodels.tsa.regime_switching.markov_regression import MarkovRegression

from features.contracts import FloatArray
from features.errors import DataContractError
from models.gaussian_hmm import HmmParams, fit_hmm
from models.markov_switching import SwitchingParams, filter_switching, fit_switching

CHAIN = HmmParams(np.array([-0.3, 0.4]), np.array([1.5, 0.6]), np.array([[0.93, 0.07], [0.04, 0.96]]), 0.0)
PARAMS = SwitchingParams(0.25, CHAIN)


def line(seed: int, n: int, lag: float = 0.3) -> FloatArray:
    rng = np.random.default_rng(seed)
    high = np.cumsum(rng.random(n) < 0.03) % 2 == 1
    drawn = np.where(high, 0.4, -0.4) + np.where(high, 0.5, 1.5) * rng.standard_normal(n)
    y = np.zeros(n)
    for row in range(n):
        y[row] = drawn[row] + (lag * y[row - 1] if row else 0.0)
    return y


def library(y: FloatArray, params: SwitchingParams) -> tuple[FloatArray, FloatArray]:
    """Filtered and smoothed probability of the higher state of rows 1 on, by statsmodels."""
    chain = params.chain
    numbers = np.array([*chain.move[:, 0], *chain.mean, params.lag, *np.square(chain.std)])
    result = _model(y).smooth(numbers)
    filtered, smoothed = result.filtered_marginal_probabilities, result.smoothed_marginal_probabilities
    return np.asarray(filtered)[:, 1], np.asarray(smoothed)[:, 1]


def _model(y: FloatArray) -> MarkovRegression:
    return MarkovRegression(y[1:], 2, exog=y[:-1, None], switching_exog=False, switching_variance=True)


def test_the_filter_is_that_of_statsmodels() -> None:
    """Both start in the stationary law; ours has one row more, so the first rows differ until it is forgotten."""
    y = line(0, 300)
    np.testing.assert_allclose(filter_switching(y, PARAMS)[40:], library(y, PARAMS)[0][39:], rtol=0, atol=1e-6)


def test_the_fit_is_the_optimum_that_statsmodels_finds_from_its_own_starts() -> None:
    y = line(1, 600)
    params = fit_switching(y)
    search = _model(y).fit(disp=False, cov_type="none")
    assert params.chain.log_likelihood == pytest.approx(search.llf, abs=0.01)
    assert params.lag == pytest.approx(0.3, abs=0.1)
    assert params.chain.mean[0] < params.chain.mean[1]
    assert params.chain.log_likelihood > fit_hmm(y[1:]).log_likelihood


def test_the_unit_does_not_matter() -> None:
    y = line(2, 250)
    one, small = fit_switching(y), fit_switching(0.01 * y)
    assert small.lag == pytest.approx(one.lag, abs=1e-4)
    np.testing.assert_allclose(small.chain.std, 0.01 * one.chain.std, rtol=1e-3)


def assert_causal(online: Callable[[FloatArray], FloatArray]) -> None:
    y = line(3, 160)
    full = online(y)
    for n in range(3, 160, 5):
        np.testing.assert_allclose(online(y[:n]), full[:n], rtol=0, atol=1e-12)


def test_later_rows_change_no_filtered_state() -> None:
    assert_causal(lambda y: filter_switching(y, PARAMS))


def test_control_a_smoothed_state_is_caught() -> None:
    with pytest.raises(AssertionError, match="Mismatch"):
        assert_causal(lambda y: np.append(0.5, library(y, PARAMS)[1]))


def test_noise_has_a_fit_too() -> None:
    """White noise has no second state; the search may end anywhere that is no worse than its start."""
    y = np.random.default_rng(4).standard_normal(150)
    p = filter_switching(y, fit_switching(y))
    assert ((p >= 0) & (p <= 1)).all()


def test_refuses_missing_and_few_changes() -> None:
    with pytest.raises(DataContractError, match="must be finite"):
        fit_switching(np.append(line(0, 60), np.nan))
    with pytest.raises(DataContractError, match="at least 26"):
        fit_switching(line(0, 20))
    with pytest.raises(DataContractError, match="must be finite"):
        filter_switching(np.array([0.1, np.nan]), PARAMS)
    assert len(filter_switching(np.array([]), PARAMS)) == 0
