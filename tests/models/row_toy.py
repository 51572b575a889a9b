"""Rows of the small market with the bundle that forecasts them, and as many made-up ones as a test wants."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pandas as pd

from models.bundle import Bundle
from models.row_contract import PARTS, start_column
from models.row_frame import feature_rows
from models.row_parts import HEADS
from models.schedule import forecast_rows
from tests import small


def bundle() -> Bundle:
    """Return the newest small bundle."""
    return small.walked().bundles[-1]


def index() -> pd.MultiIndex:
    """Return the rows that it forecasts."""
    return forecast_rows(small.dataset(), small.plan(), bundle().cut, None)


@lru_cache(maxsize=1)
def _rows() -> pd.DataFrame:
    return feature_rows(small.dataset(), index(), small.base())


def rows() -> pd.DataFrame:
    """Return these rows by the row contract."""
    return _rows().copy()


def many(n: int, seed: int = 0, of: Bundle | None = None) -> pd.DataFrame:
    """Make rows up: values around those of training, some far off, gaps, families that are absent."""
    of, rng = of or bundle(), np.random.default_rng(seed)
    names = [info.name for info in of.features]
    mean = np.array([of.scaler.mean.get(name, 0.0) for name in names])
    std = np.array([of.scaler.std.get(name, 1.0) for name in names])
    values = mean + std * rng.normal(size=(n, len(names))) * np.exp(0.4 * rng.normal(size=(n, 1)))
    values[rng.random(values.shape) < 0.05] = np.nan
    flow = [place for place, info in enumerate(of.features) if info.family == of.families[-1]]
    gone = rng.random(n) < 0.02
    values[np.ix_(gone, flow)] = np.nan
    columns: dict[str, object] = {
        "pair": rng.choice(np.array(of.pairs, dtype=object), n),
        "decision_date": of.cut + rng.integers(0, 300, n).astype("timedelta64[D]"),
        "style_in_force": rng.choice(np.array(["small", "large"], dtype=object), n),
        "stale": np.where(gone & (rng.random(n) < 0.5), names[flow[0]], "").astype(object),
    }
    columns |= {name: values[:, place] for place, name in enumerate(names)}
    for event, horizon in HEADS:
        for part in PARTS:
            found = rng.integers(0, 400, n).astype(np.float64) if part == "n" else rng.uniform(0.05, 0.6, n)
            if part == "implied":
                found[rng.random(n) < 0.1] = np.nan
            columns[start_column(event, horizon, part)] = found
    return pd.DataFrame(columns)
