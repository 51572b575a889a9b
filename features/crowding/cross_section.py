"""How far apart the stocks of one decile finish a day."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from features.contracts import FloatArray
from features.crowding.members import DecileArray
from features.crowding.settings import DECILES, SMALLEST, CrowdSettings


class Dispersion(NamedTuple):
    """Dispersion of the smallest decile (fraction a day), and its log ratio to the mean of the nine others."""

    dispersion: float
    dispersion_excess: float


def dispersion(returns: FloatArray, decile: DecileArray, settings: CrowdSettings) -> Dispersion:
    """Cross-section standard deviation of daily returns within a decile, averaged over a window.

    Parameters
    ----------
    returns : array, shape (n, k)
        Daily, fractions; missing where there is none.
    decile : array of int8, shape (k,)
        At the close before the first row; -1 for no member.
    settings : CrowdSettings

    Returns
    -------
    Dispersion
        Missing where on some day a decile has fewer than `least` returns.

    Information set: the rows passed, and the close before them.
    """
    spread = np.full(DECILES, np.nan)
    for number in range(DECILES):
        own = returns[:, decile == number]
        if (np.isfinite(own).sum(axis=1) >= settings.least).all():
            spread[number] = np.nanstd(own, axis=1, ddof=1).mean()
    others = np.delete(spread, SMALLEST).mean()
    small = spread[SMALLEST]
    excess = np.log(small / others) if small > 0 and others > 0 else np.nan
    return Dispersion(float(small), float(excess))
