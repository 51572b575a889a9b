"""The square-root law of price pressure: what a large order does to a price, and what it is executed at."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from features.contracts import FloatArray
from features.errors import DefinitionError

_SERIES_BELOW = 0.1
_SERIES_TERMS = 9


@dataclass(frozen=True)
class MarketDepth:
    """How much one leg takes; `DefinitionError` if a value is out of range.

    An order of total Q moves the log price by `y` * `sigma` * sqrt(Q / `adv`), however it is sliced over time: the law
    is one of whole orders, and half an order has moved the price by the root of a half (Almgren and others 2005, who
    measure an exponent of 0.6; Toth and others 2011; Bouchaud and others 2018, chapter 12). All crowded books together
    are one order here. The law is measured on orders of up to about a day's turnover; beyond, it is carried forward.

    Parameters
    ----------
    adv : float
        Average daily turnover, money.
    sigma : float
        Daily volatility, fraction.
    y : float
        Factor of the law; METHODS section 6 says 0.8 to 1, the default is the upper end.
    permanent : float
        Share of the move that stays after the order has ended: one half by METHODS section 6; Farmer and others (2013)
        derive two thirds.
    """

    adv: float
    sigma: float
    y: float = 1.0
    permanent: float = 0.5

    def __post_init__(self) -> None:
        for name, value, holds, rule in (
            ("adv", self.adv, 0 < self.adv < math.inf, "above 0"),
            ("sigma", self.sigma, 0 <= self.sigma < 1, "a fraction in [0, 1)"),
            ("y", self.y, 0 <= self.y < math.inf, "0 or more"),
            ("permanent", self.permanent, 0 <= self.permanent <= 1, "a fraction in [0, 1]"),
        ):
            if not holds:
                raise DefinitionError(f"`{name}` must be {rule}; got {value:g}")

    def full_move(self, size: FloatArray) -> FloatArray:
        """Return the log move of an order of `size` money once it is done, shape of `size`.

        Examples
        --------
        >>> MarketDepth(adv=50.0, sigma=0.02, y=0.8).full_move(np.array([0.0, 50.0, 200.0]))
        array([0.   , 0.016, 0.032])
        """
        return square_root_move(np.asarray(size, np.float64), self.adv, self.sigma, self.y)


def square_root_move(traded: FloatArray, adv: float, sigma: float, y: float) -> FloatArray:
    """Return `y` * `sigma` * sqrt(`traded` / `adv`), the size of the log move, not negative.

    Parameters
    ----------
    traded : array
        Traded value, the same money as `adv`, not negative.
    adv, sigma, y : float
        As in `MarketDepth`.
    """
    move: FloatArray = y * sigma * np.sqrt(traded / adv)
    return move


def mean_price(fall: FloatArray) -> FloatArray:
    """Return the mean price of an order over the price at its start, when its end has moved the log price by -`fall`.

    With the log price at -`fall` * sqrt(w) when the share w is done, it is the integral of exp(-`fall` sqrt(w)) over w
    from 0 to 1, that is 2 (1 - (1 + f) exp(-f)) / f^2: for small moves two thirds of the move are paid. A purchase has
    a negative `fall`.

    Parameters
    ----------
    fall : array

    Returns
    -------
    array, the shape of `fall`

    Examples
    --------
    >>> mean_price(np.array([0.0, 0.3, -0.3])).round(4)
    array([1.    , 0.8208, 1.2244])
    """
    fall = np.asarray(fall, dtype=np.float64)
    small = np.abs(fall) < _SERIES_BELOW
    near, far = np.where(small, fall, 0.0), np.where(small, 1.0, fall)
    # Near zero the closed form divides rounding by rounding: terms (-f)^n / n! / (1 + n / 2) instead.
    series = sum((-near) ** n / math.factorial(n) * 2 / (n + 2) for n in range(_SERIES_TERMS))
    closed = 2 * (1 - (1 + far) * np.exp(-far)) / far**2
    return np.where(small, series, closed)
