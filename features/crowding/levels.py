"""What the measures say: level, three-year percentile, change, and one composite that nothing was fitted for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from features.errors import DataContractError
from features.transforms import rank

Sign = Literal[-1, 0, 1]

CROWD_SIGNS: Mapping[str, Sign] = {
    "residual_correlation_excess": 1,
    "absorption_excess": 1,
    "comomentum": 1,
    "serial_correlation": 1,
    "momentum_gap": 1,
    "residual_correlation": 0,
    "absorption": 0,
    "dispersion": 0,
    "dispersion_excess": 0,
    "turnover": -1,
}
"""How each stock-level measure counts as crowding (METHODS section 8, and the reasons below).

+1: small stocks that move together beyond market and size are held by the same hands, a relative return that goes on
shows one-way flow, a long run of the smallest has drawn money in; -1: turnover that dries up lengthens the way out.
0 is shown and does not count: a level is told by its excess over other deciles already, and dispersion has a firm sign
for small beating large only.
"""


@dataclass(frozen=True)
class LevelSettings:
    """Windows in weeks.

    Parameters
    ----------
    window : int
        Of the percentile; three years.
    least : int
        Fewest weeks of it that must have a value.
    change : int
        Weeks over which the change is taken.
    quorum : float
        Least share of the signed measures born so far that a composite needs; with fewer it is absent.
    """

    window: int = 156
    least: int = 52
    change: int = 4
    quorum: float = 0.5

    def __post_init__(self) -> None:
        if not 2 <= self.least <= self.window:
            raise DataContractError(f"`least` must be between 2 and `window` {self.window}; got {self.least}")
        if self.change < 1:
            raise DataContractError(f"`change` must be at least 1 week; got {self.change}")
        if not 0 < self.quorum <= 1:
            raise DataContractError(f"`quorum` must be inside (0, 1]; got {self.quorum:g}")


@dataclass(frozen=True, eq=False)
class CrowdLevels:
    """Measures week by week, each frame indexed by decision_date with one column a measure.

    Parameters
    ----------
    level, change : pandas.DataFrame
        In the measure's unit; the change is that over `LevelSettings.change` weeks.
    percentile : pandas.DataFrame
        Share of the window's weeks below the level, ties counted half, in [0, 1].
    composite : pandas.Series
        In [0, 1]: 0.5 is usual, 1 says that every measure stands at its three-year extreme.
    counted : pandas.Series
        Number of measures in the composite.
    """

    level: pd.DataFrame
    percentile: pd.DataFrame
    change: pd.DataFrame
    composite: pd.Series
    counted: pd.Series


def crowd_levels(
    measures: pd.DataFrame, signs: Mapping[str, Sign] = CROWD_SIGNS, settings: LevelSettings | None = None
) -> CrowdLevels:
    """Set each measure against its own past, and average the percentiles of those that have a sign.

    The composite is the plain mean of percentiles, 1 less the percentile where the sign is -1. Equal weights: nothing
    is estimated, on the crash or otherwise. A measure that rises (falls, if its sign is -1) while all else stands never
    lowers it. Percentiles make measures of any unit comparable; measures that say much the same (correlation and
    absorption) weigh twice, which is known and left.

    Parameters
    ----------
    measures : pandas.DataFrame, indexed by decision_date
        One row a week, ascending; from `crowd_measures`, from features of the panel, or both.
    signs : mapping of str to -1, 0 or 1
        0 or absent is shown and does not count.
    settings : LevelSettings, optional

    Raises
    ------
    DataContractError
        If weeks are not ascending, a sign is none, or no measure of the frame has a sign.

    Information set: row i uses rows up to i.
    """
    settings = settings or LevelSettings()
    if not (measures.index.is_monotonic_increasing and measures.index.is_unique):
        raise DataContractError("`measures` must have ascending weeks, each once; sort them")
    if wrong := sorted(name for name, sign in signs.items() if sign not in (-1, 0, 1)):
        raise DataContractError(f"the sign of {wrong[0]!r} must be -1, 0 or 1; got {signs[wrong[0]]!r}")
    signed = [str(name) for name in measures if signs.get(str(name), 0)]
    if not signed:
        raise DataContractError(f"no measure has a sign; known are {', '.join(name for name in signs if signs[name])}")
    level = measures.astype(np.float64)
    every = np.arange(len(level))
    ranks = {name: rank(level[name].to_numpy(), settings.window, settings.least, every) for name in level}
    percentile = pd.DataFrame(ranks, index=level.index)
    turned = pd.DataFrame(
        {name: percentile[name] if signs[name] > 0 else 1 - percentile[name] for name in signed}, index=level.index
    )
    counted = turned.notna().sum(axis=1)
    # A measure that has never had a value, such as turnover of a panel that has none, is not missed.
    born = turned.notna().cummax().sum(axis=1)
    enough = (counted > 0) & (counted >= settings.quorum * born)
    composite = turned.mean(axis=1).where(enough).rename("composite")
    return CrowdLevels(level, percentile, level.diff(settings.change), composite, counted.rename("counted"))
