"""Baselines on the rows of the walk-forward: what a forecast must beat beside the base rate itself.

Every baseline is a ridge logit with the base rate's log-odds as offset, pooled over pairs, refitted at the same cuts
with the same purge as the heads. Coefficients are shrunk to zero: a baseline that learned nothing says the base rate.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.special import expit

from features.contracts import EVENTS, Dataset, Event, FloatArray, TimeArray
from features.errors import DataContractError
from models.linear import fit_ridge_logit
from training.scores import log_odds

PENALTY = 20.0
"""Shrinkage of every coefficient, the intercept included, in independent weeks."""
MIN_DATES = 104
"""Matured decision dates below which a baseline says the base rate."""

BASELINES: dict[str, tuple[tuple[str, bool], ...]] = {
    # (state, times the style in force when the event is about a segment rather than about the style)
    "persistence": (("style", False),),
    "momentum": (("style_momentum_4w", True), ("style_momentum_13w", True)),
    "ridge_logit": (
        ("vol_ratio", False), ("style_momentum_4w", True), ("style_momentum_13w", True), ("age", True),
        ("distance", True),
    ),
}  # fmt: skip
"""Columns of each baseline. States point along the style in force, which is what the switch asks for; "large wins"
and the crash ask for small minus large, so there they are turned by the style. Persistence has one tilt per style."""

_INDEX = ["pair", "decision_date", "horizon_weeks"]


class _Table(NamedTuple):
    """One event, horizon and baseline, all rows: columns, log-odds of the base rate, outcome, times, weight."""

    x: FloatArray
    offset: FloatArray
    y: FloatArray
    decision_at: TimeArray
    matured_at: TimeArray
    weight: FloatArray


def baseline_forecasts(dataset: Dataset, base: pd.DataFrame, cuts: TimeArray) -> dict[str, pd.DataFrame]:
    """Forecast every event with climatology, persistence, momentum and a ridge logit on the states, walk-forward.

    Parameters
    ----------
    dataset : Dataset
        Of which `rows` (style and states) and `outcomes` are read.
    base : pandas.DataFrame, indexed by (pair, decision_date, horizon_weeks)
        `p_switch_base, p_large_base, p_crash_base` as known at each decision. Rows before the first cut belong here
        too: they are what the first fits learn from.
    cuts : array of datetime64, shape (c,)
        Refits. A row uses the newest cut that is not after its decision.

    Returns
    -------
    dict of str to pandas.DataFrame
        "climatology", "persistence", "momentum" and "ridge_logit", each with the index of `base` and columns
        `p_switch, p_large, p_crash`; missing before the first cut and where a state or the base rate is missing.
        A baseline that at a cut has fewer than 104 matured dates says the base rate until the next cut.

    Raises
    ------
    DataContractError
        If `base` lacks a column or a row has no states.

    Information set: states and base rate of the row; outcomes with matured_at < the cut.
    """
    if missing := [name for name in (*_INDEX, *_base_columns()) if name not in base.reset_index().columns]:
        raise DataContractError(f"`base` lacks {', '.join(missing)}")
    keys = pd.MultiIndex.from_arrays([base.index.get_level_values(name) for name in _INDEX[:2]], names=_INDEX[:2])
    unknown = ~keys.isin(dataset.rows.index)
    if unknown.any():
        raise DataContractError(f"{int(unknown.sum())} rows of `base` have no states", base.loc[unknown])
    states = dataset.rows.reindex(keys)
    outcomes = dataset.outcomes.reindex(base.index)
    horizons = base.index.get_level_values("horizon_weeks").to_numpy(np.int64)
    ordered = np.sort(np.asarray(cuts, "datetime64[us]"))
    climatology = base[_base_columns()].set_axis([f"p_{event}" for event in EVENTS], axis="columns")
    result = {"climatology": climatology.astype(np.float64)}
    for name in BASELINES:
        columns: dict[str, FloatArray] = {f"p_{event}": np.full(len(base), np.nan) for event in EVENTS}
        for event in EVENTS:
            for horizon in np.unique(horizons):
                rows = horizons == horizon
                table = _table(name, event, states[rows], outcomes[rows], base[rows])
                columns[f"p_{event}"][rows] = _walk(table._replace(weight=table.weight / horizon), ordered)
        result[name] = pd.DataFrame(columns, index=base.index)
    return result


def with_probabilities(forecasts: pd.DataFrame, baseline: pd.DataFrame) -> pd.DataFrame:
    """Return the walk-forward's rows with a baseline's probabilities in place of its own, ready for the score table.

    Parameters
    ----------
    forecasts : pandas.DataFrame
        With columns `pair, decision_date, horizon_weeks`.
    baseline : pandas.DataFrame
        One of `baseline_forecasts`. Where the forecast itself abstained the baseline is left out too, so that both
        are scored on the same rows.
    """
    index = pd.MultiIndex.from_frame(forecasts[_INDEX])
    aligned = baseline.reindex(index)
    replaced = {
        f"p_{event}": np.where(forecasts[f"p_{event}"].isna(), np.nan, aligned[f"p_{event}"].to_numpy(np.float64))
        for event in EVENTS
    }
    return forecasts.assign(**replaced)


def _base_columns() -> list[str]:
    return [f"p_{event}_base" for event in EVENTS]


def _table(name: str, event: Event, states: pd.DataFrame, outcomes: pd.DataFrame, base: pd.DataFrame) -> _Table:
    """Lay out one baseline's rows; each date weighs like the root of its pairs, which move together."""
    style = states["style"].to_numpy(np.float64)
    turn = np.ones(len(states)) if event == "switch" else style
    x = np.column_stack(
        [states[column].to_numpy(np.float64) * (turn if turned else 1.0) for column, turned in BASELINES[name]]
    )
    decision_at = states["decision_at"].to_numpy("datetime64[us]")
    _, date, counts = np.unique(decision_at, return_inverse=True, return_counts=True)
    rate = base[f"p_{event}_base"].to_numpy(dtype=np.float64, na_value=np.nan)
    return _Table(
        x=x,
        offset=log_odds(rate),
        y=outcomes[f"y_{event}"].to_numpy(dtype=np.float64, na_value=np.nan),
        decision_at=decision_at,
        matured_at=outcomes["matured_at"].to_numpy("datetime64[us]"),
        weight=1 / np.sqrt(counts[date]),
    )


