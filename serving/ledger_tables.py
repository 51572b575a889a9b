"""Tables of the ledger, the same on SQLite and PostgreSQL: the ledger's own row, forecasts, outcomes.

Nothing is ever updated or deleted: triggers refuse it, which holds off accidents, and the hash chain shows what got
past them. No two records can follow the same one, because `previous_hash` is unique: a chain cannot fork.
"""

from __future__ import annotations

import uuid
from typing import Any, NamedTuple

from sqlalchemy import (
    Column,
    Connection,
    Double,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    insert,
    inspect,
    select,
    text,
)
from sqlalchemy.types import TypeEngine

from features.errors import LedgerError
from serving.ledger_entry import DATE_FIELDS, TEXT_FIELDS, may_be_missing
from serving.ledger_record import FIELDS, KEY_FIELDS, SCHEMA_VERSION, Chain, genesis_hash

_INTEGERS = frozenset({"sequence", "revision", "horizon_weeks", "simulated", "backfilled"})
_TEXTS = DATE_FIELDS | TEXT_FIELDS | {
    "decision_at", "live_until", "recorded_at", "matured_at", "previous_hash", "forecast_hash",
}  # fmt: skip

_metadata = MetaData()


def _column(name: str) -> Column[Any]:
    kind: TypeEngine[Any] = Integer() if name in _INTEGERS else Text() if name in _TEXTS else Double()
    optional = isinstance(kind, Double) and may_be_missing(name)
    return Column(name, kind, nullable=optional, primary_key=name == "sequence", autoincrement=False)


LEDGER = Table(
    "capshift_ledger",
    _metadata,
    Column("schema_version", Integer, primary_key=True, autoincrement=False),
    Column("ledger_id", Text, nullable=False),
    Column("created_at", Text, nullable=False),
)
CHAINS: dict[Chain, Table] = {
    "forecast": Table(
        "capshift_forecast",
        _metadata,
        *(_column(name) for name in FIELDS["forecast"]),
        Column("hash", Text, nullable=False, unique=True),
        UniqueConstraint("previous_hash"),
        UniqueConstraint(*KEY_FIELDS, "revision"),
        Index("capshift_forecast_week", "market", "decision_date"),
    ),
    "outcome": Table(
        "capshift_outcome",
        _metadata,
        *(_column(name) for name in FIELDS["outcome"]),
        Column("hash", Text, nullable=False, unique=True),
        UniqueConstraint("previous_hash"),
        UniqueConstraint("forecast_hash"),
    ),
}
_NAMES = {"capshift_ledger", "capshift_forecast", "capshift_outcome"}
_GUARD = {
    "sqlite": [
        f"CREATE TRIGGER {table}_no_{verb} BEFORE {verb} ON {table} "
        "BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END"
        for table in sorted(_NAMES)
        for verb in ("UPDATE", "DELETE")
    ],
    "postgresql": [
        "CREATE OR REPLACE FUNCTION capshift_append_only() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'the ledger is append-only'; END $$",
        *(
            f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION capshift_append_only()"
            for table in sorted(_NAMES)
        ),
    ],
}


class Identity(NamedTuple):
    """The ledger's own row: schema version, a random name, the UTC time of its creation."""

    schema_version: int
    ledger_id: str
    created_at: str

    def genesis(self, chain: Chain) -> str:
        """Return what the first record of a chain follows."""
        return genesis_hash(chain, *self)


def read_identity(connection: Connection, name: str) -> Identity | None:
    """Return the ledger's own row, or None where there is no ledger yet.

    Raises
    ------
    LedgerError
        If a table or the row is missing, or the ledger has a schema version that this code does not know.
    """
    tables = set(inspect(connection).get_table_names())
    if LEDGER.name not in tables:
        if connection.dialect.name == "sqlite" and tables:
            raise LedgerError(
                f"{name}: not a ledger but a database with the table(s) {', '.join(sorted(tables)[:5])}; name another "
                "file with `--ledger`"
            )
        return None
    rows = connection.execute(select(LEDGER)).all()
    if len(rows) != 1:
        raise LedgerError(f"{name}: a ledger must say its schema version in one row; got {len(rows)}; restore a backup")
    found = Identity(*rows[0])
    if found.schema_version != SCHEMA_VERSION:
        raise LedgerError(
            f"{name}: written with schema version {found.schema_version}; this capshift knows {SCHEMA_VERSION}; "
            "install the capshift that wrote it, or name another ledger with `--ledger`"
        )
    if lost := _NAMES - tables:
        raise LedgerError(f"{name}: the table(s) {', '.join(sorted(lost))} are gone; restore a backup")
    return found


def create_tables(connection: Connection, created_at: str) -> Identity:
    """Create the tables and the ledger's own row; in a transaction, so all of it or nothing."""
    _metadata.create_all(connection)
    for statement in _GUARD[connection.dialect.name]:
        connection.execute(text(statement))
    identity = Identity(SCHEMA_VERSION, uuid.uuid4().hex, created_at)
    connection.execute(insert(LEDGER).values(identity._asdict()))
    return identity
