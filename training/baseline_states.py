"""Baselines from states that are inferred online: hidden Markov chain, jump model, switching autoregression.

At each cut a model is fitted to every pair's line as known before the cut, then filtered with those parameters over the
whole line: the logit learns from the very filter that it will read.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from features.contracts import Dataset, FloatArray, History
from features.pointintime import epochs
from models.gaussian_hmm import HmmParams, filter_hmm, fit_hmm, next_moments
from models.jump_model import filter_jump, fit_jump, jump_features
from models.markov_switching import filter_switching, fit_switching
from training.baseline_logit import Column, Inputs, laid_out, walk_logit

Online = Callable[[FloatArray], FloatArray]
"""From changes, shape (n,), to states, shape (n, k); row i uses rows up to i."""

LEADS, STORM = "leads", "storm"
_COLUMNS = (Column(LEADS, "small"), Column(STORM, "neither", ("switch", "crash")))


@dataclass(frozen=True)
class StateModel:
    """How a model is fitted and what it is fed.

    Parameters
    ----------
    fit : callable
        From the changes known before a cut to the online filter with the parameters learned from them.
    states : tuple of str
        Columns of the filter.
    weekly : bool
        Fed with changes between decisions, else with daily changes.
    min_changes : int
        Fewer changes before the cut and the pair has no state until the next.
    """

    fit: Callable[[FloatArray], Online]
    states: tuple[str, ...]
    weekly: bool
    min_changes: int


def _hmm(past: FloatArray) -> Online:
    params = fit_hmm(past)
    return lambda changes: _of_chain(filter_hmm(changes, params), params)


def _jump(past: FloatArray) -> Online:
    params = fit_jump(jump_features(past))
    return lambda changes: filter_jump(jump_features(changes), params)[:, None]


def _switching(past: FloatArray) -> Online:
    params = fit_switching(past)
    return lambda changes: _of_chain(filter_switching(changes, params), params.chain)


def _of_chain(leads: FloatArray, chain: HmmParams) -> FloatArray:
    """Say how likely small leads, and the log standard deviation of the next change."""
    return np.column_stack([leads, np.log(next_moments(leads, chain)[1])])


HMM = StateModel(_hmm, (LEADS, STORM), weekly=False, min_changes=500)
JUMP = StateModel(_jump, (LEADS,), weekly=False, min_changes=500)
SWITCHING = StateModel(_switching, (LEADS, STORM), weekly=True, min_changes=104)


def states_at(dataset: Dataset, model: StateModel, cut: np.datetime64) -> pd.DataFrame:
    """Return the states of every row, filtered with parameters that were known at a cut.

    Parameters
    ----------
    dataset : Dataset
        Of which `rows`, `lines` and `clock` are read.
    model : StateModel
    cut : datetime64[us]

    Returns
    -------
    pandas.DataFrame, indexed like `dataset.rows`
        The model's states; `storm` is told against the pair's weekly sigma. Missing where a pair's line was too short
        at the cut.

    Information set: of each row, closes with known_at <= its decision; parameters, closes with known_at < the cut.
    """
    held = np.full((len(dataset.rows), len(model.states)), np.nan)
    pairs = dataset.rows.index.get_level_values("pair")
    times = dataset.rows["decision_at"].to_numpy("datetime64[us]")
    for pair, line in dataset.lines.items():
        closes = _on_decisions(line, dataset) if model.weekly else line
        past = np.diff(closes.as_of(cut - np.timedelta64(1, "us"))[1][:, 0])
        rows = np.flatnonzero(pairs == pair)
        if len(past) < model.min_changes or len(rows) == 0:
            continue
        online = model.fit(past)
        rows = rows[np.argsort(times[rows], kind="stable")]
        for index, _, value, length in epochs(closes, times[rows]):
            filtered = online(np.diff(value[:, 0]))
            seen = length > 1
            held[rows[index[seen]]] = filtered[length[seen] - 2]
    states = pd.DataFrame(held, columns=list(model.states), index=dataset.rows.index)
    if STORM in model.states:
        states[STORM] -= np.log(dataset.rows["sigma"].to_numpy(np.float64))
    return states


def forecast_states(inputs: Inputs, model: StateModel) -> pd.DataFrame:
    """Forecast with the shrunk logit on a model's states, both refitted at every cut; see `walk_logit`."""
    return walk_logit(inputs, lambda cut: laid_out(inputs, states_at(inputs.dataset, model, cut), _columns(model)))


def _columns(model: StateModel) -> tuple[Column, ...]:
    return tuple(column for column in _COLUMNS if column.name in model.states)


def _on_decisions(line: History, dataset: Dataset) -> History:
    kept = np.isin(line.period, dataset.clock.index.to_numpy("datetime64[us]"))
    return History(line.period[kept], line.known_at[kept], line.value[kept])
