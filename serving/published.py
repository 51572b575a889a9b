"""What was published of a decision day: the files of its forecast, and its records in the ledger."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from features.errors import BundleError, DataContractError, LedgerError
from features.market import MarketSpec
from models.schedule import day_text
from serving.ledger_entry import ledger_entries
from serving.output import backfill_folder, forecast_path

_DAY, _WORD = re.compile(r"\d{4}-[01]\d-[0-3]\d"), re.compile(r"\w[\w.+-]*")
_SAME = ("config_hash", "bundle_cut", "snapshot_id", "code_version", "revision")


@dataclass(frozen=True)
class Provenance:
    """What a forecast was made from; `bundle_cut` as YYYY-MM-DD."""

    bundle_cut: str
    snapshot_id: str
    config_hash: str
    code_version: str

    @staticmethod
    def of(row: Mapping[str, Any] | pd.Series) -> Provenance:
        """Read it off a forecast's JSON, or one of its rows.

        Raises
        ------
        DataContractError
            If it names what no forecast is made from: its parts become the name of a folder.
        """
        cut, *others = (str(row[name]) for name in ("bundle_cut", "snapshot_id", "config_hash", "code_version"))
        if not _DAY.fullmatch(cut[:10]) or not all(_WORD.fullmatch(text) for text in others):
            raise DataContractError(f"no provenance of a forecast: {[cut, *others]}")
        return Provenance(cut[:10], *others)

    def folder(self, artifacts: Path, market: str, snapshot: str) -> Path:
        """Return where the bundle lies that was used, by preference the one trained on a snapshot.

        Raises
        ------
        BundleError
            If there is none of this cut, configuration and version.
        """
        root = artifacts / "bundles" / market / f"{self.config_hash}-{self.code_version}"
        found = sorted(path for path in root.glob(f"{self.bundle_cut}-*") if path.is_dir())
        if not found:
            raise BundleError(f"{root}: the bundle of cut {self.bundle_cut} is gone; restore a backup")
        wanted = root / f"{self.bundle_cut}-{snapshot}"
        return wanted if wanted in found else found[-1]


@dataclass(frozen=True, eq=False)
class Published:
    """One publication of a day.

    Parameters
    ----------
    origin : str
    provenance : Provenance
    headline : str or None
        Pair that leads it; None where that is not recorded and does not matter.
    text, parquet : bytes or None
        The file, JSON or parquet.
    rows : pandas.DataFrame or None
        The rows of a parquet file, or of the ledger.
    damage : str
        What is wrong with a file that cannot be read; all else is meaningless then.
    """

    origin: str
    provenance: Provenance
    headline: str | None = None
    text: bytes | None = None
    parquet: bytes | None = None
    rows: pd.DataFrame | None = None
    damage: str = ""


def read_files(artifacts: Path, spec: MarketSpec, day: str, folder: Path | None) -> list[Published]:
    """Read a day's JSON and parquet, those that are there; one that cannot be read says so in `damage`.

    Without a folder they are those of `capshift forecast` and of `capshift backfill`.
    """
    usual = (forecast_path(artifacts, spec.name, day, "json").parent, backfill_folder(artifacts) / spec.name)
    return [made for place in ((folder,) if folder else usual) for made in _read_day(place, spec, day)]


def _read_day(folder: Path, spec: MarketSpec, day: str) -> list[Published]:
    found = []
    document: Any = None
    for suffix in ("json", "parquet"):
        path = folder / f"{day}.{suffix}"
        if not path.exists():
            continue
        try:
            content = path.read_bytes()
            if suffix == "json":
                document = json.loads(content)
                made = Published(str(path), Provenance.of(document), str(document["headline"]), text=content)
            else:
                rows = pd.read_parquet(io.BytesIO(content))
                # Its contract, as the ledger would want it.
                ledger_entries(spec, rows)
                headline = document.get("headline") if isinstance(document, dict) else None
                made = Published(str(path), Provenance.of(rows.iloc[0]), headline, parquet=content, rows=rows)
        except (
            DataContractError, ValueError, KeyError, TypeError, IndexError, AttributeError, OSError, RecursionError
        ) as error:  # fmt: skip
            # pyarrow's errors are among them.
            reason = " ".join(str(error).split())[:120] or type(error).__name__
            made = Published(str(path), Provenance("", "", "", ""), damage=f"not a readable forecast: {reason}")
        found.append(made)
    return found


def read_ledger(artifacts: Path, spec: MarketSpec, day: np.datetime64, location: str | None) -> list[Published]:
    """Read a day's calls from the ledger, in the order of recording; none where there is no ledger.

    Raises
    ------
    LedgerError
        If the ledger does not verify.
    DataContractError, LockedError
        If the ledger that is named is not there, or busy.
    """
    from serving.ledger import Ledger
    from serving.ledger_read import recorded_forecasts
    from serving.ledger_verify import verify

    ledger = Ledger(location, artifacts)
    path = ledger.database.path
    if location is None and path is not None and not path.exists():
        return []
    if (wrong := verify(ledger).finding) is not None:
        raise LedgerError(f"{ledger.database.name}: {wrong.message}; restore a backup that verifies")
    recorded = recorded_forecasts(ledger, spec.name)
    today = recorded[recorded["decision_date"] == pd.Timestamp(day)]
    calls = []
    for number, (_, rows) in enumerate(today.groupby(list(_SAME), sort=False)):
        first, last = rows["sequence"].min(), rows["sequence"].max()
        kind = "the call that counts" if number == 0 else "a later call"
        late = ", backfilled" if rows["backfilled"].any() else ""
        origin = f"{ledger.database.name}: records {first} to {last} of {day_text(day)}, {kind}{late}"
        calls.append(Published(origin, Provenance.of(rows.iloc[0]), rows=rows.reset_index(drop=True)))
    return calls
