"""A study: walk-forward, scores, folds and explanation of one configuration on one market."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Collection
from dataclasses import asdict
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd

from features.contracts import EVENTS, Dataset, Event
from features.errors import DataContractError
from models.bundle import Bundle
from models.climatology import climatology
from models.explain import explain
from models.schedule import Plan, bundle_folder, bundle_root, day_text, forecast_rows, refit_cuts
from training.baselines import CLIMATOLOGY, NAMES, baseline_forecasts, with_probabilities
from training.plots import Contributions
from training.score_tables import POOLED, score_table, yearly_table
from training.scores import log_loss
from training.study import Study, shown_rows
from training.walkforward import walk_forward

_RESULTS = ("skill_log_loss", "skill_low", "skill_high", "n", "base_rate", "sharpness", "slope_vs_base", "noise_floor")
_PSEUDO = ("intercept", "calibration", "coherence")


def run_study(
    dataset: Dataset,
    plan: Plan,
    artifacts: Path,
    *,
    scored_until: date | None = None,
    jobs: int = 2,
    progress: Callable[[str, int, int], None] = lambda stage, done, total: None,
) -> Study:
    """Run the walk-forward and score it.

    Parameters
    ----------
    dataset : Dataset
    plan : Plan
    artifacts : Path
        Finished bundles are kept below it and reused.
    scored_until : date, optional
        Scores, plots and folds stop at this decision, and bundles that learned from later years are not shown; the
        forecasts run to the end. Until a configuration is frozen the later years are not looked at.
    jobs : int
    progress : callable
        Told (stage, done, total).
    """
    root = bundle_root(artifacts, dataset.market, plan)
    walked = walk_forward(dataset, plan, root, jobs=jobs, progress=progress)
    last = walked.bundles[-1]
    shown = shown_rows(walked.forecasts, scored_until)
    shown_bundles = tuple(b for b in walked.bundles if scored_until is None or b.cut <= np.datetime64(scored_until))
    stop = None if scored_until is None else np.datetime64(scored_until, "us") + np.timedelta64(1, "D")
    shown_block = forecast_rows(dataset, plan, shown_bundles[-1].cut, stop) if shown_bundles else None
    return Study(
        market=dataset.market,
        simulated=dataset.simulated,
        config={"market_hash": plan.market_hash, "scored_until": str(scored_until), **asdict(plan.settings)},
        config_hash=plan.config_hash,
        snapshot_id=str(walked.forecasts["snapshot_id"].iloc[-1]),
        git_commit=git_commit(),
        forecasts=walked.forecasts,
        scores=score_table(shown),
        yearly=yearly_table(shown),
        folds=fold_table(shown, dataset, shown_bundles),
        cut=day_text(last.cut),
        bundle_dir=bundle_folder(root, last.cut, last.snapshot_id),
        scored_until=scored_until,
        tails=walked.tails,
        implied=walked.base[[f"{event}_implied" for event in EVENTS]],
        contributions=(
            {} if shown_block is None else last_contributions(dataset, shown_bundles[-1], shown_block, walked.base)
        ),
    )


def fold_table(forecasts: pd.DataFrame, dataset: Dataset, bundles: tuple[Bundle, ...]) -> pd.DataFrame:
    """Return one row per refit: rows known before the cut, and 4-week log loss against the base in the fold."""
    dates = dataset.rows.index.get_level_values("decision_date").to_numpy("datetime64[us]")
    rows = []
    for bundle in bundles:
        fold = forecasts[(forecasts["bundle_cut"] == bundle.cut) & (forecasts["horizon_weeks"] == 4)]
        row: dict[str, object] = {"cut": pd.Timestamp(bundle.cut), "n_train": int((dates < bundle.cut).sum())}
        for event in EVENTS:
            usable = fold[fold[f"y_{event}"].notna() & fold[f"p_{event}"].notna()]
            y = usable[f"y_{event}"].to_numpy(np.float64)
            for name, column in (("model", f"p_{event}"), ("base", f"p_{event}_base")):
                loss = log_loss(usable[column].to_numpy(np.float64), y)
                row[f"log_loss_{event}_{name}"] = float(loss.mean()) if len(loss) else float("nan")
            head = bundle.heads[event, 4]
            row[f"pool_{event}"], row[f"slope_{event}"] = head.pool, head.slope
        rows.append(row)
    return pd.DataFrame(rows)


def last_contributions(
    dataset: Dataset, bundle: Bundle, rows: pd.MultiIndex, base: pd.DataFrame
) -> dict[Event, Contributions]:
    """Explain the 4-week heads of a bundle on rows that it may forecast."""
    result = {}
    for event, explanation in explain(bundle, dataset, rows, base, 4).items():
        kept = [
            place
            for place, name in enumerate(explanation.names)
            if name not in _PSEUDO and name in dataset.values.columns
        ]
        names = tuple(explanation.names[place] for place in kept)
        values = dataset.values.loc[rows, list(names)].to_numpy(np.float64)
        result[event] = Contributions(names, values, explanation.contributions[:, kept])
    return result


def baseline_table(
    forecasts: pd.DataFrame,
    dataset: Dataset,
    plan: Plan,
    implied: pd.DataFrame | None = None,
    *,
    names: Collection[str] = NAMES,
    progress: Callable[[str, int, int], None] = lambda stage, done, total: None,
) -> pd.DataFrame:
    """Return the pooled and per-pair score table of the heads and of every baseline on the same rows.

    Parameters
    ----------
    forecasts : pandas.DataFrame
        Rows of the walk-forward; baselines are forecast up to the last of them.
    dataset : Dataset
    plan : Plan
    implied : pandas.DataFrame, optional
        `EVENT_implied`, what the untilted scenario set says; the scenario baselines need it.
    names : collection of str
        Baselines wanted; all by default.
    progress : callable
        Told (stage, done, total).

    Returns
    -------
    pandas.DataFrame
        `score_table` with the column `model`: `heads`, then baselines in the order of their registry.

    Raises
    ------
    DataContractError
        If there is nothing to score.
    """
    if forecasts.empty:
        raise DataContractError(
            f"market {dataset.market!r} is sealed: no decision of it may be scored; `capshift evaluate sealed` does"
        )
    known = rival_forecasts(forecasts, dataset, plan, implied, names=names, progress=progress)
    parts = {"heads": forecasts, **{name: with_probabilities(forecasts, frame) for name, frame in known.items()}}
    tables = [score_table(part).assign(model=name) for name, part in parts.items()]
    return pd.concat(tables, ignore_index=True)


def rival_forecasts(
    forecasts: pd.DataFrame,
    dataset: Dataset,
    plan: Plan,
    implied: pd.DataFrame | None = None,
    *,
    names: Collection[str] = NAMES,
    progress: Callable[[str, int, int], None] = lambda stage, done, total: None,
) -> dict[str, pd.DataFrame]:
    """Return what the baselines forecast up to the last of the heads' rows; parameters as `baseline_table`."""
    base = climatology(dataset)[list(EVENTS)].set_axis([f"p_{event}_base" for event in EVENTS], axis=1)
    last = forecasts["decision_date"].max()
    cuts = refit_cuts(dataset, plan)
    return baseline_forecasts(
        dataset,
        base[base.index.get_level_values("decision_date") <= last],
        cuts[cuts <= np.datetime64(last)],
        implied=implied,
        names=names,
        progress=progress,
    )


