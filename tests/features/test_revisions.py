"""What was revised between two times, against a loop over every period."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.revisions import REVISION_COLUMNS, revised_values, without_revisions

START = np.datetime64("2020-01-01", "us")
DAY = np.timedelta64(1, "D")


def rows(cells: list[tuple[str, int, int, float]]) -> pd.DataFrame:
    """Return observations of (series, period, known day, value), ordered as the store orders them."""
    frame = pd.DataFrame(cells, columns=["series", "period", "known_at", "value"])
    for name in ("period", "known_at"):
        frame[name] = START + frame[name].to_numpy(np.int64) * DAY
    return frame.sort_values(["series", "known_at", "period"], kind="stable", ignore_index=True)


def value_at(frame: pd.DataFrame, series: str, period: pd.Timestamp, time: np.datetime64) -> float | None:
    """Look one period up, row by row."""
    found = None
    for row in frame.to_dict("records"):
        if row["series"] == series and row["period"] == period and row["known_at"] <= pd.Timestamp(time):
            found = float(row["value"])
    return found


CELLS = st.lists(
    st.tuples(
        st.sampled_from("ab"), st.integers(0, 4), st.integers(0, 9), st.integers(0, 2).map(float)
    ), min_size=1, max_size=30,
)  # fmt: skip


@settings(max_examples=40)
@given(CELLS, st.integers(0, 9), st.integers(0, 9))
def test_they_are_what_a_loop_over_all_periods_finds(cells: list, one: int, other: int) -> None:
    frame = rows(cells)
    since, until = START + min(one, other) * DAY, START + max(one, other) * DAY
    wanted = {}
    for series, period in {(row["series"], row["period"]) for row in frame.to_dict("records")}:
        old, new = (value_at(frame, series, period, time) for time in (since, until))
        if old is not None and old != new:
            wanted[series, period] = (old, new)
    found = revised_values(frame, since, until)
    assert tuple(found.columns) == REVISION_COLUMNS
    assert {(r["series"], r["period"]): (r["old"], r["new"]) for r in found.to_dict("records")} == wanted
    assert found["known_at"].between(pd.Timestamp(since), pd.Timestamp(until)).all()


@settings(max_examples=40)
@given(CELLS, st.integers(0, 9), st.integers(0, 9))
def test_without_them_old_periods_read_as_before_and_new_ones_as_now(cells: list, one: int, other: int) -> None:
    frame = rows(cells)
    since, until = START + min(one, other) * DAY, START + max(one, other) * DAY
    kept = without_revisions(frame, since, until)
    assert revised_values(kept, since, until).empty
    for series, period in {(row["series"], row["period"]) for row in frame.to_dict("records")}:
        before, now = (value_at(frame, series, period, time) for time in (since, until))
        assert value_at(kept, series, period, until) == (now if before is None else before)


def test_what_is_known_later_is_not_there() -> None:
    frame = rows([("a", 0, 1, 1.0), ("a", 0, 5, 2.0), ("a", 0, 9, 3.0), ("a", 4, 6, 7.0), ("a", 4, 7, 8.0)])
    found = revised_values(frame, START + 2 * DAY, START + 8 * DAY)
    assert found[["old", "new"]].to_numpy().tolist() == [[1.0, 2.0]]
    kept = without_revisions(frame, START + 2 * DAY, START + 8 * DAY)
    assert kept["value"].tolist() == [1.0, 7.0, 8.0]


@pytest.mark.parametrize("time", [-1, 20])
def test_nothing_to_revise(time: int) -> None:
    frame = rows([("a", 0, 1, 1.0), ("a", 0, 5, 2.0)])
    assert revised_values(frame, START + time * DAY, START + time * DAY).empty
