"""The hidden Markov chain: statsmodels as oracle, states that can be found again, and no row that sees a later one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.tsa.regime_switching.markov_regression import MarkovRegression

from features.contracts import FloatArray
from features.errors import DataContractError
from models.gaussian_hmm import HmmParams, filter_hmm, fit_hmm, next_moments

PARAMS = HmmParams(np.array([-0.3, 0.4]), np.array([1.5, 0.6]), np.array([[0.93, 0.07], [0.04, 0.96]]), 0.0)


def chain(seed: int, n: int) -> FloatArray:
    """Runs of two states: drift against wild rows, drift with calm ones."""
    rng = np.random.default_rng(seed)
    high = np.cumsum(rng.random(n) < 0.03) % 2 == 1
    return np.asarray(np.where(high, 0.3, -0.3) + np.where(high, 0.5, 1.5) * rng.standard_normal(n))


def library(y: FloatArray, params: HmmParams) -> tuple[FloatArray, FloatArray, float]:
    """Filtered and smoothed probability of the higher state and the log likelihood, by statsmodels."""
    numbers = [*params.move[:, 0], *params.mean, *np.square(params.std)]
    result = MarkovRegression(y, 2, switching_variance=True).smooth(np.array(numbers))
    filtered, smoothed = result.filtered_marginal_probabilities, result.smoothed_marginal_probabilities
    return np.asarray(filtered)[:, 1], np.asarray(smoothed)[:, 1], float(result.llf)


@settings(max_examples=20)
@given(st.integers(0, 2**32 - 1), st.integers(10, 200))
def test_the_filter_is_hamiltons(seed: int, n: int) -> None:
    y = chain(seed, n)
    np.testing.assert_allclose(filter_hmm(y, PARAMS), library(y, PARAMS)[0], rtol=0, atol=1e-12)


def test_the_fit_finds_what_hmmlearn_finds() -> None:
    """Golden: hmmlearn 0.3.3, GaussianHMM(2) without priors, best of five seeds; ours has a small prior on moves."""
    rng = np.random.default_rng(20240915)
    rng.random(600), rng.standard_normal(600)
    high = np.cumsum(rng.random(1500) < 0.03) % 2
    y = np.where(high == 1, 0.3, -0.3) + np.where(high == 1, 0.5, 1.5) * rng.standard_normal(1500)
    params = fit_hmm(y)
    np.testing.assert_allclose(params.mean, [-0.3731, 0.3651], atol=2e-3)
    np.testing.assert_allclose(params.std, [1.4908, 0.5035], atol=2e-3)
    np.testing.assert_allclose(np.diag(params.move), [0.9783, 0.9642], atol=3e-3)
    assert params.log_likelihood == pytest.approx(library(y, params)[2], abs=1e-6)
    assert -2235.4 < params.log_likelihood < -2234.76


def test_the_state_in_force_is_found_again() -> None:
    rng = np.random.default_rng(1)
    high = np.repeat([True, False, True, False], 150)
    y = np.where(high, 0.5, -0.5) + 0.5 * rng.standard_normal(600)
    assert np.mean((filter_hmm(y, fit_hmm(y)) > 0.5) == high) > 0.97


@settings(max_examples=10)
@given(st.integers(0, 2**32 - 1), st.sampled_from([1e-4, 1.0, 100.0]))
def test_states_are_in_order_whatever_the_unit_and_turn_with_the_line(seed: int, unit: float) -> None:
    y = chain(seed, 300)
    params, scaled = fit_hmm(y), fit_hmm(unit * y)
    assert params.mean[0] <= params.mean[1]
    np.testing.assert_allclose(scaled.mean, unit * params.mean, rtol=1e-5, atol=1e-7 * unit)
    np.testing.assert_allclose(filter_hmm(unit * y, scaled), filter_hmm(y, params), atol=1e-5)
    turned = HmmParams(-params.mean[::-1], params.std[::-1], params.move[::-1, ::-1], params.log_likelihood)
    np.testing.assert_allclose(filter_hmm(-y, turned), 1 - filter_hmm(y, params), atol=1e-9)


def assert_causal(online: Callable[[FloatArray], FloatArray]) -> None:
    """Cut 160 noisy rows at 40 places; every row before the cut must stay as it was."""
    y = chain(7, 160)
    full = online(y)
    for n in range(2, 160, 4):
        np.testing.assert_allclose(online(y[:n]), full[:n], rtol=0, atol=1e-12)


def test_later_rows_change_no_filtered_state() -> None:
    assert_causal(lambda y: filter_hmm(y, PARAMS))


def test_control_a_smoothed_state_is_caught() -> None:
    with pytest.raises(AssertionError, match="Mismatch"):
        assert_causal(lambda y: library(y, PARAMS)[1])


def test_control_parameters_of_the_whole_sample_are_caught() -> None:
    with pytest.raises(AssertionError, match="Mismatch"):
        assert_causal(lambda y: filter_hmm(y, fit_hmm(y)) if len(y) > 30 else y)


def test_next_moments_are_those_of_the_mixture() -> None:
    """By hand: from high = 1 the next row is low with 0.04; mean 0.96 x 0.4 - 0.04 x 0.3 = 0.372."""
    mean, std = next_moments(np.array([1.0, 0.0]), PARAMS)
    np.testing.assert_allclose(mean, [0.372, 0.07 * 0.4 - 0.93 * 0.3])
    assert std[0] == pytest.approx(np.sqrt(0.04 * (1.5**2 + 0.09) + 0.96 * (0.36 + 0.16) - 0.372**2))


def test_the_same_seed_gives_the_same_bytes_and_changes_nothing() -> None:
    y = chain(3, 200)
    before = y.copy()
    one, two = fit_hmm(y), fit_hmm(y)
    for name in ("mean", "std", "move"):
        assert getattr(one, name).tobytes() == getattr(two, name).tobytes()
    assert np.array_equal(y, before)


def test_extreme_rows_stay_finite() -> None:
    y = np.concatenate([chain(2, 100), [1e6, -1e6, 0.0]])
    assert np.isfinite(filter_hmm(y, PARAMS)).all()
    assert np.isfinite(filter_hmm(y, fit_hmm(y))).all()
    assert len(filter_hmm(y[:0], PARAMS)) == 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (np.zeros(25), "at least 26 finite numbers"),
        (np.append(chain(1, 40), np.nan), "at least 26 finite numbers"),
        (np.zeros(40), "must move"),
    ],
)
def test_refuses_what_cannot_be_fitted(changes: FloatArray, message: str) -> None:
    with pytest.raises(DataContractError, match=message):
        fit_hmm(changes)


def test_refuses_missing_changes_and_impossible_parameters() -> None:
    with pytest.raises(DataContractError, match="must be finite"):
        filter_hmm(np.array([0.1, np.nan]), PARAMS)
    with pytest.raises(DataContractError, match="order of `mean`"):
        replace(PARAMS, mean=PARAMS.mean[::-1])
    with pytest.raises(DataContractError, match="above 0"):
        replace(PARAMS, std=np.array([1.0, 0.0]))
    with pytest.raises(DataContractError, match="`starts` must be at least 1"):
        fit_hmm(chain(1, 50), starts=0)
