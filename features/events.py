"""Dated events of a market: marks on charts, never a feature.

They stand in a table of the package, ``features/markets/events``. No feature, state or label reads them, and a test
holds that: what is dated by hindsight knows the future.
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from datetime import date
from importlib import resources
from typing import Literal

import numpy as np
import pandas as pd
from pydantic import Field, ValidationError

from features.errors import DefinitionError
from features.series import Frozen

EventKind = Literal[
    "deleveraging", "derivatives", "leverage", "liquidity", "opening", "quant_regulation", "reform", "rescue",
    "stamp_duty", "supply", "trade", "trading_rule",
]  # fmt: skip
Confidence = Literal["verified_by_data", "page_text", "repo_list", "public_record", "unverified_date"]


class MarketEvent(Frozen):
    """One event; `date` is the day of its announcement, and nobody knew of it before."""

    date: date
    kind: EventKind
    title: str = Field(min_length=1)
    title_zh: str = Field(min_length=1)
    source: str = Field(min_length=1)
    confidence: Confidence


class _Table(Frozen):
    events: tuple[MarketEvent, ...]


def load_events(market: str) -> tuple[MarketEvent, ...]:
    """Return the events of the package for a market by date; none for a market without a table.

    Raises
    ------
    DefinitionError
        If the table does not validate or holds an event twice.
    """
    entry = resources.files("features") / "markets" / "events" / f"{market}.toml"
    if not market.isidentifier() or not entry.is_file():
        return ()
    try:
        events = _Table.model_validate(tomllib.loads(entry.read_text(encoding="utf-8"))).events
    except (tomllib.TOMLDecodeError, ValidationError) as error:
        raise DefinitionError(f"{entry}: {error}") from error
    return in_order(events)


def in_order(events: Sequence[MarketEvent]) -> tuple[MarketEvent, ...]:
    """Return events by date.

    Raises
    ------
    DefinitionError
        If date and Chinese title of two are the same.
    """
    keys = [(event.date, event.title_zh) for event in events]
    if twice := next((key for key in keys if keys.count(key) > 1), None):
        raise DefinitionError(f"an event must stand once in a table; got {twice[1]!r} of {twice[0]} twice")
    return tuple(sorted(events, key=lambda event: (event.date, event.title)))


def events_between(events: Sequence[MarketEvent], first: np.datetime64, last: np.datetime64) -> tuple[MarketEvent, ...]:
    """Return the events to mark on a chart from one day to another, both included.

    Parameters
    ----------
    events : sequence of MarketEvent
    first, last : datetime64
        First and last day of the chart.

    Information set: events announced by `last`.
    """
    begin, end = (pd.Timestamp(day).date() for day in (first, last))
    return tuple(event for event in events if begin <= event.date <= end)
