"""The level at which books are read: that of the worst pair they hold."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from models.books import Books, BookSettings, book_risk
from models.leverage import leverage_table
from models.levered_book import run_book
from models.reading import corrected_risk, reading_levels
from models.scenarios import PairLevel, ScenarioSet, weighted_tail
from models.swap_terms import SwapTerms
from tests.models.book_factory import make_books
from tests.models.test_scenarios import make_set as plain_set

LEVELS = (
    PairLevel("large-mid", "mid", 4, 0.04, 0.06),
    PairLevel("large-small", "small", 4, 0.03, 0.08),
    PairLevel("large-small", "small", 1, 0.02, 0.09),
)


def make_set() -> ScenarioSet:
    """Return the usual set with levels."""
    return replace(plain_set(600), levels=LEVELS)


@pytest.mark.parametrize(
    ("exposures", "horizon", "wanted"),
    [
        ((0.0, 0.0, 4.0), 4, 0.03),
        ((0.0, 0.0, 4.0), 1, 0.02),
        ((0.0, 0.0, -4.0), 4, 0.08),
        ((-4.0, 0.0, 4.0), 4, 0.03),
        ((0.0, 4.0, -4.0), 4, 0.04),
        ((4.0, -4.0, 0.0), 4, 0.06),
        ((4.0, 0.0, 0.0), 4, 0.05),
        ((0.0, 4.0, 0.0), 1, 0.05),
    ],
)
def test_the_lowest_level_of_the_sides_held_counts(exposures: tuple[float, ...], horizon: int, wanted: float) -> None:
    held = make_set()
    assert reading_levels(held, held.segments, np.array([exposures]), horizon)[0] == wanted


def test_books_are_read_at_their_level_and_at_the_nominal_one() -> None:
    held, books = make_set(), make_books(30)
    found = corrected_risk(books, held, 4)
    raw = book_risk(books, held, 4)
    for got, want in zip(found.raw, raw, strict=True):
        np.testing.assert_allclose(got, want, rtol=0, atol=1e-14)
    assert len(np.unique(found.level)) > 2
    for number in range(len(books)):
        level = found.level[number]
        one = book_risk(books.take(np.array([number])), held, 4, BookSettings(levels=(level, level / 2)))
        np.testing.assert_allclose(found.corrected.var[number], one.var[0])
        np.testing.assert_allclose(found.corrected.es[number], one.es[0])
    parts = found.corrected.contributions.sum(axis=2) + found.corrected.carry[:, None]
    np.testing.assert_allclose(parts, found.corrected.es, atol=1e-12)


def test_a_set_without_levels_is_read_at_the_nominal_ones() -> None:
    held, books = replace(make_set(), levels=()), make_books(10)
    found = corrected_risk(books, held, 1)
    assert set(found.level) == {0.05}
    np.testing.assert_array_equal(found.corrected.var, found.raw.var)


def test_taking_books_keeps_their_order() -> None:
    books = make_books(6)
    some = books.take(np.array([4, 1]))
    assert isinstance(some, Books)
    np.testing.assert_array_equal(some.long, books.long[[4, 1]])
    assert some.hedge_ratio is not None
    assert books.hedge_ratio is not None
    np.testing.assert_array_equal(some.hedge_ratio, books.hedge_ratio[[4, 1]])


def test_the_leverage_table_reads_the_same_level() -> None:
    held = make_set()
    table = leverage_table(held, {"small": 1.0}, {"mid": 1.0}, SwapTerms(), (2,)).set_index("horizon_weeks")
    assert table["level"].to_dict() == {1: 0.02, 4: 0.03}
    run = run_book(held, {"small": 1.0}, {"mid": 1.0}, 2, SwapTerms())
    deep, nominal = weighted_tail(run.returns(4), held.weights, [0.03, 0.05])
    np.testing.assert_allclose(table.loc[4, ["var_95", "es_95"]].to_numpy(np.float64), deep)
    np.testing.assert_allclose(table.loc[4, ["raw_var_95", "raw_es_95"]].to_numpy(np.float64), nominal)
