"""Walk-forward: every past week forecast by the bundle that was in force then."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from features.contracts import Dataset
from features.errors import DataContractError
from features.forecasts import checked_forecasts
from models.bundle import Bundle
from models.schedule import Plan, day_text, forecast_rows, refit_cuts
from training.chain import train_chain


@dataclass(frozen=True, eq=False)
class WalkForward:
    """Forecasts of every week from the first decision on, and the bundles that made them.

    `tails` says what the tails were before tilt and level correction (`models.tails.tail_frame`), `base` where the
    heads started from (`models.base.base_frame`).
    """

    forecasts: pd.DataFrame
    tails: pd.DataFrame
    bundles: tuple[Bundle, ...]
    base: pd.DataFrame


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
    if not len(forecast_rows(dataset, plan, cuts[0], None)):
        raise DataContractError(
            f"market {dataset.market!r}: no pair has {plan.min_weeks} weeks of history since "
            f"{day_text(plan.first_decision)}"
        )
    chain = train_chain(dataset, plan, cuts, root, jobs=jobs, progress=progress)
    forecasts = pd.concat([part.forecasts for part in chain.predictions], ignore_index=True)
    tails = pd.concat([part.tails for part in chain.predictions])
    return WalkForward(checked_forecasts(forecasts), tails, chain.bundles, chain.base)
