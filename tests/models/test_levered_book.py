"""The levered book: worked examples of METHODS section 6, a hand-led book on every path, and what must always hold."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.errors import DataContractError
from models.levered_book import BookRun, run_book, run_books
from models.scenarios import ScenarioSet
from models.swap_terms import Basis, Delever, Pressure, SwapTerms
from tests.models.two_legs import HEDGE, LEVERAGES, LONG, by_hand, delevers, random_set, terms_with, two_legs

FREE = SwapTerms(maintenance=1e-9, close_on_call=False, limit_down=None)
"""No costs and nothing sold, ever."""
BASKETS = ({"micro": 0.7, "small": 0.3}, {"mid": 0.6, "large": 0.4})


def run(held: ScenarioSet, leverage: float, terms: SwapTerms) -> BookRun:
    return run_book(held, LONG, HEDGE, leverage, terms)


def test_the_sale_that_restores_leverage() -> None:
    """METHODS section 6, "Check": L = 4, r_L = -21.7%, s = -12.5%, so r_F = -9.2%.

    E' = 1 - 4 * 0.125 = 0.5 and A' = 4 * 0.783 = 3.132; E'/A' = 0.160 is above the call and below a trigger of 0.20;
    Q = (3.132 - 4 * 0.5) / 3.132 = 0.3614, 36% of the book; what is left is 4 * 0.5 = 2.
    """
    held = two_legs([[-0.217]], [[-0.092]])
    terms = SwapTerms(delever=Delever(0.20), limit_down=None)
    book = run(held, 4, terms)
    assert book.equity[1, 0] == pytest.approx(0.5, abs=1e-6)
    assert 1 - book.kept[1, 0] == pytest.approx(1.132 / 3.132, abs=1e-6)
    assert round(1 - book.kept[1, 0], 2) == 0.36
    assert book.long[1, 0] == pytest.approx(2.0, abs=1e-6)
    assert book.short[1, 0] == pytest.approx(2.0, abs=1e-6)
    assert book.called_on[0] == 2, "never called"
    # On such a day micro-caps are limit-down: by the rule nothing could have been sold.
    assert run(held, 4, replace(terms, limit_down=0.095)).kept[1, 0] == 1.0


def test_a_book_that_sold_in_time_outlives_one_of_lower_leverage() -> None:
    """METHODS section 6: moves of -5.01, -5.01, -2.75 and -9%, trigger 0.20, call 0.12.

    The moves are of the spread, the long leg flat: with E' = E + A s an un-de-levered book has E / A = 1 / L plus the
    sum of the moves, so that L = 4 stands at 0.25 - 0.0501 = 0.1999 after the first, just under the trigger.

    L = 3, A = 3 throughout: E / A = 0.2832, 0.2331, 0.2056 (no sale), then 0.1156: called.
    L = 4: E = 0.7996, sells to A = 3.1984; E = 0.7996 - 3.1984 * 0.0501 = 0.63936, E / A = 0.1999, sells to 2.55744;
    E = 0.63936 - 2.55744 * 0.0275 = 0.56903, E / A = 0.2225; E = 0.56903 - 2.55744 * 0.09 = 0.33886,
    E / A = 0.1325: not called (the trigger sells once more, to A = 1.35544).
    L = 4 without de-levering: 0.1999, 0.1498, 0.1223, then 0.0323: called.
    """
    held = two_legs([[0.0] * 4], [[0.0501, 0.0501, 0.0275, 0.09]])
    terms = SwapTerms(maintenance=0.12, delever=Delever(0.20))
    three, four = run(held, 3, terms), run(held, 4, terms)
    assert three.called_on[0] == 4
    np.testing.assert_allclose(three.equity[:4, 0] / three.long[:4, 0], [1 / 3, 0.2832, 0.2331, 0.2056], atol=5e-5)
    assert three.equity[4, 0] == pytest.approx(1 - 3 * 0.2177, abs=1e-6)
    assert three.long[4, 0] == 0.0, "closed by the broker"
    assert four.called_on[0] == 5, "never"
    np.testing.assert_allclose(four.long[:, 0], [4, 3.1984, 2.55744, 2.55744, 1.35544], atol=2e-5)
    np.testing.assert_allclose(four.equity[:, 0], [1, 0.7996, 0.63936, 0.56903, 0.33886], atol=1e-5)
    assert run(held, 4, replace(terms, delever=None)).called_on[0] == 4


def test_down_at_four_times_and_up_at_two() -> None:
    """A V: the long leg loses 5% twice and comes all the way back, the hedge flat.

    Held, the book is back at 1. De-levered at the bottom (E = 1 - 4 * 0.0975 = 0.61, A = 3.61, E / A = 0.169) to
    twice, it rides up with A = 1.22 instead of 3.61: E = 0.61 + 1.22 * (1 / 0.9025 - 1) = 0.7418.
    """
    up = 1 / 0.95 - 1
    held = two_legs([[-0.05, -0.05, up, up]], [[0.0] * 4])
    terms = SwapTerms()
    assert run(held, 4, terms).equity[4, 0] == pytest.approx(1.0, abs=1e-6)
    sold = run(held, 4, replace(terms, delever=Delever(0.20, to=2.0)))
    assert sold.equity[2, 0] == pytest.approx(0.61, abs=1e-6)
    assert sold.long[2, 0] == pytest.approx(1.22, abs=1e-6)
    assert sold.equity[4, 0] == pytest.approx(0.61 + 1.22 * (1 / 0.9025 - 1), abs=1e-6)


@settings(max_examples=60)
@given(
    st.integers(0, 10_000),
    st.sampled_from([0.02, 0.04, 0.08]),
    terms_with(st.none() | delevers),
    st.sampled_from(LEVERAGES),
)
def test_every_close_of_every_path_is_that_of_the_book_led_by_hand(
    seed: int, sigma: float, terms: SwapTerms, leverage: float
) -> None:
    held = random_set(seed, n=5, sigma=sigma)
    book = run_book(held, *BASKETS, leverage, terms)
    equity = book.equity
    for path in range(5):
        closes = by_hand(held, BASKETS, leverage, terms, path)
        for name in ("long", "short", "cash"):
            expected = [getattr(close, name) for close in closes]
            np.testing.assert_allclose(getattr(book, name)[:, path], expected, atol=1e-10, err_msg=name)
        # Conservation: no cash appears or vanishes but by price moves and payments.
        flows = np.cumsum([close.flow for close in closes])
        np.testing.assert_allclose(equity[:, path], 1.0 + flows, atol=1e-10)
        units = leverage - np.cumsum([close.sold_units for close in closes])
        np.testing.assert_allclose(book.kept[:, path], units / leverage, atol=1e-10)
        calls = [day for day, close in enumerate(closes) if close.called]
        assert book.called_on[path] == (calls[0] if calls else 21)
        gone = [day for day, close in enumerate(closes) if close.long + close.cash - close.short <= 0]
        assert book.wiped_on[path] == (gone[0] if gone else 21)


def test_the_wild_paths_reach_every_state() -> None:
    # The comparison with the hand-led book means little where nothing happens.
    held = random_set(1, n=400, sigma=0.08)
    book = run_book(held, *BASKETS, 4.0, SwapTerms(delever=Delever(0.2), limit_down=0.06))
    sold = 1 - book.kept[-1]
    assert (book.called_on <= 20).sum() > 20
    assert (book.wiped_on <= 20).sum() > 5
    assert ((sold > 0) & (sold < 1)).sum() > 20
    assert (book.equity[-1] < 0).sum() > 2


@settings(max_examples=60)
@given(st.integers(0, 10_000), terms_with(st.none()))
def test_without_de_levering_more_leverage_is_called_no_later_on_any_path(seed: int, terms: SwapTerms) -> None:
    """Needs `delever` None, nothing else: costs, limits, pressure and the close-out may be anything.

    Nothing is sold before the call, so E / A follows the same increasing map at every leverage. That the condition is
    needed is what the second worked example shows.
    """
    held = random_set(seed, n=40, sigma=0.03)
    called = [book.called_on for book in run_books(held, *BASKETS, LEVERAGES, terms)]
    for lower, higher in pairwise(called):
        assert (higher <= lower).all()


@given(st.integers(0, 10_000))
def test_leverage_one_without_costs_earns_the_spread(seed: int) -> None:
    held = random_set(seed)
    book = run_book(held, {"micro": 1.0}, {"mid": 1.0}, 1.0, FREE)
    prices = np.exp(held.paths.astype(np.float64))
    returns = prices[1:] / prices[:-1] - 1
    # The hedge is matched daily, so each day's spread is earned on the long leg's value that morning.
    expected = (prices[:-1, 3] * (returns[:, 3] - returns[:, 1])).cumsum(axis=0)
    np.testing.assert_allclose(book.equity[1:] - 1, expected, atol=1e-12)
    np.testing.assert_allclose(book.equity[1] - 1, returns[0, 3] - returns[0, 1], atol=1e-12)


@given(st.integers(0, 10_000))
def test_without_sales_losses_scale_with_leverage_and_are_not_clipped(seed: int) -> None:
    held = random_set(seed)
    one, five = run_books(held, *BASKETS, (1.0, 5.0), FREE)
    np.testing.assert_allclose(five.returns(4), 5 * one.returns(4), atol=1e-11)


def test_a_wipe_out_is_reported_and_the_debt_stays() -> None:
    # Limit-down on both days: no sale. E = 1 - 5 * 0.10 = 0.5, A = 4.5; then 0.5 - 4.5 * 0.15 = -0.175.
    held = two_legs([[-0.10, -0.15]], [[0.0, 0.0]])
    book = run(held, 5, SwapTerms())
    assert book.returns(4)[0] == pytest.approx(-1.175, abs=1e-6)
    assert book.called_on[0] == 1, "0.5 / 4.5 = 0.111"
    assert book.wiped_on[0] == 2
    assert book.kept[2, 0] == 1.0


@given(
    st.integers(0, 10_000), st.floats(0, 0.2), st.floats(0, 0.2), st.floats(0, 1), st.floats(0, 0.1), st.floats(0, 0.1)
)
def test_costs_lower_equity_at_every_close_where_nothing_is_sold(
    seed: int, financing: float, discount: float, convergence: float, more_financing: float, more_discount: float
) -> None:
    # With forced sales it does not hold: costs may make a book sell just before a fall.
    held = random_set(seed)
    cheap = replace(FREE, financing=financing, basis=Basis(discount, convergence))
    dear = replace(FREE, financing=financing + more_financing, basis=Basis(discount + more_discount, convergence))
    free, low, high = (run_book(held, *BASKETS, 3.0, terms).equity for terms in (FREE, cheap, dear))
    assert (low <= free + 1e-12).all()
    assert (high <= low + 1e-12).all()
    if financing > 1e-6:
        assert (low[1:] < free[1:]).all()


def test_financing_is_paid_on_what_is_borrowed() -> None:
    """L = 3, 6% over 250 sessions, flat prices: E' = E - 0.00024 (3 - E), so 3 - E grows by 1.00024 a day from 2."""
    held = two_legs([[0.0] * 4], [[0.0] * 4])
    book = run(held, 3, SwapTerms(financing=0.06, day_count=250))
    np.testing.assert_allclose(3 - book.equity[:, 0], 2 * 1.00024 ** np.arange(5), rtol=1e-12)
    assert run(held, 1, SwapTerms(financing=0.06)).equity[1, 0] == 1.0


