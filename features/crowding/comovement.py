"""How alike the stocks of one decile move once the market is taken out: average correlation and absorption ratio."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from features.contracts import FloatArray
from features.crowding.members import DecileArray
from features.crowding.residuals import residual_returns, unit_length
from features.crowding.settings import DECILES, SMALLEST, CrowdSettings


class Comovement(NamedTuple):
    """The smallest decile, and how far it stands above the mean of the nine others.

    Parameters
    ----------
    residual_correlation, residual_correlation_excess : float
        Average pairwise correlation of residuals.
    absorption, absorption_excess : float
        Share of the residuals' variance that a fifth of the eigenvectors absorbs, a fraction.
    """

    residual_correlation: float
    residual_correlation_excess: float
    absorption: float
    absorption_excess: float


def average_correlation(residuals: FloatArray) -> float:
    """Average of all pairwise correlations, without the matrix of them.

    The squared length of the sum of k unit vectors is k plus the sum of all pairwise products (the variance of the mean
    of standardised residuals says the same).

    Parameters
    ----------
    residuals : array, shape (n, k)
        Columns of length one, as `unit_length` returns them.

    Returns
    -------
    float
        Missing for fewer than two columns.

    Examples
    --------
    >>> round(average_correlation(np.array([[1.0, 0.6], [0.0, 0.8]])), 12)
    0.6
    """
    k = residuals.shape[1]
    if k < 2:
        return float("nan")
    return float((np.sum(residuals.sum(axis=1) ** 2) - k) / (k * (k - 1)))


def absorption_ratio(residuals: FloatArray, absorbed: float = 0.2) -> float:
    """Share of total variance that the first eigenvectors absorb (Kritzman, Li, Page and Rigobon 2011).

    They take the first fifth of the eigenvectors of 51 industries over 500 days. Here stocks outnumber days, so that a
    fifth of all that can differ from zero is taken: of the smaller of stocks and days. Each stock has unit variance.
    The eigenvalues come from the Gram matrix on the smaller side. Noise alone makes the ratio large, and larger the
    fewer the stocks: read its excess over other deciles of the same size, or its percentile.

    Parameters
    ----------
    residuals : array, shape (n, k)
        Columns of length one.
    absorbed : float
        Share of the eigenvectors, a fraction.

    Returns
    -------
    float
        A fraction; missing without columns.
    """
    n, k = residuals.shape
    if k == 0:
        return float("nan")
    gram = residuals @ residuals.T if n <= k else residuals.T @ residuals
    values = np.linalg.eigvalsh(gram)
    return float(values[-max(1, round(absorbed * len(values))) :].sum() / k)


def comovement(returns: FloatArray, decile: DecileArray, settings: CrowdSettings) -> Comovement:
    """Measure one window.

    The market is the equal-weight mean of all members: what is left of the smallest decile then holds the size effect
    and whatever else moves small stocks together.

    Parameters
    ----------
    returns : array, shape (n, k)
        Daily, fractions; missing where there is none.
    decile : array of int8, shape (k,)
        At the close before the first row; -1 for no member.
    settings : CrowdSettings

    Returns
    -------
    Comovement
        Missing where a decile has fewer than `least` members with enough days.

    Information set: the rows passed, and the close before them.
    """
    market = market_return(returns, decile)
    if not np.isfinite(market).all():
        return Comovement(*[float("nan")] * 4)
    member = np.flatnonzero(decile >= 0)
    left, kept = residual_returns(returns[:, member], market[:, None], settings.coverage)
    residuals = unit_length(left)
    group = decile[member[kept]]
    both = np.full((DECILES, 2), np.nan)
    for number in range(DECILES):
        own = residuals[:, group == number]
        if own.shape[1] >= settings.least:
            both[number] = average_correlation(own), absorption_ratio(own, settings.absorbed)
    small, others = both[SMALLEST], np.delete(both, SMALLEST, axis=0).mean(axis=0)
    (correlation, absorption), (more_correlated, more_absorbed) = small, small - others
    return Comovement(float(correlation), float(more_correlated), float(absorption), float(more_absorbed))


def market_return(returns: FloatArray, decile: DecileArray) -> FloatArray:
    """Equal-weight mean of the members of all deciles, shape (n,); missing on a day on which none has a return."""
    own = returns[:, decile >= 0]
    count = np.isfinite(own).sum(axis=1)
    return np.where(count > 0, np.nansum(own, axis=1) / np.maximum(count, 1), np.nan)
