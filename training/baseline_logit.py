"""The shrunk logit through which baselines are read: the base rate plus what their columns taught by the cut.

A ridge logit with the base rate's log-odds as offset, pooled over pairs, refitted at the same cuts with the same purge
as the heads. Coefficients are shrunk to zero: a baseline that learned nothing says the base rate.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, cast

import numpy as np
import pandas as pd
from scipy.special import expit

from features.contracts import EVENTS, BoolArray, Dataset, Event, FloatArray, IntArray, TimeArray
from models.linear import fit_ridge_logit
from training.scores import log_odds

PENALTY = 20.0
"""Shrinkage of every coefficient, the intercept included, in independent weeks."""
MIN_DATES = 104
"""Matured decision dates below which a baseline says the base rate."""

Supply = Callable[[np.datetime64], Mapping[Event, FloatArray]]
"""Columns of every event at a cut, each of shape (rows of `base`, k), missing where an input is.

Information set of each row: what was known at its decision; parameters learned before the cut.
"""


@dataclass(frozen=True, eq=False)
class Inputs:
    """What every baseline is given.

    Parameters
    ----------
    dataset : Dataset
    base : pandas.DataFrame, indexed by (pair, decision_date, horizon_weeks)
        `p_switch_base, p_large_base, p_crash_base` as known at each decision; every row has one in `dataset.rows`.
    cuts : array of datetime64[us], shape (c,), ascending
        Refits. A row uses the newest cut that is not after its decision.
    implied : pandas.DataFrame, optional
        `EVENT_implied` of `models.implied`, indexed like `base`; missing where there is no scenario set.
    """

    dataset: Dataset
    base: pd.DataFrame
    cuts: TimeArray
    implied: pd.DataFrame | None = None

    @cached_property
    def place(self) -> IntArray:
        """Place in `dataset.rows` of each row of `base`."""
        keys = cast(pd.MultiIndex, self.base.index).droplevel("horizon_weeks")
        return np.asarray(self.dataset.rows.index.get_indexer(keys))

    @cached_property
    def style(self) -> FloatArray:
        """Style in force of each row of `base`: +1 small, -1 large."""
        return self.dataset.rows["style"].to_numpy(np.float64)[self.place]

    @cached_property
    def horizon(self) -> IntArray:
        """Weeks of each row of `base`."""
        return self.base.index.get_level_values("horizon_weeks").to_numpy(np.int64)

    @cached_property
    def decision_at(self) -> TimeArray:
        """Decision time of each row of `base`, UTC."""
        return self.dataset.rows["decision_at"].to_numpy("datetime64[us]")[self.place]

    def rate(self, event: Event) -> FloatArray:
        """Return the base rate of each row of `base`."""
        return self.base[f"p_{event}_base"].to_numpy(dtype=np.float64, na_value=np.nan)

    def block(self, number: int) -> BoolArray:
        """Tell which rows of `base` have that cut as their newest."""
        newest: BoolArray = np.searchsorted(self.cuts, self.decision_at, side="right") - 1 == number
        return newest


class Rows(NamedTuple):
    """Rows of one event and horizon: their places in `base`, and what a fit needs of them; each of shape (n,)."""

    place: IntArray
    y: FloatArray
    decision_at: TimeArray
    matured_at: TimeArray
    weight: FloatArray

    def matured(self, cut: np.datetime64) -> BoolArray:
        """Tell which outcomes are known and matured before the cut; a missing maturity is before nothing."""
        known: BoolArray = np.isfinite(self.y) & (self.matured_at < cut)
        return known


def event_rows(inputs: Inputs, event: Event, horizon: int) -> Rows:
    """Return the rows of an event and horizon.

    A date weighs like the root of its pairs, which move together, over the horizon, whose outcomes overlap.
    """
    place = np.flatnonzero(inputs.horizon == horizon)
    outcomes = inputs.dataset.outcomes.reindex(inputs.base.index[place])
    decision_at = inputs.decision_at[place]
    _, date, counts = np.unique(decision_at, return_inverse=True, return_counts=True)
    return Rows(
        place=place,
        y=outcomes[f"y_{event}"].to_numpy(dtype=np.float64, na_value=np.nan),
        decision_at=decision_at,
        matured_at=outcomes["matured_at"].to_numpy("datetime64[us]"),
        weight=1 / (np.sqrt(counts[date]) * horizon),
    )


def walk_logit(inputs: Inputs, supply: Supply) -> pd.DataFrame:
    """Forecast every row with a logit on supplied columns, refitted at every cut.

    Parameters
    ----------
    inputs : Inputs
    supply : callable
        Gives the columns at a cut.

    Returns
    -------
    pandas.DataFrame, indexed like `inputs.base`
        `p_switch, p_large, p_crash`; missing before the first cut and where the base rate is. The base rate where a
        column is missing, and everywhere until 104 dates have matured.

    Information set: columns and base rate of the row; outcomes with matured_at < the cut.
    """
    columns = {event: np.full(len(inputs.base), np.nan) for event in EVENTS}
    tasks = [(event, event_rows(inputs, event, horizon)) for event in EVENTS for horizon in np.unique(inputs.horizon)]
    offsets = {event: log_odds(inputs.rate(event)) for event in EVENTS}
    for number, cut in enumerate(inputs.cuts):
        block = inputs.block(number)
        if not block.any():
            continue
        x = supply(cut)
        for event, rows in tasks:
            offset, values = offsets[event][rows.place], x[event][rows.place]
            usable = np.isfinite(values).all(axis=1) & np.isfinite(offset)
            target = block[rows.place]
            columns[event][rows.place[target]] = offset[target]
            learned = _learned(rows, values, offset, usable & rows.matured(cut), usable & target)
            columns[event][rows.place[usable & target]] += learned
    return pd.DataFrame({f"p_{event}": expit(columns[event]) for event in EVENTS}, index=inputs.base.index)


def _learned(rows: Rows, x: FloatArray, offset: FloatArray, train: BoolArray, target: BoolArray) -> FloatArray:
    """Log-odds beyond the base rate at the rows `target`, learned on `train`; zero while there are too few."""
    if len(np.unique(rows.decision_at[train])) < MIN_DATES or np.ptp(rows.y[train]) == 0:
        return np.zeros(int(target.sum()))
    mean, std = x[train].mean(axis=0), x[train].std(axis=0)
    std = np.where(std > 0, std, 1.0)
    fit = fit_ridge_logit(
        (x[train] - mean) / std, rows.y[train], offset[train], rows.weight[train], PENALTY, intercept_penalty=PENALTY
    )
    return fit.decision_function((x[target] - mean) / std)


class Column(NamedTuple):
    """One column of a baseline: a state, where it points to, and the events that it is used for.

    A column `along` the style in force asks what the switch asks, so for events about a segment it is turned by the
    style; one that speaks for `small` is turned for the switch; `neither` is never turned.
    """

    name: str
    points: str
    events: tuple[Event, ...] = EVENTS


def laid_out(inputs: Inputs, states: pd.DataFrame, columns: Sequence[Column]) -> dict[Event, FloatArray]:
    """Lay out the columns of every event from states.

    Parameters
    ----------
    inputs : Inputs
    states : pandas.DataFrame, indexed like `inputs.dataset.rows`
        A state that is not there is missing everywhere.
    columns : sequence of Column

    Returns
    -------
    dict of event to array, shape (rows of `base`, k)
    """
    held = states.reindex(columns=[column.name for column in columns]).to_numpy(np.float64)[inputs.place]
    turn = inputs.style[:, None]
    result: dict[Event, FloatArray] = {}
    for event in EVENTS:
        used = [column for column in columns if event in column.events]
        places = [columns.index(column) for column in used]
        turned = np.array([column.points == ("small" if event == "switch" else "along") for column in used], bool)
        result[event] = held[:, places] * np.where(turned[None, :], turn, 1.0)
    return result
