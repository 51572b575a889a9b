"""Plain and partial correlation with an interval that holds for daily returns, whose volatility clusters."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.stats import norm
from statsmodels.stats.sandwich_covariance import S_hac_simple

from features.contracts import FloatArray
from features.errors import DataContractError

_EXACT = 1e-12
"""A correlation this close to one in square has no width."""
EXPLAINED = 1e-10
"""A residual with less than this share of the variance is rounding: the other columns explain all of it."""


class Estimate(NamedTuple):
    """A number and its interval."""

    value: float
    low: float
    high: float


def newey_west_lags(days: int) -> int:
    """Return the lag of the Bartlett kernel, floor(4 (n / 100)^(2/9)) (Newey and West 1994).

    Examples
    --------
    >>> newey_west_lags(120), newey_west_lags(3000)
    (4, 8)
    """
    return int(4 * (days / 100) ** (2 / 9))


def correlation(x: FloatArray, y: FloatArray, level: float = 0.95, given: FloatArray | None = None) -> Estimate:
    """Return the correlation of two series, of what `given` leaves of them where it is given, and its interval.

    The interval is symmetric on Fisher's scale atanh(r). Its variance is the long-run variance of the influence
    function x y - r (x^2 + y^2) / 2 (standardised; Bartlett kernel) over (1 - r^2)^2 (n - k - 3). For independent
    normal rows that is Fisher's 1 / (n - k - 3), which it never undercuts; for returns with shared bursts of volatility
    it is larger. On 250 such days a 95% interval holds the truth in about 93% of draws, Fisher's in 84% (slow test).

    Parameters
    ----------
    x, y : array, shape (n,)
        Returns of the same days, in order of time.
    level : float
        Coverage of the interval, a fraction.
    given : array, shape (n, k), optional
        Columns held fixed: the partial correlation given them.

    Returns
    -------
    Estimate
        Missing where `given` explains all of `x` or `y`, so that nothing is left to correlate.

    Raises
    ------
    DataContractError
        If the lengths differ, an input is not finite or does not vary, there are too few rows, or `level` is not
        inside (0, 1).

    Information set: the rows passed.
    """
    held = np.empty((len(x), 0)) if given is None else given
    k = held.shape[1]
    if not 0 < level < 1:
        raise DataContractError(f"`level` must be inside (0, 1); got {level:g}")
    if not len(x) == len(y) == len(held):
        raise DataContractError(f"`x`, `y` and `given` must have equal length; got {len(x)}, {len(y)}, {len(held)}")
    if len(x) < k + 5:
        raise DataContractError(f"a correlation given {k} columns needs at least {k + 5} rows; got {len(x)}")
    if not all(np.isfinite(part).all() for part in (x, y, held)):
        raise DataContractError("`x`, `y` and `given` must be finite")
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        raise DataContractError("`x` and `y` must vary; one of them is constant")
    pair = np.column_stack([x, y]).astype(np.float64)
    pair -= pair.mean(axis=0)
    total = np.sum(pair**2, axis=0)
    if k:
        design = held - held.mean(axis=0)
        pair = pair - design @ np.linalg.lstsq(design, pair, rcond=None)[0]
    left = np.sum(pair**2, axis=0)
    if (left <= EXPLAINED * total).any():
        return Estimate(np.nan, np.nan, np.nan)
    pair = pair / np.sqrt(left / len(x))
    r = float(np.clip(np.mean(pair[:, 0] * pair[:, 1]), -1.0, 1.0))
    if 1 - r**2 < _EXACT:
        return Estimate(r, r, r)
    influence = pair[:, 0] * pair[:, 1] - r / 2 * np.sum(pair**2, axis=1)
    long_run = float(S_hac_simple(influence, newey_west_lags(len(x)))[0, 0]) / len(x)
    spread = np.sqrt(max(long_run / (1 - r**2) ** 2, 1.0) / (len(x) - k - 3))
    half = float(norm.ppf((1 + level) / 2)) * spread
    return Estimate(r, float(np.tanh(np.arctanh(r) - half)), float(np.tanh(np.arctanh(r) + half)))
