"""The real data, read once per process for all tests that want it."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd

from features.market import load_market
from features.sources.folder import read_folder

READ_AT = np.datetime64("2023-12-15T00:00", "us")
LAST_DECISION = np.datetime64("2023-11-24", "us")


@lru_cache(maxsize=2)
def real_observations(market: str, root: Path) -> pd.DataFrame:
    """Return `series, period, known_at, value` of a built-in market; do not change it in place."""
    read = read_folder(load_market(market), root, READ_AT)
    return read.observations[["series", "period", "known_at", "value"]]
