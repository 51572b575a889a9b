"""Crowding measures of 14 years from the parquet file, against a groupby-apply in pandas on a slice, scaled up.

The peer is `naive_measures`: a long frame, `groupby`, `apply` and one regression a stock, and the same numbers. It runs
on seventeen months, for one week and for three; the difference is what a week costs, the rest what a year of rows
costs. Processor time of both is compared, so that a busy machine slows both alike.

Run alone, ``python tests/bench/crowding.py [STOCKS]``; ``make bench`` runs it with the rest where the shared data are.
"""

from __future__ import annotations

import resource
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from features.crowding.settings import CrowdSettings
from features.crowding.weekly import crowd_measures
from features.dataset import market_calendar
from features.market import load_market
from features.stock_panel import read_stocks
from tests.features.crowding.naive_weekly import naive_measures

STOCKS = Path(__file__).resolve().parents[3] / "shared" / "data" / "cn" / "stocks.parquet"
SLICE = np.datetime64("2022-07-01", "us"), np.datetime64("2023-11-24", "us")


def bench_crowding(path: Path = STOCKS) -> None:
    """Reading and measuring 14 years, one new week, and the ratio to the peer."""
    if not path.exists():
        print(f"{'crowding measures':<46}skipped: no file {path}", flush=True)
        return
    market = load_market("cn")
    start, used = time.perf_counter(), time.process_time()
    panel = read_stocks(path)
    decisions = market_calendar(market, panel.dates[-1]).decisions()
    decisions = decisions[(decisions >= panel.dates[0]) & (decisions <= panel.dates[-1])]
    whole = crowd_measures(panel, decisions)
    seconds, used = time.perf_counter() - start, time.process_time() - used
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    years = float((panel.dates[-1] - panel.dates[0]) / np.timedelta64(365, "D"))
    del panel

    start = time.perf_counter()
    recent = read_stocks(path, decisions[-80])
    added = crowd_measures(recent, decisions[-80:], after=decisions[-2])
    week = time.perf_counter() - start

    part = read_stocks(path, *SLICE)
    inside = decisions[(decisions >= SLICE[0]) & (decisions <= SLICE[1])]
    cost = {}
    for count in (1, 3):
        begun = time.process_time()
        naive = naive_measures(part, inside, CrowdSettings(), skip=len(inside) - count)
        cost[count] = time.process_time() - begun
    np.testing.assert_allclose(whole.loc[naive.index], naive, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(whole.loc[added.index], added, rtol=1e-9)
    each = (cost[3] - cost[1]) / 2
    share = years / float((SLICE[1] - SLICE[0]) / np.timedelta64(365, "D"))
    peer = each * len(decisions) + (cost[1] - each) * share
    print(
        f"{f'crowding of {len(decisions)} weeks from the file of stocks':<46}{seconds:9.3f} s   "
        f"{peer / used:8.2f} x faster than groupby-apply in pandas ({peer:,.0f} s of processor time, scaled up); "
        f"peak memory {memory:.1f} GiB; one new week {week:.3f} s",
        flush=True,
    )


if __name__ == "__main__":
    bench_crowding(*map(Path, sys.argv[1:2]))
