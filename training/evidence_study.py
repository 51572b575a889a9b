"""One evaluation of the heads from data to page: run, tables, figures, and what goes into the tracking server."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from features.contracts import HORIZONS, Dataset
from models.schedule import Plan, day_text
from training.alarm_table import alarm_records
from training.evidence import Evidence, gather
from training.evidence_markdown import Provenance, evidence_markdown
from training.evidence_plots import alarm_figure, corp_figure
from training.evidence_run import evidence_run
from training.experiment import git_commit
from training.plots import yearly_figure
from training.score_tables import POOLED
from training.trials import configurations, logged_trials
from training.verdicts import load_targets

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_METRICS = (
    "skill_log_loss",
    "skill_low",
    "skill_high",
    "skill_brier",
    "sharpness",
    "slope_vs_base",
    "noise_floor",
    "n",
)


@dataclass(frozen=True, eq=False)
class EvidenceStudy:
    """Evidence with its provenance and its page."""

    evidence: Evidence
    source: Provenance
    settings: Mapping[str, object]
    page: str

    @property
    def metrics(self) -> dict[str, float]:
        """Headline numbers of the heads by name, e.g. ``skill_log_loss.switch.4w.pooled``; missing ones left out."""
        found = {"trials": float(self.evidence.trials)}
        for row in self.evidence.heads.to_dict("records"):
            for name in _METRICS:
                found[f"{name}.{row['event']}.{row['horizon_weeks']}w.{row['pair']}"] = float(row[name])
        return {name: value for name, value in found.items() if np.isfinite(value)}


def evidence_study(
    dataset: Dataset,
    plan: Plan,
    artifacts: Path,
    *,
    until: np.datetime64 | None = None,
    looks: tuple[str, ...] = (),
    jobs: int = 2,
    progress: Callable[[str, int, int], None] = lambda stage, done, total: None,
) -> EvidenceStudy:
    """Evaluate the heads beside every baseline.

    Parameters
    ----------
    dataset : Dataset
    plan : Plan
    artifacts : Path
        Finished parts are kept below it and used again.
    until : datetime64[us], optional
        Last decision that is scored.
    looks : tuple of str
        Last decisions of earlier evaluations beyond the design years.
    jobs : int
    progress : callable
        Told (stage, done, total).

    Information set: of each forecast, what was known at its decision; of the scores, matured outcomes.
    """
    run = evidence_run(dataset, plan, artifacts, until=until, jobs=jobs, progress=progress)
    trials = configurations(logged_trials()) + len(looks)
    evidence = gather(run, load_targets(dataset.market), trials, progress=progress)
    first, last = (day_text(day) for day in (plan.first_decision, _last(run.heads)))
    option = "" if until is None else f" --until {day_text(until)}"
    source = Provenance(
        market=dataset.market,
        simulated=dataset.simulated,
        command=f"capshift evaluate heads --market {dataset.market}{option}",
        span=f"{first} to {last}",
        snapshot_id=str(dataset.clock["snapshot_id"].iloc[-1]),
        config_hash=plan.config_hash,
        git_commit=git_commit(),
        looks=looks,
    )
    return EvidenceStudy(evidence, source, asdict(plan.settings), evidence_markdown(evidence, source))


def write_evidence(study: EvidenceStudy, folder: Path) -> None:
    """Write page, tables and figures into a folder; files that are there are replaced.

    ``heads.md``, ``scores.csv``, ``comparisons.csv``, ``corp.csv``, ``noise.csv``, ``yearly.csv``, ``folds.csv``,
    ``rotation.csv``, ``alarms.csv``, ``verdicts.csv``, ``stability.csv``, ``families.csv``, ``config.json``, and
    ``corp_Hw.png``, ``yearly_Hw.png``, ``alarms_Hw.png``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    evidence = study.evidence
    tables: dict[str, pd.DataFrame] = {
        name: getattr(evidence, name)
        for name in ("scores", "comparisons", "corp", "noise", "yearly", "rotation", "alarms", "verdicts")
    }
    tables |= {"folds": evidence.run.folds, "stability": evidence.run.explained.table}
    tables |= {"families": evidence.run.explained.families}
    for name, table in tables.items():
        table.to_csv(folder / f"{name}.csv", index=False)
    (folder / "config.json").write_text(json.dumps(study.settings, indent=1, sort_keys=True), encoding="utf-8")
    for name, figure in _figures(study):
        figure.savefig(folder / f"{name}.png", dpi=110)
    # The page comes last: where it is, the rest is.
    (folder / "heads.md").write_text(study.page, encoding="utf-8")


def _figures(study: EvidenceStudy) -> Iterator[tuple[str, Figure]]:
    heads, simulated = study.evidence.run.heads, study.source.simulated
    pooled = study.evidence.yearly[study.evidence.yearly["pair"] == POOLED]
    for weeks in HORIZONS:
        yield f"corp_{weeks}w", corp_figure(heads, weeks, simulated)
        if (pooled["horizon_weeks"] == weeks).any():
            yield f"yearly_{weeks}w", yearly_figure(study.evidence.yearly, weeks, simulated)
        yield f"alarms_{weeks}w", alarm_figure(alarm_records(heads, weeks), weeks, simulated)


def _last(forecasts: pd.DataFrame) -> np.datetime64:
    last: np.datetime64 = forecasts["decision_date"].to_numpy("datetime64[us]").max()
    return last
