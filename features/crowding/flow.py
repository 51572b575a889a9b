"""Whether money goes one way: the smallest decile against the middle, day after day and in sum."""

from __future__ import annotations

import numpy as np

from features.contracts import Float32Array, FloatArray
from features.crowding.members import DecileArray
from features.crowding.settings import DECILES, MIDDLE, SMALLEST


def decile_returns(returns: Float32Array, decile: DecileArray) -> FloatArray:
    """Equal-weight daily return of each decile, members as of the close before.

    Parameters
    ----------
    returns : array of float32, shape (n_days, n_codes)
        As `counted_returns`.
    decile : array of int8, same shape
        As `size_deciles`.

    Returns
    -------
    array of float64, shape (n_days, 10)
        Fractions; the first row is missing, and so is a decile without members.

    Information set: row i uses returns of row i and deciles of row i - 1.
    """
    out = np.full((len(returns), DECILES), np.nan)
    for row in range(1, len(returns)):
        at = np.flatnonzero((decile[row - 1] >= 0) & np.isfinite(returns[row]))
        group = decile[row - 1, at]
        count = np.bincount(group, minlength=DECILES)
        total = np.bincount(group, weights=returns[row, at], minlength=DECILES)
        out[row] = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    return out


def small_less_middle(deciles: FloatArray) -> FloatArray:
    """Daily log return of the smallest decile less that of the two in the middle, shape (n,)."""
    middle = deciles[:, list(MIDDLE)].mean(axis=1)
    return np.asarray(np.log1p(deciles[:, SMALLEST]) - np.log1p(middle))


def serial_correlation(gap: FloatArray) -> float:
    """First-order autocorrelation of a window, e.g. of the smallest decile less the middle.

    Steady one-way flow, above all forced selling over several days, makes a relative return go on the next day.

    Parameters
    ----------
    gap : array, shape (n,)
        Without gaps, in order of time.

    Returns
    -------
    float
        Missing where a value is missing or nothing moves.

    Information set: the rows passed.
    """
    before, after = gap[:-1], gap[1:]
    if not np.isfinite(gap).all() or np.ptp(before) == 0 or np.ptp(after) == 0:
        return float("nan")
    return float(np.corrcoef(before, after)[0, 1])
