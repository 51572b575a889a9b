"""Terms of a levered neutral book: when it is called, when it sells by itself, and what holding it costs.

Costs are nil and de-levering is off unless stated: what a desk pays is a fact of its market and of its day.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from features.contracts import FloatArray
from features.errors import DefinitionError
from models.impact import square_root_move


@dataclass(frozen=True)
class Delever:
    """A book that sells by itself, before it is called; `DefinitionError` if the rule cannot work.

    Parameters
    ----------
    below : float
        Equity over long notional, a fraction; a close under it orders the sale.
    to : float, optional
        Leverage (long notional over equity) that the sale restores; by default the book's leverage at entry.
    """

    below: float
    to: float | None = None

    def __post_init__(self) -> None:
        _require("below", self.below, 0 < self.below < math.inf, "above 0")
        if self.to is not None:
            rule = f"above 0 and at most 1 / `below` = {1 / self.below:g}, or the sale would not reach the trigger"
            _require("to", self.to, 0 < self.to * self.below <= 1, rule)


@dataclass(frozen=True)
class Basis:
    """Discount of the short futures to their index; `DefinitionError` if a value is out of range.

    The short earns the index's fall and pays the discount as it closes: every session `discount` / sessions a year of
    short notional. On the first stress day of a path, the first on which the long leg lags the hedge by `stress_lag` or
    more, the fraction `convergence` of the discount outstanding closes at once, a loss of `convergence` * `discount` *
    `contract_years` of short notional; from the next session on only the rest of the discount is left to pay.

    Parameters
    ----------
    discount : float
        A year, fraction of the index; negative where futures stand above it, and then holding them earns.
    convergence : float
        Fraction of the outstanding discount that closes on the stress day, 0 for no shock.
    contract_years : float
        Time to expiry of the contract held on that day, in years.
    stress_lag : float
        Return of the hedge less that of the long leg in a day, fraction.
    """

    discount: float = 0.0
    convergence: float = 0.0
    contract_years: float = 0.25
    stress_lag: float = 0.03

    def __post_init__(self) -> None:
        _require("discount", self.discount, -1 < self.discount < 1, "a fraction between -1 and 1")
        _require("convergence", self.convergence, 0 <= self.convergence <= 1, "a fraction in [0, 1]")
        _require("contract_years", self.contract_years, 0 <= self.contract_years <= 2, "in [0, 2] years")
        _require("stress_lag", self.stress_lag, 0 < self.stress_lag < 1, "a fraction between 0 and 1")


@dataclass(frozen=True)
class Pressure:
    """What the crowd's forced sales do to the price of one leg; `DefinitionError` if a value is out of range.

    The square-root law: trading Q in a day moves the log price by `y` * `sigma` * sqrt(Q / `adv`) (Almgren and others
    2005; METHODS section 6), down for the long leg that is sold, up for the futures that are bought back. The crowd is
    many books like this one: on a path all sell when it sells, the same share of their entry notional.

    Parameters
    ----------
    crowd : float
        Long notional of all these books at entry, money; 0 is no pressure.
    adv : float
        Average daily turnover of the leg, the same money.
    sigma : float
        Daily volatility of the leg, fraction.
    y : float
        Factor of the law, about 0.8 to 1.
    permanent : float
        Fraction of the move that stays; the rest is undone over the next session.
    """

    crowd: float
    adv: float
    sigma: float
    y: float = 1.0
    permanent: float = 0.5

    def __post_init__(self) -> None:
        _require("crowd", self.crowd, 0 <= self.crowd < math.inf, "0 or more")
        _require("adv", self.adv, 0 < self.adv < math.inf, "above 0")
        _require("sigma", self.sigma, 0 <= self.sigma < 1, "a fraction in [0, 1)")
        _require("y", self.y, 0 <= self.y < math.inf, "0 or more")
        _require("permanent", self.permanent, 0 <= self.permanent <= 1, "a fraction in [0, 1]")

    def move(self, sold: FloatArray) -> FloatArray:
        """Return the size of the move of the log price, not negative.

        Parameters
        ----------
        sold : array, shape (n,)
            Value traded, a fraction of the notional at entry.

        Examples
        --------
        >>> import numpy as np
        >>> Pressure(crowd=200.0, adv=50.0, sigma=0.02, y=0.8).move(np.array([0.0, 0.25, 1.0]))
        array([0.   , 0.016, 0.032])
        """
        return square_root_move(self.crowd * sold, self.adv, self.sigma, self.y)


@dataclass(frozen=True)
class SwapTerms:
    """All terms of a levered neutral book; `DefinitionError` if they contradict each other.

    Parameters
    ----------
    maintenance : float
        Equity over long notional, a fraction; a close under it is a margin call. Brokers ask 0.10 to 0.12.
    close_on_call : bool
        True: nobody brings money, and the broker closes the whole book. False: money comes from elsewhere, the book is
        held, and its loss still counts against the equity at entry.
    delever : Delever, optional
        None: the book never sells by itself.
    financing : float
        Rate a year on what the long notional exceeds the equity by, fraction. Equity that is not needed earns nothing.
    basis : Basis
    limit_down : float, optional
        Fall of the long leg in a day, a positive fraction, from which on nothing can be sold that day; a forced sale
        waits for the next session that is no such day. None: one can always sell.
    long_pressure, hedge_pressure : Pressure, optional
        None: forced sales do not move the leg's price.
    day_count : int
        Sessions a year; rates accrue by session.
    """

    maintenance: float = 0.12
    close_on_call: bool = True
    delever: Delever | None = None
    financing: float = 0.0
    basis: Basis = field(default_factory=Basis)
    limit_down: float | None = 0.095
    long_pressure: Pressure | None = None
    hedge_pressure: Pressure | None = None
    day_count: int = 252

    def __post_init__(self) -> None:
        _require("maintenance", self.maintenance, 0 < self.maintenance < 1, "a fraction between 0 and 1")
        _require("financing", self.financing, 0 <= self.financing < 1, "a fraction in [0, 1)")
        _require("day_count", self.day_count, 200 <= self.day_count <= 366, "in 200 to 366 sessions a year")
        if self.limit_down is not None:
            _require("limit_down", self.limit_down, 0 < self.limit_down < 1, "a positive fraction below 1, or None")
        if self.delever is not None:
            rule = f"above `maintenance` = {self.maintenance:g}, or the call comes first"
            _require("delever.below", self.delever.below, self.delever.below > self.maintenance, rule)

    def check_leverage(self, leverage: float) -> None:
        """Refuse a leverage at which the book would be called, or would sell, on the day it starts.

        Raises
        ------
        DefinitionError
            If 1 / leverage is not above `maintenance`, or is below the trigger of `delever`.
        """
        below_call = f"above 0 and below 1 / `maintenance` = {1 / self.maintenance:g}"
        _require("leverage", leverage, 0 < leverage * self.maintenance < 1, below_call)
        if self.delever is not None:
            rule = f"at most 1 / `delever.below` = {1 / self.delever.below:g}"
            _require("leverage", leverage, leverage * self.delever.below <= 1, rule)


def _require(name: str, value: float, holds: bool, rule: str) -> None:
    # A missing number fails every comparison, so it is refused too.
    if not holds:
        raise DefinitionError(f"`{name}` must be {rule}; got {value:g}")
