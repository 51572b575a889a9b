"""The folder source: CSV or parquet files in the shapes that a market definition declares."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from features.calendar import TradingCalendar, local_to_utc
from features.contracts import BoolArray, FloatArray, IntArray, TimeArray
from features.errors import DataContractError
from features.frames import OBSERVATION_COLUMNS
from features.market import MarketSpec, SeriesSpec, VintageFiles
from features.publication import clock_offset, known_times, rule_days
from features.sources.factors import DATE, FactorTable
from features.sources.table import Table

_CALENDAR_START = "1990-01-01"
_CALENDAR_MARGIN = np.timedelta64(200, "D")


@dataclass(frozen=True)
class FolderRead:
    """Observations of every declared series, and the optional series that the folder does not hold."""

    observations: pd.DataFrame
    absent: tuple[str, ...]


def read_folder(market: MarketSpec, root: Path, now: np.datetime64, *, vintages: bool = False) -> FolderRead:
    """Read every series of a market definition from a data folder.

    Parameters
    ----------
    market : MarketSpec
    root : Path
        The data root; the definition names the files below it.
    now : datetime64[us]
        UTC; a publication date after it is an error.
    vintages : bool
        Also read the definition's files of old vintages.

    Returns
    -------
    FolderRead
        `observations` has the columns `OBSERVATION_COLUMNS`.

    Raises
    ------
    DataContractError
        Missing folder or file, wrong header, text in a number column, unsorted or repeated dates, a time without zone,
        a publication date in the future, an empty series. Names the file, the row and the remedy.
    """
    if not root.is_dir():
        raise DataContractError(f"`--source` must be a folder laid out as the market definition says; {root} is none")
    calendar = TradingCalendar.build(market.schedule.calendar, _CALENDAR_START, now + _CALENDAR_MARGIN)
    reader = _Reader(market, root, calendar, now)
    frames, absent = [], []
    for spec in market.series.values():
        path = reader.find(spec)
        if path is None:
            absent.append(spec.name)
        else:
            frames.append(reader.series(spec, path))
    if vintages:
        for group in market.vintage_files:
            frames.extend(reader.vintages(group))
    if not frames:
        raise DataContractError(f"{root}: none of the files of market {market.name!r} is here; is this the data root?")
    return FolderRead(pd.concat(frames, ignore_index=True), tuple(absent))


def series_file(spec: SeriesSpec, root: Path) -> Path | None:
    """Return the file of a series below a data root, CSV or parquet, the first place that holds one; None if none."""
    for name in () if spec.file is None else (spec.file, *spec.also):
        for path in (root / name, *((root / name).with_suffix(suffix) for suffix in (".parquet", ".CSV"))):
            if path.exists():
                return path
    return None


class _Reader:
    """Reads the files of one market below one root, each file once."""

    def __init__(self, market: MarketSpec, root: Path, calendar: TradingCalendar, now: np.datetime64) -> None:
        self.market = market
        self.root = root
        self.calendar = calendar
        self.now = now
        self.timezone = market.schedule.timezone
        local = pd.Timestamp(now).tz_localize("UTC").tz_convert(self.timezone)
        self.today = np.datetime64(local.date(), "us")
        self.tables: dict[Path, Table] = {}
        self.factors: dict[Path, FactorTable] = {}

    def find(self, spec: SeriesSpec) -> Path | None:
        """Return the file of a series; None if the series is optional and has none."""
        found = series_file(spec, self.root)
        if found is not None:
            return found
        if spec.optional:
            return None
        if spec.file is None:
            raise DataContractError(f"{spec.name}: the market definition names no `file` for this series")
        files = {other.file for other in self.market.series.values() if other.file is not None}
        lost = not any((self.root / name).exists() for name in files)
        hint = "; none of the market's files is here, so is this the data root?" if lost else ""
        path = self.root / spec.file
        raise DataContractError(
            f"{path}: missing file for series {spec.name!r}; add it or mark the series `optional`{hint}"
        )

    def table(self, path: Path) -> Table:
        """Return a file's cells."""
        if path not in self.tables:
            self.tables[path] = Table.read(path)
        return self.tables[path]

    def series(self, spec: SeriesSpec, path: Path) -> pd.DataFrame:
        """Return the observations of one series."""
        if spec.shape in ("factor", "factor_index"):
            return self._factor(spec, path)
        table = self.table(path)
        if spec.shape == "releases":
            return self._releases(spec, table)
        monthly = spec.shape == "monthly"
        column = {"monthly": "period", "dated": str(table.cells.columns[0])}.get(spec.shape, "date")
        table.require([column, spec.column] + (["release_date"] if monthly else []))
        if spec.shape == "dated":
            # One announcement may hold several steps; the one that takes effect last is where it leads.
            order = [name for name in table.cells.columns if str(name).endswith("_date")]
            cells = table.cells.sort_values([column, *order], kind="stable")
            table = Table(table.path, cells[~cells[column].duplicated(keep="last")])
        period = table.dates(column, month=monthly)
        table.complain(period > self.today, f"{column} lies in the future; correct it", column)
        if monthly:
            period = _month_end(period)
        table.ascending(column, period)
        value = table.numbers(spec.column)
        keep = _some(table, spec, value)
        table, period, value = table.where(keep), period[keep], value[keep]
        release = None
        if monthly:
            release = table.dates("release_date", optional=True)
            table.complain(release > self.today, "published in the future; correct the date", "release_date")
        known, estimated = known_times(spec, period, release, self.calendar, self.timezone)
        if "known_at" in table.cells.columns:
            stated = table.times("known_at")
            table.complain(stated > self.now, "`known_at` lies in the future; correct it", "known_at")
            known, estimated = np.where(np.isnat(stated), known, stated), estimated & np.isnat(stated)
        return _frame(spec.name, period, known, value, estimated)

    def _factor(self, spec: SeriesSpec, path: Path) -> pd.DataFrame:
        """Read a daily factor, or the index of its legs."""
        if path not in self.factors:
            self.factors[path] = FactorTable.read(path)
        factors = self.factors[path]
        table = factors.table
        table.require([DATE])
        period = table.dates(DATE)
        table.complain(period > self.today, f"{DATE} lies in the future; correct it", DATE)
        table.ascending(DATE, period)
        value = factors.returns(spec.column) if spec.shape == "factor" else factors.index(spec.column)
        keep = _some(table, spec, value)
        known, estimated = known_times(spec, period[keep], None, self.calendar, self.timezone)
        return _frame(spec.name, period[keep], known, value[keep], estimated)

    def _releases(self, spec: SeriesSpec, table: Table) -> pd.DataFrame:
        """Read a stream of releases; a row's period is its release date, `previous` revises the month before.

        Column ``first`` is ``actual`` without those revisions: what a surprise is measured by.
        """
        column = "actual" if spec.column == "first" else spec.column
        table.require(["series", "release_date", "previous", "genuine_release_date", column])
        table = table.where((table.cells["series"] == spec.key).fillna(False).to_numpy(np.bool_))
        if not len(table):
            raise DataContractError(
                f"{table.path}: no row has series = {spec.key!r} for {spec.name!r}; add rows or correct the `key`"
            )
        period = table.dates("release_date")
        table.complain(period > self.today, "published in the future; correct the date", "release_date")
        table.ascending("release_date", period)
        value = table.numbers(column)
        flag = table.cells["genuine_release_date"]
        unclear = ~flag.isin(["0", "1"]).to_numpy(np.bool_)
        table.complain(unclear, "column 'genuine_release_date' must be 0 or 1", "genuine_release_date")
        genuine = (flag == "1").to_numpy(np.bool_)
        before = np.subtract(period.astype("datetime64[M]").astype("datetime64[D]"), 1).astype("datetime64[us]")
        release = np.where(genuine, period, np.datetime64("NaT"))
        known, estimated = known_times(spec, before, release, self.calendar, self.timezone)
        keep = _some(table, spec, value)
        first = _frame(spec.name, period[keep], known[keep], value[keep], estimated[keep])
        if spec.column != "actual":
            return first
        previous = table.numbers("previous")
        at = revisions(period, value, previous)
        revised = _frame(spec.name, period[at - 1], known[at], previous[at], estimated[at], revision=True)
        return pd.concat([first, revised], ignore_index=True)

    def vintages(self, group: VintageFiles) -> Iterator[pd.DataFrame]:
        """Read files that each hold one old vintage of many monthly series, e.g. FRED-MD."""
        for name in group.files:
            path = self.root / name
            if not path.exists():
                raise DataContractError(f"{path}: missing file of old vintages; add it or leave `--vintages` out")
            table = self.table(path)
            table.require([group.date_column, *group.columns])
            # Rows without a date hold transformation codes, or nothing.
            dated = table.cells[group.date_column].str.fullmatch(r"\d{1,2}/\d{1,2}/\d{4}").fillna(False)
            table = table.where(dated.to_numpy(np.bool_))
            first = pd.to_datetime(table.cells[group.date_column], format="%m/%d/%Y").to_numpy("datetime64[us]")
            try:
                month = np.array([np.datetime64(f"{path.stem}-01", "us")])
            except ValueError as error:
                raise DataContractError(f"{path}: a file of old vintages must be named YYYY-MM") from error
            zone = group.known.tz or self.timezone
            known = local_to_utc(rule_days(group.known, month, self.calendar), clock_offset(group.known.time), zone)
            for column, series in group.columns.items():
                value = table.numbers(column)
                keep = np.isfinite(value)
                period = _month_end(first[keep])
                genuine = np.zeros(len(period), dtype=np.bool_)
                yield _frame(series, period, np.repeat(known, len(period)), value[keep], genuine, revision=True)


