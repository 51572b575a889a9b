"""Ridge logistic regression with an offset: the shrunk linear part of a head and its calibrators."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from features.contracts import FloatArray
from features.errors import DataContractError

_MAX_STEPS = 100
_TOLERANCE = 1e-10


@dataclass(frozen=True, eq=False)
class RidgeLogit:
    """A fitted ridge logit; log-odds are offset + intercept + x @ coef.

    Parameters
    ----------
    coef : array, shape (k,)
    intercept : float
    covariance : array, shape (k + 1, k + 1)
        Sandwich covariance of (intercept, coef), clustered where clusters were given.
    """

    coef: FloatArray
    intercept: float
    covariance: FloatArray

    def decision_function(self, x: FloatArray) -> FloatArray:
        """Return the log-odds beyond the offset, shape (n,)."""
        return self.intercept + x @ self.coef

    def standard_error(self, x: FloatArray) -> FloatArray:
        """Return the standard error of `decision_function`, shape (n,)."""
        design = np.column_stack([np.ones(len(x)), x])
        variance: FloatArray = np.einsum("ij,jk,ik->i", design, self.covariance, design)
        return np.sqrt(np.maximum(variance, 0.0))


def fit_ridge_logit(
    x: FloatArray,
    y: FloatArray,
    offset: FloatArray,
    weight: FloatArray,
    penalty: float | FloatArray,
    *,
    intercept_penalty: float = 0.0,
    cluster: FloatArray | None = None,
) -> RidgeLogit:
    """Minimise the weighted log loss plus half the penalty times the squared coefficients, by Newton's method.

    Parameters
    ----------
    x : array, shape (n, k)
    y : array, shape (n,)
        Labels in [0, 1]; soft labels are allowed.
    offset, weight : array, shape (n,)
        Log-odds held fixed, and row weights.
    penalty : float or array, shape (k,)
        L2 penalty of the coefficients, in units of weighted rows.
    intercept_penalty : float
        L2 penalty of the intercept.
    cluster : array, shape (n,), optional
        Cluster labels (e.g. decision dates) of the sandwich covariance; rows are their own clusters by default.

    Returns
    -------
    RidgeLogit

    Raises
    ------
    DataContractError
        If an input is not finite, the shapes differ, or there is no optimum (no penalty, separable classes).
    """
    x = np.asarray(x, dtype=np.float64)
    if not (len(x) == len(y) == len(offset) == len(weight)) or x.ndim != 2:
        raise DataContractError(f"`x`, `y`, `offset` and `weight` must have equal length; got {x.shape} and {len(y)}")
    if not all(np.isfinite(part).all() for part in (x, y, offset, weight)):
        raise DataContractError("`x`, `y`, `offset` and `weight` must be finite")
    design = np.column_stack([np.ones(len(x)), x])
    ridge = np.concatenate([[intercept_penalty], np.broadcast_to(penalty, x.shape[1])]).astype(np.float64)

    def loss(beta: FloatArray) -> float:
        eta = offset + design @ beta
        return float(weight @ (np.logaddexp(0.0, eta) - y * eta) + 0.5 * ridge @ beta**2)

    beta = np.zeros(design.shape[1])
    for _ in range(_MAX_STEPS):
        p = expit(offset + design @ beta)
        gradient = design.T @ (weight * (p - y)) + ridge * beta
        hessian = (design * (weight * p * (1 - p))[:, None]).T @ design + np.diag(np.maximum(ridge, 1e-9))
        step = np.linalg.solve(hessian, gradient)
        longest = float(np.abs(step).max())
        if longest <= _TOLERANCE * max(1.0, float(np.abs(beta).max())):
            beta = beta - step
            break
        # Far from the optimum a full step may overshoot.
        before = loss(beta)
        while longest > _TOLERANCE and loss(beta - step) > before + 1e-12 * abs(before):
            step, longest = step / 2, longest / 2
        beta = beta - step
    else:
        raise DataContractError(f"the ridge logit found no optimum in {_MAX_STEPS} steps; use a penalty above zero")
    bread = np.linalg.inv(hessian)
    score = design * (weight * (expit(offset + design @ beta) - y))[:, None]
    if cluster is not None:
        _, member = np.unique(cluster, return_inverse=True)
        grouped = np.zeros((member.max() + 1, score.shape[1]))
        np.add.at(grouped, member, score)
        score = grouped
    return RidgeLogit(beta[1:], float(beta[0]), bread @ (score.T @ score) @ bread)
