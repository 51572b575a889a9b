"""Sessions, weeks and decision days against exchange_calendars and a naive loop over ISO weeks."""

from __future__ import annotations

from datetime import date, timedelta

import exchange_calendars
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.calendar import TradingCalendar, local_to_utc
from features.errors import DataContractError

WINDOW = ("1996-01-01", "2024-12-31")
EXCHANGES = ("XSHG", "XNYS")
DAYS = st.dates(date(1996, 2, 1), date(2024, 10, 31))


@pytest.fixture(scope="module", params=EXCHANGES)
def calendar(request: pytest.FixtureRequest) -> TradingCalendar:
    return TradingCalendar.build(request.param, *WINDOW)


def days(calendar: TradingCalendar) -> list[date]:
    return [session.astype("datetime64[D]").item() for session in calendar.sessions]


def at(day: date | str) -> np.datetime64:
    return np.datetime64(day, "us")


def test_sessions_are_those_of_the_exchange(calendar: TradingCalendar) -> None:
    library = exchange_calendars.get_calendar(calendar.name, start=WINDOW[0], end=WINDOW[1])
    assert days(calendar) == [session.date() for session in library.sessions]
    assert not calendar.sessions.flags.writeable


def test_decisions_are_the_last_sessions_of_iso_weeks(calendar: TradingCalendar) -> None:
    last: dict[tuple[int, int], date] = {}
    for day in days(calendar):
        last[day.isocalendar()[:2]] = day
    expected = sorted(last.values())[:-1]  # whether the last week goes on is not known
    assert [day.astype("datetime64[D]").item() for day in calendar.decisions()] == expected
    assert len({day.isocalendar()[:2] for day in expected}) == len(expected)


@pytest.mark.parametrize(
    ("name", "decisions", "entries"),
    [
        # Spring Festival 2016: 8 to 12 February has no session, so that week does not exist.
        ("XSHG", ["2016-02-05", "2016-02-19"], ["2016-02-15", "2016-02-22"]),
        # National Day 2023 closes from Friday 29 September: the decision is on Thursday, the entry eleven days later.
        ("XSHG", ["2023-09-28", "2023-10-13"], ["2023-10-09", "2023-10-16"]),
        # Good Friday 2023.
        ("XNYS", ["2023-04-06", "2023-04-14"], ["2023-04-10", "2023-04-17"]),
    ],
)
def test_holidays_by_hand(name: str, decisions: list[str], entries: list[str]) -> None:
    calendar = TradingCalendar.build(name, "2016-01-01", "2023-12-31")
    found = calendar.decisions()
    inside = found[(found >= at(decisions[0])) & (found <= at(decisions[-1]))]
    assert inside.astype("datetime64[D]").astype(str).tolist() == decisions
    assert calendar.entries(inside).astype("datetime64[D]").astype(str).tolist() == entries


@given(DAYS, st.integers(1, 30))
def test_next_session_counts_sessions_one_by_one(calendar: TradingCalendar, day: date, lag: int) -> None:
    sessions, expected = set(days(calendar)), day
    for _ in range(lag):
        expected += timedelta(days=1)
        while expected not in sessions:
            expected += timedelta(days=1)
    assert calendar.next_session(np.array([at(day)]), lag)[0] == at(expected)
    on_or_after = (
        day if day in sessions else calendar.next_session(np.array([at(day)]))[0].astype("datetime64[D]").item()
    )
    assert calendar.on_or_after(np.array([at(day)]))[0] == at(on_or_after)


def test_an_entry_is_the_session_after_its_decision(calendar: TradingCalendar) -> None:
    decisions = calendar.decisions()
    entries = calendar.entries(decisions)
    assert (entries > decisions).all()
    assert (calendar.position(entries) == calendar.position(decisions) + 1).all()
    # The week of an entry is the week after its decision's: no week lies between.
    assert (np.searchsorted(decisions, entries) == np.arange(1, len(decisions) + 1)).all()


def test_beyond_the_end_nothing_is_known(calendar: TradingCalendar) -> None:
    beyond = calendar.sessions[-1:]
    assert np.isnat(calendar.entries(beyond)).all()
    assert np.isnat(calendar.next_session(calendar.sessions[-3:], 3)).all()
    assert np.isnat(calendar.next_session(np.array(["NaT"], dtype="datetime64[us]"))).all()
    assert beyond[0] not in calendar.decisions()


