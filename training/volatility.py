"""Volatility refits on the fixed schedule, carried back to the first one that the data allow, and what they imply."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
from joblib import Parallel, delayed

from features.contracts import Dataset, TimeArray
from models.implied import Refits, implied_probabilities
from models.schedule import Plan, refit_cuts
from models.volatility import ScenarioSettings, VolatilityParams, components, fit_volatility

_CHUNK = 26
"""Decision days simulated by one task."""


def volatility_cuts(dataset: Dataset, plan: Plan) -> TimeArray:
    """Return every decision day at which volatility is refitted: the refit schedule, carried back to the first week."""
    weeks = dataset.clock.index.to_numpy("datetime64[us]")
    first = int(np.searchsorted(weeks, refit_cuts(dataset, plan)[0]))
    return weeks[first % plan.refit_weeks :: plan.refit_weeks]


def fit_volatilities(
    dataset: Dataset,
    cuts: TimeArray,
    settings: ScenarioSettings,
    *,
    jobs: int = 2,
    progress: Callable[[str, int, int], None] = lambda stage, done, total: None,
) -> Refits:
    """Fit the volatility of every segment at every cut.

    Information set: of each cut, closes known at its decision time.
    """
    workers = Parallel(n_jobs=jobs, return_as="generator")
    at = dataset.clock["decision_at"].reindex(cuts).to_numpy("datetime64[us]")
    fitted: dict[np.datetime64, dict[str, VolatilityParams | None]] = {}
    tasks = (delayed(_fit_cut)(dataset, settings, cut, time) for cut, time in zip(cuts, at, strict=True))
    for cut, params in zip(cuts, workers(tasks), strict=True):
        fitted[cut] = params
        progress("volatility", len(fitted), len(cuts))
    return fitted


def _fit_cut(
    dataset: Dataset, settings: ScenarioSettings, cut: np.datetime64, at: np.datetime64
) -> dict[str, VolatilityParams | None]:
    held = components(dataset.closes, dataset.segments, at, cut)
    return {
        segment: fit_volatility(held[segment], settings) if segment in held else None for segment in dataset.segments
    }


def implied_history(
    dataset: Dataset,
    volatility: Refits,
    settings: ScenarioSettings,
    *,
    jobs: int = 2,
    progress: Callable[[str, int, int], None] = lambda stage, done, total: None,
) -> pd.DataFrame:
    """Return the implied probabilities of every row of the dataset, see `models.implied.implied_probabilities`.

    Information set: of each row, closes known at its decision, and parameters of a cut not later.
    """
    days = np.unique(dataset.rows.index.get_level_values("decision_date").to_numpy("datetime64[us]"))
    chunks = [days[start : start + _CHUNK] for start in range(0, len(days), _CHUNK)]
    workers = Parallel(n_jobs=jobs, return_as="generator")
    frames = []
    for frame in workers(delayed(implied_probabilities)(dataset, volatility, chunk, settings) for chunk in chunks):
        frames.append(frame)
        progress("scenarios", len(frames), len(chunks))
    implied: pd.DataFrame = pd.concat([frame for frame in frames if len(frame)] or frames[:1])
    return implied
