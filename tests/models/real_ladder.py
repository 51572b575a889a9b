"""Simple daily returns of the A-share size tiers as they were known after the close of 2023-11-24."""

from __future__ import annotations

import pandas as pd

from features.market import load_market
from serving.segments import closes_as_of, size_ladder
from tests.features.real import LAST_DECISION


def real_closes(observations: pd.DataFrame) -> pd.DataFrame:
    """Return the closes of all segments, from the first day that has all."""
    market = load_market("cn")
    return closes_as_of(market, observations, LAST_DECISION, size_ladder(market)).dropna()


def real_ladder(observations: pd.DataFrame) -> pd.DataFrame:
    """Return simple daily returns."""
    return real_closes(observations).pct_change().iloc[1:]