def results_markdown(table: pd.DataFrame, simulated: bool, scored_until: date | None) -> str:
    """Return the pooled rows of `baseline_table` as two markdown tables, skill in percent.

    The first shows the heads beside the best baseline of each event and horizon, with 90% intervals; the second the
    skill of every baseline.
    """
    pooled = table[table["pair"] == POOLED]
    models = [name for name in dict.fromkeys(pooled["model"].astype(str)) if name != "heads"]
    head = ["event", "weeks", "rows", "base rate", "sharpness", "slope", "noise", "heads", "best baseline"]
    lines = [head, ["---"] * len(head)]
    skills: dict[str, pd.Series] = {}
    for (event, weeks), group in pooled.groupby(["event", "horizon_weeks"], sort=False):
        numbers = group.set_index("model")[list(_RESULTS)].astype(np.float64)
        own = numbers.loc["heads"].to_dict()
        skills[f"{event} {weeks}w"] = numbers["skill_log_loss"]
        line = [str(event), str(weeks), f"{own['n']:.0f}", f"{100 * own['base_rate']:.1f}%", f"{own['sharpness']:.2f}"]
        line += [f"{own['slope_vs_base']:.1f}", f"{100 * own['noise_floor']:.1f}", _skill(numbers, "heads")]
        ranked = numbers.loc[models, "skill_log_loss"].fillna(-np.inf)
        best = str(ranked.index[int(np.argmax(ranked.to_numpy()))])
        lines.append([*line, f"{best} {_skill(numbers, best)}"])
    every = [["baseline", *skills], ["---"] * (1 + len(skills))]
    every += [[model, *(_percent(model, skill[model]) for skill in skills.values())] for model in models]
    label = "SIMULATED. " if simulated else ""
    until = f", decisions to {scored_until}" if scored_until else ""
    title = f"{label}Log-loss skill against climatology in percent, all pairs{until}"
    return f"{title}, 90% interval\n\n{_rows(lines)}\nEvery baseline\n\n{_rows(every)}"


def _skill(numbers: pd.DataFrame, model: str) -> str:
    skill, low, high = (100 * float(value) for value in numbers.loc[[model]].to_numpy()[0, :3])
    return "0" if model == CLIMATOLOGY else f"{skill:+.1f} [{low:+.1f}, {high:+.1f}]"


def _percent(model: str, skill: float) -> str:
    return "0" if model == CLIMATOLOGY else f"{100 * skill:+.1f}"


def _rows(lines: list[list[str]]) -> str:
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def git_commit() -> str:
    """Return the commit of the code, or ``unknown`` outside a checkout."""
    try:
        done = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=Path(__file__).parent, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return done.stdout.strip()
