"""Tests of equal accuracy: formulas by hand, statsmodels, and answers that must not depend on copies or order."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from arch.bootstrap import MCS, SPA
from scipy.stats import t

from features.errors import DataContractError
from training.compare import (
    comparison_table,
    confidence_set,
    diebold_mariano,
    losses_by_date,
    superior_ability,
)

DATES = np.datetime64("2012-01-06", "us") + np.timedelta64(7, "D") * np.arange(300)


def overlapping(seed: int, n: int = 300, h: int = 4) -> np.ndarray:
    return np.convolve(np.random.default_rng(seed).normal(size=n + h - 1), np.ones(h), "valid")


@pytest.mark.parametrize("h", [1, 4])
def test_statistic_is_that_of_harvey_leybourne_and_newbold(h: int) -> None:
    d = overlapping(1) + 0.3
    n = len(d)
    centred = d - d.mean()
    gamma = [centred[k:] @ centred[: n - k] / n for k in range(h)]
    plain = d.mean() / np.sqrt((gamma[0] + 2 * sum(gamma[1:])) / n)
    corrected = plain * np.sqrt((n + 1 - 2 * h + h * (h - 1) / n) / n)
    found = diebold_mariano(d, np.zeros(n), DATES, h)
    assert found.statistic == pytest.approx(corrected)
    assert found.p_value == pytest.approx(2 * t.sf(abs(corrected), n - 1))
    assert (found.mean, found.n, found.dates) == (pytest.approx(d.mean()), 300, 300)
    assert found.low < found.mean < found.high


def test_uncorrected_statistic_agrees_with_statsmodels() -> None:
    d = overlapping(2) + 0.5
    fit = sm.OLS(d, np.ones(300)).fit(cov_type="HAC", cov_kwds={"maxlags": 3, "kernel": "uniform"})
    correction = np.sqrt((301 - 8 + 12 / 300) / 300)
    assert diebold_mariano(d, np.zeros(300), DATES, 4).statistic == pytest.approx(fit.tvalues[0] * correction)


def test_copies_of_a_pair_and_order_change_nothing() -> None:
    d = overlapping(3) + 0.2
    once = diebold_mariano(d, np.zeros(300), DATES, 4)
    copies = diebold_mariano(np.tile(d, 4), np.zeros(1200), np.tile(DATES, 4), 4)
    assert copies[:5] == pytest.approx(once[:5])
    assert copies.n == 1200
    shuffled = np.random.default_rng(0).permutation(300)
    assert diebold_mariano(d[shuffled], np.zeros(300), DATES[shuffled], 4) == pytest.approx(once)
    # Positive control: taken for separate weeks the copies look far more certain.
    apart = np.datetime64("2012-01-06", "us") + np.timedelta64(7, "D") * np.arange(1200)
    assert abs(diebold_mariano(np.repeat(d, 4), np.zeros(1200), apart, 1).statistic) > 3 * abs(once.statistic)


def test_turning_the_models_round_turns_the_sign() -> None:
    a, b = overlapping(4), overlapping(5)
    one, other = diebold_mariano(a, b, DATES, 4), diebold_mariano(b, a, DATES, 4)
    assert (one.mean, one.statistic, one.p_value) == pytest.approx((-other.mean, -other.statistic, other.p_value))


def test_a_gap_keeps_its_place_in_time() -> None:
    """With every other week missing, neighbours are two weeks apart and lag 1 holds no product at all."""
    d = overlapping(6) + 0.1
    d[1::2] = np.nan
    found = diebold_mariano(d, np.zeros(300), DATES, 2)
    dense = diebold_mariano(d[::2], np.zeros(150), DATES[::2], 1)
    assert found.statistic / np.sqrt((151 - 4 + 2 / 150) / 150) == pytest.approx(dense.statistic / np.sqrt(149 / 150))


def test_covariances_that_cancel_fall_back_to_bartlett() -> None:
    d = np.tile([1.0, -1.0], 150) + np.linspace(0, 0.001, 300)
    found = diebold_mariano(d, np.zeros(300), DATES, 2)
    assert np.isfinite(found.statistic)
    assert 0 <= found.p_value <= 1


def test_nothing_to_compare() -> None:
    same = diebold_mariano(np.ones(300), np.ones(300), DATES, 4)
    assert (same.mean, same.statistic, same.p_value) == (0.0, 0.0, 1.0)
    assert np.isnan(diebold_mariano(np.ones(10), np.zeros(10), DATES[:10], 4).p_value)
    with pytest.raises(DataContractError, match="horizon_weeks"):
        diebold_mariano(np.ones(300), np.ones(300), DATES, 0)
    with pytest.raises(DataContractError, match="pair up"):
        diebold_mariano(np.ones(300), np.ones(299), DATES, 1)


def test_losses_by_date_keep_the_pooled_mean() -> None:
    rng = np.random.default_rng(0)
    dates = np.repeat(DATES[:50], rng.integers(1, 5, 50))
    loss = {"a": rng.random(len(dates)), "b": rng.random(len(dates))}
    loss["b"][3] = np.nan
    table = losses_by_date(loss, dates)
    kept = np.isfinite(loss["b"])
    assert table["a"].mean() == pytest.approx(loss["a"][kept].mean())
    assert table["b"].mean() == pytest.approx(np.nanmean(loss["b"]))
    with pytest.raises(DataContractError, match="losses of b"):
        losses_by_date({"a": loss["a"], "b": loss["b"][:-1]}, dates)


def losses(gains: dict[str, float], seed: int = 0) -> pd.DataFrame:
    """A common loss, each model's own noise, and a gain in units of that noise's standard error."""
    rng = np.random.default_rng(seed)
    common = rng.normal(1, 1, 300)
    columns = {"base": common}
    columns |= {name: common - 0.1 * (rng.normal(size=300) + gain / np.sqrt(300)) for name, gain in gains.items()}
    return pd.DataFrame(columns, index=pd.DatetimeIndex(DATES))


def test_superior_ability_finds_what_is_there() -> None:
    nothing = superior_ability(losses({"a": 0.0, "b": -1.0}, seed=1), "base")
    assert nothing.lower <= nothing.consistent <= nothing.upper
    assert nothing.consistent > 0.1
    assert superior_ability(losses({"a": 0.0, "b": 5.0}), "base").consistent < 0.01
    # Nobody beats the one that is better.
    assert superior_ability(losses({"a": -5.0, "b": 5.0}), "b").consistent > 0.5


def test_studentised_statistic_is_not_ruled_by_the_noisiest_model() -> None:
    table = losses({"a": 4.0}, seed=3)
    noise = np.random.default_rng(1).normal(size=300)
    noisy = table.assign(wild=table["base"] + 5 * (noise - noise.mean()))
    assert superior_ability(noisy, "base").consistent < 0.02
    plain = SPA(noisy["base"], noisy[["a", "wild"]], block_size=10, reps=1000, seed=1)
    plain.compute()
    assert plain.pvalues["consistent"] > 0.1


def test_one_rival_agrees_with_arch() -> None:
    """With a single rival dividing by its error changes nothing."""
    table = losses({"a": 1.5}, seed=2)
    spa = SPA(table["base"], table[["a"]], block_size=10, reps=1000, seed=20120106)
    spa.compute()
    assert superior_ability(table, "base") == tuple(spa.pvalues[["lower", "consistent", "upper"]])


def test_superior_ability_of_twins_and_of_few_dates() -> None:
    table = losses({"a": 1.0})
    assert superior_ability(table.assign(a=table["base"]), "base") == (1.0, 1.0, 1.0)
    twin = table.assign(twin=table["base"])
    assert superior_ability(twin, "base") == superior_ability(table, "base")
    assert np.isnan(superior_ability(table.iloc[:10], "base")).all()
    with pytest.raises(DataContractError, match="`benchmark` must be one of base, a"):
        superior_ability(table, "c")


def test_confidence_set() -> None:
    table = losses({"a": 0.0, "bad": -8.0, "good": 1.0}, seed=4)
    found = confidence_set(table)
    assert list(found.index)[-1] == "bad"
    assert found["loss"].is_monotonic_increasing
    assert not found.loc["bad", "included"]
    assert found.iloc[0]["p_value"] == 1.0
    mcs = MCS(table.to_numpy(), 0.1, reps=1000, block_size=10, seed=20120106)
    mcs.compute()
    np.testing.assert_allclose(sorted(found["p_value"]), sorted(mcs.pvalues["Pvalue"]))
    assert {table.columns[place] for place in mcs.included} == set(found.index[found["included"]])


def test_confidence_set_of_twins() -> None:
    table = losses({"a": 0.0, "bad": -8.0})
    twins = table.assign(twin=table["bad"], other=table["a"])
    found, plain = confidence_set(twins), confidence_set(table)
    assert found.loc["twin", "p_value"] == found.loc["bad", "p_value"]
    assert found.loc["other", "p_value"] == found.loc["a", "p_value"]
    assert set(plain.index[plain["included"]]) <= set(found.index[found["included"]])
    alone = confidence_set(pd.DataFrame({"a": table["a"], "b": table["a"]}))
    assert (alone["p_value"] == 1.0).all()
    assert confidence_set(table.iloc[:5])["included"].all()
    with pytest.raises(DataContractError, match="level"):
        confidence_set(table, level=0.0)


def test_comparison_table() -> None:
    rng = np.random.default_rng(5)
    common = rng.normal(1, 1, 600)
    parts = {"heads": common - 0.05, "ridge": common + 0.05 * rng.normal(size=600), "awful": common + 1}
    parts["ridge"][7] = np.nan
    table = comparison_table(parts, np.tile(DATES, 2), "heads", 4)
    assert list(table.index) == ["heads", "ridge", "awful"]
    assert (table.loc[["ridge", "awful"], "difference"] < 0).all()
    assert table.loc["ridge", "dm_p_value"] < 0.01
    assert table.loc["ridge", "spa_p_value"] < 0.05
    assert table.loc["heads", "spa_p_value"] > 0.5
    assert np.isnan(table.loc["heads", "difference"])
    assert list(table["mcs_included"]) == [True, False, False]
    # Same rows for all: what ridge lacks, nobody is scored on.
    kept = np.isfinite(parts["ridge"])
    assert table.loc["awful", "loss"] == pytest.approx((common + 1)[kept].mean())
    with pytest.raises(DataContractError, match="`model` must be one of"):
        comparison_table(parts, np.tile(DATES, 2), "other", 4)
