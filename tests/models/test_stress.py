"""Named stresses: the known example, what a stress must cover, what a shock may be."""

from __future__ import annotations

import numpy as np
import pytest

from features.errors import DataContractError
from models.books import Books
from models.stress import Stress
from tests.models.book_factory import make_books


def test_a_levered_neutral_book_loses_the_spread() -> None:
    # METHODS 6: long leg -21.7%, spread -12.5%, four times levered: half of the equity.
    one = np.ones(1)
    books = Books(("small", "large"), np.array([[1.0, 0.0]]), np.array([[0.0, 1.0]]), 4 * one, 0.05 * one, 0 * one)
    assert Stress("unwind", {"small": -0.217, "large": -0.092}).returns(books)[0] == pytest.approx(-0.5)


def test_a_held_segment_without_a_shock_is_refused_and_one_not_held_is_not() -> None:
    books = make_books(4)
    stress = Stress("part", {"large": -0.1, "mid": -0.1})
    (fault,) = stress.faults(books)
    assert "'small'" in fault.rule
    assert fault.rows.all()
    with pytest.raises(DataContractError, match="must have a shock for segment 'small'"):
        stress.returns(books)
    one = np.ones(1)
    idle = Books(books.segments, np.array([[1.0, 0.0, 0.0]]), np.zeros((1, 3)), 2 * one, 0 * one, 0 * one)
    assert stress.returns(idle)[0] == pytest.approx(-0.2)


@pytest.mark.parametrize("shock", [-1.0, -12.5, float("nan"), float("inf")])
def test_a_shock_is_a_simple_return(shock: float) -> None:
    with pytest.raises(DataContractError, match="must be simple returns above -1"):
        Stress("odd", {"large": shock})
