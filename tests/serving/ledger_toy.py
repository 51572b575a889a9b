"""Published weeks of a market without a model, and a hand on the ledger that does not ask for leave."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from features.contracts import EVENTS, FORECAST_COLUMNS, TAIL_COLUMNS
from serving.ledger import Ledger
from serving.ledger_entry import ENTRY_COLUMNS
from serving.ledger_read import recorded_forecasts
from serving.ledger_record import Chain, record_hash
from serving.ledger_tables import CHAINS
from serving.ledger_verify import Finding, verify

FRIDAY = np.datetime64("2023-01-06", "us")
WEEK = np.timedelta64(7, "D")
PAIRS = ("big-mid", "big-small")
SATURDAY = np.timedelta64(38, "h")
"""From a decision day's midnight to two in the afternoon of the day after: the weekly job of the toy."""


def toy_rows(week: int, pairs: Sequence[str] = PAIRS, **changes: object) -> pd.DataFrame:
    """Return the published rows of one decision, with `FORECAST_COLUMNS`; the same week, the same numbers."""
    rng = np.random.default_rng(week)
    decision = FRIDAY + week * WEEK
    rows = []
    for pair in pairs:
        for horizon in (1, 4):
            row: dict[str, object] = dict.fromkeys(FORECAST_COLUMNS, np.nan)
            row.update(
                market="toy", pair=pair, decision_date=decision, entry_date=decision + np.timedelta64(3, "D"),
                exit_date=decision + np.timedelta64(3, "D") + horizon * WEEK, horizon_weeks=horizon,
                style_in_force="large", sigma=float(rng.uniform(0.01, 0.03)), validity="validated", reasons="",
                bundle_cut=FRIDAY - 26 * WEEK, snapshot_id=f"snapshot{week}", config_hash="c0ffee", code_version="1",
            )  # fmt: skip
            for event, base in (("switch", 0.16), ("large", 0.46), ("crash", 0.1)):
                p = float(rng.uniform(0.5, 1.5) * base)
                row |= {f"p_{event}": p, f"p_{event}_base": base, f"p_{event}_lo": p / 2, f"p_{event}_hi": p * 1.1}
            levels = np.array([-1.6, -2.1, -1.9, -2.5, 1.6, 2.1, 1.9, 2.5]) * float(rng.uniform(0.9, 1.1))
            row |= dict(zip(TAIL_COLUMNS, levels, strict=True))
            rows.append(row)
    frame = pd.DataFrame(rows, columns=list(FORECAST_COLUMNS))
    return frame.assign(**changes)


def toy_entries(week: int, pairs: Sequence[str] = PAIRS, **changes: object) -> pd.DataFrame:
    """Return the same as the ledger takes them: decided at 07:30 UTC, live until Monday at 07:30 UTC."""
    return _entries(week, tuple(pairs)).assign(**changes)


@lru_cache(maxsize=100)
def _entries(week: int, pairs: tuple[str, ...]) -> pd.DataFrame:
    rows, clock = toy_rows(week, pairs), pd.Timedelta(hours=7, minutes=30)
    known = rows.assign(
        simulated=True, decision_at=rows["decision_date"] + clock, live_until=rows["entry_date"] + clock
    )
    return known[list(ENTRY_COLUMNS)]


def on_time(week: int) -> np.datetime64:
    """Return when the weekly job of a week runs."""
    return FRIDAY + week * WEEK + SATURDAY


def toy_outcomes(recorded: pd.DataFrame) -> pd.DataFrame:
    """Return an outcome for each recorded forecast that has none."""
    rows = recorded[recorded["matured_at"].isna()]
    rng = np.random.default_rng(len(recorded))
    spread = rng.normal(0, 0.02, len(rows))
    events = {f"y_{event}": (rng.random(len(rows)) < 0.3).astype(float) for event in EVENTS}
    return pd.DataFrame(
        {"forecast_hash": rows["hash"], "exit_date": rows["exit_date"],
         "matured_at": rows["exit_date"] + pd.Timedelta(hours=7, minutes=30), "spread_realised": spread, **events,
         "snapshot_id": "later", "code_version": "1"}
    )  # fmt: skip


