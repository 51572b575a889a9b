"""Start and calibration of a head: oracles, their limits, and what they do with and without signal."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize, minimize_scalar
from scipy.special import expit

from features.contracts import FloatArray, TimeArray
from models.design import Design, build_layout, training_weights
from models.heads import Head, Labels, calibrate, fit_head
from models.linear import RidgeLogit
from models.settings import HeadSettings, TreeSettings

CUT = np.datetime64("2020-01-03", "us")
SETTINGS = HeadSettings()
NOTHING = RidgeLogit(np.zeros(1), 0.0, np.zeros((2, 2)))
HEAD = Head("switch", 4, NOTHING, 0.75, NOTHING, ())


def days(n: int, pairs: int = 1) -> TimeArray:
    """Return the last n weekly decisions before the cut, each once a pair."""
    return np.repeat(CUT - np.arange(n, 0, -1) * np.timedelta64(7, "D"), pairs)


def scores(seed: int, n: int, linear: float, trees: float) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Draw linear and tree scores of given sizes, and base log-odds."""
    rng = np.random.default_rng(seed)
    return linear * rng.normal(size=n), trees * rng.normal(size=n), rng.normal(-1.2, 0.3, n)


def labels(seed: int, log_odds: FloatArray) -> FloatArray:
    return np.where(np.random.default_rng(seed).random(len(log_odds)) < expit(log_odds), 1.0, 0.0)


def past(y: FloatArray, start: FloatArray, dates: TimeArray) -> Labels:
    """Return outcomes beside the log-odds that earlier bundles departed from; calibration reads no scenario set."""
    return Labels(y, start, np.full(len(y), np.nan), dates)


def test_the_deviation_is_linear_in_its_parts() -> None:
    head = replace(HEAD, pool=0.25, slope=0.8)
    np.testing.assert_allclose(head.deviation(np.array([1.0, -2.0]), np.array([4.0, 0.0])), [1.6, -1.6])


def test_below_208_dates_nothing_is_learned() -> None:
    linear, trees, base = scores(1, 207 * 4, 0.5, 0.5)
    y = labels(2, base)
    assert calibrate(HEAD, (linear, trees), past(y, base, days(207, 4)), CUT, SETTINGS) is HEAD
    linear, trees, base = scores(1, 208, 0.5, 0.5)
    fitted = calibrate(HEAD, (linear, trees), past(labels(2, base), base, days(208)), CUT, SETTINGS)
    assert (fitted.pool, fitted.slope) != (HEAD.pool, HEAD.slope)
    assert (fitted.linear, fitted.boosters) == (HEAD.linear, HEAD.boosters)


@pytest.mark.parametrize("horizon", [1, 4])
def test_pool_and_slope_minimise_the_penalised_loss(horizon: int) -> None:
    linear, trees, base = scores(3, 1200, 0.4, 0.6)
    y, when = labels(4, base + linear + 0.7 * trees), days(300, 4)
    head = replace(HEAD, horizon=horizon)
    fitted = calibrate(head, (linear, trees), past(y, base, when), CUT, SETTINGS)
    weight = training_weights(when, horizon, CUT, SETTINGS.halflife_years)

    def loss(log_odds: FloatArray) -> float:
        return float(weight @ (np.logaddexp(0, log_odds) - y * log_odds))

    # Penalties are those of an effect of half a log-odd, hence the quarter, and rise as the horizon falls.
    unit = 0.5 * 0.25 * 4 / horizon
    pool = minimize_scalar(
        lambda p: loss(base + linear + p * trees) + unit * SETTINGS.pool_penalty * (p - 0.5) ** 2,
        bounds=(0, 1), method="bounded", options={"xatol": 1e-9},
    ).x  # fmt: skip
    assert fitted.pool == pytest.approx(pool, abs=1e-5)
    deviation = linear + pool * trees
    slope = minimize_scalar(
        lambda s: loss(base + s * deviation) + unit * SETTINGS.platt_slope_penalty * (s - 1) ** 2,
        bounds=(0, 5), method="bounded", options={"xatol": 1e-9},
    ).x  # fmt: skip
    assert fitted.slope == pytest.approx(slope, abs=1e-4)


