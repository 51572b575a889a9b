"""Walk-forward of the heads alone: the same probabilities as the whole one, without the tails, which take the time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from features.contracts import Dataset
from features.errors import DataContractError
from models.base import base_frame
from models.bundle import Bundle
from models.implied import Refits
from models.predict import draft
from models.schedule import Plan, bundle_folder, day_text, forecast_blocks, refit_cuts
from training.fit import History, fit_uncalibrated, stored_bundle
from training.volatility import fit_volatilities, implied_history, volatility_cuts

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, eq=False)
class Start:
    """What every variant of the heads shares: volatility refits and what the untilted sets imply, features or not.

    Parameters
    ----------
    volatility : Refits
    implied : pandas.DataFrame
        As `training.volatility.implied_history`.
    """

    volatility: Refits
    implied: pd.DataFrame


def prepare(
    dataset: Dataset, plan: Plan, *, jobs: int = 2, progress: Progress = lambda stage, done, total: None
) -> Start:
    """Fit the volatility of every cut and read what the sets imply, once for all variants.

    Information set: of each cut and row, closes known at its decision.
    """
    scenarios = plan.settings.scenarios
    cuts = volatility_cuts(dataset, plan)
    volatility = fit_volatilities(dataset, cuts, scenarios, jobs=jobs, progress=progress)
    return Start(volatility, implied_history(dataset, volatility, scenarios, jobs=jobs, progress=progress))


def heads_walk(
    dataset: Dataset,
    plan: Plan,
    start: Start,
    *,
    jobs: int = 2,
    until: np.datetime64 | None = None,
    roots: Sequence[Path] = (),
    progress: Progress = lambda stage, done, total: None,
) -> tuple[pd.DataFrame, tuple[Bundle, ...]]:
    """Refit on the fixed schedule and forecast each week's probabilities with the newest bundle.

    Parameters
    ----------
    dataset : Dataset
        May have other features or outcomes than the one that `start` was made of, but the same closes.
    plan : Plan
    start : Start
    jobs : int
        Processes.
    until : datetime64, optional
        Cuts and decisions after it are left out.
    roots : sequence of Path
        Folders that may hold finished bundles; new ones are written to the last, so that an interrupted run resumes.
    progress : callable
        Told (stage, done, total).

    Returns
    -------
    forecasts : pandas.DataFrame
        As `models.predict.Draft.forecasts`: no tails.
    bundles : tuple of Bundle

    Raises
    ------
    DataContractError
        If there is nothing to forecast.

    Information set: of each forecast, what was known at its decision; of its bundle, what matured before the cut.
    """
    cuts = refit_cuts(dataset, plan)
    if until is not None:
        cuts = cuts[cuts <= until]
    stop = None if until is None else until + np.timedelta64(1, "D")
    blocks = forecast_blocks(dataset, plan, cuts, stop)
    if not any(len(rows) for rows in blocks):
        raise DataContractError(
            f"market {dataset.market!r}: nothing to forecast since {day_text(plan.first_decision)}; choose a later day"
        )
    base = base_frame(dataset, start.implied)
    found = {cut: bundle for cut in cuts if (bundle := stored_bundle(dataset, plan, roots, cut)) is not None}
    missing = [cut for cut in cuts if cut not in found]
    workers = Parallel(n_jobs=min(jobs, max(len(missing), 1)), return_as="generator")
    fitted = workers(delayed(fit_uncalibrated)(dataset, base, start.volatility[cut], cut, plan) for cut in missing)
    history, bundles, frames = History([]), [], []
    for cut, rows in zip(cuts, blocks, strict=True):
        with threadpool_limits(1, "blas"):
            bundle = found[cut] if cut in found else history.calibrate(next(fitted), dataset, base)
            if roots and cut not in found:
                bundle.save(bundle_folder(roots[-1], cut, bundle.snapshot_id))
            history.add(bundle, dataset, rows, base)
            frames.append(draft(bundle, dataset, rows, base, tails=False).forecasts)
        bundles.append(bundle)
        progress("heads", len(bundles), len(cuts))
    order = ["decision_date", "pair", "horizon_weeks"]
    return pd.concat(frames).sort_values(order, ignore_index=True), tuple(bundles)


def with_features(dataset: Dataset, names: list[str]) -> Dataset:
    """Return the dataset with some of its features only, in the order of the catalogue."""
    kept = tuple(info for info in dataset.features if info.name in set(names))
    columns = [info.name for info in kept]
    return replace(
        dataset,
        features=kept,
        values=dataset.values[columns],
        known_at=dataset.known_at[columns],
        stale=dataset.stale[columns],
    )
