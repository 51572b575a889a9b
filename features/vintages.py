"""What is new of a batch of observations: the statements by which an append writes first rows, revisions and changes.

All run in the transaction of the append, on the tables `observations` and `quarantine` and the registered frames
`batch` and `held`. They make an append idempotent, and leave what could be read before it as it was, save at and after
the date of a revision that the source itself dates.
"""

from __future__ import annotations

import duckdb
import numpy as np
import pandas as pd

from features.errors import DataContractError

_TABLES = {
    "observations": """CREATE TABLE IF NOT EXISTS observations (
        market VARCHAR NOT NULL, series VARCHAR NOT NULL, period TIMESTAMP NOT NULL, known_at TIMESTAMP NOT NULL,
        value DOUBLE NOT NULL, estimated BOOLEAN NOT NULL, revision BOOLEAN NOT NULL,
        recorded_at TIMESTAMP NOT NULL)""",
    "quarantine": """CREATE TABLE IF NOT EXISTS quarantine (
        market VARCHAR NOT NULL, series VARCHAR NOT NULL, period TIMESTAMP NOT NULL, known_at TIMESTAMP NOT NULL,
        value DOUBLE, "check" VARCHAR NOT NULL, reason VARCHAR NOT NULL, recorded_at TIMESTAMP NOT NULL)""",
}
_COLUMNS = {
    "observations": ["market", "series", "period", "known_at", "value", "estimated", "revision", "recorded_at"],
    "quarantine": ["market", "series", "period", "known_at", "value", "check", "reason", "recorded_at"],
}

# Writing time of an append: `now`, but never before an earlier append, whatever the clock says.
_RECORDED_AT = """
SELECT greatest($now::TIMESTAMP, max(recorded_at) + INTERVAL 1 MICROSECOND) FROM observations
"""

# Plain rows of periods that have none yet. Where another value was in quarantine, this one is a correction made now.
_FIRST = """
INSERT INTO observations
SELECT $market, b.series, b.period,
       CASE WHEN q.wrong THEN greatest(b.known_at, $now::TIMESTAMP) ELSE b.known_at END AS known_at,
       b.value, b.estimated, false, $recorded_at::TIMESTAMP
FROM batch b
LEFT JOIN (SELECT series, period, bool_and(q.value IS DISTINCT FROM b.value) AS wrong
           FROM quarantine q JOIN batch b USING (series, period)
           WHERE q.market = $market AND NOT b.revision GROUP BY series, period) q USING (series, period)
WHERE NOT b.revision AND NOT EXISTS (
    SELECT 1 FROM observations o
    WHERE o.market = $market AND NOT o.revision AND o.series = b.series AND o.period = b.period)
ORDER BY b.series, known_at, b.period
"""

# Dated revisions, where another value (or none) would be visible at their own date.
_REVISIONS = """
INSERT INTO observations
WITH known AS (
    SELECT series, period, known_at, recorded_at, value, false AS fellow FROM observations WHERE market = $market
    UNION ALL
    SELECT series, period, known_at, $recorded_at::TIMESTAMP, value, true FROM batch WHERE revision
), seen AS (
    SELECT r.series, r.period, r.known_at, r.value, r.estimated,
           arg_max(k.value, {'known_at': k.known_at, 'recorded_at': k.recorded_at, 'fellow': k.fellow}) AS seen
    FROM batch r LEFT JOIN known k ON k.series = r.series AND k.period = r.period
         AND (k.known_at < r.known_at OR (k.known_at = r.known_at AND NOT k.fellow))
    WHERE r.revision GROUP BY ALL
)
SELECT $market, series, period, known_at, value, estimated, true, $recorded_at::TIMESTAMP
FROM seen WHERE seen IS NULL OR seen <> value
ORDER BY series, known_at, period
"""

