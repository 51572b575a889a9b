"""Is a fund's return micro-cap, or only small-cap? Five views of the same days, of which one is the test.

A fund of stocks of the 2000-tier without a single micro-cap correlates at 0.9 with micro-caps, because all small caps
share the size factor. The question is what the smallest tier explains *beyond* the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from features.contracts import FloatArray
from features.errors import DataContractError
from models.correlation import EXPLAINED, Estimate, correlation
from models.style_regression import MIN_DAYS, joint_regression, separate
from models.style_weights import style_weights, weight_intervals

Verdict = Literal["micro", "some", "no_micro", "undecided"]

_TRACE = 0.01
"""A weight below one percent is rounding of net asset values, not style."""


@dataclass(frozen=True)
class StyleSettings:
    """What a style analysis may be asked to vary.

    Parameters
    ----------
    window : int
        Days of the current and of each rolling window; at least `MIN_DAYS`.
    level : float
        Coverage of all intervals, a fraction.
    material : float
        The weight of the smallest tier, a fraction, that "no micro-caps" must rule out.
    draws, mean_block, seed
        Of the bootstrap of the style weights; the block in days.
    """

    window: int = 120
    level: float = 0.95
    material: float = 0.20
    draws: int = 500
    mean_block: int = 10
    seed: int = 0

    def __post_init__(self) -> None:
        if self.window < MIN_DAYS:
            raise DataContractError(f"`window` must be at least {MIN_DAYS} days; got {self.window}")
        if not 0 < self.level < 1:
            raise DataContractError(f"`level` must be inside (0, 1); got {self.level:g}")
        if not 0 < self.material < 1:
            raise DataContractError(f"`material` must be inside (0, 1), a fraction; got {self.material:g}")
        if self.draws < 1 or self.mean_block < 1:
            raise DataContractError(
                f"`draws` and `mean_block` must be at least 1; got {self.draws} and {self.mean_block}"
            )


@dataclass(frozen=True)
class StyleFit:
    """Everything the days of one stretch say; tiers from large to micro.

    Parameters
    ----------
    tiers : tuple of str, length k
    first, last : pandas.Timestamp
        First and last day.
    days : int
    exposure : tuple of Estimate, length k
        Of `models.style_regression.JointRegression`: the last is that of the smallest tier beyond the others.
    weights : tuple of Estimate, length k
        Long-only style weights; what they leave of one is cash.
    partial : Estimate
        Correlation with the smallest tier given the others; missing where the others explain the fund in full.
    r_squared, incremental_r_squared : float
        Of the joint regression, and what the smallest tier adds to it.
    correlations : tuple of Estimate, length k
        Plain correlations: shown because they mislead.
    verdict : {"micro", "some", "no_micro", "undecided"}
        Whether the interval of the last exposure lies above zero and whether it rules out the material weight:
        ``micro`` (above zero, not ruled out), ``some`` (above zero, ruled out), ``no_micro`` (not above zero, ruled
        out), ``undecided`` (neither).
    """

    tiers: tuple[str, ...]
    first: pd.Timestamp
    last: pd.Timestamp
    days: int
    exposure: tuple[Estimate, ...]
    weights: tuple[Estimate, ...]
    partial: Estimate
    r_squared: float
    incremental_r_squared: float
    correlations: tuple[Estimate, ...]
    verdict: Verdict


@dataclass(frozen=True, eq=False)
class StyleAnalysis:
    """The last window, all days, and the path between.

    Parameters
    ----------
    window, whole : StyleFit
    rolling : pandas.DataFrame, indexed by the last day of each window
        Of the smallest tier: `exposure`, `low`, `high`, `weight`, `partial`, `incremental_r_squared`, `correlation`;
        missing where the fund stood still or the tiers did not differ.
    """

    window: StyleFit
    whole: StyleFit
    rolling: pd.DataFrame


def analyse_style(fund: FloatArray, tiers: pd.DataFrame, settings: StyleSettings | None = None) -> StyleAnalysis:
    """Analyse the last window, all days and every rolling window.

    Parameters
    ----------
    fund : array, shape (n,)
        Simple daily returns, fractions.
    tiers : pandas.DataFrame, shape (n, k)
        Simple daily returns of the size tiers on the same days, from the largest to the smallest; indexed by day.
    settings : StyleSettings, optional

    Raises
    ------
    DataContractError
        As `joint_regression`; also if the window is longer than the data.

    Information set: the rows passed; each rolling row uses the rows of its window, all on or before its day.
    """
    settings = settings or StyleSettings()
    fund = np.asarray(fund, dtype=np.float64)
    if fund.shape != (len(tiers),):
        raise DataContractError(f"`fund` must have one row for each of the {len(tiers)} days; got shape {fund.shape}")
    if len(fund) < MIN_DAYS:
        raise DataContractError(f"a style analysis needs at least {MIN_DAYS} days; got {len(fund)}")
    if settings.window > len(fund):
        raise DataContractError(
            f"`window` must be at most the {len(fund)} days of data; got {settings.window}; "
            f"use a window from {MIN_DAYS} to {len(fund)} or more data"
        )
    start = len(fund) - settings.window
    whole = _fit(fund, tiers, settings)
    return StyleAnalysis(
        window=_fit(fund[start:], tiers.iloc[start:], settings),
        whole=whole,
        rolling=_rolling(fund, tiers, settings),
    )


def verdict_of(exposure: Estimate, material: float) -> Verdict:
    """Read the verdict off the interval of the smallest tier's exposure."""
    small = exposure.high < material
    if exposure.low > 0 and exposure.value >= _TRACE:
        return "some" if small else "micro"
    return "no_micro" if small else "undecided"