def test_the_discount_is_paid_by_session_and_half_of_it_at_once_on_the_stress_day() -> None:
    """L = 2, 8% a year over 250 sessions, half of it closing on the first day the long leg lags by 3%, 3 months left.

    Day 1: 2 * 0.00032. Day 2, stress (-4%): 2 * (0.00032 + 0.5 * 0.08 * 0.25). Days 3 and 4: 1.92 * 0.00016; the
    second -4% shocks no more.
    """
    held = two_legs([[0.0, -0.04, 0.0, -0.04]], [[0.0] * 4])
    basis = Basis(discount=0.08, convergence=0.5, contract_years=0.25, stress_lag=0.03)
    book = run(held, 2, SwapTerms(basis=basis, day_count=250))
    paid = np.cumsum([0, 2 * 0.00032, 2 * (0.00032 + 0.01), 1.92 * 0.00016, 1.92 * 0.00016])
    moves = np.array([0, 0, 0.08, 0.08, 0.08 + 1.92 * 0.04])
    np.testing.assert_allclose(book.equity[:, 0], 1 - paid - moves, atol=1e-6)


def test_a_limit_down_day_delays_the_sale_to_the_next_open_one() -> None:
    # L = 4 falls 10% twice: called at the first close, E = 0.6 / 3.6; sold on the third day, after 19% and 5% more.
    held = two_legs([[-0.10, -0.10, -0.05, -0.02]], [[0.0] * 4])
    stuck = run(held, 4, SwapTerms(maintenance=0.17, limit_down=0.095))
    free = run(held, 4, SwapTerms(maintenance=0.17, limit_down=None))
    assert stuck.called_on[0] == free.called_on[0] == 1
    np.testing.assert_array_equal(stuck.kept[:, 0], [1, 1, 1, 0, 0])
    np.testing.assert_array_equal(free.kept[:, 0], [1, 0, 0, 0, 0])
    assert free.equity[4, 0] == pytest.approx(0.6, abs=1e-6)
    assert stuck.equity[4, 0] == pytest.approx(1 - 4 * (1 - 0.81 * 0.95), abs=1e-6)


