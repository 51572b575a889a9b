"""Where two forecasts of the same day differ: which pair, which field, old and new value."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pandas as pd

from features.market import MarketSpec
from serving.ledger_entry import forecast_records, ledger_entries
from serving.ledger_record import FORECAST_FIELDS, Record

_NAMES = ("feature", "event", "series")
"""What an entry of a list goes by."""


@dataclass(frozen=True)
class Difference:
    """One field that differs; `pair` and `horizon_weeks` are None where it belongs to the whole forecast."""

    pair: str | None
    horizon_weeks: int | None
    field: str
    old: Any
    new: Any


def differing_texts(published: bytes, rebuilt: str) -> list[Difference]:
    """Compare two forecasts as JSON, byte by byte, and name the fields that differ."""
    if published == rebuilt.encode():
        return []
    found = list(_walk(json.loads(published), json.loads(rebuilt), (None, None), ""))
    return found or [Difference(None, None, "bytes", "another layout of the same values", "as this version writes it")]


def differing_rows(spec: MarketSpec, published: pd.DataFrame, rebuilt: pd.DataFrame) -> list[Difference]:
    """Compare two sets of rows as the ledger would record them: every field but the outcomes, every bit."""
    old, new = (_by_key(spec, rows) for rows in (published, rebuilt))
    found = []
    for key in sorted({*old, *new}):
        if key not in old or key not in new:
            found.append(Difference(*key, "row", *("there" if key in side else "not there" for side in (old, new))))
            continue
        found += [
            Difference(*key, name, old[key][name], new[key][name])
            for name in FORECAST_FIELDS
            if old[key][name] != new[key][name]
        ]
    return found


def _by_key(spec: MarketSpec, rows: pd.DataFrame) -> dict[tuple[str, int], Record]:
    records = forecast_records(ledger_entries(spec, rows))
    return {(str(record["pair"]), int(str(record["horizon_weeks"]))): record for record in records}


def _walk(old: Any, new: Any, key: tuple[str | None, int | None], field: str) -> Iterator[Difference]:
    """Walk two JSON values side by side."""
    if isinstance(old, dict) and isinstance(new, dict):
        if isinstance(old.get("pair"), str) and isinstance(old.get("horizon_weeks"), int):
            key, field = (old["pair"], old["horizon_weeks"]), ""
        for name in dict.fromkeys([*old, *new]):
            yield from _walk(old.get(name), new.get(name), key, f"{field}.{name}" if field else str(name))
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for place, (left, right) in enumerate(zip(old, new, strict=True)):
            yield from _walk(left, right, key, f"{field}[{_label(left, place)}]")
    elif isinstance(old, list) and isinstance(new, list):
        yield Difference(*key, field, f"{len(old)} entries", f"{len(new)} entries")
    elif old != new:
        yield Difference(*key, field, old, new)


def _label(entry: Any, place: int) -> str:
    if isinstance(entry, dict):
        return next((str(entry[name]) for name in _NAMES if name in entry), str(place))
    return str(place)
