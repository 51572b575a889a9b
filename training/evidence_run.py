"""Heads and every baseline on the same weeks, each part kept on disk as soon as it is finished."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from features.contracts import Dataset
from models.base import base_frame
from models.implied import Refits
from models.schedule import Plan, forecast_blocks
from models.volatility import VolatilityParams
from training.baselines import NAMES, with_probabilities
from training.compare_heads import HEADS
from training.experiment import fold_table
from training.explained import Explained, explained
from training.heads_walk import Start, heads_walk, prepare
from training.kept_baselines import kept_baselines
from training.parts import Parts, part_key

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, eq=False)
class EvidenceRun:
    """Forecasts of every model on the weeks of the heads.

    Parameters
    ----------
    models : dict of str to pandas.DataFrame
        `heads` first, then the baselines in the order of their registry: rows of the walk-forward with the model's
        probabilities, base rates and outcomes.
    folds : pandas.DataFrame
        One row per refit, see `training.experiment.fold_table`.
    explained : Explained
    """

    models: dict[str, pd.DataFrame]
    folds: pd.DataFrame
    explained: Explained

    @property
    def heads(self) -> pd.DataFrame:
        """The rows of the heads."""
        return self.models[HEADS]


def evidence_run(
    dataset: Dataset,
    plan: Plan,
    artifacts: Path,
    *,
    until: np.datetime64 | None = None,
    jobs: int = 2,
    progress: Progress = lambda stage, done, total: None,
) -> EvidenceRun:
    """Run, or take up again, the walk-forward of the heads and of every baseline.

    Parameters
    ----------
    dataset : Dataset
    plan : Plan
    artifacts : Path
        Finished parts and bundles lie in ``ARTIFACTS/MARKET/evidence/KEY``. Bundles of a backtest are not used: their
        folder is not keyed by the state of the code.
    until : datetime64[us], optional
        Last decision that is forecast.
    jobs : int
        Processes.
    progress : callable
        Told (stage, done, total).

    Information set: of each forecast, what was known at its decision.
    """
    parts = Parts(artifacts / dataset.market / "evidence" / part_key(dataset, plan, [str(until)]))
    names = ("implied", HEADS, "folds", "stability", "families")
    held = {name: parts.find(name) for name in names}
    if any(frame is None for frame in held.values()):
        held |= _heads(dataset, plan, parts, until, jobs=jobs, progress=progress)
    implied, heads, folds, table, families = (_present(held[name]) for name in names)
    base = base_frame(dataset, implied)
    base = base[base.index.get_level_values("decision_date") <= heads["decision_date"].max()]
    known = kept_baselines(dataset, plan, base, parts, NAMES, jobs=jobs, progress=progress)
    models = {HEADS: heads} | {name: with_probabilities(heads, frame) for name, frame in known.items()}
    return EvidenceRun(models, folds, Explained(table, families))


def _present(frame: pd.DataFrame | None) -> pd.DataFrame:
    return pd.DataFrame() if frame is None else frame


def _heads(
    dataset: Dataset,
    plan: Plan,
    parts: Parts,
    until: np.datetime64 | None,
    *,
    jobs: int,
    progress: Progress,
) -> dict[str, pd.DataFrame | None]:
    """Walk the heads, then say how their folds and explanations look."""
    start = _start(dataset, plan, parts, jobs=jobs, progress=progress)
    roots = (parts.folder / "bundles",)
    forecasts, bundles = heads_walk(dataset, plan, start, jobs=jobs, until=until, roots=roots, progress=progress)
    stop = None if until is None else until + np.timedelta64(1, "D")
    blocks = forecast_blocks(dataset, plan, [bundle.cut for bundle in bundles], stop)
    with threadpool_limits(1, "blas"):
        seen = explained(dataset, bundles, blocks, base_frame(dataset, start.implied))
    progress("explanations", 1, 1)
    return {
        "implied": start.implied,
        HEADS: parts.keep(HEADS, forecasts),
        "folds": parts.keep("folds", fold_table(forecasts, dataset, bundles)),
        "stability": parts.keep("stability", seen.table),
        "families": parts.keep("families", seen.families),
    }


def _start(dataset: Dataset, plan: Plan, parts: Parts, *, jobs: int, progress: Progress) -> Start:
    """Return volatility refits and implied probabilities, from disk where both are there."""
    implied, volatility = parts.find("implied"), parts.find("volatility")
    if implied is not None and volatility is not None:
        return Start(_refits(volatility), implied)
    start = prepare(dataset, plan, jobs=jobs, progress=progress)
    parts.keep("volatility", _volatility_frame(start.volatility))
    return Start(start.volatility, parts.keep("implied", start.implied))


def _volatility_frame(volatility: Refits) -> pd.DataFrame:
    """One row per cut and segment; no parameters where the segment's history was too short."""
    rows = [
        {"cut": cut, "segment": segment, **({} if params is None else asdict(params))}
        for cut, fitted in volatility.items()
        for segment, params in fitted.items()
    ]
    return pd.DataFrame(rows)


def _refits(frame: pd.DataFrame) -> Refits:
    refits: dict[np.datetime64, dict[str, VolatilityParams | None]] = {}
    for row in frame.to_dict("records"):
        cut, segment = np.datetime64(row.pop("cut"), "us"), str(row.pop("segment"))
        known = {str(name): value for name, value in row.items()}
        params = None if pd.isna(known["omega"]) else VolatilityParams(**known | {"converged": int(known["converged"])})
        refits.setdefault(cut, {})[segment] = params
    return refits
