"""Series of a market as they were known at a decision."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from features.dataset import decision_times
from features.errors import DataContractError
from features.market import MarketSpec
from features.store import histories


def series_as_of(
    market: MarketSpec, observations: pd.DataFrame, day: np.datetime64, names: Sequence[str]
) -> dict[str, pd.Series]:
    """Return series as they were known at the decision of a day.

    Parameters
    ----------
    market : MarketSpec
    observations : pandas.DataFrame
        As `Store.observations`; rows known after the decision are not used.
    day : datetime64[us]
        A decision day.
    names : sequence of str
        Series of the market.

    Returns
    -------
    dict of str to pandas.Series
        Indexed by period, ascending, none after `day`; empty where nothing was known.

    Raises
    ------
    DataContractError
        If the market declares no such series.

    Information set: rows with known_at <= the decision.
    """
    if unknown := [name for name in names if name not in market.series]:
        raise DataContractError(f"`series` must be declared by market {market.name!r}; got {unknown[0]!r}")
    at = decision_times(market, np.array([day]))[0]
    known = histories(observations[observations["series"].isin(set(names))], market)
    found = {}
    for name in names:
        period, value = known[name].as_of(at) if name in known else (np.array([], "datetime64[us]"), np.empty((0, 1)))
        inside = period <= day
        found[name] = pd.Series(value[inside, 0], index=pd.DatetimeIndex(period[inside], name="period"), name=name)
    return found


def is_fresh(market: MarketSpec, values: pd.Series, day: np.datetime64) -> bool:
    """Return whether the newest value of a series is within its `stale_days`, and the series is alive."""
    spec = market.series[str(values.name)]
    if len(values) == 0 or (spec.died is not None and day > np.datetime64(spec.died, "us")):
        return False
    newest = values.index[-1].to_datetime64()
    return bool(day - newest <= np.timedelta64(spec.stale_days, "D"))
