"""The walk-forward of a frozen configuration over data never seen, and the rows of it that are sealed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd

from features.contracts import Dataset, TimeArray
from features.errors import DataContractError
from models.base import base_frame
from models.schedule import Plan, bundle_root, day_text
from training.baselines import with_probabilities
from training.compare_heads import HEADS
from training.heads_walk import heads_walk, prepare
from training.kept_baselines import kept_baselines
from training.parts import Parts, part_key

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, eq=False)
class SealedRun:
    """Forecasts of heads and rivals on the sealed weeks.

    Parameters
    ----------
    models : dict of str to pandas.DataFrame
        `heads` first, then the rivals that have their inputs: rows of the walk-forward with probabilities, base rates
        and outcomes, sealed decisions only.
    refits : int
        Bundles that made these forecasts.
    families : tuple of str
        Families of drivers with a live feature in the last of them.
    """

    models: dict[str, pd.DataFrame]
    refits: int
    families: tuple[str, ...]

    @property
    def heads(self) -> pd.DataFrame:
        """The rows of the heads."""
        return self.models[HEADS]


def sealed_rows(forecasts: pd.DataFrame, after: date | None) -> pd.DataFrame:
    """Return the forecasts of sealed decisions: those after a day, or all."""
    if after is None:
        return forecasts
    return forecasts[forecasts["decision_date"] > pd.Timestamp(after)].reset_index(drop=True)


def sealed_weeks(dataset: Dataset, plan: Plan, after: date | None) -> TimeArray:
    """Return the sealed decisions of which some outcome has matured, ascending.

    Raises
    ------
    DataContractError
        If there is none.
    """
    matured = dataset.outcomes[dataset.outcomes["y_switch"].notna()]
    days = np.unique(matured.index.get_level_values("decision_date").to_numpy("datetime64[us]"))
    days = days[days >= plan.first_decision]
    if after is not None:
        days = days[days > np.datetime64(after, "us")]
    if not len(days):
        newest = dataset.clock.index[-1].date()
        what = f"after {after}" if after is not None else f"since {day_text(plan.first_decision)}"
        raise DataContractError(
            f"market {dataset.market!r} has no sealed row: its newest decision is {newest}, and no outcome of a "
            f"decision {what} has matured; give a root with later data"
        )
    return days


def sealed_run(
    dataset: Dataset,
    plan: Plan,
    scope: tuple[Sequence[str], date | None],
    folder: Path,
    *,
    jobs: int = 2,
    progress: Progress = lambda stage, done, total: None,
) -> SealedRun:
    """Run, or take up again, the walk-forward from its first refit to the end of the data; nothing is selected anew.

    Parameters
    ----------
    dataset : Dataset
    plan : Plan
        Of the frozen configuration.
    scope : tuple
        Names of the rivals; the day after which decisions are sealed, None for all.
    folder : Path
        Finished bundles and parts are kept below it.
    jobs : int
        Processes.
    progress : callable
        Told (stage, done, total).

    Raises
    ------
    DataContractError
        As `sealed_weeks`.

    Information set: of each forecast, what was known at its decision; of its bundle, what matured before the cut.
    """
    rivals, after = scope
    sealed_weeks(dataset, plan, after)
    parts = Parts(folder / "parts" / part_key(dataset, plan, scope))
    start = prepare(dataset, plan, jobs=jobs, progress=progress)
    roots = (bundle_root(folder, dataset.market, plan),)
    forecasts, bundles = heads_walk(dataset, plan, start, jobs=jobs, roots=roots, progress=progress)
    heads = sealed_rows(forecasts, after)
    base = base_frame(dataset, start.implied)
    known = kept_baselines(dataset, plan, base, parts, rivals, jobs=jobs, progress=progress)
    models = {HEADS: heads} | {name: with_probabilities(heads, frame) for name, frame in known.items()}
    used = set(heads["bundle_cut"].to_numpy("datetime64[us]").tolist())
    refits = sum(bundle.cut.astype("datetime64[us]").item() in used for bundle in bundles)
    return SealedRun(models, refits, bundles[-1].families)
