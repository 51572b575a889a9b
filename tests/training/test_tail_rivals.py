"""Each model of the comparison set against a plain calculation, a closed form or arch."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from arch import arch_model
from scipy.stats import genpareto, norm
from scipy.stats import t as student

from features.contracts import TAIL_COLUMNS, FloatArray, TimeArray
from models.curve import QUANTILE_COLUMNS
from training.tail_rivals import (
    RIVALS,
    YARDSTICK,
    EvtParams,
    Week,
    ewma_normal,
    fhs_evt,
    garch_t,
    historical,
    sample_row,
)
from training.tail_yardstick import TailParams, TailSettings, fit_tail

SETTINGS = TailSettings(paths=20_000, min_days=250, window_days=1000, seed=3)
STEPS = {1: 5, 4: 20}


def line(n: int = 1200, seed: int = 0) -> tuple[TimeArray, FloatArray]:
    rng = np.random.default_rng(seed)
    level = np.repeat(np.exp(0.3 * rng.standard_normal(n // 20 + 1)), 20)[:n]
    return np.datetime64("2010-01-01", "us") + np.arange(n) * np.timedelta64(1, "D"), np.cumsum(
        0.01 * level * rng.standard_t(5, n)
    )


def week(x: FloatArray, dates: TimeArray, gap: int = 1, key: int = 7) -> Week:
    return Week(dates, x, gap, STEPS, key)


@pytest.mark.parametrize("name", list(RIVALS))
def test_contract(name: str) -> None:
    dates, x = line()
    rival = RIVALS[name]
    assert rival.fit(dates[:250], x[:250], SETTINGS) is None
    fitted = rival.fit(dates, x, SETTINGS)
    held = x.copy()
    rows = rival.forecast(fitted, week(x, dates))
    np.testing.assert_array_equal(x, held)
    assert rows == rival.forecast(fitted, week(x, dates))
    assert set(rows) == {1, 4}
    for row in rows.values():
        assert tuple(row.columns()) == (*TAIL_COLUMNS, *QUANTILE_COLUMNS)
        assert (np.diff(row.quantiles) >= 0).all()
        assert row.quantiles[2] >= row.var_975 >= row.quantiles[1]  # levels 0.025 and 0.015
        assert row.es_975 < row.es_95 < row.var_95 < 0 < row.var_95_up < row.es_95_up < row.es_975_up
    assert rows[4].es_95 < 1.4 * rows[1].es_95
    # only the window counts
    keep = SETTINGS.window_days + 1
    assert rival.forecast(rival.fit(dates[-keep:], x[-keep:], SETTINGS), week(x[-keep:], dates[-keep:])) == rows


def test_historical_by_hand() -> None:
    dates, x = line()
    changes = sorted(x[k + 5] - x[k] for k in range(len(x) - 1001, len(x) - 5))
    row = historical(SETTINGS, week(x, dates))[1]
    mass = 0.05 * len(changes)
    rank = int(np.ceil(mass)) - 1
    assert len(changes) == 996
    assert row.var_95 == changes[rank]
    assert row.es_95 == pytest.approx((sum(changes[:rank]) + (mass - rank) * changes[rank]) / mass)
    assert row.var_95_up == changes[-rank - 1]


def test_ewma_by_recursion() -> None:
    dates, x = line()
    variance = 0.0
    for change in np.diff(x[-1001:]):
        variance = 0.94 * variance + 0.06 * change**2
    for h, row in ewma_normal(SETTINGS, week(x, dates)).items():
        sigma = np.sqrt(variance * STEPS[h])
        assert row.var_95 == pytest.approx(-1.6448536 * sigma)
        assert row.es_975 == pytest.approx(-norm.pdf(1.959964) / 0.025 * sigma)
        assert row.var_975_up == -row.var_975


def flat(eta: float) -> TailParams:
    return TailParams(
        omega=1.0, alpha=0.0, gamma=0.0, beta=0.0, eta=eta, skew=0.0, scale=100.0, backcast_days=75,
        backcast_decay=0.94, fitted_through=0, converged=1, settings=SETTINGS,
    )  # fmt: skip


def test_garch_t_of_one_session_is_a_student_t() -> None:
    dates, x = line()
    row = garch_t(flat(5.0), replace(week(x, dates), steps={1: 1}))[1]
    unit = 0.01 * np.sqrt(3 / 5)
    q = student.ppf(0.05, 5)
    assert row.var_95 == pytest.approx(unit * q, rel=0.03)
    assert row.es_95 == pytest.approx(-unit * student.pdf(q, 5) / 0.05 * (5 + q**2) / 4, rel=0.04)


def test_garch_t_agrees_with_arch() -> None:
    dates, x = line(1001, 4)
    params = RIVALS["garch_t"].fit(dates, x, SETTINGS)
    model = arch_model(np.diff(x) * 100, mean="Zero", vol="GARCH", p=1, q=1, dist="t", rescale=False)
    fixed = model.fix([params.omega, params.alpha, params.beta, params.eta])
    theirs = fixed.forecast(horizon=21, method="simulation", simulations=20_000, reindex=False, random_state=None)
    values = theirs.simulations.values[0, :, 1:].sum(axis=1) / 100  # the first session is the gap
    mine, other = garch_t(params, week(x, dates))[4], sample_row(values)
    for name in ("var_95", "es_95", "var_95_up", "es_95_up"):
        assert getattr(mine, name) == pytest.approx(getattr(other, name), rel=0.06)


def test_evt_of_one_session_is_the_pareto_law() -> None:
    # constant variance of 1% a day: beyond the threshold u the quantile is u + s ((a / share)^-xi - 1) / xi
    rng = np.random.default_rng(2)
    dates = np.datetime64("2010-01-01", "us") + np.arange(1001) * np.timedelta64(1, "D")
    x = np.append(0.0, np.cumsum(0.01 * rng.normal(size=1000)))
    z = np.diff(x) / 0.01
    u = float(np.quantile(-z, 0.9))
    fitted = EvtParams(flat(8.0), (u, 0.2, 0.6), (float(np.quantile(z, 0.9)), 0.0, 0.5))
    row = fhs_evt(fitted, replace(week(x, dates), steps={1: 1}))[1]
    share = float((-z > u).mean())
    assert row.var_975 == pytest.approx(-0.01 * (u + genpareto.ppf(1 - 0.025 / share, 0.2, scale=0.6)), rel=0.03)
    upper = fitted.upper[0] + 0.5 * np.log(share / 0.025)
    assert row.var_975_up == pytest.approx(0.01 * upper, rel=0.03)


def test_evt_fit_recovers_the_shape() -> None:
    dates, x = line(6000, 9)
    fitted = RIVALS["fhs_evt"].fit(dates, x, TailSettings(window_days=6000))
    assert fitted.params == fit_tail(dates, x, TailSettings(window_days=6000))
    for threshold, shape, scale in (fitted.lower, fitted.upper):
        assert 1.0 < threshold < 1.5
        assert 0.0 < shape < 0.4  # Student t with 5 degrees: 0.2
        assert 0.4 < scale < 1.0


def test_yardstick_is_among_them() -> None:
    assert next(iter(RIVALS)) == YARDSTICK