def test_a_waiting_close_out_stands_and_a_waiting_sale_is_sized_anew() -> None:
    # L = 4 loses 10%, limit-down, and gains it back the next day.
    held = two_legs([[-0.10, 1 / 0.9 - 1, 0.0]], [[0.0] * 3])
    called = run(held, 4, SwapTerms(maintenance=0.17))
    assert called.kept[2, 0] == 0.0
    assert called.equity[3, 0] == pytest.approx(1.0, abs=1e-6)
    waiting = run(held, 4, SwapTerms(delever=Delever(0.2, to=3.0)))
    # Back at E = 1, A = 4: the order stands and sells to 3 E, a quarter.
    assert waiting.kept[2, 0] == pytest.approx(0.75, abs=1e-6)
    assert run(held, 4, SwapTerms(delever=Delever(0.2))).kept[2, 0] == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize("leg", ["long", "hedge"])
def test_forced_sales_move_prices_and_half_comes_back(leg: str) -> None:
    """L = 2 falls 10%: E = 0.8, A = 1.8, under a trigger of 0.45; sells 0.2, a tenth of the notional at entry.

    A crowd of ten times the daily turnover then trades one day's turnover: the log price moves by sigma = 0.02. All of
    it is lost on the 0.2 sold, half of it, after a day, on the 1.6 kept. Buying back futures is the mirror image.
    """
    held = two_legs([[-0.10, 0.0]], [[0.0, 0.0]])
    rule = Pressure(crowd=10.0, adv=1.0, sigma=0.02)
    terms = SwapTerms(delever=Delever(0.45), limit_down=None)
    sign = -1 if leg == "long" else 1
    book = run(held, 2, replace(terms, **{f"{leg}_pressure": rule}))
    whole, half = abs(np.expm1(sign * 0.02)), abs(np.expm1(sign * 0.01))
    assert book.equity[1, 0] == pytest.approx(0.8 - 1.8 * whole, abs=1e-6)
    assert book.equity[2, 0] == pytest.approx(0.8 - 0.2 * whole - 1.6 * half, abs=1e-6)


