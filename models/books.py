"""Books of size segments: what they are, what is wrong with them, and their risk on one scenario set.

**Convention.** All amounts are per unit of equity. ``gross_leverage`` L is long notional / equity. Long weights are
shares of the long notional, at least zero, and sum to one. Hedge weights are the short leg, as positive shares of the
*long* notional; they sum to the hedge ratio, which is one for a neutral book and zero for a long-only one. A ratio
between is allowed where the book declares it. Over a horizon of y years, with the simple return r_k of segment k,

    return = L sum_k (long_k - hedge_k) r_k - L financing_rate y - L sum_k hedge_k basis y.

Both legs are held unchanged from entry to exit. Financing is charged on the whole long notional, as in a total-return
swap whose equity is margin; a book that pays for part of its longs itself states a lower rate. A positive basis (the
future trades below the index) costs the short hedge its convergence. Returns, weights and rates are fractions; losses
are negative, as in `models.scenarios.weighted_tail`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from features.contracts import BoolArray, FloatArray, IntArray
from features.errors import DataContractError
from models.book_kernel import Tails, book_tails
from models.scenarios import ScenarioSet

SUM_TOLERANCE = 1e-6
"""Weights may miss their sum by this much: room for float32 and for six printed digits."""

MAX_LEVERAGE = 100.0
"""Beyond this a leverage is taken for a percentage."""


@dataclass(frozen=True)
class BookSettings:
    """How books are read.

    Parameters
    ----------
    levels : tuple of float
        Tail masses, fractions.
    sessions_per_year : float
        Day count of financing and basis: years = sessions / this. 242 is what the Shanghai exchange (XSHG) had in
        2022 and in 2023; `capshift risk` puts the market's own mean of ten years here.
    maintenance : float
        Margin call where equity / long notional falls below it: 0.10 to 0.12 in A-share swaps (METHODS 6).
    threads : int
    """

    levels: tuple[float, ...] = (0.05, 0.025)
    sessions_per_year: float = 242.0
    maintenance: float = 0.12
    threads: int = 2

    def __post_init__(self) -> None:
        if not self.levels or not all(0 < level < 1 for level in self.levels):
            raise DataContractError(f"`levels` must lie inside (0, 1); got {self.levels}")
        if not 0 < self.sessions_per_year <= 366:
            raise DataContractError(f"`sessions_per_year` must lie in (0, 366]; got {self.sessions_per_year}")
        if not 0 < self.maintenance < 1:
            raise DataContractError(f"`maintenance` must lie inside (0, 1); got {self.maintenance}")
        if self.threads < 1:
            raise DataContractError(f"`threads` must be at least 1; got {self.threads}")


class Fault(NamedTuple):
    """A rule that some books break: what must hold, and which rows do not, shape (books,)."""

    rule: str
    rows: BoolArray


@dataclass(frozen=True, eq=False)
class Books:
    """Many books in the convention of this module; whether they keep it is for `faults` to say.

    Parameters
    ----------
    segments : tuple of str, length k
    long, hedge : array, shape (books, k)
        Shares of the long notional.
    gross_leverage, financing_rate, basis : array, shape (books,)
        Multiple of equity; yearly fractions.
    hedge_ratio : array, shape (books,), optional
        Declared sum of the hedge weights; without it a book is neutral or long-only.
    """

    segments: tuple[str, ...]
    long: FloatArray
    hedge: FloatArray
    gross_leverage: FloatArray
    financing_rate: FloatArray
    basis: FloatArray
    hedge_ratio: FloatArray | None = None

    def __post_init__(self) -> None:
        flat = (len(self.long),)
        wide = (*flat, len(self.segments))
        ratio = self.gross_leverage if self.hedge_ratio is None else self.hedge_ratio
        columns = (self.gross_leverage, self.financing_rate, self.basis, ratio)
        if self.long.shape != wide or self.hedge.shape != wide or any(part.shape != flat for part in columns):
            raise DataContractError(f"the parts of `Books` must have shape {wide} or {flat}; a part has another")

    def __len__(self) -> int:
        return len(self.long)

    @property
    def exposures(self) -> FloatArray:
        """Net notional of each segment per unit of equity, shape (books, k)."""
        net: FloatArray = self.gross_leverage[:, None] * (self.long - self.hedge)
        return net

    def take(self, rows: IntArray) -> Books:
        """Return some of the books, in the order of `rows`."""
        ratio = None if self.hedge_ratio is None else self.hedge_ratio[rows]
        flat = (self.gross_leverage[rows], self.financing_rate[rows], self.basis[rows])
        return Books(self.segments, self.long[rows], self.hedge[rows], *flat, ratio)

    def carry(self, years: float) -> FloatArray:
        """Return what financing and basis add to the return over a horizon, shape (books,); costs are negative."""
        yearly = self.financing_rate + self.hedge.sum(axis=1) * self.basis
        added: FloatArray = -years * self.gross_leverage * yearly
        return added

    def faults(self) -> list[Fault]:
        """Return the broken rules, each with its rows; an empty list says that every book can be scored."""
        rates = np.column_stack([self.financing_rate, self.basis])
        weights = np.column_stack([self.long, self.hedge])
        finite, sound = np.isfinite(weights), (weights >= 0) & (weights <= 1 + SUM_TOLERANCE)
        whole = _all(sound)
        hedged = self.hedge.sum(axis=1, where=whole[:, None])
        if self.hedge_ratio is None:
            hedge_rule = "hedge weights must sum to 1 (neutral) or 0 (long-only) where no `hedge_ratio` is declared"
            wanted = (hedged > 0.5).astype(np.float64)
        else:
            hedge_rule = "hedge weights must sum to the declared `hedge_ratio`, which must lie in [0, 1]"
            wanted = np.where((self.hedge_ratio >= 0) & (self.hedge_ratio <= 1), self.hedge_ratio, np.nan)
        longs = self.long.sum(axis=1, where=whole[:, None])
        rules: dict[str, BoolArray] = {
            "weights must be finite; zero says that a segment is not held": ~_all(finite),
            "weights must lie in [0, 1]; a short is a positive hedge weight": ~_all(sound | ~finite),
            "long weights must sum to 1": whole & ~(np.abs(longs - 1) <= SUM_TOLERANCE),
            hedge_rule: whole & ~(np.abs(hedged - wanted) <= SUM_TOLERANCE),
            f"`gross_leverage` must be a multiple of equity in [0, {MAX_LEVERAGE:g}]": ~(
                (self.gross_leverage >= 0) & (self.gross_leverage <= MAX_LEVERAGE)
            ),
            "`financing_rate` and `basis` must be yearly fractions in [-1, 1]": ~_all((rates >= -1) & (rates <= 1)),
        }
        return [Fault(rule, rows) for rule, rows in rules.items() if rows.any()]


class BookRisk(NamedTuple):
    """Risk of books over one horizon, return per unit of equity; losses are negative.

    `var` and `es` have shape (books, levels). The segments' `contributions`, shape (books, levels, k), plus `carry`,
    shape (books,), add up to `es`.
    """

    var: FloatArray
    es: FloatArray
    contributions: FloatArray
    carry: FloatArray


def require_sound(books: Books) -> None:
    """Refuse books that break a rule.

    Raises
    ------
    DataContractError
        Naming the first rule; carries every row that breaks one.
    """
    import pandas as pd

    if found := books.faults():
        rows = pd.DataFrame(
            [(int(row), fault.rule) for fault in found for row in np.flatnonzero(fault.rows)], columns=["row", "fault"]
        )
        raise DataContractError(f"{found[0].rule}; row {rows['row'].iloc[0]} of `books` does not keep that", rows)


def book_risk(books: Books, held: ScenarioSet, horizon: int, settings: BookSettings | None = None) -> BookRisk:
    """Price the tail of many books on one scenario set.

    Memory is about ``8 (2 + k) len(levels)`` bytes a book beside the set itself; callers stream books in chunks.

    Parameters
    ----------
    books : Books
        Of segments that the set holds.
    held : ScenarioSet
    horizon : int
        Weeks.
    settings : BookSettings, optional

    Raises
    ------
    DataContractError
        If a book breaks a rule, or the set lacks a segment or the horizon.

    Information set: that of the scenario set, rows with known_at <= its decision.
    """
    require_sound(books)
    settings = settings or BookSettings()
    returns = held.simple_returns(horizon)[[held.position(segment) for segment in books.segments]]
    tails: Tails = book_tails(books.exposures, returns, held.weights, settings.levels, settings.threads)
    carry = books.carry(held.exits[horizon] / settings.sessions_per_year)
    return BookRisk(tails.var + carry[:, None], tails.es + carry[:, None], tails.contributions, carry)


def _all(table: BoolArray) -> BoolArray:
    every: BoolArray = np.logical_and.reduce(table, axis=1)
    return every
