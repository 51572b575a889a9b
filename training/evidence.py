"""The evidence for the heads: every table of one evaluation, from the forecasts of all models on the same weeks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from features.contracts import HORIZONS
from features.errors import DataContractError
from training.alarm_table import alarm_records, alarm_table
from training.compare import DRAWS
from training.compare_heads import HEADS, compare_models
from training.corp import corp_table
from training.evidence_run import EvidenceRun
from training.noise import noise_table
from training.overfitting import Overfitting, backtest_overfitting
from training.rotation import rotation, rotation_summary
from training.score_tables import score_table, yearly_table
from training.sharpe import deflated_sharpe, weekly_ratios
from training.verdicts import Target, suspicions, verdict_table

ROTATION_WEEKS = 4
"""Horizon of the probability that decides the rotation rule."""
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, eq=False)
class Evidence:
    """Tables of one evaluation; see the functions that make them for their columns.

    Parameters
    ----------
    run : EvidenceRun
    scores : pandas.DataFrame
        `score_table` of every model, with `model`.
    comparisons : pandas.DataFrame
        `comparison_table` of the heads with every model, pooled, with `event, horizon_weeks, model`.
    corp, noise, yearly : pandas.DataFrame
        Of the heads.
    rotation : pandas.DataFrame
        One row per model: `training.rotation.RotationSummary`, all pairs as an equal mix, and for the heads
        `deflated_sharpe`.
    overfitting : Overfitting
        Of choosing the model whose rotation earned most.
    alarms : pandas.DataFrame
        `alarm_table` of the heads with `horizon_weeks`.
    verdicts : pandas.DataFrame
    suspicions : list of str
        Figures that look too good.
    trials : int
        Configurations that were run before.
    """

    run: EvidenceRun
    scores: pd.DataFrame
    comparisons: pd.DataFrame
    corp: pd.DataFrame
    noise: pd.DataFrame
    yearly: pd.DataFrame
    rotation: pd.DataFrame
    overfitting: Overfitting
    alarms: pd.DataFrame
    verdicts: pd.DataFrame
    suspicions: list[str]
    trials: int

    @property
    def heads(self) -> pd.DataFrame:
        """Scores of the heads."""
        return self.scores[self.scores["model"] == HEADS]


def gather(
    run: EvidenceRun,
    targets: Mapping[str, Target],
    trials: int,
    costs: Mapping[str, float] | None = None,
    *,
    draws: int = DRAWS,
    progress: Progress = lambda stage, done, total: None,
) -> Evidence:
    """Compute every table.

    Parameters
    ----------
    run : EvidenceRun
    targets : mapping of head to Target
    trials : int
        Configurations that were run before; they deflate the Sharpe ratio of the rotation rule.
    costs : mapping of pair to float, optional
        Cost a side of the rotation rule, fractions; 10 basis points where a pair is not named.
    draws : int
        Of the bootstraps and of the outcomes that chance would draw.
    progress : callable
        Told (stage, done, total).

    Information set: matured outcomes.
    """
    tables = []
    for name, frame in run.models.items():
        tables.append(score_table(frame).assign(model=name))
        progress("scores", len(tables), len(run.models))
    scores = pd.concat(tables, ignore_index=True)
    comparisons = compare_models(run.models, draws=draws, progress=progress)
    noise = noise_table(run.heads, draws=draws)
    progress("noise floors", 1, 1)
    own = scores[scores["model"] == HEADS]
    rotated, overfitting = rotation_table(run.models, trials, costs)
    alarms = [alarm_table(alarm_records(run.heads, weeks)).assign(horizon_weeks=weeks) for weeks in HORIZONS]
    return Evidence(
        run=run,
        scores=scores,
        comparisons=comparisons,
        corp=corp_table(run.heads),
        noise=noise,
        yearly=yearly_table(run.heads),
        rotation=rotated,
        overfitting=overfitting,
        alarms=pd.concat(alarms, ignore_index=True),
        verdicts=verdict_table(own, comparisons, run.explained.table, targets),
        suspicions=suspicions(own, noise),
        trials=trials,
    )


def rotation_table(
    models: Mapping[str, pd.DataFrame], trials: int, costs: Mapping[str, float] | None = None
) -> tuple[pd.DataFrame, Overfitting]:
    """Run the rotation rule on every model and say what the heads' ratio is worth after all trials.

    Every model is a trial with a ratio of its own; the logged configurations count as trials whose ratio was not kept.

    Parameters
    ----------
    models : mapping of str to pandas.DataFrame
    trials : int
    costs : mapping of pair to float, optional

    Returns
    -------
    table : pandas.DataFrame
        `model`, the fields of `RotationSummary`, and for the heads `deflated_sharpe`.
    overfitting : Overfitting
        Missing where the weeks are too few.

    Information set: of each position, the probabilities at its decision.
    """
    rows, returns = [], {}
    for name, frame in models.items():
        weeks = rotation(frame, ROTATION_WEEKS, costs)
        rows.append({"model": name, **rotation_summary(weeks)._asdict()})
        returns[name] = weeks.groupby("decision_date")["excess"].mean()
    panel = pd.DataFrame(returns).fillna(0.0)
    table = pd.DataFrame(rows)
    ratios = weekly_ratios(panel.to_numpy(np.float64))
    own = panel[HEADS].to_numpy(np.float64)
    table["deflated_sharpe"] = np.where(
        table["model"] == HEADS, deflated_sharpe(own, np.append(ratios, np.full(trials, np.nan))), np.nan
    )
    try:
        overfitting = backtest_overfitting(panel.to_numpy(np.float64))
    except DataContractError:
        # Fewer weeks than two a block.
        overfitting = Overfitting(float("nan"), float("nan"), float("nan"), 0)
    return table, overfitting
