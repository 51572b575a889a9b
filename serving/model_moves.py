"""Moves of the alias `champion`: recorded, atomic, and completed when they were cut off.

A move first writes what it is going to do to the registry, then the line of the record, the tags and the other aliases;
`champion` moves last. Cut off anywhere, the champion is the old one or the new one, and whoever moves next completes
what was begun; a line carries the move's id, so that it is never there twice.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal
from uuid import uuid4

from features.errors import DataContractError, PromotionError
from serving.registry import CHALLENGER, CHAMPION, PREVIOUS, Registry, Version

Action = Literal["promote", "rollback"]
_GATE_LENGTH = 4500
"""Longest text of the gate that goes into a tag; the record has all of it."""


@dataclass(frozen=True)
class Move:
    """One move of the champion: when (UTC), from which version to which, what the gate said, who asked and why."""

    id: str
    action: Action
    market: str
    time: str
    from_version: int | None
    to_version: int
    gate: str
    by: str
    reason: str


def record_path(artifacts: Path, market: str) -> Path:
    """Return the append-only record of a market's moves."""
    return artifacts / market / "promotions.jsonl"


def named(versions: list[Version], alias: str) -> Version | None:
    """Return the version that an alias names."""
    return next((version for version in versions if alias in version.aliases), None)


def new_move(action: Action, market: str, ends: tuple[Version | None, Version], facts: Mapping[str, str]) -> Move:
    """Describe a move.

    Parameters
    ----------
    action : "promote" or "rollback"
    market : str
    ends : tuple
        Champion now and to be.
    facts : mapping
        `time` (ISO, UTC), `gate`, `by`, `reason`.
    """
    old, new = ends
    return Move(
        id=uuid4().hex, action=action, market=market, time=facts["time"],
        from_version=None if old is None else old.number, to_version=new.number,
        gate=facts["gate"], by=facts["by"], reason=facts["reason"],
    )  # fmt: skip


def make_move(registry: Registry, record: Path, move: Move) -> None:
    """Announce a move and carry it out; the caller holds the lock of the record.

    Raises
    ------
    DataContractError
        If the registry does not answer or the record cannot be written; run again to complete what was begun.
    """
    registry.set_intent(move.market, json.dumps(asdict(move), ensure_ascii=False))
    _carry_out(registry, record, move)


def complete_move(registry: Registry, record: Path, market: str) -> Move | None:
    """Complete the move that was cut off, and return it; None where there is none.

    Raises
    ------
    PromotionError
        If what the registry says about it cannot be read.
    """
    text = registry.intent(market)
    if text is None:
        return None
    try:
        move = Move(**json.loads(text))
    except (ValueError, TypeError) as error:
        raise PromotionError(
            f"the registry says that a move of market {market!r} is under way, but not which: {text[:80]!r}; remove "
            "the tag `move` of the registered model"
        ) from error
    _carry_out(registry, record, move)
    return move


def read_record(record: Path) -> list[dict[str, Any]]:
    """Return the lines of the record, oldest first; the torn end of a line that a killed job left is no line.

    Raises
    ------
    DataContractError
        If a whole line is damaged.
    """
    if not record.is_file():
        return []
    lines = []
    for number, line in enumerate(_whole_lines(record.read_bytes()).splitlines(), start=1):
        try:
            lines.append(dict(json.loads(line)))
        except (ValueError, TypeError) as error:
            raise DataContractError(f"{record}: line {number} is damaged; restore the file from a backup") from error
    return lines


def _carry_out(registry: Registry, record: Path, move: Move) -> None:
    """Do every step again that may not have been done."""
    _append(record, move)
    registry.tag_version(move.market, move.to_version, _tags(move, "champion"))
    if move.from_version is not None:
        if move.action == "rollback":
            registry.tag_version(move.market, move.from_version, _tags(move, "withdrawn"))
        registry.set_alias(move.market, PREVIOUS, move.from_version)
    challenger = named(registry.versions(move.market), CHALLENGER)
    if challenger is not None and challenger.number == move.to_version:
        registry.drop_alias(move.market, CHALLENGER)
    registry.set_alias(move.market, CHAMPION, move.to_version)
    registry.set_intent(move.market, None)


def _tags(move: Move, what: str) -> dict[str, str]:
    origin = "" if move.from_version is None else str(move.from_version)
    tags = {"at": move.time, "by": move.by, "reason": move.reason, "action": move.action, "after": origin}
    if move.gate:
        tags["gate"] = move.gate[:_GATE_LENGTH]
    return {f"{what}_{key}": value for key, value in tags.items()}


def _append(record: Path, move: Move) -> None:
    """Write a move's line unless it is there; on disk when this returns."""
    if any(line.get("id") == move.id for line in read_record(record)):
        return
    line = json.dumps(asdict(move), ensure_ascii=False, sort_keys=True)
    try:
        record.parent.mkdir(parents=True, exist_ok=True)
        with open(record, "a+b") as file:
            file.seek(0)
            file.truncate(len(_whole_lines(file.read())))
            file.write(line.encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise DataContractError(f"{record}: cannot be written: {error.strerror}; make room and run again") from error


def _whole_lines(content: bytes) -> bytes:
    return content[: content.rfind(b"\n") + 1]


def utc_text(now: datetime) -> str:
    """Return a time as the record writes it."""
    return now.isoformat(timespec="seconds")
