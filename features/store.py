"""Append-only, bitemporal observation store in one DuckDB file.

Every row says what it describes (`period`), when it could be known (`known_at`) and when it was written
(`recorded_at`); times are UTC. Nothing is updated or deleted: a changed value is a new vintage.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd

from features.contracts import History
from features.errors import DataContractError, LockedError
from features.market import MarketSpec

OBSERVATION_COLUMNS = ("series", "period", "known_at", "value", "estimated", "revision")
"""Columns of a batch to append: `estimated` marks a guessed `known_at`, `revision` a dated later vintage."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS observations (
    market VARCHAR NOT NULL, series VARCHAR NOT NULL, period TIMESTAMP NOT NULL, known_at TIMESTAMP NOT NULL,
    value DOUBLE NOT NULL, estimated BOOLEAN NOT NULL, revision BOOLEAN NOT NULL,
    recorded_at TIMESTAMP NOT NULL);
CREATE TABLE IF NOT EXISTS quarantine (
    market VARCHAR NOT NULL, series VARCHAR NOT NULL, period TIMESTAMP NOT NULL, known_at TIMESTAMP NOT NULL,
    value DOUBLE, "check" VARCHAR NOT NULL, reason VARCHAR NOT NULL, recorded_at TIMESTAMP NOT NULL);
