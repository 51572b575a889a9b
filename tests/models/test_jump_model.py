"""The jump model: every path tried by hand, the authors' package as golden, and no row that sees a later one."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.contracts import FloatArray
from features.errors import DataContractError
from models.jump_model import JumpParams, _backward, _forward, _losses, filter_jump, fit_jump, jump_features

PARAMS = JumpParams(np.zeros(2), np.ones(2), np.array([[-1.0, -0.5], [1.0, 0.5]]), 2.0, 0.0)


def features(seed: int, n: int) -> FloatArray:
    rng = np.random.default_rng(seed)
    return np.asarray(np.where(np.arange(n) // 30 % 2 == 0, 0.7, -0.7)[:, None] + rng.standard_normal((n, 2)))


def cheapest(x: FloatArray, params: JumpParams, last: int) -> tuple[float, tuple[int, ...]]:
    """Cost and path of the cheapest of all paths that end in a state; features within three deviations."""
    loss = 0.5 * ((np.clip(x, -3, 3)[:, None] - params.centres[None]) ** 2).sum(axis=2)
    costs = {
        path: sum(loss[row, state] for row, state in enumerate(path))
        + params.penalty * sum(a != b for a, b in itertools.pairwise(path))
        for path in itertools.product((0, 1), repeat=len(x))
        if path[-1] == last
    }
    best = min(costs, key=lambda path: costs[path])
    return costs[best], best


@settings(max_examples=15)
@given(st.integers(0, 2**32 - 1), st.integers(1, 9))
def test_the_value_gap_is_that_of_all_paths(seed: int, n: int) -> None:
    x = features(seed, n)
    low, high = (cheapest(x, PARAMS, last) for last in (0, 1))
    assert filter_jump(x, PARAMS)[-1] == pytest.approx((low[0] - high[0]) / PARAMS.penalty, abs=1e-9)
    path = _backward(_forward(_losses(np.clip(x, -3, 3), PARAMS.centres), PARAMS.penalty), PARAMS.penalty)
    assert path.astype(int).tolist() == list(min(low, high)[1])


def test_the_fit_finds_what_the_authors_package_finds() -> None:
    """Golden: jumpmodels 0.1.1, JumpModel(2, jump_penalty=50, cont=False, n_init=20), predict_online."""
    rng = np.random.default_rng(20240915)
    high = np.cumsum(rng.random(600) < 0.02) % 2
    changes = np.where(high == 1, 0.1, -0.1) * 0.01 + 0.01 * rng.standard_normal(600)
    params = fit_jump(jump_features(changes))
    assert params.cost == pytest.approx(771.0119126426, abs=1e-8)
    np.testing.assert_allclose(params.centres[0], [-0.65410257, -1.16367334, -1.59423604], atol=1e-7)
    np.testing.assert_allclose(params.centres[1], [0.11542987, 0.20535412, 0.28139115], atol=1e-7)
    online = filter_jump(jump_features(changes), params)
    assert np.flatnonzero(np.diff(online > 0)).tolist() == [123, 128, 492, 585]
    loss = _losses(np.clip((jump_features(changes) - params.mean) / params.std, -3, 3), params.centres)
    assert (np.abs(online - (loss[:, 0] - loss[:, 1]) / 50) <= 1 + 1e-12).all()


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=10)
def test_states_are_in_order_and_turn_with_the_line(seed: int) -> None:
    changes = 0.01 * (np.random.default_rng(seed).standard_normal(300) + 0.3 * np.sign(np.sin(np.arange(300) / 25)))
    one, other = (fit_jump(jump_features(sign * changes)) for sign in (1, -1))
    assert one.centres[0, 0] <= one.centres[1, 0]
    # The starts draw the same rows, so the mirrored line has the mirrored fit.
    assert other.cost == pytest.approx(one.cost, rel=1e-9)
    ours, theirs = filter_jump(jump_features(changes), one), filter_jump(jump_features(-changes), other)
    np.testing.assert_allclose(ours, -theirs, atol=1e-7)


def assert_causal(online: Callable[[FloatArray], FloatArray]) -> None:
    """Cut 160 noisy rows at 40 places; every row before the cut must stay as it was."""
    changes = features(5, 160)[:, 0]
    full = online(changes)
    for n in range(2, 160, 4):
        np.testing.assert_allclose(online(changes[:n]), full[:n], rtol=0, atol=1e-12)


def three(changes: FloatArray) -> JumpParams:
    centres = np.array([[-0.5, -0.5, -0.5], [0.5, 0.5, 0.5]])
    return JumpParams(np.zeros(3), np.full(3, 0.3), centres, 2.0, 0.0)


def test_later_rows_change_no_online_state() -> None:
    assert_causal(lambda changes: filter_jump(jump_features(changes), three(changes)))


def test_control_the_path_through_the_whole_sample_is_caught() -> None:
    def offline(changes: FloatArray) -> FloatArray:
        params = three(changes)
        value = _forward(_losses(jump_features(changes) / params.std, params.centres), params.penalty)
        return _backward(value, params.penalty).astype(np.float64)

    with pytest.raises(AssertionError, match="Mismatch"):
        assert_causal(offline)


def test_features_start_at_nothing_and_weigh_the_newest_most() -> None:
    """After one halflife of 8 days half of a lasting change is in."""
    means = jump_features(np.ones(63))
    assert means[7, 0] == pytest.approx(0.5)
    assert means[62, 2] == pytest.approx(0.5)
    assert (np.diff(means, axis=0) > 0).all()


def test_refuses_what_cannot_be_fitted() -> None:
    with pytest.raises(DataContractError, match="at least 26 rows"):
        fit_jump(features(0, 20))
    with pytest.raises(DataContractError, match="at least 26 rows"):
        fit_jump(np.full((40, 2), np.nan))
    with pytest.raises(DataContractError, match="must move"):
        fit_jump(np.ones((40, 2)))
    with pytest.raises(DataContractError, match="must be finite"):
        filter_jump(np.array([[0.0, np.nan]]), PARAMS)
    with pytest.raises(DataContractError, match="order of their drift"):
        replace(PARAMS, centres=PARAMS.centres[::-1])
    with pytest.raises(DataContractError, match="above 0"):
        replace(PARAMS, penalty=0.0)
