"""Every stock of a market, day by day: one dense panel out of one parquet file, with what is wrong in it.

The file holds one row for each stock and session on which it traded; a suspended stock has no row. Where a source
holds only stocks that are still listed, everything computed from it flatters the smallest ones: survivors only.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from features.checks import Severity
from features.contracts import BoolArray, Float32Array, TimeArray
from features.errors import DataContractError
from features.sources.stock_rows import StockRows, read_rows
from features.stock_findings import cell_findings, join_findings, no_findings

_MOST_CELLS = 100_000_000
"""Days times codes: at 20 bytes a cell this bounds memory at 2 GB."""
LONG_LISTED = 1_000_000
"""Rows that a code has behind it when the file starts with it: nobody knows how many, and there were enough."""


@dataclass(frozen=True, eq=False)
class StockPanel:
    """Stocks of one market by session and code; do not change the arrays in place.

    Parameters
    ----------
    dates : array of datetime64[us], shape (n_days,)
        Sessions on which some stock traded, ascending.
    codes : array of str, shape (n_codes,)
        Ascending.
    ret : array of float32, shape (n_days, n_codes)
        Split-adjusted simple return, a fraction; it spans a suspension where it ends one. Missing where the stock has
        no row, where the source has no number and where the cell is in quarantine.
    cap : array of float32, same shape
        Total market value at the close, CNY; missing likewise, and where shares are.
    st : array of bool, same shape
        Under special treatment; a row without the flag counts as if it were.
    traded : array of bool, same shape
        The stock has a row, whatever it is worth.
    close : array of float32, same shape
        Price at the close, CNY, not adjusted.
    listed : array of datetime64[us], shape (n_codes,)
        First row of each code in the source, also before `dates`; a code of the source's first day is older.
    amount : array of float32, same shape, optional
        Turnover, CNY; None where the source has none.
    earlier : array of int32, shape (n_codes,), optional
        Rows of each code before `dates[0]`; `LONG_LISTED` for a code that is in the source from its first day. By
        default that holds for every code with a row on `dates[0]`, and the others have none.
    findings : pandas.DataFrame
        What is wrong, with the columns `features.checks.FINDING_COLUMNS`; `series` is the code.

    Information set: row t holds what was known after the close of `dates[t]`.
    """

    dates: TimeArray
    codes: npt.NDArray[np.str_]
    ret: Float32Array
    cap: Float32Array
    st: BoolArray
    traded: BoolArray
    close: Float32Array
    listed: TimeArray
    amount: Float32Array | None = None
    earlier: npt.NDArray[np.int32] | None = None
    findings: pd.DataFrame = field(default_factory=no_findings)

    def __post_init__(self) -> None:
        shape = (len(self.dates), len(self.codes))
        for name in ("ret", "cap", "st", "traded", "close", "amount"):
            values = getattr(self, name)
            if values is not None and values.shape != shape:
                raise DataContractError(f"`{name}` must have the shape (days, codes) = {shape}; got {values.shape}")

    def age(self) -> npt.NDArray[np.int32]:
        """Return how many rows each code has had by the end of each day, shape (n_days, n_codes)."""
        rows = np.cumsum(self.traded, axis=0, dtype=np.int32)
        rows += self._earlier()
        return rows

    def _earlier(self) -> npt.NDArray[np.int32]:
        if self.earlier is not None:
            return self.earlier
        first = self.traded[0] if len(self.traded) else np.zeros(len(self.codes), dtype=np.bool_)
        return np.where(first, np.int32(LONG_LISTED), np.int32(0))

    def between(self, since: np.datetime64 | None = None, until: np.datetime64 | None = None) -> StockPanel:
        """Return the sessions from `since` to `until`, both included, as views; codes and findings stay."""
        first = 0 if since is None else int(np.searchsorted(self.dates, since, side="left"))
        last = len(self.dates) if until is None else int(np.searchsorted(self.dates, until, side="right"))
        part = slice(first, last)
        return replace(
            self,
            dates=self.dates[part],
            ret=self.ret[part],
            cap=self.cap[part],
            st=self.st[part],
            traded=self.traded[part],
            close=self.close[part],
            amount=None if self.amount is None else self.amount[part],
            earlier=self._earlier() + self.traded[:first].sum(axis=0, dtype=np.int32) if first else self.earlier,
        )


def read_stocks(path: Path, since: np.datetime64 | None = None, until: np.datetime64 | None = None) -> StockPanel:
    """Read a panel of stocks in one pass.

    Parameters
    ----------
    path : Path
        Parquet with the columns `date, code, close, total_shares_10k, ret, is_st` and, where there is one, `amount`
        (CNY); rows in any order. Without `total_shares_10k` every market value is missing, and a finding says so.
    since, until : datetime64, optional
        First and last day to keep.

    Returns
    -------
    StockPanel
        Cells with a repeated key that contradicts itself, or with a price that is not positive, are in quarantine:
        their numbers are missing and `findings` holds what they were. `features.stock_checks` looks further.

    Raises
    ------
    DataContractError
        If the file cannot be read, lacks a column, holds no row in the interval, a row has no date or code, or there
        are more codes than a market has.

    Information set: a cell holds its own row alone.
    """
    rows = read_rows(path, since, until)
    days, codes = len(rows.dates), len(rows.codes)
    if days * codes > _MOST_CELLS:
        raise DataContractError(
            f"{path}: {codes:,} codes on {days:,} days are more than {_MOST_CELLS:,} cells; name a shorter interval, "
            "or check the column `code`"
        )
    return _Builder(rows).panel()


class _Builder:
    """Spreads rows over the grid; of rows with the same key the last one stands."""

    def __init__(self, rows: StockRows) -> None:
        self.rows = rows
        self.shape = (len(rows.dates), len(rows.codes))
        self.cell = rows.day.astype(np.int64) * self.shape[1] + rows.code
        self.found: list[pd.DataFrame] = []
        self.bad = np.zeros(len(self.cell), dtype=np.bool_)

    def panel(self) -> StockPanel:
        rows = self.rows
        self._duplicates()
        self._note(rows.close <= 0, rows.close, "price", "error", "`close` must be positive")
        self._note(np.isnan(rows.close), rows.close, "missing_price", "warning", "the row has no price")
        if rows.shares is None:
            what = "the file has no column `total_shares_10k`: what needs market values is absent"
            nowhere = np.array([""]), np.array(["NaT"], "datetime64[us]"), np.array([np.nan])
            self.found.append(cell_findings(*nowhere, "missing_shares", "warning", what))
            cap = np.full(len(self.cell), np.nan, dtype=np.float32)
        else:
            what = "no positive number of shares: the stock has no market value and joins no tier"
            self._note(~(rows.shares > 0), rows.shares, "missing_shares", "warning", what)
            with np.errstate(invalid="ignore", over="ignore"):
                cap = (rows.close.astype(np.float64) * rows.shares * 1e4).astype(np.float32)
            what = "`close` times shares is no market value; correct the row"
            self._note(np.isinf(cap), rows.shares, "impossible_value", "error", what)
            cap[~(rows.shares > 0)] = np.nan
        what = "the row does not say whether the stock is under special treatment: it counts as if it were"
        self._note(rows.st < 0, np.full(len(self.cell), np.nan), "missing_st", "warning", what)
        for values in (cap, rows.ret, rows.close, *(() if rows.amount is None else (rows.amount,))):
            values[self.bad] = np.nan
        return StockPanel(
            dates=rows.dates,
            codes=rows.codes,
            ret=self._spread(rows.ret),
            cap=self._spread(cap),
            st=self._flag(rows.st != 0),
            traded=self._flag(np.ones(len(self.cell), dtype=np.bool_)),
            close=self._spread(rows.close),
            listed=rows.listed,
            amount=None if rows.amount is None else self._spread(rows.amount),
            earlier=np.where(rows.from_start, np.int32(LONG_LISTED), rows.earlier),
            findings=join_findings(self.found),
        )

    def _duplicates(self) -> None:
        """Find rows that share a key: those that agree are one row, those that do not are in quarantine."""
        slot = np.full(self.shape[0] * self.shape[1], -1, dtype=np.int32)
        slot[self.cell] = np.arange(len(self.cell), dtype=np.int32)
        again = np.flatnonzero(slot[self.cell] != np.arange(len(self.cell)))
        last = slot[self.cell[again]]
        differs = np.zeros(len(again), dtype=np.bool_)
        for values in self.rows.numbers():
            differs |= ~((values[again] == values[last]) | (np.isnan(values[again]) & np.isnan(values[last])))
        clash = np.unique(self.cell[again[differs]])
        # Every row of a contradicted cell is bad, also those that agree with the last.
        self.bad[np.concatenate([again, last])] = np.isin(self.cell[np.concatenate([again, last])], clash)
        for keep, severity, what in (
            (self.bad[again], "error", "rows of the same date and code contradict each other; keep one"),
            (~self.bad[again], "warning", "the same row twice; it counts once"),
        ):
            at = np.unique(again[keep]) if len(again) else again
            self._tell(at, self.rows.ret, "duplicate", "error" if severity == "error" else "warning", what)

    def _note(
        self, wrong: BoolArray, value: npt.NDArray[np.floating], check: str, severity: Severity, message: str
    ) -> None:
        at = np.flatnonzero(wrong)
        if severity == "error":
            self.bad[at] = True
        self._tell(at, value, check, severity, message)

    def _tell(
        self, at: npt.NDArray[np.intp], value: npt.NDArray[np.floating], check: str, severity: Severity, message: str
    ) -> None:
        rows = self.rows
        code, day = rows.codes[rows.code[at]], rows.dates[rows.day[at]]
        self.found.append(cell_findings(code, day, value[at].astype(np.float64), check, severity, message))

    def _spread(self, values: Float32Array) -> Float32Array:
        grid = np.full(self.shape[0] * self.shape[1], np.nan, dtype=np.float32)
        grid[self.cell] = values
        return grid.reshape(self.shape)

    def _flag(self, values: BoolArray) -> BoolArray:
        grid = np.zeros(self.shape[0] * self.shape[1], dtype=np.bool_)
        grid[self.cell] = values
        return grid.reshape(self.shape)
