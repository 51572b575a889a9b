"""Append-only, bitemporal observation store in one DuckDB file.

Every row says what it describes (`period`), when it could be known (`known_at`) and when it was written
(`recorded_at`); times are UTC. Nothing is updated or deleted: a changed value is a new vintage. Of the vintages of one
period the one with the latest `known_at` counts, then the one recorded last, then the one its source calls a revision.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd

from features.calendar import local_to_utc
from features.contracts import History, latest_vintages
from features.errors import CapshiftError, DataContractError, LockedError
from features.frames import OBSERVATION_COLUMNS, check_observations
from features.market import MarketSpec, SeriesSpec
from features.series import in_current_unit, within_lifetime
from features.vintages import create_tables, has_tables, refuse_repeats, write_new

__all__ = ["OBSERVATION_COLUMNS", "Appended", "Store", "histories"]


@dataclass(frozen=True)
class Appended:
    """What one append did: rows written, rows already there, rows put into quarantine."""

    added: int
    unchanged: int
    quarantined: int


class Store:
    """The observation store.

    Parameters
    ----------
    path : Path
        DuckDB file; created by the first append.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @contextmanager
    def _connect(self, *, write: bool) -> Iterator[duckdb.DuckDBPyConnection]:
        """Open the file, sure that it is a store of ours; a failure inside leaves it as it was."""
        if not write and not self.path.exists():
            raise DataContractError(f"{self.path}: no observation store here; run `capshift ingest` first")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            connection = duckdb.connect(str(self.path), read_only=not write, config={"threads": 2})
        except (duckdb.Error, OSError) as error:
            raise self._failure(error) from error
        try:
            self._require_ours(connection, write=write)
            yield connection
        except duckdb.Error as error:
            raise self._failure(error) from error
        finally:
            connection.close()

    def _require_ours(self, connection: duckdb.DuckDBPyConnection, *, write: bool) -> None:
        tables = {str(row[0]) for row in connection.execute("PRAGMA show_tables").fetchall()}
        if not tables and not write:
            raise DataContractError(f"{self.path}: the observation store is empty; run `capshift ingest` first")
        if tables and not has_tables(connection, tables):
            raise DataContractError(
                f"{self.path}: not an observation store of capshift but a database with the table(s) "
                f"{', '.join(sorted(tables))}; name another file or another `--artifacts` folder"
            )

    def _failure(self, error: Exception) -> CapshiftError:
        """Say in one sentence what DuckDB or the file system complains about."""
        said = str(error).splitlines()[0] if str(error) else type(error).__name__
        if "could not set lock" in said.lower() or isinstance(error, duckdb.ConnectionException):
            return LockedError(f"{self.path}: the store is in use by another process; wait for it to finish")
        return DataContractError(
            f"{self.path}: cannot be used as observation store: {said}; if the file is damaged, move it away and run "
            "`capshift ingest` again"
        )

    def append(
        self, market: str, batch: pd.DataFrame, now: np.datetime64, quarantine: pd.DataFrame | None = None
    ) -> Appended:
        """Append what is new of a batch, all or nothing.

        A period's first plain row is known when it says. A changed one is a new vintage, known from `now` on (or from
        its own `known_at`, if that is later); so is a value that replaces one in quarantine. A dated revision is known
        at its own date. Rows that say what is already visible are not written again.

        Parameters
        ----------
        market : str
        batch : pandas.DataFrame
            Columns `OBSERVATION_COLUMNS`.
        now : datetime64[us]
            UTC; the earliest `known_at` of a changed value without a revision date. Also written as `recorded_at`,
            moved behind that of the append before should the clock have run backwards.
        quarantine : pandas.DataFrame, optional
            Rows to keep but never serve: `series, period, known_at, value, check, reason`.

        Raises
        ------
        DataContractError
            If a column has the wrong type or a missing value, or a row of the batch repeats a (series, period), for
            revisions a (series, period, known_at); carries the rows. Also if the file is no store.
        LockedError
            If another process holds the store.
        """
        batch = check_observations(batch)
        refuse_repeats(batch)
        held = pd.DataFrame() if quarantine is None else quarantine
        with self._connect(write=True) as connection:
            connection.begin()
            create_tables(connection)
            added, held_new = write_new(connection, market, batch, now, held)
            connection.commit()
        return Appended(added, len(batch) - added, held_new)

    def observations(self, market: str, until: np.datetime64 | None = None) -> pd.DataFrame:
        """Return every vintage with known_at <= `until`: `series, period, known_at, value, estimated, recorded_at`.

        Rows come ordered by series, known_at and period; of the same three the one that counts is last.
        """
        with self._connect(write=False) as connection:
            return connection.execute(
                "SELECT series, period, known_at, value, estimated, recorded_at FROM observations "
                "WHERE market = $market AND known_at <= $until "
                "ORDER BY series, known_at, period, recorded_at, revision",
                {"market": market, "until": _bound(until)},
            ).df()

    def newest(self, market: str) -> dict[str, np.datetime64]:
        """Return the newest stored period of each series; nothing where there is no store yet."""
        if not self.path.exists():
            return {}
        with self._connect(write=False) as connection:
            rows = connection.execute(
                "SELECT series, max(period) FROM observations WHERE market = $market GROUP BY series",
                {"market": market},
            ).fetchall()
        return {str(name): np.datetime64(period, "us") for name, period in rows}

    def quarantined(self, market: str) -> pd.DataFrame:
        """Return the rows that are kept but never served, in the order of series, period and time of writing."""
        with self._connect(write=False) as connection:
            return connection.execute(
                'SELECT series, period, known_at, value, "check", reason, recorded_at FROM quarantine '
                "WHERE market = $market ORDER BY series, period, recorded_at",
                {"market": market},
            ).df()

    def as_of(self, market: MarketSpec, time: np.datetime64) -> pd.DataFrame:
        """Return what could be known at `time`: the latest vintage of each period, `series, period, known_at, value`.

        A series is served within its lifetime only: no period before its birth, nothing at all once the day of its
        death is over on the market's clock; values before a definition break come in today's unit.

        Information set: rows with known_at <= time.
        """
        frames = []
        for name, history in histories(self.observations(market.name, time), market).items():
            if _dead(market.series[name], market.schedule.timezone, time):
                continue
            rows = np.arange(len(history), dtype=np.float64)[:, None]
            period, row = latest_vintages(history.period, rows)
            newest = row[:, 0].astype(np.int64)
            columns = {"period": period, "known_at": history.known_at[newest], "value": history.value[newest, 0]}
            frames.append(pd.DataFrame({"series": name, **columns}))
        if not frames:
            return pd.DataFrame(columns=["series", "period", "known_at", "value"])
        return pd.concat(frames, ignore_index=True)