def _fit(fund: FloatArray, tiers: pd.DataFrame, settings: StyleSettings) -> StyleFit:
    values, level = tiers.to_numpy(np.float64), settings.level
    joint = joint_regression(fund, values, level)
    days = pd.DatetimeIndex(tiers.index)
    return StyleFit(
        tiers=tuple(str(name) for name in tiers.columns),
        first=days[0],
        last=days[-1],
        days=len(fund),
        exposure=joint.exposure,
        weights=weight_intervals(
            fund, values, level=level, draws=settings.draws, mean_block=settings.mean_block, seed=settings.seed
        ),
        partial=correlation(fund, values[:, -1], level, given=values[:, :-1]),
        r_squared=joint.r_squared,
        incremental_r_squared=joint.incremental_r_squared,
        correlations=tuple(correlation(fund, column, level) for column in values.T),
        verdict=verdict_of(joint.exposure[-1], settings.material),
    )


def _rolling(fund: FloatArray, tiers: pd.DataFrame, settings: StyleSettings) -> pd.DataFrame:
    values, window = tiers.to_numpy(np.float64), settings.window
    rows: list[Sequence[float]] = []
    for end in range(window, len(fund) + 1):
        y, x = fund[end - window : end], values[end - window : end]
        if np.ptp(y) == 0 or not separate(x):
            rows.append([np.nan] * 7)
            continue
        joint = joint_regression(y, x, settings.level)
        own, added = joint.exposure[-1], joint.incremental_r_squared
        # What the other tiers leave of the fund; the smallest explains `added` of it.
        left = 1 - joint.r_squared + added
        partial = np.copysign(np.sqrt(min(added / left, 1.0)), own.value) if left > EXPLAINED else np.nan
        plain = float(np.corrcoef(y, x[:, -1])[0, 1])
        rows.append([*own, float(style_weights(y, x)[-1]), float(partial), added, plain])
    names = ["exposure", "low", "high", "weight", "partial", "incremental_r_squared", "correlation"]
    return pd.DataFrame(rows, columns=names, index=pd.DatetimeIndex(tiers.index[window - 1 :], name="date"))
