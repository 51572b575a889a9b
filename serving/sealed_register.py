"""The register of looks at sealed data: one line of JSON each, every line chained to the one before."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from features.errors import DataContractError, LedgerError
from serving.lock import output_lock

GENESIS = "0" * 16


class LookRecord(BaseModel):
    """One line of the register.

    Parameters
    ----------
    event : str
        ``opened`` before anything is forecast or scored; ``shown`` once the numbers of that look were written.
    at : str
        UTC, to the second.
    market, window : str
        What was looked at.
    number : int
        1 for the first look at the window.
    data_hash, frozen_hash : str
        Digest of the data files and of the frozen configuration.
    previous, hash : str
        Hash of the line before, sixteen zeros for the first; hash of all the rest.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    event: Literal["opened", "shown"]
    at: str
    market: str
    window: str
    number: int = Field(ge=1)
    data_hash: str
    frozen_hash: str
    previous: str = ""
    hash: str = ""

    @property
    def digest(self) -> str:
        """What `hash` must be."""
        text = json.dumps(self.model_dump(exclude={"hash"}), sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


class Register:
    """The file of all looks.

    Parameters
    ----------
    path : Path
        JSON lines; created by the first look.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def records(self) -> tuple[LookRecord, ...]:
        """Return every record, oldest first; none where there is no file.

        Raises
        ------
        LedgerError
            If a line is damaged, was edited, or one before it is gone.
        """
        if not self.path.exists():
            return ()
        found: list[LookRecord] = []
        try:
            lines = self.path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise LedgerError(f"{self.path}: cannot be read: {error}; restore a backup") from error
        for number, line in enumerate(lines, start=1):
            try:
                record = LookRecord.model_validate_json(line)
            except ValidationError as error:
                raise LedgerError(f"{self.path}: line {number} is no record of a look; restore a backup") from error
            expected = found[-1].hash if found else GENESIS
            if record.digest != record.hash or record.previous != expected:
                raise LedgerError(
                    f"{self.path}: line {number} was edited, or a line before it is gone; restore a backup"
                )
            found.append(record)
        return tuple(found)

    def looks(self, market: str, window: str) -> tuple[LookRecord, ...]:
        """Return the looks that were opened at a window, oldest first."""
        return tuple(
            record
            for record in self.records()
            if record.event == "opened" and (record.market, record.window) == (market, window)
        )

    def unfinished(self, market: str, window: str) -> LookRecord | None:
        """Return the last look at a window if its numbers were never shown."""
        mine = [record for record in self.records() if (record.market, record.window) == (market, window)]
        return mine[-1] if mine and mine[-1].event == "opened" else None

    def append(self, record: LookRecord) -> LookRecord:
        """Chain a record to the last line, write it to disk and return it.

        Raises
        ------
        LedgerError
            As `records`.
        LockedError
            If another process is writing.
        DataContractError
            If the file cannot be written.
        """
        with output_lock(self.path):
            before = self.records()
            chained = record.model_copy(update={"previous": before[-1].hash if before else GENESIS})
            chained = chained.model_copy(update={"hash": chained.digest})
            try:
                with self.path.open("a", encoding="utf-8") as file:
                    file.write(chained.model_dump_json() + "\n")
                    file.flush()
                    os.fsync(file.fileno())
            except OSError as error:
                raise DataContractError(
                    f"{self.path}: cannot be written: {error.strerror}; choose another `--artifacts` folder"
                ) from error
        return chained
