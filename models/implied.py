"""Event probabilities that the untilted scenario set implies: where the heads start from.

They know the state of volatility, fat tails and the path between entries, and nothing of macro, flows or yields.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from features.contracts import EVENTS, HORIZONS, Dataset
from models.scenarios import ScenarioSet
from models.simulate import PairState, Timing, path_events, simulate, timing
from models.volatility import ScenarioSettings, VolatilityParams, components

Refits = Mapping[np.datetime64, Mapping[str, VolatilityParams | None]]
"""Volatility parameters of every segment by the cut at which they were fitted."""


def pair_states(dataset: Dataset, day: np.datetime64) -> dict[str, PairState]:
    """Return what the events of every pair with a row on a day are measured by."""
    index, at = dataset.rows.index, pd.Timestamp(day)
    place = {pair: index.get_loc((pair.name, at)) for pair in dataset.pairs if (pair.name, at) in index}
    sigma, style = (dataset.rows[name].to_numpy() for name in ("sigma", "style"))
    return {
        pair.name: PairState(pair.large, pair.small, float(sigma[row]), int(style[row])) for pair, row in place.items()
    }


def held_states(dataset: Dataset, day: np.datetime64, scenarios: ScenarioSet) -> dict[str, PairState]:
    """Return the states of the pairs whose two segments are in a day's scenario set."""
    return {
        pair: state
        for pair, state in pair_states(dataset, day).items()
        if {state.large, state.small} <= set(scenarios.segments)
    }


def untilted(
    dataset: Dataset, volatility: Refits, day: np.datetime64, settings: ScenarioSettings
) -> tuple[ScenarioSet, Timing] | None:
    """Simulate the scenario set of a decision with the newest parameters whose cut is not later.

    Returns
    -------
    (ScenarioSet, Timing) or None
        None where nothing was fitted that early or too few segments can enter.

    Information set: rows with known_at <= the decision.
    """
    cuts = [cut for cut in volatility if cut <= day]
    if not cuts or all(params is None for params in volatility[max(cuts)].values()):
        return None
    at = dataset.clock["decision_at"].to_numpy("datetime64[us]")[dataset.clock.index == pd.Timestamp(day)][0]
    when = timing(dataset.sessions, day)
    held = components(dataset.closes, dataset.segments, at, day)
    scenarios = simulate(held, volatility[max(cuts)], when, settings)
    return None if scenarios is None else (scenarios, when)


def implied_probabilities(
    dataset: Dataset, volatility: Refits, days: np.ndarray, settings: ScenarioSettings
) -> pd.DataFrame:
    """Read the implied probability of every event off the untilted set of each day.

    Parameters
    ----------
    dataset : Dataset
    volatility : mapping of cut to (mapping of segment to VolatilityParams or None)
    days : array of datetime64[us]
        Decision days.
    settings : ScenarioSettings

    Returns
    -------
    pandas.DataFrame, indexed by (pair, decision_date, horizon_weeks)
        `EVENT_implied` for each event, kept half a path off 0 and 1 (DESIGN section 5); no row where there is no set.

    Information set: of each row, rows with known_at <= its decision, and parameters of a cut not later.
    """
    records = []
    for day in days:
        drawn = untilted(dataset, volatility, day, settings)
        if drawn is None:
            continue
        scenarios, when = drawn
        edge = 1.0 / (settings.paths + 2)
        for pair, state in held_states(dataset, day, scenarios).items():
            for horizon in HORIZONS:
                happened = path_events(scenarios, state, when.points, horizon)
                shares = [float(np.clip(happened[event].mean(), edge, 1 - edge)) for event in EVENTS]
                records.append((pair, pd.Timestamp(day), horizon, *shares))
    names, shares_of = ["pair", "decision_date", "horizon_weeks"], [f"{event}_implied" for event in EVENTS]
    frame = pd.DataFrame(records, columns=[*names, *shares_of])
    frame["decision_date"] = frame["decision_date"].astype("datetime64[us]")
    frame["horizon_weeks"] = frame["horizon_weeks"].astype(np.int64)
    return frame.set_index(names).astype(np.float64)
