"""The folder source: CSV or parquet files in the shapes that a market definition declares."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd

from features.calendar import TradingCalendar, local_to_utc
from features.contracts import TimeArray
from features.errors import DataContractError
from features.market import MarketSpec, SeriesSpec, VintageFiles
from features.publication import known_times, rule_days
from features.store import OBSERVATION_COLUMNS

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
    files = _Files(root, {spec.file for spec in market.series.values() if spec.file is not None})
    calendar = TradingCalendar.build(market.schedule.calendar, _CALENDAR_START, now + _CALENDAR_MARGIN)
    frames, absent = [], []
    for spec in market.series.values():
        path = files.find(spec)
        if path is None:
            absent.append(spec.name)
            continue
        frames.append(_read_series(spec, path, market.schedule.timezone, calendar, now))
    if vintages:
        for group in market.vintage_files:
            frames.extend(_read_vintages(group, root, calendar, market.schedule.timezone))
    if not frames:
        raise DataContractError(f"{root}: none of the files of market {market.name!r} is here")
    return FolderRead(pd.concat(frames, ignore_index=True), tuple(absent))


class _Files:
    """Finds a series' file, as CSV or parquet."""

    def __init__(self, root: Path, names: set[str]) -> None:
        self.root = root
        self.any_present = any((root / name).exists() for name in names)

    def find(self, spec: SeriesSpec) -> Path | None:
        if spec.file is None:
            if spec.optional:
                return None
            raise DataContractError(f"{spec.name}: the market definition names no `file` for this series")
        for path in (self.root / spec.file, (self.root / spec.file).with_suffix(".parquet")):
            if path.exists():
                return path
        if spec.optional:
            return None
        hint = "" if self.any_present else "; none of the market's files is here, so is this the data root?"
        raise DataContractError(
            f"{self.root / spec.file}: missing file for series {spec.name!r}; add it or mark the series `optional`{hint}"
        )


@lru_cache(maxsize=64)
def _read_table(path: Path, _stamp: tuple[int, int]) -> pd.DataFrame:
    try:
        if path.suffix == ".parquet":
            return pd.read_parquet(path).astype("string")
        return pd.read_csv(path, dtype="string", keep_default_na=False, na_values=[""], encoding="utf-8-sig")
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError, OSError, ValueError) as error:
        raise DataContractError(f"{path}: cannot be read as a table: {error}") from error


def _table(path: Path) -> pd.DataFrame:
    stat = path.stat()
    return _read_table(path, (stat.st_mtime_ns, stat.st_size))


def _read_series(
    spec: SeriesSpec, path: Path, timezone: str, calendar: TradingCalendar, now: np.datetime64
) -> pd.DataFrame:
    table = _table(path)
    if spec.shape == "releases":
        return _read_releases(spec, path, table, timezone, calendar, now)
    date_column = "period" if spec.shape == "monthly" else str(table.columns[0]) if len(table.columns) else "date"
    if spec.shape in ("daily", "bars", "wide"):
        date_column = "date"
    _require(path, table, [date_column, spec.column] + (["release_date"] if spec.shape == "monthly" else []))
    if spec.shape == "dated":
        # One announcement may hold several steps; the one that takes effect last is where it leads.
        order = [column for column in table.columns if str(column).endswith("_date")]
        table = table.sort_values([date_column, *order], kind="stable")
        table = table[~table[date_column].duplicated(keep="last")]
    period = _dates(path, table, date_column)
    if spec.shape == "monthly":
        period = _month_end(period)
    _ascending(path, table, date_column, period)
    value = _numbers(path, table, spec.column)
    keep = np.isfinite(value)
    if not keep.any():
        raise DataContractError(f"{path}: column {spec.column!r} of series {spec.name!r} is empty")
    release = _dates(path, table, "release_date", optional=True) if spec.shape == "monthly" else None
    known, estimated = known_times(
        spec, period[keep], None if release is None else release[keep], calendar, timezone
    )
    if "known_at" in table.columns:
        stated = _times(path, table)[keep]
        known, estimated = np.where(np.isnat(stated), known, stated), np.where(np.isnat(stated), estimated, False)
        _not_in_future(path, table[keep], known, ~np.isnat(stated), now)
    if release is not None:
        _not_in_future(path, table[keep], known, ~np.isnat(release[keep]), now)
    return _frame(spec.name, period[keep], known, value[keep], estimated)


def _read_releases(
    spec: SeriesSpec, path: Path, table: pd.DataFrame, timezone: str, calendar: TradingCalendar, now: np.datetime64
) -> pd.DataFrame:
    """Read a stream of first prints; a row's period is its release date, `previous` revises the row before."""
    _require(path, table, ["series", "release_date", "previous", "genuine_release_date", spec.column])
    table = table[(table["series"] == spec.key).to_numpy(bool)]
    if table.empty:
        raise DataContractError(f"{path}: no rows with series = {spec.key!r} for {spec.name!r}")
    period = _dates(path, table, "release_date")
    _ascending(path, table, "release_date", period)
    value = _numbers(path, table, spec.column)
    genuine = (table["genuine_release_date"] == "1").to_numpy(bool)
    reference = (period.astype("datetime64[M]").astype("datetime64[D]") - np.timedelta64(1, "D")).astype("datetime64[us]")
    release = np.where(genuine, period, np.datetime64("NaT"))
    known, estimated = known_times(spec, reference, release, calendar, timezone)
    _not_in_future(path, table, known, genuine, now)
    keep = np.isfinite(value)
    if not keep.any():
        raise DataContractError(f"{path}: column {spec.column!r} of series {spec.name!r} is empty")
    first = _frame(spec.name, period[keep], known[keep], value[keep], estimated[keep])
    if spec.column != "actual":
        return first
    previous = _numbers(path, table, "previous")[1:]
    changed = np.isfinite(previous) & np.isfinite(value[:-1]) & (previous != value[:-1])
    revised = _frame(
        spec.name, period[:-1][changed], known[1:][changed], previous[changed], estimated[1:][changed], revision=True
    )
    return pd.concat([first, revised], ignore_index=True)


