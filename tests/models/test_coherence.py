"""The projection onto nested events is the nearest one, and nesting survives floating point."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.optimize import LinearConstraint, minimize
from scipy.special import expit

from features.contracts import EVENTS, HORIZONS, STYLE_LARGE, STYLE_SMALL, Event, FloatArray
from models.coherence import probabilities, project

CASES = [(style, horizon) for style in (STYLE_SMALL, STYLE_LARGE) for horizon in HORIZONS]
log_odds = st.floats(-45.0, 45.0, allow_subnormal=False)
rows = arrays(np.float64, st.tuples(st.integers(1, 6), st.just(3)), elements=log_odds)


def ascending(style: int, horizon: int) -> list[tuple[FloatArray, FloatArray]]:
    """DESIGN section 1 as pairs (a, b) of weights on (switch, large, crash), each demanding a @ l <= b @ l."""
    switch, large, crash = np.eye(3)
    if style == STYLE_SMALL:
        return [(crash, switch), *([(switch, large)] if horizon == 1 else [])]
    return [(crash, large), (switch, -large)] if horizon == 1 else []


def projected(block: FloatArray, style: int, horizon: int) -> dict[Event, FloatArray]:
    parts = {event: block[:, place] for place, event in enumerate(EVENTS)}
    return project(parts, np.full(len(block), style), horizon)


@pytest.mark.parametrize(("style", "horizon"), CASES)
@given(block=rows)
def test_nesting_holds_for_any_log_odds(style: int, horizon: int, block: FloatArray) -> None:
    published = projected(block, style, horizon)
    stacked = np.column_stack([published[event] for event in EVENTS])
    for lower, upper in ascending(style, horizon):
        assert (stacked @ lower <= stacked @ upper + 1e-12).all()
    p = probabilities(published, np.full(len(block), style), horizon)
    if style == STYLE_SMALL:
        assert (p["crash"] <= p["switch"]).all()
    if horizon == 1 and style == STYLE_SMALL:
        assert (p["switch"] <= p["large"]).all()
    if horizon == 1 and style == STYLE_LARGE:
        assert (p["crash"] <= p["large"]).all()
        assert (p["switch"] <= 1 - p["large"]).all()
    for event in EVENTS:
        np.testing.assert_allclose(p[event], expit(published[event]), atol=1e-15)
        assert ((p[event] >= 0) & (p[event] <= 1)).all()


@pytest.mark.parametrize(("style", "horizon"), CASES)
@given(block=rows)
def test_the_floor_of_floating_point_holds_without_the_projection_s_help(
    style: int, horizon: int, block: FloatArray
) -> None:
    # Even of log-odds that are not nested at all the probabilities come out nested.
    p = probabilities({event: block[:, i] for i, event in enumerate(EVENTS)}, np.full(len(block), style), horizon)
    bounds = {(STYLE_SMALL, 1): ("switch", "large"), (STYLE_SMALL, 4): ("switch",), (STYLE_LARGE, 1): ("large",)}
    assert all((p["crash"] <= p[event]).all() for event in bounds.get((style, horizon), ()))  # type: ignore[index]
    if horizon == 1:
        assert (p["switch"] <= (p["large"] if style == STYLE_SMALL else 1 - p["large"])).all()


@pytest.mark.parametrize(("style", "horizon"), CASES)
def test_the_projection_is_the_nearest_nested_point(style: int, horizon: int) -> None:
    rng = np.random.default_rng(11)
    demands = ascending(style, horizon)
    for _ in range(25):
        point = rng.normal(0, 1.5, 3)
        mine = projected(point[None, :], style, horizon)
        nearest = point
        if demands:
            matrix = np.array([upper - lower for lower, upper in demands])
            nearest = minimize(
                lambda z, point=point: ((z - point) ** 2).sum(),
                np.zeros(3),
                jac=lambda z, point=point: 2 * (z - point),
                constraints=LinearConstraint(matrix, 0, np.inf),
                method="SLSQP",
                options={"ftol": 1e-14},
            ).x
        np.testing.assert_allclose([mine[event][0] for event in EVENTS], nearest, atol=1e-6)


@pytest.mark.parametrize(("style", "horizon"), CASES)
@given(block=rows)
def test_a_coherent_row_stays_as_it_is_to_the_bit(style: int, horizon: int, block: FloatArray) -> None:
    nested = np.array(
        [row for row in block if all(row @ lower <= row @ upper for lower, upper in ascending(style, horizon))]
    )
    if len(nested):
        published = projected(nested, style, horizon)
        assert np.array_equal(np.column_stack([published[event] for event in EVENTS]), nested)


@pytest.mark.parametrize(("style", "horizon"), CASES)
@given(block=rows)
def test_projecting_twice_changes_nothing_more(style: int, horizon: int, block: FloatArray) -> None:
    once = projected(block, style, horizon)
    twice = project(once, np.full(len(block), style), horizon)
    for event in EVENTS:
        np.testing.assert_allclose(once[event], twice[event], atol=1e-12)


def test_each_row_follows_its_own_style_and_inputs_stay() -> None:
    rng = np.random.default_rng(12)
    block, style = rng.normal(size=(40, 3)), rng.choice([STYLE_SMALL, STYLE_LARGE], 40)
    parts: dict[Event, FloatArray] = {event: block[:, place].copy() for place, event in enumerate(EVENTS)}
    together = project(parts, style, 1)
    for row in range(40):
        alone = projected(block[[row]], style[row], 1)
        assert all(together[event][row] == alone[event][0] for event in EVENTS)
    assert all(np.array_equal(parts[event], block[:, place]) for place, event in enumerate(EVENTS))


def test_pooled_values_of_a_violated_chain() -> None:
    # Small caps lead, one week: crash <= switch <= large. The mean of the violators is the nearest common value.
    published = projected(np.array([[-1.0, -3.0, -2.0]]), STYLE_SMALL, 1)
    assert [published[event][0] for event in ("crash", "switch", "large")] == pytest.approx([-2.0, -2.0, -2.0])
    published = projected(np.array([[0.5, 0.25, -2.0]]), STYLE_LARGE, 1)
    assert published["switch"][0] == pytest.approx(0.125)
    assert published["large"][0] == pytest.approx(-0.125)
    chain = [published["crash"][0], published["large"][0], -published["switch"][0]]
    assert all(a <= b for a, b in pairwise(chain))
