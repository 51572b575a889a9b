"""The rule of levered swaps: long and short leg must have correlated at least 0.80 over the past year.

The rule asks for the correlation of the legs' *returns*. Excess returns over a common index correlate otherwise (the
2000-tier and micro-caps at 0.8 and more) and are not what it asks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from features.contracts import FloatArray, TimeArray
from features.errors import DataContractError
from models.correlation import Estimate, correlation

_MIN_WINDOW = 20


@dataclass(frozen=True)
class EligibilityRule:
    """The rule and how it is looked at.

    Parameters
    ----------
    threshold : float
        Least correlation; at the threshold a pair is eligible.
    window : int
        Sessions of "the past year".
    lookback : int
        Sessions over which the share of eligible days is counted; three years.
    level : float
        Coverage of the interval, a fraction.
    """

    threshold: float = 0.80
    window: int = 252
    lookback: int = 756
    level: float = 0.95

    def __post_init__(self) -> None:
        if not -1 < self.threshold < 1:
            raise DataContractError(f"`threshold` must be inside (-1, 1); got {self.threshold:g}")
        if self.window < _MIN_WINDOW:
            raise DataContractError(f"`window` must be at least {_MIN_WINDOW} sessions; got {self.window}")
        if self.lookback < 1:
            raise DataContractError(f"`lookback` must be at least 1 session; got {self.lookback}")
        if not 0 < self.level < 1:
            raise DataContractError(f"`level` must be inside (0, 1); got {self.level:g}")


@dataclass(frozen=True, eq=False)
class Eligibility:
    """Whether one pair of legs satisfies the rule.

    Parameters
    ----------
    correlation : Estimate
        Over the last window, with its interval. The rule looks at the value alone.
    eligible : bool
    since : pandas.Timestamp
        First day of the unbroken run of the present answer.
    since_start : bool
        Whether that run begins with the first day that has a full window: then it may be older.
    share : float
        Fraction of eligible days among the last `share_days`.
    share_days : int
        The rule's lookback, or what there is of it.
    path : pandas.Series, indexed by day
        Correlation over the window that ends that day.
    """

    correlation: Estimate
    eligible: bool
    since: pd.Timestamp
    since_start: bool
    share: float
    share_days: int
    path: pd.Series


def rolling_correlation(x: FloatArray, y: FloatArray, window: int) -> FloatArray:
    """Return the correlation over each window, shape (n - window + 1,); missing where a leg stood still.

    Each window is computed on its own, so that no rounding error of one day reaches another.

    Information set: element i uses rows i to i + window - 1.
    """
    legs = [np.lib.stride_tricks.sliding_window_view(np.asarray(leg, np.float64), window) for leg in (x, y)]
    moved = (np.ptp(legs[0], axis=1) > 0) & (np.ptp(legs[1], axis=1) > 0)
    a, b = (leg[moved] - leg[moved].mean(axis=1, keepdims=True) for leg in legs)
    result = np.full(len(moved), np.nan)
    result[moved] = np.sum(a * b, axis=1) / np.sqrt(np.sum(a**2, axis=1) * np.sum(b**2, axis=1))
    return result


def eligibility(
    long: FloatArray, hedge: FloatArray, days: TimeArray, rule: EligibilityRule | None = None
) -> Eligibility:
    """Apply the rule to a long leg and its hedge as of the last day.

    Parameters
    ----------
    long, hedge : array, shape (n,)
        Daily log returns of the two legs on the same sessions. Simple returns give the same to the third digit.
    days : array of datetime64, shape (n,)
        Ascending.
    rule : EligibilityRule, optional

    Raises
    ------
    DataContractError
        If the lengths differ, a return is not finite, the days do not ascend, there are fewer than the rule's window,
        or a leg stood still over the last window.

    Information set: the rows passed; each day of the path uses the rows of its window, all on or before that day.
    """
    rule = rule or EligibilityRule()
    if not len(long) == len(hedge) == len(days):
        raise DataContractError(
            f"`long`, `hedge` and `days` must have equal length; got {len(long)}, {len(hedge)}, {len(days)}"
        )
    if not (np.isfinite(long).all() and np.isfinite(hedge).all()):
        raise DataContractError("`long` and `hedge` must be finite")
    if len(days) < rule.window:
        raise DataContractError(
            f"the rule looks back {rule.window} sessions on which both legs have a return; got {len(days)}; "
            "name a later day or a shorter window"
        )
    if not (np.diff(days) > np.timedelta64(0)).all():
        raise DataContractError("`days` must ascend")
    now = correlation(long[-rule.window :], hedge[-rule.window :], rule.level)
    path = rolling_correlation(long, hedge, rule.window)
    index = pd.DatetimeIndex(days[rule.window - 1 :], name="date")
    passed = path >= rule.threshold
    changes = np.flatnonzero(passed[1:] != passed[:-1]) + 1
    start = int(changes[-1]) if len(changes) else 0
    recent = passed[-rule.lookback :]
    return Eligibility(
        correlation=now,
        eligible=bool(passed[-1]),
        since=index[start],
        since_start=start == 0,
        share=float(recent.mean()),
        share_days=len(recent),
        path=pd.Series(path, index=index, name="correlation"),
    )