def _bound(until: np.datetime64 | None) -> object:
    return pd.Timestamp(until if until is not None else "2262-01-01").to_pydatetime()


def _dead(spec: SeriesSpec, timezone: str, time: np.datetime64) -> bool:
    """Whether the last day of a series is over on the market's clock."""
    if spec.died is None:
        return False
    over = local_to_utc(np.array([spec.died], dtype="datetime64[us]"), pd.Timedelta(days=1), timezone)[0]
    return bool(time >= over)


def histories(observations: pd.DataFrame, market: MarketSpec) -> dict[str, History]:
    """Split observations into one history per declared series, in today's unit and within the series' lifetime.

    Parameters
    ----------
    observations : pandas.DataFrame
        `series, period, known_at, value`, as `Store.observations` returns them.
    market : MarketSpec
        Series it does not declare are left out.
    """
    result = {}
    for name, rows in observations.groupby("series", sort=True):
        spec = market.series.get(str(name))
        if spec is None:
            continue
        period = rows["period"].to_numpy("datetime64[us]")
        value = in_current_unit(spec, period, rows["value"].to_numpy(np.float64))
        known_at = rows["known_at"].to_numpy("datetime64[us]")
        keep = within_lifetime(spec, period)
        result[str(name)] = History.of(period[keep], known_at[keep], value[keep])
    return result
