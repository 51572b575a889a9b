"""SIMULATED daily factors, written as Kenneth French's library writes them or in the plain shape of the shared data."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from features.calendar import TradingCalendar
from features.market import load_market

FIRST = "1990-07-02"
NOTE = "This file was created using the SIMULATED database of a test.\nMissing data are indicated by -99.99.\n\n"
END = "\nCopyright SIMULATED\n"


def simulated_factors(market: str, last: str, seed: int = 7, *, every_weekday: bool = False) -> pd.DataFrame:
    """Return `mkt_rf, smb, hml, rf` as decimals with two digits of a percent, indexed by day.

    Volatility clusters and the size factor has spells of drift, so that styles flip and heads have something to fit.
    """
    if every_weekday:
        days = np.arange(np.datetime64(FIRST), np.datetime64(last) + 1)
        days = days[np.is_busday(days)].astype("datetime64[us]")
    else:
        days = TradingCalendar.build(load_market(market).schedule.calendar, FIRST, last).sessions
    rng = np.random.default_rng(seed)
    n = len(days)
    log_volatility = np.zeros(n)
    for row in range(1, n):
        log_volatility[row] = 0.97 * log_volatility[row - 1] + 0.12 * rng.standard_normal()
    drift = np.repeat(rng.normal(0, 4e-4, n // 90 + 1), 90)[:n]
    shocks = rng.standard_t(6, (3, n)) * np.exp(log_volatility)
    smb = drift + 0.004 * shocks[0]
    frame = pd.DataFrame({"mkt_rf": 2e-4 + 0.008 * shocks[1] - 0.3 * smb, "smb": smb, "hml": 0.003 * shocks[2]})
    return frame.assign(rf=1e-4).round(4).set_index(pd.DatetimeIndex(days, name="date"))


def write_french(factors: pd.DataFrame, path: Path) -> Path:
    """Write a file as downloaded: text, percent, dates without dashes, text."""
    path.parent.mkdir(parents=True, exist_ok=True)
    names = [name.upper().replace("MKT_RF", "Mkt-RF") for name in factors.columns]
    path.write_text(NOTE + "".join(_lines(factors, names)) + END, encoding="utf-8")
    return path


def _lines(factors: pd.DataFrame, names: list[str]) -> Iterator[str]:
    yield f",{','.join(names)}\n"
    for day, row in factors.iterrows():
        cells = ["-99.99" if np.isnan(value) else f"{100 * value:8.2f}" for value in row]
        yield f"{pd.Timestamp(str(day)):%Y%m%d},{','.join(cells)}\n"


def write_plain(factors: pd.DataFrame, path: Path) -> Path:
    """Write a file in the plain shape: decimals, ISO dates, nothing around them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    factors.to_csv(path, date_format="%Y-%m-%d")
    return path
