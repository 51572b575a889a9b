"""Style weights against a general optimiser and the conditions of the optimum."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize

from features.contracts import FloatArray
from features.errors import DataContractError
from models.style_weights import style_weights, weight_intervals
from tests.models.ladder import FIFTH_MICRO, ONLY_2000, fund_of, ladder


def tracking(fund: FloatArray, tiers: FloatArray, weights: FloatArray) -> float:
    return float(np.var(fund - tiers @ weights))


@pytest.mark.parametrize(
    "mix",
    [FIFTH_MICRO, [0.1, 0.1, 0.1, 0.1, 0.1], [1.5, 0, 0, 0, 0.5], [-0.5, 0, 0.4, 0, 0.3], [-1, 0, 0, 0, 0]],
    ids=["inside", "half cash", "levered", "short", "inverse"],
)
def test_equals_a_general_optimiser(mix: list[float]) -> None:
    tiers = ladder(1, 250)
    fund, x = fund_of(tiers, mix, 1), tiers.to_numpy()
    scale = np.var(fund)
    reference = minimize(
        lambda w: tracking(fund, x, w) / scale,
        np.full(5, 0.1),
        method="SLSQP",
        bounds=[(0, 1)] * 5,
        constraints={"type": "ineq", "fun": lambda w: 1 - w.sum()},
        options={"ftol": 1e-14, "maxiter": 1000},
    )
    weights = style_weights(fund, x)
    np.testing.assert_allclose(weights, reference.x, atol=2e-4)
    assert tracking(fund, x, weights) / scale <= reference.fun + 1e-10


@given(seed=st.integers(0, 10_000), n=st.integers(8, 80), k=st.integers(1, 6), reach=st.floats(0.05, 3.0))
def test_no_move_inside_the_bounds_tracks_better(seed: int, n: int, k: int, reach: float) -> None:
    rng = np.random.default_rng(seed)
    tiers = 0.01 * rng.normal(size=(n, k))
    fund = tiers @ rng.normal(0.2, reach, k) + 0.01 * rng.normal(size=n)
    weights = style_weights(fund, tiers)
    assert (weights >= 0).all()
    assert weights.sum() <= 1 + 1e-9
    centred, error = tiers - tiers.mean(axis=0), fund - fund.mean() - (tiers - tiers.mean(axis=0)) @ weights
    # Gain of a small purchase of each tier, the last being cash; what is held gains the most.
    gain = np.append(centred.T @ error, 0.0) / (np.linalg.norm(centred) * np.linalg.norm(fund - fund.mean()))
    held = np.append(weights, 1 - weights.sum()) > 1e-7
    np.testing.assert_allclose(gain[held], gain.max(), atol=1e-7)


def test_a_pure_tier_and_a_constant_shift_and_unit_change_nothing() -> None:
    x = ladder(2, 120).to_numpy()
    np.testing.assert_allclose(style_weights(x[:, 3] - 0.0004, x), ONLY_2000, atol=1e-9)
    fund = fund_of(ladder(2, 120), FIFTH_MICRO, 2)
    np.testing.assert_allclose(style_weights(100 * fund, 100 * x), style_weights(fund, x), atol=1e-9)


def test_intervals_hold_the_truth_repeat_by_seed_and_leave_the_input_alone() -> None:
    tiers = ladder(3)
    fund, x = fund_of(tiers, FIFTH_MICRO, 3), tiers.to_numpy()
    before = fund.copy(), x.copy()
    one, two, other = (weight_intervals(fund, x, draws=200, seed=seed) for seed in (1, 1, 2))
    assert one == two
    assert one != other
    assert np.array_equal(fund, before[0])
    assert np.array_equal(x, before[1])
    assert one[4].low < 0.2 < one[4].high
    assert one[4].low > 0.05
    for estimate, weight in zip(one, style_weights(fund, x), strict=True):
        assert estimate.value == weight
        assert 0 <= estimate.low <= estimate.high <= 1 + 1e-9


def test_without_micro_caps_the_lower_end_of_their_weight_is_zero() -> None:
    tiers = ladder(4)
    estimate = weight_intervals(fund_of(tiers, ONLY_2000, 4), tiers.to_numpy(), draws=200, seed=0)[4]
    assert estimate.low < 1e-9
    assert estimate.high < 0.2


def test_bad_input_is_refused_in_words() -> None:
    x = ladder(5, 100).to_numpy()
    for fund, word in [(x[:-1, 0], "one row"), (np.ones(100), "vary"), (np.full(100, np.nan), "finite")]:
        with pytest.raises(DataContractError, match=word):
            style_weights(fund, x)
    with pytest.raises(DataContractError, match="draws"):
        weight_intervals(x[:, 0], x, draws=0, seed=0)
