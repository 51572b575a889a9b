"""Closed forms against the full matrix, statsmodels and numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from statsmodels.regression.linear_model import OLS

from features.contracts import FloatArray, IntArray
from features.crowding.comomentum import comomentum, partial_with_rest
from features.crowding.comovement import absorption_ratio, average_correlation, comovement, market_return
from features.crowding.residuals import residual_returns, unit_length
from features.crowding.settings import CrowdSettings
from tests.features.crowding.toy_stocks import QUICK

FEW = CrowdSettings(window=30, least=3)


def units(returns: FloatArray, controls: FloatArray, coverage: float) -> tuple[FloatArray, IntArray]:
    left, kept = residual_returns(returns, controls, coverage)
    return unit_length(left), kept


def draw(seed: int, n: int = 30, k: int = 40, gaps: float = 0.0) -> FloatArray:
    rng = np.random.default_rng(seed)
    returns = 0.01 * rng.standard_normal((n, 1)) + 0.02 * rng.standard_normal((n, k))
    return np.where(rng.random((n, k)) < gaps, np.nan, returns)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 60), st.integers(5, 60))
def test_average_correlation_is_that_of_the_full_matrix(seed: int, k: int, n: int) -> None:
    returns = draw(seed, n, k)
    market = returns.mean(axis=1)
    residuals, kept = units(returns, market[:, None], 1.0)
    left = np.column_stack([OLS(y, np.column_stack([np.ones(n), market])).fit().resid for y in returns.T])
    matrix = np.corrcoef(left[:, kept].T)
    above = matrix[np.triu_indices(len(kept), 1)]
    if len(above):
        assert_allclose(average_correlation(residuals), above.mean(), atol=1e-10)


def test_a_day_without_a_return_is_a_residual_of_zero_on_the_stocks_own_regression() -> None:
    returns = draw(1, gaps=0.1)
    market = np.nanmean(returns, axis=1)
    residuals, kept = units(returns, market[:, None], 0.8)
    assert 0 < len(kept) < returns.shape[1]
    for column, stock in enumerate(kept):
        there = np.isfinite(returns[:, stock])
        left = OLS(returns[there, stock], np.column_stack([np.ones(there.sum()), market[there]])).fit().resid
        assert_allclose(residuals[there, column], left / np.linalg.norm(left), atol=1e-12)
        assert (residuals[~there, column] == 0).all()


def test_too_few_days_and_what_does_not_move_are_left_out() -> None:
    returns = draw(2, k=6)
    returns[:8, 0] = np.nan
    returns[:, 1] = 0.0
    returns[:, 2] = 0.01 + 2 * returns[:, 3]
    residuals, kept = units(returns, returns[:, [3]], 0.8)
    assert kept.tolist() == [4, 5]
    assert_allclose(np.linalg.norm(residuals, axis=0), 1.0)
    still, none = units(returns, np.zeros((30, 1)), 0.5)
    assert still.shape == (30, 0)
    assert len(none) == 0


def test_absorption_is_the_share_of_the_first_eigenvalues() -> None:
    residuals, _ = units(draw(3, 30, 50), draw(4, 30, 1), 1.0)
    values = np.sort(np.linalg.eigvalsh(np.corrcoef(residuals.T)))[::-1]
    assert_allclose(absorption_ratio(residuals), values[:6].sum() / 50, rtol=1e-10)
    wide, _ = units(draw(3, 60, 10), draw(4, 60, 1), 1.0)
    values = np.sort(np.linalg.eigvalsh(np.corrcoef(wide.T)))[::-1]
    assert_allclose(absorption_ratio(wide), values[:2].sum() / 10, rtol=1e-10)


def test_one_factor_absorbs_all_and_orthogonal_columns_a_fifth() -> None:
    one = np.linspace(-1, 1, 10)
    alike = np.repeat((one / np.linalg.norm(one))[:, None], 7, axis=1)
    assert_allclose(absorption_ratio(alike), 1.0)
    assert_allclose(average_correlation(alike), 1.0)
    assert_allclose(absorption_ratio(np.eye(10)), 0.2)
    assert_allclose(average_correlation(np.eye(10)), 0.0, atol=1e-15)
    assert np.isnan(average_correlation(np.eye(10)[:, :1]))
    assert np.isnan(absorption_ratio(np.empty((10, 0))))


def test_a_crowd_in_the_smallest_decile_is_seen_there_only() -> None:
    rng = np.random.default_rng(5)
    decile = np.repeat(np.arange(10), 12).astype(np.int8)
    returns = draw(6, 30, 120)
    quiet = comovement(returns, decile, FEW)
    returns[:, decile == 0] += 0.02 * rng.standard_normal((30, 1))
    loud = comovement(returns, decile, FEW)
    # Two factors of equal strength: half of the variance is shared.
    assert quiet.residual_correlation < 0.1
    assert 0.35 < loud.residual_correlation < 0.65
    assert loud.residual_correlation_excess > quiet.residual_correlation_excess + 0.3
    assert loud.absorption_excess > quiet.absorption_excess + 0.1


def test_what_cannot_be_measured_is_missing() -> None:
    decile = np.repeat(np.arange(10), 12).astype(np.int8)
    returns = draw(6, 30, 120)
    assert np.isfinite(comovement(returns, decile, FEW)).all()
    assert np.isnan(comovement(returns, decile, CrowdSettings(least=13))).all()
    holiday = returns.copy()
    holiday[3] = np.nan
    assert np.isnan(comovement(holiday, decile, FEW)).all()
    assert np.isnan(comomentum(holiday, decile, FEW))
    assert np.isnan(comomentum(returns, decile, CrowdSettings(least=13)))


def test_comomentum_is_the_mean_partial_correlation_with_the_rest() -> None:
    """Stock by stock with regressions of statsmodels, as Lou and Polk describe it."""
    returns = draw(8, 52, 120)
    rng = np.random.default_rng(0)
    decile = rng.permutation(np.repeat(np.arange(10), 12)).astype(np.int8)
    returns[:, decile == 0] += 0.02 * rng.standard_normal((52, 1))
    lower, upper = (returns[:, (decile >= low) & (decile <= high)].mean(axis=1) for low, high in ((1, 4), (5, 9)))
    design = np.column_stack([np.ones(52), returns.mean(axis=1), lower - upper])
    own = returns[:, decile == 0]
    partial = []
    for stock in range(own.shape[1]):
        rest = np.delete(own, stock, axis=1).mean(axis=1)
        a, b = (OLS(y, design).fit().resid for y in (own[:, stock], rest))
        partial.append(np.corrcoef(a, b)[0, 1])
    assert_allclose(comomentum(returns, decile, QUICK), np.mean(partial), rtol=1e-9)


def test_partial_with_the_rest_by_hand() -> None:
    half = np.sqrt(0.5)
    columns = np.array([[half, half, half], [-half, -half, 0.0], [0.0, 0.0, -half]])
    # The first two are one; the third stands at one half to each.
    assert_allclose(partial_with_rest(columns), [1.5 / np.sqrt(3), 1.5 / np.sqrt(3), 0.5])


def test_market_is_the_mean_of_members_only() -> None:
    returns = np.array([[0.01, 0.03, np.nan, 9.0], [np.nan, np.nan, np.nan, 9.0]])
    decile = np.array([0, 5, 9, -1], dtype=np.int8)
    market = market_return(returns, decile)
    assert market[0] == pytest.approx(0.02)
    assert np.isnan(market[1])
