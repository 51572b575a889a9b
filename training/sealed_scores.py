"""What the sealed weeks say: scores, comparison with the rivals, the frozen rules, and the tail."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from features.contracts import Dataset
from models.schedule import Plan, bundle_root
from training.compare_heads import HEADS, compare_models
from training.frozen import FrozenEntry
from training.score_tables import score_table
from training.sealed_run import SealedRun
from training.tail_models import tail_frames
from training.tail_rivals import YARDSTICK
from training.tail_study import STAGES, scenario_frames
from training.tail_table import tail_table
from training.verdicts import verdict_table
from training.walkforward import walk_forward

Progress = Callable[[str, int, int], None]
_METRICS = ("skill_log_loss", "skill_low", "skill_high", "sharpness", "slope_vs_base", "noise_floor", "n")


@dataclass(frozen=True, eq=False)
class SealedScores:
    """Tables of one sealed exam.

    Parameters
    ----------
    scores : pandas.DataFrame
        `score_table` of heads and rivals, with `model`.
    comparisons : pandas.DataFrame
        `compare_models`.
    verdicts : pandas.DataFrame
        `training.verdicts.verdict_table` by the frozen rules.
    validity : pandas.DataFrame
        `validity, reasons, rows`: how many forecasts were given with which reservation; reasons of abstaining only.
    tail : pandas.DataFrame, optional
        `training.tail_table.tail_table` of the scenario set and the yardstick.
    """

    scores: pd.DataFrame
    comparisons: pd.DataFrame
    verdicts: pd.DataFrame
    validity: pd.DataFrame
    tail: pd.DataFrame | None = None

    @property
    def metrics(self) -> dict[str, float]:
        """Numbers of the heads by name, e.g. ``skill_log_loss.switch.4w.pooled``; missing ones left out."""
        found = {}
        for row in self.scores[self.scores["model"] == HEADS].to_dict("records"):
            for name in _METRICS:
                found[f"{name}.{row['event']}.{row['horizon_weeks']}w.{row['pair']}"] = float(row[name])
        return {name: value for name, value in found.items() if np.isfinite(value)}

    @property
    def tables(self) -> Mapping[str, pd.DataFrame]:
        """Every table by the name of its file."""
        named = {"scores": self.scores, "comparisons": self.comparisons, "verdicts": self.verdicts}
        named |= {"validity": self.validity}
        return named if self.tail is None else named | {"tail": self.tail}


def score_sealed(run: SealedRun, entry: FrozenEntry, tail: pd.DataFrame | None = None) -> SealedScores:
    """Score the sealed weeks and hold them against the frozen rules.

    Parameters
    ----------
    run : SealedRun
    entry : FrozenEntry
    tail : pandas.DataFrame, optional
        As `sealed_tail` returns it.

    Information set: matured outcomes.
    """
    scores = pd.concat([score_table(frame).assign(model=name) for name, frame in run.models.items()], ignore_index=True)
    comparisons = compare_models(run.models)
    return SealedScores(
        scores=scores,
        comparisons=comparisons,
        verdicts=verdict_table(scores[scores["model"] == HEADS], comparisons, None, entry.rules),
        validity=_validity(run.heads),
        tail=tail,
    )


def _validity(heads: pd.DataFrame) -> pd.DataFrame:
    """Count forecasts by validity. Heads alone have no tail: what is said of it is left out."""
    abstained = heads["validity"].str.startswith("abstain")
    reasons = heads["reasons"].str.split("; ").map(lambda parts: "; ".join(p for p in parts if "no tail" not in p))
    table = pd.DataFrame({"validity": heads["validity"], "reasons": reasons.where(abstained, "")})
    return table.groupby(["validity", "reasons"], sort=True).size().rename("rows").reset_index()


def sealed_tail(
    dataset: Dataset,
    plan: Plan,
    entry: FrozenEntry,
    folder: Path,
    *,
    jobs: int = 2,
    progress: Progress = lambda stage, done, total: None,
) -> pd.DataFrame:
    """Backtest the tail of the sealed weeks: the scenario set as published, beside the yardstick.

    Parameters
    ----------
    dataset : Dataset
    plan : Plan
    entry : FrozenEntry
    folder : Path
        Finished bundles are kept below it; the heads use them, too.
    jobs : int
    progress : callable
        Told (stage, done, total).

    Information set: of each forecast, what was known at its decision; of the scores, matured outcomes.
    """
    walked = walk_forward(dataset, plan, bundle_root(folder, dataset.market, plan), jobs=jobs, progress=progress)
    frames = tail_frames(dataset, plan, models=[YARDSTICK], jobs=jobs, progress=progress)
    frames |= {STAGES[""]: scenario_frames(walked.tails)[STAGES[""]]}
    since = plan.first_decision
    if entry.sealed_after is not None:
        since = np.datetime64(entry.sealed_after, "us") + np.timedelta64(1, "D")
    return tail_table(dataset, frames, since=since, progress=progress)
