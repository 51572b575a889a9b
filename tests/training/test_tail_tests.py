"""Backtests of quantiles: published values, oracles, symmetry, and size with and without overlap."""

from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2

from features.contracts import FloatArray
from features.errors import DataContractError
from training.tail_dynamic import dynamic_quantile, dynamic_statistic
from training.tail_null import null_pits
from training.tail_tests import breaches, conditional_coverage, hit_statistic, independence, kupiec


def series(n: int, x: int) -> FloatArray:
    return np.r_[np.ones(x), np.zeros(n - x)]


def jorion() -> FloatArray:
    """253 days with transitions 00: 218, 01: 14, 10: 14, 11: 6."""
    runs = [2] * 6 + [1] * 8  # 14 runs of breaches with 6 second days
    quiet = [15] * 13 + [37]  # and a run of quiet days after each
    hits = [0.0] + [value for r, q in zip(runs, quiet, strict=True) for value in [1.0] * r + [0.0] * q]
    return np.array(hits)


def test_jorion_1998() -> None:
    # Jorion, Value at Risk, 3rd ed. (2007), ch. 6: J.P. Morgan 1998, 20 breaches of 252 days at 95%
    # LR_uc 3.91, LR_ind 9.53, LR_cc 13.44, the independence from T00 = 218, T01 = 14, T10 = 14, T11 = 6
    assert kupiec(series(252, 20), 0.05).statistic == pytest.approx(3.91, abs=0.005)
    hits = jorion()
    before, after = hits[:-1], hits[1:]
    counts = [int(((before == i) & (after == j)).sum()) for i in (0, 1) for j in (0, 1)]
    assert counts == [218, 14, 14, 6]
    found = independence(hits, 0.05)
    assert found.statistic == pytest.approx(9.53, abs=0.005)
    assert found.p_value == pytest.approx(chi2.sf(9.53, 1), rel=0.01)
    whole = conditional_coverage(hits, 0.05)
    assert whole.statistic == pytest.approx(kupiec(hits, 0.05).statistic + found.statistic)
    assert whole.p_value == pytest.approx(chi2.sf(whole.statistic, 2))


