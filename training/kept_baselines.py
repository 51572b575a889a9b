"""Baselines as finished parts: one task each, on disk as soon as it is done."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pandas as pd
from joblib import Parallel, delayed
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from features.contracts import EVENTS, Dataset, TimeArray
from models.schedule import Plan, refit_cuts
from training.baselines import baseline_forecasts
from training.parts import Parts


def kept_baselines(
    dataset: Dataset,
    plan: Plan,
    base: pd.DataFrame,
    parts: Parts,
    names: Sequence[str],
    *,
    jobs: int = 2,
    progress: Callable[[str, int, int], None] = lambda stage, done, total: None,
) -> dict[str, pd.DataFrame]:
    """Forecast baselines that are not on disk yet, and return them all.

    Parameters
    ----------
    dataset : Dataset
    plan : Plan
    base : pandas.DataFrame
        As `models.base.base_frame`, up to the last row that is forecast.
    parts : Parts
    names : sequence of str
        Baselines wanted; see `training.baselines.REGISTRY`.
    jobs : int
        Processes.
    progress : callable
        Told (stage, done, total).

    Returns
    -------
    dict of str to pandas.DataFrame
        In the order of `names`; a baseline without its inputs is left out.

    Information set: as `training.baselines.baseline_forecasts`.
    """
    rates = base[list(EVENTS)].set_axis([f"p_{event}_base" for event in EVENTS], axis=1)
    implied = base[[f"{event}_implied" for event in EVENTS]]
    cuts = refit_cuts(dataset, plan)
    cuts = cuts[cuts <= base.index.get_level_values("decision_date").max().to_datetime64()]
    known = {name: frame for name in names if (frame := parts.find(name)) is not None}
    missing = [name for name in names if name not in known]
    workers = Parallel(n_jobs=min(jobs, max(len(missing), 1)), return_as="generator")
    tasks = (delayed(_forecast)(dataset, rates, cuts, implied, name) for name in missing)
    for done, (name, frame) in enumerate(zip(missing, workers(tasks), strict=True), start=1):
        if frame is not None:
            known[name] = parts.keep(name, frame)
        progress("baselines", len(names) - len(missing) + done, len(names))
    return {name: known[name] for name in names if name in known}


def _forecast(
    dataset: Dataset, rates: pd.DataFrame, cuts: TimeArray, implied: pd.DataFrame, name: str
) -> pd.DataFrame | None:
    # Sums in another order would be other bytes.
    with threadpool_limits(1, "blas"):
        return baseline_forecasts(dataset, rates, cuts, implied=implied, names=[name]).get(name)