def _read_vintages(
    group: VintageFiles, root: Path, calendar: TradingCalendar, timezone: str
) -> Iterator[pd.DataFrame]:
    """Read files that each hold one old vintage of many monthly series, e.g. FRED-MD."""
    for name in group.files:
        path = root / name
        if not path.exists():
            raise DataContractError(f"{path}: missing file of old vintages; add it or leave `--vintages` out")
        table = _table(path)
        _require(path, table, [group.date_column, *group.columns])
        table = table[table[group.date_column].str.fullmatch(r"\d{1,2}/\d{1,2}/\d{4}").fillna(False).to_numpy(bool)]
        first = pd.to_datetime(table[group.date_column], format="%m/%d/%Y").to_numpy("datetime64[us]")
        month = np.array([np.datetime64(f"{path.stem}-01", "us")])
        day = rule_days(group.known, month, calendar)
        clock = pd.Timedelta(hours=group.known.time.hour, minutes=group.known.time.minute)
        known = local_to_utc(day, clock, group.known.tz or timezone)[0]
        for column, series in group.columns.items():
            value = _numbers(path, table, column)
            keep = np.isfinite(value)
            period = _month_end(first[keep])
            yield _frame(
                series, period, np.full(len(period), known), value[keep], np.zeros(len(period), bool), revision=True
            )


def _frame(
    series: str,
    period: TimeArray,
    known: TimeArray,
    value: np.ndarray,
    estimated: np.ndarray,
    *,
    revision: bool = False,
) -> pd.DataFrame:
    columns = (series, period, known, value, estimated, revision)
    return pd.DataFrame(dict(zip(OBSERVATION_COLUMNS, columns, strict=True)))


def _require(path: Path, table: pd.DataFrame, columns: list[str]) -> None:
    missing = [column for column in columns if column not in table.columns]
    if missing:
        raise DataContractError(
            f"{path}: header lacks {', '.join(missing)}; it has {', '.join(map(str, table.columns))}"
        )


def _numbers(path: Path, table: pd.DataFrame, column: str) -> np.ndarray:
    number = pd.to_numeric(table[column], errors="coerce").to_numpy(np.float64, na_value=np.nan)
    bad = table[column].notna().to_numpy() & ~np.isfinite(number)
    if bad.any():
        rows = table[bad]
        raise DataContractError(
            f"{path}: row {rows.index[0] + 2}: column {column!r} must be a number; got {rows[column].iloc[0]!r}", rows
        )
    return number


def _dates(path: Path, table: pd.DataFrame, column: str, *, optional: bool = False) -> TimeArray:
    text = table[column]
    parsed = pd.to_datetime(text, format="ISO8601", errors="coerce")
    bad = parsed.isna().to_numpy() & (text.notna().to_numpy() if optional else True)
    if bad.any():
        rows = table[bad]
        raise DataContractError(
            f"{path}: row {rows.index[0] + 2}: column {column!r} must be a date YYYY-MM-DD; "
            f"got {rows[column].iloc[0]!r}",
            rows,
        )
    return parsed.to_numpy("datetime64[us]")


def _times(path: Path, table: pd.DataFrame) -> TimeArray:
    """Read the optional `known_at` column; every time must carry a zone."""
    text = table["known_at"]
    naive = text.notna() & ~text.str.contains(r"(?:Z|[+-]\d{2}:?\d{2})$", regex=True).fillna(False)
    parsed = pd.to_datetime(text.where(~naive), format="ISO8601", errors="coerce", utc=True)
    bad = (parsed.isna() & text.notna()).to_numpy()
    if bad.any():
        rows = table[bad]
        raise DataContractError(
            f"{path}: row {rows.index[0] + 2}: `known_at` must be a time with its zone, e.g. 2023-11-24T15:00+08:00; "
            f"got {rows['known_at'].iloc[0]!r}",
            rows,
        )
    return parsed.dt.tz_localize(None).to_numpy("datetime64[us]")


def _month_end(period: TimeArray) -> TimeArray:
    following = period.astype("datetime64[M]") + np.timedelta64(1, "M")
    return (following.astype("datetime64[D]") - np.timedelta64(1, "D")).astype("datetime64[us]")


def _ascending(path: Path, table: pd.DataFrame, column: str, period: TimeArray) -> None:
    bad = np.flatnonzero(period[1:] <= period[:-1]) + 1
    if len(bad):
        rows = table.iloc[sorted({*bad, *(bad - 1)})]
        kind = "repeats" if period[bad[0]] == period[bad[0] - 1] else "is out of order after"
        raise DataContractError(
            f"{path}: row {table.index[bad[0]] + 2}: {column} {table[column].iloc[bad[0]]} {kind} "
            f"{table[column].iloc[bad[0] - 1]}; sort the file and keep one row per {column}",
            rows,
        )


def _not_in_future(path: Path, table: pd.DataFrame, known: TimeArray, stated: np.ndarray, now: np.datetime64) -> None:
    bad = stated & (known > now + np.timedelta64(1, "D"))
    if bad.any():
        rows = table[bad]
        raise DataContractError(
            f"{path}: row {rows.index[0] + 2}: published {np.datetime64(known[bad][0], 'm')} UTC, which lies in the "
            "future; correct the date",
            rows,
        )