@settings(max_examples=40)
@given(
    seed=st.integers(0, 10_000),
    linear=st.sampled_from([0.0, 1e-6, 0.05, 0.5, 5.0]),
    trees=st.sampled_from([0.0, 1e-6, 0.05, 0.5, 5.0]),
    truth=st.floats(-3, 3),
    rate=st.sampled_from([0.0, 0.5, 1.0]),
)
def test_pool_stays_in_the_unit_interval_and_slope_above_nought(
    seed: int, linear: float, trees: float, truth: float, rate: float
) -> None:
    a, b, base = scores(seed, 220, linear, trees)
    y = labels(seed, base + truth * (a + b)) if rate == 0.5 else np.full(220, rate)
    fitted = calibrate(HEAD, (a, b), past(y, base, days(220)), CUT, SETTINGS)
    assert 0.0 <= fitted.pool <= 1.0
    assert 0.0 <= fitted.slope < np.inf


@pytest.mark.parametrize("seed", range(5))
def test_scores_that_hardly_move_teach_nothing(seed: int) -> None:
    # Before the penalties had a unit, noise of any size was blown up to one tenth of a log-odd.
    linear, trees, base = scores(seed, 1200, 0.01, 0.01)
    fitted = calibrate(HEAD, (linear, trees), past(labels(seed + 50, base), base, days(300, 4)), CUT, SETTINGS)
    assert fitted.pool == pytest.approx(0.5, abs=0.1)
    assert fitted.slope == pytest.approx(1.0, abs=0.1)


def test_few_outcomes_leave_it_near_the_identity_and_many_let_noise_shrink() -> None:
    def slope(n: int) -> float:
        found = []
        for seed in range(8):
            linear, trees, base = scores(seed, n, 0.4, 0.0)
            y = labels(seed + 90, base)
            spread = CUT - np.linspace(n, 1, n).astype(int) * np.timedelta64(1, "D")
            found.append(
                calibrate(replace(HEAD, horizon=1), (linear, trees), past(y, base, spread), CUT, SETTINGS).slope
            )
        return float(np.mean(found))

    few, many = slope(208), slope(4000)
    assert 0.3 < few < 1.0
    assert many < 0.25


@pytest.mark.parametrize(("truth", "low", "high"), [(0.4, 0.3, 0.75), (1.0, 0.85, 1.15), (1.8, 1.25, 1.9)])
def test_the_slope_follows_the_signal(truth: float, low: float, high: float) -> None:
    linear, trees, base = scores(5, 6000, 0.6, 0.0)
    y = labels(6, base + truth * linear)
    spread = CUT - np.linspace(6000, 1, 6000).astype(int) * np.timedelta64(1, "D")
    fitted = calibrate(replace(HEAD, horizon=1), (linear, trees), past(y, base, spread), CUT, SETTINGS)
    assert low < fitted.slope < high


def test_infinite_penalties_are_the_identity() -> None:
    stiff = replace(SETTINGS, pool_penalty=1e12, platt_slope_penalty=1e12)
    linear, trees, base = scores(7, 300, 0.5, 0.5)
    fitted = calibrate(HEAD, (linear, trees), past(labels(8, base + 3 * linear), base, days(300)), CUT, stiff)
    assert fitted.pool == pytest.approx(0.5, abs=1e-6)
    assert fitted.slope == pytest.approx(1.0, abs=1e-6)


def test_inputs_are_not_changed_and_row_order_is_irrelevant() -> None:
    linear, trees, base = scores(9, 600, 0.5, 0.5)
    y, when = labels(10, base + linear), days(300, 2)
    kept = [part.copy() for part in (linear, trees, base, y, when)]
    fitted = calibrate(HEAD, (linear, trees), past(y, base, when), CUT, SETTINGS)
    assert all(np.array_equal(a, b) for a, b in zip((linear, trees, base, y, when), kept, strict=True))
    order = np.random.default_rng(0).permutation(600)
    other = calibrate(HEAD, (linear[order], trees[order]), past(y[order], base[order], when[order]), CUT, SETTINGS)
    assert (fitted.pool, fitted.slope) == pytest.approx((other.pool, other.slope), abs=1e-9)


