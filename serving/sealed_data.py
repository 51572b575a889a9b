"""Later data, or another market, from a data root into a store of its own, and the dataset that the exam runs on."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from features.contracts import Dataset
from features.dataset import build_dataset
from features.errors import DataContractError
from features.ingest import ingest
from features.market import MarketSpec
from features.sources.folder import read_folder, series_file
from features.store import Store
from models.schedule import Plan, day_text
from serving.forecast import latest_decision
from serving.output import store_path
from serving.stock_step import crowd_observations, stock_file

_CHUNK = 1 << 20


@dataclass(frozen=True, eq=False)
class SealedData:
    """What an exam reads: dataset, series without a file, families of drivers without a value."""

    dataset: Dataset
    absent: tuple[str, ...]
    empty: tuple[str, ...]


def holds_market(spec: MarketSpec, root: Path) -> bool:
    """Say whether a root has the prices of a market's headline pair."""
    pair = spec.pairs[spec.headline]
    prices = (spec.segments[segment].price for segment in (pair.large, pair.small))
    return not spec.simulated and all(series_file(spec.series[price], root) is not None for price in prices)


def data_hash(spec: MarketSpec, roots: Sequence[Path]) -> str:
    """Return the digest of the files that a definition reads below some roots, names and contents."""
    digest = hashlib.sha256()
    for root in roots:
        files = {path for series in spec.series.values() if (path := series_file(series, root)) is not None}
        if (stocks := stock_file(spec, None, root)) is not None:
            files.add(stocks)
        for path in sorted(files):
            digest.update(f"{path.relative_to(root).as_posix()}\n".encode())
            with path.open("rb") as file:
                while chunk := file.read(_CHUNK):
                    digest.update(chunk)
    return digest.hexdigest()[:16]


def sealed_data(spec: MarketSpec, plan: Plan, roots: Sequence[Path], folder: Path, now: np.datetime64) -> SealedData:
    """Read data roots into a fresh store and build the dataset up to the newest decision with prices.

    Parameters
    ----------
    spec : MarketSpec
    plan : Plan
        Of which the first decision is read.
    roots : sequence of Path
        The data root, or an older one before it; a value that a later one changes is known from now on only.
    folder : Path
        Of this data and this configuration; a store that is there is the same one and is used again.
    now : datetime64[us]
        UTC.

    Raises
    ------
    DataContractError
        If a root lacks the prices or does not reach back far enough for the first refit.
    """
    path = store_path(folder)
    if not path.exists():
        # Built beside its place: what is there is whole.
        work = path.with_name(f"part-{path.name}")
        work.unlink(missing_ok=True)
        for root in roots:
            _ingest(_optional(spec), root, Store(work), now)
        os.replace(work, path)
    observations = Store(path).observations(spec.name)
    dataset = build_dataset(observations, spec, latest_decision(spec, observations))
    _reaches_back(spec, plan, dataset)
    held = set(observations["series"].unique())
    return SealedData(dataset, tuple(name for name in spec.series if name not in held), _empty(dataset))


def _optional(spec: MarketSpec) -> MarketSpec:
    """Return the definition with every series optional but the prices: an exam runs on what there is, and says so."""
    pair = spec.pairs[spec.headline]
    needed = {spec.segments[name].price for name in (pair.large, pair.small)}
    series = {
        name: one if name in needed else one.model_copy(update={"optional": True}) for name, one in spec.series.items()
    }
    return spec.model_copy(update={"series": series})


def _ingest(spec: MarketSpec, root: Path, store: Store, now: np.datetime64) -> None:
    observations = read_folder(spec, root, now).observations
    stocks = stock_file(spec, None, root)
    if stocks is not None:
        crowd = crowd_observations(spec, stocks, store, now)
        observations = pd.concat([observations, crowd], ignore_index=True) if len(crowd) else observations
    ingest(store, spec, observations, now)


def _reaches_back(spec: MarketSpec, plan: Plan, dataset: Dataset) -> None:
    rows = dataset.rows.index[dataset.rows.index.get_level_values("pair") == spec.headline]
    weeks = int((rows.get_level_values("decision_date") < pd.Timestamp(plan.first_decision)).sum())
    if weeks < plan.min_weeks:
        raise DataContractError(
            f"market {spec.name!r} has {weeks} week(s) with a style in force before {day_text(plan.first_decision)}, "
            f"where the walk-forward begins and needs {plan.min_weeks}; give a root with the whole history, or name "
            "the one with the earlier years with `--history`"
        )


def _empty(dataset: Dataset) -> tuple[str, ...]:
    live = {info.family for info in dataset.features if dataset.values[info.name].notna().any()}
    return tuple(dict.fromkeys(info.family for info in dataset.features if info.family not in live))
