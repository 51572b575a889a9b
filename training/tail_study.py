"""The backtest of the tail: the scenario set, untilted, tilted and corrected, beside every rival on the same weeks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from features.contracts import TAIL_COLUMNS, Dataset
from models.curve import QUANTILE_COLUMNS
from models.schedule import Plan, bundle_root, day_text
from training.tail_markdown import tail_markdown
from training.tail_models import tail_frames
from training.tail_table import tail_table
from training.walkforward import walk_forward

STAGES = {"untilted_": "scenarios_untilted", "raw_": "scenarios_tilted", "": "scenarios"}
"""Column prefixes of `models.tails.tail_frame` and the names under which the table shows them."""


@dataclass(frozen=True, eq=False)
class TailStudy:
    """Table of `training.tail_table.tail_table` and the same as markdown."""

    table: pd.DataFrame
    markdown: str


def tail_study(
    dataset: Dataset,
    plan: Plan,
    artifacts: Path,
    *,
    until: np.datetime64 | None = None,
    jobs: int = 2,
    progress: Callable[[str, int, int], None] = lambda stage, done, total: None,
) -> TailStudy:
    """Backtest the tail of the walk-forward and of the comparison set.

    Parameters
    ----------
    dataset : Dataset
    plan : Plan
    artifacts : Path
        Finished bundles are kept below it and reused.
    until : datetime64[us], optional
        Last decision that is scored; until a configuration is frozen nobody looks at later years.
    jobs : int
    progress : callable
        Told (stage, done, total).

    Information set: of each forecast, what was known at its decision; of the scores, matured outcomes.
    """
    walked = walk_forward(dataset, plan, bundle_root(artifacts, dataset.market, plan), jobs=jobs, progress=progress)
    frames = tail_frames(dataset, plan, until=until, jobs=jobs, progress=progress)
    frames |= scenario_frames(walked.tails)
    table = tail_table(dataset, frames, until=until, instrument=crowding_instrument(dataset), progress=progress)
    span = f"decisions from {plan.first_decision.astype('datetime64[D]')} to "
    span += "the last" if until is None else day_text(until)
    text = f"## Tail of {dataset.market}, {span}\n\n{tail_markdown(table, simulated=dataset.simulated)}"
    return TailStudy(table, text)


def crowding_instrument(dataset: Dataset) -> pd.Series | None:
    """Return the first crowding feature whose effect on the tail is declared; None if the catalogue has none.

    Whether breaches come when the trade is crowded is asked of the dynamic quantile test (METHODS 5).

    Information set: that of the features.
    """
    declared = [info.name for info in dataset.features if info.family == "crowding" and info.tail_sign != 0]
    return dataset.values[declared[0]] if declared else None


def scenario_frames(tails: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return the tails of the scenario set before the tilt, after it, and after the level correction.

    The correction moves the level of the tails, not the distribution: that of the last stage is the tilted one.
    """
    frames = {}
    for prefix, name in STAGES.items():
        columns = [f"{prefix}{column}" for column in TAIL_COLUMNS]
        columns += [f"{prefix or 'raw_'}{column}" for column in QUANTILE_COLUMNS]
        frames[name] = tails[columns].set_axis([*TAIL_COLUMNS, *QUANTILE_COLUMNS], axis=1)
    return frames
