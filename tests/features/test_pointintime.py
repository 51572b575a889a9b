"""One evaluation per epoch equals rebuilding the as-of history at every decision, revisions, late rows and all."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.contracts import FloatArray, History, IntArray, TimeArray
from features.pointintime import align, epochs, evaluate_at, newest_periods, newest_rows
from tests.features.naive import history_as_of

DAY = np.timedelta64(1, "D")
ORIGIN = np.datetime64("2020-01-01", "us")
NEVER = np.datetime64("NaT")


def days(numbers: list[int]) -> TimeArray:
    return ORIGIN + np.array(numbers, dtype=np.int64) * DAY


@st.composite
def some_history(draw: st.DrawFn, max_size: int = 25) -> History:
    """Random vintages: the same period often comes twice, rows come late, out of order and at the same instant."""
    rows = draw(
        st.lists(st.tuples(st.integers(0, 12), st.integers(0, 20), st.integers(-50, 50)), min_size=0, max_size=max_size)
    )
    period, delay, value = (list(part) for part in zip(*rows, strict=True)) if rows else ([], [], [])
    known = [first + lag for first, lag in zip(period, delay, strict=True)]
    return History.of(days(period), days(known), np.array(value, dtype=np.float64))


def running_total(rows: FloatArray, wanted: IntArray) -> FloatArray:
    """A causal transform that remembers every row, and in what order the columns came."""
    weights = 1.0 + np.arange(rows.shape[1])
    return np.asarray(np.cumsum((rows * weights).sum(axis=1) * (1.0 + np.arange(len(rows)))))[wanted]


TIMES = days(list(range(-1, 36, 2)))


@given(some_history())
def test_evaluate_at_equals_the_naive_rebuild(history: History) -> None:
    value, newest, known_at = evaluate_at(history, TIMES, running_total)
    for row, time in enumerate(TIMES):
        seen = history_as_of(history, time)
        if not seen:
            assert np.isnan(value[row])
            assert np.isnat(newest[row])
            assert np.isnat(known_at[row])
            continue
        rows = np.array([seen[period] for period in sorted(seen)])
        assert value[row] == running_total(rows, np.array([len(rows) - 1]))[0]
        assert newest[row] == max(seen)
        assert known_at[row] == max(time_known for time_known in history.known_at if time_known <= time)


@given(st.lists(some_history(12), min_size=1, max_size=3))
def test_align_equals_joining_what_was_known(histories: list[History]) -> None:
    joint = align(histories)
    assert joint.value.shape == (len(joint), len(histories))
    assert np.array_equal(joint.known_at, np.sort(joint.known_at))
    for time in TIMES:
        parts = [history_as_of(history, time) for history in histories]
        common = sorted(set.intersection(*(set(part) for part in parts)))
        expected = [[float(part[period][0]) for part in parts] for period in common]
        period, value = joint.as_of(time)
        assert list(period) == common
        assert value.tolist() == expected


@given(some_history())
def test_epochs_hold_prefixes_and_serve_every_time_once(history: History) -> None:
    served: list[int] = []
    for index, period, value, length in epochs(history, TIMES):
        served.extend(index.tolist())
        for position, count in zip(index, length, strict=True):
            expected_period, expected_value = history.as_of(TIMES[position])
            assert np.array_equal(period[:count], expected_period)
            assert np.array_equal(value[:count], expected_value)
    unseen = [row for row, time in enumerate(TIMES) if not history_as_of(history, time)]
    assert served == sorted(set(served))
    assert set(range(len(TIMES))) - set(served) <= set(unseen)


@given(some_history())
def test_newest_period_is_the_newest_known(history: History) -> None:
    for time, newest in zip(TIMES, newest_periods(history, TIMES), strict=True):
        seen = history_as_of(history, time)
        assert newest == max(seen) if seen else np.isnat(newest)


@given(some_history())
def test_newest_row_is_the_latest_vintage_of_the_newest_period(history: History) -> None:
    for time, row in zip(TIMES, newest_rows(history, TIMES), strict=True):
        seen = history_as_of(history, time)
        if not seen:
            assert row == -1
            continue
        assert history.period[row] == max(seen)
        assert history.value[row].tolist() == list(seen[max(seen)])


def test_an_old_period_revised_late_does_not_displace_the_newest() -> None:
    history = History.of(days([0, 1, 0]), days([1, 2, 9]), np.array([1.0, 2.0, 3.0]))
    assert history.value[newest_rows(history, days([1, 2, 9, 30])), 0].tolist() == [1.0, 2.0, 2.0, 2.0]


@given(some_history(), st.integers(0, 30))
def test_later_rows_change_nothing(history: History, cut: int) -> None:
    early = days([cut])[0]
    known = history.known_at <= early
    short = History(history.period[known], history.known_at[known], history.value[known])
    times = TIMES[early >= TIMES]
    for full, truncated in zip(
        evaluate_at(history, times, running_total), evaluate_at(short, times, running_total), strict=True
    ):
        assert np.array_equal(full, truncated, equal_nan=True)


def test_a_row_known_at_the_decision_counts_and_one_a_microsecond_later_does_not() -> None:
    at = days([3])
    history = History.of(days([0, 1]), np.array([at[0], at[0] + np.timedelta64(1, "us")]), np.array([5.0, 7.0]))
    value, newest, known_at = evaluate_at(history, at, lambda rows, wanted: rows[wanted, 0])
    assert (value[0], newest[0], known_at[0]) == (5.0, days([0])[0], at[0])


def test_of_two_rows_at_one_instant_the_later_in_the_batch_stands() -> None:
    history = History.of(days([0, 0, 1]), days([1, 1, 1]), np.array([1.0, 2.0, 3.0]))
    assert history.as_of(days([1])[0])[1].tolist() == [[2.0], [3.0]]
    assert align([history, history]).as_of(days([1])[0])[1].tolist() == [[2.0, 2.0], [3.0, 3.0]]


@pytest.mark.parametrize("columns", [1, 2])
def test_empty_histories_are_histories(columns: int) -> None:
    empty = History.of(days([]), days([]), np.array([]))
    joint = align([empty] * columns)
    value, newest, known_at = evaluate_at(joint, TIMES, running_total)
    assert np.isnan(value).all()
    assert np.isnat(newest).all()
    assert np.isnat(known_at).all()
    assert list(epochs(joint, TIMES)) == []
    assert list(epochs(joint, TIMES[:0])) == []
    assert align([History.of(days([1]), days([1]), np.ones(1)), empty]).value.shape == (0, 2)


def test_inputs_without_a_common_period_give_nothing() -> None:
    one, other = (History.of(days([day]), days([day]), np.ones(1)) for day in (1, 2))
    assert len(align([one, other])) == 0


def test_a_part_that_comes_late_makes_the_joint_row_late() -> None:
    first = History.of(days([0, 1]), days([0, 1]), np.array([1.0, 2.0]))
    second = History.of(days([0, 1]), days([9, 1]), np.array([10.0, 20.0]))
    joint = align([first, second])
    assert joint.known_at.tolist() == days([1, 9]).tolist()
    assert joint.as_of(days([8])[0])[1].tolist() == [[2.0, 20.0]]
    assert joint.as_of(days([9])[0])[1].tolist() == [[1.0, 10.0], [2.0, 20.0]]
