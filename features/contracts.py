"""Types that cross package borders: arrays, histories, the weekly panel and the forecast record.

Times are numpy ``datetime64[us]`` in UTC without an attached zone inside arrays and frames; the edges (sources,
command line) accept and print zone-aware times only. Dates are ``datetime64[us]`` at midnight of the exchange's day.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

FloatArray = npt.NDArray[np.float64]
Float32Array = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]
TimeArray = npt.NDArray[np.datetime64]

Event = Literal["switch", "large", "crash"]
Style = Literal["small", "large"]
Family = Literal["scenario", "macro", "flows", "rates", "turnover", "crowding", "leverage", "style", "calendar"]

EVENTS: tuple[Event, ...] = ("switch", "large", "crash")
HORIZONS: tuple[int, ...] = (1, 4)
FAMILIES: tuple[Family, ...] = (
    "scenario", "macro", "flows", "rates", "turnover", "crowding", "leverage", "style", "calendar",
)  # fmt: skip
"""Families of drivers; `scenario` is what the untilted scenario set implies, all others hold features."""
STYLE_SMALL = 1
"""Code of "small caps lead"; large caps lead is -1 and no state yet is 0."""
STYLE_LARGE = -1
SWITCH_SIGMA = 1.0
CRASH_SIGMA = 1.25
"""How far the spread must stand, in sigma times the root of the horizon, for a switch and for a crash."""

Validity = Literal["validated", "stress_supported", "out_of_support", "abstain_stale", "abstain_missing"]

TAIL_COLUMNS: tuple[str, ...] = (
    "var_95", "es_95", "var_975", "es_975", "var_95_up", "es_95_up", "var_975_up", "es_975_up",
)  # fmt: skip
FORECAST_COLUMNS: tuple[str, ...] = (
    "market", "pair", "decision_date", "entry_date", "exit_date", "horizon_weeks", "style_in_force", "sigma",
    "p_switch", "p_switch_base", "p_switch_lo", "p_switch_hi",
    "p_large", "p_large_base", "p_large_lo", "p_large_hi",
    "p_crash", "p_crash_base", "p_crash_lo", "p_crash_hi",
    *TAIL_COLUMNS,
    "y_switch", "y_large", "y_crash", "spread_realised",
    "validity", "reasons", "bundle_cut", "snapshot_id", "config_hash", "code_version",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class History:
    """Every vintage of one observation stream, ordered by `known_at`, then `period`.

    Parameters
    ----------
    period : array of datetime64[us], shape (n,)
        What each value describes.
    known_at : array of datetime64[us], shape (n,)
        When it became knowable, UTC.
    value : array of float, shape (n, k)
        The values; k is 1 for a series, more for aligned series.
    """

    period: TimeArray
    known_at: TimeArray
    value: FloatArray

    def __len__(self) -> int:
        return len(self.period)

    @staticmethod
    def of(period: TimeArray, known_at: TimeArray, value: FloatArray) -> History:
        """Build a history from unordered rows; `value` may be one-dimensional."""
        periods, known = (np.asarray(times, "datetime64[us]") for times in (period, known_at))
        order = np.lexsort((periods, known))
        values = np.asarray(value, dtype=np.float64)
        if values.ndim == 1:
            values = values[:, None]
        return History(periods.take(order), known.take(order), values.take(order, axis=0))

    def as_of(self, time: np.datetime64) -> tuple[TimeArray, FloatArray]:
        """Return periods (ascending) and values, the latest vintage of each.

        Information set: rows with known_at <= time.
        """
        n = int(np.searchsorted(self.known_at, time, side="right"))
        return latest_vintages(self.period[:n], self.value[:n])


def latest_vintages(period: TimeArray, value: FloatArray) -> tuple[TimeArray, FloatArray]:
    """Keep the last row of each period of rows that are ordered by `known_at`; periods come back ascending."""
    if len(period) == 0:
        return period, value
    if np.all(period[1:] > period[:-1]):
        return period, value
    order = np.argsort(period, kind="stable")
    sorted_period = period[order]
    last = np.append(sorted_period[1:] != sorted_period[:-1], True)
    return sorted_period[last], value[order[last]]


@dataclass(frozen=True)
class FeatureInfo:
    """What a model needs to know of a feature.

    `sign` is the expected effect on small beating large, `tail_sign` the expected effect on the probability of a
    small-cap crash; 0 says that the sources conflict.
    """

    name: str
    family: Family
    scope: Literal["market", "pair"]
    sign: int
    tail_sign: int
    unit: str
    vintage: Literal["real", "first_print", "current", "computed"]
    why: str


@dataclass(frozen=True)
class PairInfo:
    """A pair of segments: the spread is always small minus large."""

    name: str
    large: str
    small: str
    headline: bool


@dataclass(frozen=True, eq=False)
class Dataset:
    """Everything the models see of one market, each cell as it was knowable.

    Parameters
    ----------
    market, simulated : str, bool
        The market's name; whether its data are simulated.
    pairs : tuple of PairInfo
    features : tuple of FeatureInfo
        In the column order of `values`.
    rows : pandas.DataFrame, indexed by (pair, decision_date)
        `decision_at` (UTC), `entry_date`, `style` (+1 small, -1 large), `sigma` (weekly log units),
        `snapshot_id` (digest of every observation known at the decision) and the causal states used by the design:
        `age`, `distance`, `momentum_4w`, `momentum_13w`, `vol_ratio`.
        Only decision days with a style in force.
    values, known_at : pandas.DataFrame, same index
        The panel: one column per feature, missing where the input does not exist; the time its newest input was known.
    stale : pandas.DataFrame, same index and columns
        True where a value is missing only because an input is older than its limit.
    outcomes : pandas.DataFrame, indexed by (pair, decision_date, horizon_weeks)
        `entry_date`, `exit_date`, `matured_at` (UTC), `spread_realised`, `y_switch`, `y_large`, `y_crash`;
        the last four missing until matured.
    segments : tuple of str
        Size segments, the largest first.
    closes : mapping of segment to History
        Log daily close, every vintage; empty where there is no price yet.
    lines : mapping of pair to History
        x_t = log(small) - log(large) on daily closes, every vintage.
    clock : pandas.DataFrame, indexed by decision_date
        `decision_at` (UTC), `entry_date` and `snapshot_id` of every decision day, whether a pair has a row or not.
    sessions : array of datetime64[us]
        Exchange sessions from the first price to some weeks after the last decision.
    """

    market: str
    simulated: bool
    pairs: tuple[PairInfo, ...]
    features: tuple[FeatureInfo, ...]
    rows: pd.DataFrame
    values: pd.DataFrame
    known_at: pd.DataFrame
    stale: pd.DataFrame
    outcomes: pd.DataFrame
    segments: tuple[str, ...]
    closes: Mapping[str, History]
    lines: Mapping[str, History]
    clock: pd.DataFrame
    sessions: TimeArray


def read_events(
    path: FloatArray, sigma: FloatArray, style: IntArray, horizon: int
) -> tuple[BoolArray, BoolArray, BoolArray]:
    """Read the three events off paths of the size spread at weekly entry points.

    Parameters
    ----------
    path : array, shape (n, horizon)
        Cumulative small-minus-large log return at the entry points t+1 to t+horizon, 0 at entry.
    sigma : array, shape (n,)
        Weekly sigma at the decision.
    style : array of int, shape (n,)
        Style in force at the decision: +1 small, -1 large.
    horizon : int
        Weeks.

    Returns
    -------
    switch, large, crash : arrays of bool, shape (n,)
        Ties count as not happened.
    """
    scale = sigma * np.sqrt(horizon)
    lowest, highest = path.min(axis=1), path.max(axis=1)
    adverse = np.where(style == STYLE_SMALL, -lowest, highest)
    return adverse > SWITCH_SIGMA * scale, path[:, -1] < 0, -lowest > CRASH_SIGMA * scale
