"""Verification of a ledger: every record recomputed, every link followed, the end held against the head file.

Found, with the first bad record by name: a record that was edited in any field, taken out, moved or put in; a flag
that contradicts its own times; an outcome without its forecast; records cut off the end, or a chain written anew, as
far as a head file knows (see `serving.ledger_head` for what it cannot know). Not found: a clock that was wrong when
a record was written, and a forecast that was never recorded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import Connection, select

from features.errors import DataContractError, LedgerError
from serving.ledger import Ledger
from serving.ledger_chain import lost_records
from serving.ledger_head import Head, Mark, read_head
from serving.ledger_record import Chain, record_hash
from serving.ledger_tables import CHAINS, Identity, read_identity

HeadState = Literal["matches", "behind", "missing"]


@dataclass(frozen=True)
class Finding:
    """The first thing that is wrong: the chain, the number of the record (None for the end of the chain), what."""

    chain: Chain | Literal["head"]
    sequence: int | None
    message: str


@dataclass(frozen=True)
class Verification:
    """What a verification found.

    Parameters
    ----------
    head : Head
        Where the chains end now.
    finding : Finding or None
        The first bad record; None if all is well.
    head_state : {"matches", "behind", "missing"}
        Whether the head file is that of the present end, of an earlier one, or not there, so that records cut off the
        end could not be found.
    revisions, backfilled : int
        Forecasts that revise an earlier call; forecasts recorded too late to be live.
    """

    head: Head
    finding: Finding | None
    head_state: HeadState
    revisions: int
    backfilled: int


def verify(ledger: Ledger, head_file: Path | None = None) -> Verification:
    """Verify a ledger against itself and against a head file; nothing is written.

    Parameters
    ----------
    ledger : Ledger
    head_file : Path, optional
        A copy of the head kept elsewhere; by default the file beside the ledger.

    Raises
    ------
    DataContractError, LockedError, LedgerError
        If the ledger is missing, busy, or too damaged to be read, or a head file is no such file.
    """
    name, path = ledger.database.name, head_file or ledger.head_path
    # Before the chains: a head read after them may be that of an append that came in between.
    head = read_head(path)
    if head is None and head_file is not None:
        raise DataContractError(f"{path}: no head file here")
    with ledger.database.reading() as connection:
        identity = read_identity(connection, name)
        if identity is None:
            if head is not None and head.records:
                raise LedgerError(f"{name}: no ledger here, but {path} knows of one; restore a backup")
            raise DataContractError(f"{name}: no ledger here; `capshift forecast` begins one")
        forecasts, outcomes = (_Walk(chain, identity) for chain in CHAINS)
        finding = forecasts.run(connection) or outcomes.run(connection) or _orphan(connection)
        if finding is None:
            ledger.database.check(connection)
        if finding is None and head is not None and (lost := lost_records(connection, identity, head)):
            finding = Finding("head", None, f"{lost} (head file {path})")
    now = Head(identity.ledger_id, {walk.chain: Mark(walk.count, walk.last) for walk in (forecasts, outcomes)})
    state: HeadState = "missing" if head is None else "matches" if head.marks == now.marks else "behind"
    return Verification(now, finding, state, forecasts.revisions, forecasts.backfilled)


class _Walk:
    """One pass over a chain."""

    def __init__(self, chain: Chain, identity: Identity) -> None:
        self.chain: Chain = chain
        self.count, self.last, self.time = 0, identity.genesis(chain), identity.created_at
        self.revisions = self.backfilled = 0

    def run(self, connection: Connection) -> Finding | None:
        """Return the first bad record of the chain."""
        table = CHAINS[self.chain]
        query = select(table).order_by(table.c.sequence).execution_options(yield_per=2000)
        for found in connection.execute(query):
            row = found._asdict()
            if wrong := self._wrong(row):
                return Finding(self.chain, self.count + 1, wrong)
            self.count, self.last, self.time = self.count + 1, row["hash"], row["recorded_at"]
            if self.chain == "forecast":
                self.revisions += int(row["revision"] > 0)
                self.backfilled += row["backfilled"]
        return None

    def _wrong(self, row: Mapping[str, Any]) -> str | None:
        number = self.count + 1
        if row["sequence"] != number:
            return f"record {number} is gone or has another number; the next one is {row['sequence']}"
        if record_hash(self.chain, row) != row["hash"]:
            return f"record {number} was edited or moved: its content does not give its hash"
        if row["previous_hash"] != self.last:
            return f"record {number} does not follow record {number - 1}: one of the two was replaced, moved or put in"
        if row["recorded_at"] < self.time:
            return f"record {number} was recorded before record {number - 1}"
        if self.chain == "forecast" and row["backfilled"] != int(row["recorded_at"] > row["live_until"]):
            return f"record {number} says {'backfilled' if row['backfilled'] else 'live'} against its own times"
        if self.chain == "outcome" and row["matured_at"] > row["recorded_at"]:
            return f"record {number} was recorded before it matured"
        return None


def _orphan(connection: Connection) -> Finding | None:
    """Return the first outcome without a forecast."""
    outcome, forecast = CHAINS["outcome"], CHAINS["forecast"]
    query = (
        select(outcome.c.sequence)
        .join_from(outcome, forecast, forecast.c.hash == outcome.c.forecast_hash, isouter=True)
        .where(forecast.c.hash.is_(None))
        .order_by(outcome.c.sequence)
    )
    number = connection.execute(query.limit(1)).scalar()
    return None if number is None else Finding("outcome", number, f"record {number} resolves no recorded forecast")
