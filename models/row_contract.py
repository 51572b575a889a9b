"""What a row of features must hold to be scored, and why a row that does not is rejected.

A row is one (pair, decision day). Its columns:

``pair``
    Text; one of the market's pairs.
``decision_date``
    A date or a time without a zone at midnight; not before the bundle's cut.
``style_in_force``
    ``small`` or ``large``.
``stale`` (may be absent)
    Text; names of the features, separated by commas, that are missing only because an input is older than its limit.
one column per feature of the catalogue
    A number; missing where there is none. Infinite values are refused.
``EVENT_Hw_base``, ``EVENT_Hw_shared``
    The base rate and the level from which the head starts, probabilities inside (0, 1) (`models.climatology`).
``EVENT_Hw_implied``
    What the untilted scenario set implies, inside (0, 1); missing where there is no set (`models.implied`).
``EVENT_Hw_n``
    How many outcomes the base rate rests on, at least 0.

Further columns are not read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import numpy.typing as npt
import pandas as pd

from features.contracts import EVENTS, HORIZONS, STYLE_LARGE, STYLE_SMALL, BoolArray, Event, FloatArray, IntArray
from features.errors import BundleError, DataContractError
from models.schedule import day_text

if TYPE_CHECKING:
    from models.bundle import Bundle

KEYS = ("pair", "decision_date", "style_in_force")
STALE = "stale"
PARTS = ("base", "shared", "implied", "n")
_MOST = 2**1000
"""Larger whole numbers have no place among floats."""
_STYLES = {"small": STYLE_SMALL, "large": STYLE_LARGE}

_Cell = TypeVar("_Cell", bound=np.generic)
TextArray = npt.NDArray[np.object_]


def start_column(event: Event, horizon: int, part: str) -> str:
    """Return the column of what a head starts from; `part` is one of `PARTS`.

    Examples
    --------
    >>> start_column("switch", 4, "implied")
    'switch_4w_implied'
    """
    return f"{event}_{horizon}w_{part}"


@dataclass(frozen=True, eq=False)
class Start:
    """What one head starts from, as probabilities; every array has shape (n,). See `PARTS`."""

    base: FloatArray
    shared: FloatArray
    implied: FloatArray
    n: FloatArray


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows that keep the contract.

    Parameters
    ----------
    values : array, shape (n, features)
        In the order of the contract.
    style : array of int, shape (n,)
        +1 small, -1 large.
    stale : array of bool, shape (n, features)
    starts : mapping of (event, horizon) to Start
    """

    values: FloatArray
    style: IntArray
    stale: BoolArray
    starts: Mapping[tuple[Event, int], Start]

    def __len__(self) -> int:
        return len(self.style)


@dataclass(frozen=True)
class RowContract:
    """The contract of one bundle.

    Parameters
    ----------
    pairs, features : tuple of str
    cut : datetime64[us]
        The bundle's; an earlier decision must not be scored with it.
    """

    pairs: tuple[str, ...]
    features: tuple[str, ...]
    cut: np.datetime64

    @staticmethod
    def of(bundle: Bundle) -> RowContract:
        """Return the contract of a bundle.

        Raises
        ------
        BundleError
            If the bundle does not say which pairs its market has.
        """
        pairs = bundle.pairs
        if not pairs:
            raise BundleError(f"the bundle of cut {day_text(bundle.cut)} does not name its pairs; train it again")
        return RowContract(pairs, tuple(info.name for info in bundle.features), bundle.cut)

    @property
    def starts(self) -> tuple[str, ...]:
        """Columns of what the heads start from."""
        return tuple(start_column(event, weeks, part) for weeks in HORIZONS for event in EVENTS for part in PARTS)

    @property
    def required(self) -> tuple[str, ...]:
        """Every column but `stale`."""
        return (*KEYS, *self.features, *self.starts)

    def check_columns(self, columns: list[str]) -> None:
        """Refuse a table that lacks a column or has one twice.

        Raises
        ------
        DataContractError
        """
        if missing := [name for name in self.required if name not in columns]:
            more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
            raise DataContractError(
                f"the rows lack column(s) {', '.join(missing[:5])}{more}; `capshift features` writes rows with all"
            )
        if twice := sorted({name for name in self.required if columns.count(name) > 1}):
            raise DataContractError(f"the rows have column {twice[0]!r} more than once; keep one")

    def read(self, frame: pd.DataFrame) -> tuple[Rows, TextArray]:
        """Check rows and return those that keep the contract.

        Parameters
        ----------
        frame : pandas.DataFrame

        Returns
        -------
        rows : Rows
            Those without a reason, in their order.
        reasons : array of str, shape (len(frame),)
            Why a row is rejected; empty where it is not.

        Raises
        ------
        DataContractError
            If the table lacks a column.
        """
        self.check_columns([str(name) for name in frame.columns])
        reasons: TextArray = np.full(len(frame), "", dtype=object)
        pair, place = _texts(frame["pair"])
        _reject(reasons, place < 0, "pair is no text")
        known = np.array([name in self.pairs for name in pair] + [False], dtype=np.bool_)
        _reject(reasons, ~known[place], "pair is not of the bundle's market")
        day, wrong = _days(frame["decision_date"])
        _reject(reasons, wrong, "decision_date is no day without a time zone")
        _reject(reasons, ~wrong & (day < self.cut), f"decision_date is before the bundle's cut {day_text(self.cut)}")
        code, place = _texts(frame["style_in_force"])
        style = np.array([_STYLES.get(name, 0) for name in code] + [0], dtype=np.int64)[place]
        _reject(reasons, style == 0, "style_in_force is neither small nor large")
        stale = self._stale(frame, reasons)
        values = np.empty((len(frame), len(self.features)), order="F")
        for column, name in enumerate(self.features):
            values[:, column], wrong = _numbers(frame[name])
            _reject(reasons, wrong, f"{name} is no number")
        if np.isinf(values).any():
            for column, name in enumerate(self.features):
                _reject(reasons, np.isinf(values[:, column]), f"{name} is infinite")
        held = {name: self._start(frame[name], name, reasons) for name in self.starts}
        good = reasons == ""
        whole = bool(good.all())

        def kept(part: npt.NDArray[_Cell]) -> npt.NDArray[_Cell]:
            return part if whole else part[good]

        starts = {
            (event, weeks): Start(*(kept(held[start_column(event, weeks, part)]) for part in PARTS))
            for weeks in HORIZONS
            for event in EVENTS
        }
        return Rows(kept(values), kept(style), kept(stale), starts), reasons

    def _stale(self, frame: pd.DataFrame, reasons: TextArray) -> BoolArray:
        stale = np.zeros((len(frame), len(self.features)), dtype=np.bool_)
        if STALE not in frame.columns:
            return stale
        kinds, place = _texts(frame[STALE])
        _reject(reasons, (place < 0) & frame[STALE].notna().to_numpy(np.bool_), "stale is no text")
        for number, kind in enumerate(kinds):
            names = [name.strip() for name in kind.split(",") if name.strip()]
            if unknown := [name for name in names if name not in self.features]:
                _reject(reasons, place == number, f"stale names {unknown[0]}, which is no feature")
            elif names:
                stale[np.ix_(place == number, [self.features.index(name) for name in names])] = True
        return stale

    @staticmethod
    def _start(column: pd.Series, name: str, reasons: TextArray) -> FloatArray:
        found, wrong = _numbers(column)
        _reject(reasons, wrong, f"{name} is no number")
        if name.endswith("_n"):
            _reject(reasons, ~((found >= 0) & (found < np.inf)), f"{name} is missing or below 0")
        else:
            inside = (found > 0) & (found < 1)
            if name.endswith("_implied"):
                inside |= np.isnan(found)
            _reject(reasons, ~inside, f"{name} is missing or no probability inside (0, 1)")
        return found


