"""Rows of a stock file, streamed group by group into compact columns: no more than one group is ever held twice."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from features.contracts import BoolArray, Float32Array, TimeArray
from features.errors import DataContractError

REQUIRED = ("date", "code", "close", "ret", "is_st")
OPTIONAL = ("total_shares_10k", "amount")
_BATCH = 1 << 20


@dataclass(frozen=True, eq=False)
class StockRows:
    """Rows of a stock file in the order of the file, keys as positions.

    Parameters
    ----------
    dates : array of datetime64[us], shape (n_days,)
    codes : array of str, shape (n_codes,)
        Both ascending.
    listed : array of datetime64[us], shape (n_codes,)
        First row of each code in the whole file.
    earlier : array of int32, shape (n_codes,)
        Rows of each code before the interval.
    from_start : array of bool, shape (n_codes,)
        The code has a row on the first day of the whole file.
    day, code : arrays of int32, shape (n,)
        Positions in `dates` and `codes`.
    close, ret : arrays of float32, shape (n,)
        CNY, fraction; a missing or infinite number is NaN.
    st : array of int8, shape (n,)
        1 or 0; -1 where the file does not say.
    shares, amount : arrays of float32, shape (n,), optional
        10,000 shares, CNY; None where the file lacks the column.
    """

    dates: TimeArray
    codes: npt.NDArray[np.str_]
    listed: TimeArray
    earlier: npt.NDArray[np.int32]
    from_start: BoolArray
    day: npt.NDArray[np.int32]
    code: npt.NDArray[np.int32]
    close: Float32Array
    ret: Float32Array
    st: npt.NDArray[np.int8]
    shares: Float32Array | None
    amount: Float32Array | None

    def numbers(self) -> tuple[npt.NDArray[Any], ...]:
        """Return every column but the keys."""
        extra = tuple(values for values in (self.shares, self.amount) if values is not None)
        return (self.close, self.ret, self.st, *extra)


def read_rows(path: Path, since: np.datetime64 | None, until: np.datetime64 | None) -> StockRows:
    """Read a stock file.

    Parameters
    ----------
    path : Path
        As `features.stock_panel.read_stocks`.
    since, until : datetime64, optional
        First and last day to keep.

    Raises
    ------
    DataContractError
        As `read_stocks`.
    """
    low = None if since is None else int(since.astype("datetime64[D]").astype(np.int64))
    high = None if until is None else int(until.astype("datetime64[D]").astype(np.int64))
    names: list[npt.NDArray[np.str_]] = []
    firsts: list[npt.NDArray[np.int32]] = []
    earlier: list[npt.NDArray[np.int32]] = []
    parts: dict[str, list[npt.NDArray[Any]]] = {}
    start = 0
    for batch in _batches(path):
        day = _days(path, batch, start)
        name, code = _codes(path, batch, start)
        first = np.full(len(name), np.iinfo(np.int32).max, dtype=np.int32)
        np.minimum.at(first, code, day)
        kept = np.ones(len(day), dtype=np.bool_)
        before = code[day < low] if low is not None else code[:0]
        if low is not None:
            kept &= day >= low
        if high is not None:
            kept &= day <= high
        # Positions count over all batches until the codes are merged.
        offset = sum(len(known) for known in names)
        columns: dict[str, npt.NDArray[Any]] = {
            "day": day,
            "code": code + np.int32(offset),
            "is_st": _flags(path, batch),
        }
        for column in ("close", "ret", *OPTIONAL):
            if column in batch.schema.names:
                columns[column] = _numbers(path, batch, column)
        for column, values in columns.items():
            parts.setdefault(column, []).append(values if kept.all() else values[kept])
        names.append(name)
        firsts.append(first)
        earlier.append(np.bincount(before, minlength=len(name)).astype(np.int32))
        start += len(day)
    whole = {column: np.concatenate(parts.pop(column)) for column in list(parts)}
    if not whole or not len(whole["day"]):
        raise DataContractError(f"{path}: holds no row between {since or 'the start'} and {until or 'the end'}")
    return _merge(whole, np.concatenate(names), np.concatenate(firsts), np.concatenate(earlier))


def _merge(
    whole: dict[str, npt.NDArray[Any]],
    names: npt.NDArray[np.str_],
    firsts: npt.NDArray[np.int32],
    earlier: npt.NDArray[np.int32],
) -> StockRows:
    """Turn days and the batches' own code numbers into positions; codes without a row in the interval go."""
    used = np.zeros(len(names), dtype=np.bool_)
    used[whole["code"]] = True
    codes = np.unique(names[used])
    place = np.searchsorted(codes, names).astype(np.int32)
    place[place == len(codes)] = 0
    known = codes[place] == names
    listed = np.full(len(codes), np.iinfo(np.int32).max, dtype=np.int32)
    np.minimum.at(listed, place[known], firsts[known])
    rows_before = np.bincount(place[known], earlier[known], len(codes)).astype(np.int32)
    lowest = int(whole["day"].min())
    present = np.zeros(int(whole["day"].max()) - lowest + 1, dtype=np.bool_)
    present[whole["day"] - lowest] = True
    order = np.cumsum(present, dtype=np.int32) - 1
    return StockRows(
        dates=_times(np.flatnonzero(present) + lowest),
        codes=codes,
        listed=_times(listed),
        earlier=rows_before,
        from_start=listed == firsts.min(),
        day=order[whole["day"] - lowest],
        code=place[whole["code"]],
        close=whole["close"],
        ret=whole["ret"],
        st=whole["is_st"],
        shares=whole.get("total_shares_10k"),
        amount=whole.get("amount"),
    )


