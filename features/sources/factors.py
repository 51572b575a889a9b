"""Daily factor returns as Kenneth French publishes them, and in the plain shape of the shared data.

Two forms are read. The plain one has the header ``date,mkt_rf,smb,...`` and holds decimal returns. French's own file,
as downloaded, has some lines of text, a header ``,Mkt-RF,SMB,HML,RF``, dates ``YYYYMMDD``, returns in percent, -99.99
or -999 for a missing one, and lines of text after the last row.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import pandas as pd

from features.contracts import FloatArray
from features.errors import DataContractError
from features.sources.table import Table

DATE = "date"
INDEX_START = 100.0
_PERCENT = 0.01
_DIGITS = 10
"""A return in percent has two decimals: rounding takes back what the division adds."""
_LOST = -0.9999
"""French's sign for a missing return where somebody divided it by 100."""
_MISSING = r"\s*-99(?:\.99|9)(?:0*|\.0*)\s*"
_NAMES = {"mkt-rf": "mkt_rf", "wml": "mom", "mom": "mom"}
_TYPICAL = 0.05
"""A median absolute daily return above this is a percentage."""
_ROW = re.compile(r"\s*(\d{8})\s*$")
_MONTH = re.compile(r"\s*\d{6}\s*$")


@dataclass(frozen=True, eq=False)
class FactorTable:
    """A file of daily factor returns.

    Parameters
    ----------
    table : Table
        With the column `date` and one column per factor, in lower case: `mkt_rf, smb, hml, rmw, cma, rf, mom`.
    scale : float
        What the numbers of the file are multiplied by: 1, or 0.01 where they are percent.
    """

    table: Table
    scale: float

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a file in either form.

        Raises
        ------
        DataContractError
            If it is neither; names the file and the remedy.
        """
        header, lines = (None, []) if path.suffix == ".parquet" else _french(path)
        if header is None:
            return cls(Table.read(path), 1.0)
        names = [DATE, *(_NAMES.get(name.strip().lower(), name.strip().lower()) for name in header[1:])]
        rows, numbers = [], []
        for number, cells in lines:
            if len(cells) != len(names):
                raise DataContractError(
                    f"{path}: row {number}: {len(cells)} cells where the header has {len(names)}; download the file "
                    "anew"
                )
            day = cells[0].strip()
            rows.append([f"{day[:4]}-{day[4:6]}-{day[6:]}", *cells[1:]])
            numbers.append(number)
        return cls(Table(path, pd.DataFrame(rows, columns=names, index=numbers, dtype="string")), _PERCENT)

    def returns(self, factor: str) -> FloatArray:
        """Return the returns of a factor, decimals; missing where the file says so, shape (n,).

        Raises
        ------
        DataContractError
            If there is no such column, a cell is no number, or a file of decimals seems to hold percentages.
        """
        self.table.require([DATE, factor])
        cells = self.table.cells[factor]
        marked = cells.str.fullmatch(_MISSING).fillna(False)
        plain = self.table.cells.assign(**{factor: cells.mask(marked).str.strip()})
        value = np.round(Table(self.table.path, plain).numbers(factor) * self.scale, _DIGITS)
        value = np.where(np.isclose(value, _LOST, rtol=0, atol=1e-9), np.nan, value)
        found = value[np.isfinite(value)]
        if self.scale == 1.0 and len(found) and np.median(np.abs(found)) > _TYPICAL:
            raise DataContractError(
                f"{self.table.path}: column {factor!r} seems to hold percentages (a median of "
                f"{np.median(np.abs(found)):.2g} a day); divide it by 100, or give the file as downloaded"
            )
        return value

    def index(self, legs: str) -> FloatArray:
        """Return the index whose return is that of every leg in turn, 100 before the first row, shape (n,).

        Parameters
        ----------
        legs : str
            Legs joined by ``*``, each a sum of factors: ``mkt_rf + rf * smb`` grows by (1 + mkt_rf + rf)(1 + smb) a
            day, so that its log less that of ``mkt_rf + rf`` is the cumulated log(1 + smb).

        Returns
        -------
        array
            A day on which a factor is missing has no value; the index goes on from the day before.

        Raises
        ------
        DataContractError
            As `returns`; also if a day loses everything.

        Information set: row i uses rows up to i.
        """
        growth = np.zeros(len(self.table))
        for leg in legs.split("*"):
            gain = np.sum([self.returns(name.strip()) for name in leg.split("+")], axis=0)
            lost = np.isfinite(gain) & (gain <= -1.0)
            self.table.complain(lost, f"a day of {leg.strip()!r} loses everything; correct it", DATE)
            growth += np.log1p(gain)
        known = np.isfinite(growth)
        level = INDEX_START * np.exp(np.cumsum(np.where(known, growth, 0.0)))
        return np.where(known, level, np.nan)


def _french(path: Path) -> tuple[list[str] | None, list[tuple[int, list[str]]]]:
    """Return header and numbered rows of a file as downloaded; no header where it has another form.

    The daily rows end at the first line that is none; rows after a gap would be another table.
    """
    try:
        # The text around the rows may be in any encoding; the rows themselves are digits.
        text = path.read_text(encoding="utf-8-sig", errors="replace")
    except OSError as error:
        raise DataContractError(f"{path}: cannot be read: {error.strerror}; correct its permissions") from error
    header: list[str] | None = None
    rows: list[tuple[int, list[str]]] = []
    for number, line in enumerate(text.splitlines(), start=1):
        cells = line.rstrip(", \t").split(",")
        if header is None:
            if cells[0].strip().lower() == DATE:
                break
            header = cells if len(cells) > 1 and not cells[0].strip() else None
        elif _ROW.match(cells[0]) and len(cells) > 1:
            rows.append((number, cells))
        elif _MONTH.match(cells[0]) and len(cells) > 1 and not rows:
            raise DataContractError(f"{path}: row {number}: a month; download the daily file")
        elif rows:
            break
    if header is not None and not rows:
        raise DataContractError(f"{path}: no row begins with a date YYYYMMDD; download the file anew")
    return header, rows