@settings(max_examples=8)
@given(st.sampled_from(EXCHANGES), st.dates(date(1996, 1, 1), date(2020, 1, 1)), st.integers(20, 1500))
def test_a_window_is_a_slice_of_a_longer_one(name: str, start: date, length: int) -> None:
    """Explicit start and end: nothing depends on today or on what else was asked for."""
    end = start + timedelta(days=length)
    part, whole = TradingCalendar.build(name, str(start), str(end)), TradingCalendar.build(name, *WINDOW)
    inside = (whole.sessions >= at(start)) & (whole.sessions <= at(end))
    assert (part.sessions == whole.sessions[inside]).all()
    library = exchange_calendars.get_calendar(name, start=str(start), end=str(end))
    assert days(part) == [session.date() for session in library.sessions]
    decisions = whole.decisions()
    expected = decisions[(decisions >= part.sessions[0]) & (decisions <= part.sessions[-1])]
    known = part.decisions()
    assert (known == expected[: len(known)]).all()
    assert len(expected) - len(known) in (0, 1)


def test_a_window_may_begin_before_the_library_does_by_default() -> None:
    """Its default window starts twenty years ago, which would move with the day of the test."""
    sessions = TradingCalendar.build("XSHG", "1980-01-01", "1992-01-01").sessions
    assert sessions[0] == at("1990-12-03")  # the first it has
    assert TradingCalendar.build("XNYS", np.datetime64("1990-01-01"), "1990-02-01").sessions[0] == at("1990-01-02")


def test_previous_decision_and_position(calendar: TradingCalendar) -> None:
    decisions = calendar.decisions()
    for index in (1, 17, 900):
        assert calendar.previous_decision(decisions[index]) == decisions[index - 1]
        assert calendar.previous_decision(decisions[index] + np.timedelta64(1, "D")) == decisions[index]
    with pytest.raises(DataContractError, match=f"{calendar.name}: no decision day before 1996-01-0"):
        calendar.previous_decision(decisions[0])
    sundays = np.array([at("2023-11-26"), calendar.sessions[5], at("2030-01-01")])
    with pytest.raises(DataContractError, match="2023-11-26 is not a session") as caught:
        calendar.position(sundays)
    assert caught.value.rows is not None
    assert caught.value.rows["date"].tolist() == [pd.Timestamp("2023-11-26"), pd.Timestamp("2030-01-01")]


def test_an_unknown_exchange_and_an_empty_window() -> None:
    with pytest.raises(DataContractError, match="such as XSHG or XNYS; got 'XXXX'"):
        TradingCalendar.build("XXXX", *WINDOW)
    for start, end in (("2020-01-02", "2019-01-01"), ("2023-09-29", "2023-10-08"), ("1980-01-01", "1990-12-02")):
        with pytest.raises(DataContractError, match=f"XSHG: no sessions between {start} and {end}"):
            TradingCalendar.build("XSHG", start, end)


@pytest.mark.parametrize(
    ("local", "zone", "utc"),
    [
        ("2023-11-24 15:30", "Asia/Shanghai", "2023-11-24 07:30"),
        ("2023-03-10 16:00", "America/New_York", "2023-03-10 21:00"),
        ("2023-03-13 16:00", "America/New_York", "2023-03-13 20:00"),  # daylight saving began on the 12th
        ("2023-11-05 01:30", "America/New_York", "2023-11-05 06:30"),  # shown twice: the later one
        ("2023-03-12 02:30", "America/New_York", "2023-03-12 07:00"),  # skipped: the next moment there is
    ],
)
def test_local_times_in_utc(local: str, zone: str, utc: str) -> None:
    stamp = pd.Timestamp(local)
    result = local_to_utc(np.array([stamp.normalize(), "NaT"], dtype="datetime64[us]"), stamp - stamp.normalize(), zone)
    assert result[0] == at(utc.replace(" ", "T"))
    assert np.isnat(result[1])
    result[0] = at("2000-01-01")  # a copy of its own
