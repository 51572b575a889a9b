"""The market's size segments as a user names them, and their closes as they were known at a decision."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from features.dataset import market_calendar
from features.errors import DataContractError
from features.market import MarketSpec
from serving.known_series import series_as_of


def find_segment(market: MarketSpec, text: str, option: str) -> str:
    """Return the segment that a text names: its exact name, or a prefix that only one segment has.

    Parameters
    ----------
    market : MarketSpec
    text : str
    option : str
        The option the text comes from, for the message.

    Raises
    ------
    DataContractError
        If no segment or several match; lists the names.
    """
    if text in market.segments:
        return text
    found = [name for name in market.segments if text and name.startswith(text)]
    if len(found) == 1:
        return found[0]
    problem = f"{text!r}, which could be {' or '.join(found)}" if found else repr(text)
    raise DataContractError(
        f"`{option}` must name one segment of market {market.name!r}: {', '.join(market.segments)}; got {problem}"
    )


def size_ladder(market: MarketSpec) -> list[str]:
    """Return the segments from the largest to the smallest."""
    return sorted(market.segments, key=lambda name: market.segments[name].rank)


def closes_as_of(
    market: MarketSpec, observations: pd.DataFrame, day: np.datetime64, segments: Sequence[str]
) -> pd.DataFrame:
    """Return the closes of segments as they were known at the decision of a day.

    Parameters
    ----------
    market : MarketSpec
    observations : pandas.DataFrame
        As `Store.observations`; rows known after the decision are not used.
    day : datetime64[us]
        A decision day.
    segments : sequence of str

    Returns
    -------
    pandas.DataFrame, indexed by session
        One column per segment; every session from the first close to `day`, missing where a close is.

    Raises
    ------
    DataContractError
        If a segment has no close at all, or one that is not positive; the latter carries the rows.

    Information set: rows with known_at <= the decision.
    """
    prices = {name: market.segments[name].price for name in segments}
    known = series_as_of(market, observations, day, list(prices.values()))
    for name, price in prices.items():
        if known[price].empty:
            raise DataContractError(
                f"no close of segment {name} ({price}) was known at the decision of {day.astype('datetime64[D]')}; "
                f"run `capshift ingest --market {market.name}` with data that hold it"
            )
    closes = pd.DataFrame({name: known[price] for name, price in prices.items()})
    wrong = closes[(closes <= 0).any(axis=1)]
    if len(wrong):
        raise DataContractError("closes must be positive; ingest corrected prices", wrong)
    sessions = market_calendar(market, day).sessions
    span = sessions[(sessions >= closes.index[0].to_datetime64()) & (sessions <= day)]
    return closes.reindex(pd.DatetimeIndex(span, name="date"))
