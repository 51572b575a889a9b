"""What each family of drivers adds: the heads with and without it, on the same weeks, against the same climatology."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from features.contracts import EVENTS, FAMILIES, HORIZONS, Dataset
from models.schedule import Plan
from training.heads_walk import Start, heads_walk, prepare, with_features
from training.score_tables import POOLED, matured_sample, score_table
from training.scores import log_loss
from training.tail_scores import loss_difference

FULL = "all families"
_SCORES = (
    "event", "horizon_weeks", "pair", "n", "skill_log_loss", "skill_low", "skill_high", "sharpness",
)  # fmt: skip
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, eq=False)
class Ablation:
    """Table of `ablation_table` and the same as markdown."""

    table: pd.DataFrame
    markdown: str


def variants(dataset: Dataset) -> dict[str, list[str]]:
    """Return the features of every variant that has something to leave out, the whole catalogue first."""
    named = {info.name: info for info in dataset.features}
    kept = {FULL: list(named)}
    families = [family for family in FAMILIES if any(info.family == family for info in named.values())]
    for family in families:
        kept[f"without {family}"] = [name for name, info in named.items() if info.family != family]
    kept["style and calendar alone"] = [name for name, info in named.items() if info.family in ("style", "calendar")]
    kept["without today's vintages"] = [name for name, info in named.items() if info.vintage != "current"]
    kept["no driver"] = []
    return {name: names for name, names in kept.items() if name == FULL or len(names) < len(named)}


def ablation(
    dataset: Dataset,
    plan: Plan,
    *,
    until: np.datetime64 | None = None,
    seeds: int = 5,
    start: Start | None = None,
    jobs: int = 2,
    progress: Progress = lambda stage, done, total: None,
) -> Ablation:
    """Run the walk-forward of the heads once for every variant of the catalogue.

    Parameters
    ----------
    dataset : Dataset
    plan : Plan
    until : datetime64, optional
        Last decision that is forecast; until a configuration is frozen nobody looks at later years.
    seeds : int
        Of the trees, fewer than in the study: a variant is compared with the whole catalogue on as many.
    start : Start, optional
        What `prepare` returns, where it is at hand.
    jobs : int
    progress : callable
        Told (stage, done, total).

    Information set: of each forecast, what was known at its decision; of the scores, matured outcomes.
    """
    few = replace(plan, settings=replace(plan.settings, trees=replace(plan.settings.trees, seeds=seeds)))
    start = start or prepare(dataset, few, jobs=jobs, progress=progress)
    forecasts = {}
    chosen = variants(dataset)
    for done, (name, names) in enumerate(chosen.items(), start=1):
        forecasts[name] = heads_walk(with_features(dataset, names), few, start, jobs=jobs, until=until)[0]
        progress("variants", done, len(chosen))
    table = ablation_table(forecasts)
    return Ablation(table, ablation_markdown(table, dataset, until))


def ablation_table(forecasts: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """Score variants, and what each loses against the first of them.

    Returns
    -------
    pandas.DataFrame
        `variant, event, horizon_weeks, pair`, `n`, `skill_log_loss` with its interval, `sharpness`, and `change`, the
        mean log loss less that of the first variant, as a fraction of climatology's, with its 90% interval `change_low,
        change_high`: above zero the variant lost. Missing where the two do not forecast the same rows.

    Information set: matured outcomes.
    """
    rows: list[dict[str, object]] = []
    whole = next(iter(forecasts.values()))
    for name, frame in forecasts.items():
        for scored in score_table(frame).to_dict("records"):
            event, horizon, pair = scored["event"], int(scored["horizon_weeks"]), str(scored["pair"])
            sample, full = (matured_sample(_part(part, pair, horizon), event) for part in (frame, whole))
            row = {"variant": name} | {str(key): scored[key] for key in _SCORES}
            if len(sample.y) and len(sample.y) == len(full.y):
                base = log_loss(sample.base, sample.y).mean()
                gap = loss_difference(log_loss(sample.p, sample.y), log_loss(full.p, full.y), sample.dates)
                row |= {"change": gap.mean / base, "change_low": gap.low / base, "change_high": gap.high / base}
            rows.append(row)
    return pd.DataFrame(rows)


def ablation_markdown(table: pd.DataFrame, dataset: Dataset, until: np.datetime64 | None) -> str:
    """Return the pooled rows: skill of the whole catalogue, then what leaving each family out does to it."""
    pooled = table[table["pair"] == (POOLED if (table["pair"] == POOLED).any() else table["pair"].iloc[0])]
    keys = [(event, horizon) for horizon in HORIZONS for event in EVENTS]
    lines = [["variant", *(f"{event} {horizon}w" for event, horizon in keys)], ["---"] * (len(keys) + 1)]
    for name in dict.fromkeys(pooled["variant"]):
        cells = []
        for event, horizon in keys:
            mine = (pooled["variant"] == name) & (pooled["event"] == event) & (pooled["horizon_weeks"] == horizon)
            row = pooled[mine].iloc[0]
            names = ("skill_log_loss", "skill_low", "skill_high")
            if name != FULL:
                names = ("change", "change_high", "change_low")
            sign = 1.0 if name == FULL else -1.0
            value, low, high = (sign * 100 * float(row[part]) for part in names)
            cells.append("-" if not np.isfinite(value) else f"{value:+.2f} [{low:+.1f}, {high:+.1f}]")
        lines.append([str(name), *cells])
    label = "SIMULATED. " if dataset.simulated else ""
    span = "" if until is None else f", decisions to {until.astype('datetime64[D]')}"
    title = (
        f"{label}Log-loss skill of the heads against climatology in percent, all pairs{span}, and below it what each "
        "variant adds (below zero: what it leaves out had helped); 90% intervals\n\n"
    )
    return title + "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def _part(frame: pd.DataFrame, pair: str, horizon: int) -> pd.DataFrame:
    mine = frame["horizon_weeks"] == horizon
    return frame[mine] if pair == POOLED else frame[mine & (frame["pair"] == pair)]
