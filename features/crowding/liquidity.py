"""How many days a crowd needs to leave."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from features.contracts import Float32Array, FloatArray
from features.crowding.members import DecileArray
from features.crowding.settings import SMALLEST
from features.errors import DataContractError


@dataclass(frozen=True)
class CrowdSize:
    """An assumed crowd; nobody publishes its size.

    Parameters
    ----------
    notional : float
        What it holds in the tier, CNY. *Assumed*.
    participation : float
        Share of the tier's turnover that it can be without moving the price much. *Assumed*.
    tier_share : float
        Share of the market's turnover that is the tier's, for a panel without turnover. *Assumed*; the published
        micro-cap index of 400 stocks had 0.5 to 1.1% of the turnover of all A-shares from July to November 2023, 0.75%
        on average.
    """

    notional: float = 1e11
    participation: float = 0.2
    tier_share: float = 0.0075

    def __post_init__(self) -> None:
        if not (np.isfinite(self.notional) and self.notional >= 0):
            raise DataContractError(f"`notional` must be an amount of at least 0; got {self.notional:g}")
        for name in ("participation", "tier_share"):
            value = getattr(self, name)
            if not 0 < value <= 1:
                raise DataContractError(f"`{name}` must be inside (0, 1]; got {value:g}")


def tier_turnover(amount: Float32Array, decile: DecileArray) -> float:
    """Mean daily turnover of the smallest decile over a window.

    Parameters
    ----------
    amount : array, shape (n, k)
        CNY; missing counts as nothing traded.
    decile : array of int8, shape (k,)
        At the close before the first row; -1 for no member.

    Returns
    -------
    float
        CNY a day; missing where nothing was traded at all.

    Information set: the rows passed, and the close before them.
    """
    turnover = float(np.nansum(amount[:, decile == SMALLEST], axis=1, dtype=np.float64).mean())
    return turnover if turnover > 0 else float("nan")


def days_to_liquidate(turnover: FloatArray, crowd: CrowdSize) -> FloatArray:
    """Sessions in which a crowd can sell what it holds.

    Parameters
    ----------
    turnover : array
        Daily turnover of the tier, CNY: measured (`tier_turnover`), or the market's times `tier_share`, which is then
        to be marked *assumed*.
    crowd : CrowdSize

    Returns
    -------
    array, same shape
        Notional over what may be sold a day; missing where turnover is missing or zero.

    Information set: each element by itself.

    Examples
    --------
    >>> days_to_liquidate(np.array([5e9]), CrowdSize(notional=1e11, participation=0.2))
    array([100.])
    """
    usable = np.where(turnover > 0, turnover, np.nan)
    return np.asarray(crowd.notional / (crowd.participation * usable))
