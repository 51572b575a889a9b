"""The joint regression on all size tiers, in which the smallest enters only with what the others do not explain."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.special import stdtrit
from statsmodels.regression.linear_model import OLS

from features.contracts import FloatArray
from features.errors import DataContractError
from models.correlation import Estimate, newey_west_lags

MIN_DAYS = 60
"""Fewer days say nothing about tiers that correlate at 0.9 and more."""


class JointRegression(NamedTuple):
    """What the regression says.

    Parameters
    ----------
    exposure : tuple of Estimate, length k
        The last is that of the smallest tier's residual, orthogonal to the other tiers: the same number as its
        coefficient beside them. The others are those of the regression without the smallest tier.
    r_squared, incremental_r_squared : float
        Fraction of the fund's variance that all tiers explain, and what of it the smallest adds.
    """

    exposure: tuple[Estimate, ...]
    r_squared: float
    incremental_r_squared: float


def joint_regression(fund: FloatArray, tiers: FloatArray, level: float = 0.95) -> JointRegression:
    """Regress a fund on all tiers, the smallest as its residual orthogonal to the others (Frisch and Waugh 1933).

    The intervals are those of Newey and West (1987) with small-sample correction and Student's t. Measured on
    windows of 120 days of A-shares and a fund whose own noise is 0.3% a day (slow tests): the nominal 95% interval of
    the smallest tier misses zero in about 7% of funds without any (up to 9% on simulated tiers with bursts of
    volatility). It sees a weight of 20% in 94% of the windows from November 2021 to November 2023, in 83% of
    those since 2019 and in 65% of those since 2011, when micro-caps did less of their own.

    Parameters
    ----------
    fund : array, shape (n,)
        Simple daily returns, fractions.
    tiers : array, shape (n, k)
        Simple daily returns from the largest to the smallest tier, k >= 2.
    level : float
        Coverage, a fraction.

    Raises
    ------
    DataContractError
        If the shapes do not fit, there are fewer than `MIN_DAYS` rows, a value is not finite, the fund does not vary,
        or a tier is constant or a mix of the others.

    Information set: the rows passed.
    """
    if tiers.ndim != 2 or tiers.shape[1] < 2 or fund.shape != (len(tiers),):
        raise DataContractError(
            f"`fund` must have shape (n,) and `tiers` (n, k) with two tiers or more; got {fund.shape} and {tiers.shape}"
        )
    n = len(fund)
    if n < MIN_DAYS:
        raise DataContractError(f"a style analysis needs at least {MIN_DAYS} days; got {n}")
    if not (np.isfinite(fund).all() and np.isfinite(tiers).all()):
        raise DataContractError("`fund` and `tiers` must be finite")
    if np.ptp(fund) == 0:
        raise DataContractError("`fund` must vary; its returns are constant")
    if not separate(tiers):
        raise DataContractError("`tiers` must differ; one of them is constant or a mix of the others on these days")
    others = np.column_stack([np.ones(n), tiers[:, :-1]])
    own = tiers[:, -1] - others @ np.linalg.lstsq(others, tiers[:, -1], rcond=None)[0]
    covariance = {"maxlags": newey_west_lags(n), "use_correction": True}
    fit = OLS(fund, np.column_stack([others, own])).fit(cov_type="HAC", cov_kwds=covariance, use_t=True)
    half = stdtrit(n - tiers.shape[1] - 1, (1 + level) / 2) * np.asarray(fit.bse)
    exposure = [Estimate(float(b), float(b - h), float(b + h)) for b, h in zip(fit.params, half, strict=True)]
    total = float(np.sum((fund - fund.mean()) ** 2))
    r_squared = 1 - float(np.sum(np.asarray(fit.resid) ** 2)) / total
    return JointRegression(tuple(exposure[1:]), r_squared, exposure[-1].value ** 2 * float(np.sum(own**2)) / total)


def separate(tiers: FloatArray) -> bool:
    """Whether no tier is constant or a mix of the others, beyond rounding."""
    spread = tiers.std(axis=0)
    if (spread == 0).any():
        return False
    singular = np.linalg.svd((tiers - tiers.mean(axis=0)) / spread, compute_uv=False)
    return bool(singular[-1] > 1e-6 * singular[0])
