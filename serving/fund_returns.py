"""A fund's daily returns out of a user's file, checked until nothing in it can mislead the analysis."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet

from features.calendar import TradingCalendar
from features.contracts import BoolArray, FloatArray, TimeArray
from features.errors import DataContractError
from models.style_regression import MIN_DAYS

_ABSURD_DAY = 0.5
"""No fund gains or loses half of its value in a day; a percent sign forgotten does."""
_ABSURD_VOLATILITY = 0.1
"""Standard deviation of a day, a fraction; a quiet fund in percent stays below the bound for single days."""
_STRETCHES = 40
"""Gaps named in an error; the error carries all of them."""
_FORM = (
    "a CSV or parquet file with the columns `date` and `return` (a fraction, 0.01 is one percent) or `date` and `nav`"
)


def read_fund_returns(path: Path, exchange: str) -> pd.Series:
    """Read daily simple returns, or net asset values and turn them into such.

    Parameters
    ----------
    path : Path
        A ``.parquet`` file, anything else is read as CSV (UTF-8): column `date` (YYYY-MM-DD) and either `return` or
        `nav`; other columns are not used. One row for each session, in order of time.
    exchange : str
        Name in `exchange_calendars`, whose sessions the dates must be.

    Returns
    -------
    pandas.Series, indexed by session
        Fractions; one row fewer than the file has where it holds `nav`.

    Raises
    ------
    DataContractError
        If the file cannot be read or lacks a column, a cell is no date or number, dates repeat, run backwards, are no
        sessions or leave sessions out, there are fewer than 60 returns, or the returns are no fractions. Carries the
        rows, with their line in the file.
    """
    frame, column = _table(path)
    days = _dates(path, frame)
    values = _numbers(path, frame, column)
    _refuse(
        path, frame, days.duplicated(keep=False).to_numpy(), "dates must not repeat", "keep one row for each session"
    )
    backwards = np.append(False, np.diff(days.to_numpy()) < np.timedelta64(0))
    _refuse(path, frame, backwards, "dates must ascend", "sort the rows by date")
    returns = len(frame) - (column == "nav")
    if returns < MIN_DAYS:
        raise DataContractError(f"{path}: needs at least {MIN_DAYS} daily returns; got {max(returns, 0)}")
    _check_sessions(path, frame, days, exchange)
    result = pd.Series(values, index=pd.DatetimeIndex(days, name="date"), name="return")
    if column == "nav":
        _refuse(path, frame, values <= 0, "`nav` must be positive", "correct the rows")
        result = (result / result.shift(1) - 1).iloc[1:]
    _check_magnitude(path, result, column)
    return result


def _table(path: Path) -> tuple[pd.DataFrame, str]:
    """Read the file as it stands, with the line of each row, and say which column holds the numbers."""
    try:
        if path.suffix.lower() == ".parquet":
            # Without the note for pandas in it, which is text that damage reaches unchecked.
            with pyarrow.parquet.ParquetFile(path) as file:
                frame = file.read().to_pandas(ignore_metadata=True)
            frame.insert(0, "row", np.arange(len(frame)) + 1)
        else:
            frame = pd.read_csv(path, dtype=str, keep_default_na=False, index_col=False, encoding="utf-8-sig")
            frame.columns = frame.columns.str.strip()
            frame.insert(0, "line", np.arange(len(frame)) + 2)
    except FileNotFoundError as error:
        raise DataContractError(f"{path}: no such file; `--returns` must be {_FORM}") from error
    except (pa.ArrowException, OSError, ValueError) as error:
        said = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise DataContractError(f"{path}: cannot be read ({said}); `--returns` must be {_FORM}") from error
    numbers = [name for name in ("return", "nav") if name in frame.columns]
    if "date" not in frame.columns or len(numbers) != 1 or frame.columns.has_duplicates:
        have = ", ".join(str(name) for name in frame.columns[1:]) or "none"
        raise DataContractError(f"{path}: has the column(s) {have}; `--returns` must be {_FORM}")
    return frame.loc[:, [frame.columns[0], "date", numbers[0]]], numbers[0]


def _refuse(path: Path, frame: pd.DataFrame, wrong: BoolArray, problem: str, remedy: str) -> None:
    if wrong.any():
        raise DataContractError(f"{path}: {problem}; got {int(wrong.sum())} such row(s); {remedy}", frame[wrong])


def _dates(path: Path, frame: pd.DataFrame) -> pd.Series:
    raw = frame["date"]
    if isinstance(raw.dtype, pd.DatetimeTZDtype):
        raise DataContractError(f"{path}: `date` must be a day without a time zone; got type {raw.dtype}")
    if pd.api.types.is_datetime64_dtype(raw.dtype):
        days = raw
    else:
        text = raw.astype(str).str.strip()
        days = pd.to_datetime(text.where(text.str.fullmatch(r"\d{4}-\d\d-\d\d")), format="%Y-%m-%d", errors="coerce")
    wrong = (days.isna() | (days != days.dt.normalize())).to_numpy()
    _refuse(path, frame, wrong, "`date` must be a day YYYY-MM-DD", "correct the rows")
    return days.astype("datetime64[us]")


def _numbers(path: Path, frame: pd.DataFrame, column: str) -> FloatArray:
    raw = frame[column]
    empty = (raw.isna() | (raw.astype(str).str.strip() == "")).to_numpy()
    _refuse(path, frame, empty, f"`{column}` must not be missing", "fill the cells or start the file after them")
    values = pd.to_numeric(raw, errors="coerce").to_numpy(np.float64)
    what = f"`{column}` must be a finite number"
    remedy = "write plain decimals: no percent signs, thousands separators or words"
    _refuse(path, frame, ~np.isfinite(values), what, remedy)
    return values


def _check_sessions(path: Path, frame: pd.DataFrame, days: pd.Series, exchange: str) -> None:
    first, last = (days.iloc[row].to_datetime64() for row in (0, -1))
    sessions = TradingCalendar.build(exchange, first, last).sessions
    strangers = ~np.isin(days.to_numpy("datetime64[us]"), sessions)
    _refuse(path, frame, strangers, f"dates must be sessions of {exchange}", "take these rows out")
    absent = ~np.isin(sessions, days.to_numpy("datetime64[us]"))
    if absent.any():
        raise DataContractError(
            f"{path}: leaves out {int(absent.sum())} session(s) of {exchange} between its first and last date: "
            f"{_stretches(sessions, absent)}; fill them in, or start the file after the last of them",
            pd.DataFrame({"missing": pd.DatetimeIndex(sessions[absent])}),
        )


def _stretches(sessions: TimeArray, absent: BoolArray) -> str:
    """Name each unbroken stretch of absent sessions by its ends; the very first and last session are there."""
    step = np.diff(absent.astype(np.int64))
    begins, ends = sessions[1:][step == 1], sessions[:-1][step == -1]
    named = [
        f"{begin.astype('datetime64[D]')}" + ("" if begin == end else f" to {end.astype('datetime64[D]')}")
        for begin, end in zip(begins, ends, strict=True)
    ]
    more = [f"and {len(named) - _STRETCHES} more"] if len(named) > _STRETCHES else []
    return ", ".join([*named[:_STRETCHES], *more])


def _check_magnitude(path: Path, returns: pd.Series, column: str) -> None:
    absurd = returns[returns.abs() > _ABSURD_DAY]
    # Beyond any bound there is no spread to speak of.
    spread = float(returns.std()) if absurd.empty else np.nan
    if absurd.empty and spread <= _ABSURD_VOLATILITY:
        return
    remedy = (
        "0.01 is one percent: divide by 100 if these are percent"
        if column == "return"
        else "adjust `nav` for splits and distributions, or correct the rows"
    )
    found = f"{len(absurd)} day(s) beyond {_ABSURD_DAY:.0%}" if len(absurd) else f"a daily volatility of {spread:.0%}"
    rows = absurd if len(absurd) else returns
    raise DataContractError(f"{path}: daily returns must be fractions; got {found}; {remedy}", rows.reset_index())
