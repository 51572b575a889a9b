"""Small markets of stocks for tests: by hand, or drawn with halts, special treatment, listings and price limits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from features.stock_panel import LONG_LISTED, StockPanel
from features.stock_rules import PriceLimit, StockRules

RULES = StockRules(limits=(PriceLimit(limit=0.10, st_limit=0.05, free_rows=1),), seasoning=1)
"""One board: 10%, 5% under special treatment, the first day free."""


def days(count: int, start: str = "2021-01-04") -> np.ndarray:
    """Weekdays from a Monday on."""
    return pd.bdate_range(start, periods=count).to_numpy("datetime64[us]")


def panel_of(ret: np.ndarray, cap: np.ndarray, **other: np.ndarray) -> StockPanel:
    """Return a panel of old stocks at 10 CNY and up; a missing return after the first day is a halt."""
    ret = np.asarray(ret, dtype=np.float32)
    count, codes = ret.shape
    traded = other.pop("traded", ~np.isnan(ret) | (np.arange(count) == 0)[:, None])
    close = np.round(10.0 * np.cumprod(1.0 + np.nan_to_num(ret), axis=0), 2)
    values = {
        "dates": days(count),
        "codes": np.array([f"{600000 + number}" for number in range(codes)]),
        "ret": ret,
        "cap": np.where(traded, np.broadcast_to(cap, ret.shape), np.nan).astype(np.float32),
        "st": np.zeros(ret.shape, dtype=np.bool_),
        "traded": traded,
        "close": np.where(traded, close, np.nan).astype(np.float32),
        "listed": np.full(codes, days(1)[0]),
        "earlier": np.full(codes, LONG_LISTED, dtype=np.int32),
    }
    return StockPanel(**(values | other))


def rows_of(seed: int, count: int = 80, codes: int = 40, volatility: float = 0.04) -> pd.DataFrame:
    """Draw rows of a stock file: prices on a tick of 0.01 within limits of 10% (5% under special treatment)."""
    rng = np.random.default_rng(seed)
    frames = []
    for number in range(codes):
        st = (np.cumsum(rng.random(count) < 0.02) % 2).astype(bool)
        here = np.cumsum(rng.random(count) < 0.06) % 2 == 0
        here &= np.arange(count) >= (rng.integers(1, count) if number % 8 == 7 else 0)
        close = np.empty(count)
        last = float(np.round(rng.uniform(2, 30), 2))
        returns = np.full(count, np.nan)
        for day in range(count):
            if here[day]:
                limit = 0.05 if st[day] else 0.10
                low, high = (np.floor(last * (1 + way * limit) * 100 + 0.5) / 100 for way in (-1, 1))
                price = float(np.clip(np.round(last * np.exp(volatility * rng.standard_t(3)), 2), low, high))
                price = max(price, 0.01)
                returns[day] = np.round(price / last - 1, 5)
                last = price
            close[day] = last
        first = int(np.argmax(here)) if here.any() else 0
        returns[first] = np.nan
        frame = pd.DataFrame(
            {"date": days(count), "code": f"{600000 + number}", "close": close, "ret": returns, "is_st": st}
        ).assign(total_shares_10k=float(rng.integers(1000, 9000)))
        frames.append(frame[here])
    return pd.concat(frames, ignore_index=True)


def save(rows: pd.DataFrame, folder: Path, name: str = "stocks.parquet", group: int = 500) -> Path:
    """Write rows as a stock file in small row groups."""
    path = folder / name
    rows.to_parquet(path, index=False, row_group_size=group)
    return path