"""

# A plain row is new when its period is new, and a new vintage known from now on when its value changed. A dated
# revision is new when, at its own date, another value (or none) was visible.
_FRESH = """
WITH latest AS (
    SELECT series, period, arg_max(value, known_at) AS value
    FROM observations WHERE market = $market AND NOT revision GROUP BY series, period
), plain AS (
    SELECT b.series, b.period, b.value, b.estimated, false AS revision,
           CASE WHEN l.value IS NULL THEN b.known_at ELSE greatest(b.known_at, $now::TIMESTAMP) END AS known_at
    FROM batch b LEFT JOIN latest l USING (series, period)
    WHERE NOT b.revision AND (l.value IS NULL OR l.value <> b.value)
), known AS (
    SELECT series, period, known_at, value, false AS fellow FROM observations WHERE market = $market
    UNION ALL SELECT series, period, known_at, value, false FROM plain
    UNION ALL SELECT series, period, known_at, value, true FROM batch WHERE revision
), visible AS (
    SELECT r.series, r.period, r.known_at, r.value, r.estimated, arg_max(k.value, k.known_at) AS seen
    FROM batch r LEFT JOIN known k ON k.series = r.series AND k.period = r.period
         AND (k.known_at < r.known_at OR (k.known_at = r.known_at AND NOT k.fellow))
    WHERE r.revision GROUP BY ALL
)
SELECT series, period, known_at, value, estimated, revision FROM plain
UNION ALL
SELECT series, period, known_at, value, estimated, true FROM visible WHERE seen IS NULL OR seen <> value
"""


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
        if not write and not self.path.exists():
            raise DataContractError(f"{self.path}: no observation store here; run `capshift ingest` first")
        self.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            connection = duckdb.connect(str(self.path), read_only=not write, config={"threads": 2})
        except duckdb.IOException as error:
            if "lock" in str(error).lower():
                raise LockedError(f"{self.path}: another process holds the store; wait for it to finish") from error
            raise DataContractError(
                f"{self.path}: not a readable observation store; move it away and run `capshift ingest` again"
            ) from error
        except duckdb.Error as error:
            raise DataContractError(
                f"{self.path}: not a readable observation store; move it away and run `capshift ingest` again"
            ) from error
        try:
            if write:
                connection.execute(_SCHEMA)
            yield connection
        except duckdb.CatalogException as error:
            raise DataContractError(f"{self.path}: not an observation store of capshift") from error
        finally:
            connection.close()

    def append(
        self, market: str, batch: pd.DataFrame, now: np.datetime64, quarantine: pd.DataFrame | None = None
    ) -> Appended:
        """Append what is new of a batch in one transaction.

        Parameters
        ----------
        market : str
        batch : pandas.DataFrame
            Columns `OBSERVATION_COLUMNS`.
        now : datetime64[us]
            UTC; written as `recorded_at` and the earliest `known_at` of a changed value without a revision date.
        quarantine : pandas.DataFrame, optional
            Rows to keep but never serve: `series, period, known_at, value, check, reason`.

        Raises
        ------
        DataContractError
            If a plain row of the batch repeats a (series, period).
        """
        batch = batch.loc[:, list(OBSERVATION_COLUMNS)]
        plain = batch[~batch["revision"].astype(bool)]
        repeated = plain.duplicated(["series", "period"], keep=False)
        if repeated.any():
            rows = plain[repeated]
            first = rows.iloc[0]
            raise DataContractError(
                f"{first['series']}: period {first['period']:%Y-%m-%d} appears more than once; keep one row", rows
            )
        held = quarantine if quarantine is not None else pd.DataFrame()
        with self._connect(write=True) as connection:
            connection.register("batch", batch)
            parameters = {"market": market, "now": pd.Timestamp(now).to_pydatetime()}
            connection.begin()
            [(added,)] = connection.execute(f"SELECT count(*) FROM ({_FRESH})", parameters).fetchall()
            if added:
                connection.execute(
                    "INSERT INTO observations SELECT $market, series, period, known_at, value, estimated, revision, "
                    "$now::TIMESTAMP "
                    f"FROM ({_FRESH}) ORDER BY series, known_at, period",
                    parameters,
                )
            held_new = 0
            if len(held):
                connection.register("held", held)
                [(held_new,)] = connection.execute(
                    'INSERT INTO quarantine SELECT $market, series, period, known_at, value, "check", reason, '
                    "$now::TIMESTAMP FROM held h WHERE NOT EXISTS (SELECT 1 FROM quarantine q WHERE q.market = $market "
                    "AND q.series = h.series AND q.period = h.period AND q.value IS NOT DISTINCT FROM h.value)",
                    parameters,
                ).fetchall()
            connection.commit()
        return Appended(added, len(batch) - added, held_new)

    def observations(self, market: str, until: np.datetime64 | None = None) -> pd.DataFrame:
        """Return every vintage with known_at <= `until`: `series, period, known_at, value, estimated, recorded_at`."""
        with self._connect(write=False) as connection:
            return connection.execute(
                "SELECT series, period, known_at, value, estimated, recorded_at FROM observations "
                "WHERE market = $market AND known_at <= $until ORDER BY series, known_at, period, recorded_at",
                {"market": market, "until": _bound(until)},
            ).df()

    def quarantined(self, market: str) -> pd.DataFrame:
        """Return the rows that are kept but never served."""
        with self._connect(write=False) as connection:
            return connection.execute(
                'SELECT series, period, known_at, value, "check", reason, recorded_at FROM quarantine '
                "WHERE market = $market ORDER BY series, period",
                {"market": market},
            ).df()

    def as_of(self, market: MarketSpec, time: np.datetime64) -> pd.DataFrame:
        """Return what could be known at `time`: the latest vintage of each period, `series, period, known_at, value`.

        A series is served within its lifetime only: no period before its birth, nothing at all once it is dead, and
        values before a definition break come in today's unit.

        Information set: rows with known_at <= time.
        """
        frames = []
        for name, history in histories(self.observations(market.name, time), market).items():
            died = market.series[name].died
            if died is not None and time > np.datetime64(died, "us") + np.timedelta64(1, "D"):
                continue
            period, value = history.as_of(time)
            _, known_at = History(history.period, history.known_at, history.known_at.astype(np.int64)[:, None]).as_of(time)
            frames.append(
                pd.DataFrame(
                    {
                        "series": name,
                        "period": period,
                        "known_at": known_at[:, 0].astype("datetime64[us]"),
                        "value": value[:, 0],
                    }
                )
            )
        if not frames:
            return pd.DataFrame(columns=["series", "period", "known_at", "value"])
        return pd.concat(frames, ignore_index=True)


def _bound(until: np.datetime64 | None) -> object:
    return pd.Timestamp(until if until is not None else "2262-01-01").to_pydatetime()


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
        value = rows["value"].to_numpy(np.float64, copy=True)
        for change in spec.breaks:
            value[period < np.datetime64(change.date, "us")] *= change.factor
        keep = np.ones(len(period), dtype=bool)
        if spec.born is not None:
            keep &= period >= np.datetime64(spec.born, "us")
        if spec.died is not None:
            keep &= period <= np.datetime64(spec.died, "us")
        result[str(name)] = History.of(period[keep], rows["known_at"].to_numpy("datetime64[us]")[keep], value[keep])
    return result