def filled(location: str, artifacts: Path, weeks: int = 6) -> Ledger:
    """Return a ledger of some weeks, the last of them live, those that have matured resolved."""
    ledger = Ledger(location, artifacts)
    for first, last in ((0, weeks // 2), (weeks // 2, weeks)):
        if first < last:
            entries = [toy_entries(week) for week in range(first, last)]
            ledger.append(pd.concat(entries, ignore_index=True), on_time(last - 1))
    ledger.resolve(toy_outcomes(recorded_forecasts(ledger)), on_time(weeks))
    return ledger


def finding(ledger: Ledger, head: Path | None = None) -> Finding:
    """Return what verification finds; there must be something."""
    found = verify(ledger, head).finding
    assert found is not None
    return found


class Hand:
    """A connection that may do what the ledger's own never does: its triggers and constraints are out of the way."""

    def __init__(self, connection: Any, mark: str) -> None:
        self.connection, self.mark = connection, mark

    def run(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """Run a statement with ``?`` for values; returns rows."""
        cursor = self.connection.execute(statement.replace("?", self.mark), values)
        return list(cursor.fetchall()) if cursor.description else []

    def row(self, chain: Chain, sequence: int) -> dict[str, Any]:
        """Return a record with its hash."""
        names = [column.name for column in CHAINS[chain].columns]
        [values] = self.run(f"SELECT {', '.join(names)} FROM {CHAINS[chain].name} WHERE sequence = ?", sequence)
        return dict(zip(names, values, strict=True))

    def edit(self, chain: Chain, number: int, /, **values: object) -> None:
        """Set fields of a record."""
        sets = ", ".join(f"{name} = ?" for name in values)
        self.run(f"UPDATE {CHAINS[chain].name} SET {sets} WHERE sequence = ?", *values.values(), number)

    def remove(self, chain: Chain, first: int, last: int) -> None:
        """Delete records."""
        self.run(f"DELETE FROM {CHAINS[chain].name} WHERE sequence BETWEEN ? AND ?", first, last)

    def insert(self, chain: Chain, row: dict[str, Any]) -> None:
        """Insert a record as it is."""
        marks = ", ".join("?" for _ in row)
        self.run(f"INSERT INTO {CHAINS[chain].name} ({', '.join(row)}) VALUES ({marks})", *row.values())

    def rechain(self, chain: Chain, first: int, last: int | None = None) -> None:
        """Forge: link and hash records anew, from one to another or to the end."""
        end = last or self.run(f"SELECT max(sequence) FROM {CHAINS[chain].name}")[0][0]
        for sequence in range(first, end + 1):
            row = self.row(chain, sequence)
            row["previous_hash"] = self.row(chain, sequence - 1)["hash"] if sequence > 1 else row["previous_hash"]
            self.edit(chain, sequence, previous_hash=row["previous_hash"], hash=record_hash(chain, row))


@contextmanager
def tampering(ledger: Ledger) -> Iterator[Hand]:
    """Open a ledger's database with its guards out of the way."""
    tables = [table.name for table in CHAINS.values()] + ["capshift_ledger"]
    if ledger.database.path is not None:
        connection = sqlite3.connect(ledger.database.path)
        connection.execute("PRAGMA synchronous = OFF")
        for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            connection.execute(f"DROP TRIGGER {name}")
        hand = Hand(connection, "?")
    else:
        import psycopg

        url = ledger.database._url.set(drivername="postgresql")
        connection = psycopg.connect(url.render_as_string(hide_password=False))
        for table in tables:
            connection.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
        hand = Hand(connection, "%s")
    try:
        yield hand
        connection.commit()
    finally:
        connection.close()
