"""The ridge logit against scikit-learn and a general optimiser, its clustered standard errors against simulation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from features.contracts import FloatArray
from features.errors import DataContractError
from models.linear import fit_ridge_logit


def sample(seed: int, n: int = 400, k: int = 4) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Draw features, labels, offsets and weights of a true logit."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, k))
    offset = rng.normal(-1.0, 0.5, n)
    y = (rng.random(n) < expit(offset + 0.3 + x @ np.linspace(-0.8, 0.8, k))).astype(np.float64)
    return x, y, offset, rng.uniform(0.2, 2.0, n)


def gradient(
    beta: FloatArray, x: FloatArray, y: FloatArray, offset: FloatArray, weight: FloatArray, ridge: FloatArray
) -> FloatArray:
    """Gradient of the penalised loss, written out row by row."""
    total = ridge * beta
    for row in range(len(x)):
        design = np.concatenate([[1.0], x[row]])
        total = total + weight[row] * (expit(offset[row] + design @ beta) - y[row]) * design
    return total


@pytest.mark.parametrize("penalty", [0.1, 3.0, 60.0])
def test_equals_scikit_learn_without_offset(penalty: float) -> None:
    x, y, _, weight = sample(1)
    fit = fit_ridge_logit(x, y, np.zeros(len(y)), weight, penalty)
    reference = LogisticRegression(C=1 / penalty, tol=1e-12, max_iter=10_000).fit(x, y, sample_weight=weight)
    np.testing.assert_allclose(fit.coef, reference.coef_[0], atol=1e-6)
    np.testing.assert_allclose(fit.intercept, reference.intercept_[0], atol=1e-6)
    np.testing.assert_allclose(fit.decision_function(x), reference.decision_function(x), atol=1e-6)


@pytest.mark.parametrize("soft", [False, True])
def test_equals_a_general_optimiser_with_offset_weights_and_own_penalties(soft: bool) -> None:
    x, y, offset, weight = sample(2)
    if soft:
        y = np.clip(0.8 * y + 0.1, 0, 1)
    penalty = np.array([0.5, 2.0, 8.0, 32.0])
    ridge = np.concatenate([[4.0], penalty])
    fit = fit_ridge_logit(x, y, offset, weight, penalty, intercept_penalty=4.0)

    def loss(beta: FloatArray) -> float:
        eta = offset + beta[0] + x @ beta[1:]
        return float(weight @ (np.logaddexp(0, eta) - y * eta) + 0.5 * ridge @ beta**2)

    reference = minimize(loss, np.zeros(5), method="BFGS", options={"gtol": 1e-8})
    mine = np.concatenate([[fit.intercept], fit.coef])
    np.testing.assert_allclose(mine, reference.x, atol=1e-5)
    assert loss(mine) <= loss(reference.x) + 1e-12


@given(
    seed=st.integers(0, 10_000),
    n=st.integers(2, 60),
    k=st.integers(1, 5),
    scale=st.floats(0.01, 50.0),
    penalty=st.floats(0.01, 1e4),
)
def test_gradient_is_zero_at_the_optimum(seed: int, n: int, k: int, scale: float, penalty: float) -> None:
    x, y, offset, weight = sample(seed, n, k)
    x, offset = x * scale, offset * 4
    fit = fit_ridge_logit(x, y, offset, weight, penalty, intercept_penalty=0.3)
    beta = np.concatenate([[fit.intercept], fit.coef])
    ridge = np.concatenate([[0.3], np.full(k, penalty)])
    assert np.abs(gradient(beta, x, y, offset, weight, ridge)).max() < 1e-6 * n * max(scale, 1.0)


def test_a_held_intercept_stays_at_zero() -> None:
    x, y, offset, weight = sample(3)
    fit = fit_ridge_logit(x, y, offset, weight, 1.0, intercept_penalty=1e12)
    assert abs(fit.intercept) < 1e-8
    assert np.abs(fit.coef).min() > 0.01


def test_a_weight_of_two_is_a_row_twice() -> None:
    x, y, offset, _ = sample(4, n=60)
    weight = np.ones(60)
    weight[:20] = 2.0
    once = fit_ridge_logit(x, y, offset, weight, 1.0)
    rows = np.concatenate([np.arange(20), np.arange(60)])
    twice = fit_ridge_logit(x[rows], y[rows], offset[rows], np.ones(80), 1.0)
    np.testing.assert_allclose(once.coef, twice.coef, atol=1e-9)


def test_the_stronger_the_penalty_the_smaller_the_coefficients() -> None:
    x, y, offset, weight = sample(5)
    sizes = [np.abs(fit_ridge_logit(x, y, offset, weight, penalty).coef).sum() for penalty in (0.1, 10, 1e3, 1e7)]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] < 1e-3


def test_no_overshoot_where_a_full_step_would_diverge() -> None:
    # From log-odds of 9 a full Newton step lands far on the other side, where the curvature is as small.
    y = np.zeros(50)
    x = np.linspace(-0.1, 0.1, 50)[:, None]
    fit = fit_ridge_logit(x, y, np.full(50, 9.0), np.ones(50), 1.0, intercept_penalty=0.01)
    beta = np.array([fit.intercept, fit.coef[0]])
    ridge = np.array([0.01, 1.0])
    assert np.abs(gradient(beta, x, y, np.full(50, 9.0), np.ones(50), ridge)).max() < 1e-6


def test_clustered_covariance_equals_the_naive_sum_over_clusters() -> None:
    x, y, offset, weight = sample(6, n=120)
    cluster = np.repeat(np.arange(40.0), 3)
    fit = fit_ridge_logit(x, y, offset, weight, 2.0, intercept_penalty=1.0, cluster=cluster)
    beta = np.concatenate([[fit.intercept], fit.coef])
    design = np.column_stack([np.ones(120), x])
    p = expit(offset + design @ beta)
    hessian = np.diag([1.0, 2.0, 2.0, 2.0, 2.0])
    meat = np.zeros((5, 5))
    for row in range(120):
        hessian += weight[row] * p[row] * (1 - p[row]) * np.outer(design[row], design[row])
    for label in np.unique(cluster):
        score = sum(weight[row] * (p[row] - y[row]) * design[row] for row in np.flatnonzero(cluster == label))
        meat += np.outer(score, score)
    expected = np.linalg.inv(hessian) @ meat @ np.linalg.inv(hessian)
    np.testing.assert_allclose(fit.covariance, expected, rtol=1e-8)
    errors = [np.sqrt(row @ expected @ row) for row in design]
    np.testing.assert_allclose(fit.standard_error(x), errors, rtol=1e-8)


def test_clustered_errors_hold_where_rows_repeat_and_naive_ones_do_not() -> None:
    # Four pairs on one date that all tell the same: 100 dates are worth 100 rows, not 400.
    rng = np.random.default_rng(7)
    slopes, clustered, naive = [], [], []
    for _ in range(120):
        x = np.repeat(rng.normal(size=(100, 1)), 4, axis=0)
        y = np.repeat((rng.random(100) < 0.3).astype(np.float64), 4)
        args = (x, y, np.zeros(400), np.ones(400), 1e-6)
        dates = np.repeat(np.arange(100.0), 4)
        fit = fit_ridge_logit(*args, cluster=dates)
        slopes.append(fit.coef[0])
        clustered.append(np.sqrt(fit.covariance[1, 1]))
        naive.append(np.sqrt(fit_ridge_logit(*args).covariance[1, 1]))
    true = np.std(slopes)
    assert 0.8 < np.mean(clustered) / true < 1.2
    assert np.mean(naive) / true < 0.7


def test_inputs_are_not_changed_and_results_repeat() -> None:
    parts = sample(8)
    kept = [part.copy() for part in parts]
    one, two = (fit_ridge_logit(*parts, 1.0) for _ in range(2))
    assert all(np.array_equal(part, old) for part, old in zip(parts, kept, strict=True))
    assert np.array_equal(one.coef, two.coef)
    assert np.array_equal(one.covariance, two.covariance)


def test_bad_input_is_refused_in_words() -> None:
    x, y, offset, weight = sample(9, n=20)
    with pytest.raises(DataContractError, match="equal length"):
        fit_ridge_logit(x, y[:-1], offset, weight, 1.0)
    with pytest.raises(DataContractError, match="equal length"):
        fit_ridge_logit(x[:, 0], y, offset, weight, 1.0)
    with pytest.raises(DataContractError, match="finite"):
        fit_ridge_logit(np.where(x > 1, np.nan, x), y, offset, weight, 1.0)
    with pytest.raises(DataContractError, match="no optimum"):
        fit_ridge_logit(np.linspace(-1, 1, 20)[:, None], (np.arange(20) > 9).astype(float), offset * 0, weight, 0.0)
