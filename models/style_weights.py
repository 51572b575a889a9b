"""Returns-based style analysis: the long-only mix of size tiers that tracks a fund best (Sharpe 1992)."""

from __future__ import annotations

import numpy as np
from arch.bootstrap import StationaryBootstrap
from scipy.optimize import nnls

from features.contracts import FloatArray
from features.errors import DataContractError
from models.correlation import Estimate


def style_weights(fund: FloatArray, tiers: FloatArray) -> FloatArray:
    """Return the weights w >= 0 of sum at most one whose mix of tiers has the smallest tracking variance.

    What the weights leave of one is cash: a fund that is hedged or not fully invested need not fill it. The tracking
    error is taken around its mean, so that skill and fees do not move the weights.

    With cash as one more tier the problem asks for the point of a convex hull that is nearest to zero, and that is the
    normalised solution of one non-negative least-squares problem, exactly (Lawson and Hanson 1974, chapter 23).

    Parameters
    ----------
    fund : array, shape (n,)
        Simple daily returns, fractions: a mix of holdings is linear in simple returns, not in log returns.
    tiers : array, shape (n, k)
        Simple daily returns of the size tiers on the same days.

    Returns
    -------
    array, shape (k,)
        Fractions of the fund.

    Raises
    ------
    DataContractError
        If the shapes do not fit, a value is not finite, or the fund does not vary.

    Examples
    --------
    >>> tiers = np.array([[0.01, 0.00], [-0.02, 0.01], [0.00, 0.02], [0.01, -0.01]])
    >>> style_weights(tiers @ np.array([0.25, 0.5]), tiers).round(6)
    array([0.25, 0.5 ])

    Information set: the rows passed.
    """
    if tiers.ndim != 2 or fund.shape != (len(tiers),):
        raise DataContractError(f"`fund` must have one row for each row of `tiers`; got {fund.shape} and {tiers.shape}")
    if not (np.isfinite(fund).all() and np.isfinite(tiers).all()):
        raise DataContractError("`fund` and `tiers` must be finite")
    if len(fund) == 0 or np.ptp(fund) == 0:
        raise DataContractError("`fund` must vary; its returns are constant")
    y = (fund - fund.mean()) / fund.std()
    x = (tiers - tiers.mean(axis=0)) / fund.std()
    # Tracking error of each pure holding; the last one is cash.
    corners = np.column_stack([x - y[:, None], -y]) / np.sqrt(len(y))
    triangle = np.linalg.qr(corners, mode="r")
    rows = np.vstack([triangle, np.ones(corners.shape[1])])
    solution, _ = nnls(rows, np.append(np.zeros(len(triangle)), 1.0))
    weights: FloatArray = solution[:-1] / solution.sum()
    return weights


def weight_intervals(
    fund: FloatArray, tiers: FloatArray, *, level: float = 0.95, draws: int = 500, mean_block: int = 10, seed: int
) -> tuple[Estimate, ...]:
    """Return the style weights with percentile intervals by stationary bootstrap over days (Politis and Romano 1994).

    A weight whose lower end is exactly zero is held back by its bound in that share of the draws. At the bound the
    bootstrap is rough (Andrews 2000): read an interval as the spread of the weight, the test is the joint regression.

    Parameters
    ----------
    fund, tiers : array, shape (n,) and (n, k)
        As `style_weights`, in order of time.
    level : float
        Coverage, a fraction.
    draws : int
    mean_block : int
        Expected block length in days.
    seed : int

    Returns
    -------
    tuple of Estimate, length k
        Fractions of the fund.

    Raises
    ------
    DataContractError
        As `style_weights`; also if `level` is not inside (0, 1), `draws` is below 1 or `mean_block` below 1.

    Information set: the rows passed.
    """
    if not 0 < level < 1 or draws < 1 or mean_block < 1:
        raise DataContractError(
            "`level` must be inside (0, 1), `draws` and `mean_block` at least 1; "
            f"got {level:g}, {draws} and {mean_block}"
        )
    point = style_weights(fund, tiers)
    rows = np.column_stack([fund, tiers])
    drawn = []
    for (sample,), _ in StationaryBootstrap(mean_block, rows, seed=seed).bootstrap(draws):
        days = np.asarray(sample, dtype=np.float64)
        # A fund that stood still for weeks may be drawn without any move.
        if np.ptp(days[:, 0]) > 0:
            drawn.append(style_weights(days[:, 0], days[:, 1:]))
    low, high = np.quantile(np.array(drawn), [(1 - level) / 2, (1 + level) / 2], axis=0)
    return tuple(Estimate(*(float(part) for part in row)) for row in zip(point, low, high, strict=True))