@settings(max_examples=40)
@given(st.integers(0, 10_000), terms_with(delevers))
def test_no_pressure_equals_pressure_off(seed: int, terms: SwapTerms) -> None:
    held = random_set(seed)
    nothing = [Pressure(0.0, 1.0, 0.02), Pressure(10.0, 1.0, 0.0), Pressure(10.0, 1.0, 0.02, y=0.0)]
    off = run_book(held, *BASKETS, 4.0, replace(terms, long_pressure=None, hedge_pressure=None))
    for rule in nothing:
        zero = run_book(held, *BASKETS, 4.0, replace(terms, long_pressure=rule, hedge_pressure=rule))
        for name in ("long", "short", "cash", "kept", "called_on", "wiped_on"):
            np.testing.assert_array_equal(getattr(zero, name), getattr(off, name))


@given(st.integers(0, 10_000), terms_with(st.none() | delevers), st.sampled_from(LEVERAGES))
def test_what_is_sold_is_a_share_and_never_comes_back(seed: int, terms: SwapTerms, leverage: float) -> None:
    book = run_book(random_set(seed), *BASKETS, leverage, terms)
    assert (book.kept >= 0).all()
    assert (book.kept <= 1).all()
    assert (np.diff(book.kept, axis=0) <= 0).all()
    assert (book.long[book.kept == 0] == 0).all()
    assert (book.wiped_on >= book.called_on).all()


