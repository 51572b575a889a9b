"""A levered neutral book: long a basket on borrowed money, short index futures, path by path and day by day.

The book starts with equity 1, long notional L and as much short. What happens in a session, in this order:

1. Both legs move; what is temporary in the price pressure of the day before is undone.
2. Financing and the futures discount are paid, on the balances of the close before.
3. The short leg is matched to the long notional. So a day's gain is A (r_L - r_F), A the long notional at the close
   before, and over one period E' = 1 + L s and A' = L (1 + r_L) (METHODS section 6).
4. Equity E under `maintenance` * A is a margin call; with `close_on_call` the whole book must be closed. Under the
   trigger of `delever`, the share Q = (A - L E) / A of both legs must be sold, which restores leverage L.
5. What must be sold is sold at this close, unless the long leg is limit-down: then both legs wait. A waiting close-out
   stands; a waiting sale is sized anew on the day it is done.
6. The sale moves prices if there is pressure: sold at the moved price, and what is left is valued at it. A book that
   this brings under `maintenance` is called as well, and closed at the next close.

Equity is never clipped: a book that could not be closed in time owes money. Matching the hedge daily is a choice. The
second worked example of METHODS section 6 rules out a hedge that is never matched and only cut with each sale: its L=4
book would end short more than it is long, at E / A = 0.118, and be called. Matching at sales alone would pass as well.

Without `delever`, more leverage is never safer, on any path, whatever the other terms. Until the call nothing is sold,
so e = E / A follows e' = (e + s - f max(1 - e, 0) - d) / (1 + r_L), f and d the day's financing and basis cost, the
same for every L and increasing in e: the book that starts lower, at 1 / L, stays lower and is called no later. With
`delever` the order breaks: the book of higher leverage may have sold in time.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from features.contracts import BoolArray, FloatArray, IntArray
from features.errors import DataContractError
from models.scenarios import ScenarioSet
from models.swap_terms import SwapTerms


@dataclass(frozen=True, eq=False)
class BookRun:
    """One levered book on every path; all values are fractions of its equity at entry.

    Parameters
    ----------
    leverage : float
    exits : mapping of int to int
        As in the scenario set: horizon in weeks to sessions after entry.
    weights : array, shape (n,)
        Weight of each path.
    long, short : array, shape (steps + 1, n)
        Notional of the legs at each close, after sales, both positive.
    cash : array, shape (steps + 1, n)
        Negative where the long leg is bought on credit beyond the proceeds of the short.
    kept : array, shape (steps + 1, n)
        Share of the book's units at entry that no forced sale has taken.
    called_on, wiped_on : array of int, shape (n,)
        First session at whose close the book was called, or had no equity left; steps + 1 is never.

    Information set: that of the scenario set.
    """

    leverage: float
    exits: Mapping[int, int]
    weights: FloatArray
    long: FloatArray
    short: FloatArray
    cash: FloatArray
    kept: FloatArray
    called_on: IntArray
    wiped_on: IntArray

    @property
    def equity(self) -> FloatArray:
        """Long value plus cash less short value at each close, shape (steps + 1, n); may be negative."""
        return self.long + self.cash - self.short

    def step(self, horizon: int) -> int:
        """Return the session at which a horizon ends; `DataContractError` if the set has no such horizon."""
        if horizon not in self.exits:
            raise DataContractError(f"`horizon` must be one of {sorted(self.exits)} weeks; got {horizon}")
        return self.exits[horizon]

    def returns(self, horizon: int) -> FloatArray:
        """Return the book's return on equity over a horizon, shape (n,); below -1 where it owes money."""
        end = self.step(horizon)
        returns: FloatArray = self.long[end] + self.cash[end] - self.short[end] - 1.0
        return returns


def run_book(
    scenarios: ScenarioSet, long: Mapping[str, float], hedge: Mapping[str, float], leverage: float, terms: SwapTerms
) -> BookRun:
    """Lead one book through every path of a scenario set.

    Parameters
    ----------
    scenarios : ScenarioSet
    long, hedge : mapping of str to float
        Weight of each segment at entry, positive, of sum one. The baskets are bought and held: weights drift.
    leverage : float
        Long notional over equity at entry.
    terms : SwapTerms

    Returns
    -------
    BookRun

    Raises
    ------
    DataContractError
        If a segment is unknown, weights are not positive with sum one, paths are not finite, or the terms would call
        the book at entry.

    Information set: that of the scenario set.
    """
    (run,) = run_books(scenarios, long, hedge, (leverage,), terms)
    return run


def run_books(
    scenarios: ScenarioSet,
    long: Mapping[str, float],
    hedge: Mapping[str, float],
    leverages: Sequence[float],
    terms: SwapTerms,
) -> Iterator[BookRun]:
    """Lead the book of each leverage in turn through the same paths; arguments and errors as in `run_book`.

    All arguments are checked at once; each run is made when it is asked for, so that one at a time is in memory.

    Information set: that of the scenario set.
    """
    for leverage in leverages:
        terms.check_leverage(leverage)
    market = _market(scenarios, long, hedge, terms)
    return (_run(scenarios, market, leverage, terms) for leverage in leverages)


@dataclass(frozen=True, eq=False)
class _Market:
    """What a path does to any book on these legs, each of shape (steps, n); costs per unit of short notional."""

    long: FloatArray
    hedge: FloatArray
    basis: FloatArray
    limit: BoolArray


