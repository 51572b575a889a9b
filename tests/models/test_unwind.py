"""The unwind of a crowd: hand-computed cases, conservation, monotonicity, convergence."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from features.errors import DataContractError, DefinitionError
from models.impact import MarketDepth
from models.swap_terms import Delever
from models.unwind import Unwind, simulate_unwind
from models.unwind_grid import unwind_grid
from models.unwind_settings import UnwindSettings

DEEP = MarketDepth(adv=1.0, sigma=0.0)
FREE = UnwindSettings(tier=DEEP, hedge=DEEP, limit=None, participation=1e9, smallest=1e-9)
NO_THRESHOLDS = replace(FREE, delever=None, maintenance=None)

legs = st.builds(
    MarketDepth,
    adv=st.floats(0.05, 20.0),
    sigma=st.floats(0.0, 0.06),
    y=st.floats(0.5, 1.2),
    permanent=st.floats(0.0, 1.0),
)
rules = st.builds(
    UnwindSettings,
    tier=legs,
    hedge=legs,
    delever=st.none() | st.builds(Delever, below=st.floats(0.13, 0.2)),
    maintenance=st.none() | st.floats(0.05, 0.12),
    limit=st.none() | st.floats(0.05, 0.2),
    participation=st.floats(0.1, 2.0),
    discount=st.floats(-0.05, 0.15),
    smallest=st.just(1e-8),
    max_days=st.just(120),
)
leverages = st.floats(1.0, 5.0)
shocks = st.floats(-0.3, 0.0)
sizes = st.floats(0.0, 30.0)


def test_sale_restores_the_leverage_as_in_methods_6() -> None:
    # L = 4, spread -12.5% on an unmoved hedge: E' = 1 - 4 * 0.125 = 0.5, A' = 3.5, Q = (3.5 - 4 * 0.5) / 3.5.
    run = simulate_unwind(1.0, 4.0, -0.125, NO_THRESHOLDS)
    assert run.share_liquidated[0] == pytest.approx(1.5 / 3.5)
    assert run.equity[-1, 0] == pytest.approx(0.5)
    assert run.held[-1, 0] * run.tier[-1, 0] * 4 / run.equity[-1, 0] == pytest.approx(4.0)
    # What is short at the end is what is long, and everything was done on the day of the shock.
    assert run.short[-1, 0] * run.futures[-1, 0] == pytest.approx(run.held[-1, 0] * run.tier[-1, 0])
    assert run.ended_on[0] == 1


def test_thresholds_decide_who_sells() -> None:
    # E / A after -8%: 0.68 / 3.68 = 0.185 at four times, 0.76 / 2.76 = 0.275 at three, 0.6 / 4.6 = 0.130 at five.
    run = simulate_unwind(1.0, [3.0, 4.0, 5.0], -0.08, FREE)
    np.testing.assert_allclose(run.share_liquidated, [0.0, (0.92 - 0.68) / 0.92, (0.92 - 0.6) / 0.92])
    assert not run.called.any()


def test_a_call_closes_the_book() -> None:
    # E / A after -15%: 0.4 / 3.4 = 0.118 at four times.
    run = simulate_unwind(1.0, 4.0, -0.15, FREE)
    assert run.called[0]
    assert run.held[-1, 0] == 0.0
    assert run.short[-1, 0] == 0.0
    assert run.equity[-1, 0] == pytest.approx(0.4)


def test_second_round_by_hand() -> None:
    # Square-root law, no limits: the first sale is 3/7 (above); the second answers what the first did to the price.
    tier = MarketDepth(adv=1.0, sigma=0.02)
    run = simulate_unwind(1.0, 4.0, -0.125, replace(NO_THRESHOLDS, tier=tier))
    first = 1.5 / 3.5
    assert run.sold[0, 0] == pytest.approx(first)
    move = 0.02 * math.sqrt(first)
    assert run.tier[1, 0] == pytest.approx(0.875 * math.exp(-move))
    # Proceeds by the path of the price, integrated numerically.
    grid = (np.arange(100_000) + 0.5) / 100_000 * first
    proceeds = float(np.mean(0.875 * np.exp(-0.02 * np.sqrt(grid)))) * first
    price = 0.875 * math.exp(-move)
    cash = 0.25 + proceeds - run.short[0, 0] + run.short[1, 0]
    equity = cash + (1 - first) * price - run.short[1, 0]
    second = (1 - first) - 4 * equity / price
    assert run.sold[1, 0] == pytest.approx(second, rel=1e-6)


def test_limit_down_makes_the_rest_wait() -> None:
    tier = MarketDepth(adv=1.0, sigma=0.10)
    terms = replace(FREE, tier=tier, limit=0.10)
    run = simulate_unwind(4.0, 4.0, -0.15, terms)
    daily = run.tier[1:, 0] / run.tier[:-1, 0] - 1
    assert daily.min() == pytest.approx(-0.10)
    # The shock alone fills the first day: nothing is sold on it.
    assert run.sold[0, 0] == 0.0
    assert run.tier[1, 0] == pytest.approx(0.90)
    assert run.sold[1, 0] > 0.0
    assert run.share_liquidated[0] == 1.0
    free = simulate_unwind(4.0, 4.0, -0.15, replace(terms, limit=None))
    assert run.ended_on[0] > free.ended_on[0]
    assert run.tier[-1, 0] == pytest.approx(free.tier[-1, 0])


def test_daily_share_of_turnover_holds() -> None:
    terms = replace(FREE, tier=MarketDepth(adv=1.0, sigma=0.01), participation=0.25)
    run = simulate_unwind(2.0, 4.0, -0.2, terms)
    assert run.sold.max() == pytest.approx(0.25)
    assert run.ended_on[0] == 8


def test_squeeze_closes_the_discount_first() -> None:
    hedge = MarketDepth(adv=1.0, sigma=0.02)
    terms = replace(FREE, hedge=hedge, discount=0.08, contract_years=0.25)
    run = simulate_unwind([1.0, 0.1], 4.0, -0.15, terms)
    assert run.squeeze[0] == pytest.approx(math.exp(0.02) - 1)
    outstanding = 1 / (1 - 0.02) - 1
    assert run.convergence[0] == pytest.approx(min(run.squeeze[0], outstanding))
    assert run.convergence[1] == pytest.approx(run.squeeze[1])


def test_rebound_undoes_what_is_not_permanent() -> None:
    terms = replace(FREE, tier=MarketDepth(adv=1.0, sigma=0.05, permanent=0.4), rebound_days=4)
    run = simulate_unwind(1.0, 4.0, -0.15, terms)
    end = int(run.ended_on[0])
    assert run.tier[end, 0] == pytest.approx(0.85 * math.exp(-0.05))
    assert run.tier[end + 4, 0] == pytest.approx(0.85 * math.exp(-0.02))
    assert run.rebound[0] == pytest.approx(math.exp(0.03) - 1)


def test_says_when_it_did_not_converge() -> None:
    terms = replace(FREE, tier=MarketDepth(adv=0.01, sigma=0.02), participation=0.5, max_days=10)
    run = simulate_unwind([1.0, 0.001], 4.0, -0.2, terms)
    np.testing.assert_array_equal(run.converged, [False, True])
    assert math.isnan(run.rebound[0])
    assert run.ended_on[0] == 10
    assert 0 < run.share_liquidated[0] < 1


def test_a_crowd_without_size_moves_nothing() -> None:
    run = simulate_unwind(0.0, 4.0, -0.15, replace(FREE, tier=MarketDepth(1.0, 0.02), hedge=MarketDepth(1.0, 0.02)))
    assert run.share_liquidated[0] == 1.0
    assert run.fall[0] == pytest.approx(-0.15)
    assert run.squeeze[0] == 0.0
    assert run.converged[0]


def test_no_shock_no_unwind() -> None:
    run = simulate_unwind(5.0, [1.0, 4.0, 5.0], 0.0, replace(FREE, tier=MarketDepth(1.0, 0.02)))
    assert (run.share_liquidated == 0).all()
    assert run.converged.all()
    assert (run.tier == 1).all()


@settings(max_examples=50)
@given(rules, st.lists(st.tuples(sizes, leverages, shocks), min_size=1, max_size=6))
def test_everything_adds_up(terms: UnwindSettings, crowds: list[tuple[float, float, float]]) -> None:
    size, leverage, shock = (np.array(part) for part in zip(*crowds, strict=True))
    run = simulate_unwind(size, leverage, shock, terms)
    # Notional sold and held is what there was at first, at the prices of the entry.
    np.testing.assert_allclose(run.sold.sum(axis=0) + run.held[-1] * size, size, atol=1e-9)
    for units in (run.held, run.short):
        assert (np.diff(units, axis=0) <= 0).all()
        assert (units >= 0).all()
        assert (units <= 1).all()
    # Cash moves by what is traded, at prices between those before and after the trade of the day.
    sold, bought = -np.diff(run.held, axis=0), -np.diff(run.short, axis=0)
    low = sold * run.tier[1:] - bought * run.futures[1:]
    high = sold * run.tier[:-1] - bought * run.futures[:-1]
    change = np.diff(run.cash, axis=0)
    assert (change >= low - 1e-9).all()
    assert (change <= high + 1e-9).all()
    # Equity changes by price moves alone: marking the old position at new prices less the cost of trading within them.
    np.testing.assert_allclose(run.equity[0], 1.0)
    marked = (run.held[:-1] * np.diff(run.tier, axis=0) - run.short[:-1] * np.diff(run.futures, axis=0)) * leverage
    gained = np.diff(run.equity, axis=0)
    slip = (sold * (run.tier[:-1] - run.tier[1:]) + bought * (run.futures[1:] - run.futures[:-1])) * leverage
    assert (gained >= marked - 1e-9).all()
    assert (gained <= marked + np.maximum(slip, 0) + 1e-9).all()
    if terms.limit is not None:
        forced = np.arange(1, len(run.tier))[:, None] <= run.ended_on
        assert (run.tier[1:] / run.tier[:-1] >= 1 - terms.limit - 1e-9)[forced].all()
    assert (sold * size <= terms.participation * terms.tier.adv + 1e-9).all()


def _grows(small: Unwind, large: Unwind, at: tuple[int, int]) -> None:
    i, j = at
    slack = 1e-5
    assert large.share_liquidated[j] >= small.share_liquidated[i] - slack
    assert large.fall[j] <= small.fall[i] + slack
    assert large.squeeze[j] >= small.squeeze[i] - slack
    assert large.equity[large.ended_on[j], j] <= small.equity[small.ended_on[i], i] + slack


@settings(max_examples=50)
@given(rules, leverages, shocks, sizes, sizes)
def test_monotone_in_crowd_size(terms: UnwindSettings, leverage: float, shock: float, one: float, two: float) -> None:
    run = simulate_unwind(sorted([one, two]), leverage, shock, terms)
    assume(run.converged.all())
    _grows(run, run, (0, 1))


@settings(max_examples=50)
@given(rules, sizes, shocks, leverages, leverages)
def test_monotone_in_leverage_without_thresholds(
    terms: UnwindSettings, size: float, shock: float, one: float, two: float
) -> None:
    run = simulate_unwind(size, sorted([one, two]), shock, replace(terms, delever=None, maintenance=None))
    assume(run.converged.all())
    _grows(run, run, (0, 1))


@settings(max_examples=50)
@given(rules, sizes, leverages, shocks, shocks)
def test_monotone_in_the_shock_without_thresholds(
    terms: UnwindSettings, size: float, leverage: float, one: float, two: float
) -> None:
    run = simulate_unwind(size, leverage, sorted([one, two], reverse=True), replace(terms, delever=None))
    assume(run.converged.all())
    _grows(run, run, (0, 1))


@settings(max_examples=25)
@given(rules, st.lists(st.tuples(sizes, leverages, shocks), min_size=2, max_size=4))
def test_crowds_do_not_see_each_other(terms: UnwindSettings, crowds: list[tuple[float, float, float]]) -> None:
    together = simulate_unwind(*zip(*crowds, strict=True), terms)
    for place, crowd in enumerate(crowds):
        alone = simulate_unwind(*crowd, terms)
        assert alone.share_liquidated[0] == together.share_liquidated[place]
        assert alone.ended_on[0] == together.ended_on[place]
        assert alone.fall[0] == together.fall[place]


def test_grid_has_a_row_for_each_combination() -> None:
    terms = replace(FREE, tier=MarketDepth(1.0, 0.02))
    table = unwind_grid([0.5, 2.0], [3.0, 4.0, 5.0], [-0.05, -0.1], terms)
    assert len(table) == 12
    one = table[(table["size"] == 2.0) & (table["leverage"] == 4.0) & (table["shock"] == -0.1)].iloc[0]
    run = simulate_unwind(2.0, 4.0, -0.1, terms)
    assert one["tier_return"] == run.fall[0]
    assert one["share_liquidated"] == run.share_liquidated[0]
    assert (1 + one["own_return"]) * 0.9 == pytest.approx(1 + one["tier_return"])
    assert one["turnover_days"] == 2.0


@pytest.mark.parametrize(
    ("size", "leverage", "shock", "name"),
    [(-1.0, 4.0, -0.1, "size"), (1.0, 0.0, -0.1, "leverage"), (1.0, 6.0, -0.1, "leverage"), (1.0, 4.0, 0.1, "shock"),
     (1.0, 4.0, -1.0, "shock"), (math.nan, 4.0, -0.1, "size")],
)  # fmt: skip
def test_refuses_impossible_crowds(size: float, leverage: float, shock: float, name: str) -> None:
    with pytest.raises(DataContractError, match=f"`{name}` must be"):
        simulate_unwind(size, leverage, shock, FREE)


@pytest.mark.parametrize(
    ("name", "value"),
    [("maintenance", 0.0), ("limit", 1.0), ("participation", 0.0), ("discount", 1.0), ("contract_years", -0.1),
     ("smallest", 0.0), ("max_days", 0), ("rebound_days", 0), ("participation", math.nan)],
)  # fmt: skip
def test_refuses_impossible_settings(name: str, value: float) -> None:
    with pytest.raises(DefinitionError, match=f"`{name}` must be"):
        UnwindSettings(**{"tier": DEEP, "hedge": DEEP, name: value})


def test_refuses_a_trigger_below_the_call() -> None:
    with pytest.raises(DefinitionError, match=r"`delever\.below` must be above"):
        UnwindSettings(tier=DEEP, hedge=DEEP, delever=Delever(below=0.11), maintenance=0.12)