def _reject(reasons: TextArray, wrong: BoolArray, reason: str) -> None:
    """Give rows their reason; the first one stays."""
    if wrong.any():
        reasons[wrong & (reasons == "")] = reason


def _texts(column: pd.Series) -> tuple[list[str], IntArray]:
    """Return the texts that occur, and the place of each cell's among them; -1 where there is none."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        codes, kinds = column.cat.codes.to_numpy(np.int64), column.cat.categories.to_numpy(dtype=object)
        held = [kind if isinstance(kind, str) else "" for kind in kinds]
        known = np.array([isinstance(kind, str) for kind in kinds] + [False], dtype=np.bool_)
        return held, np.where(known[codes], codes, -1)
    if not (column.dtype == object or pd.api.types.is_string_dtype(column.dtype)):
        return [], np.full(len(column), -1, dtype=np.int64)
    codes, kinds = pd.factorize(column.to_numpy(dtype=object))
    text = np.array([isinstance(kind, str) for kind in kinds] + [False], dtype=np.bool_)
    held = [kind if isinstance(kind, str) else "" for kind in kinds]
    return held, np.where(text[codes], codes, -1).astype(np.int64)


def _days(column: pd.Series) -> tuple[npt.NDArray[np.datetime64], BoolArray]:
    """Return days, and where there is none."""
    if column.dtype == object:
        plain = [value if _is_day(value) else None for value in column]
        column = pd.Series(pd.to_datetime(pd.Series(plain, dtype=object), errors="coerce"))
    if column.dtype.kind != "M" or isinstance(column.dtype, pd.DatetimeTZDtype):
        return np.full(len(column), np.datetime64("NaT", "us")), np.ones(len(column), dtype=np.bool_)
    time = column.to_numpy("datetime64[us]")
    return time, np.isnat(time) | (time != time.astype("datetime64[D]"))


def _is_day(cell: object) -> bool:
    return isinstance(cell, date) and (not isinstance(cell, datetime) or cell.tzinfo is None)


def _numbers(column: pd.Series) -> tuple[FloatArray, BoolArray]:
    """Return numbers, missing ones as NaN, and where there is something else."""
    if column.dtype.kind in "fiu":
        if not isinstance(column.dtype, np.dtype):
            column = column.astype("Float64")
        values = column.to_numpy(np.float64, na_value=np.nan) if column.dtype != np.float64 else column.to_numpy()
        return values.astype(np.float64, copy=False), np.zeros(len(column), dtype=np.bool_)
    absent = column.isna().to_numpy(np.bool_)
    found: FloatArray = np.full(len(column), np.nan)
    if column.dtype != object:
        return found, ~absent
    plain = np.array([_is_number(cell) for cell in column], dtype=np.bool_) & ~absent
    found[plain] = column.to_numpy(dtype=object)[plain].astype(np.float64)
    return found, ~plain & ~absent


def _is_number(cell: object) -> bool:
    if isinstance(cell, bool) or not isinstance(cell, int | float | np.number):
        return False
    return not isinstance(cell, int) or abs(cell) < _MOST
