"""The comparison set of the tail, walk-forward: every past week forecast by models fitted only on what came before.

Models of one line are refitted for each pair at every cut and filtered weekly; the scale model is refitted for all
pairs together. All forecast the same rows, so their scores compare.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from joblib import Parallel, delayed

from features.contracts import HORIZONS, TAIL_COLUMNS, Dataset, History, TimeArray
from features.errors import DataContractError
from models.curve import QUANTILE_COLUMNS
from models.schedule import Plan, day_text, forecast_rows, refit_cuts
from models.settings import TreeSettings
from training.fit import cut_time
from training.tail_rivals import RIVALS, Week, shortage
from training.tail_scale import scale_tails
from training.tail_yardstick import TailSettings

SCALE = "lightgbm_scale"
MODELS: tuple[str, ...] = (*RIVALS, SCALE)
_INDEX = ["pair", "decision_date", "horizon_weeks"]


@dataclass(frozen=True, eq=False)
class _Block:
    """One pair between two cuts: its line, the time of the refit, and of each decision what frames it."""

    pair: str
    line: History
    cut: np.datetime64
    cut_at: np.datetime64
    dates: TimeArray
    decision_at: TimeArray
    gaps: list[int]
    steps: list[dict[int, int]]


def tail_frames(
    dataset: Dataset,
    plan: Plan,
    *,
    models: Collection[str] = MODELS,
    settings: TailSettings | None = None,
    until: np.datetime64 | None = None,
    jobs: int = 2,
    progress: Callable[[str, int, int], None] = lambda stage, done, total: None,
) -> dict[str, pd.DataFrame]:
    """Forecast the tail of every row of the walk-forward with every model of the comparison set.

    Parameters
    ----------
    dataset : Dataset
    plan : Plan
        Schedule and trees (`settings.trees`).
    models : collection of str
        Of `MODELS`.
    settings : TailSettings, optional
        Window and paths of the models of one line.
    until : datetime64, optional
        Last decision that is forecast.
    jobs : int
        Processes.
    progress : callable
        Told (stage, done, total).

    Returns
    -------
    dict of str to pandas.DataFrame, indexed by (pair, decision_date, horizon_weeks)
        `TAIL_COLUMNS` and `QUANTILE_COLUMNS` (log returns, fractions) and `reason`, which says why they are missing.

    Raises
    ------
    DataContractError
        If a model is unknown or there is nothing to forecast.

    Information set: of each forecast, what was known at its decision; of its parameters, at the newest cut not after.
    """
    if unknown := sorted(set(models) - set(MODELS)):
        raise DataContractError(f"`models` must be of {', '.join(MODELS)}; got {', '.join(unknown)}")
    rivals = [name for name in RIVALS if name in models]
    blocks = list(_blocks(dataset, plan, until))
    if not blocks:
        raise DataContractError(f"market {dataset.market!r}: no row to forecast since {day_text(plan.first_decision)}")
    tasks = [delayed(_forecast_block)(block, rivals, settings or TailSettings()) for block in blocks if rivals]
    if SCALE in models:
        tasks += [
            delayed(_forecast_scale)(dataset, rows, cut, plan.settings.trees)
            for cut, rows in _cuts(dataset, plan, until)
        ]
    found: dict[str, list[pd.DataFrame]] = {name: [] for name in MODELS if name in models}
    for done, parts in enumerate(Parallel(n_jobs=jobs, return_as="generator")(tasks), start=1):
        for name, frame in parts.items():
            found[name].append(frame)
        progress("tail models", done, len(tasks))
    return {name: pd.concat(frames).sort_index() for name, frames in found.items()}


def _cuts(dataset: Dataset, plan: Plan, until: np.datetime64 | None) -> Iterator[tuple[np.datetime64, pd.MultiIndex]]:
    """Yield each cut and the rows it forecasts."""
    cuts = refit_cuts(dataset, plan)
    for cut, stop in zip(cuts, [*cuts[1:], None], strict=True):
        rows = forecast_rows(dataset, plan, cut, stop)
        if until is not None:
            rows = rows[rows.get_level_values("decision_date").to_numpy("datetime64[us]") <= until]
        if len(rows):
            yield cut, rows


def _blocks(dataset: Dataset, plan: Plan, until: np.datetime64 | None) -> Iterator[_Block]:
    for cut, rows in _cuts(dataset, plan, until):
        pairs = rows.get_level_values("pair")
        for pair in pairs.unique():
            mine = rows[pairs == pair]
            dates = mine.get_level_values("decision_date").to_numpy("datetime64[us]")
            entry = dataset.rows["entry_date"].reindex(mine).to_numpy("datetime64[us]")
            first = np.searchsorted(dataset.sessions, entry, side="right")
            exits = {h: _exit(dataset, str(pair), mine, h) for h in HORIZONS}
            last = {h: np.searchsorted(dataset.sessions, exits[h], side="right") for h in HORIZONS}
            gaps = first - np.searchsorted(dataset.sessions, dates, side="right")
            yield _Block(
                pair=str(pair),
                line=dataset.lines[str(pair)],
                cut=cut,
                cut_at=cut_time(dataset, cut),
                dates=dates,
                decision_at=dataset.rows["decision_at"].reindex(mine).to_numpy("datetime64[us]"),
                gaps=gaps.tolist(),
                steps=[{h: int(last[h][k] - first[k]) for h in HORIZONS} for k in range(len(mine))],
            )


def _exit(dataset: Dataset, pair: str, rows: pd.MultiIndex, horizon: int) -> TimeArray:
    days = rows.get_level_values("decision_date")
    keys = pd.MultiIndex.from_arrays([[pair] * len(days), days, [horizon] * len(days)], names=_INDEX)
    exits: TimeArray = dataset.outcomes["exit_date"].reindex(keys).to_numpy("datetime64[us]")
    return exits


def _forecast_block(block: _Block, rivals: list[str], settings: TailSettings) -> dict[str, pd.DataFrame]:
    """Fit each model at the block's cut and forecast its weeks."""
    dates, line = block.line.as_of(block.cut_at)
    inside = dates <= block.cut
    missing = shortage(line[inside, 0], settings)
    fitted: dict[str, Any] = {}
    if missing is None:
        fitted = {name: RIVALS[name].fit(dates[inside], line[inside, 0], settings) for name in rivals}
    found: dict[str, list[dict[str, object]]] = {name: [] for name in rivals}
    nothing = dict.fromkeys((*TAIL_COLUMNS, *QUANTILE_COLUMNS), np.nan)
    for place, day in enumerate(block.dates):
        keys = [{"pair": block.pair, "decision_date": day, "horizon_weeks": h} for h in HORIZONS]
        if missing is not None:
            for name in rivals:
                found[name] += [{**key, **nothing, "reason": missing} for key in keys]
            continue
        known, values = block.line.as_of(block.decision_at[place])
        until = known <= day
        seed = zlib.crc32(f"{block.pair}|{day_text(day)}".encode())
        week = Week(known[until], values[until, 0], block.gaps[place], block.steps[place], seed)
        for name in rivals:
            rows = RIVALS[name].forecast(fitted[name], week)
            found[name] += [{**key, **rows[h].columns(), "reason": ""} for key, h in zip(keys, HORIZONS, strict=True)]
    return {name: pd.DataFrame(rows).set_index(_INDEX) for name, rows in found.items()}


def _forecast_scale(
    dataset: Dataset, rows: pd.MultiIndex, cut: np.datetime64, settings: TreeSettings
) -> dict[str, pd.DataFrame]:
    return {SCALE: scale_tails(dataset, rows, cut, settings)}
