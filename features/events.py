"""Dated events of a market: marks on charts, never a feature.

A table of the package (``features/markets/events``) holds what everybody may see; a data folder may add its own. No
feature, state or label reads them, and a test holds that: what is dated by hindsight knows the future.
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from datetime import date
from importlib import resources
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from pydantic import Field, ValidationError

from features.errors import DataContractError, DefinitionError
from features.series import Frozen

EventKind = Literal[
    "deleveraging", "derivatives", "leverage", "liquidity", "opening", "quant_regulation", "reform", "rescue",
    "stamp_duty", "supply", "trade", "trading_rule",
]  # fmt: skip
Confidence = Literal["verified_by_data", "page_text", "repo_list", "public_record", "unverified_date"]
FILE_COLUMNS = ("date", "event", "category", "confidence")
"""Columns of an event table of a data folder, such as ``cn/policy_events.csv``."""


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
    return merge_events(events)


def read_events(path: Path) -> tuple[MarketEvent, ...]:
    """Read the event table of a data folder: CSV with the columns `FILE_COLUMNS`; its one title serves both languages.

    Raises
    ------
    DataContractError
        If the file cannot be read, has other columns, or a row does not validate; carries the row.
    """
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (OSError, UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise DataContractError(f"{path}: cannot be read as a table of events: {error}") from error
    if tuple(table.columns) != FILE_COLUMNS:
        raise DataContractError(
            f"{path}: columns of a table of events must be {', '.join(FILE_COLUMNS)}; got {', '.join(table.columns)}"
        )
    events = []
    for place, row in enumerate(table.itertuples(index=False), start=2):
        try:
            event = MarketEvent.model_validate({
                "date": row.date, "kind": row.category, "title": row.event, "title_zh": row.event,
                "source": path.name, "confidence": row.confidence,
            })  # fmt: skip
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise DataContractError(
                f"{path}: row {place}: `{where}`: {first['msg']}", table.iloc[[place - 2]]
            ) from error
        events.append(event)
    return merge_events(events)


def merge_events(*tables: Sequence[MarketEvent]) -> tuple[MarketEvent, ...]:
    """Return the events of several tables by date; one that a table before has with date and Chinese title comes once.

    Raises
    ------
    DefinitionError
        If one table holds an event twice.
    """
    found: dict[tuple[date, str], MarketEvent] = {}
    for table in tables:
        keys = [(event.date, event.title_zh) for event in table]
        if twice := next((key for key in keys if keys.count(key) > 1), None):
            raise DefinitionError(f"an event must stand once in a table; got {twice[1]!r} of {twice[0]} twice")
        found = dict(zip(keys, table, strict=True)) | found
    return tuple(sorted(found.values(), key=lambda event: (event.date, event.title)))


def events_between(
    events: Sequence[MarketEvent], first: np.datetime64, last: np.datetime64, kinds: Sequence[EventKind] = ()
) -> tuple[MarketEvent, ...]:
    """Return the events to mark on a chart from one day to another, both included.

    Parameters
    ----------
    events : sequence of MarketEvent
    first, last : datetime64
        First and last day of the chart.
    kinds : sequence of str
        Only these; all by default.

    Information set: events announced by `last`.
    """
    begin, end = (pd.Timestamp(day).date() for day in (first, last))
    return tuple(event for event in events if begin <= event.date <= end and (not kinds or event.kind in kinds))
