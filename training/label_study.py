"""The heads under other definitions of the events: whether the conclusion hangs on how the labels were drawn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from features.contracts import EVENTS, HORIZONS, Dataset
from models.schedule import Plan
from training.evidence_sections import table as markdown_table
from training.heads_walk import Start, heads_walk, prepare
from training.label_sets import LABEL_SETS, LabelSet, with_labels
from training.parts import Parts, part_key
from training.score_tables import POOLED, score_table

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, eq=False)
class LabelStudy:
    """Table of `label_table`, and the page."""

    table: pd.DataFrame
    markdown: str


def label_study(
    dataset: Dataset,
    plan: Plan,
    artifacts: Path,
    *,
    until: np.datetime64 | None = None,
    seeds: int = 3,
    jobs: int = 2,
    progress: Progress = lambda stage, done, total: None,
) -> LabelStudy:
    """Walk the heads forward once for every definition, learned and scored on its own labels.

    The scenario set goes on speaking of the published events: its Platt learns what that is worth for others. Published
    probabilities stay nested (`models.coherence`); under `flip`, which is not nested, the projection may cost skill.

    Parameters
    ----------
    dataset : Dataset
    plan : Plan
    artifacts : Path
        Finished definitions are kept in ``ARTIFACTS/MARKET/evidence/KEY``: an interrupted run goes on.
    until : datetime64[us], optional
        Last decision that is forecast; until a configuration is frozen nobody looks at later years.
    seeds : int
        Of the trees, fewer than in production.
    jobs : int
    progress : callable
        Told (stage, done, total).

    Information set: of each forecast, what was known at its decision; of the scores, matured outcomes.
    """
    few = replace(plan, settings=replace(plan.settings, trees=replace(plan.settings.trees, seeds=seeds)))
    parts = Parts(artifacts / dataset.market / "evidence" / part_key(dataset, few, ["labels", str(until)]))
    held: list[Start] = []

    def walked(labels: LabelSet) -> pd.DataFrame:
        if not held:
            held.append(prepare(dataset, few, jobs=jobs, progress=progress))
        # Bundles of other labels are not those of the schedule: none are read, none kept.
        return heads_walk(with_labels(dataset, labels), few, held[0], jobs=jobs, until=until)[0]

    forecasts = {}
    for done, labels in enumerate(LABEL_SETS, start=1):
        forecasts[labels.name] = parts.frame(labels.name, partial(walked, labels))
        progress("definitions", done, len(LABEL_SETS))
    found = label_table(forecasts)
    return LabelStudy(found, label_markdown(found, dataset, until))


def label_table(forecasts: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """Score every definition on its own outcomes.

    Returns
    -------
    pandas.DataFrame
        `labels` and the columns of `training.score_tables.score_table`, and `happened`, how many rows had the event.
        Information set: matured outcomes.
    """
    scored = pd.concat([score_table(frame).assign(labels=name) for name, frame in forecasts.items()])
    happened = (scored["base_rate"] * scored["n"]).round()
    return scored.assign(happened=happened).reset_index(drop=True)


def label_markdown(found: pd.DataFrame, dataset: Dataset, until: np.datetime64 | None) -> str:
    """Return skill under every definition, and for each head under how many it is above zero."""
    whole = POOLED if (found["pair"] == POOLED).any() else str(found["pair"].iloc[0])
    rows = {
        (row["labels"], row["event"], row["horizon_weeks"]): row
        for row in found[found["pair"] == whole].to_dict("records")
    }
    heads = [(event, horizon) for horizon in HORIZONS for event in EVENTS]
    shown = [labels for labels in LABEL_SETS if (labels.name, *heads[0]) in rows]
    lines, verdicts = [], []
    for labels in shown:
        cells = []
        for head in heads:
            row = rows[labels.name, *head]
            skill, low, high = (100 * float(row[name]) for name in ("skill_log_loss", "skill_low", "skill_high"))
            cells.append(f"{skill:+.1f} [{low:+.1f}, {high:+.1f}] of {100 * row['base_rate']:.0f}%")
        lines.append([labels.name, labels.why, *cells])
    for event, horizon in heads:
        mine = [rows[labels.name, event, horizon] for labels in shown]
        above = sum(row["skill_log_loss"] > 0 for row in mine)
        clear = sum(row["skill_low"] > 0 for row in mine)
        hangs = "does not hang" if above in (0, len(mine)) else "hangs"
        verdicts.append(
            f"- {event} {horizon}w: skill above zero under {above} of {len(mine)} definitions, its interval under "
            f"{clear}; the sign {hangs} on the label."
        )
    label = "SIMULATED. " if dataset.simulated else ""
    span = "" if until is None else f", decisions to {until.astype('datetime64[D]')}"
    title = (
        f"{label}Log-loss skill of the heads of market {dataset.market} in percent{span}, each definition learned and "
        "scored on its own labels; 90% interval, and the base rate"
    )
    columns = ["labels", "what they say", *(f"{event} {horizon}w" for event, horizon in heads)]
    return f"{title}\n\n{markdown_table(columns, lines)}\n" + "\n".join(verdicts) + "\n"