def _batches(path: Path) -> Iterator[pa.RecordBatch]:
    try:
        with pq.ParquetFile(path) as file:
            have = file.schema_arrow.names
            missing = [column for column in REQUIRED if column not in have]
            if missing:
                raise DataContractError(
                    f"{path}: lacks the column(s) {', '.join(missing)}; it has {', '.join(have)}; a stock file holds "
                    f"{', '.join(REQUIRED)}, and if known {', '.join(OPTIONAL)}"
                )
            wanted = [column for column in (*REQUIRED, *OPTIONAL) if column in have]
            yield from file.iter_batches(_BATCH, columns=wanted)
    except FileNotFoundError as error:
        raise DataContractError(f"{path}: no such file; name the parquet file of stocks") from error
    except (OSError, pa.ArrowException) as error:
        said = str(error).strip().splitlines()[0]
        raise DataContractError(f"{path}: cannot be read as parquet ({said}); write the file again") from error


def _days(path: Path, batch: pa.RecordBatch, start: int) -> npt.NDArray[np.int32]:
    column = batch.column("date")
    _complete(path, batch, "date", start)
    if pa.types.is_timestamp(column.type) and column.type.tz is not None:
        raise DataContractError(f"{path}: `date` must be a day without a time zone; got type {column.type}")
    try:
        if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
            column = pc.cast(column, pa.string())
        elif not (pa.types.is_timestamp(column.type) or pa.types.is_date(column.type)):
            raise DataContractError(f"{path}: `date` must be a day; got type {column.type}")
        dates = pc.cast(column, pa.date32())
        # The cast of a timestamp drops its time without a word.
        if pa.types.is_timestamp(column.type) and not pc.all(pc.equal(pc.cast(dates, column.type), column)).as_py():
            raise pa.ArrowInvalid("some row has one")
        days = pc.cast(dates, pa.int32())
    except pa.ArrowInvalid as error:
        raise DataContractError(f"{path}: `date` must be a day without a time ({error}); correct the rows") from error
    result: npt.NDArray[np.int32] = days.to_numpy(zero_copy_only=False)
    return result


def _codes(path: Path, batch: pa.RecordBatch, start: int) -> tuple[npt.NDArray[np.str_], npt.NDArray[np.int32]]:
    """Return the codes of a batch and, row by row, which of them it is."""
    _complete(path, batch, "code", start)
    column = batch.column("code")
    if not pa.types.is_dictionary(column.type):
        column = column.dictionary_encode()
    if not (pa.types.is_string(column.type.value_type) or pa.types.is_large_string(column.type.value_type)):
        raise DataContractError(f"{path}: `code` must be text, so that leading zeros stay; got type {column.type}")
    position = column.indices.to_numpy(zero_copy_only=False)
    names = column.dictionary.to_numpy(zero_copy_only=False).astype(np.str_)
    # A dictionary may hold codes that no row of the batch has.
    used = np.zeros(len(names), dtype=np.bool_)
    used[position] = True
    return names[used], (np.cumsum(used, dtype=np.int32) - 1)[position]


def _numbers(path: Path, batch: pa.RecordBatch, column: str) -> Float32Array:
    values = batch.column(column)
    if not (pa.types.is_floating(values.type) or pa.types.is_integer(values.type) or pa.types.is_decimal(values.type)):
        raise DataContractError(f"{path}: `{column}` must be numbers; got type {values.type}")
    cast = pc.cast(values, pa.float32(), safe=False)
    numbers: Float32Array = cast.to_numpy(zero_copy_only=False).astype(np.float32, copy=True)
    numbers[np.isinf(numbers)] = np.nan
    return numbers


def _flags(path: Path, batch: pa.RecordBatch) -> npt.NDArray[np.int8]:
    column = batch.column("is_st")
    if not (pa.types.is_boolean(column.type) or pa.types.is_integer(column.type)):
        raise DataContractError(f"{path}: `is_st` must be true or false; got type {column.type}")
    flags: npt.NDArray[np.int8] = pc.fill_null(pc.cast(pc.cast(column, pa.bool_()), pa.int8()), -1).to_numpy(
        zero_copy_only=False
    )
    return flags


def _complete(path: Path, batch: pa.RecordBatch, column: str, start: int) -> None:
    empty = np.flatnonzero(batch.column(column).is_null().to_numpy(zero_copy_only=False))
    if len(empty):
        rows: pd.DataFrame = batch.take(pa.array(empty[:1000])).to_pandas()
        rows.index = pd.Index(empty[:1000] + start + 1, name="row")
        raise DataContractError(
            f"{path}: row {rows.index[0]}: `{column}` must not be missing; got {len(empty)} such row(s); fill them",
            rows,
        )


def _times(days: npt.NDArray[np.integer]) -> TimeArray:
    return days.astype("datetime64[D]").astype("datetime64[us]")
