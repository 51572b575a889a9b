"""The tilt: closed form, optimality, limits of the slack, and what it does with events that no path shows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq, minimize
from scipy.special import logit

from features.contracts import BoolArray, FloatArray
from features.errors import DataContractError
from models.tilt import MIN_PATHS, Tilt, tilt


def effective_size(found: Tilt) -> float:
    """Kish's effective number of paths, from the definition."""
    return float(1.0 / np.sum(found.weights**2))


def events(seed: int, n: int, m: int) -> BoolArray:
    """Draw events that move together: one common shock and one of each."""
    rng = np.random.default_rng(seed)
    shock = rng.standard_normal((n, 1)) + rng.standard_normal((n, m))
    happened: BoolArray = shock < rng.uniform(-1.2, 0.8, m)
    return happened


def nested(n: int = 4000) -> BoolArray:
    """Crash within switch within large, as at one week with small caps in force."""
    line = np.random.default_rng(0).standard_normal(n)
    return np.column_stack([line < -1.0, line < 0.0, line < -1.25])


def assert_optimal(happened: BoolArray, target: FloatArray, slack: FloatArray, months: float = 1.0) -> None:
    """At the optimum log weights are linear in the events, with slope -(E_w[f] - p) / (m s^2) for each."""
    found = tilt(happened, target, slack, months)
    force = np.where(found.used, -found.residual / (months * slack**2), 0.0)
    expected = happened @ force
    expected = np.exp(expected - expected.max())
    np.testing.assert_allclose(found.weights, expected / expected.sum(), rtol=1e-6, atol=1e-12)
    np.testing.assert_allclose(found.residual, found.weights @ happened - target, atol=1e-12)
    assert found.weights.sum() == pytest.approx(1.0, abs=1e-12)
    assert (found.weights > 0).all()


@given(st.integers(30, 970), st.floats(0.02, 0.98), st.floats(0.005, 0.5))
def test_one_event_has_a_closed_form(hits: int, target: float, slack: float) -> None:
    happened = (np.arange(1000) < hits)[:, None]
    share = hits / 1000
    wanted = brentq(lambda q: logit(q) - logit(share) + (q - target) / slack**2, 1e-12, 1 - 1e-12, xtol=1e-14)
    found = tilt(happened, np.array([target]), np.array([slack]))
    expected = np.where(happened[:, 0], wanted / hits, (1 - wanted) / (1000 - hits))
    np.testing.assert_allclose(found.weights, expected, rtol=1e-6)
    assert found.residual[0] == pytest.approx(wanted - target, abs=1e-9)
    assert effective_size(found) == pytest.approx(1 / (expected**2).sum(), rel=1e-6)


@settings(max_examples=40)
@given(st.integers(0, 10_000), st.integers(1, 8), st.floats(0.01, 0.3), st.sampled_from([0.5, 1.0, 20.0, 120.0]))
def test_weights_are_optimal(seed: int, m: int, slack: float, months: float) -> None:
    rng = np.random.default_rng(seed)
    assert_optimal(events(seed, 600, m), rng.uniform(0.05, 0.95, m), slack * rng.uniform(0.5, 2.0, m), months)


@pytest.mark.parametrize("seed", range(4))
def test_patterns_give_what_a_direct_solution_of_the_dual_on_all_paths_gives(seed: int) -> None:
    happened = events(seed, 500, 6)
    rng = np.random.default_rng(seed + 100)
    target = np.clip(happened.mean(axis=0) + rng.uniform(-0.15, 0.15, 6), 0.03, 0.97)
    slack = rng.uniform(0.02, 0.1, 6)
    columns = happened.astype(np.float64)

    def dual(force: FloatArray) -> tuple[float, FloatArray]:
        score = columns @ force
        weights = np.exp(score - score.max())
        value = score.max() + np.log(weights.mean()) - force @ target + 0.5 * slack**2 @ force**2
        return float(value), weights @ columns / weights.sum() - target + slack**2 * force

    best = minimize(dual, np.zeros(6), jac=True, method="BFGS", options={"gtol": 1e-9}).x
    direct = np.exp(columns @ best)
    np.testing.assert_allclose(tilt(happened, target, slack).weights, direct / direct.sum(), rtol=1e-6)


def test_slack_decides_between_the_heads_and_the_untilted_set() -> None:
    happened, target = nested(), np.array([0.25, 0.6, 0.15])
    far = np.abs(happened.mean(axis=0) - target)
    assert far.min() > 0.04
    left = []
    for slack in (1e-4, 0.03, 0.3, 1e4):
        found = tilt(happened, target, np.full(3, slack))
        left.append(np.abs(found.residual).max())
    assert left == sorted(left)
    assert left[0] < 1e-5
    np.testing.assert_allclose(tilt(happened, target, np.full(3, 1e4)).weights, 1 / len(happened), rtol=1e-6)
    met = tilt(happened, happened.mean(axis=0), np.full(3, 0.01))
    np.testing.assert_allclose(met.weights, 1 / len(happened), rtol=1e-9)
    assert effective_size(met) == pytest.approx(len(happened))


