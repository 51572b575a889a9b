"""A made-up panel of stocks whose smallest tenth can be told to move together."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from features.calendar import TradingCalendar
from features.contracts import BoolArray, FloatArray, TimeArray
from features.crowding.settings import CrowdSettings
from features.stock_panel import StockPanel

QUICK = CrowdSettings(window=20, short_window=10, weeks=12, seasoning=10, least=4)
"""Short windows, so that a panel of some months holds many weeks."""


def business_days(n: int, start: str = "2018-01-01") -> TimeArray:
    """Return `n` days, Monday to Friday."""
    days = np.busday_offset(np.datetime64(start, "D"), np.arange(n), roll="forward")
    return days.astype("datetime64[us]")


def fridays(panel: StockPanel) -> TimeArray:
    """Return the Fridays of a panel as decision days."""
    weekday = (panel.dates.astype("datetime64[D]").astype(np.int64) + 3) % 7
    return panel.dates[weekday == 4]


def toy_panel(
    seed: int = 0, days: int = 160, codes: int = 120, crowd: FloatArray | float = 0.0, *, amount: bool = False
) -> StockPanel:
    """Return a panel with a market, halts, a few stocks under special treatment and one late listing.

    `crowd` is the daily volatility of a factor that only the smallest tenth (of the first day) carries.
    """
    rng = np.random.default_rng(seed)
    ret = 0.01 * rng.standard_normal((days, 1)) + 0.02 * rng.standard_normal((days, codes))
    size = 2e9 * np.exp(np.linspace(0, 4, codes))[rng.permutation(codes)]
    small = size <= np.quantile(size, 0.1)
    ret[:, small] += np.broadcast_to(crowd, days)[:, None] * rng.standard_normal((days, 1))
    traded: BoolArray = rng.random((days, codes)) > 0.01
    traded[: days // 2, 7] = False
    st = np.zeros((days, codes), dtype=np.bool_)
    st[:, rng.choice(codes, 4, replace=False)] = True
    cap = size * np.cumprod(1 + ret, axis=0)
    ret = np.where(traded, ret, np.nan)
    ret[0] = np.nan
    volume = 0.03 * cap * np.exp(0.3 * rng.standard_normal((days, codes)))
    dates = business_days(days)
    return StockPanel(
        dates=dates,
        codes=np.array([f"{number:06d}" for number in range(codes)]),
        ret=ret.astype(np.float32),
        cap=np.where(traded, cap, np.nan).astype(np.float32),
        st=st & traded,
        traded=traded,
        close=np.where(traded, cap / 1e9, np.nan).astype(np.float32),
        listed=np.where(np.arange(codes) == 7, dates[days // 2], dates[0]),
        amount=np.where(traded, volume, np.nan).astype(np.float32) if amount else None,
    )


def shuffled(panel: StockPanel, order: np.ndarray) -> StockPanel:
    """Return the panel with its codes in another order, or with some of them."""
    columns = {name: getattr(panel, name)[:, order] for name in ("ret", "cap", "st", "traded", "close")}
    amount = None if panel.amount is None else panel.amount[:, order]
    earlier = None if panel.earlier is None else panel.earlier[order]
    kept = {"codes": panel.codes[order], "listed": panel.listed[order], "earlier": earlier}
    return replace(panel, amount=amount, **kept, **columns)


def cut(panel: StockPanel, row: int) -> StockPanel:
    """Return the panel up to a row, as it was on that day: nothing of later listings."""
    held = panel.between(until=panel.dates[row])
    seen = held.traded.any(axis=0)
    return shuffled(held, np.flatnonzero(seen))


def on_sessions(panel: StockPanel, start: str = "2014-01-06") -> StockPanel:
    """Return the panel on sessions of the Shanghai exchange."""
    sessions = TradingCalendar.build("XSHG", start, "2018-12-28").sessions[: len(panel.dates)]
    return replace(panel, dates=sessions, listed=sessions[np.searchsorted(panel.dates, panel.listed)])


def stock_rows(panel: StockPanel) -> pd.DataFrame:
    """Return the rows of a file that reads as this panel."""
    day, code = np.nonzero(panel.traded)
    rows = pd.DataFrame({"date": panel.dates[day], "code": panel.codes[code]})
    rows["close"], rows["ret"], rows["is_st"] = panel.close[day, code], panel.ret[day, code], panel.st[day, code]
    rows["total_shares_10k"] = np.float32(1e5)
    if panel.amount is not None:
        rows["amount"] = panel.amount[day, code]
    return rows


def save(rows: pd.DataFrame, path: Path) -> Path:
    """Write a file of stocks."""
    rows.to_parquet(path, index=False)
    return path
