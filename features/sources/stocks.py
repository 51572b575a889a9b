"""A file of single stocks, turned into weekly series of how crowded the smallest are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from features.calendar import TradingCalendar
from features.contracts import BoolArray, TimeArray
from features.crowding.settings import CrowdSettings
from features.crowding.weekly import MEASURES, crowd_measures
from features.dataset import market_calendar
from features.errors import DataContractError, DefinitionError
from features.frames import OBSERVATION_COLUMNS
from features.market import MarketSpec
from features.publication import known_times
from features.stock_checks import check_stocks
from features.stock_panel import StockPanel, read_stocks

PREFIX = "crowd."
"""A definition that declares the series ``crowd.MEASURE`` asks for that measure."""
_DAY = np.timedelta64(1, "D")


@dataclass(frozen=True, eq=False)
class CrowdRead:
    """Weekly observations out of a stock file.

    Parameters
    ----------
    observations : pandas.DataFrame
        Columns `OBSERVATION_COLUMNS`; one row for each new week and measure.
    decisions, weeks : int
        Decision days that the store lacked, and those of them with at least one measure.
    absent : mapping of str to str
        Declared series without any new value, and why.
    findings : pandas.DataFrame
        What is wrong with the file, as `StockPanel.findings`; cells in quarantine were left out of the measures.
    """

    observations: pd.DataFrame
    decisions: int
    weeks: int
    absent: Mapping[str, str]
    findings: pd.DataFrame


def crowd_series(market: MarketSpec) -> dict[str, str]:
    """Return the declared series of the crowding measures, by measure.

    Raises
    ------
    DefinitionError
        If the definition declares a measure that does not exist, or declares some and says nothing of stocks.
    """
    declared = {name.removeprefix(PREFIX): name for name in market.series if name.startswith(PREFIX)}
    if unknown := sorted(set(declared) - set(MEASURES)):
        raise DefinitionError(f"series {declared[unknown[0]]!r} names no measure; known are {', '.join(MEASURES)}")
    if declared and market.stocks is None:
        raise DefinitionError("series of crowding need a table `stocks` in the market definition")
    return declared


def read_crowding(
    market: MarketSpec,
    path: Path,
    now: np.datetime64,
    newest: Mapping[str, np.datetime64] | None = None,
    *,
    settings: CrowdSettings | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> CrowdRead:
    """Read a stock file and measure every decision day that the store does not have yet.

    Of a file whose weeks are known only the rows that new weeks need are read. A week that is stored stays as it is,
    also if the file has changed since: what delisting takes out of a file of survivors does not rewrite the past.

    Parameters
    ----------
    market : MarketSpec
        It declares the wanted measures, with their `known` rule, and the exchange's limits under `stocks`.
    path : Path
        Parquet, as `read_stocks` takes it.
    now : datetime64[us]
        UTC; a day of the file after it is an error.
    newest : mapping of str to datetime64[us], optional
        The newest stored period of each series, as `Store.newest` returns it.
    settings : CrowdSettings, optional
    progress : callable, optional
        Called with weeks done and weeks in all.

    Returns
    -------
    CrowdRead
        A value is known when the rule of its series says, counted from the decision day; it holds rows up to that day.

    Raises
    ------
    DefinitionError
        As `crowd_series`, or if the definition declares no measure.
    DataContractError
        As `read_stocks`; or if a day of the file lies in the future.
    """
    declared = crowd_series(market)
    if not declared or market.stocks is None:
        raise DefinitionError(f"market {market.name!r} declares no series `{PREFIX}...`, so a stock file says nothing")
    settings = settings or CrowdSettings()
    after = _after(path, declared, newest or {})
    since = None if after is None else after - _lookback(settings)
    panel = check_stocks(read_stocks(path, since), market.stocks, market.schedule.calendar)
    _refuse_future(panel, path, now, market.schedule.timezone)
    calendar = market_calendar(market, panel.dates[-1])
    frame = crowd_measures(panel, _decisions(panel, calendar), settings, after=after, progress=progress)
    torn = _torn(frame.index.to_numpy("datetime64[us]"), panel, calendar, settings.window)
    frame = frame[~torn]
    known_calendar = TradingCalendar.build(market.schedule.calendar, panel.dates[0], panel.dates[-1] + 30 * _DAY)
    parts, absent = [], {}
    for measure, name in declared.items():
        value = frame[measure].dropna()
        if value.empty:
            absent[name] = _reason(measure, panel, new=len(torn), torn=int(torn.sum()))
            continue
        period = value.index.to_numpy("datetime64[us]")
        known, estimated = known_times(market.series[name], period, None, known_calendar, market.schedule.timezone)
        columns = (name, period, known, value.to_numpy(np.float64), estimated, False)
        parts.append(pd.DataFrame(dict(zip(OBSERVATION_COLUMNS, columns, strict=True))))
    empty = pd.DataFrame({name: [] for name in OBSERVATION_COLUMNS})
    observations = pd.concat(parts, ignore_index=True) if parts else empty
    return CrowdRead(observations, len(torn), int(observations["period"].nunique()), absent, panel.findings)


def _after(path: Path, declared: Mapping[str, str], newest: Mapping[str, np.datetime64]) -> np.datetime64 | None:
    """Return the last decision day that every measure of the file has in the store; None if one has none."""
    wanted = [name for measure, name in declared.items() if measure != "turnover" or _has_amount(path)]
    stored = [newest[name] for name in wanted if name in newest]
    return min(stored) if stored and len(stored) == len(wanted) else None


def _has_amount(path: Path) -> bool:
    from pyarrow import ArrowException
    from pyarrow.parquet import read_schema

    try:
        return "amount" in read_schema(path).names
    except (ArrowException, OSError):
        # The reader says what is wrong with the file.
        return False


def _lookback(settings: CrowdSettings) -> np.timedelta64:
    """Return calendar days that hold the longest window, the seasoning before it, and holidays."""
    sessions = max(settings.window, settings.short_window, 5 * settings.weeks) + settings.seasoning
    return (2 * sessions + 60) * _DAY


def _refuse_future(panel: StockPanel, path: Path, now: np.datetime64, timezone: str) -> None:
    today = pd.Timestamp(now).tz_localize("UTC").tz_convert(timezone)
    if panel.dates[-1] > np.datetime64(today.date(), "us"):
        raise DataContractError(f"{path}: the day {panel.dates[-1].astype('datetime64[D]')} lies in the future")


def _decisions(panel: StockPanel, calendar: TradingCalendar) -> TimeArray:
    decisions = calendar.decisions()
    inside: TimeArray = decisions[(decisions >= panel.dates[0]) & (decisions <= panel.dates[-1])]
    return inside


def _torn(decisions: TimeArray, panel: StockPanel, calendar: TradingCalendar, window: int) -> BoolArray:
    """Whether a session of the exchange is missing in the window of each decision: its returns span two days."""
    row = np.searchsorted(panel.dates, decisions)
    start = panel.dates[np.maximum(row - window, 0)]
    sessions = np.searchsorted(calendar.sessions, decisions) - np.searchsorted(calendar.sessions, start)
    return np.asarray(sessions != np.minimum(row, window))


def _reason(measure: str, panel: StockPanel, *, new: int, torn: int) -> str:
    """Say why a measure has no value."""
    if new == 0:
        return "no new decision day"
    if not np.isfinite(panel.cap).any():
        return "no stock has a market value: the column `total_shares_10k` is missing or empty"
    if measure == "turnover" and panel.amount is None:
        return "the file has no column `amount`"
    if torn == new:
        return "sessions are missing from the window of every new week"
    return "too few stocks, or sessions, for its window"
