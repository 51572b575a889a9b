"""One CSV or parquet file as text, and the columns read from it; an error names the file, the row and the remedy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet

from features.contracts import BoolArray, FloatArray, TimeArray
from features.errors import DataContractError

_MIDNIGHT = r"(?:[ T]00:00(?::00(?:\.0+)?)?)?"
_DATE = r"\d{4}-\d{2}-\d{2}" + _MIDNIGHT
_MONTH = r"\d{4}-\d{2}(?:-\d{2}" + _MIDNIGHT + ")?"


@dataclass(frozen=True, eq=False)
class Table:
    """A file's cells as text, empty ones missing.

    Parameters
    ----------
    path : Path
    cells : pandas.DataFrame
        Indexed by the row's number in the file, so that it survives a selection.
    """

    path: Path
    cells: pd.DataFrame

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a file.

        Raises
        ------
        DataContractError
            If it is empty, is not UTF-8 or is no table.
        """
        try:
            if path.suffix == ".parquet":
                # Without the note for pandas in it, which is text that damage reaches unchecked.
                with pyarrow.parquet.ParquetFile(path) as file:
                    cells = file.read().to_pandas(ignore_metadata=True).astype("string")
                first = 1
            else:
                cells = pd.read_csv(
                    path, dtype="string", keep_default_na=False, na_values=[""], encoding="utf-8-sig",
                    skip_blank_lines=False,
                )  # fmt: skip
                first = 2
        except pd.errors.EmptyDataError as error:
            raise DataContractError(f"{path}: the file is empty; give it a header and rows, or take it away") from error
        except UnicodeDecodeError as error:
            raise DataContractError(
                f"{path}: byte {error.start + 1} is not UTF-8 text; save the file as UTF-8"
            ) from error
        except (pd.errors.ParserError, pa.ArrowException, OSError, ValueError) as error:
            said = str(error).strip().splitlines()[0]
            raise DataContractError(f"{path}: cannot be read as a table: {said}; correct the file") from error
        if not isinstance(cells.index, pd.RangeIndex):
            raise DataContractError(f"{path}: row {first}: more cells than the header has names; correct the header")
        cells.index = cells.index + first
        return cls(path, cells[cells.notna().any(axis=1)])

    def __len__(self) -> int:
        return len(self.cells)

    def where(self, keep: BoolArray) -> Table:
        """Return the rows of a mask."""
        return Table(self.path, self.cells[keep])

    def require(self, columns: Sequence[str]) -> None:
        """Raise unless the header has all of these columns."""
        missing = [column for column in columns if column not in self.cells.columns]
        if missing:
            raise DataContractError(
                f"{self.path}: row 1: the header lacks {', '.join(missing)}; it has "
                f"{', '.join(map(str, self.cells.columns))}; rename or add the column(s)"
            )

    def complain(self, bad: BoolArray, message: str, column: str) -> None:
        """Raise with the rows of a mask, if it has any; `message` follows the first row's number, then its cell."""
        if bad.any():
            rows = self.cells[bad]
            cell = rows[column].iloc[0]
            got = "an empty cell" if pd.isna(cell) else repr(str(cell))
            raise DataContractError(f"{self.path}: row {rows.index[0]}: {message}; got {got}", rows)

    def numbers(self, column: str) -> FloatArray:
        """Return a column of numbers; an empty cell is missing."""
        number = pd.to_numeric(self.cells[column], errors="coerce").to_numpy(np.float64, na_value=np.nan)
        bad = self.cells[column].notna().to_numpy() & ~np.isfinite(number)
        self.complain(bad, f"column {column!r} must be a number, with no sign for a missing one", column)
        return number

    def dates(self, column: str, *, optional: bool = False, month: bool = False) -> TimeArray:
        """Return a column of dates; with `optional` a cell may be empty, with `month` it may be ``YYYY-MM``."""
        text = self.cells[column]
        well_formed = text.str.fullmatch(_MONTH if month else _DATE).fillna(False)
        parsed = pd.to_datetime(text.where(well_formed), format="ISO8601", errors="coerce")
        bad = (parsed.isna() & (text.notna() | (not optional))).to_numpy(np.bool_)
        self.complain(
            bad, f"column {column!r} must be a date YYYY-MM-DD{' or a month YYYY-MM' if month else ''}", column
        )
        return parsed.to_numpy("datetime64[us]")

    def times(self, column: str) -> TimeArray:
        """Return a column of times in UTC; a cell may be empty, else it must carry its zone."""
        text = self.cells[column]
        zoned = text.str.contains(r"[T ].*(?:Z|[+-]\d{2}:?\d{2})$", regex=True).fillna(False)
        parsed = pd.to_datetime(text.where(zoned), format="ISO8601", errors="coerce", utc=True)
        bad = (parsed.isna() & text.notna()).to_numpy(np.bool_)
        self.complain(bad, f"{column!r} must be a time with its zone, e.g. 2023-11-24T15:00+08:00", column)
        return parsed.dt.tz_localize(None).to_numpy("datetime64[us]")

    def ascending(self, column: str, period: TimeArray) -> None:
        """Raise unless the rows are in the order of `period`, each once."""
        at = np.flatnonzero(period[1:] <= period[:-1]) + 1
        if len(at):
            text = self.cells[column]
            kind = "repeats" if period[at[0]] == period[at[0] - 1] else "is out of order after"
            raise DataContractError(
                f"{self.path}: row {text.index[at[0]]}: {column} {text.iloc[at[0]]} {kind} {text.iloc[at[0] - 1]}; "
                f"sort the file and keep one row per {column}",
                self.cells.iloc[sorted({*at, *(at - 1)})],
            )
