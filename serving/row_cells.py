"""Cells of a parquet table made safe for pandas: what no contract could take must reject its row, not end the job.

Parquet holds more than pandas takes: texts that are no UTF-8, days beyond the year 9999, lists and maps. A column of
such a type is marked as what it is, no text or no number; a cell that cannot be read is no day, or a text of its own.
"""

from __future__ import annotations

from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from models.row_contract import KEYS, STALE

_TEXTS = frozenset({*KEYS, STALE}) - {"decision_date"}
_A_DAY = {"s": 86_400, "ms": 86_400_000, "us": 86_400_000_000, "ns": 86_400_000_000_000}
_FIRST, _LAST = ((day - date(1970, 1, 1)).days for day in (date.min, date.max))


def safe_rows(table: pa.Table) -> pa.Table:
    """Return rows of features as pandas can take them, one for one; sound cells stay as they are.

    Parameters
    ----------
    table : pyarrow.Table
        What a file's schema says of pandas is dropped: a key that was an index there is a column here.
    """
    columns = [_safe(name, column) for name, column in zip(table.column_names, table.columns, strict=True)]
    return pa.Table.from_arrays(columns, names=table.column_names)


def shown(column: pa.ChunkedArray) -> list[str | None]:
    """Return cells as text, whatever they hold."""
    try:
        return [None if cell is None else str(cell) for cell in column.to_pylist()]
    except (ValueError, OverflowError, pa.ArrowException):
        return [_shown(cell) for cell in column]


def _safe(name: str, column: pa.ChunkedArray) -> pa.ChunkedArray:
    kind = column.type
    if name == "decision_date":
        plain = pa.types.is_date(kind) or (pa.types.is_timestamp(kind) and kind.tz is None)
        return _days(column) if plain else _marked(column)
    if name not in _TEXTS:
        plain = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_null(kind)
        return column if plain else _marked(column)
    texts = kind.value_type if pa.types.is_dictionary(kind) else kind
    if pa.types.is_null(kind):
        return column
    return _texts(column) if pa.types.is_string(texts) or pa.types.is_large_string(texts) else _marked(column)


def _marked(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return truth where there was a cell: neither text, nor day, nor number."""
    there = column.is_valid()
    return pc.if_else(there, there, pa.scalar(None, pa.bool_()))


def _days(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return midnights as they are; what is none, or beyond the calendar, is missing."""
    kind = column.type
    if pa.types.is_date32(kind):
        number, day = column.cast(pa.int32()).cast(pa.int64()), 1
    else:
        number, day = column.cast(pa.int64()), _A_DAY["ms" if pa.types.is_date64(kind) else kind.unit]
    counts = number.fill_null(0).to_numpy()
    whole = counts // day
    good = (counts == whole * day) & (whole >= _FIRST) & (whole <= _LAST) & column.is_valid().to_numpy()
    days = np.where(good, whole, 0).astype("datetime64[D]").astype("datetime64[us]")
    return pa.chunked_array([pa.array(days, pa.timestamp("us"), mask=~good)])


def _texts(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return texts; bytes that are no UTF-8 show as question marks, which are no name of anything."""
    try:
        column.validate(full=True)
    except pa.ArrowInvalid:
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        raw = pc.cast(column, pa.large_binary(), safe=False).to_pylist()
        cells = [None if cell is None else cell.decode("utf-8", "replace") for cell in raw]
        return pa.chunked_array([pa.array(cells, pa.string())])
    return column


def _shown(cell: pa.Scalar[Any]) -> str | None:
    try:
        return None if not cell.is_valid else str(cell.as_py())
    except UnicodeDecodeError:
        return bytes(cell.cast(pa.large_binary()).as_buffer()).decode("utf-8", "replace")
    except (ValueError, OverflowError, pa.ArrowException):
        return f"{cell.type} {getattr(cell, 'value', '')}".strip()
