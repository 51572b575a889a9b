"""Who belongs to which size decile, and which returns count."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from features.contracts import BoolArray, Float32Array
from features.crowding.settings import DECILES, CrowdSettings
from features.stock_panel import StockPanel

DecileArray = npt.NDArray[np.int8]


def size_deciles(panel: StockPanel, settings: CrowdSettings) -> DecileArray:
    """Sort the eligible stocks of each close into ten groups of equal number by total market value.

    Eligible is what trades that day, is not under special treatment, has a market value, and traded on at least half of
    the `seasoning` sessions that end that day. Equal values share a decile, so that the order of codes means nothing.

    Parameters
    ----------
    panel : StockPanel
    settings : CrowdSettings

    Returns
    -------
    array of int8, shape (n_days, n_codes)
        0 the smallest to 9 the largest, -1 where not eligible and before `seasoning` sessions have passed. A window
        takes its members from the row *before* its first return.

    Information set: row i uses rows up to i.
    """
    decile = np.full(panel.ret.shape, -1, dtype=np.int8)
    n, span = len(panel.dates), settings.seasoning
    if n < span:
        return decile
    count = np.zeros((n + 1, panel.ret.shape[1]), dtype=np.int16)
    np.cumsum(panel.traded, axis=0, out=count[1:], dtype=np.int16)
    for row in range(span - 1, n):
        cap = panel.cap[row]
        seasoned = 2 * (count[row + 1] - count[row + 1 - span]) >= span
        eligible = np.flatnonzero(panel.traded[row] & ~panel.st[row] & seasoned & (cap > 0) & np.isfinite(cap))
        if len(eligible) < DECILES:
            continue
        value = cap[eligible]
        ordered = np.sort(value)
        edges = ordered[(np.arange(1, DECILES) * len(ordered) + DECILES - 1) // DECILES]
        decile[row, eligible] = np.searchsorted(edges, value, side="right")
    return decile


def counted_returns(panel: StockPanel) -> Float32Array:
    """Return daily returns without those that span a halt: what a stock does on resumption is news, not a crowd.

    Parameters
    ----------
    panel : StockPanel

    Returns
    -------
    array of float32, shape (n_days, n_codes)
        Fractions; missing where the stock did not trade that day or the session before, and on the first row.

    Information set: row i uses rows i - 1 and i.
    """
    counted = np.full(panel.ret.shape, np.nan, dtype=np.float32)
    both: BoolArray = panel.traded[1:] & panel.traded[:-1]
    np.copyto(counted[1:], panel.ret[1:], where=both)
    return counted
