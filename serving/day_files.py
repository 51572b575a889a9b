"""The files of one scored day, ``DAY.json`` and ``DAY.parquet``, and their checksums, written last, as ``DAY.sha256``.

A day whose checksums agree is finished: whatever a job that was killed, a full disk or a careless hand left behind is
none. ``sha256sum --check`` reads the checksums, too.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from features.errors import DataContractError
from serving.output import forecast_text, parquet_bytes, write_atomic

if TYPE_CHECKING:
    import pandas as pd

    from serving.forecast import Call

Written = Literal["written", "unchanged", "replaced"]
PROVENANCE = ("bundle_cut", "snapshot_id", "config_hash", "code_version")
"""What a forecast was made from: with the same, it is the same."""


@dataclass(frozen=True)
class DayFiles:
    """Where a day's forecast lies below an output folder.

    Parameters
    ----------
    out : Path
    market, day : str
        The day as YYYY-MM-DD.
    """

    out: Path
    market: str
    day: str

    def path(self, suffix: str) -> Path:
        """Return one of the files; `suffix` is ``json``, ``parquet`` or ``sha256``."""
        return self.out / self.market / f"{self.day}.{suffix}"

    def write(self, call: Call) -> Written:
        """Write a call; what is there already, byte for byte, is left alone.

        Raises
        ------
        DataContractError
            If the folder cannot be written or the disk is full.
        """
        before = self._checksums()
        files = {"json": forecast_text(call.forecast).encode(), "parquet": parquet_bytes(call.rows)}
        sums = {self.path(suffix).name: _digest(content) for suffix, content in files.items()}
        if before == sums and self.intact():
            return "unchanged"
        listed = "".join(f"{digest}  {name}\n" for name, digest in sums.items())
        try:
            if before is not None:
                # While the files change their checksums must not promise anything.
                self.path("sha256").unlink(missing_ok=True)
            for suffix, content in {**files, "sha256": listed.encode()}.items():
                write_atomic(self.path(suffix), partial(_fill, content))
        except OSError as error:
            place = self.path("json").parent
            raise DataContractError(f"{place}: cannot be written: {error.strerror}; make room and run again") from error
        return "replaced" if before is not None else "written"

    def intact(self) -> bool:
        """Return whether both files are there and what their checksums say."""
        sums = self._checksums()
        try:
            return sums is not None and all(
                sums.get(path.name) == _digest(path.read_bytes()) for path in map(self.path, ("json", "parquet"))
            )
        except OSError:
            return False

    def finished(self, provenance: Mapping[str, str]) -> bool:
        """Return whether the day is there, intact, and was made from the same data, bundle, settings and code."""
        if not self.intact():
            return False
        try:
            document = json.loads(self.path("json").read_bytes())
        except ValueError:
            return False
        return isinstance(document, dict) and all(document.get(name) == provenance[name] for name in PROVENANCE)

    def rows(self) -> pd.DataFrame:
        """Return the rows of a finished day.

        Raises
        ------
        DataContractError
            If the file is missing or damaged.
        """
        import pandas as pd
        from pyarrow import ArrowException

        path = self.path("parquet")
        try:
            return pd.read_parquet(path)
        except (OSError, ArrowException) as error:
            raise DataContractError(f"{path}: not a readable forecast; score the day again") from error

    def _checksums(self) -> dict[str, str] | None:
        """Return what the checksum file says, None where it is not there or says nothing."""
        try:
            lines = self.path("sha256").read_text(encoding="ascii").splitlines()
        except (OSError, ValueError):
            return None
        return {name: digest for digest, _, name in (line.partition("  ") for line in lines)}


def sweep(out: Path, market: str) -> None:
    """Remove what jobs that were killed while writing left in a market's folder; hold its lock."""
    for path in (out / market).glob(".????-??-??.*-*"):
        path.unlink(missing_ok=True)


def _fill(content: bytes, path: Path) -> None:
    path.write_bytes(content)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
