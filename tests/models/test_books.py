"""Risk of books: every number against the plain tail of one book at a time, and the properties of a tail."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.errors import DataContractError
from models.book_kernel import book_tails
from models.books import Books, BookSettings, book_risk
from models.scenarios import ScenarioSet, weighted_tail
from tests.models.book_factory import make_books
from tests.models.test_scenarios import make_set

LEVELS = (0.05, 0.025)


def uneven(held: ScenarioSet, power: float, seed: int = 3) -> ScenarioSet:
    """Return the set with weights that spread over orders of magnitude, as a hard tilt would leave them."""
    weights = np.random.default_rng(seed).random(len(held.weights)) ** power + 1e-9
    return replace(held, weights=weights / weights.sum())


def oracle(books: Books, held: ScenarioSet, horizon: int, sessions_per_year: float = 242.0) -> np.ndarray:
    """Return var and es of each book by the formula of the module and one sort, shape (books, levels, 2)."""
    returns = held.simple_returns(horizon)
    years = held.exits[horizon] / sessions_per_year
    rows = []
    for i in range(len(books)):
        lever = books.gross_leverage[i]
        values = lever * ((books.long[i] - books.hedge[i]) @ returns)
        values = (
            values - lever * books.financing_rate[i] * years - lever * books.hedge[i].sum() * books.basis[i] * years
        )
        rows.append(weighted_tail(values, held.weights, LEVELS))
    return np.array(rows)


@pytest.mark.parametrize("paths", [1, 7, 500, 5000])
@pytest.mark.parametrize("power", [0.0, 1.0, 12.0])
def test_a_batch_equals_the_tail_of_each_book(paths: int, power: float) -> None:
    held, books = uneven(make_set(paths), power), make_books(30)
    for horizon in (1, 4):
        risk, wanted = book_risk(books, held, horizon), oracle(books, held, horizon)
        np.testing.assert_allclose(risk.var, wanted[:, :, 0], rtol=1e-10, atol=1e-14)
        np.testing.assert_allclose(risk.es, wanted[:, :, 1], rtol=1e-10, atol=1e-14)


def test_parts_and_carry_add_up() -> None:
    risk = book_risk(make_books(200), uneven(make_set(3000), 3.0), 4)
    np.testing.assert_allclose(risk.contributions.sum(axis=2) + risk.carry[:, None], risk.es, rtol=0, atol=1e-12)


def test_parts_are_the_derivative_of_es() -> None:
    held, books = uneven(make_set(3000), 1.0), make_books(10, free=True)
    exposures, returns = books.exposures, held.simple_returns(4)
    tails = book_tails(exposures, returns, held.weights, LEVELS)
    step = 1e-7
    for segment in range(3):
        moved = exposures.copy()
        moved[:, segment] += step
        slope = (book_tails(moved, returns, held.weights, LEVELS).es - tails.es) / step
        np.testing.assert_allclose(exposures[:, segment, None] * slope, tails.contributions[:, :, segment], atol=1e-5)


def test_ties_at_the_quantile_share_by_weight() -> None:
    # Two scenarios tie at -1 of the book but differ by segment; half of their mass is in the tail of one half.
    returns = np.array([[-1.0, 0.0, 1.0], [0.0, -1.0, 1.0]])
    weights = np.array([0.25, 0.75, 1.0]) / 2
    tails = book_tails(np.ones((1, 2)), returns, weights, [0.25])
    assert tails.var[0, 0] == -1.0
    np.testing.assert_allclose(tails.contributions[0, 0], [-0.25, -0.75])


def test_a_scenario_at_the_boundary_of_equal_weights_is_the_quantile() -> None:
    weights = np.full(20000, 1 / 20000)
    returns = np.random.default_rng(5).permutation(np.arange(20000.0))[None, :]
    tails = book_tails(np.array([[1.0]]), returns, weights, LEVELS)
    assert tails.var[0].tolist() == [999.0, 499.0]
    np.testing.assert_allclose(tails.es[0], [499.5, 249.5])


def test_a_misleading_sample_costs_time_but_not_the_result() -> None:
    # The scan guesses its first threshold from every 16th scenario; here these are the best ones.
    rng = np.random.default_rng(1)
    returns = rng.standard_normal((1, 20000))
    returns[:, ::16] = np.abs(returns[:, ::16]) + 1
    weights = np.full(20000, 1 / 20000)
    (tail,) = weighted_tail(returns[0], weights, [0.05])
    got = book_tails(np.array([[1.0]]), returns, weights, [0.05])
    assert (got.var[0, 0], got.es[0, 0]) == pytest.approx(tail, rel=1e-12)


def test_returns_that_float32_cannot_tell_apart_are_still_ranked() -> None:
    # Long and short nearly cancel: the scan sees noise, so that it must take in every scenario.
    rng = np.random.default_rng(2)
    spread = 1e-7 * rng.standard_normal(20000)
    large = 5 * np.abs(rng.standard_normal(20000))
    returns, weights = np.stack([large + spread, large]), np.full(20000, 1 / 20000)
    (tail,) = weighted_tail(returns[0] - returns[1], weights, [0.05])
    got = book_tails(np.array([[1.0, -1.0]]), returns, weights, [0.05])
    assert (got.var[0, 0], got.es[0, 0]) == pytest.approx(tail, rel=1e-6)


@given(st.data())
@settings(max_examples=60)
def test_few_and_tied_values(data: st.DataObject) -> None:
    n = data.draw(st.integers(1, 30))
    cells = st.lists(st.integers(-3, 3), min_size=n, max_size=n)
    returns = np.array([data.draw(cells), data.draw(cells)], dtype=np.float64) / 10
    weights = np.array(data.draw(st.lists(st.integers(1, 5), min_size=n, max_size=n)), dtype=np.float64)
    weights /= weights.sum()
    exposures = np.array([[1.0, -1.0], [0.0, 0.0], [1e-20, 1e-20], [1e20, 0.0]])
    tails = book_tails(exposures, returns, weights, [0.5, 0.05])
    for row, exposure in enumerate(exposures):
        wanted = np.array(weighted_tail(exposure @ returns, weights, [0.5, 0.05]))
        scale = np.abs(exposure).max()
        np.testing.assert_allclose(tails.var[row], wanted[:, 0], rtol=1e-10, atol=1e-13 * scale)
        np.testing.assert_allclose(tails.es[row], wanted[:, 1], rtol=1e-10, atol=1e-13 * scale)
        np.testing.assert_allclose(tails.contributions[row].sum(axis=1), tails.es[row], rtol=1e-9, atol=1e-13 * scale)


@given(st.integers(0, 10**6), st.floats(0.01, 0.4), st.floats(0.01, 0.4))
@settings(max_examples=30)
def test_deeper_levels_lose_more_and_es_lies_beyond_var(seed: int, one: float, other: float) -> None:
    shallow, deep = max(one, other), min(one, other)
    risk = book_risk(make_books(5, seed), make_set(400, seed=seed), 1, BookSettings(levels=(shallow, deep)))
    assert (risk.var[:, 1] <= risk.var[:, 0] + 1e-15).all()
    assert (risk.es[:, 1] <= risk.es[:, 0] + 1e-15).all()
    assert (risk.es <= risk.var + 1e-15).all()


@given(st.integers(0, 10**6), st.floats(0.0, 6.0))
@settings(max_examples=30)
def test_without_costs_risk_is_proportional_to_leverage(seed: int, lever: float) -> None:
    held, books = make_set(400, seed=seed), make_books(5, seed, free=True)
    one = book_risk(replace(books, gross_leverage=np.ones(5)), held, 4)
    many = book_risk(replace(books, gross_leverage=np.full(5, lever)), held, 4)
    for name in ("var", "es", "contributions"):
        np.testing.assert_allclose(getattr(many, name), lever * getattr(one, name), rtol=1e-9, atol=1e-15)


def test_neither_order_nor_company_nor_threads_matter() -> None:
    held, books = make_set(2000), make_books(700)
    whole = book_risk(books, held, 1, BookSettings(threads=1))
    order = np.random.default_rng(2).permutation(700)[:300]
    assert books.hedge_ratio is not None
    some = Books(
        books.segments, books.long[order], books.hedge[order], books.gross_leverage[order],
        books.financing_rate[order], books.basis[order], books.hedge_ratio[order],
    )  # fmt: skip
    part = book_risk(some, held, 1, BookSettings(threads=3))
    for name in ("var", "es", "contributions", "carry"):
        np.testing.assert_array_equal(getattr(part, name), getattr(whole, name)[order])


def test_segments_may_be_fewer_and_in_another_order() -> None:
    held, books = make_set(500), make_books(10, free=True)
    turned = replace(books, segments=books.segments[::-1], long=books.long[:, ::-1], hedge=books.hedge[:, ::-1])
    np.testing.assert_allclose(book_risk(turned, held, 1).es, book_risk(books, held, 1).es, rtol=1e-12)
    few = Books(("small",), np.ones((1, 1)), np.zeros((1, 1)), np.ones(1), np.zeros(1), np.zeros(1))
    (tail,) = weighted_tail(held.simple_returns(1)[2], held.weights, [0.05])
    assert book_risk(few, held, 1).es[0, 0] == pytest.approx(tail.es, rel=1e-12)


def test_carry_of_a_known_book() -> None:
    # Four times levered, neutral, 4.5% financing, 6% basis: 4 (0.045 + 0.06) a year, 20 of 242 sessions.
    one = np.ones(1)
    books = Books(("small", "large"), np.array([[1.0, 0.0]]), np.array([[0.0, 1.0]]), 4 * one, 0.045 * one, 0.06 * one)
    assert books.carry(20 / 242)[0] == pytest.approx(-4 * 0.105 * 20 / 242)


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"long": np.array([[0.5, 0.4, 0.0]])}, "long weights must sum to 1"),
        ({"long": np.array([[50.0, 50.0, 0.0]])}, r"weights must lie in \[0, 1\]"),
        ({"long": np.array([[1.5, -0.5, 0.0]])}, r"weights must lie in \[0, 1\]"),
        ({"long": np.array([[np.nan, 1.0, 0.0]])}, "weights must be finite"),
        ({"hedge": np.array([[np.inf, -np.inf, 0.0]])}, "weights must be finite"),
        ({"hedge": np.array([[0.5, 0.0, 0.0]])}, "hedge weights must sum to 1 .neutral. or 0"),
        ({"hedge_ratio": np.array([0.5])}, "hedge weights must sum to the declared"),
        ({"hedge_ratio": np.array([np.nan])}, "hedge weights must sum to the declared"),
        ({"hedge": np.array([[1.0, 0.5, 0.0]]), "hedge_ratio": np.array([1.5])}, r"must lie in \[0, 1\]"),
        ({"gross_leverage": np.array([-1.0])}, "`gross_leverage` must be a multiple"),
        ({"gross_leverage": np.array([np.nan])}, "`gross_leverage` must be a multiple"),
        ({"gross_leverage": np.array([400.0])}, "`gross_leverage` must be a multiple"),
        ({"financing_rate": np.array([4.5])}, "yearly fractions"),
        ({"basis": np.array([np.inf])}, "yearly fractions"),
    ],
)
def test_a_broken_rule_is_named_with_its_rows(change: dict[str, np.ndarray], rule: str) -> None:
    one = np.ones(1)
    sound = Books(
        ("large", "mid", "small"), np.array([[0.0, 0.5, 0.5]]), np.array([[1.0, 0.0, 0.0]]), 2 * one, 0 * one, 0 * one
    )
    assert sound.faults() == []
    broken = replace(sound, **change)
    (fault,) = broken.faults()
    assert fault.rows.tolist() == [True]
    with pytest.raises(DataContractError, match=rule) as caught:
        book_risk(broken, make_set(50), 1)
    assert caught.value.rows is not None
    assert caught.value.rows["row"].tolist() == [0]


def test_what_does_not_fit_is_refused() -> None:
    held, books = make_set(50), make_books(3)
    with pytest.raises(DataContractError, match="`segment` must be one of large, mid, small; got 'micro'"):
        book_risk(replace(books, segments=("large", "mid", "micro")), held, 1)
    with pytest.raises(DataContractError, match="`horizon` must be one of"):
        book_risk(books, held, 2)
    with pytest.raises(DataContractError, match="must have shape"):
        replace(books, basis=np.zeros(2))
    with pytest.raises(DataContractError, match="`returns` must have shape"):
        book_tails(np.ones((1, 2)), np.ones((3, 4)), np.full(4, 0.25), LEVELS)
    with pytest.raises(DataContractError, match="must be finite"):
        book_tails(np.full((1, 3), np.nan), np.ones((3, 4)), np.full(4, 0.25), LEVELS)
    with pytest.raises(DataContractError, match="must be finite"):
        book_tails(np.ones((1, 3)), np.full((3, 4), np.inf), np.full(4, 0.25), LEVELS)
    for weights in (np.full(4, 0.5), np.array([1.0, 0.0, 0.0, 0.0]), np.full(4, np.nan)):
        with pytest.raises(DataContractError, match="`weights` must be positive"):
            book_tails(np.ones((1, 3)), np.ones((3, 4)), weights, LEVELS)
    with pytest.raises(DataContractError, match="`levels` must lie"):
        book_tails(np.ones((1, 3)), np.ones((3, 4)), np.full(4, 0.25), [1.0])
    for wrong in ({"levels": ()}, {"levels": (5.0,)}, {"sessions_per_year": 0.0}, {"maintenance": 1.0}, {"threads": 0}):
        with pytest.raises(DataContractError, match=f"`{next(iter(wrong))}` must"):
            BookSettings(**wrong)


def test_levels_come_back_in_the_order_asked() -> None:
    held, books = make_set(500), make_books(5)
    up, down = (book_risk(books, held, 1, BookSettings(levels=levels)) for levels in ((0.025, 0.3, 0.05), (0.3, 0.05)))
    np.testing.assert_allclose(up.es[:, [1, 2]], down.es, rtol=1e-12)
    assert (up.es[:, 0] < up.es[:, 2]).all()


def test_no_books_is_no_error() -> None:
    risk = book_risk(make_books(0), make_set(50), 1)
    assert risk.es.shape == (0, 2)
    assert risk.contributions.shape == (0, 2, 3)
