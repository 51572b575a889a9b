"""Scores of tail forecasts: quantile, quantile with expected shortfall, and the whole lower tail; their differences.

All are negatively oriented losses, one per row. Outcomes and forecasts are log returns (fractions). Upper tails are
scored by turning the sign of everything. Levels of FZ0 depend on the unit of the outcome, so only differences between
two models on the same rows say anything.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from arch.bootstrap import StationaryBootstrap

from features.contracts import FloatArray, TimeArray
from features.errors import DataContractError

_FIXED_B: dict[float, tuple[float, float, float, float]] = {
    0.80: (1.2816, 1.3040, 0.5135, -0.3386),
    0.90: (1.6449, 2.1859, 0.3142, -0.3427),
    0.95: (1.9600, 2.9694, 0.4160, -0.5324),
    0.98: (2.3263, 4.1618, 0.5368, -0.9060),
}
"""Critical values of a mean with the Bartlett kernel as polynomial of bandwidth / dates, by two-sided coverage
(Kiefer and Vogelsang 2005)."""


class LossDifference(NamedTuple):
    """Mean loss of a model minus that of a yardstick, with an interval; below zero the model is better.

    `n` rows on `dates` decision dates.
    """

    mean: float
    low: float
    high: float
    n: int
    dates: int


def pinball(quantile: FloatArray, y: FloatArray, level: float) -> FloatArray:
    """Return the pinball loss of a quantile forecast (Koenker and Bassett 1978), shape (n,).

    Examples
    --------
    >>> pinball(np.array([-1.0, -1.0]), np.array([-2.0, 1.0]), 0.05).round(3)
    array([0.95, 0.1 ])
    """
    error = y - quantile
    loss: FloatArray = np.where(error < 0, level - 1, level) * error
    return loss


def fz0(var: FloatArray, es: FloatArray, y: FloatArray, level: float) -> FloatArray:
    """Return the joint loss of quantile and expected shortfall that is homogeneous of degree zero, shape (n,).

    L = -(1 / (a e)) 1{y <= v} (v - y) + v / e + log(-e) - 1 (Patton, Ziegel and Chen 2019; of the class of
    Fissler and Ziegel 2016). Missing forecasts or outcomes give missing losses.

    Parameters
    ----------
    var, es : array, shape (n,)
        Lower-tail quantile and expected shortfall, both below zero, es <= var.
    y : array, shape (n,)
        Outcomes.
    level : float
        Probability a of the tail, a fraction.

    Raises
    ------
    DataContractError
        If a forecast is not negative or an expected shortfall lies above its quantile.

    Examples
    --------
    >>> fz0(np.array([-1.0, -1.0]), np.array([-2.0, -2.0]), np.array([0.0, -1.2]), 0.05).round(4)
    array([0.1931, 2.1931])
    """
    bad = (var >= 0) | (es > var)
    if bad.any():
        first = int(np.flatnonzero(bad)[0])
        raise DataContractError(f"`var` and `es` must hold es <= var < 0; got {es[first]} and {var[first]}")
    hit = y <= var
    loss: FloatArray = np.where(hit, (var - y) / (level * -es), 0.0) + var / es + np.log(-es) - 1.0
    return np.where(np.isnan(y), np.nan, loss)


def crps(
    values: FloatArray, weights: FloatArray, y: FloatArray | float, threshold: FloatArray | float = np.inf
) -> FloatArray:
    """Return the CRPS of weighted samples, or its lower tail's share: the integral of (F(z) - 1{y <= z})^2 below.

    The integral up to `threshold` is the threshold-weighted score with weight 1{z <= threshold} (Gneiting and Ranjan
    2011). It equals the CRPS after cutting sample and outcome at the threshold (Allen, Ginsbourger and Ziegel 2023),
    and that is E|X - y| - E|X - X'| / 2. Missing forecasts or outcomes give missing losses.

    Parameters
    ----------
    values : array, shape (..., n)
        Forecast samples in ascending order.
    weights : array, shape (n,)
        Positive, of any sum; the same for every sample.
    y, threshold : float or array, shape (...)
        Outcomes, and in their unit where the tail ends; infinite for the whole CRPS. A threshold is known at the
        decision.

    Examples
    --------
    >>> float(crps(np.array([-1.0, 1.0]), np.array([0.5, 0.5]), 0.0))
    0.5
    >>> float(crps(np.array([-1.0, 1.0]), np.array([0.5, 0.5]), 0.0, threshold=-0.5))
    0.125
    """
    edge = np.asarray(threshold, dtype=np.float64)
    x = np.minimum(values, edge[..., None])
    w = np.asarray(weights, dtype=np.float64) / np.sum(weights)
    # Sum over pairs of w_i w_j |x_i - x_j| / 2, of an ordered sample, from the masses below and above each value.
    spread = x @ (w * (2 * (np.cumsum(w) - w) + w - 1))
    loss: FloatArray = np.abs(x - np.minimum(y, edge)[..., None]) @ w - spread
    return loss


def quantile_weights(levels: FloatArray) -> FloatArray:
    """Return the mass each quantile of a set stands for, so that the set can be scored as a weighted sample.

    A quantile stands for the levels nearer to it than to its neighbours, shape (k,).

    Raises
    ------
    DataContractError
        If the levels are not increasing inside (0, 1).

    Examples
    --------
    >>> quantile_weights(np.array([0.1, 0.5, 0.9]))
    array([0.3, 0.4, 0.3])
    """
    edges = np.concatenate([[0.0], (levels[1:] + levels[:-1]) / 2, [1.0]])
    if not (np.diff(np.concatenate([[0.0], levels, [1.0]])) > 0).all():
        raise DataContractError(f"`levels` must increase inside (0, 1); got {levels.tolist()}")
    return np.diff(edges)


def loss_difference(
    loss: FloatArray, yardstick: FloatArray, dates: TimeArray, *, level: float = 0.90
) -> LossDifference:
    """Return the mean difference of two losses with a HAC interval, clustered by date.

    Rows with a missing loss on either side are left out. The differences of one date enter together. The long-run
    variance uses Bartlett weights with bandwidth 1.3 sqrt(dates) (Newey and West 1987; Lazarus, Lewis, Stock and
    Watson 2018), and the critical value allows for the variance being estimated with that bandwidth (fixed-b, Kiefer
    and Vogelsang 2005): with the normal value the interval would be too narrow in samples this small.

    Parameters
    ----------
    loss, yardstick : array, shape (n,)
    dates : array of datetime64, shape (n,)
        Decision date of each row, in any order.
    level : float
        Coverage of the interval, one of 0.80, 0.90, 0.95, 0.98.

    Returns
    -------
    LossDifference
        The interval is missing below 20 dates.

    Raises
    ------
    DataContractError
        If the shapes differ or the level has no critical value.

    Information set: matured outcomes.
    """
    if level not in _FIXED_B:
        raise DataContractError(f"`level` must be one of {', '.join(map(str, _FIXED_B))}; got {level}")
    mean, sums, counts = _by_date(loss, yardstick, dates)
    rows, weeks = int(counts.sum()), len(counts)
    if weeks < 20:
        return LossDifference(mean, float("nan"), float("nan"), rows, weeks)
    influence = sums - mean * counts
    width = int(np.ceil(1.3 * np.sqrt(weeks)))
    variance = float(influence @ influence)
    for lag in range(1, width):
        variance += 2 * (1 - lag / width) * float(influence[lag:] @ influence[:-lag])
    b = width / weeks
    critical = sum(coefficient * b**power for power, coefficient in enumerate(_FIXED_B[level]))
    half = critical * np.sqrt(max(variance, 0.0)) / rows
    return LossDifference(mean, float(mean - half), float(mean + half), rows, weeks)


def loss_difference_bootstrap(
    loss: FloatArray,
    yardstick: FloatArray,
    dates: TimeArray,
    *,
    level: float = 0.90,
    mean_block: int = 10,
    draws: int = 2000,
    seed: int,
) -> LossDifference:
    """Return the mean difference with the percentile interval of the stationary bootstrap over dates.

    A drawn date brings all its rows (Politis and Romano 1994). Parameters as `loss_difference`, and `mean_block` in
    dates.

    Information set: matured outcomes.
    """
    mean, sums, counts = _by_date(loss, yardstick, dates)
    if len(counts) < 20:
        return LossDifference(mean, float("nan"), float("nan"), int(counts.sum()), len(counts))
    bootstrap = StationaryBootstrap(mean_block, sums, counts, seed=seed)
    means = bootstrap.apply(lambda s, c: np.array([s.sum() / c.sum()]), draws)[:, 0]
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return LossDifference(mean, float(low), float(high), int(counts.sum()), len(counts))


def _by_date(loss: FloatArray, yardstick: FloatArray, dates: TimeArray) -> tuple[float, FloatArray, FloatArray]:
    """Return the mean difference, and the sum of differences and the number of rows of each date in order."""
    if not len(loss) == len(yardstick) == len(dates):
        found = f"{len(loss)}, {len(yardstick)} and {len(dates)}"
        raise DataContractError(f"losses and dates must pair up row by row; got {found}")
    difference = np.asarray(loss, dtype=np.float64) - yardstick
    kept = np.isfinite(difference)
    member = np.unique(dates[kept], return_inverse=True)[1]
    sums = np.bincount(member, difference[kept]).astype(np.float64)
    counts = np.bincount(member).astype(np.float64)
    return float(difference[kept].mean()) if kept.any() else float("nan"), sums, counts