@pytest.mark.parametrize(
    ("n", "level", "low", "high"),
    [(255, 0.05, 6, 21), (510, 0.05, 16, 36), (1000, 0.05, 37, 65), (255, 0.025, 2, 12), (510, 0.025, 6, 21),
     (1000, 0.025, 15, 36), (510, 0.01, 1, 11), (1000, 0.01, 4, 17)],
)  # fmt: skip
def test_kupiec_regions(n: int, level: float, low: int, high: int) -> None:
    # Kupiec (1995), regions as tabled there: low < N < high is not rejected at 5%
    accepted = [x for x in range(n // 4) if kupiec(series(n, x), level).p_value > 0.05]
    assert (accepted[0] - 1, accepted[-1] + 1) == (low, high)


def test_christoffersen_by_hand() -> None:
    # 0 0 1 1 0 0 1 0: n00 = 2, n01 = 2, n10 = 2, n11 = 1; free 2 log .5 + 2 log .5 + log 1/3 + 2 log 2/3
    free = 4 * np.log(0.5) + np.log(1 / 3) + 2 * np.log(2 / 3)
    tied = 3 * np.log(3 / 7) + 4 * np.log(4 / 7)
    assert independence(np.array([0, 0, 1, 1, 0, 0, 1, 0.0]), 0.05).statistic == pytest.approx(2 * (free - tied))


def test_no_breach_and_all_breaches() -> None:
    assert kupiec(np.zeros(100), 0.05).statistic == pytest.approx(-200 * np.log(0.95))
    assert kupiec(np.ones(10), 0.05).statistic == pytest.approx(-20 * np.log(0.05))
    assert independence(np.zeros(100), 0.05).statistic == 0.0
    assert independence(np.ones(100), 0.05).statistic == 0.0
    assert np.isfinite(dynamic_quantile(np.zeros(100), np.full(100, -1.0), 0.05).statistic)


def test_dynamic_quantile_equals_a_regression() -> None:
    rng = np.random.default_rng(2)
    hits, var, extra = (rng.random(300) < 0.05).astype(float), rng.normal(-1, 0.2, 300), rng.normal(size=300)
    found = dynamic_quantile(hits, var, 0.05, instrument=extra)
    h = hits - 0.05
    x = np.column_stack([np.ones(296), var[4:], extra[4:], *(hits[4 - k : 300 - k] for k in range(1, 5))])
    fit = sm.OLS(h[4:], x).fit()
    # b'X'X b / (a (1 - a)), Engle and Manganelli (2004): the out-of-sample form of the test
    expected = float(fit.params @ (x.T @ x) @ fit.params) / (0.05 * 0.95)
    assert found.statistic == pytest.approx(expected, rel=1e-9)
    assert found.p_value == pytest.approx(chi2.sf(expected, 7))
    assert (found.n, found.breaches) == (296, int(hits[4:].sum()))
    # a constant quantile is no second constant
    assert dynamic_quantile(hits, np.full(300, -1.0), 0.05).note == "chi-square with 5 degrees of freedom"
    plain = dynamic_statistic(hits[None, :, None] > 0.5, np.ones((300, 1), dtype=bool), 0.05)
    assert plain[0] == pytest.approx(dynamic_quantile(hits, np.full(300, -1.0), 0.05).statistic)


def test_dynamic_quantile_sees_an_instrument_that_foretells() -> None:
    rng = np.random.default_rng(5)
    extra = rng.normal(size=520)
    hits = (rng.random(520) < np.where(extra > 1, 0.20, 0.022)).astype(float)
    var, null = np.full(520, -1.0), null_pits(520)
    assert dynamic_quantile(hits, var, 0.05, instrument=extra, null=null).p_value < 0.01
    assert dynamic_quantile(hits, var, 0.05, instrument=rng.normal(size=520), null=null).p_value > 0.05


@given(st.integers(0, 10_000), st.integers(1, 4))
def test_pairs_pool_and_missing_weeks_count_for_nothing(seed: int, lag: int) -> None:
    rng = np.random.default_rng(seed)
    hits = (rng.random((80, 2)) < 0.1).astype(float)
    gap = np.full((lag, 1), np.nan)
    chained = np.vstack([hits[:, :1], gap, hits[:, 1:]])  # a gap as long as the lag keeps the pairs apart
    for run in (kupiec, independence, conditional_coverage):
        step = {} if run is kupiec else {"lag": lag}
        panel, chain = run(hits, 0.1, **step), run(chained, 0.1, **step)  # type: ignore[operator]
        assert panel.statistic == pytest.approx(chain.statistic, abs=1e-9)
        assert (panel.n, panel.breaches) == (chain.n, chain.breaches) == (160, int(hits.sum()))
        moved = run(hits[:, ::-1], 0.1, **step)  # type: ignore[operator]
        assert moved.statistic == pytest.approx(panel.statistic, abs=1e-9)


def test_many_samples_at_once_equal_one_by_one() -> None:
    hits = null_pits(120, draws=5) < 0.1
    known = np.ones((120, 1), dtype=bool)
    for name, run in (
        ("kupiec", kupiec),
        ("independence", independence),
        ("conditional_coverage", conditional_coverage),
    ):
        batch = hit_statistic(name, hits, known, 0.1)  # type: ignore[arg-type]
        single = [run(sample.astype(float), 0.1).statistic for sample in hits]
        np.testing.assert_allclose(batch, single, atol=1e-12)


def test_overlap_fools_the_chi_square_and_not_the_simulation() -> None:
    # 20,000 draws of this null at 364 weeks: the chi-square rejects a true model 21.0% of the time at h = 4
    null, truth = null_pits(364, 4), null_pits(364, 4, draws=150, seed=5)
    naive = proper = lagged = 0
    for hits in (truth < 0.05).astype(float):
        naive += kupiec(hits, 0.05).p_value < 0.05
        proper += kupiec(hits, 0.05, null=null).p_value < 0.05
        lagged += conditional_coverage(hits, 0.05, lag=4, null=null).p_value < 0.05
    assert naive > 0.12 * 150
    assert 0.02 * 150 < proper < 0.09 * 150
    assert 0.01 * 150 < lagged < 0.09 * 150


def test_breaches_are_strict_and_missing_stays_missing() -> None:
    found = breaches(np.array([-1.0, -1.1, np.nan, 0.0]), np.array([-1.0, -1.0, -1.0, np.nan]))
    np.testing.assert_array_equal(found, [0, 1, np.nan, np.nan])


def test_bad_input() -> None:
    with pytest.raises(DataContractError, match=r"inside \(0, 1\)"):
        kupiec(np.zeros(10), 5.0)
    with pytest.raises(DataContractError, match="at least one known row"):
        kupiec(np.full(10, np.nan), 0.05)
    with pytest.raises(DataContractError, match="`lag` must be"):
        independence(np.zeros(10), 0.05, lag=10)
    with pytest.raises(DataContractError, match="`null` must have shape"):
        kupiec(np.zeros(10), 0.05, null=null_pits(11))
    with pytest.raises(DataContractError, match="no row has 4 earlier"):
        dynamic_quantile(np.zeros(10), np.full(10, -1.0), 0.05, lag=4)
    with pytest.raises(DataContractError, match="must have the shape"):
        dynamic_quantile(np.zeros(10), np.full(9, -1.0), 0.05)
    with pytest.raises(DataContractError, match="breaches only"):
        hit_statistic("acerbi_szekely", np.zeros((1, 10, 1), dtype=bool), np.ones((10, 1), dtype=bool), 0.05)
