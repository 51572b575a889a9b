"""Finished parts of a long evaluation on disk, so that an interrupted run goes on where it stopped."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from features.contracts import Dataset
from features.errors import DataContractError
from models.schedule import Plan
from training.code_digest import ROOTS, code_hash

_CODE = (*ROOTS, "training.evidence_run", "training.label_study")
"""Where the parts come from."""


@dataclass(frozen=True)
class Parts:
    """A folder of tables, each written in one step when it is finished.

    Parameters
    ----------
    folder : Path
        Of one evaluation of one state of data, settings and code: see `part_key`.
    """

    folder: Path

    def frame(self, name: str, make: Callable[[], pd.DataFrame]) -> pd.DataFrame:
        """Return the part of a name from disk, or make and keep it.

        Raises
        ------
        DataContractError
            If the folder cannot be written.
        """
        kept = self.find(name)
        return self.keep(name, make()) if kept is None else kept

    def find(self, name: str) -> pd.DataFrame | None:
        """Return a finished part; None where there is none, or a damaged one, which is made anew."""
        try:
            return pd.read_parquet(self.folder / f"{name}.parquet")
        except (OSError, ValueError, KeyError):
            return None

    def keep(self, name: str, frame: pd.DataFrame) -> pd.DataFrame:
        """Write a part and return it as it will be read again."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            handle, work = tempfile.mkstemp(prefix=".", dir=self.folder)
            os.close(handle)
            frame.to_parquet(work)
            os.replace(work, self.folder / f"{name}.parquet")
        except OSError as error:
            raise DataContractError(
                f"{self.folder}: cannot be written: {error.strerror}; choose another place"
            ) from error
        return pd.read_parquet(self.folder / f"{name}.parquet")


def part_key(dataset: Dataset, plan: Plan, extra: Sequence[object] = ()) -> str:
    """Return a digest of everything that a part depends on: data, features, schedule, settings and code.

    Parameters
    ----------
    dataset : Dataset
    plan : Plan
    extra : sequence
        What else decides the parts, e.g. the last decision.
    """
    last = dataset.clock["snapshot_id"].iloc[-1]
    names = [info.name for info in dataset.features]
    stated = (dataset.market, last, plan, names, code_hash(roots=_CODE), *extra)
    return hashlib.sha256(repr(stated).encode()).hexdigest()[:16]
