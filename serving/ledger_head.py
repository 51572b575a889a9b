"""The head file: how long the chains of a ledger were when it was last written, and their last hashes.

A chain alone cannot show that records were cut off its end. The head file beside the ledger can: as long as it is
there and was not edited along, it finds a chain that is shorter than it was, and one that was written anew from some
record on. A copy of it kept elsewhere, or the line that every append prints, also finds whoever edits both. Not found:
records cut off after the last head was written (a job killed between the commit and the head leaves that gap until the
next append), and anything at all where every copy of the head is gone.
"""

from __future__ import annotations

import fcntl
import json
import os
from dataclasses import dataclass
from pathlib import Path

from features.errors import DataContractError, LedgerError
from serving.ledger_record import Chain
from serving.output import write_text

_MOST = 2**63
"""Databases count no further."""


@dataclass(frozen=True)
class Mark:
    """Number of records of a chain and the hash of the last one; without a record that of the genesis."""

    count: int
    hash: str


@dataclass(frozen=True)
class Head:
    """The ledger's name and the marks of its chains."""

    ledger_id: str
    marks: dict[Chain, Mark]

    @property
    def records(self) -> int:
        """Records of all chains."""
        return sum(mark.count for mark in self.marks.values())

    def line(self) -> str:
        """Return the head in one line for a log: who keeps it can show later that nothing was changed."""
        forecast, outcome = self.marks["forecast"], self.marks["outcome"]
        return f"{forecast.count} forecasts {forecast.hash[:16]}, {outcome.count} outcomes {outcome.hash[:16]}"


def read_head(path: Path) -> Head | None:
    """Read a head file; None where there is none.

    Raises
    ------
    LedgerError
        If it is no head file.
    """
    try:
        told = json.loads(path.read_bytes())
        chains: tuple[Chain, ...] = ("forecast", "outcome")
        marks: dict[Chain, Mark] = {chain: Mark(told[chain]["count"], told[chain]["hash"]) for chain in chains}
        head = Head(told["ledger_id"], marks)
        texts = [head.ledger_id, *(mark.hash for mark in marks.values())]
        sane = all(isinstance(text, str) for text in texts)
        sane &= all(type(mark.count) is int and 0 <= mark.count < _MOST for mark in marks.values())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise DataContractError(f"{path}: the head of the ledger cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, RecursionError):
        sane = False
    if not sane:
        raise LedgerError(
            f"{path}: not the head of a ledger; put a copy of it back, or verify the ledger, then move this file away"
        )
    return head


def advance_head(path: Path, head: Head) -> None:
    """Write the head, unless a later one is there: of two writers the slower one does not put it back.

    Raises
    ------
    DataContractError
        If the folder cannot be written.
    """
    told: dict[str, object] = {"ledger_id": head.ledger_id}
    told.update({chain: vars(mark) for chain, mark in head.marks.items()})
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        folder = os.open(path.parent, os.O_RDONLY)
    except OSError as error:
        raise DataContractError(f"{path}: cannot be written: {error.strerror}; choose another place") from error
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        current = read_head(path)
        if current is None or current.records < head.records:
            write_text(path, json.dumps(told, indent=1) + "\n")
    except OSError as error:
        raise DataContractError(f"{path}: cannot be written: {error.strerror}; mend that and run again") from error
    finally:
        os.close(folder)
