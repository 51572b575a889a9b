"""What the level correction remembers: the level that every past outcome reached on its own forecast's curve.

A row whose outcome has not matured at the cut keeps its quantiles until it does, so that a forecast of any week after
the cut can be corrected from the bundle alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from features.contracts import Dataset, FloatArray
from features.errors import BundleError
from models.curve import LEVELS, reached_level
from models.schedule import day_text

Key = tuple[str, pd.Timestamp, int]
"""Pair, decision date, horizon in weeks."""


@dataclass(frozen=True, eq=False)
class Memory:
    """Outcomes of past forecasts on their curves.

    Parameters
    ----------
    settled : mapping of key to (lower, upper)
        Levels reached, see `models.curve.reached_level`.
    pending : mapping of key to array, shape (2, len(LEVELS))
        Quantiles of both sides of rows whose outcome has not matured.
    """

    settled: Mapping[Key, tuple[float, float]]
    pending: Mapping[Key, FloatArray]

    @staticmethod
    def empty() -> Memory:
        """Return the memory of the first bundle."""
        return Memory({}, {})

    def extended(self, rows: Mapping[Key, FloatArray], dataset: Dataset, until: np.datetime64) -> Memory:
        """Add rows and settle what has matured.

        Parameters
        ----------
        rows : mapping of key to array, shape (2, len(LEVELS))
            Quantiles of new forecasts.
        dataset : Dataset
        until : datetime64[us]
            UTC time of the next cut's decision.

        Information set: outcomes with matured_at <= until.
        """
        open_rows = {**self.pending, **rows}
        reached = settle(open_rows, dataset, until)
        return Memory(
            {**self.settled, **reached}, {key: curve for key, curve in open_rows.items() if key not in reached}
        )

    def to_json(self) -> dict[str, list[dict[str, Any]]]:
        """Return plain JSON types; a level that does not exist is null."""
        series: dict[tuple[str, int], dict[str, Any]] = {}
        for (pair, day, horizon), (lower, upper) in self.settled.items():
            held = series.setdefault(
                (pair, horizon), {"pair": pair, "horizon": horizon, "dates": [], "lower": [], "upper": []}
            )
            held["dates"].append(_text(day))
            held["lower"].append(_plain(lower))
            held["upper"].append(_plain(upper))
        pending = [
            {
                "pair": pair,
                "horizon": horizon,
                "date": _text(day),
                "lower": curve[0].tolist(),
                "upper": curve[1].tolist(),
            }
            for (pair, day, horizon), curve in self.pending.items()
        ]
        return {"settled": list(series.values()), "pending": pending}

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Memory:
        """Rebuild what `to_json` wrote; `BundleError` if it does not fit."""
        settled = {
            (str(held["pair"]), _day(day), int(held["horizon"])): (_number(lower), _number(upper))
            for held in data["settled"]
            for day, lower, upper in zip(held["dates"], held["lower"], held["upper"], strict=True)
        }
        pending = {
            (str(held["pair"]), _day(held["date"]), int(held["horizon"])): np.array(
                [held["lower"], held["upper"]], dtype=np.float64
            )
            for held in data["pending"]
        }
        if any(curve.shape != (2, len(LEVELS)) for curve in pending.values()):
            raise BundleError("pending quantiles are on another grid; retrain the bundle")
        return Memory(settled, pending)


def settle(
    rows: Mapping[Key, FloatArray], dataset: Dataset, until: np.datetime64 | None = None
) -> dict[Key, tuple[float, float]]:
    """Return the levels reached by the outcomes of rows, those matured by a time (all that the dataset has by default).

    Information set: outcomes with matured_at <= until.
    """
    if not rows:
        return {}
    outcomes = dataset.outcomes.reindex(pd.MultiIndex.from_tuples(list(rows), names=dataset.outcomes.index.names))
    realised = outcomes["spread_realised"].to_numpy(np.float64)
    known = np.isfinite(realised)
    if until is not None:
        known &= outcomes["matured_at"].to_numpy("datetime64[us]") <= until
    return {
        key: (reached_level(curve[0], realised[place]), reached_level(curve[1], -realised[place]))
        for place, (key, curve) in enumerate(rows.items())
        if known[place]
    }


def _text(day: pd.Timestamp) -> str:
    return day_text(day.to_datetime64())


def _day(text: str) -> pd.Timestamp:
    return pd.Timestamp(np.datetime64(text, "us"))


def _plain(value: float) -> float | None:
    return value if np.isfinite(value) else None


def _number(value: float | None) -> float:
    return float("nan") if value is None else value
