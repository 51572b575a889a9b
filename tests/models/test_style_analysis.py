"""Micro-cap or only small-cap: the verdict on synthetic and real tiers, the path, and that no row sees the future."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from features.contracts import FloatArray
from features.errors import DataContractError
from models.correlation import Estimate, correlation
from models.style_analysis import StyleSettings, Verdict, analyse_style, verdict_of
from models.style_regression import joint_regression
from models.style_weights import style_weights
from tests.features.real import real_observations
from tests.models.ladder import FIFTH_MICRO, ONLY_2000, fund_of, ladder
from tests.models.real_ladder import real_ladder

QUICK = StyleSettings(draws=60)
TIERS = ladder(14, 240)


def test_a_fund_wholly_in_the_2000_tier_holds_no_micro_caps_although_it_correlates_with_them() -> None:
    analysis = analyse_style(fund_of(TIERS, ONLY_2000, 2), TIERS, QUICK)
    for fit in (analysis.window, analysis.whole):
        assert fit.correlations[-1].value == pytest.approx(0.9, abs=0.04)
        assert fit.exposure[-1].low < 0 < fit.exposure[-1].high
        assert fit.partial.low < 0 < fit.partial.high
        assert fit.weights[-1].low < 1e-9
        assert fit.weights[3].value > 0.8
        assert fit.incremental_r_squared < 0.005
        assert fit.verdict == "no_micro"


def test_so_it_is_on_24_ladders_of_which_one_in_twenty_may_miss() -> None:
    covered, plain = 0, []
    for seed in range(1, 25):
        tiers = ladder(seed, 300)
        fund = fund_of(tiers, ONLY_2000, seed)
        own = joint_regression(fund, tiers.to_numpy()).exposure[-1]
        covered += own.low <= 0 <= own.high
        plain.append(np.corrcoef(fund, tiers["micro"])[0, 1])
    assert np.median(plain) == pytest.approx(0.9, abs=0.03)
    assert covered >= 21


def test_a_fifth_in_micro_caps_is_seen_although_the_plain_correlation_hardly_moves() -> None:
    without = analyse_style(fund_of(TIERS, ONLY_2000, 2), TIERS, QUICK).whole
    fit = analyse_style(fund_of(TIERS, FIFTH_MICRO, 2), TIERS, QUICK).whole
    assert fit.exposure[-1].low < 0.2 < fit.exposure[-1].high
    assert fit.weights[-1].low > 0.05
    assert fit.partial.low > 0
    assert fit.verdict == "micro"
    assert fit.correlations[-1].value - without.correlations[-1].value < 0.06


@pytest.mark.parametrize(
    ("interval", "verdict"),
    [
        (Estimate(0.20, 0.10, 0.30), "micro"), (Estimate(0.05, 0.01, 0.09), "some"),
        (Estimate(0.02, -0.10, 0.14), "no_micro"), (Estimate(-0.3, -0.4, -0.2), "no_micro"),
        (Estimate(0.10, -0.05, 0.25), "undecided"), (Estimate(0.00001, 0.000001, 0.00002), "no_micro"),
    ],
)  # fmt: skip
def test_verdict(interval: Estimate, verdict: Verdict) -> None:
    assert verdict_of(interval, 0.20) == verdict


def test_few_days_of_a_noisy_fund_leave_it_undecided() -> None:
    tiers = TIERS.iloc[:120]
    funds = [fund_of(tiers, ONLY_2000, seed, noise=0.012) for seed in range(20)]
    verdicts = [verdict_of(joint_regression(fund, tiers.to_numpy()).exposure[-1], 0.20) for fund in funds]
    assert verdicts.count("undecided") > 10


def test_a_fund_that_is_an_index_or_a_mix_leaves_nothing_to_correlate() -> None:
    fit = analyse_style(TIERS["t2000"].to_numpy(), TIERS, QUICK).window
    assert fit.verdict == "no_micro"
    assert np.isnan(fit.partial.value)
    np.testing.assert_allclose([weight.value for weight in fit.weights], ONLY_2000, atol=1e-9)
    pure = analyse_style(TIERS["micro"].to_numpy(), TIERS, QUICK).window
    assert pure.verdict == "micro"
    assert pure.exposure[-1] == pytest.approx((1.0, 1.0, 1.0))
    assert pure.partial.value == pytest.approx(1.0)


def test_each_row_of_the_path_is_the_analysis_of_its_window() -> None:
    fund = fund_of(TIERS, FIFTH_MICRO, 2)
    rolling = analyse_style(fund, TIERS, QUICK).rolling
    assert len(rolling) == 240 - 119
    for end in (120, 200, 233, 240):
        y, x = fund[end - 120 : end], TIERS.to_numpy()[end - 120 : end]
        joint = joint_regression(y, x)
        row = rolling.loc[TIERS.index[end - 1]]
        np.testing.assert_allclose(row[["exposure", "low", "high"]].astype(float), joint.exposure[-1])
        assert row["weight"] == pytest.approx(style_weights(y, x)[-1], abs=1e-12)
        assert row["partial"] == pytest.approx(correlation(y, x[:, 4], given=x[:, :4]).value, abs=1e-9)
        assert row["incremental_r_squared"] == joint.incremental_r_squared
        assert row["correlation"] == pytest.approx(correlation(y, x[:, 4]).value, abs=1e-12)
    last = analyse_style(fund, TIERS, QUICK).window
    assert rolling["exposure"].iloc[-1] == last.exposure[-1].value
    assert rolling["partial"].iloc[-1] == pytest.approx(last.partial.value, abs=1e-9)


def test_a_fund_that_stood_still_has_no_value_in_those_windows() -> None:
    fund = fund_of(TIERS, ONLY_2000, 4)
    fund[100:225] = 0.0
    rolling = analyse_style(fund, TIERS, QUICK).rolling
    assert list(rolling.index[rolling["exposure"].isna()]) == list(TIERS.index[219:225])


Path_ = Callable[[FloatArray, pd.DataFrame], pd.DataFrame]


def honest(fund: FloatArray, tiers: pd.DataFrame) -> pd.DataFrame:
    return analyse_style(fund, tiers, StyleSettings(window=60, draws=1)).rolling


def leaking(fund: FloatArray, tiers: pd.DataFrame) -> pd.DataFrame:
    """Twin that makes the smallest tier orthogonal once, over all rows: each window sees the future."""
    x = tiers.to_numpy()
    others = np.column_stack([np.ones(len(x)), x[:, :4]])
    own = x[:, 4] - others @ np.linalg.lstsq(others, x[:, 4], rcond=None)[0]
    return honest(fund, tiers.assign(micro=own))


def reads_ahead(path: Path_) -> bool:
    """Whether any of thirty cuts changes the rows up to it."""
    tiers = ladder(5, 94)
    fund = fund_of(tiers, FIFTH_MICRO, 5)
    full = path(fund, tiers)
    cuts = np.unique(np.linspace(62, 93, 30).astype(int))
    assert len(cuts) == 30
    return any(not path(fund[:cut], tiers.iloc[:cut]).equals(full.loc[: tiers.index[cut - 1]]) for cut in cuts)


def test_no_row_of_the_path_reads_ahead_and_a_leaking_twin_is_caught() -> None:
    assert not reads_ahead(honest)
    assert reads_ahead(lambda fund, tiers: leaking(fund, tiers)[["correlation"]])


def test_two_tiers_are_enough() -> None:
    tiers = TIERS[["t300", "micro"]]
    fit = analyse_style(fund_of(tiers, [0.5, 0.5], 3), tiers, QUICK).whole
    assert fit.verdict == "micro"
    assert fit.exposure[-1].low < 0.5 < fit.exposure[-1].high
    assert [weight.value for weight in fit.weights] == pytest.approx([0.5, 0.5], abs=0.1)


def test_inputs_are_not_changed_and_results_repeat() -> None:
    fund, tiers = fund_of(TIERS, FIFTH_MICRO, 6), TIERS.copy()
    kept = fund.copy()
    one, two = analyse_style(fund, tiers, QUICK), analyse_style(fund, tiers, QUICK)
    assert np.array_equal(fund, kept)
    assert tiers.equals(TIERS)
    assert (one.window, one.whole) == (two.window, two.whole)
    assert one.rolling.equals(two.rolling)


def test_bad_input_is_refused_in_words() -> None:
    fund = fund_of(TIERS, ONLY_2000, 7)
    cases = [
        (fund[:100], TIERS.iloc[:100], "at most the 100 days"), (fund[:50], TIERS.iloc[:50], "at least 60 days"),
        (fund[:-1], TIERS, "one row"), (np.zeros(240), TIERS, "vary"), (fund, TIERS.assign(micro=np.nan), "finite"),
    ]  # fmt: skip
    for y, tiers, word in cases:
        with pytest.raises(DataContractError, match=word):
            analyse_style(y, tiers, QUICK)
    for changes in ({"window": 59}, {"level": 1.0}, {"material": 20.0}, {"draws": 0}, {"mean_block": 0}):
        with pytest.raises(DataContractError, match=next(iter(changes))):
            StyleSettings(**changes)


@pytest.mark.real
def test_real_2000_tier_fund_correlates_at_090_with_micro_caps_and_holds_none(real_data: Path) -> None:
    """METHODS 7: 0.90; since 2019, noise 0.2% a day. One draw in twenty may miss at 95%; three in twenty may not."""
    tiers = real_ladder(real_observations("cn", real_data))["2019-01-01":]
    covered = 0
    for seed in range(20):
        fit = analyse_style(
            fund_of(tiers, ONLY_2000, seed, noise=0.002), tiers, StyleSettings(window=len(tiers), draws=50)
        )
        covered += fit.whole.exposure[-1].low <= 0 <= fit.whole.exposure[-1].high
        assert fit.whole.correlations[-1].value == pytest.approx(0.90, abs=0.01)
        assert fit.whole.exposure[-1].high < 0.08
        assert fit.whole.weights[-1].low < 0.02
        assert fit.whole.verdict in ("no_micro", "some")
    assert covered >= 17


@pytest.mark.real
def test_real_fifth_in_micro_caps_is_seen_in_the_last_120_days(real_data: Path) -> None:
    tiers = real_ladder(real_observations("cn", real_data)).iloc[-120:]
    fits = [
        analyse_style(fund_of(tiers, FIFTH_MICRO, seed), tiers, StyleSettings(draws=50)).window for seed in range(20)
    ]
    assert sum(fit.exposure[-1].low > 0 for fit in fits) >= 17
    assert np.mean([fit.exposure[-1].value for fit in fits]) == pytest.approx(0.2, abs=0.03)
