"""A dataset as it was at an earlier decision, cut out of a later one instead of built again."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from features.contracts import Dataset, History
from features.dataset import market_calendar
from features.errors import DataContractError
from features.market import MarketSpec

_UNTIL_MATURED = ("spread_realised", "y_switch", "y_large", "y_crash")


def dataset_until(dataset: Dataset, market: MarketSpec, day: np.datetime64) -> Dataset:
    """Return what `features.dataset.build_dataset` builds up to an earlier decision day, at a tenth of the time.

    Every cell of a dataset is what was knowable at its own decision, so that a later dataset holds the earlier one: its
    rows up to the day, the closes known then, and of the outcomes those that had matured.

    Parameters
    ----------
    dataset : Dataset
        Built up to `day` or later.
    market : MarketSpec
        The one it was built with; its sessions must be those of a calendar (`schedule.sessions` unset).
    day : datetime64[us]
        A decision day of the dataset.

    Raises
    ------
    DataContractError
        If the day is no decision of the dataset, or the sessions are as realised: later ones know of closed days.

    Information set: rows with known_at <= the decision of `day`.
    """
    at = pd.Timestamp(day)
    if market.schedule.sessions is not None:
        raise DataContractError(f"market {market.name!r} has sessions as realised; build the dataset of its day")
    if at not in dataset.clock.index:
        raise DataContractError(f"`day` must be a decision of the dataset; got {at:%Y-%m-%d}")
    clock = dataset.clock.loc[:at]
    now = clock["decision_at"].to_numpy("datetime64[us]")[-1]
    kept = dataset.rows.index.get_level_values("decision_date") <= at
    # Copies, so that nothing that is written into the part reaches the whole.
    rows, values, known_at, stale = (
        _used(frame.loc[kept]) for frame in (dataset.rows, dataset.values, dataset.known_at, dataset.stale)
    )
    outcomes = _used(dataset.outcomes.loc[dataset.outcomes.index.get_level_values("decision_date") <= at])
    # What matures never has no time, and no outcome either.
    open_yet = ~(outcomes["matured_at"].to_numpy("datetime64[us]") <= now)
    outcomes.loc[open_yet, list(_UNTIL_MATURED)] = np.nan
    sessions = market_calendar(market, day).sessions
    return replace(
        dataset,
        rows=rows,
        values=values,
        known_at=known_at,
        stale=stale,
        outcomes=outcomes,
        closes={name: _known(history, now) for name, history in dataset.closes.items()},
        lines={name: _known(history, now) for name, history in dataset.lines.items()},
        clock=clock.copy(),
        sessions=sessions,
    )


def _used(frame: pd.DataFrame) -> pd.DataFrame:
    """Copy rows, without labels of rows that are gone."""
    copied = frame.copy()
    if isinstance(copied.index, pd.MultiIndex):
        copied.index = copied.index.remove_unused_levels()
    return copied


def _known(history: History, now: np.datetime64) -> History:
    count = int(np.searchsorted(history.known_at, now, side="right"))
    return History(history.period[:count], history.known_at[:count], history.value[:count])