def test_the_more_months_stand_behind_the_paths_the_less_they_give_way() -> None:
    happened, target, slack = nested(), np.array([0.25, 0.6, 0.15]), np.full(3, 0.03)
    left = [np.abs(tilt(happened, target, slack, months).residual).max() for months in (1.0, 12.0, 120.0, 1e6)]
    assert left == sorted(left)
    np.testing.assert_allclose(tilt(happened, target, slack, 1e9).weights, 1 / len(happened), rtol=1e-6)
    # A hundred months are errors ten times as large.
    wider = tilt(happened, target, 10 * slack)
    np.testing.assert_allclose(tilt(happened, target, slack, 100.0).weights, wider.weights, rtol=1e-9)


def test_the_uncertain_head_gives_way() -> None:
    # Both say something of the same event; the mean weight goes to the sure one.
    happened = np.repeat(nested()[:, :1], 2, axis=1)
    found = tilt(happened, np.array([0.1, 0.3]), np.array([0.01, 0.05]))
    assert abs(found.residual[0]) < abs(found.residual[1]) / 5


def test_nested_events_stay_nested() -> None:
    found = tilt(nested(), np.array([0.2, 0.5, 0.12]), np.full(3, 0.01))
    switch, large, crash = found.weights @ nested()
    assert crash < switch < large
    np.testing.assert_allclose([switch, large, crash], [0.2, 0.5, 0.12], atol=0.01)
    # Even where the targets are not.
    switch, large, crash = tilt(nested(), np.array([0.2, 0.3, 0.4]), np.full(3, 0.01)).weights @ nested()
    assert crash <= switch <= large


@pytest.mark.parametrize("count", [0, 5, MIN_PATHS - 1, 1000 - MIN_PATHS + 1, 1000])
def test_an_event_that_too_few_paths_show_or_fail_to_show_is_left_out(count: int) -> None:
    other = events(3, 1000, 2)
    rare = (np.arange(1000) < count)[:, None]
    target, slack = np.array([0.3, 0.5, 0.4]), np.full(3, 0.02)
    found = tilt(np.hstack([other, rare]), target, slack)
    assert found.used.tolist() == [True, True, False]
    alone = tilt(other, target[:2], slack[:2])
    np.testing.assert_allclose(found.weights, alone.weights, rtol=1e-9)
    assert found.residual[2] == pytest.approx(found.weights @ rare[:, 0] - 0.4)
    np.testing.assert_allclose(found.residual[:2], alone.residual, atol=1e-12)


def test_with_just_enough_paths_it_is_used_and_without_any_event_nothing_is_tilted() -> None:
    rare = (np.arange(1000) < MIN_PATHS)[:, None]
    assert tilt(rare, np.array([0.1]), np.array([0.01])).used.tolist() == [True]
    nothing = tilt(rare[:, :0], np.array([]), np.array([]))
    unused = tilt(rare[1:], np.array([0.1]), np.array([0.01]))
    for found in (nothing, unused):
        assert effective_size(found) == pytest.approx(len(found.weights))


def test_the_order_of_events_and_of_paths_is_irrelevant() -> None:
    happened, rng = events(9, 800, 7), np.random.default_rng(1)
    target, slack = rng.uniform(0.1, 0.9, 7), rng.uniform(0.02, 0.2, 7)
    found = tilt(happened, target, slack)
    columns, rows = rng.permutation(7), rng.permutation(800)
    turned = tilt(happened[:, columns], target[columns], slack[columns])
    np.testing.assert_allclose(turned.weights, found.weights, rtol=1e-7)
    np.testing.assert_allclose(turned.residual, found.residual[columns], atol=1e-9)
    np.testing.assert_allclose(tilt(happened[rows], target, slack).weights, found.weights[rows], rtol=1e-9)
    assert np.array_equal(tilt(happened, target, slack).weights, found.weights)


@pytest.mark.parametrize("m", [31, 33, 70])
def test_many_events_are_all_told_apart(m: int) -> None:
    happened = events(11, 900, m)
    target = np.clip(happened.mean(axis=0) + np.where(np.arange(m) % 2, 0.05, -0.05), 0.05, 0.95)
    assert_optimal(happened, target, np.full(m, 0.1))


@pytest.mark.parametrize("slack", [1e-2, 1e-4, 1e-8])
def test_targets_that_no_path_meets_leave_every_path_some_weight(slack: float) -> None:
    # An event and its opposite, both nearly certain, and events outside of those they lie in.
    line = np.random.default_rng(0).standard_normal(2000)
    happened = np.column_stack([line < 0, line >= 0, line < -1, line < -1.5])
    target = np.array([0.999, 0.999, 0.001, 0.9])
    found = tilt(happened, target, np.full(4, slack))
    assert (found.weights > 0).all()
    assert found.weights.sum() == pytest.approx(1.0)
    assert np.isfinite(found.residual).all()
    assert effective_size(found) < 2000


def test_inputs_are_checked_and_not_changed() -> None:
    happened, target, slack = nested(200), np.array([0.2, 0.5, 0.1]), np.full(3, 0.05)
    kept = happened.copy(), target.copy(), slack.copy()
    tilt(happened, target, slack)
    for one, other in zip((happened, target, slack), kept, strict=True):
        np.testing.assert_array_equal(one, other)
    for bad in (0.0, 1.0, -0.1, float("nan")):
        with pytest.raises(DataContractError, match="`target` must lie in"):
            tilt(happened, np.array([bad, 0.5, 0.1]), slack)
    for bad in (0.0, -0.1, float("inf"), float("nan")):
        with pytest.raises(DataContractError, match="`slack` be positive"):
            tilt(happened, target, np.array([bad, 0.1, 0.1]))
