"""Tables of books, parquet or CSV, read in chunks; `serving.book_checks` looks at their rows.

Columns: `book_id` (text or integer, unique), `as_of` (date), `gross_leverage`, `financing_rate`, `basis`, optionally
`hedge_ratio`, and for each segment that any book holds `long_SEGMENT` and `hedge_SEGMENT`; `models.books` says what the
numbers mean. A segment without a column is held by no book; a segment with a column needs a number in every row.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

from features.contracts import FloatArray
from features.errors import DataContractError
from models.books import Books

REQUIRED = ("book_id", "as_of", "gross_leverage", "financing_rate", "basis")


@dataclass(frozen=True)
class BookTable:
    """A table of books whose columns are sound; its rows are for `check_rows`.

    Parameters
    ----------
    path : Path
    columns : tuple of str
    segments : tuple of str
        Those with a column, in the order of the scenario set.
    rows : int
        Rows of a parquet file; of a CSV its lines, an upper bound.
    is_csv : bool
    """

    path: Path
    columns: tuple[str, ...]
    segments: tuple[str, ...]
    rows: int
    is_csv: bool

    def chunks(self, rows: int) -> Iterator[pa.Table]:
        """Read the table in pieces of exactly `rows` rows, the last one shorter; memory holds about two of them.

        Raises
        ------
        DataContractError
            If the file is damaged or a column has the wrong type.
        """
        try:
            yield from _exact((self._typed(batch) for batch in self._batches(rows)), rows)
        except (pa.ArrowException, OSError) as error:
            said = re.sub(r"CSV column #(\d+)", lambda at: f"column {self.columns[int(at[1])]!r}", str(error))
            raise DataContractError(f"{self.path}: cannot be read: {said.splitlines()[0]}") from error

    def books(self, chunk: pa.Table) -> Books:
        """Return the books of a chunk; a missing number is NaN, and a weight without a column zero."""

        def column(name: str) -> FloatArray:
            values: FloatArray = pc.fill_null(chunk[name], np.nan).to_numpy()
            return values

        def weights(leg: str) -> FloatArray:
            names = [f"{leg}_{segment}" for segment in self.segments]
            return np.column_stack([column(n) if n in self.columns else np.zeros(len(chunk)) for n in names])

        return Books(
            segments=self.segments,
            long=weights("long"),
            hedge=weights("hedge"),
            gross_leverage=column("gross_leverage"),
            financing_rate=column("financing_rate"),
            basis=column("basis"),
            hedge_ratio=column("hedge_ratio") if "hedge_ratio" in self.columns else None,
        )

    def _batches(self, rows: int) -> Iterator[pa.RecordBatch]:
        if self.is_csv:
            types = {**dict.fromkeys(self.columns, pa.float64()), "book_id": pa.string(), "as_of": pa.date32()}
            yield from pyarrow.csv.open_csv(self.path, convert_options=pyarrow.csv.ConvertOptions(column_types=types))
        else:
            with pyarrow.parquet.ParquetFile(self.path, pre_buffer=False) as file:
                yield from file.iter_batches(batch_size=rows)

    def _typed(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Cast to the declared types: identifiers stay text or integer, dates become days, all else float64."""
        arrays = []
        for name in self.columns:
            values = batch.column(name)
            if pa.types.is_dictionary(values.type):
                values = values.dictionary_decode()
            text = pa.types.is_string(values.type) or pa.types.is_large_string(values.type)
            number = (
                pa.types.is_floating(values.type) or pa.types.is_integer(values.type) or pa.types.is_null(values.type)
            )
            if name == "book_id":
                fits, kind = text or pa.types.is_integer(values.type), "text or an integer"
                target = pa.string() if text else values.type
            elif name == "as_of":
                fits, kind, target = text or pa.types.is_temporal(values.type), "a date", pa.date32()
            else:
                fits, kind, target = number or pa.types.is_decimal(values.type), "a number", pa.float64()
            if not fits:
                raise DataContractError(f"{self.path}: column {name!r} must hold {kind}; got type {values.type}")
            arrays.append(values.cast(target))
        return pa.RecordBatch.from_arrays(arrays, list(self.columns))


def open_table(path: Path, segments: Sequence[str]) -> BookTable:
    """Look at a table's kind and columns.

    Parameters
    ----------
    path : Path
        Parquet, or CSV with the suffix ``.csv``.
    segments : sequence of str
        Segments of the scenario set.

    Raises
    ------
    DataContractError
        If the file is missing, empty or of another kind; if a column is missing, unknown, twice there, or names a
        segment that the scenario set does not hold.
    """
    is_csv = path.suffix.lower() == ".csv"
    try:
        if path.stat().st_size == 0:
            raise DataContractError(f"{path}: the table of books is empty")
        if is_csv:
            with path.open(encoding="utf-8-sig", newline="") as file:
                columns = tuple(next(csv.reader(file)))
            with path.open("rb") as raw:
                rows = sum(block.count(b"\n") for block in iter(lambda: raw.read(1 << 20), b""))
        else:
            with pyarrow.parquet.ParquetFile(path) as held:
                columns, rows = tuple(held.schema_arrow.names), held.metadata.num_rows
    except (OSError, pa.ArrowException, UnicodeDecodeError, csv.Error) as error:
        kind = "CSV" if is_csv else "parquet (a CSV must be called .csv)"
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error).splitlines()[0]
        raise DataContractError(f"{path}: not a table of books in {kind}: {reason}") from error
    known = [f"{leg}_{segment}" for leg in ("long", "hedge") for segment in segments]
    if missing := [name for name in REQUIRED if name not in columns]:
        raise DataContractError(f"{path}: the table of books lacks the column(s) {', '.join(missing)}")
    if twice := sorted({name for name in columns if columns.count(name) > 1}):
        raise DataContractError(f"{path}: column {twice[0]!r} is there twice")
    for name in columns:
        leg, _, segment = name.partition("_")
        if name in known or name in REQUIRED or name == "hedge_ratio":
            continue
        if leg in ("long", "hedge"):
            raise DataContractError(
                f"{path}: column {name!r} names segment {segment!r}, which the scenario set does not hold; "
                f"it holds {', '.join(segments)}"
            )
        raise DataContractError(
            f"{path}: unknown column {name!r}; allowed are {', '.join(REQUIRED)}, hedge_ratio, long_SEGMENT and "
            "hedge_SEGMENT"
        )
    if not any(f"long_{segment}" in columns for segment in segments):
        raise DataContractError(f"{path}: the table of books lacks a column long_SEGMENT; books need long weights")
    held_segments = tuple(s for s in segments if f"long_{s}" in columns or f"hedge_{s}" in columns)
    return BookTable(path, columns, held_segments, rows, is_csv)


def _exact(batches: Iterable[pa.RecordBatch], rows: int) -> Iterator[pa.Table]:
    """Cut a stream of batches into tables of `rows` rows."""
    held: list[pa.RecordBatch] = []
    count = 0
    for batch in batches:
        rest = batch
        while count + len(rest) >= rows:
            yield pa.Table.from_batches([*held, rest.slice(0, rows - count)])
            rest, held, count = rest.slice(rows - count), [], 0
        if len(rest):
            held.append(rest)
            count += len(rest)
    if held:
        yield pa.Table.from_batches(held)
