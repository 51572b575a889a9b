"""The 0.80 rule: its path against pandas, runs and shares on made returns, and the facts of late 2023."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from features.contracts import FloatArray
from features.errors import DataContractError
from models.correlation import correlation
from models.eligibility import EligibilityRule, eligibility, rolling_correlation
from tests.features.real import real_observations
from tests.models.ladder import ladder
from tests.models.real_ladder import real_closes

GOLDEN_TOLERANCE = 0.01
"""A correlation quoted to two digits."""


def legs(days: int = 900) -> tuple[FloatArray, FloatArray, np.ndarray]:
    tiers = ladder(1, days)
    return tiers["micro"].to_numpy(), tiers["t1000"].to_numpy(), tiers.index.to_numpy()


def turned(days: int = 900, at: int = 700, n: int = 2) -> tuple[FloatArray, FloatArray, np.ndarray]:
    """Legs that move as one and, from day `at` on, not at all together."""
    rng = np.random.default_rng(n)
    x = 0.01 * rng.standard_normal(days)
    y = x + 0.001 * rng.standard_normal(days)
    y[at:] = 0.01 * rng.standard_normal(days - at)
    return x, y, pd.bdate_range("2020-01-01", periods=days).to_numpy()


def test_path_equals_pandas_and_its_end_is_the_answer() -> None:
    x, y, days = legs()
    result = eligibility(x, y, days)
    oracle = pd.Series(x, days).rolling(252).corr(pd.Series(y, days)).dropna()
    np.testing.assert_allclose(result.path.to_numpy(), oracle.to_numpy(), atol=1e-9)
    assert list(result.path.index) == list(oracle.index)
    assert result.path.iloc[-1] == pytest.approx(result.correlation.value, abs=1e-12)
    assert result.correlation == correlation(x[-252:], y[-252:])
    assert result.eligible == (result.correlation.value >= 0.80)


def test_since_is_the_first_day_of_the_unbroken_run() -> None:
    x, y, days = turned()
    result = eligibility(x, y, days, EligibilityRule(window=60, lookback=300))
    below = result.path < 0.80
    assert not result.eligible
    assert below[result.since :].all()
    assert not below[below.index < result.since].iloc[-1]
    assert not result.since_start
    assert days[700] < result.since < days[759]
    assert result.share_days == 300
    assert result.share == pytest.approx((~below.iloc[-300:]).mean())
    assert result.share == pytest.approx(0.33 + (result.since - pd.Timestamp(days[700])).days * 5 / 7 / 300, abs=0.01)


def test_a_run_as_old_as_the_data_says_so_and_a_short_past_counts_what_there_is() -> None:
    x, y, days = turned(days=500, at=500)
    result = eligibility(x, y, days)
    assert result.eligible
    assert result.since_start
    assert result.since == days[251]
    assert (result.share, result.share_days) == (1.0, 249)


def test_at_the_threshold_a_pair_is_eligible() -> None:
    x, y, days = legs(300)
    now = rolling_correlation(x, y, 252)[-1]
    assert eligibility(x, y, days, EligibilityRule(threshold=float(now))).eligible
    assert not eligibility(x, y, days, EligibilityRule(threshold=float(np.nextafter(now, 1)))).eligible


def test_a_leg_that_stood_still_has_no_correlation_and_is_not_eligible_then() -> None:
    x, y, days = legs(300)
    y = np.where(np.arange(300) < 70, 0.0, y)
    result = eligibility(x, y, days, EligibilityRule(window=60))
    assert result.path.isna().sum() == 11
    with pytest.raises(DataContractError, match="constant"):
        eligibility(x, np.zeros(300), days, EligibilityRule(window=60))


def leaking_correlation(x: FloatArray, y: FloatArray, window: int) -> FloatArray:
    """Twin that takes the mean of each leg over all rows."""
    legs_ = [np.lib.stride_tricks.sliding_window_view(leg - leg.mean(), window) for leg in (x, y)]
    cross, xx, yy = legs_[0] * legs_[1], legs_[0] ** 2, legs_[1] ** 2
    return np.asarray(cross.sum(axis=1) / np.sqrt(xx.sum(axis=1) * yy.sum(axis=1)))


def test_no_day_of_the_path_reads_ahead_and_a_leaking_twin_is_caught() -> None:
    x, y, days = legs(600)
    full, leak = eligibility(x, y, days).path, leaking_correlation(x, y, 252)
    cuts = np.unique(np.linspace(260, 599, 30).astype(int))
    assert len(cuts) == 30
    caught = 0
    for cut in cuts:
        result = eligibility(x[:cut], y[:cut], days[:cut])
        assert result.path.equals(full[: days[cut - 1]])
        caught += not np.array_equal(leaking_correlation(x[:cut], y[:cut], 252), leak[: cut - 251])
    assert caught == 30


def test_bad_input_is_refused_in_words() -> None:
    x, y, days = legs(300)
    cases = [
        (x[:-1], y, days, "equal length"), (np.where(x > 0.01, np.nan, x), y, days, "finite"),
        (x[:251], y[:251], days[:251], "252 sessions"), (x, y, days[::-1], "ascend"),
    ]  # fmt: skip
    for long, hedge, index, word in cases:
        with pytest.raises(DataContractError, match=word):
            eligibility(long, hedge, index)
    for changes in ({"threshold": 80.0}, {"window": 5}, {"lookback": 0}, {"level": 0.0}):
        with pytest.raises(DataContractError, match=next(iter(changes))):
            EligibilityRule(**changes)


def log_returns(root: Path) -> pd.DataFrame:
    return real_closes(real_observations("cn", root)).transform(np.log).diff().iloc[1:]


@pytest.mark.real
@pytest.mark.parametrize(("hedge", "quoted"), [("csi500", 0.72), ("csi1000", 0.78)])
def test_micro_caps_over_2023(real_data: Path, hedge: str, quoted: float) -> None:
    """METHODS 9, from the end of 2022 to 2023-11-24: below the 0.80 that the rule asks for."""
    returns = log_returns(real_data)
    year = EligibilityRule(window=len(returns["2023-01-01":]))
    result = eligibility(returns["micro400"].to_numpy(), returns[hedge].to_numpy(), returns.index.to_numpy(), year)
    assert result.correlation.value == pytest.approx(quoted, abs=GOLDEN_TOLERANCE)
    assert not result.eligible


@pytest.mark.real
def test_excess_returns_would_have_passed_where_returns_do_not(real_data: Path) -> None:
    """METHODS 9: excess over CSI 300 of micro-caps and the 2000-tier: 0.82; the rule does not ask for it."""
    returns = log_returns(real_data)["2023-01-01":]
    excess = returns.sub(returns["csi300"], axis=0)
    assert correlation(*excess[["micro400", "cni2000"]].to_numpy().T).value == pytest.approx(0.82, abs=GOLDEN_TOLERANCE)
