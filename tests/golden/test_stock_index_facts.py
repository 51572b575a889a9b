"""Indices out of the real file of stocks: they are the published ones, and the facts of METHODS section 9 hold.

Tolerances come before figures: correlations are bounds of the issue, returns are quoted to a tenth of a point. The file
holds survivors only.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from features.market import load_market
from features.stock_checks import check_stocks
from features.stock_index import IndexRule, Rebalance, build_index
from features.stock_panel import StockPanel, read_stocks
from features.stock_rules import StockRules
from features.stock_selection import Selection

pytestmark = pytest.mark.real

YEAR_END, DATE = pd.Timestamp("2022-12-30"), pd.Timestamp("2023-11-24")


def rules() -> StockRules:
    found = load_market("cn").stocks
    assert found is not None
    return found


@lru_cache(maxsize=1)
def panel(root: Path) -> StockPanel:
    return check_stocks(read_stocks(root / "cn" / "stocks.parquet"), rules(), "XSHG")


@lru_cache(maxsize=8)
def returns(root: Path, rebalance: Rebalance, limits: bool = False) -> pd.Series:
    rule = IndexRule(Selection.parse("smallest:400"), rebalance, limits=limits)
    return build_index(panel(root), rules(), rule).frame.set_index("date")["gross"]


def published(root: Path, name: str) -> pd.Series:
    bars = pd.read_csv(root / "cn" / "bars" / f"{name}.csv", parse_dates=["date"], index_col="date")
    return bars["close"].pct_change().dropna()


def year(series: pd.Series) -> float:
    part = series[(series.index > YEAR_END) & (series.index <= DATE)]
    return float(np.prod(1.0 + part.to_numpy(np.float64))) - 1.0


@pytest.mark.parametrize(("rebalance", "name"), [("monthly", "microcap400_monthly"), ("daily", "microcap400_daily")])
def test_without_frictions_it_is_the_computed_index(real_data: Path, rebalance: Rebalance, name: str) -> None:
    """The issue asks for 0.995; the same rule on the same file must give the same index, to rounding and ties."""
    both = pd.concat([returns(real_data, rebalance), published(real_data, name)], axis=1, join="inner").dropna()
    assert len(both) == 3379
    assert both.iloc[:, 0].corr(both.iloc[:, 1]) > 0.9999
    assert year(both.iloc[:, 0]) == pytest.approx(year(both.iloc[:, 1]), abs=0.001)


@pytest.mark.parametrize("limits", [False, True])
def test_it_tracks_the_published_micro_cap_index(real_data: Path, limits: bool) -> None:
    """0.95 or more over its 100 days.

    The gap is membership more than noise: over five days the correlation is no higher. The published index picks its
    members every day, which is worth half a point; the rest is its own choice of stocks, which is not published.
    """
    both = pd.concat(
        [returns(real_data, "monthly", limits), returns(real_data, "daily"), published(real_data, "microcap_ths")],
        axis=1, join="inner",
    ).dropna()  # fmt: skip
    assert len(both) == 100
    monthly, daily, theirs = (both.iloc[:, at] for at in range(3))
    assert monthly.corr(theirs) >= 0.95
    assert daily.corr(theirs) > monthly.corr(theirs)


def test_half_yearly_costs_8_to_9_points_of_2023(real_data: Path) -> None:
    """METHODS section 9: +41.9% rebalanced monthly, +48.4% daily, half-yearly about 8 to 9 points less than daily."""
    daily, monthly, half = (year(returns(real_data, name)) for name in ("daily", "monthly", "half-yearly"))
    assert monthly == pytest.approx(0.419, abs=0.005)
    assert daily == pytest.approx(0.484, abs=0.005)
    assert 0.075 < daily - half < 0.095


def test_new_listings_made_the_difference_in_2015(real_data: Path) -> None:
    """Without the 30 sessions of seasoning new stocks at their limit would enter, which nobody could have bought."""
    raw = rules().model_copy(update={"seasoning": 1})
    rule = IndexRule(Selection.parse("smallest:400"), "daily", limits=False)
    naive = build_index(panel(real_data).between(until=np.datetime64("2016-12-30")), raw, rule).frame["level"].iloc[-1]
    until = returns(real_data, "daily")[: pd.Timestamp("2016-12-30")]
    assert naive / 1000.0 > 1.5 * np.prod(1.0 + until.dropna().to_numpy(np.float64))


def test_what_is_known_to_be_wrong_with_the_file(real_data: Path) -> None:
    """One code of 4,781 ends early, by a day (data README); no return lies beyond its board's limit."""
    found = panel(real_data).findings
    assert not found["quarantined"].any()
    counts = found["check"].value_counts()
    assert counts["ends_early"] == 1
    assert counts["survivors_only"] == 1
    assert set(counts.index) == {"ends_early", "survivors_only", "missing_return", "beyond_st_limit"}
