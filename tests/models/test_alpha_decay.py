"""Excess by hand, intervals against statsmodels, a decay that was put in, and truncation."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from pandas.testing import assert_frame_equal
from statsmodels.regression.linear_model import OLS

from features.contracts import FloatArray, TimeArray
from features.errors import DataContractError
from models.alpha_decay import DecaySettings, alpha_decay, mean_estimate

SHORT = DecaySettings(window=30, trend=60)


def some_weeks(n: int) -> TimeArray:
    return np.datetime64("2015-01-02", "us") + np.arange(n) * np.timedelta64(7, "D")


def ladder(seed: int, n: int = 120, decay: float = 0.0) -> FloatArray:
    """Two steps; the yearly excess of the first falls by `decay` a year."""
    rng = np.random.default_rng(seed)
    market = 0.03 * rng.standard_normal(n)
    excess = 0.01 * rng.standard_normal((2, n))
    excess[0] += (0.1 - decay * np.arange(n) / 52) / 52
    return np.cumsum(np.column_stack([market, market + excess[0], market + excess[0] + excess[1]]), axis=0)


def test_figures_of_a_window_by_hand() -> None:
    closes = ladder(1)
    first, second = alpha_decay(closes, some_weeks(120), ["big", "mid", "tiny"], SHORT)
    assert (first.larger, first.smaller, second.larger, second.smaller) == ("big", "mid", "mid", "tiny")
    assert first.weeks == 119
    excess = pd.Series(np.diff(closes[:, 1] - closes[:, 0]), index=pd.DatetimeIndex(some_weeks(120)[1:]))
    assert_allclose(first.rolling["excess"], excess.rolling(30).mean().dropna() * 52)
    assert_allclose(first.rolling["volatility"], excess.rolling(30).std().dropna() * np.sqrt(52))
    assert_allclose(first.rolling["hit_rate"], (excess > 0).rolling(30).mean().dropna())
    assert first.rolling.index[0] == excess.index[29]
    assert first.rolling.index[-1] == excess.index[-1]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(10, 300), st.floats(0.0, 0.9))
def test_interval_of_a_mean_is_that_of_statsmodels(seed: int, n: int, persistence: float) -> None:
    rng = np.random.default_rng(seed)
    x = np.empty(n)
    level = 0.0
    for row in range(n):
        level = persistence * level + rng.standard_normal()
        x[row] = level
    lags = int(4 * (n / 100) ** (2 / 9))
    fit = OLS(x, np.ones(n)).fit(cov_type="HAC", cov_kwds={"maxlags": lags, "use_correction": True}, use_t=True)
    said = mean_estimate(x, 0.9)
    assert_allclose(said.value, fit.params[0], atol=1e-12)
    assert_allclose([said.low, said.high], fit.conf_int(0.1)[0], atol=1e-9)


def test_slope_is_that_of_statsmodels_and_finds_a_decay() -> None:
    closes = ladder(3, 521, decay=0.08)
    whole = DecaySettings(trend=520)
    first, second = alpha_decay(closes, some_weeks(521), ["big", "mid", "tiny"], whole)
    excess = 52 * np.diff(closes[:, 1] - closes[:, 0])
    design = np.column_stack([np.ones(520), np.arange(520) / 52])
    fit = OLS(excess, design).fit(cov_type="HAC", cov_kwds={"maxlags": 5, "use_correction": True}, use_t=True)
    assert_allclose(first.slope, [fit.params[1], *fit.conf_int()[1]], rtol=1e-8)
    assert first.slope.low < -0.08 < first.slope.high
    assert first.verdict == "decays"
    assert second.verdict == "undecided"
    turned = alpha_decay(closes[:, [1, 0]], some_weeks(521), ["mid", "big"], whole)
    assert turned[0].verdict == "grows"
    assert_allclose(turned[0].slope.value, -first.slope.value)


def test_short_histories_and_late_tiers() -> None:
    closes = ladder(4)
    closes[:100, 2] = np.nan
    first, second = alpha_decay(closes, some_weeks(120), ["big", "mid", "tiny"], SHORT)
    assert len(first.rolling) == 90
    assert second.weeks == 19
    assert second.rolling.empty
    assert np.isnan(second.slope).all()
    assert second.verdict == "undecided"


def test_later_weeks_change_no_earlier_one() -> None:
    closes, weeks = ladder(5, 120)[:, :2], some_weeks(120)
    (full,) = alpha_decay(closes, weeks, ["big", "mid"], SHORT)
    cuts = range(60, 120, 2)
    assert len(cuts) == 30
    short = [alpha_decay(closes[:cut], weeks[:cut], ["big", "mid"], SHORT)[0].rolling for cut in cuts]

    def leaks(whole: pd.DataFrame) -> int:
        return sum(not part.equals(whole.loc[part.index]) for part in short)

    assert leaks(full.rolling) == 0
    # Positive control: windows that end a week later.
    assert leaks(full.rolling.shift(-1)) == len(cuts)


def test_scale_and_common_moves_do_not_matter() -> None:
    closes, weeks = ladder(6), some_weeks(120)
    shifted = closes + np.cumsum(np.random.default_rng(0).standard_normal(120))[:, None] + [3.0, -2.0, 1.0]
    for one, other in zip(
        alpha_decay(closes, weeks, ["big", "mid", "tiny"], SHORT),
        alpha_decay(shifted, weeks, ["big", "mid", "tiny"], SHORT),
        strict=True,
    ):
        assert_frame_equal(one.rolling, other.rolling, atol=1e-9)


@pytest.mark.parametrize(
    ("closes", "weeks", "said"),
    [
        (np.zeros((5, 1)), some_weeks(5), r"`closes` must have one row a week .* got \(5, 1\) for 5 weeks and 2 tiers"),
        (np.zeros((5, 2)), some_weeks(5)[::-1], "`weeks` must be ascending"),
        (np.full((5, 2), -np.inf), some_weeks(5), "`closes` must be finite or missing"),
    ],
)
def test_bad_input(closes: FloatArray, weeks: TimeArray, said: str) -> None:
    with pytest.raises(DataContractError, match=said):
        alpha_decay(closes, weeks, ["big", "mid"])


@pytest.mark.parametrize(
    ("change", "said"), [({"window": 10}, "`window` must be at least 26 weeks"), ({"level": 1.0}, "`level` must be")]
)
def test_settings_say_what_they_must_be(change: dict[str, int], said: str) -> None:
    with pytest.raises(DataContractError, match=said):
        DecaySettings(**change)
