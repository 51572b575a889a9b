"""Terms of a levered book: what contradicts itself is refused in words; the square-root law."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from features.errors import DefinitionError
from models.swap_terms import Basis, Delever, Pressure, SwapTerms


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SwapTerms(maintenance=0.0), "`maintenance` must be a fraction between 0 and 1; got 0"),
        (lambda: SwapTerms(maintenance=12.0), "`maintenance` must be a fraction"),
        (lambda: SwapTerms(financing=-0.01), "`financing` must be a fraction"),
        (lambda: SwapTerms(financing=4.5), "`financing` must be a fraction"),
        (lambda: SwapTerms(financing=math.nan), "`financing` must be a fraction in \\[0, 1\\); got nan"),
        (lambda: SwapTerms(limit_down=-0.095), "`limit_down` must be a positive fraction"),
        (lambda: SwapTerms(day_count=12), "`day_count` must be in 200 to 366"),
        (lambda: SwapTerms(delever=Delever(0.12)), "`delever.below` must be above `maintenance` = 0.12"),
        (lambda: Delever(0.0), "`below` must be above 0"),
        (lambda: Delever(0.2, to=6.0), "`to` must be above 0 and at most 1 / `below` = 5"),
        (lambda: Delever(0.2, to=0.0), "`to` must be above 0"),
        (lambda: Basis(discount=8.0), "`discount` must be a fraction"),
        (lambda: Basis(convergence=1.5), "`convergence` must be a fraction"),
        (lambda: Basis(contract_years=3.0), "`contract_years` must be in"),
        (lambda: Basis(stress_lag=0.0), "`stress_lag` must be a fraction"),
        (lambda: Pressure(-1.0, 1.0, 0.02), "`crowd` must be 0 or more"),
        (lambda: Pressure(1.0, 0.0, 0.02), "`adv` must be above 0"),
        (lambda: Pressure(1.0, 1.0, 2.0), "`sigma` must be a fraction"),
        (lambda: Pressure(1.0, 1.0, 0.02, y=math.inf), "`y` must be 0 or more"),
        (lambda: Pressure(1.0, 1.0, 0.02, permanent=1.1), "`permanent` must be a fraction"),
        (lambda: SwapTerms().check_leverage(0.0), "`leverage` must be above 0 and below 1 / `maintenance`"),
        (lambda: SwapTerms(maintenance=0.2).check_leverage(5.0), "`leverage` must be above 0 and below"),
        (
            lambda: SwapTerms(delever=Delever(0.25)).check_leverage(5.0),
            "`leverage` must be at most 1 / `delever.below`",
        ),
    ],
)
def test_terms_that_cannot_work_are_refused(make: Callable[[], object], message: str) -> None:
    with pytest.raises(DefinitionError, match=message):
        make()


def test_a_leverage_that_starts_at_its_trigger_is_allowed() -> None:
    SwapTerms(delever=Delever(0.2)).check_leverage(5.0)


def test_four_times_the_volume_moves_the_price_twice_as_far() -> None:
    rule = Pressure(crowd=100.0, adv=25.0, sigma=0.03, y=0.9)
    one, four, none = rule.move(np.array([0.25, 1.0, 0.0]))
    # sqrt(100 * 0.25 / 25) = 1
    assert one == pytest.approx(0.9 * 0.03)
    assert four == pytest.approx(2 * one)
    assert none == 0.0
