"""Facts of late 2023 that need only index bars (METHODS section 9), read through the product's own source.

Each tolerance is written down before the figure: half a point for a return that is quoted to a tenth of a point, one
hundredth for a correlation that is quoted to two digits. Correlations are those of *daily* log returns: 0.82 and 0.78
come out of daily data only (weekly gives 0.74 and 0.71 for 2023, monthly has ten points). Micro-caps are the 400
smallest A-shares of `shared/data`, rebalanced each month unless a claim says otherwise; survivorship flatters them.
"""

from __future__ import annotations

import math
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from features.market import load_market
from features.store import histories
from tests.features.real import LAST_DECISION, real_observations

pytestmark = pytest.mark.real

RETURN_TOLERANCE = 0.005
CORRELATION_TOLERANCE = 0.01
YEAR_END = pd.Timestamp("2022-12-30")
"""Last session of 2022."""
TWO_YEARS_AGO = pd.Timestamp("2021-11-24")
DATE = pd.Timestamp(LAST_DECISION)
LADDER = ["csi300", "csi500", "csi1000", "cni2000", "micro400"]


@lru_cache(maxsize=1)
def closes(root: Path) -> pd.DataFrame:
    """Return daily closes as they were known after the close of 2023-11-24."""
    market = load_market("cn")
    series = histories(real_observations("cn", root), market)
    columns = {}
    for name in [*LADDER, "micro400_daily"]:
        period, value = series[f"{name}.close"].as_of(LAST_DECISION + np.timedelta64(8, "h"))
        columns[name] = pd.Series(value[:, 0], index=pd.DatetimeIndex(period))
    table = pd.DataFrame(columns)
    assert table.index[-1] == DATE
    return table


def year(root: Path, name: str) -> float:
    table = closes(root)
    start, end = table[name].loc[[YEAR_END, DATE]].to_numpy(np.float64)
    return float(end / start - 1.0)


def correlation(root: Path, one: str, other: str, after: pd.Timestamp, *, excess: bool = False) -> float:
    """Correlate daily log returns after a day, or their excess over CSI 300."""
    change = closes(root).map(math.log).diff()
    change = change[change.index > after]
    if excess:
        change = change.sub(change["csi300"], axis=0)
    return float(change[one].corr(change[other]))


@pytest.mark.parametrize(("name", "quoted"), [("micro400", 0.419), ("micro400_daily", 0.484), ("csi500", -0.050)])
def test_the_year_of_micro_caps_and_of_csi_500(real_data: Path, name: str, quoted: float) -> None:
    assert year(real_data, name) == pytest.approx(quoted, abs=RETURN_TOLERANCE)


def test_micro_caps_are_about_40_points_ahead_and_more(real_data: Path) -> None:
    """Claim 1: ahead of CSI 500 by about 40%; here 47 and 53 points, for survivors only, so a floor and no ceiling."""
    for name in ("micro400", "micro400_daily"):
        assert year(real_data, name) - year(real_data, "csi500") > 0.40


@pytest.mark.parametrize("start", [YEAR_END, TWO_YEARS_AGO])
def test_the_smaller_the_better(real_data: Path, start: pd.Timestamp) -> None:
    """Claim 3, for the year and for two years: each step down the size ladder returned more."""
    table = closes(real_data)
    returns = table.loc[DATE, LADDER] / table.loc[start, LADDER] - 1.0
    assert (returns.diff().dropna() > 0.0).all(), returns


@pytest.mark.parametrize(("after", "quoted"), [(YEAR_END, 0.82), (TWO_YEARS_AGO, 0.85)])
def test_excess_returns_of_the_2000_tier_and_micro_caps_move_together(
    real_data: Path, after: pd.Timestamp, quoted: float
) -> None:
    """Claim 4: above 0.70 although the two share hardly a stock."""
    got = correlation(real_data, "cni2000", "micro400", after, excess=True)
    assert got == pytest.approx(quoted, abs=CORRELATION_TOLERANCE)
    assert got > 0.70


@pytest.mark.parametrize(("index", "quoted"), [("csi500", 0.72), ("csi1000", 0.78)])
def test_micro_caps_fail_the_rule_of_market_neutral_swaps(real_data: Path, index: str, quoted: float) -> None:
    """Claim 6: long and short leg must correlate at 0.80 over the past year; micro-caps do not."""
    got = correlation(real_data, "micro400", index, YEAR_END)
    assert got == pytest.approx(quoted, abs=CORRELATION_TOLERANCE)
    assert got < 0.80