def test_baskets_are_bought_and_held() -> None:
    # Half in each of two segments, +20% and -10% in one session, then +20% and -10% of what each has become.
    prices = np.array([[1.0, 1.0], [1.2, 0.9], [1.44, 0.81]])
    held = replace(two_legs([[0.0] * 2], [[0.0] * 2]), paths=np.log(prices)[:, :, None].astype(np.float32))
    book = run_book(held, {"micro": 0.5, "mid": 0.5}, {"mid": 1.0}, 1.0, FREE)
    assert book.long[2, 0] == pytest.approx(0.5 * 1.44 + 0.5 * 0.81, abs=1e-6)


def test_inputs_are_not_changed_and_runs_repeat() -> None:
    held = random_set(3)
    kept = held.paths.copy(), held.weights.copy()
    terms = SwapTerms(delever=Delever(0.2), long_pressure=Pressure(200.0, 50.0, 0.02))
    one, two = (run_book(held, *BASKETS, 4.0, terms) for _ in range(2))
    np.testing.assert_array_equal(held.paths, kept[0])
    np.testing.assert_array_equal(held.weights, kept[1])
    np.testing.assert_array_equal(one.equity, two.equity)


def test_bad_input_is_refused_in_words() -> None:
    held = random_set(4)
    for basket in ({}, {"micro": 0.5}, {"micro": 1.5, "small": -0.5}, {"micro": float("nan")}):
        with pytest.raises(DataContractError, match="weights of `long` must be positive and sum to one"):
            run_book(held, basket, HEDGE, 2.0, SwapTerms())
    with pytest.raises(DataContractError, match="`segment` must be one of large, mid, small, micro; got 'nano'"):
        run_book(held, LONG, {"nano": 1.0}, 2.0, SwapTerms())
    with pytest.raises(DataContractError, match="`leverage` must be above 0"):
        run_books(held, LONG, HEDGE, (2.0, 9.0), SwapTerms())
    with pytest.raises(DataContractError, match=r"`horizon` must be one of \[1, 4\] weeks; got 2"):
        run(held, 2.0, SwapTerms()).returns(2)
    paths = held.paths.copy()
    paths[3, 3, 0] = np.nan
    with pytest.raises(DataContractError, match="paths of 'micro' must be finite"):
        run(replace(held, paths=paths), 2.0, SwapTerms())
