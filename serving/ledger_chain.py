"""The end of a chain: where it is, whether it is still what a head file knows, and how it grows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from sqlalchemy import Connection, insert, select

from features.errors import LedgerError
from serving.ledger_head import Head
from serving.ledger_record import Chain, Record, record_hash
from serving.ledger_tables import CHAINS, Identity


class Tail(NamedTuple):
    """Where a chain ends: number of records, hash and writing time of the last one."""

    records: int
    hash: str
    recorded_at: str


def read_tail(connection: Connection, identity: Identity, chain: Chain, name: str) -> Tail:
    """Return the end of a chain.

    Raises
    ------
    LedgerError
        If the last record was edited.
    """
    table = CHAINS[chain]
    row = connection.execute(select(table).order_by(table.c.sequence.desc()).limit(1)).first()
    if row is None:
        return Tail(0, identity.genesis(chain), identity.created_at)
    last: Mapping[str, object] = row._asdict()
    if record_hash(chain, last) != last["hash"]:
        raise LedgerError(
            f"{name}: {chain} record {last['sequence']}, the last one, was edited; run `capshift ledger verify` and "
            "restore a backup"
        )
    return Tail(row.sequence, row.hash, row.recorded_at)


def extend_chain(connection: Connection, chain: Chain, tail: Tail, records: Sequence[Record]) -> None:
    """Give records their numbers, chain them to the tail and insert them."""
    rows, previous = [], tail.hash
    for number, record in enumerate(records, start=tail.records + 1):
        row: Record = {**record, "sequence": number, "previous_hash": previous}
        row["hash"] = previous = record_hash(chain, row)
        rows.append(row)
    if rows:
        connection.execute(insert(CHAINS[chain]), rows)


def lost_records(connection: Connection, identity: Identity, head: Head) -> str | None:
    """Say what a head knows that the chains no longer hold; None where they continue it."""
    if head.ledger_id != identity.ledger_id:
        return "the head file belongs to another ledger"
    for chain, mark in head.marks.items():
        table = CHAINS[chain].c
        found = connection.execute(select(table.hash).where(table.sequence == mark.count)).scalar()
        if mark.count == 0:
            found = identity.genesis(chain)
        if found is None:
            last = connection.execute(select(table.sequence).order_by(table.sequence.desc()).limit(1)).scalar() or 0
            return f"{chain} records {last + 1} to {mark.count} were there and are gone"
        if found != mark.hash:
            return f"{chain} record {mark.count} or one before it was written anew since the head was taken"
    return None
