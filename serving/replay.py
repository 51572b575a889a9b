"""Replay: a published forecast, rebuilt from raw observations and its bundle, must be the same to the last byte.

What was published is read from the forecast's files and from the ledger. Each is rebuilt from every observation known
at its decision, with the bundle that it names, and compared. Where they differ the report says in what, and why as far
as it can be told: other data, another configuration, another version of the code, or a bundle that is gone.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from features.contracts import Dataset
from features.dataset import decision_times
from features.errors import CapshiftError, DataContractError
from features.market import MarketSpec
from models.bundle import Bundle
from models.schedule import Plan, day_text
from serving.forecast import Call, dataset_for, make_forecast
from serving.output import forecast_text, parquet_bytes
from serving.published import Provenance, Published, read_files, read_ledger
from serving.replay_cause import batch_of, causes
from serving.replay_diff import Difference, differing_rows, differing_texts
from serving.steps import open_store, training_plan


@dataclass(frozen=True)
class Check:
    """One published forecast held against its rebuild.

    Parameters
    ----------
    origin : str
        A file, or records of the ledger.
    differences : tuple of Difference
        None where it is identical.
    causes : tuple of str
        Why it differs, as far as it can be told.
    """

    origin: str
    differences: tuple[Difference, ...]
    causes: tuple[str, ...]


@dataclass(frozen=True)
class Replay:
    """What was published of a day, and whether it was rebuilt."""

    market: str
    day: str
    checks: tuple[Check, ...]

    @property
    def identical(self) -> bool:
        """Whether everything that was published of the day is what the rebuild gives."""
        return not any(check.differences for check in self.checks)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return {"identical": self.identical, **asdict(self)}


def replay(spec: MarketSpec, artifacts: Path, day: np.datetime64, ledger: str | None, forecasts: Path | None) -> Replay:
    """Rebuild everything that was published of a decision day and compare.

    Parameters
    ----------
    spec : MarketSpec
    artifacts : Path
        Holds store, bundles and, by default, ledger and forecasts.
    day : datetime64[us]
    ledger : str, optional
        As `serving.ledger.Ledger`; by default that of the artefacts folder, if there is one.
    forecasts : Path, optional
        Folder with the files ``DAY.json`` and ``DAY.parquet``; by default those of `capshift forecast` and
        `capshift backfill`.

    Raises
    ------
    DataContractError
        If nothing was published of the day, or the store is missing or damaged.
    LedgerError
        If the ledger does not verify: then its records are no evidence.

    Information set: rows with known_at <= the decision.
    """
    found = [*read_files(artifacts, spec, day_text(day), forecasts), *read_ledger(artifacts, spec, day, ledger)]
    if not found:
        raise DataContractError(
            f"nothing was published of market {spec.name!r} on {day_text(day)}: no file and no record of the ledger; "
            f"run `capshift forecast --market {spec.name} --as-of {day_text(day)}`"
        )
    at = decision_times(spec, np.array([day]))[0]
    observations = open_store(artifacts).observations(spec.name, until=at)
    workshop = _Workshop(spec, artifacts, day, observations, training_plan(spec))
    return Replay(spec.name, day_text(day), tuple(_check(workshop, published) for published in found))


@dataclass(frozen=True, eq=False)
class _Workshop:
    """What a day is rebuilt from."""

    spec: MarketSpec
    artifacts: Path
    day: np.datetime64
    observations: pd.DataFrame
    plan: Plan
    made: dict[tuple[Provenance, str], Call] = field(default_factory=dict)

    @cached_property
    def dataset(self) -> Dataset:
        """What the store says now was known at the decision."""
        return dataset_for(self.spec, self.observations, self.day)

    def rebuild(self, made: Provenance, headline: str | None) -> Call:
        """Forecast the day again, once for all that was published from the same."""
        key = made, headline or self.spec.headline
        if key not in self.made:
            self.made[key] = self.forecast(made, headline, self.observations)
        return self.made[key]

    def forecast(self, made: Provenance, headline: str | None, rows: pd.DataFrame) -> Call:
        """Forecast the day from some rows with the bundle that a forecast names."""
        dataset = self.dataset if rows is self.observations else dataset_for(self.spec, rows, self.day)
        cut = np.datetime64(made.bundle_cut, "us")
        known = dataset.clock["snapshot_id"]
        snapshot = str(known.loc[pd.Timestamp(cut)]) if pd.Timestamp(cut) in known.index else ""
        bundle = Bundle.load(made.folder(self.artifacts, self.spec.name, snapshot))
        return make_forecast(self.spec, rows, dataset, bundle, self.plan, headline)


def _check(workshop: _Workshop, published: Published) -> Check:
    if published.damage:
        damaged = Difference(None, None, "file", published.damage, "rebuilt forecast")
        return Check(published.origin, (damaged,), ("the file is damaged; forecast the day again or restore a backup",))
    made = published.provenance
    try:
        call = workshop.rebuild(made, published.headline)
    except CapshiftError as error:
        lost = Difference(None, None, "forecast", "published", "cannot be rebuilt")
        told = causes(made, None, workshop.plan)
        return Check(published.origin, (lost,), (f"it cannot be rebuilt: {error}", *told))
    differences = _differences(workshop.spec, published, call)
    if not differences:
        return Check(published.origin, (), ())
    return Check(published.origin, differences, tuple(_why(workshop, published, call)))


def _differences(spec: MarketSpec, published: Published, call: Call) -> tuple[Difference, ...]:
    """Compare what was published with a rebuild; nothing where they are equal to the last bit."""
    found: list[Difference] = []
    if published.text is not None:
        found += differing_texts(published.text, forecast_text(call.forecast))
    if published.rows is not None:
        found += differing_rows(spec, published.rows, call.rows)
    if not found and published.parquet is not None and published.parquet != parquet_bytes(call.rows):
        found.append(Difference(None, None, "bytes", "another file of the same numbers", "as this version writes it"))
    return tuple(found)


def _why(workshop: _Workshop, published: Published, call: Call) -> Iterable[str]:
    """Tell why a rebuild differs, by rebuilding from the rows of the store that were there when it was made."""
    made, rebuilt = published.provenance, Provenance.of(call.rows.iloc[0])
    yield from causes(made, rebuilt, workshop.plan)
    if made.snapshot_id == rebuilt.snapshot_id:
        return
    at = decision_times(workshop.spec, np.array([workshop.day]))[0]
    batch = batch_of(workshop.observations, at, made.snapshot_id)
    if batch is None:
        yield "the store no longer holds what was known then: rows are missing, or another store was used"
        return
    yield batch.told
    try:
        again = workshop.forecast(made, published.headline, batch.before)
    except CapshiftError as error:
        yield f"from the rows stored before them it cannot be rebuilt: {error}"
        return
    left = _differences(workshop.spec, published, again)
    yield (
        f"from the rows stored before them {len(left)} difference(s) remain"
        if left
        else "from the rows stored before them it is identical: the data are the whole cause"
    )
