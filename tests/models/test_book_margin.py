"""Margin calls of books: a hand-made path, the known example, and a plain loop over days as oracle."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.errors import DataContractError
from models.book_margin import margin_calls
from models.books import Books, BookSettings
from models.leverage import leverage_table
from models.scenarios import ScenarioSet
from models.swap_terms import SwapTerms
from tests.models.book_factory import make_books
from tests.models.test_scenarios import make_set
from tests.models.two_legs import HEDGE, LONG, two_legs


def one_path(small: list[float], large: list[float]) -> ScenarioSet:
    """Return a set of one path from simple returns since entry, day by day."""
    paths = np.log1p(np.array([[[0.0], [0.0]], *([[s], [b]] for s, b in zip(small, large, strict=True))]))
    sessions = np.datetime64("2024-01-02", "us") + np.arange(len(small)) * np.timedelta64(1, "D")
    return ScenarioSet(("small", "large"), sessions, {1: 1, 4: len(small)}, paths.astype(np.float32), np.ones(1))


def neutral(lever: float, cost: float = 0.0) -> Books:
    """Return a book long small caps, short large caps."""
    one = np.ones(1)
    return Books(
        ("small", "large"), np.array([[1.0, 0.0]]), np.array([[0.0, 1.0]]), lever * one, cost * one, 0 * one
    )  # fmt: skip


def test_the_known_example_sells_36_percent_of_the_book() -> None:
    # METHODS 6: L = 4, long leg -21.7%, spread -12.5%: Q = 36%; E'/A' = 0.50 / 3.13 is no call at 0.12, but is at 0.17.
    held = one_path([-0.217], [-0.092])
    assert margin_calls(neutral(4), held, [1])[1].probability[0] == 0
    called = margin_calls(neutral(4), held, [1], BookSettings(maintenance=0.17))[1]
    assert called.probability[0] == 1
    assert called.forced_share[0] == pytest.approx(0.3614, abs=1e-4)


def test_only_the_first_call_counts_and_it_stays_called() -> None:
    held = one_path([0.0, -0.20, -0.30, 0.0], [0.0, 0.0, 0.0, 0.0])
    calls = margin_calls(neutral(4), held, [1, 4])
    assert calls[1].probability[0] == 0
    assert calls[4].probability[0] == 1
    assert calls[4].forced_share[0] == pytest.approx((3.2 - 4 * 0.2) / 3.2, rel=1e-6)


def test_no_more_than_the_book_is_sold_and_costs_alone_can_call() -> None:
    assert margin_calls(neutral(4), one_path([-0.5], [0.0]), [1])[1].forced_share[0] == 1
    flat = one_path([0.0] * 20, [0.0] * 20)
    assert margin_calls(neutral(8), flat, [4])[4].probability[0] == 0
    assert margin_calls(neutral(8, cost=0.5), flat, [4])[4].probability[0] == 1


def test_the_whole_batch_equals_a_loop_over_days() -> None:
    held = make_set(400)
    held = replace(held, paths=(3 * held.paths).astype(np.float32))
    books = replace(make_books(30), gross_leverage=np.linspace(0, 7, 30))
    calls = margin_calls(books, held, [4, 1])
    for i in range(30):
        lever = books.gross_leverage[i]
        share = np.full(400, np.nan)
        for step in range(1, 21):
            simple = np.expm1(held.paths[step])
            asset = lever * (books.long[i] @ (1 + simple))
            daily = lever * (books.financing_rate[i] + books.hedge[i].sum() * books.basis[i]) / 242
            equity = 1 + lever * ((books.long[i] - books.hedge[i]) @ simple) - step * daily
            new = np.isnan(share) & (equity < 0.12 * asset)
            share[new] = np.clip((asset - lever * equity)[new] / asset[new], 0, 1)
            for horizon, end in ((1, 5), (4, 20)):
                if step == end:
                    wanted = held.weights @ ~np.isnan(share), held.weights @ np.nan_to_num(share)
                    assert calls[horizon].probability[i] == pytest.approx(wanted[0], abs=1e-9)
                    assert calls[horizon].forced_share[i] == pytest.approx(wanted[1], abs=1e-6)
    assert 0.2 < calls[4].probability.max() < 1
    assert (calls[1].probability <= calls[4].probability).all()


def test_more_leverage_never_lowers_the_chance_of_a_call_without_costs() -> None:
    held = make_set(500)
    chance = [margin_calls(neutral(lever), replace(held, segments=("large", "x", "small")), [4])[4].probability[0]
              for lever in (1, 2, 3, 4, 5, 6, 7, 8)]  # fmt: skip
    assert chance == sorted(chance)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(DataContractError, match="`horizons` must be among"):
        margin_calls(make_books(2), make_set(50), [1, 3])
    with pytest.raises(DataContractError, match="long weights must sum"):
        margin_calls(replace(make_books(2), long=np.zeros((2, 3))), make_set(50), [1])


@given(st.integers(0, 10_000), st.floats(1.0, 5.0))
def test_on_the_first_day_a_book_of_the_table_is_called_like_the_levered_book(seed: int, lever: float) -> None:
    """Two rules live side by side: here both legs are held unchanged, there the hedge is matched at each close.

    They part only after the first session, and where a swap has costs or limits.
    """
    rng = np.random.default_rng(seed)
    falls = rng.uniform(-0.5, 0.2, (2, 30, 1))
    weights = rng.uniform(0.1, 1.0, 30)
    held = two_legs(falls[0].tolist(), falls[1].tolist(), (weights / weights.sum()).tolist())
    one, legs = np.ones(1), np.eye(2)[:, None]
    books = Books(("micro", "mid"), legs[0], legs[1], lever * one, 0 * one, 0 * one)
    table = leverage_table(held, LONG, HEDGE, SwapTerms(maintenance=0.12, limit_down=None), (lever,))
    assert margin_calls(books, held, [4])[4].probability[0] == pytest.approx(table["p_margin_call"][0], abs=1e-6)
