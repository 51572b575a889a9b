"""Validity of the tail tests at 520 weeks: a true model is rejected 5% of the time, overlap or not; power on record."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy.special import ndtri
from scipy.stats import norm

from features.contracts import FloatArray
from training.tail_dynamic import dynamic_quantile
from training.tail_es_tests import acerbi_szekely, es_intercept
from training.tail_null import null_pits
from training.tail_phases import by_phase
from training.tail_power import power
from training.tail_tests import TESTS, TailTest, TestName, breaches, conditional_coverage, independence, kupiec

N, LEVEL, SAMPLES = 520, 0.05, 1000
V, E = float(norm.ppf(LEVEL)), -float(norm.pdf(norm.ppf(LEVEL))) / LEVEL
SCALE = 0.02 * np.exp(0.4 * np.sin(np.arange(N) / 25))
"""A volatility that the true model follows, so that quantile and shortfall vary."""
Record = Callable[[str, object], None]

pytestmark = pytest.mark.slow


def run(test: TestName, y: FloatArray, var: FloatArray, es: FloatArray, horizon: int) -> TailTest:
    null = null_pits(len(y), horizon)
    hits = breaches(y, var)
    if test == "kupiec":
        return kupiec(hits, LEVEL, null=null)
    if test == "independence":
        return independence(hits, LEVEL, lag=horizon, null=null)
    if test == "conditional_coverage":
        return conditional_coverage(hits, LEVEL, lag=horizon, null=null)
    if test == "dynamic_quantile":
        return dynamic_quantile(hits, var, LEVEL, lag=horizon, null=null)
    if test == "acerbi_szekely":
        return acerbi_szekely(y, var, es, LEVEL, null=null)
    return es_intercept(y, var, es, LEVEL, horizon=horizon, draws=299)


@pytest.mark.parametrize("horizon", [1, 4])
@pytest.mark.parametrize("test", TESTS)
def test_size(test: TestName, horizon: int, record_property: Record) -> None:
    y = ndtri(null_pits(N, horizon, draws=SAMPLES, seed=77))[:, :, 0] * SCALE
    size = np.mean([run(test, row, V * SCALE, E * SCALE, horizon).p_value < 0.05 for row in y])
    record_property(f"size_{test}_{horizon}w", float(size))
    assert 0.03 <= size <= 0.07


@pytest.mark.parametrize("test", TESTS[:4])
def test_size_of_combined_phases(test: TestName, record_property: Record) -> None:
    y = ndtri(null_pits(N, 4, draws=SAMPLES, seed=78))[:, :, 0] * SCALE
    var, es = V * SCALE, E * SCALE
    p = [by_phase(lambda rows, row=row: run(test, row[rows], var[rows], es[rows], 1), 4).p_value for row in y]  # type: ignore[misc]
    size = np.mean(np.array(p) < 0.05)
    record_property(f"size_{test}_phases", float(size))
    assert 0.03 <= size <= 0.07


@pytest.mark.parametrize("level", [0.05, 0.025])
@pytest.mark.parametrize("n", [104, 260, 520])
@pytest.mark.parametrize("horizon", [1, 4])
def test_power_is_on_record(level: float, n: int, horizon: int, record_property: Record) -> None:
    for test in TESTS:
        value = power(test, n, level, horizon=horizon, draws=1000)
        record_property(f"power_{test}_{n}_{horizon}w_{level}", value)
        assert value > 0.03


def test_the_chi_square_is_fooled_by_overlap(record_property: Record) -> None:
    # 20,000 draws of this null: 19.0% (0.3) at 520 weeks, 21.0% at 364, 20.6% at 104; 17.8%, 16.5%, 26.9% at a = 2.5%
    hits = (null_pits(N, 4, draws=SAMPLES, seed=79)[:, :, 0] < LEVEL).astype(float)
    size = np.mean([kupiec(row, LEVEL).p_value < 0.05 for row in hits])
    record_property("size_kupiec_4w_chi_square", float(size))
    assert 0.15 < size < 0.23


@pytest.mark.parametrize("nu", [0, 5])
def test_size_when_the_truth_is_a_garch(nu: int, record_property: Record) -> None:
    """The null has independent weeks; a true model of a GARCH market has not quite."""
    rng = np.random.default_rng(80)
    samples, omega, alpha, beta = 400, 0.05, 0.10, 0.85

    def shocks(shape: tuple[int, ...]) -> FloatArray:
        return rng.standard_t(nu, shape) * np.sqrt((nu - 2) / nu) if nu else rng.standard_normal(shape)

    z, h = shocks((N + 103, samples)), np.ones(samples)
    returns, variance = np.empty(z.shape), np.empty(z.shape)
    for week, row in enumerate(z):
        variance[week] = h
        returns[week] = np.sqrt(h) * row
        h = omega + alpha * returns[week] ** 2 + beta * h
    # true quantile and shortfall of four weeks as functions of the variance, on a grid
    grid = np.quantile(variance, np.linspace(0, 1, 60))
    paths, at = np.zeros((60, 40_000)), np.repeat(grid[:, None], 40_000, axis=1)
    for _ in range(4):
        step = np.sqrt(at) * shocks(at.shape)
        paths += step
        at = omega + alpha * step**2 + beta * at
    paths.sort(axis=1)
    q, s = paths[:, 1999], paths[:, :2000].mean(axis=1)
    y = sum(returns[100 + k : 100 + k + N] for k in range(4)).T
    known = variance[100 : 100 + N].T
    for test in TESTS:
        found = [run(test, y[i], np.interp(known[i], grid, q), np.interp(known[i], grid, s), 4) for i in range(samples)]
        size = float(np.mean([each.p_value < 0.05 for each in found]))
        record_property(f"size_{test}_garch_{nu}", size)
        assert size <= 0.12, (test, size)
