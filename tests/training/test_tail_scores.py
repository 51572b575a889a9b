"""Losses of tail forecasts: values by hand, the law they elicit, integrals, intervals against statsmodels."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import norm

from features.contracts import FloatArray
from features.errors import DataContractError
from training.tail_scores import (
    crps,
    fz0,
    loss_difference,
    loss_difference_bootstrap,
    pinball,
    quantile_weights,
)

A = 0.05
V, E = float(norm.ppf(A)), -float(norm.pdf(norm.ppf(A))) / A
DATES = np.datetime64("2012-01-06", "us") + 7 * np.arange(400) * np.timedelta64(1, "D")


def one(value: float) -> FloatArray:
    return np.array([value])


def test_fz0_by_hand() -> None:
    # y > v: -1/-2 ... v / e + log 2 - 1; y <= v: plus (v - y) / (a |e|) = 0.5 / 0.1 = 5
    np.testing.assert_allclose(fz0(one(-1.0), one(-2.0), one(0.3), A), 0.5 + np.log(2) - 1)
    np.testing.assert_allclose(fz0(one(-1.0), one(-2.0), one(-1.5), A), 5.5 + np.log(2) - 1)
    np.testing.assert_allclose(fz0(one(-1.0), one(-2.0), one(-1.0), A), 0.5 + np.log(2) - 1)


def test_fz0_and_pinball_are_lowest_at_the_truth() -> None:
    y = norm.ppf((np.arange(200_000) + 0.5) / 200_000)
    grid = [(V * s, E * t) for s in (0.85, 1.0, 1.15) for t in (0.9, 1.0, 1.1)]
    means = [fz0(np.full(len(y), v), np.full(len(y), e), y, A).mean() for v, e in grid if e <= v]
    truth = fz0(np.full(len(y), V), np.full(len(y), E), y, A).mean()
    assert truth == min(means)
    # closed form at the truth: E[(v - y) 1] = a (v - e), so that the mean is log(-e)
    assert truth == pytest.approx(np.log(-E), abs=1e-3)
    losses = [pinball(np.full(len(y), q), y, A).mean() for q in (1.1 * V, V, 0.9 * V)]
    assert np.argmin(losses) == 1


def test_fz0_differences_do_not_depend_on_the_unit() -> None:
    y = np.random.default_rng(0).normal(size=50)
    near, far = (fz0(np.full(50, V * s), np.full(50, E * s), y, A) for s in (1.0, 1.3))
    near_bp, far_bp = (fz0(np.full(50, 1e4 * V * s), np.full(50, 1e4 * E * s), 1e4 * y, A) for s in (1.0, 1.3))
    np.testing.assert_allclose(near - far, near_bp - far_bp, atol=1e-9)


def test_fz0_leaves_missing_missing_and_refuses_disorder() -> None:
    found = fz0(np.array([-1.0, np.nan]), np.array([-2.0, np.nan]), np.array([np.nan, 0.1]), A)
    assert np.isnan(found).all()
    for v, e in ((0.1, -1.0), (-2.0, -1.0)):
        with pytest.raises(DataContractError, match="es <= var < 0"):
            fz0(one(v), one(e), one(0.0), A)


@given(st.lists(st.floats(-3, 3), min_size=1, max_size=8), st.floats(-3, 3), st.floats(-3.5, 3.5), st.integers(0, 1000))
def test_crps_equals_the_integral(values: list[float], y: float, threshold: float, seed: int) -> None:
    x = np.sort(values)
    w = np.random.default_rng(seed).uniform(0.1, 1, len(x))
    edges = np.unique(np.concatenate([x, [y, -4.0, 4.0, threshold]]))
    total = below = 0.0
    for low, high in itertools.pairwise(edges):
        middle = (low + high) / 2
        area = (w[x <= middle].sum() / w.sum() - (y <= middle)) ** 2 * (high - low)
        total += area
        below += area * (high <= threshold)
    assert crps(x, w, y) == pytest.approx(total, abs=1e-9)
    assert crps(x, w, y, threshold) == pytest.approx(below, abs=1e-9)


def test_crps_of_the_normal() -> None:
    # closed form, Gneiting and Raftery (2007): y (2 Phi(y) - 1) + 2 phi(y) - 1 / sqrt(pi)
    levels = (np.arange(4000) + 0.5) / 4000
    sample, weights = norm.ppf(levels), quantile_weights(levels)
    for y in (-2.0, 0.0, 0.7):
        closed = y * (2 * norm.cdf(y) - 1) + 2 * norm.pdf(y) - 1 / np.sqrt(np.pi)
        assert crps(sample, weights, y) == pytest.approx(closed, abs=1e-3)
        lower = quad(lambda z, at=y: (norm.cdf(z) - (at <= z)) ** 2, -12, -1, points=[max(y, -11.9)], limit=200)[0]
        assert crps(sample, weights, y, threshold=-1.0) == pytest.approx(lower, abs=1e-3)


def test_levels_must_increase() -> None:
    with pytest.raises(DataContractError, match="must increase"):
        quantile_weights(np.array([0.5, 0.1]))


def test_difference_equals_statsmodels() -> None:
    rng = np.random.default_rng(3)
    loss = np.convolve(rng.normal(size=403), np.ones(4), "valid")
    found = loss_difference(loss, np.zeros(400), DATES)
    width = int(np.ceil(1.3 * np.sqrt(400)))
    fit = sm.OLS(loss, np.ones(400)).fit(cov_type="HAC", cov_kwds={"maxlags": width - 1, "use_correction": False})
    b = width / 400
    critical = 1.6449 + 2.1859 * b + 0.3142 * b**2 - 0.3427 * b**3
    assert found.mean == pytest.approx(loss.mean())
    assert (found.high - found.low) / 2 == pytest.approx(critical * float(fit.bse[0]), rel=1e-9)
    assert (found.n, found.dates) == (400, 400)


def test_critical_values_are_those_of_the_fixed_bandwidth() -> None:
    # the law of a t-statistic whose variance has bandwidth b, simulated
    rng = np.random.default_rng(8)
    n, width = 300, 24
    x = rng.normal(size=(8000, n))
    u = x - x.mean(axis=1, keepdims=True)
    variance = (u**2).sum(axis=1)
    for lag in range(1, width):
        variance += 2 * (1 - lag / width) * (u[:, lag:] * u[:, :-lag]).sum(axis=1)
    t = np.abs(x.sum(axis=1)) / np.sqrt(variance)
    b = width / n
    assert np.quantile(t, 0.90) == pytest.approx(1.6449 + 2.1859 * b + 0.3142 * b**2 - 0.3427 * b**3, rel=0.03)
    assert np.quantile(t, 0.95) == pytest.approx(1.9600 + 2.9694 * b + 0.4160 * b**2 - 0.5324 * b**3, rel=0.03)


def test_rows_of_a_date_are_one_observation() -> None:
    loss = np.random.default_rng(1).normal(size=400)
    single = loss_difference(loss, np.zeros(400), DATES)
    thrice = loss_difference(np.tile(loss, 3), np.zeros(1200), np.tile(DATES, 3))
    assert thrice.n == 1200
    np.testing.assert_allclose(thrice[:3], single[:3])
    boot = [loss_difference_bootstrap(np.tile(loss, k), np.zeros(400 * k), np.tile(DATES, k), seed=1) for k in (1, 3)]
    np.testing.assert_allclose(boot[0][:3], boot[1][:3])


def test_missing_losses_are_left_out_of_both() -> None:
    loss, base = np.ones(40), np.zeros(40)
    loss[3], base[5] = np.nan, np.nan
    assert loss_difference(loss, base, DATES[:40]) == (1.0, 1.0, 1.0, 38, 38)
    assert np.isnan(loss_difference(loss[:10], base[:10], DATES[:10]).low)
    assert np.isnan(loss_difference(loss[:0], base[:0], DATES[:0]).mean)
    with pytest.raises(DataContractError, match="pair up"):
        loss_difference(loss, base[:-1], DATES[:40])
    with pytest.raises(DataContractError, match="`level` must be one of"):
        loss_difference(loss, base, DATES[:40], level=0.5)


def test_interval_holds_the_truth_on_overlapping_losses() -> None:
    rng = np.random.default_rng(11)
    found = [loss_difference(np.convolve(rng.standard_t(5, 363), np.ones(4), "valid"), np.zeros(360), DATES[:360])
             for _ in range(300)]  # fmt: skip
    assert 0.85 < np.mean([each.low <= 0 <= each.high for each in found]) < 0.95


def test_bootstrap_agrees_with_the_interval() -> None:
    loss = np.convolve(np.random.default_rng(4).normal(size=403), np.ones(4), "valid")
    hac = loss_difference(loss, np.zeros(400), DATES)
    boot = loss_difference_bootstrap(loss, np.zeros(400), DATES, seed=3)
    assert boot == loss_difference_bootstrap(loss, np.zeros(400), DATES, seed=3)
    assert (boot.high - boot.low) / (hac.high - hac.low) == pytest.approx(1, abs=0.3)


def test_crps_of_many_rows_is_that_of_each_and_missing_stays_missing() -> None:
    rng = np.random.default_rng(3)
    values, y, edge = np.sort(rng.normal(size=(4, 5, 30))), rng.normal(size=(4, 5)), rng.normal(size=(4, 5))
    weights = rng.uniform(0.5, 1.5, 30)
    y[0, 0], values[1, 1] = np.nan, np.nan
    found = crps(values, weights, y, edge)
    assert np.isnan(found[0, 0])
    assert np.isnan(found[1, 1])
    assert np.isfinite(found).sum() == 18
    assert found[2, 3] == pytest.approx(float(crps(values[2, 3], weights, y[2, 3], edge[2, 3])))
