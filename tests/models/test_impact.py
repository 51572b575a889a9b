"""The square-root law and the price an order is executed at."""

import math

import numpy as np
import pytest
from scipy.integrate import quad

from features.errors import DefinitionError
from models.impact import MarketDepth, mean_price
from models.swap_terms import Pressure


def test_a_day_of_turnover_moves_a_day_of_volatility() -> None:
    depth = MarketDepth(adv=5e9, sigma=0.02)
    np.testing.assert_allclose(depth.full_move(np.array([5e9, 20e9])), [0.02, 0.04])


def test_agrees_with_the_pressure_of_a_swap() -> None:
    sold = np.array([0.0, 0.1, 0.7])
    pressure = Pressure(crowd=3e10, adv=5e9, sigma=0.02, y=0.9)
    np.testing.assert_array_equal(pressure.move(sold), MarketDepth(5e9, 0.02, 0.9).full_move(3e10 * sold))


@pytest.mark.parametrize("fall", [-2.0, -0.1001, -0.0999, -1e-9, 0.0, 1e-9, 0.0999, 0.1001, 0.5, 5.0])
def test_mean_price_is_the_integral_over_the_order(fall: float) -> None:
    integral, _ = quad(lambda done: math.exp(-fall * math.sqrt(done)), 0.0, 1.0, epsabs=1e-13, epsrel=1e-13)
    assert mean_price(np.array([fall]))[0] == pytest.approx(integral, rel=1e-10)


@pytest.mark.parametrize(
    ("name", "value"),
    [("adv", 0.0), ("adv", math.nan), ("sigma", 1.0), ("sigma", -0.01), ("y", -1.0), ("permanent", 1.5)],
)
def test_refuses_impossible_depth(name: str, value: float) -> None:
    with pytest.raises(DefinitionError, match=f"`{name}` must be"):
        MarketDepth(**{"adv": 1.0, "sigma": 0.02, name: value})
