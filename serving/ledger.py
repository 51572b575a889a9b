"""The ledger: every published forecast, and later its outcome, in two append-only chains.

A record holds the hash of the one before it, so that none can be edited, taken out, moved or put in without the chain
showing it (`serving.ledger_verify`). A forecast never changes: the same call again adds nothing, a call with the same
key and other numbers is added as a revision and says so, and the first one is what counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from sqlalchemy import Connection, select

from features.errors import DataContractError, LedgerError
from serving.ledger_chain import Tail, extend_chain, lost_records, read_tail
from serving.ledger_database import LedgerDatabase
from serving.ledger_entry import forecast_records
from serving.ledger_head import Head, Mark, advance_head, read_head
from serving.ledger_record import (
    FORECAST_FIELDS,
    KEY_FIELDS,
    OUTCOME_COLUMNS,
    Chain,
    Record,
    date_text,
    stored_number,
    time_text,
)
from serving.ledger_tables import CHAINS, Identity, create_tables, read_identity

CLOCK_SLACK = np.timedelta64(1, "h")
"""How far the clock may lie behind the last record before it is taken for wrong."""
OUTCOME_INPUT: tuple[str, ...] = (
    "forecast_hash", "exit_date", "matured_at", *OUTCOME_COLUMNS, "snapshot_id", "code_version",
)  # fmt: skip


@dataclass(frozen=True)
class Appended:
    """What one append did.

    Parameters
    ----------
    added, unchanged : int
        Records written; records that were there already.
    revised, backfilled : int
        Of those written: how many revise an earlier call, how many were too late to be live.
    head : Head
        The chains afterwards.
    headless : bool
        Whether the ledger held records and its head file was gone: what was cut off before could not be found.
    """

    added: int
    unchanged: int
    revised: int
    backfilled: int
    head: Head
    headless: bool = False


class Ledger:
    """A ledger.

    Parameters
    ----------
    location : str or None
        As `serving.ledger_database.LedgerDatabase`; by default ``ledger.db`` in the artefacts folder.
    artifacts : Path
        Also holds the head file of a ledger on a server; that of a SQLite file lies beside it, ``NAME.head.json``.
    """

    def __init__(self, location: str | None, artifacts: Path) -> None:
        self.database = LedgerDatabase(location or str(artifacts / "ledger.db"))
        path = self.database.path
        if path is None:
            self.head_path = artifacts / f"ledger-{self.database.digest}.head.json"
        else:
            self.head_path = path.with_name(f"{path.name}.head.json")

    def append(self, entries: pd.DataFrame, now: np.datetime64) -> Appended:
        """Append published forecasts, all or nothing; what is there already is not written again.

        Parameters
        ----------
        entries : pandas.DataFrame
            As `serving.ledger_entry.ledger_entries` builds them.
        now : datetime64[us]
            UTC. A clock that was put back a little writes the time of the last record instead.

        Raises
        ------
        DataContractError
            If entries break their contract, the clock stands before a decision or far behind the last record, or the
            ledger cannot be used.
        LockedError
            If another writer holds the ledger for too long.
        LedgerError
            If the ledger is damaged, its last record was edited, or it is shorter than its head file says.
        """
        records = forecast_records(entries)
        added: list[Record] = []
        with self.database.writing() as connection:
            identity, tail, headless = self._writable(connection, "forecast", now)
            recorded_at = self._clock(connection, identity, now)
            if early := [record for record in records if str(record["decision_at"]) > recorded_at]:
                raise DataContractError(
                    f"the clock says {recorded_at}, before the decision at {early[0]['decision_at']} that is to be "
                    "recorded; set the clock"
                )
            known = _known_calls(connection, records)
            for record in records:
                revisions = known.setdefault(_values(record, KEY_FIELDS), [])
                call = _values(record, FORECAST_FIELDS)
                if call in revisions:
                    continue
                late = int(recorded_at > str(record["live_until"]))
                added.append({**record, "revision": len(revisions), "recorded_at": recorded_at, "backfilled": late})
                revisions.append(call)
            extend_chain(connection, "forecast", tail, added)
            head = self._head(connection, identity)
        advance_head(self.head_path, head)
        revised = sum(record["revision"] != 0 for record in added)
        backfilled = sum(record["backfilled"] == 1 for record in added)
        return Appended(len(added), len(records) - len(added), revised, backfilled, head, headless)

    def resolve(self, outcomes: pd.DataFrame, now: np.datetime64) -> Appended:
        """Append the outcomes of recorded forecasts, each once; an outcome that is there stays as it is.

        Parameters
        ----------
        outcomes : pandas.DataFrame
            Columns `OUTCOME_INPUT`; outcomes that mature after `now` are left for later.
        now : datetime64[us]
            UTC.

        Raises
        ------
        DataContractError, LockedError, LedgerError
            As `append`; LedgerError also for an outcome of a forecast that the ledger does not hold.
        """
        with self.database.writing() as connection:
            identity, tail, headless = self._writable(connection, "outcome", now)
            recorded_at = self._clock(connection, identity, now)
            matured = [record for record in _outcome_records(outcomes) if str(record["matured_at"]) <= recorded_at]
            table, forecasts = CHAINS["outcome"].c, CHAINS["forecast"].c
            done = set(connection.execute(select(table.forecast_hash)).scalars())
            added = [record | {"recorded_at": recorded_at} for record in matured if record["forecast_hash"] not in done]
            held = set(connection.execute(select(forecasts.hash)).scalars()) if added else set()
            if foreign := [record for record in added if record["forecast_hash"] not in held]:
                raise LedgerError(
                    f"{self.database.name}: no forecast {str(foreign[0]['forecast_hash'])[:16]} to resolve; run "
                    "`capshift ledger verify`"
                )
            extend_chain(connection, "outcome", tail, added)
            head = self._head(connection, identity)
        advance_head(self.head_path, head)
        return Appended(len(added), len(matured) - len(added), 0, 0, head, headless)

    def _writable(self, connection: Connection, chain: Chain, now: np.datetime64) -> tuple[Identity, Tail, bool]:
        """Return the ledger's row, made if there is none, the end of a chain, and whether the head file is missing.

        The chain may be continued: as far as the head file knows nothing was cut off or written anew.
        """
        name, head = self.database.name, read_head(self.head_path)
        identity = read_identity(connection, name)
        headless = identity is not None and head is None
        if identity is None:
            if head is not None and head.records:
                raise LedgerError(
                    f"{name}: no ledger here, but {self.head_path} knows of one with {head.records} record(s); restore "
                    "it, or move the head file away to begin anew"
                )
            identity = create_tables(connection, time_text(now))
        if head is not None and (lost := lost_records(connection, identity, head)):
            raise LedgerError(f"{name}: {lost} (head file {self.head_path}); restore a backup")
        return identity, read_tail(connection, identity, chain, name), headless

    def _clock(self, connection: Connection, identity: Identity, now: np.datetime64) -> str:
        """Return the writing time: now, but never before the record before, whichever of the chains it is in."""
        recorded_at = time_text(now)
        newest = max(read_tail(connection, identity, chain, self.database.name).recorded_at for chain in CHAINS)
        if time_text(now + CLOCK_SLACK) < newest:
            raise DataContractError(
                f"{self.database.name}: the clock says {recorded_at}, far behind the last record at {newest}; set the "
                "clock, or restore a backup of before that record if it was the clock then that was wrong"
            )
        return max(recorded_at, newest)

    def _head(self, connection: Connection, identity: Identity) -> Head:
        tails = {chain: read_tail(connection, identity, chain, self.database.name) for chain in CHAINS}
        return Head(identity.ledger_id, {chain: Mark(tail.records, tail.hash) for chain, tail in tails.items()})


def _known_calls(connection: Connection, records: Sequence[Record]) -> dict[tuple[object, ...], list[object]]:
    """Return what the ledger holds of the weeks of some records: key to calls, revision after revision."""
    if not records:
        return {}
    table = CHAINS["forecast"].c
    days = sorted(str(record["decision_date"]) for record in records)
    query = (
        select(*(table[name] for name in FORECAST_FIELDS))
        .where(table.market.in_({str(record["market"]) for record in records}))
        .where(table.decision_date.between(days[0], days[-1]))
        .order_by(table.sequence)
    )
    known: dict[tuple[object, ...], list[object]] = {}
    for found in connection.execute(query):
        row: Mapping[str, object] = found._asdict()
        known.setdefault(_values(row, KEY_FIELDS), []).append(_values(row, FORECAST_FIELDS))
    return known


def _values(record: Mapping[str, object], names: Iterable[str]) -> tuple[object, ...]:
    return tuple(record[name] for name in names)


def _outcome_records(outcomes: pd.DataFrame) -> list[Record]:
    if missing := [name for name in OUTCOME_INPUT if name not in outcomes.columns]:
        raise DataContractError(f"outcomes lack {', '.join(missing)}; build them with `matured_outcomes`")
    records: list[Record] = []
    for row in outcomes[list(OUTCOME_INPUT)].to_dict("records"):
        record: Record = {name: str(row[name]) for name in ("forecast_hash", "snapshot_id", "code_version")}
        record["exit_date"] = date_text(np.datetime64(row["exit_date"], "us"))
        record["matured_at"] = time_text(np.datetime64(row["matured_at"], "us"))
        records.append(record | {name: stored_number(name, float(row[name])) for name in OUTCOME_COLUMNS})
    return records
