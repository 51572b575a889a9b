"""Point-in-time evaluation: the value of a causal transform at many decision times, revisions and all.

The naive way, rebuilding the as-of history at each decision, costs decisions x rows. Between two revisions, however,
every as-of history is a prefix of the next one, so that one evaluation serves all decisions between them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from features.contracts import FloatArray, History, IntArray, TimeArray, latest_vintages


def align(histories: Sequence[History]) -> History:
    """Join histories on their period; a joint value is known when its last part is, and revised when any part is.

    Parameters
    ----------
    histories : sequence of History
        Each of shape (n_i, 1).

    Returns
    -------
    History
        `value` has one column per input; only periods that every input has.
    """
    if len(histories) == 1:
        return histories[0]
    common = histories[0].period
    for history in histories[1:]:
        common = np.intersect1d(common, history.period)
    if len(common) == 0:
        empty = np.array([], dtype="datetime64[us]")
        return History(empty, empty, np.empty((0, len(histories))))
    kept = []
    for history in histories:
        inside = np.isin(history.period, common)
        kept.append((history.period[inside], history.known_at[inside], history.value[inside, 0]))
    if all(len(period) == len(common) for period, _, _ in kept):
        columns, known = [], []
        for period, known_at, value in kept:
            order = np.argsort(period)
            columns.append(value[order])
            known.append(known_at[order])
        return History.of(common, np.max(known, axis=0), np.column_stack(columns))
    return _align_vintages(common, kept)


def _align_vintages(common: TimeArray, kept: list[tuple[TimeArray, TimeArray, FloatArray]]) -> History:
    """Replay the vintages of all inputs in the order they became known, one joint row per change."""
    period = np.concatenate([part[0] for part in kept])
    known_at = np.concatenate([part[1] for part in kept])
    value = np.concatenate([part[2] for part in kept])
    source = np.repeat(np.arange(len(kept)), [len(part[0]) for part in kept])
    slot = np.searchsorted(common, period)
    order = np.lexsort((source, known_at, slot))
    slot, known_at, value, source = slot[order], known_at[order], value[order], source[order]
    state = np.full((len(slot), len(kept)), np.nan)
    rows = np.arange(len(slot))
    first = np.searchsorted(slot, slot)
    for column in range(len(kept)):
        last = np.maximum.accumulate(np.where(source == column, rows, -1))
        seen = last >= first
        state[seen, column] = value[last[seen]]
    complete = np.isfinite(state).all(axis=1)
    # Of rows with the same period and time only the last holds every change made at that time.
    final = np.append((slot[1:] != slot[:-1]) | (known_at[1:] != known_at[:-1]), True)
    chosen = complete & final
    return History.of(common[slot[chosen]], known_at[chosen], state[chosen])


def epochs(history: History, times: TimeArray) -> Iterator[tuple[IntArray, TimeArray, FloatArray, IntArray]]:
    """Group times whose as-of histories are prefixes of one another.

    Parameters
    ----------
    history : History
    times : array of datetime64[us], shape (m,), ascending

    Yields
    ------
    index : array of int
        Positions in `times` of the group.
    period, value : arrays
        The as-of history at the group's last time, periods ascending.
    length : array of int
        For each member of the group, how many rows of it were known; the as-of history is that prefix.
    """
    if len(times) == 0:
        return
    counts = np.searchsorted(history.known_at, times, side="right")
    period = history.period
    ahead = np.maximum.accumulate(period) if len(period) else period
    displaced = np.zeros(len(period), dtype=bool)
    displaced[1:] = period[1:] <= ahead[:-1]
    epoch_of_count = np.concatenate([[0], np.cumsum(displaced)])
    distinct = np.zeros(len(period) + 1, dtype=np.int64)
    if len(period):
        _, first_row = np.unique(period, return_index=True)
        is_first = np.zeros(len(period), dtype=np.int64)
        is_first[first_row] = 1
        distinct[1:] = np.cumsum(is_first)
    epoch = epoch_of_count[counts]
    starts = np.flatnonzero(np.append(True, epoch[1:] != epoch[:-1]))
    for start, stop in zip(starts, np.append(starts[1:], len(times)), strict=True):
        n = counts[stop - 1]
        if n == 0:
            continue
        index = np.arange(start, stop)
        as_of_period, as_of_value = latest_vintages(period[:n], history.value[:n])
        yield index, as_of_period, as_of_value, distinct[counts[start:stop]]


def newest_rows(history: History, times: TimeArray) -> IntArray:
    """Return the row of the newest period known at each time, in its latest vintage, shape (m,); -1 before the first.

    A plain as-of join would not do: an old period revised late must not displace the newest period.

    Information set: rows with known_at <= the time.
    """
    counts = np.searchsorted(history.known_at, times, side="right")
    if len(history) == 0:
        return counts - 1
    period = history.period.view(np.int64)
    leading = period == np.maximum.accumulate(period)
    newest = np.maximum.accumulate(leading * np.arange(len(history)))
    return np.where(counts > 0, newest[counts - 1], -1)


def newest_periods(history: History, times: TimeArray) -> TimeArray:
    """Return the newest period known at each time, shape (m,); NaT before the first.

    Information set: rows with known_at <= the time.
    """
    rows = newest_rows(history, times)
    return np.append(history.period, np.datetime64("NaT", "us"))[rows]


def evaluate_at(
    history: History, times: TimeArray, function: Callable[[FloatArray, IntArray], FloatArray]
) -> tuple[FloatArray, TimeArray, TimeArray]:
    """Evaluate a causal transform on the as-of history of each time.

    Parameters
    ----------
    history : History
    times : array of datetime64[us], shape (m,), ascending, UTC
    function : callable
        Maps rows, shape (n, k), and which of them are wanted, shape (m,), to the values there, shape (m,); that of
        row i may depend on rows up to i only.

    Returns
    -------
    value : array, shape (m,)
        The transform's last row; missing before the first row is known.
    newest_period : array of datetime64[us], shape (m,)
        The newest period known; NaT before the first.
    known_at : array of datetime64[us], shape (m,)
        When the newest row became known; NaT before the first.

    Information set: rows with known_at <= the time.
    """
    value = np.full(len(times), np.nan)
    for index, _, rows, length in epochs(history, times):
        seen = length > 0
        value[index[seen]] = function(rows, length[seen] - 1)
    counts = np.searchsorted(history.known_at, times, side="right")
    known_at = np.full(len(times), np.datetime64("NaT"), dtype="datetime64[us]")
    known_at[counts > 0] = history.known_at[counts[counts > 0] - 1]
    return value, newest_periods(history, times), known_at
