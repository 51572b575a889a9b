"""Backtests of expected shortfall: values by hand, both nulls of Z2, scale, power against a tail that is too small."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import ndtri
from scipy.stats import norm

from features.contracts import FloatArray
from features.errors import DataContractError
from training.tail_es_tests import acerbi_szekely, es_intercept
from training.tail_null import null_pits

A = 0.05
V, E = float(norm.ppf(A)), -float(norm.pdf(norm.ppf(A))) / A


def forecasts(n: int, scale: FloatArray | float = 1.0) -> tuple[FloatArray, FloatArray]:
    return V * np.ones(n) * scale, E * np.ones(n) * scale


def test_z2_by_hand() -> None:
    # ten weeks, a = 0.1: breaches -3 and -2 against e = -2 and -4; 1 - (1.5 + 0.5) / (10 * 0.1)
    y = np.array([-3.0, -2.0, *np.zeros(8)])
    var, es = np.full(10, -1.5), np.array([-2.0, -4.0, *np.full(8, -2.0)])
    found = acerbi_szekely(y, var, es, 0.1, null=null_pits(10))
    assert found.statistic == pytest.approx(-1.0)
    assert (found.n, found.breaches) == (10, 2)


def test_z2_is_zero_on_average_and_both_nulls_agree() -> None:
    var, es = forecasts(520)
    y = ndtri(null_pits(520, draws=300, seed=4))[:, :, 0]
    null = null_pits(520)
    simulated = ndtri(null_pits(520, draws=999, seed=6))
    found = [acerbi_szekely(row, var, es, A, null=null) for row in y[:60]]
    exact = [acerbi_szekely(row, var, es, A, simulated=simulated).p_value for row in y[:60]]
    assert abs(np.mean([acerbi_szekely(row, var, es, A, null=null[:9]).statistic for row in y])) < 0.05
    np.testing.assert_allclose([test.p_value for test in found], exact, atol=0.07)


def test_critical_value_of_z2() -> None:
    # Acerbi and Szekely (2014): at 2.5% and 250 days the 5% critical value is about -0.70 for most laws of the tail
    var = np.full(250, float(norm.ppf(0.025)))
    es = np.full(250, -float(norm.pdf(var[0])) / 0.025)
    null = null_pits(250, draws=4000)
    borderline = np.zeros(250)
    borderline[0] = 250 * 0.025 * 1.70 * es[0]  # one loss that puts Z2 at -0.70
    assert acerbi_szekely(borderline, var, es, 0.025, null=null).p_value == pytest.approx(0.05, abs=0.012)


@pytest.mark.parametrize("horizon", [1, 4])
def test_a_short_tail_is_seen_and_a_true_one_is_not(horizon: int) -> None:
    scale = np.exp(0.4 * np.sin(np.arange(520) / 30))
    y = ndtri(null_pits(520, horizon, draws=20, seed=9))[:, :, 0] * scale
    var, es = forecasts(520, scale)
    null = null_pits(520, horizon)
    p = {
        size: [
            (
                acerbi_szekely(row, size * var, size * es, A, null=null).p_value,
                es_intercept(row, size * var, size * es, A, horizon=horizon, draws=199).p_value,
            )
            for row in y
        ]
        for size in (1.0, 0.75)
    }
    assert (np.array(p[0.75]) < 0.05).mean() > 0.8
    assert (np.array(p[1.0]) < 0.05).mean() < 0.2


def test_intercept_by_hand() -> None:
    # level 0.5 of four weeks with e = -2: errors y / 2 + 1 = -1, 0, 1, 2; shortfall -0.5, quantile 0,
    # influence min(x, 0) / 0.5 + 0.5 = -1.5, 0.5, 0.5, 0.5, so that the error is sqrt(3) / 4
    found = es_intercept(np.array([2.0, -2.0, 0.0, -4.0]), np.full(4, -0.5), np.full(4, -2.0), 0.5, draws=19)
    assert found.statistic == pytest.approx(-0.5 / (np.sqrt(3) / 4))
    assert found.breaches == 2


def test_unit_and_order_of_pairs_do_not_matter() -> None:
    rng = np.random.default_rng(3)
    y, (var, es) = rng.normal(size=(200, 2)), (np.full((200, 2), V), np.full((200, 2), E))
    null = null_pits(200, 1, np.array([[1.0, 0.5], [0.5, 1.0]]))
    unit = np.array([[0.02, 3.0]])
    for run in (lambda *a: acerbi_szekely(*a, A, null=null), lambda *a: es_intercept(*a, A, draws=49)):
        plain, scaled = run(y, var, es), run(y * unit, var * unit, es * unit)
        swapped = run(y[:, ::-1], var, es)
        assert plain.statistic == pytest.approx(scaled.statistic)
        assert plain.statistic == pytest.approx(swapped.statistic)
        assert plain.p_value == pytest.approx(scaled.p_value)


def test_missing_weeks_count_for_nothing() -> None:
    y = np.random.default_rng(3).normal(size=200)
    var, es = forecasts(200)
    held = np.arange(200) >= 30
    for column in (y, es):
        gap = column.copy()
        gap[~held] = np.nan
        args = (gap, var, es) if column is y else (y, var, gap)
        short = es_intercept(y[held], var[held], es[held], A, draws=49)
        assert es_intercept(*args, A, draws=49) == short
        assert acerbi_szekely(*args, A, null=null_pits(200)).n == 170
    assert np.isnan(es_intercept(y[:10], var[:10], es[:10], A).p_value)


def test_bad_input() -> None:
    y, (var, es) = np.zeros(20), forecasts(20)
    with pytest.raises(DataContractError, match="not both"):
        acerbi_szekely(y, var, es, A)
    with pytest.raises(DataContractError, match="es <= var < 0"):
        acerbi_szekely(y, es, var, A, null=null_pits(20))
    with pytest.raises(DataContractError, match="one shape"):
        es_intercept(y, var, es[:-1], A)
    with pytest.raises(DataContractError, match="at least one known row"):
        es_intercept(y * np.nan, var, es, A)
    with pytest.raises(DataContractError, match="`null` must have shape"):
        acerbi_szekely(y, var, es, A, simulated=np.zeros((9, 19, 1)))
