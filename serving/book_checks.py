"""Looks at every row of a table of books before one is scored: a bad row refuses the whole table."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from features.errors import DataContractError
from models.books import Fault
from models.stress import Stress
from serving.book_table import BookTable

Report = Callable[[str, int, int], None]
"""Progress: stage, done, total."""
SHOWN = 1000
"""Bad rows that an error carries; it counts all of them."""


def check_rows(table: BookTable, day: np.datetime64, stress: Stress | None, rows: int, report: Report) -> int:
    """Read the whole table once and refuse it if a single row is wrong; returns the number of rows.

    Parameters
    ----------
    table : BookTable
    day : datetime64
        What `as_of` must be in every row.
    stress : Stress, optional
        Must shock every segment that a book holds.
    rows : int
        Rows of a chunk.
    report : callable
        Progress: stage, done, total.

    Raises
    ------
    DataContractError
        Saying how many rows are wrong and what is wrong with the first; carries up to `SHOWN` of them, as `row` (from
        0), `book_id` and `fault`.
    """
    count, shown = 0, list[pd.DataFrame]()
    hashes, wrong = [], []
    for chunk in table.chunks(rows):
        ids = chunk["book_id"]
        other_day = pc.fill_null(
            pc.not_equal(chunk["as_of"], pa.scalar(day.astype("datetime64[D]").item(), pa.date32())), True
        )
        blank = pc.equal(ids, "") if pa.types.is_string(ids.type) else pc.is_null(ids)
        books = table.books(chunk)
        faults = [
            Fault("`book_id` must be given", pc.fill_null(blank, True).to_numpy()),
            Fault(f"`as_of` must be {day.astype('datetime64[D]')} in every row", other_day.to_numpy()),
            *books.faults(),
            *([] if stress is None else stress.faults(books)),
        ]
        wrong.append(np.logical_or.reduce([fault.rows for fault in faults]))
        shown += [_rows(ids, fault, count) for fault in faults if fault.rows.any() and sum(map(len, shown)) < SHOWN]
        hashes.append(_hashes(ids))
        count += len(chunk)
        report("check books", count, max(count, table.rows))
    if count == 0:
        raise DataContractError(f"{table.path}: the table of books is empty")
    repeated = _repeated(table, rows, np.concatenate(hashes))
    bad = np.concatenate(wrong)
    bad[repeated["row"].to_numpy()] = True
    if bad.any():
        found = pd.concat([*shown, repeated.head(SHOWN)]).sort_values("row", kind="stable", ignore_index=True)
        first = found.iloc[0]
        raise DataContractError(
            f"{table.path}: {bad.sum()} of {count} row(s) are wrong, first row {first['row']}: {first['fault']}; "
            "correct or remove them, no book was scored",
            found.head(SHOWN),
        )
    report("check books", count, count)
    return count


def _rows(ids: pa.ChunkedArray, fault: Fault, offset: int) -> pd.DataFrame:
    at = np.flatnonzero(fault.rows)[:SHOWN]
    return pd.DataFrame({"row": at + offset, "book_id": ids.take(pa.array(at)).to_pylist(), "fault": fault.rule})


def _hashes(ids: pa.ChunkedArray) -> npt.NDArray[np.uint64]:
    """Eight bytes an identifier, so that a million of them are compared in little memory."""
    return pd.util.hash_array(ids.to_pandas().to_numpy())


def _repeated(table: BookTable, rows: int, hashes: npt.NDArray[np.uint64]) -> pd.DataFrame:
    """Return the rows whose identifier was there before, found by hash and confirmed by value."""
    known, counts = np.unique(hashes, return_counts=True)
    suspects = known[counts > 1]
    found, offset = [pd.DataFrame({"row": pd.Series(dtype=np.int64), "book_id": pd.Series(dtype=object)})], 0
    if len(suspects):
        for chunk in table.chunks(rows):
            at = np.flatnonzero(np.isin(hashes[offset : offset + len(chunk)], suspects))
            found.append(pd.DataFrame({"row": at + offset, "book_id": chunk["book_id"].take(pa.array(at)).to_pylist()}))
            offset += len(chunk)
    every = pd.concat(found, ignore_index=True)
    again = every[every["book_id"].notna() & (every["book_id"] != "") & every["book_id"].duplicated()]
    return again.assign(fault="`book_id` must be unique")
