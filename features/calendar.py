"""Exchange sessions, ISO weeks and the decision, entry and exit days that follow from them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache, reduce
from typing import Self
from zoneinfo import ZoneInfo

import exchange_calendars
import numpy as np
import pandas as pd

from features.contracts import IntArray, TimeArray
from features.errors import DataContractError

_DAY = np.timedelta64(1, "D")
_NONE: TimeArray = np.array([], dtype="datetime64[us]")


@dataclass(frozen=True, eq=False)
class TradingCalendar:
    """Sessions of one exchange between two explicit dates.

    The sessions are as realised: an extension of a holiday was not known in advance (a documented exception to the
    rule that nothing may be used before it was knowable).

    Parameters
    ----------
    name : str
        Name in `exchange_calendars`, e.g. ``XSHG``.
    sessions : array of datetime64[us]
        Ascending session dates.
    """

    name: str
    sessions: TimeArray

    @classmethod
    def build(cls, name: str, start: str | np.datetime64, end: str | np.datetime64) -> Self:
        """Build the calendar for [start, end], both moved inside what the library knows.

        Parameters
        ----------
        name : str
            Name in `exchange_calendars`.
        start, end : str or datetime64
            First and last day; explicit, because the library's own window depends on today.

        Raises
        ------
        DataContractError
            If the exchange is unknown or the interval is empty.
        """
        first, last = (f"{pd.Timestamp(day):%Y-%m-%d}" for day in (start, end))
        return cls(name, _sessions(name, first, last))

    def realised(self, periods: TimeArray) -> TradingCalendar:
        """Return the calendar without the days that passed and turned out to be no session.

        Parameters
        ----------
        periods : array of datetime64[us]
            Days on which there was a price; up to the newest of them every session must be one, later ones stay.
        """
        if not len(periods):
            return self
        happened = np.isin(self.sessions, periods) | (self.sessions > periods.max())
        return TradingCalendar(self.name, self.sessions[happened])

    @cached_property
    def _week(self) -> IntArray:
        """ISO week number of each session, counted from Monday 1970-01-05."""
        return (self.sessions.astype("datetime64[D]").astype(np.int64) + 3) // 7

    def decisions(self) -> TimeArray:
        """Return the last session of each ISO week that has one; the last week only if a later session is known."""
        last = self._week[1:] != self._week[:-1]
        decisions: TimeArray = self.sessions[:-1][last]
        return decisions

    def position(self, dates: TimeArray) -> IntArray:
        """Return the index of each date among the sessions.

        Raises
        ------
        DataContractError
            If a date is not a session.
        """
        index = np.searchsorted(self.sessions, dates).astype(np.int64)
        inside = index < len(self.sessions)
        wrong = ~inside
        wrong[inside] = self.sessions[index[inside]] != dates[inside]
        if wrong.any():
            rows = pd.DataFrame({"date": dates[wrong]})
            raise DataContractError(f"{self.name}: {rows['date'].iloc[0]:%Y-%m-%d} is not a session", rows)
        return index

    def entries(self, decisions: TimeArray) -> TimeArray:
        """Return the session after each decision; NaT beyond the calendar."""
        return self.next_session(decisions)

    def next_session(self, dates: TimeArray, lag: int = 1) -> TimeArray:
        """Return the `lag`-th session strictly after each date (which need not be a session); NaT beyond the end.

        For a date before the first session that is counted from the start of the calendar.
        """
        index = np.searchsorted(self.sessions, dates, side="right") + lag - 1
        result = np.full(len(dates), np.datetime64("NaT"), dtype="datetime64[us]")
        known = (index < len(self.sessions)) & ~np.isnat(dates)
        result[known] = self.sessions[index[known]]
        return result

    def on_or_after(self, dates: TimeArray) -> TimeArray:
        """Return the first session on or after each date; NaT beyond the end."""
        return self.next_session(dates - _DAY)

    def previous_decision(self, date: np.datetime64) -> np.datetime64:
        """Return the last decision day before `date`.

        Raises
        ------
        DataContractError
            If the calendar starts later.
        """
        decisions = self.decisions()
        index = int(np.searchsorted(decisions, date, side="left")) - 1
        if index < 0:
            raise DataContractError(f"{self.name}: no decision day before {date.astype('datetime64[D]')}")
        decision: np.datetime64 = decisions[index]
        return decision


@lru_cache(maxsize=64)
def _sessions(name: str, start: str, end: str) -> TimeArray:
    if "+" in name:
        together: TimeArray = reduce(np.union1d, [_sessions(part, start, end) for part in name.split("+")])
        together.setflags(write=False)
        return together
    if name not in exchange_calendars.get_calendar_names(include_aliases=True):
        raise DataContractError(f"`calendar` must be an exchange_calendars name such as XSHG or XNYS; got {name!r}")
    low, high = _bounds(name)
    first, last = max(pd.Timestamp(start), low), min(pd.Timestamp(end), high)
    sessions = _whole_decades(name, first.year // 10, last.year // 10) if first < last else _NONE
    sessions = sessions[(sessions >= first.to_datetime64()) & (sessions <= last.to_datetime64())]
    if not len(sessions):
        raise DataContractError(f"{name}: no sessions between {start} and {end}")
    sessions.setflags(write=False)
    return sessions


@lru_cache(maxsize=16)
def _bounds(name: str) -> tuple[pd.Timestamp, pd.Timestamp]:
    """Return the days between which the library knows an exchange."""
    anywhen = exchange_calendars.get_calendar(name)
    return anywhen.bound_min() or pd.Timestamp("1900-01-01"), anywhen.bound_max() or pd.Timestamp("2199-12-31")


@lru_cache(maxsize=16)
def _whole_decades(name: str, first: int, last: int) -> TimeArray:
    """Return the sessions of some decades: the library takes long, and as long for one week as for thirty years."""
    low, high = _bounds(name)
    start, end = max(pd.Timestamp(10 * first, 1, 1), low), min(pd.Timestamp(10 * last + 9, 12, 31), high)
    calendar = exchange_calendars.get_calendar(name, start=start, end=end)
    return np.asarray(calendar.sessions.to_numpy().astype("datetime64[us]"))


def local_to_utc(dates: TimeArray, clock: pd.Timedelta, zone: str) -> TimeArray:
    """Return local wall-clock times as UTC ``datetime64[us]``; NaT stays NaT.

    A time that the clocks show twice is the later one, a time that they skip is the next one: never too early.
    """
    local = pd.DatetimeIndex(dates) + clock
    later = np.zeros(len(local), dtype=np.bool_)
    aware = local.tz_localize(ZoneInfo(zone), ambiguous=later, nonexistent="shift_forward")
    utc: TimeArray = aware.tz_convert("UTC").tz_localize(None).to_numpy("datetime64[us]", copy=True)
    return utc