# Where a plain value changed, what the batch says of that period counts from now on: its plain value, or the last of
# its dated revisions up to now.
_CHANGED = """
INSERT INTO observations
WITH latest AS (  -- plain rows of a period are written in the order of their known_at
    SELECT series, period, arg_max(value, recorded_at) AS value, max(known_at) AS known_at
    FROM observations WHERE market = $market AND NOT revision GROUP BY series, period
), changed AS (
    SELECT b.series, b.period, greatest(b.known_at, $now::TIMESTAMP, l.known_at) AS since
    FROM batch b JOIN latest l USING (series, period) WHERE NOT b.revision AND b.value <> l.value
), claim AS (
    SELECT c.series, c.period, c.since, b.value, b.estimated, b.revision
    FROM changed c JOIN batch b USING (series, period) WHERE b.known_at <= c.since
    QUALIFY row_number() OVER (PARTITION BY series, period ORDER BY b.known_at DESC, b.revision DESC) = 1
), visible AS (
    SELECT c.series, c.period, arg_max(
        o.value, {'known_at': o.known_at, 'recorded_at': o.recorded_at, 'revision': o.revision}) AS value
    FROM changed c JOIN observations o ON o.series = c.series AND o.period = c.period AND o.known_at <= c.since
    WHERE o.market = $market GROUP BY c.series, c.period
)
SELECT $market, c.series, c.period, c.since, c.value, c.estimated, c.revision, $recorded_at::TIMESTAMP
FROM claim c JOIN visible v USING (series, period) WHERE c.value <> v.value
ORDER BY c.series, c.since, c.period
"""

_HOLD = """
INSERT INTO quarantine
SELECT $market, series, period, known_at, value, "check", reason, $recorded_at::TIMESTAMP FROM held h
WHERE NOT EXISTS (SELECT 1 FROM quarantine q WHERE q.market = $market AND q.series = h.series
                  AND q.period = h.period AND q.value IS NOT DISTINCT FROM h.value)
"""


def create_tables(connection: duckdb.DuckDBPyConnection) -> None:
    """Create the tables of a store where they are missing."""
    for definition in _TABLES.values():
        connection.execute(definition)


def has_tables(connection: duckdb.DuckDBPyConnection, tables: set[str]) -> bool:
    """Return whether these are the tables of a store, with its columns."""
    return tables == set(_TABLES) and all(
        [column[0] for column in connection.execute(f"SELECT * FROM {table} LIMIT 0").description] == columns
        for table, columns in _COLUMNS.items()
    )


def write_new(
    connection: duckdb.DuckDBPyConnection, market: str, batch: pd.DataFrame, now: np.datetime64, held: pd.DataFrame
) -> tuple[int, int]:
    """Write the rows of a batch and of its quarantine that say something new.

    Parameters
    ----------
    connection : DuckDBPyConnection
        In a transaction.
    market : str
    batch : pandas.DataFrame
        As `features.frames.check_observations` returns it, without repeats.
    now : datetime64[us]
        UTC.
    held : pandas.DataFrame
        Rows for the quarantine, may be empty.

    Returns
    -------
    added, held : int
        Rows written.
    """
    parameters: dict[str, object] = {"market": market, "now": pd.Timestamp(now).to_pydatetime()}
    [(parameters["recorded_at"],)] = connection.execute(_RECORDED_AT, {"now": parameters["now"]}).fetchall()
    connection.register("batch", batch)
    added = sum(_insert(connection, statement, parameters) for statement in (_FIRST, _REVISIONS, _CHANGED))
    if held.empty:
        return added, 0
    connection.register("held", held)
    return added, _insert(connection, _HOLD, parameters)


def refuse_repeats(batch: pd.DataFrame) -> None:
    """Raise if a plain row repeats a (series, period), or a revision a (series, period, known_at)."""
    revision = batch["revision"].to_numpy(np.bool_)
    for rows, keys in ((batch[~revision], ["series", "period"]), (batch[revision], ["series", "period", "known_at"])):
        repeated = rows.duplicated(keys, keep=False)
        if repeated.any():
            found = rows[repeated].sort_values(keys)
            first = found.iloc[0]
            raise DataContractError(
                f"{first['series']}: period {first['period']:%Y-%m-%d} appears more than once; keep one row", found
            )


def _insert(connection: duckdb.DuckDBPyConnection, statement: str, parameters: dict[str, object]) -> int:
    used = {name: value for name, value in parameters.items() if f"${name}" in statement}
    [(count,)] = connection.execute(statement, used).fetchall()
    return int(count)
