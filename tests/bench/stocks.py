"""Tier indices of 14 years out of the stock file, against the straightforward pandas way on one year of it.

The peer groups and applies: a lag and a count for each code, the smallest 400 for each rebalancing day, drift for each
holding period. It has no price limits, so both sides trade at the last price, and it must give the same returns on its
year. Its time is scaled by the number of rows. Times are those of the processor, so that a busy machine does not
decide. Needs the real data; ``python tests/bench/stocks.py`` runs it alone.
"""

from __future__ import annotations

import resource
import time
from pathlib import Path

import numpy as np
import pandas as pd

from features.market import load_market
from features.stock_checks import check_stocks
from features.stock_index import IndexRule, Rebalance, build_index
from features.stock_panel import read_stocks
from features.stock_selection import Selection

STOCKS = Path(__file__).resolve().parents[3] / "shared" / "data" / "cn" / "stocks.parquet"
RULES: tuple[Rebalance, ...] = ("daily", "monthly", "half-yearly")
YEAR = (np.datetime64("2022-01-04", "us"), np.datetime64("2022-12-30", "us"))
_MONTHS = {"monthly": 1, "quarterly": 3, "half-yearly": 6, "yearly": 12}


def naive_index(rows: pd.DataFrame, count: int, rebalance: str, seasoning: int) -> pd.Series:
    """Return the daily returns of the `count` smallest stocks, equal weight, without frictions, by groupby and apply.

    Codes with a row on the first day count as seasoned.
    """
    rows = rows.sort_values(["code", "date"]).assign(cap=rows["close"] * rows["total_shares_10k"].astype(np.float64))
    old = set(rows.loc[rows["date"] == rows["date"].min(), "code"])
    number = rows.groupby("code", observed=True)["date"].transform(lambda days: np.arange(1, len(days) + 1))
    ready = rows[~rows["is_st"] & (rows["code"].isin(old) | (number >= seasoning))]
    dates = np.sort(rows["date"].unique())
    month = dates.astype("datetime64[M]").astype(np.int64)
    period = np.arange(len(dates)) if rebalance == "daily" else month // _MONTHS[rebalance]
    period[0] = period[1]
    starts = np.flatnonzero(np.append(True, period[2:] != period[1:-1]))
    held_from = pd.Series(dates[starts], index=period[starts + 1])
    chosen = (
        ready[ready["date"].isin(held_from)]
        .groupby("date")[["code", "cap"]]
        .apply(lambda day: day.nsmallest(count, "cap")["code"].tolist())
    )

    def drift(part: pd.DataFrame) -> pd.Series:
        members = chosen[held_from[part.name]]
        days = np.sort(part["date"].unique())
        moves = part[part["code"].isin(members)].pivot_table(index="date", columns="code", values="ret", observed=True)
        growth = (1.0 + moves.reindex(days).reindex(columns=members).fillna(0.0)).cumprod()
        value = growth.mean(axis=1)
        return value / value.shift(1, fill_value=1.0) - 1.0

    later = rows[rows["date"] > dates[0]]
    key = pd.Series(period, index=dates)
    parts = later.groupby(later["date"].map(key))[["date", "code", "ret"]].apply(drift)
    if isinstance(parts, pd.DataFrame):
        # One period, or periods of equal length, come back wide.
        parts = parts.T.unstack().dropna()  # noqa: PD010
    result = parts.droplevel(0)
    return result.sort_index()


def bench_stocks() -> None:
    """Three indices over 14 years and over one year, and the peer on the year; the peak of memory."""
    if not STOCKS.is_file():
        print(f"{'tier indices':<46} skipped: {STOCKS} is not there", flush=True)
        return
    rules = load_market("cn").stocks
    if rules is None:
        raise SystemExit("market cn has no stock rules")
    spent = {}
    start = time.process_time()
    panel = read_stocks(STOCKS)
    spent["read"] = time.process_time() - start
    start = time.process_time()
    panel = check_stocks(panel, rules, "XSHG")
    spent["check"] = time.process_time() - start
    select = Selection.parse("smallest:400")
    for limits in (False, True):
        start = time.process_time()
        for rebalance in RULES:
            build_index(panel, rules, IndexRule(select, rebalance, limits=limits))
        spent["limits" if limits else "free"] = time.process_time() - start
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    whole = int(panel.traded.sum())
    del panel

    start = time.process_time()
    rows = pd.read_parquet(STOCKS, filters=[("date", ">=", YEAR[0]), ("date", "<=", YEAR[1])])
    rows["code"] = rows["code"].astype(str)
    read = time.process_time() - start
    year = read_stocks(STOCKS, *YEAR)
    start = time.process_time()
    peers = {rebalance: naive_index(rows, 400, rebalance, rules.seasoning) for rebalance in RULES}
    peer = time.process_time() - start
    # The peer takes what it has of the file: codes of its first day are old.
    year = check_stocks(type(year)(**{**vars(year), "earlier": None}), rules)
    for rebalance, expected in peers.items():
        got = build_index(year, rules, IndexRule(select, rebalance, limits=False)).frame.set_index("date")["gross"]
        np.testing.assert_allclose(got.iloc[1:], expected.reindex(got.index[1:]), atol=2e-6)
    scaled = peer * whole / len(rows)
    own = spent["free"]
    print(
        f"{'daily, monthly, half-yearly 400, 14 years':<46}{own:9.3f} s   {scaled / own:8.2f} x faster than groupby "
        f"and apply ({peer:.2f} s for {len(rows):,} rows, {scaled:.1f} s scaled)"
    )
    total = own + spent["read"] + spent["check"]
    print(
        f"{'the same, read and checked first':<46}{total:9.3f} s   {(scaled + read) / total:8.2f} x faster than peer "
        f"that reads its year; read {spent['read']:.2f} s, checks {spent['check']:.2f} s"
    )
    print(f"{'the same at price limits':<46}{spent['limits']:9.3f} s   peak memory {memory:.2f} GiB", flush=True)


if __name__ == "__main__":
    bench_stocks()