def _walk(table: _Table, cuts: TimeArray) -> FloatArray:
    """Probabilities of one table's rows, refitted at every cut."""
    complete = np.isfinite(table.x).all(axis=1) & np.isfinite(table.offset)
    p = np.full(len(table.y), np.nan)
    newest = np.searchsorted(cuts, table.decision_at, side="right") - 1
    for number, cut in enumerate(cuts):
        target = complete & (newest == number)
        if target.any():
            learned = _fit(table, complete & _matured(table, cut), table.x[target])
            p[target] = expit(table.offset[target] + learned)
    return p


def _matured(table: _Table, cut: np.datetime64) -> np.ndarray:
    """Rows whose outcome is known and matured before the cut; a missing maturity is never before anything."""
    known: np.ndarray = np.isfinite(table.y) & (table.matured_at < cut)
    return known


def _fit(table: _Table, train: np.ndarray, x: FloatArray) -> FloatArray:
    """Log-odds beyond the base rate at `x`, learned on the rows `train`; zero while there are too few."""
    if len(np.unique(table.decision_at[train])) < MIN_DATES or np.ptp(table.y[train]) == 0:
        return np.zeros(len(x))
    mean, std = table.x[train].mean(axis=0), table.x[train].std(axis=0)
    std = np.where(std > 0, std, 1.0)
    fit = fit_ridge_logit(
        (table.x[train] - mean) / std,
        table.y[train],
        table.offset[train],
        table.weight[train],
        PENALTY,
        intercept_penalty=PENALTY,
    )
    return fit.decision_function((x - mean) / std)
