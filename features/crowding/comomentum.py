"""Comomentum: whether the stocks of the smallest decile move together beyond market and size."""

from __future__ import annotations

import numpy as np

from features.contracts import FloatArray
from features.crowding.comovement import market_return
from features.crowding.members import DecileArray
from features.crowding.residuals import residual_returns
from features.crowding.settings import DECILES, SMALLEST, CrowdSettings


def comomentum(returns: FloatArray, decile: DecileArray, settings: CrowdSettings) -> float:
    """Average partial correlation of each stock of the smallest decile with the rest of that decile.

    Lou and Polk (2022), "Comomentum: Inferring Arbitrage Activity from Return Correlations", Review of Financial
    Studies 35: over 52 weekly returns the partial correlation of a stock with the portfolio of its decile without it,
    given market, size and value, averaged over the decile. Their deciles are of momentum, ours of size; the panel has
    no book values, so that market and size are held fixed. The size factor is the mean of deciles 2 to 5 less that of
    deciles 6 to 10: the smallest decile is not in it.

    Parameters
    ----------
    returns : array, shape (n, k)
        Weekly, fractions; missing where there is none.
    decile : array of int8, shape (k,)
        At the close before the first week; -1 for no member.
    settings : CrowdSettings

    Returns
    -------
    float
        Missing where a decile has too few members. A portfolio of more stocks is less noisy: at the same pairwise
        correlation the number grows with the decile, slowly (by a tenth or two from 150 to 440 stocks).

    Information set: the rows passed, and the close before them.
    """
    half = DECILES // 2
    market = market_return(returns, decile)
    lower = market_return(returns, np.where((decile > SMALLEST) & (decile < half), decile, np.int8(-1)))
    upper = market_return(returns, np.where(decile >= half, decile, np.int8(-1)))
    controls = np.column_stack([market, lower - upper])
    if not np.isfinite(controls).all():
        return float("nan")
    residuals, kept = residual_returns(returns[:, decile == SMALLEST], controls, settings.coverage)
    if len(kept) < settings.least:
        return float("nan")
    return float(partial_with_rest(residuals).mean())


def partial_with_rest(residuals: FloatArray) -> FloatArray:
    """Correlation of each column with the sum of the others, shape (k,).

    Parameters
    ----------
    residuals : array, shape (n, k)
        Columns of mean zero, k >= 2, none all zero.

    Notes
    -----
    The controls' effect on a sum is the sum of their effects, so that the residual of the portfolio is the mean of the
    residuals (Frisch and Waugh 1933; exact where no week is missing).
    """
    rest = residuals.sum(axis=1, keepdims=True) - residuals
    length = np.sqrt(np.sum(residuals**2, axis=0) * np.sum(rest**2, axis=0))
    return np.asarray(np.sum(residuals * rest, axis=0) / np.where(length > 0, length, np.nan))
