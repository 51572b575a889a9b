"""Outcomes by hand and by loop: nesting, ties, gaps, and what a label does when prices are corrected afterwards."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from features.contracts import HORIZONS, BoolArray, FloatArray, History, IntArray, TimeArray, read_events
from features.outcomes import outcome_frame
from tests.features.naive import history_as_of

DAY = np.timedelta64(1, "D")
CLOCK = np.timedelta64(15 * 60 + 30, "m")
MONDAY = np.datetime64("2020-01-06", "us")
"""Entry of the first week; decisions are the Fridays before."""
EVENTS = ("y_switch", "y_large", "y_crash")


def mondays(n: int) -> TimeArray:
    return MONDAY + np.arange(n) * 7 * DAY


def decide(entries: TimeArray, style: list[int], sigma: list[float]) -> pd.DataFrame:
    return pd.DataFrame(
        {"style": style, "sigma": sigma},
        index=pd.DatetimeIndex(entries[: len(style)] - 3 * DAY, name="decision_date"),
    )


def resolve(rows: pd.DataFrame, line: History, entries: TimeArray) -> pd.DataFrame:
    return outcome_frame(rows, line, entries, np.arange(len(rows)), entries + CLOCK)


def closes(entries: TimeArray, x: list[float]) -> History:
    """A line of entry closes, each known a quarter of an hour before the decision clock."""
    return History.of(entries[: len(x)], entries[: len(x)] + CLOCK - np.timedelta64(15, "m"), np.array(x))


def test_a_hand_computed_month() -> None:
    """Small leads, sigma 0.02. Entry 0.10; entry points +1 -2.5 -1 +3 per cent.

    One week: +0.01, nothing. Four weeks: bars 0.04 and 0.05; the low of -0.025 reaches neither, the end is +0.03.
    """
    entries = mondays(7)
    frame = resolve(decide(entries, [1], [0.02]), closes(entries, [0.10, 0.11, 0.075, 0.09, 0.13]), entries)
    week, month = frame.iloc[0], frame.iloc[1]
    assert (week["spread_realised"], month["spread_realised"]) == pytest.approx((0.01, 0.03))
    assert week[list(EVENTS)].tolist() == [0.0, 0.0, 0.0]
    assert month[list(EVENTS)].tolist() == [0.0, 0.0, 0.0]
    assert (week["entry_date"], week["exit_date"]) == (pd.Timestamp(entries[0]), pd.Timestamp(entries[1]))
    assert (month["entry_date"], month["exit_date"]) == (pd.Timestamp(entries[0]), pd.Timestamp(entries[4]))
    assert month["matured_at"] == pd.Timestamp(entries[4] + CLOCK)


@pytest.mark.parametrize(
    ("style", "path", "week", "month"),
    [
        # One week, bars 0.02 and 0.025; four weeks, bars 0.04 and 0.05.
        (1, [-0.03, -0.045, -0.01, 0.01], [1.0, 1.0, 1.0], [1.0, 0.0, 0.0]),
        (1, [-0.022, -0.055, 0.0, 0.0], [1.0, 1.0, 0.0], [1.0, 0.0, 1.0]),
        (-1, [0.021, 0.039, 0.0, -0.01], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]),
        (-1, [-0.03, -0.06, 0.02, 0.05], [0.0, 1.0, 1.0], [1.0, 0.0, 1.0]),
    ],
)
def test_events_by_hand(style: int, path: list[float], week: list[float], month: list[float]) -> None:
    entries = mondays(6)
    line = closes(entries, [0.0, *path])
    frame = resolve(decide(entries, [style], [0.02]), line, entries)
    assert frame.loc[(slice(None), 1), list(EVENTS)].to_numpy().tolist() == [week]
    assert frame.loc[(slice(None), 4), list(EVENTS)].to_numpy().tolist() == [month]


@pytest.mark.parametrize("horizon", HORIZONS)
def test_ties_have_not_happened(horizon: int) -> None:
    """Sigma 1/4 and 1/2 at these horizons are exact in binary."""
    sigma = np.array([0.25])
    bar = 0.25 * np.sqrt(horizon)
    for style, side in ((1, -1.0), (-1, 1.0)):
        path = np.zeros((1, horizon))
        path[0, 0] = side * bar
        assert not read_events(path, sigma, np.array([style]), horizon)[0][0]
        path[0, 0] = np.nextafter(side * bar, side * np.inf)
        assert read_events(path, sigma, np.array([style]), horizon)[0][0]
    flat = np.zeros((1, horizon))
    assert not read_events(flat, sigma, np.array([1]), horizon)[1][0]
    flat[0, 0] = -1.25 * bar
    assert not read_events(flat, sigma, np.array([1]), horizon)[2][0]
    flat[0, 0] = np.nextafter(-1.25 * bar, -np.inf)
    assert read_events(flat, sigma, np.array([1]), horizon)[2][0]


PATHS = arrays(np.float64, (20, 4), elements=st.floats(-0.3, 0.3))
SIGMAS = arrays(np.float64, 20, elements=st.floats(0.001, 0.2))
STYLES = arrays(np.int64, 20, elements=st.sampled_from([-1, 1]))


@given(PATHS, SIGMAS, STYLES, st.sampled_from(HORIZONS))
def test_events_are_nested(path: FloatArray, sigma: FloatArray, style: IntArray, horizon: int) -> None:
    switch, large, crash = read_events(path[:, :horizon], sigma, style, horizon)
    small = style == 1

    def implies(one: BoolArray, other: BoolArray, where: BoolArray) -> bool:
        return bool(np.all(~one[where] | other[where]))

    assert implies(crash, switch, small)
    if horizon == 1:
        assert implies(switch, large, small)
        assert implies(crash, large, ~small)
        assert implies(switch, ~large, ~small)


@st.composite
def market_with_corrections(draw: st.DrawFn) -> tuple[History, TimeArray, pd.DataFrame]:
    """Daily closes, some missing, some late, some corrected up to two months later."""
    weeks = draw(st.integers(6, 14))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    days = MONDAY + np.arange(7 * weeks) * DAY
    known = (
        days
        + CLOCK
        + rng.choice([-15, 15, 60 * 24 * 3, 60 * 24 * 10], len(days), p=[0.9, 0.04, 0.03, 0.03]).astype(
            "timedelta64[m]"
        )
    )
    x = np.cumsum(0.01 * rng.standard_normal(len(days)))
    kept = rng.random(len(days)) > 0.03
    again = rng.random(len(days)) < 0.1
    later = known[again] + rng.integers(1, 60, int(again.sum())).astype("timedelta64[D]")
    line = History.of(
        np.concatenate([days[kept], days[again]]),
        np.concatenate([known[kept], later]),
        np.concatenate([x[kept], x[again] + 0.01 * rng.standard_normal(int(again.sum()))]),
    )
    # Holidays: now and then the week's first session is a Tuesday, or the week does not exist.
    entries = (mondays(weeks) + rng.choice([0, 1], weeks, p=[0.8, 0.2]) * DAY)[rng.random(weeks) > 0.1]
    n = max(len(entries) - 2, 1)
    style = rng.choice([-1, 1], n).tolist()
    return line, entries, decide(entries, style, (0.005 + 0.03 * rng.random(n)).tolist())


@settings(max_examples=40)
@given(market_with_corrections())
def test_outcomes_equal_a_loop(case: tuple[History, TimeArray, pd.DataFrame]) -> None:
    line, entries, rows = case
    frame = resolve(rows, line, entries)
    assert len(frame) == len(rows) * len(HORIZONS)
    for week in range(len(rows)):
        row = rows.iloc[week]
        for horizon in HORIZONS:
            got = frame.loc[(rows.index[week], horizon)]
            assert got["entry_date"] == pd.Timestamp(entries[week])
            if week + horizon >= len(entries):
                assert pd.isna(got["exit_date"])
                assert pd.isna(got["matured_at"])
                assert got[["spread_realised", *EVENTS]].isna().all()
                continue
            matured = entries[week + horizon] + CLOCK
            assert got["matured_at"] == pd.Timestamp(matured)
            seen = history_as_of(line, matured)
            points = [seen.get(day) for day in entries[week : week + horizon + 1]]
            if any(point is None for point in points):
                assert got[list(EVENTS)].isna().all()
                continue
            path = [float(point[0] - points[0][0]) for point in points[1:]]  # type: ignore[index]
            bar = row["sigma"] * np.sqrt(horizon)
            against = -min(path) if row["style"] == 1 else max(path)
            assert got["spread_realised"] == path[-1]
            assert got["y_switch"] == float(against > bar)
            assert got["y_large"] == float(path[-1] < 0)
            assert got["y_crash"] == float(-min(path) > 1.25 * bar)


@settings(max_examples=40)
@given(market_with_corrections(), st.integers(0, 90))
def test_a_matured_outcome_never_changes(case: tuple[History, TimeArray, pd.DataFrame], day: int) -> None:
    """What is known later than a cut decides nothing that had matured by it, and nothing else had an outcome."""
    line, entries, rows = case
    cut = MONDAY + day * DAY + CLOCK
    known = line.known_at <= cut
    short = resolve(rows, History(line.period[known], line.known_at[known], line.value[known]), entries)
    full = resolve(rows, line, entries)
    matured = (full["matured_at"] <= pd.Timestamp(cut)).to_numpy()
    pd.testing.assert_frame_equal(full[matured], short[matured])
    # Data cut at `cut` cannot know an exit close that came later.
    assert short.loc[~matured & (full["exit_date"] > pd.Timestamp(cut)).to_numpy(), list(EVENTS)].isna().all(axis=None)


def test_a_correction_before_maturity_counts_and_one_after_it_does_not() -> None:
    entries = mondays(4)
    rows = decide(entries, [1], [0.02])
    first = closes(entries, [0.0, -0.01, 0.0])
    for delay, expected in ((np.timedelta64(15, "m"), -0.03), (np.timedelta64(16, "m"), -0.01)):
        line = History.of(
            np.append(first.period, entries[1]),
            np.append(first.known_at, first.known_at[1] + delay),
            np.append(first.value[:, 0], -0.03),
        )
        assert resolve(rows, line, entries).iloc[0]["spread_realised"] == expected


def test_a_late_exit_close_leaves_the_outcome_open_for_good() -> None:
    entries = mondays(4)
    line = History.of(entries[:2], entries[:2] + CLOCK + np.array([0, 1]) * DAY, np.array([0.0, -0.5]))
    week = resolve(decide(entries, [1], [0.02]), line, entries).iloc[0]
    assert week[["spread_realised", *EVENTS]].isna().all()


def test_no_rows_give_no_outcomes() -> None:
    entries = mondays(4)
    frame = resolve(decide(entries, [], []), closes(entries, [0.0, 0.1]), entries)
    assert frame.empty
    assert {"entry_date", "exit_date", "matured_at", "spread_realised", *EVENTS} <= set(frame.columns)
