"""Small market definitions and batches for the tests of store, source and checks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from features.frames import OBSERVATION_COLUMNS
from features.market import MarketSpec

CLOSE: dict[str, Any] = {"kind": "sessions", "lag": 0, "time": "15:15"}
Row = tuple[str, str, str, float, bool, bool]


def series(name: str, **other: Any) -> dict[str, Any]:
    """Return one series of a definition."""
    common = {"unit": "points", "family": "macro", "frequency": "daily", "known": CLOSE, "stale_days": 16}
    return {"name": name, **common, **other}


def definition(**declared: Mapping[str, Any]) -> dict[str, Any]:
    """Return a definition as it comes out of TOML: two segments, one pair, the series given beside their prices."""
    named = {name.replace("__", "."): dict(table) for name, table in declared.items()}
    prices = {f"{segment}.close": {} for segment in ("large", "small")}
    return {
        "name": "tiny", "title": "Tiny", "title_zh": "小",
        "schedule": {
            "calendar": "XSHG", "timezone": "Asia/Shanghai", "decision_time": "15:30", "history_start": "2014-01-06",
            "first_decision": "2014-06-06",
        },
        "segments": {
            "large": {"name": "Large", "name_zh": "大", "price": "large.close", "rank": 0},
            "small": {"name": "Small", "name_zh": "小", "price": "small.close", "rank": 1},
        },
        "pairs": {"large-small": {"large": "large", "small": "small", "headline": True}},
        "series": {name: series(name, **table) for name, table in (prices | named).items()},
        "features": {},
    }  # fmt: skip


def tiny_market(**declared: Mapping[str, Any]) -> MarketSpec:
    """Return a validated definition; ``a__b={...}`` declares the series ``a.b``."""
    return MarketSpec.model_validate(definition(**declared))


def utc(text: str) -> np.datetime64:
    """Return a time as the code under test takes it."""
    return np.datetime64(text, "us")


def batch(rows: Iterable[Row | tuple[str, str, str, float]]) -> pd.DataFrame:
    """Return observations from rows of series, period, known_at, value and, if wanted, estimated and revision."""
    full = [(*row, False, False)[:6] for row in rows]
    frame = pd.DataFrame(full, columns=list(OBSERVATION_COLUMNS))
    return frame.astype(
        {"series": "str", "period": "datetime64[us]", "known_at": "datetime64[us]", "value": "float64",
         "estimated": "bool", "revision": "bool"}
    )  # fmt: skip
