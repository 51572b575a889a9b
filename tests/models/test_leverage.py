"""The leverage table and the probability of a loss, read off weighted paths."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.errors import DataContractError
from models.leverage import leverage_table, loss_at, loss_probability
from models.levered_book import run_book
from models.scenarios import weighted_tail
from models.swap_terms import Basis, Delever, Pressure, SwapTerms
from tests.models.two_legs import HEDGE, LONG, delevers, random_set, terms_with, two_legs

COLUMNS = [
    "leverage", "horizon_weeks", "var_95", "es_95", "var_975", "es_975",
    "raw_var_95", "raw_es_95", "raw_var_975", "raw_es_975", "level", "p_margin_call", "share_force_sold", "p_wipe_out",
]  # fmt: skip


def test_a_row_for_each_leverage_and_horizon_read_off_the_run() -> None:
    held = random_set(1, n=300)
    terms = SwapTerms(delever=Delever(0.2), financing=0.05)
    table = leverage_table(held, LONG, HEDGE, terms)
    assert list(table.columns) == COLUMNS
    assert list(zip(table["leverage"], table["horizon_weeks"], strict=True)) == [
        (float(leverage), horizon) for leverage in range(1, 6) for horizon in (1, 4)
    ]
    for row in table.itertuples():
        book = run_book(held, LONG, HEDGE, row.leverage, terms)
        end = held.exits[row.horizon_weeks]
        five, half = weighted_tail(book.equity[end] - 1, held.weights, [0.05, 0.025])
        np.testing.assert_allclose([row.var_95, row.es_95, row.var_975, row.es_975], [*five, *half], atol=1e-12)
        assert row.p_margin_call == pytest.approx(held.weights[book.called_on <= end].sum())
        assert row.share_force_sold == pytest.approx(held.weights @ (1 - book.kept[end]))
        assert row.p_wipe_out == pytest.approx(held.weights[(book.equity[: end + 1] <= 0).any(axis=0)].sum())


def test_weights_decide() -> None:
    """L = 4, three paths: flat; -4% (E / A = 0.84 / 3.84 = 0.219); -15% and limit-down, called and stuck.

    The third ends at 1 - 0.6 = 0.4 of its equity, E / A = 0.4 / 3.4 = 0.118, and nothing is sold; without the limit
    all of it is.
    """
    held = two_legs([[0.0], [-0.04], [-0.15]], [[0.0]] * 3, weights=[0.5, 0.47, 0.03])
    (stuck,) = leverage_table(held, LONG, HEDGE, SwapTerms(), (4,)).itertuples()
    (sold,) = leverage_table(held, LONG, HEDGE, SwapTerms(limit_down=None), (4,)).itertuples()
    for row in (stuck, sold):
        assert row.p_margin_call == pytest.approx(0.03)
        assert row.p_wipe_out == 0.0
        assert row.var_95 == pytest.approx(-0.16, abs=1e-6)
        assert row.es_95 == pytest.approx((0.03 * -0.6 + 0.02 * -0.16) / 0.05, abs=1e-6)
        assert row.var_975 == pytest.approx(-0.6, abs=1e-6)
    assert stuck.share_force_sold == 0.0
    assert sold.share_force_sold == pytest.approx(0.03)


@settings(max_examples=40)
@given(st.integers(0, 10_000), terms_with(st.none() | delevers))
def test_probabilities_and_shares_are_fractions_and_grow_with_the_horizon(seed: int, terms: SwapTerms) -> None:
    table = leverage_table(random_set(seed), LONG, HEDGE, terms)
    for name in ("p_margin_call", "share_force_sold", "p_wipe_out"):
        assert table[name].between(0, 1).all()
        week, month = (table.loc[table["horizon_weeks"] == h, name].to_numpy() for h in (1, 4))
        assert (month >= week - 1e-12).all()
    assert (table["es_95"] <= table["var_95"] + 1e-12).all()
    assert (table["var_975"] <= table["var_95"]).all()
    assert (table["p_wipe_out"] <= table["p_margin_call"] + 1e-12).all()


@settings(max_examples=40)
@given(st.integers(0, 10_000), terms_with(st.none()))
def test_without_de_levering_the_probability_of_a_call_never_falls_with_leverage(seed: int, terms: SwapTerms) -> None:
    table = leverage_table(random_set(seed, n=40, sigma=0.03), LONG, HEDGE, terms)
    for _, rows in table.groupby("horizon_weeks"):
        assert (np.diff(rows["p_margin_call"]) >= -1e-12).all()


def test_with_de_levering_it_can_fall() -> None:
    """METHODS section 6, the path worked out in test_levered_book, as the only path: L = 3 is called, L = 4 is not."""
    held = two_legs([[0.0] * 4], [[0.0501, 0.0501, 0.0275, 0.09]])
    table = leverage_table(held, LONG, HEDGE, SwapTerms(delever=Delever(0.20)), (3, 4))
    assert list(table["p_margin_call"]) == [1.0, 0.0]


def test_the_sentence_of_the_note() -> None:
    # Spreads of 0 to -19% in one session, twenty equal paths, four times leverage: losses of 0, 4%, ..., 76%.
    spreads = [-i / 100 for i in range(20)]
    held = two_legs([[s] for s in spreads], [[0.0]] * 20)
    book = run_book(held, LONG, HEDGE, 4, SwapTerms(limit_down=None))
    assert loss_probability(book, 4, 0.30) == pytest.approx(12 / 20), "0.32 and more: 8 to 19"
    assert loss_probability(book, 4, -0.01) == pytest.approx(1.0), "each gains less than 1%"
    assert loss_probability(book, 4, 0.80) == 0.0
    assert loss_at(book, 4, 0.10) == pytest.approx(0.72, abs=1e-6), "exceeded by 0.76 alone"


@given(st.integers(0, 10_000), st.floats(0.001, 0.999), st.integers(1, 5))
def test_loss_and_probability_are_inverse(seed: int, probability: float, leverage: int) -> None:
    book = run_book(random_set(seed), LONG, HEDGE, leverage, SwapTerms())
    loss = loss_at(book, 4, probability)
    assert loss_probability(book, 4, loss) <= probability + 1e-12
    assert loss_probability(book, 4, loss - 1e-9) >= probability - 1e-12


def test_what_cannot_be_asked_is_refused() -> None:
    book = run_book(random_set(2), LONG, HEDGE, 2, SwapTerms())
    with pytest.raises(DataContractError, match=r"`probability` must be inside \(0, 1\); got 5"):
        loss_at(book, 4, 5.0)
    with pytest.raises(DataContractError, match="`loss` must be finite"):
        loss_probability(book, 4, float("nan"))
    with pytest.raises(DataContractError, match="`horizon` must be one of"):
        loss_probability(book, 13, 0.3)


def test_twenty_thousand_paths_take_well_under_a_second_of_processor_time() -> None:
    held = random_set(5, n=20_000)
    terms = SwapTerms(
        delever=Delever(0.2), financing=0.05, basis=Basis(0.08, 0.5),
        long_pressure=Pressure(200.0, 50.0, 0.02), hedge_pressure=Pressure(200.0, 500.0, 0.015),
    )  # fmt: skip
    start = time.process_time()
    leverage_table(held, LONG, HEDGE, terms)
    assert time.process_time() - start < 1.0
