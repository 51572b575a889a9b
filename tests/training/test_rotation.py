"""The rotation rule: two weeks by hand, books simulated from both segments, timing and costs."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from features.contracts import FloatArray
from features.errors import DataContractError
from training.rotation import (
    COST,
    maximum_drawdown,
    rotation,
    rotation_position,
    rotation_summary,
    rotation_weeks,
)

SPREADS = arrays(np.float64, 12, elements=st.floats(-0.2, 0.2))
POSITIONS = arrays(np.float64, 12, elements=st.sampled_from([0.0, 0.5, 1.0]))


def test_positions() -> None:
    p = np.array([0.44, 0.4399, 0.40, 0.4001, np.nan])
    np.testing.assert_array_equal(rotation_position(p, np.full(5, 0.42)), [0.0, 0.5, 1.0, 0.5, 0.5])
    # A head that says the base rate takes no position, whatever the base rate is.
    np.testing.assert_array_equal(rotation_position(np.array([0.3, 0.7]), np.array([0.3, 0.7])), [0.5, 0.5])
    with pytest.raises(DataContractError, match="margin"):
        rotation_position(p, p, -0.1)


def test_two_weeks_by_hand() -> None:
    """All small, then all large; small gains 10% over large, then 20%. Half and half drifts to 1.1 / 2.1 in between."""
    weeks = rotation_weeks(np.array([1.0, 0.0]), np.log([1.1, 1.2]), cost=0.01)
    np.testing.assert_allclose(weeks["gross"], np.log([1.1 / 1.05, 1 / 1.1]))
    np.testing.assert_allclose(weeks["turnover"], [0.5, 1.0])
    # Each exchanged share is sold and bought: 1 - 2 * 0.01 * share; half and half trades 1.1 / 2.1 - 1 / 2.
    half = np.log([1.0, 1 - 0.02 * (1.1 / 2.1 - 0.5)])
    np.testing.assert_allclose(weeks["cost"], half - np.log([0.99, 0.98]))
    np.testing.assert_allclose(weeks["excess"], weeks["gross"] - weeks["cost"])


def simulated(position: FloatArray, small: FloatArray, large: FloatArray, cost: float) -> list[float]:
    """Log wealth of a book in two segments, traded at each entry."""
    a, b, path = 0.5, 0.5, []
    for w, up, down in zip(position, small, large, strict=True):
        wealth = a + b
        traded = 2 * abs(w * wealth - a)
        wealth -= cost * traded
        a, b = w * wealth * np.exp(up), (1 - w) * wealth * np.exp(down)
        path.append(float(np.log(a + b)))
    return path


@given(POSITIONS, SPREADS, SPREADS, st.sampled_from([0.0, 0.001, 0.005]))
def test_excess_is_that_of_two_simulated_books(
    position: FloatArray, small: FloatArray, large: FloatArray, cost: float
) -> None:
    """Whatever large caps do: the spread alone decides."""
    weeks = rotation_weeks(position, small - large, cost)
    rule, half = simulated(position, small, large, cost), simulated(np.full(12, 0.5), small, large, cost)
    np.testing.assert_allclose(weeks["excess"].cumsum(), np.array(rule) - half, atol=1e-12)


@given(SPREADS)
def test_half_and_half_earns_nothing_over_itself(spread: FloatArray) -> None:
    weeks = rotation_weeks(np.full(12, 0.5), spread)
    assert (weeks["excess"] == 0).all()


@pytest.mark.parametrize(
    ("position", "spread", "cost", "match"),
    [
        (np.ones(2), np.ones(3), 0.0, "pair up"),
        (np.ones(2), np.array([0.1, np.nan]), 0.0, "known spreads"),
        (np.array([1.1, 0.0]), np.zeros(2), 0.0, "positions"),
        (np.ones(2), np.zeros(2), -0.1, "cost"),
    ],
)
def test_refuses(position: FloatArray, spread: FloatArray, cost: float, match: str) -> None:
    with pytest.raises(DataContractError, match=match):
        rotation_weeks(position, spread, cost)


def walk(seed: int = 0, n: int = 120, pairs: tuple[str, ...] = ("a-b", "a-c")) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    dates = np.datetime64("2012-01-06", "us") + np.timedelta64(7, "D") * np.arange(n)
    frames = []
    for pair in pairs:
        for horizon in (1, 4):
            frames.append(
                pd.DataFrame(
                    {
                        "pair": pair,
                        "decision_date": dates,
                        "horizon_weeks": horizon,
                        "p_large_base": 0.45,
                        "p_large": rng.uniform(0.35, 0.55, n),
                        "spread_realised": rng.normal(0, 0.03, n),
                    }
                )
            )
    return pd.concat(frames, ignore_index=True)


def test_walk_forward_earns_one_week_spreads_on_the_chosen_probability() -> None:
    forecasts = walk()
    weeks = rotation(forecasts.sample(frac=1, random_state=1), 4, {"a-c": 0.005})
    for pair, cost in (("a-b", COST), ("a-c", 0.005)):
        own = forecasts[forecasts["pair"] == pair]
        p = own.loc[own["horizon_weeks"] == 4, "p_large"].to_numpy()
        spread = own.loc[own["horizon_weeks"] == 1, "spread_realised"].to_numpy()
        expected = rotation_weeks(rotation_position(p, np.full(120, 0.45)), spread, cost)
        got = weeks[weeks["pair"] == pair].reset_index(drop=True)
        pd.testing.assert_frame_equal(got[expected.columns], expected)
        assert got["decision_date"].is_monotonic_increasing


def test_a_week_is_never_decided_by_a_later_forecast() -> None:
    forecasts = walk(2)
    for cut in np.unique(forecasts["decision_date"])[2:-1:4]:
        known = forecasts[forecasts["decision_date"] <= cut]
        pd.testing.assert_frame_equal(
            rotation(known, 4),
            rotation(forecasts, 4).query("decision_date <= @cut").reset_index(drop=True),
        )
    # Positive control: a rule that reads next week's probability is told apart.
    leaking = forecasts.assign(p_large=forecasts.groupby(["pair", "horizon_weeks"])["p_large"].shift(-1))
    assert not rotation(leaking, 4)["position"].equals(rotation(forecasts, 4)["position"])


def test_unmatured_weeks_are_left_out_and_missing_probabilities_are_half() -> None:
    forecasts = walk(3)
    last = forecasts["decision_date"] > forecasts["decision_date"].max() - np.timedelta64(20, "D")
    forecasts.loc[last, "spread_realised"] = np.nan
    forecasts.loc[forecasts["decision_date"] == forecasts["decision_date"].min(), "p_large"] = np.nan
    weeks = rotation(forecasts, 1)
    assert len(weeks) == 2 * 117
    assert (weeks.groupby("pair")["position"].first() == 0.5).all()


def test_summary() -> None:
    forecasts = walk(4)
    weeks = rotation(forecasts, 1)
    single = rotation_summary(weeks[weeks["pair"] == "a-b"])
    own = weeks[weeks["pair"] == "a-b"]
    assert single.excess == pytest.approx(52 * own["excess"].mean())
    assert single.ratio == pytest.approx(np.sqrt(52) * own["excess"].mean() / own["excess"].std(ddof=0))
    assert single.large == pytest.approx((own["position"] == 0).mean())
    assert single.drawdown == pytest.approx(maximum_drawdown(own["excess"].to_numpy()))
    assert single.turnover == pytest.approx(52 * own["turnover"].mean())
    both = rotation_summary(weeks)
    assert both.weeks == single.weeks == 120
    assert both.excess == pytest.approx(52 * weeks["excess"].mean())


def test_a_head_that_knows_earns_and_its_reverse_loses() -> None:
    forecasts = walk(5)
    sign = np.sign(forecasts["spread_realised"])
    for direction, better in ((-1, True), (1, False)):
        known = forecasts.assign(p_large=0.45 + 0.1 * direction * sign)
        assert (rotation_summary(rotation(known, 1)).ratio > 3) == better


def test_drawdown() -> None:
    assert maximum_drawdown(np.array([0.01, 0.02])) == 0.0
    assert maximum_drawdown(np.array([-0.02, 0.05, -0.04, -0.01])) == pytest.approx(-0.05)
    assert maximum_drawdown(np.empty(0)) == 0.0


def test_what_the_frame_must_hold() -> None:
    with pytest.raises(DataContractError, match="lack p_large_base"):
        rotation(walk().drop(columns="p_large_base"), 1)
    with pytest.raises(DataContractError, match="one-week rows"):
        rotation(walk().query("horizon_weeks == 4"), 4)
