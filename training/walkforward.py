"""Walk-forward: every past week forecast by the bundle that was in force then."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from joblib import Parallel, delayed

from features.contracts import Dataset
from features.errors import DataContractError
from features.forecasts import checked_forecasts
from models.bundle import Bundle
from models.climatology import climatology
from models.predict import predict
from models.schedule import Plan, day_text, forecast_rows, refit_cuts
from training.fit import bundle_chain


@dataclass(frozen=True, eq=False)
class WalkForward:
    """Forecasts of every week from the first decision on, and the bundles that made them."""

    forecasts: pd.DataFrame
    bundles: tuple[Bundle, ...]


def walk_forward(
    dataset: Dataset,
    plan: Plan,
    root: Path | None = None,
    *,
    jobs: int = 2,
    progress: Callable[[str, int, int], None] = lambda stage, done, total: None,
) -> WalkForward:
    """Refit on the fixed schedule and forecast each week with the newest bundle whose cut is not later.

    Parameters
    ----------
    dataset : Dataset
    plan : Plan
    root : Path, optional
        Folder of finished bundles; an interrupted run resumes from it.
    jobs : int
        Processes.
    progress : callable
        Told (stage, done, total).

    Returns
    -------
    WalkForward
        The last bundle is the final model.

    Raises
    ------
    DataContractError
        If there is nothing to forecast.

    Information set: of each forecast, what was known at its decision; of its bundle, what matured before the cut.
    """
    cuts = refit_cuts(dataset, plan)
    stops = [*cuts[1:], None]
    blocks = [forecast_rows(dataset, plan, cut, stop) for cut, stop in zip(cuts, stops, strict=True)]
    if not any(len(rows) for rows in blocks):
        raise DataContractError(
            f"market {dataset.market!r}: no pair has {plan.min_weeks} weeks of history since "
            f"{day_text(plan.first_decision)}"
        )
    done = 0

    def fitted(_: str) -> None:
        nonlocal done
        done += 1
        progress("train", done, len(cuts))

    bundles = bundle_chain(dataset, plan, cuts, root, jobs=jobs, progress=fitted)
    base = climatology(dataset)
    tasks = [(bundle, rows) for bundle, rows in zip(bundles, blocks, strict=True) if len(rows)]
    workers = Parallel(n_jobs=jobs, return_as="generator")
    frames = []
    for frame in workers(delayed(predict)(bundle, dataset, rows, base) for bundle, rows in tasks):
        frames.append(frame)
        progress("forecast", len(frames), len(tasks))
    return WalkForward(checked_forecasts(pd.concat(frames, ignore_index=True)), tuple(bundles))
