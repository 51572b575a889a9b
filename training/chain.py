"""The chain of bundles up to a date, each week forecast by the bundle in force: the only training path there is."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from features.contracts import Dataset, FloatArray, TimeArray
from models.base import base_frame
from models.bundle import Bundle
from models.memory import Key, Memory
from models.predict import Prediction, draft, finish
from models.schedule import Plan, bundle_folder, forecast_blocks
from training.fit import History, cut_time, fit_uncalibrated, stored_bundle
from training.volatility import fit_volatilities, implied_history, volatility_cuts

Progress = Callable[[str, int, int], None]
_UNFINISHED = "unfinished"
"""Folder of bundles that lack the memory of earlier forecasts: an interrupted run resumes from them."""


@dataclass(frozen=True, eq=False)
class Chain:
    """Bundles of consecutive cuts, the predictions of each one's weeks, and the base they start from."""

    bundles: tuple[Bundle, ...]
    predictions: tuple[Prediction, ...]
    base: pd.DataFrame


def train_chain(
    dataset: Dataset,
    plan: Plan,
    cuts: Sequence[np.datetime64] | TimeArray,
    root: Path | None,
    *,
    jobs: int = 2,
    progress: Progress = lambda stage, done, total: None,
) -> Chain:
    """Return the bundles of consecutive cuts, trained or, where `root` has them, loaded, and their forecasts.

    Calibration and level correction need the out-of-sample forecasts of all earlier bundles, so the chain starts at the
    first cut. A bundle on disk is used only if its snapshot and configuration are those of the data at hand.

    Parameters
    ----------
    dataset : Dataset
    plan : Plan
    cuts : array of datetime64[us], ascending
        From the first decision on.
    root : Path, optional
        Folder of finished bundles; each is written as soon as it is done, so that an interrupted run resumes.
    jobs : int
        Processes.
    progress : callable
        Told (stage, done, total).

    Information set: of each bundle, outcomes matured before its cut; of each forecast, what was known at its decision.
    """
    roots = () if root is None else (root, root / _UNFINISHED)
    found = {cut: bundle for cut in cuts if (bundle := stored_bundle(dataset, plan, roots, cut)) is not None}
    scenarios = plan.settings.scenarios
    past = volatility_cuts(dataset, plan)
    # What a bundle on disk was fitted with need not be fitted again.
    held = {cut: bundle.volatility for cut, bundle in found.items()}
    open_cuts = np.array([cut for cut in past[past <= cuts[-1]] if cut not in held], dtype="datetime64[us]")
    volatility = {**held, **fit_volatilities(dataset, open_cuts, scenarios, jobs=jobs, progress=progress)}
    base = base_frame(dataset, implied_history(dataset, volatility, scenarios, jobs=jobs, progress=progress))
    missing = [cut for cut in cuts if cut not in found]
    workers = Parallel(n_jobs=min(jobs, max(len(missing), 1)), return_as="generator")
    fitted = workers(delayed(fit_uncalibrated)(dataset, base, volatility[cut], cut, plan) for cut in missing)
    blocks = forecast_blocks(dataset, plan, cuts)
    history = History([])
    calibrated: list[Bundle] = []
    for cut, rows in zip(cuts, blocks, strict=True):
        with threadpool_limits(1, "blas"):
            bundle = found[cut] if cut in found else history.calibrate(next(fitted), dataset, base)
            history.add(bundle, dataset, rows, base)
        if root is not None and cut not in found:
            bundle.save(bundle_folder(root / _UNFINISHED, cut, bundle.snapshot_id))
        calibrated.append(bundle)
        progress("train", len(calibrated), len(cuts))
    return _forecast(dataset, base, (calibrated, blocks), root, jobs=jobs, progress=progress)


def _forecast(
    dataset: Dataset,
    base: pd.DataFrame,
    work: tuple[list[Bundle], list[pd.MultiIndex]],
    root: Path | None,
    *,
    jobs: int,
    progress: Progress,
) -> Chain:
    """Forecast each bundle's weeks and hand what came of them to the next one's memory."""
    bundles, predictions = [], []
    memory = Memory.empty()
    fresh: Mapping[Key, FloatArray] = {}
    drafts = Parallel(n_jobs=jobs, return_as="generator")(
        delayed(draft)(bundle, dataset, rows, base) for bundle, rows in zip(*work, strict=True)
    )
    for number, (bundle, drafted) in enumerate(zip(work[0], drafts, strict=True)):
        memory = memory.extended(fresh, dataset, cut_time(dataset, bundle.cut))
        complete = replace(bundle, memory=memory)
        bundles.append(complete)
        predictions.append(finish(drafted, dataset, memory))
        fresh = drafted.quantiles
        if root is not None and (waiting := bundle_folder(root / _UNFINISHED, bundle.cut, bundle.snapshot_id)).exists():
            complete.save(bundle_folder(root, bundle.cut, bundle.snapshot_id))
            shutil.rmtree(waiting, ignore_errors=True)
        progress("forecast", number + 1, len(work[0]))
    if root is not None:
        with suppress(OSError):
            (root / _UNFINISHED).rmdir()
    return Chain(tuple(bundles), tuple(predictions), base)
