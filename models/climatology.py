"""Expanding climatology: the base rate that a forecast must beat, from matured outcomes only."""

from __future__ import annotations

from typing import cast

import numpy as np
import pandas as pd

from features.contracts import EVENTS, Dataset, Event, FloatArray

FULL_WEEKS = 52
"""From this many matured outcomes on, the base rate is their plain mean; below, the market's pool fills up."""
_FIRST_GUESS: dict[Event, float] = {"switch": 0.16, "large": 0.5, "crash": 0.11}
"""Normal tail probabilities of one week, for the first weeks of a market; worth `_FIRST_GUESS_WEEKS` outcomes."""
_FIRST_GUESS_WEEKS = 26
SHARED_WEEKS = 104
"""Weight of all pairs together in the level from which the heads start, in independent weeks of one pair."""


def climatology(dataset: Dataset) -> pd.DataFrame:
    """Return the base rate of every event at every row.

    The expanding mean of the matured outcomes of the same pair, horizon and, for the switch, style in force. While it
    rests on fewer than 52 outcomes, the mean over all pairs and styles of the market fills the rest. It keeps half an
    outcome away from 0 and 1.

    Parameters
    ----------
    dataset : Dataset

    Returns
    -------
    pandas.DataFrame, indexed like `dataset.outcomes`
        For each event `EVENT` (the base rate), `EVENT_shared` (the same shrunk towards all pairs of the market, from
        which the heads start) and `EVENT_n` (how many outcomes of its own the base rate rests on).

    Information set: outcomes with matured_at <= the decision.
    """
    outcomes = dataset.outcomes
    keys = cast(pd.MultiIndex, outcomes.index).droplevel("horizon_weeks")
    style = dataset.rows["style"].reindex(keys).to_numpy(np.int64)
    decision_at = dataset.rows["decision_at"].reindex(keys).to_numpy("datetime64[us]")
    matured_at = outcomes["matured_at"].to_numpy("datetime64[us]")
    pair = outcomes.index.get_level_values("pair").to_numpy()
    horizon = outcomes.index.get_level_values("horizon_weeks").to_numpy()
    result = pd.DataFrame(index=outcomes.index)
    for event in EVENTS:
        y = outcomes[f"y_{event}"].to_numpy(np.float64)
        base = np.full(len(y), np.nan)
        shared = np.full(len(y), np.nan)
        own = np.zeros(len(y))
        for weeks in np.unique(horizon):
            block = horizon == weeks
            pool_sum, pool_count = _matured(y[block], matured_at[block], decision_at[block])
            pool = (pool_sum + _FIRST_GUESS_WEEKS * _FIRST_GUESS[event]) / (pool_count + _FIRST_GUESS_WEEKS)
            side = style[block] if event == "switch" else np.zeros(int(block.sum()), np.int64)
            group = pd.factorize(pd.MultiIndex.from_arrays([pair[block], side]))[0]
            rate = np.full(int(block.sum()), np.nan)
            level = np.full(int(block.sum()), np.nan)
            count = np.zeros(int(block.sum()))
            for code in range(group.max() + 1):
                member = group == code
                own_sum, own_count = _matured(y[block][member], matured_at[block][member], decision_at[block][member])
                fill = np.maximum(FULL_WEEKS - own_count, 0)
                rate[member] = (own_sum + fill * pool[member]) / (own_count + fill)
                count[member] = own_count
                mates = side == side[member][0]
                mate_sum, mate_count = _matured(y[block][mates], matured_at[block][mates], decision_at[block][member])
                mean = (mate_sum + _FIRST_GUESS_WEEKS * pool[member]) / (mate_count + _FIRST_GUESS_WEEKS)
                level[member] = (own_sum + SHARED_WEEKS * weeks * mean) / (own_count + SHARED_WEEKS * weeks)
            edge = 0.5 / (np.maximum(count, FULL_WEEKS) + 1)
            base[block] = np.clip(rate, edge, 1 - edge)
            shared[block] = np.clip(level, edge, 1 - edge)
            own[block] = count
        result[event] = base
        result[f"{event}_shared"] = shared
        result[f"{event}_n"] = own
    return result


def _matured(y: FloatArray, matured_at: np.ndarray, at: np.ndarray) -> tuple[FloatArray, FloatArray]:
    """Sum and count of the outcomes matured at each time."""
    known = np.isfinite(y)
    order = np.argsort(matured_at[known], kind="stable")
    times = matured_at[known][order]
    sums = np.concatenate([[0.0], np.cumsum(y[known][order])])
    count = np.searchsorted(times, at, side="right")
    return sums[count], count.astype(np.float64)