def _market(scenarios: ScenarioSet, long: Mapping[str, float], hedge: Mapping[str, float], terms: SwapTerms) -> _Market:
    growth_long, growth_hedge = (_growth(scenarios, *side) for side in (("long", long), ("hedge", hedge)))
    basis = terms.basis
    cost = np.full_like(growth_long, basis.discount / terms.day_count)
    if basis.discount and basis.convergence:
        stressed = np.maximum.accumulate(growth_long - growth_hedge <= -basis.stress_lag, axis=0)
        before = np.zeros_like(stressed)
        before[1:] = stressed[:-1]
        cost[before] *= 1.0 - basis.convergence
        cost[stressed & ~before] += basis.convergence * basis.discount * basis.contract_years
    limit = np.zeros(growth_long.shape, dtype=np.bool_)
    if terms.limit_down is not None:
        limit = growth_long <= 1.0 - terms.limit_down
    return _Market(growth_long, growth_hedge, cost, limit)


def _growth(scenarios: ScenarioSet, name: str, basket: Mapping[str, float]) -> FloatArray:
    """Growth of a held basket in each session, one plus its simple return, shape (steps, n)."""
    shares = np.array(list(basket.values()), dtype=np.float64)
    if not (shares > 0).all() or not math.isclose(float(shares.sum()), 1.0, rel_tol=1e-9):
        raise DataContractError(f"weights of `{name}` must be positive and sum to one; got {dict(basket)}")
    value: FloatArray = np.zeros((len(scenarios.sessions) + 1, len(scenarios.weights)))
    for segment, share in basket.items():
        path = scenarios.paths[:, scenarios.position(segment)]
        if not np.isfinite(path).all():
            raise DataContractError(f"paths of {segment!r} must be finite; forecast the day again")
        value += share * np.exp(path.astype(np.float64))
    growth: FloatArray = value[1:] / value[:-1]
    return growth


def _run(scenarios: ScenarioSet, market: _Market, leverage: float, terms: SwapTerms) -> BookRun:
    steps, n = market.long.shape
    rate = terms.financing / terms.day_count
    longs, shorts, cashes, kepts = (np.empty((steps + 1, n)) for _ in range(4))
    longs[0], shorts[0], cashes[0], kepts[0] = leverage, leverage, 1.0, 1.0
    called_on, wiped_on = (np.full(n, steps + 1, dtype=np.int64) for _ in range(2))
    # Orders to close and to sell, standing until done; log moves that the next session undoes.
    closing, selling = (np.zeros(n, dtype=np.bool_) for _ in range(2))
    undo_long, undo_short = np.zeros(n), np.zeros(n)
    equity = np.ones(n)
    for day in range(steps):
        cost = market.basis[day] * shorts[day]
        if rate:
            cost += rate * np.maximum(longs[day] - equity, 0.0)
        long = longs[day] * market.long[day]
        short = shorts[day] * market.hedge[day]
        if undo_long.any() or undo_short.any():
            long, short = long * np.exp(undo_long), short * np.exp(undo_short)
            undo_long, undo_short = np.zeros(n), np.zeros(n)
        # Matching the hedge sells what is missing, or buys back what is too much, at the close.
        cash = cashes[day] - cost + (long - short)
        short = long.copy()
        equity = long + cash - short
        kept = kepts[day].copy()

        is_open = long > 0
        called = is_open & (equity < terms.maintenance * long)
        if terms.close_on_call:
            closing |= called
        if terms.delever is not None:
            selling |= is_open & (equity < terms.delever.below * long)
        todo = np.flatnonzero((closing | selling) & is_open & ~market.limit[day])
        if len(todo):
            share = np.ones(len(todo))
            if terms.delever is not None:
                target = leverage if terms.delever.to is None else terms.delever.to
                restore = np.clip(1.0 - target * equity[todo] / long[todo], 0.0, 1.0)
                share = np.where(closing[todo], 1.0, restore)
            selling[todo] = False
            sold, bought = share * long[todo], share * short[todo]
            down, up = np.zeros(len(todo)), np.zeros(len(todo))
            if terms.long_pressure is not None:
                down = terms.long_pressure.move(sold / leverage)
                undo_long[todo] = (1.0 - terms.long_pressure.permanent) * down
            if terms.hedge_pressure is not None:
                up = terms.hedge_pressure.move(bought / leverage)
                undo_short[todo] = -(1.0 - terms.hedge_pressure.permanent) * up
            fall, rise = np.exp(-down), np.exp(up)
            cash[todo] += sold * fall - bought * rise
            long[todo] = (long[todo] - sold) * fall
            short[todo] = (short[todo] - bought) * rise
            kept[todo] *= 1.0 - share
            equity[todo] = long[todo] + cash[todo] - short[todo]
            called[todo] |= (long[todo] > 0) & (equity[todo] < terms.maintenance * long[todo])
        if terms.close_on_call:
            closing |= called
        called_on[called & (called_on > steps)] = day + 1
        wiped_on[(equity <= 0) & (wiped_on > steps)] = day + 1
        longs[day + 1], shorts[day + 1], cashes[day + 1], kepts[day + 1] = long, short, cash, kept
    return BookRun(
        leverage=leverage, exits=dict(scenarios.exits), weights=scenarios.weights, long=longs, short=shorts,
        cash=cashes, kept=kepts, called_on=called_on, wiped_on=wiped_on,
    )  # fmt: skip
