"""When a number could first be read: from the publisher's date, else from the series' rule."""

from __future__ import annotations

from datetime import time

import numpy as np
import pandas as pd

from features.calendar import TradingCalendar, local_to_utc
from features.contracts import BoolArray, TimeArray
from features.errors import DataContractError
from features.market import Rule, SeriesSpec

_WEEKDAYS = {"mon": 0, "tue": 1, "wed": 2, "thu": 3, "fri": 4}
_SAFETY_SESSIONS = 3
"""Sessions added to an estimated day: real dates fall after a bare rule in 1 to 2% of months."""


def known_times(
    spec: SeriesSpec, period: TimeArray, release_date: TimeArray | None, calendar: TradingCalendar, timezone: str
) -> tuple[TimeArray, BoolArray]:
    """Return when each value became knowable (UTC) and whether that time is an estimate.

    Parameters
    ----------
    spec : SeriesSpec
        Its `known` rule serves the rows without a release date.
    period : array of datetime64[us], shape (n,)
        Reference dates.
    release_date : array of datetime64[us], shape (n,), or None
        Publication dates as the source states them; NaT where it does not.
    calendar : TradingCalendar
        Must reach some days beyond the last period.
    timezone : str
        The market's time zone, used where the rule names none.

    Returns
    -------
    known_at : array of datetime64[us], shape (n,)
        UTC. For a period before the first session of the calendar, rules that count sessions start there: later than
        the truth, never earlier.
    estimated : array of bool, shape (n,)

    Raises
    ------
    DataContractError
        If a time cannot be computed because the calendar ends too early.
    """
    rule = spec.known
    zone = rule.tz or timezone
    known = local_to_utc(rule_days(rule, period, calendar), clock_offset(rule.time), zone)
    estimated = np.full(len(period), rule.estimated)
    if release_date is not None:
        genuine = ~np.isnat(release_date)
        known[genuine] = local_to_utc(release_date[genuine], clock_offset(spec.release_time), zone)
        estimated[genuine] = False
    if np.isnat(known).any():
        first = period[np.isnat(known)][0].astype("datetime64[D]")
        start, end = calendar.sessions[[0, -1]].astype("datetime64[D]")
        raise DataContractError(
            f"{spec.name}: no publication time for period {first}: the {calendar.name} calendar covers {start} to "
            f"{end}; correct the date, or install a newer exchange_calendars"
        )
    return known, estimated


def rule_days(rule: Rule, period: TimeArray, calendar: TradingCalendar) -> TimeArray:
    """Return the day on which the rule says that each period's value appears; NaT beyond the calendar."""
    if rule.kind == "sessions":
        return calendar.next_session(period, rule.lag) if rule.lag else period.copy()
    if rule.kind == "days":
        return period + np.timedelta64(rule.lag, "D")
    if rule.kind == "business_days":
        days = np.busday_offset(period.astype("datetime64[D]"), rule.lag, roll="backward")
        return days.astype("datetime64[us]")
    month = period.astype("datetime64[M]") + np.timedelta64(rule.offset, "M")
    if rule.january_with_february:
        january = period.astype("datetime64[M]").astype(np.int64) % 12 == 0
        month = month + january.astype("timedelta64[M]")
    days = _day_of_month(rule, month.astype("datetime64[D]"), calendar).astype("datetime64[us]")
    if rule.exact:
        return days
    return calendar.next_session(calendar.on_or_after(days), _SAFETY_SESSIONS)


def _day_of_month(rule: Rule, first: TimeArray, calendar: TradingCalendar) -> TimeArray:
    """Return the rule's day in the months that begin on `first`, as ``datetime64[D]``."""
    if rule.day is not None:
        last: TimeArray = np.add(first.astype("datetime64[M]"), 1).astype("datetime64[D]") - 1
        return last if rule.day < 0 else np.minimum(first + np.timedelta64(rule.day - 1, "D"), last)
    nth = rule.nth or 1
    if rule.weekday is None:
        return calendar.next_session((first - np.timedelta64(1, "D")).astype("datetime64[us]"), nth)
    return np.busday_offset(first, nth - 1, roll="forward", weekmask=_mask(rule.weekday))


def _mask(weekday: str) -> str:
    return "".join("1" if day == _WEEKDAYS[weekday] else "0" for day in range(7))


def clock_offset(value: time) -> pd.Timedelta:
    """Return a wall-clock time as the time since midnight."""
    return pd.Timedelta(hours=value.hour, minutes=value.minute, seconds=value.second)
