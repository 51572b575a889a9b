"""The joint regression against plain least squares and a Newey-West covariance written out."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import t as student

from features.contracts import FloatArray
from features.errors import DataContractError
from models.correlation import newey_west_lags
from models.style_regression import joint_regression
from tests.features.real import real_observations
from tests.models.ladder import FIFTH_MICRO, ONLY_2000, fund_of, ladder
from tests.models.real_ladder import real_ladder

FUND, TIERS = fund_of(ladder(1), FIFTH_MICRO, 1), ladder(1).to_numpy()


def least_squares(y: FloatArray, x: FloatArray) -> tuple[FloatArray, FloatArray, float]:
    """Coefficients without the intercept, residuals and R2."""
    design = np.column_stack([np.ones(len(y)), x])
    beta = np.linalg.lstsq(design, y, rcond=None)[0]
    error = y - design @ beta
    return beta[1:], error, float(1 - error @ error / np.sum((y - y.mean()) ** 2))


def test_smallest_tier_keeps_its_joint_coefficient_and_the_others_those_without_it() -> None:
    """Frisch and Waugh (1933)."""
    exposure = [estimate.value for estimate in joint_regression(FUND, TIERS).exposure]
    assert exposure[4] == pytest.approx(least_squares(FUND, TIERS)[0][4], abs=1e-10)
    np.testing.assert_allclose(exposure[:4], least_squares(FUND, TIERS[:, :4])[0], atol=1e-10)


def test_r_squared_and_what_the_smallest_tier_adds() -> None:
    fit = joint_regression(FUND, TIERS)
    full, without = least_squares(FUND, TIERS)[2], least_squares(FUND, TIERS[:, :4])[2]
    assert fit.r_squared == pytest.approx(full, abs=1e-12)
    assert fit.incremental_r_squared == pytest.approx(full - without, abs=1e-12)


def test_interval_equals_newey_west_written_out() -> None:
    n, lags = len(FUND), newey_west_lags(len(FUND))
    design = np.column_stack([np.ones(n), TIERS])
    _, error, _ = least_squares(FUND, TIERS)
    score = design * error[:, None]
    meat = score.T @ score
    for lag in range(1, lags + 1):
        cross = sum(np.outer(score[day], score[day - lag]) for day in range(lag, n))
        meat = meat + (1 - lag / (lags + 1)) * (cross + cross.T)
    bread = np.linalg.inv(design.T @ design)
    error_of_micro = np.sqrt((bread @ meat @ bread)[5, 5] * n / (n - 6))
    got = joint_regression(FUND, TIERS, 0.9).exposure[4]
    half = student.ppf(0.95, n - 6) * error_of_micro
    assert got.high - got.value == pytest.approx(half, rel=1e-6)
    assert got.value - got.low == pytest.approx(half, rel=1e-6)


def test_order_of_the_larger_tiers_does_not_matter() -> None:
    one = joint_regression(FUND, TIERS)
    two = joint_regression(FUND, TIERS[:, [2, 0, 3, 1, 4]])
    np.testing.assert_allclose(one.exposure[4], two.exposure[4], rtol=1e-7)


def test_bad_input_is_refused_in_words() -> None:
    twin = np.column_stack([TIERS, TIERS[:, 0] + TIERS[:, 1]])
    still = np.column_stack([TIERS, np.zeros(len(TIERS))])
    cases = [
        (FUND[:-1], TIERS, "shape"), (FUND, TIERS[:, :1], "two tiers"), (FUND[:59], TIERS[:59], "60 days"),
        (np.where(FUND > 0.01, np.nan, FUND), TIERS, "finite"), (np.zeros(len(FUND)), TIERS, "vary"),
        (FUND, twin, "mix of the others"), (FUND, still, "constant"),
    ]  # fmt: skip
    for fund, tiers, word in cases:
        with pytest.raises(DataContractError, match=word):
            joint_regression(fund, tiers)


def size_and_power(tiers: FloatArray, rng: np.random.Generator, draws: int, days: int = 120) -> tuple[float, float]:
    """Share of draws that see micro-caps in a fund without any, and in a fund that holds 20% of them."""
    wrong = seen = 0
    for _ in range(draws):
        start = int(rng.integers(0, len(tiers) - days + 1))
        window = tiers[start : start + days]
        noise = 0.003 * rng.standard_t(5, days) / np.sqrt(5 / 3)
        interval = joint_regression(window @ np.array(ONLY_2000) + noise, window).exposure[-1]
        wrong += not interval.low <= 0 <= interval.high
        seen += joint_regression(window @ np.array(FIFTH_MICRO) + noise, window).exposure[-1].low > 0
    return wrong / draws, seen / draws


@pytest.mark.slow
def test_size_and_power_at_120_days_on_simulated_tiers() -> None:
    """Nominal 5% two-sided; Newey-West intervals of so few days are known to be somewhat narrow."""
    rng = np.random.default_rng(7)
    results = [size_and_power(ladder(seed).to_numpy(), rng, 60) for seed in range(30)]
    size, power = np.mean(results, axis=0)
    assert 0.035 < size < 0.10
    assert power > 0.85


@pytest.mark.slow
@pytest.mark.real
def test_a_fifth_in_micro_caps_is_seen_in_94_of_100_windows_of_120_days(real_data) -> None:
    """METHODS 7: 94% at 120 days, on the two years to 2023-11-24; the fund's own noise is 0.3% a day.

    Micro-caps did less of their own before, so that the same weight was harder to see.
    """
    returns = real_ladder(real_observations("cn", real_data))
    powers = []
    for start in ("2021-11-25", "2019-01-01", "2011-01-01"):
        size, power = size_and_power(returns[start:].to_numpy(), np.random.default_rng(11), 1500)
        assert 0.035 < size < 0.09
        powers.append(power)
    assert powers == pytest.approx([0.94, 0.83, 0.65], abs=0.03)
