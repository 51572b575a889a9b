"""The measures on the real panel: its deciles are those of the shared file, and late 2023 looks as it did.

Golden numbers: computed by this package from `shared/data/cn/stocks.parquet` as of November 2023 (survivors only) and
checked against `naive_weekly` on one week (all stocks); they hold the code to what the documents say.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from pandas.testing import assert_frame_equal

from features.contracts import TimeArray
from features.crowding.flow import decile_returns
from features.crowding.levels import crowd_levels
from features.crowding.members import counted_returns, size_deciles
from features.crowding.settings import CrowdSettings
from features.crowding.weekly import crowd_measures
from features.dataset import market_calendar
from features.market import load_market
from features.stock_panel import StockPanel, read_stocks
from tests.features.crowding.naive_weekly import naive_measures
from tests.features.crowding.toy_stocks import shuffled
from tests.features.real import LAST_DECISION

pytestmark = pytest.mark.real
SINCE = np.datetime64("2018-06-01", "us")


@lru_cache(maxsize=1)
def panel(root: Path) -> StockPanel:
    return read_stocks(root / "cn" / "stocks.parquet", since=SINCE)


def decisions(stocks: StockPanel) -> TimeArray:
    days = market_calendar(load_market("cn"), stocks.dates[-1]).decisions()
    return days[(days >= stocks.dates[0]) & (days <= stocks.dates[-1])]


@lru_cache(maxsize=1)
def measures(root: Path) -> pd.DataFrame:
    return crowd_measures(panel(root), decisions(panel(root)))


def test_decile_returns_are_those_of_the_shared_file(real_data: Path) -> None:
    """The file's deciles hold stocks under special treatment and new ones, most of them small."""
    stocks = panel(real_data).between(until=np.datetime64("2020-12-31", "us"))
    own = decile_returns(counted_returns(stocks), size_deciles(stocks, CrowdSettings()))
    days = pd.DatetimeIndex(stocks.dates)
    shared = pd.read_csv(real_data / "cn" / "size_deciles.csv", index_col="date", parse_dates=True).reindex(days)
    for number, least in ((0, 0.98), (4, 0.995), (9, 0.995)):
        both = pd.DataFrame({"own": own[:, number], "shared": shared[f"d{number + 1}_ret"].to_numpy()}).dropna()
        assert len(both) > 500
        assert both["own"].corr(both["shared"]) > least, number


def test_one_week_equals_the_straightforward_run(real_data: Path) -> None:
    """On every sixth stock, or it takes minutes."""
    year = panel(real_data).between(since=np.datetime64("2022-07-01", "us"), until=LAST_DECISION)
    some = shuffled(year, np.arange(0, len(year.codes), 6))
    days = decisions(some)
    naive = naive_measures(some, days, CrowdSettings(), skip=len(days) - 1)
    own = crowd_measures(some, days, after=days[-2])
    assert own.drop(columns="turnover").notna().all(axis=None)
    assert_frame_equal(own, naive, rtol=1e-4, atol=1e-5)


def test_late_2023(real_data: Path) -> None:
    week = measures(real_data).loc[pd.Timestamp(LAST_DECISION)]
    expected = {
        "residual_correlation": 0.0838,
        "residual_correlation_excess": 0.0628,
        "absorption": 0.5346,
        "absorption_excess": 0.0282,
        "comomentum": 0.1809,
        "dispersion": 0.0199,
        "serial_correlation": 0.0938,
        "momentum_gap": 0.0928,
    }
    assert_allclose([week[name] for name in expected], list(expected.values()), atol=1e-3)
    said = crowd_levels(measures(real_data))
    assert said.percentile["comomentum"].loc[pd.Timestamp(LAST_DECISION)] > 0.95
    assert said.composite.loc[pd.Timestamp(LAST_DECISION)] > 0.75


def test_a_file_that_ends_earlier_gives_the_same_weeks(real_data: Path) -> None:
    for until in ("2020-02-07", "2022-04-29", "2023-08-25"):
        day = np.datetime64(until, "us")
        held = read_stocks(real_data / "cn" / "stocks.parquet", since=day - np.timedelta64(600, "D"), until=day)
        days = decisions(panel(real_data))
        short = crowd_measures(held, days[days >= held.dates[0]], after=day - np.timedelta64(30, "D"))
        assert len(short) >= 2
        assert_frame_equal(short, measures(real_data).loc[short.index], rtol=1e-6)