def revisions(period: TimeArray, value: FloatArray, previous: FloatArray) -> IntArray:
    """Return the rows of a release stream whose `previous` revises the row before.

    It describes the month before the release's. It is therefore no revision of the row before if that one came in the
    same month (a print that is repeated) or several months earlier (a month is missing), save that March follows
    January where February's release is folded into it. Nor is it one where the source shows the print before once
    more, which it does when the last print was 0.0.

    Parameters
    ----------
    period : array of datetime64[us], shape (n,)
        Release dates, ascending.
    value, previous : arrays, shape (n,)
        The print and what the release says of the month before.
    """
    month = period.astype("datetime64[M]").astype(np.int64)
    months = month[1:] - month[:-1]
    follows = (months == 1) | ((months == 2) & (month[1:] % 12 == 2))
    differs = np.isfinite(previous[1:]) & np.isfinite(value[:-1]) & (previous[1:] != value[:-1])
    older = np.append(np.nan, value[:-2])
    return np.flatnonzero(follows & differs & (previous[1:] != older)) + 1


def _some(table: Table, spec: SeriesSpec, value: FloatArray) -> BoolArray:
    """Return which rows have a value; at least one must."""
    keep: BoolArray = np.isfinite(value)
    if not keep.any():
        raise DataContractError(
            f"{table.path}: column {spec.column!r} of series {spec.name!r} is empty from row 2 on; fill it or take the "
            "file away"
        )
    return keep


def _month_end(period: TimeArray) -> TimeArray:
    """Return the last day of each date's month."""
    following = np.add(period.astype("datetime64[M]"), 1)
    end: TimeArray = np.subtract(following.astype("datetime64[D]"), 1).astype("datetime64[us]")
    return end


def _frame(
    series: str,
    period: TimeArray,
    known: TimeArray,
    value: FloatArray,
    estimated: BoolArray,
    *,
    revision: bool = False,
) -> pd.DataFrame:
    columns = (series, period, known, value, estimated, revision)
    return pd.DataFrame(dict(zip(OBSERVATION_COLUMNS, columns, strict=True)))