QUICK = replace(SETTINGS, trees=TreeSettings(rounds=1, seeds=1))


def scenario_labels(seed: int, n: int, slope: float, shift: float = 0.0) -> Labels:
    """Draw outcomes whose log-odds are level + shift + slope (implied - level); every third row has no set."""
    rng = np.random.default_rng(seed)
    level, gap = rng.normal(-1.0, 0.3, n), rng.normal(0.0, 1.0, n)
    known = np.arange(n) % 3 > 0
    y = labels(seed + 1, level + np.where(known, shift + slope * gap, 0.0))
    return Labels(y, level, np.where(known, level + gap, np.nan), days(n))


def started(past: Labels, settings: HeadSettings) -> Head:
    """Fit a head that has nothing to read but the style in force."""
    layout = build_layout("switch", ())
    style = np.where(np.random.default_rng(0).random(len(past.y)) < 0.5, 1.0, -1.0)[:, None]
    return fit_head(Design(layout, style, style), past, 4, CUT, settings)


def test_the_start_is_the_level_moved_by_the_scenario_set_where_there_is_one() -> None:
    head = replace(HEAD, scenario=RidgeLogit(np.array([-0.25]), 0.1, np.diag([0.04, 0.09])), prior=0.75)
    level, implied = np.array([-1.0, -1.0, 0.5]), np.array([1.0, np.nan, 0.5])
    np.testing.assert_allclose(head.start(level, implied), [-1.0 + 0.1 + 0.5 * 2.0, -1.0, 0.6])
    np.testing.assert_allclose(head.start_error(level, implied), [np.sqrt(0.04 + 0.09 * 4), 0.0, 0.2])


def test_the_scenario_part_minimises_the_penalised_loss_of_the_rows_with_a_set() -> None:
    past = scenario_labels(21, 900, 0.3, shift=0.2)
    head = started(past, QUICK)
    known = np.isfinite(past.implied)
    gap, weight = (past.implied - past.level)[known], training_weights(past.dates, 4, CUT, QUICK.halflife_years)[known]

    def loss(x: FloatArray) -> float:
        log_odds = past.level[known] + x[0] + (head.prior + x[1]) * gap
        penalty = 0.5 * QUICK.scenario_penalty * float(x @ x)
        return float(weight @ (np.logaddexp(0, log_odds) - past.y[known] * log_odds)) + penalty

    best = minimize(loss, np.zeros(2), method="BFGS", options={"gtol": 1e-8}).x
    np.testing.assert_allclose([head.scenario.intercept, head.scenario.coef[0]], best, atol=1e-5)
    assert head.scenario.covariance.shape == (2, 2)


def test_the_scenario_part_follows_the_data_and_with_few_its_prior() -> None:
    settings = replace(QUICK, halflife_years=1e6)
    prior = started(scenario_labels(23, 60, 0.0), settings).prior
    truth = prior + (0.5 if prior < 0.5 else -0.5)
    many, few = (started(scenario_labels(23, n, truth), settings) for n in (12_000, 60))
    assert many.prior + many.scenario.coef[0] == pytest.approx(truth, abs=0.1)
    assert abs(few.scenario.coef[0]) < abs(truth - prior) / 2
    stiff = started(scenario_labels(23, 900, truth), replace(settings, scenario_penalty=1e12))
    np.testing.assert_allclose([stiff.scenario.intercept, stiff.scenario.coef[0]], 0.0, atol=1e-8)


def test_without_any_scenario_set_the_head_starts_at_its_level() -> None:
    past = scenario_labels(25, 300, 0.5)
    head = started(replace(past, implied=np.full(300, np.nan)), QUICK)
    assert head.scenario.coef.tolist() == [0.0]
    assert np.array_equal(head.start(past.level, np.full(300, np.nan)), past.level)
    assert (head.start_error(past.level, np.full(300, np.nan)) == 0).all()
    # The first bundle with a set starts at its prior.
    moved = head.start(past.level, past.level + 1.0)
    np.testing.assert_allclose(moved, past.level + head.prior)
