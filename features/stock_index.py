"""Tier indices out of a stock panel: a band of ranks by market value, rebalanced by a rule, with what trading costs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
import pandas as pd

from features.contracts import BoolArray, FloatArray, IntArray
from features.errors import DataContractError
from features.stock_limits import at_limit
from features.stock_panel import StockPanel
from features.stock_rules import StockRules
from features.stock_selection import Selection

Rebalance = Literal["daily", "monthly", "quarterly", "half-yearly", "yearly"]
Weighting = Literal["equal", "cap"]
BASE = 1000.0
"""Level at the close after which the index is first held."""
_MONTHS: dict[Rebalance, int] = {"monthly": 1, "quarterly": 3, "half-yearly": 6, "yearly": 12}
_MOST_UNKNOWN = 0.05
"""Share of the index whose return may be unknown on one day; more, and the level is no number any more."""


@dataclass(frozen=True)
class IndexRule:
    """How an index is built.

    Parameters
    ----------
    select : Selection
        Ranks by total market value.
    rebalance : str
        Members change at the last close before the first session of a day, month, quarter, half-year or year.
    weight : str
        ``equal``, or ``cap`` for total market value.
    cost : float
        Paid on what is bought and again on what is sold, a fraction; the first purchase is free.
    limits : bool
        Whether stocks at their price limit and suspended stocks cannot be traded. Without, both trade at the last
        price, as in indices that ignore frictions.

    Raises
    ------
    DataContractError
        If a choice is unknown or the cost is no fraction.
    """

    select: Selection
    rebalance: Rebalance = "monthly"
    weight: Weighting = "equal"
    cost: float = 0.0
    limits: bool = True

    def __post_init__(self) -> None:
        for name, known in (("rebalance", get_args(Rebalance)), ("weight", get_args(Weighting))):
            if getattr(self, name) not in known:
                raise DataContractError(f"`{name}` must be one of {', '.join(known)}; got {getattr(self, name)!r}")
        if not 0 <= self.cost < 0.5:
            raise DataContractError(f"`cost` must be a fraction from 0 to below 0.5, per side; got {self.cost:g}")


@dataclass(frozen=True, eq=False)
class StockIndex:
    """An index and what it took to hold it.

    Parameters
    ----------
    rule : IndexRule
    frame : pandas.DataFrame
        `date`; `level`, net of costs, `BASE` on the first date; `gross` and `net` return of the day, fractions;
        `turnover`, one-way, traded at the close before the day; `n_members` held over the day; `halted`, the weight in
        stocks without a row on the day; `unknown`, the weight in stocks whose row has no return, which counts as 0.
    members : pandas.DataFrame
        After each rebalance `date` (first day held), `code`, `weight`; empty unless asked for.
    """

    rule: IndexRule
    frame: pd.DataFrame
    members: pd.DataFrame


def build_index(panel: StockPanel, rules: StockRules, rule: IndexRule, *, members: bool = False) -> StockIndex:
    """Build an index.

    At a rebalance the stocks that have a row, are not under special treatment, have traded for `rules.seasoning`
    sessions and have a market value are ranked at the close, and bought at that close. What is at its upper limit
    cannot be bought, what is at its lower limit or suspended cannot be sold: it stays at the weight it has, and the
    others share the rest in proportion to their target. Between rebalances weights drift; a stock without a row earns
    nothing until it trades again, and its return then spans the halt. A rebalance at which the band of ranks holds
    no stock at all is left out.

    Parameters
    ----------
    panel : StockPanel
        Checked (`features.stock_checks.check_stocks`): missing cells are in quarantine.
    rules : StockRules
    rule : IndexRule
    members : bool
        Whether to return the members of each rebalance.

    Returns
    -------
    StockIndex
        From the first rebalance at which the band of ranks is full.

    Raises
    ------
    DataContractError
        If there are never enough stocks or no market value, or more than 5% of the index has a row without a return on
        one day (carries these rows).

    Information set: members held over day t are chosen and weighted with rows up to the close before t; the return of
    day t uses the returns of day t. Which sessions begin a month is taken from the calendar as realised.
    """
    if not np.isfinite(panel.cap).any():
        raise DataContractError("an index by market value needs shares; the panel has none (`total_shares_10k`)")
    trades = _trading_days(panel, rule)
    eligible = panel.traded[trades] & ~panel.st[trades] & (panel.age()[trades] >= rules.seasoning)
    eligible &= np.isfinite(panel.cap[trades])
    full = np.flatnonzero(eligible.sum(axis=1) >= rule.select.needs)
    if not len(full):
        most = int(eligible.sum(axis=1).max(initial=0))
        raise DataContractError(f"`{rule.select}` needs {rule.select.needs} stocks; at most {most} can be chosen")
    trades, eligible = trades[full[0] :], eligible[full[0] :]
    book = _Book(panel, rule)
    ledger = _Ledger(panel, trades[0])
    kept: list[pd.DataFrame] = []
    blocked = _Blocked(panel, rules, trades) if rule.limits else None
    ends = np.append(trades[1:], len(panel.dates) - 1)
    for number, (start, end) in enumerate(zip(trades, ends, strict=True)):
        chosen = rule.select.of(panel.cap[start], eligible[number])
        traded = None
        if chosen.any():
            traded = book.trade(book.target(start, chosen), *(blocked.at(number) if blocked else (None, None)))
        if members and start < end:
            kept.append(_members(panel, start, book.weight))
        ledger.hold(book, int(start), int(end), traded, rule.cost)
    empty = pd.DataFrame({"date": panel.dates[:0], "code": panel.codes[:0], "weight": np.empty(0)})
    return StockIndex(rule, ledger.frame(), pd.concat([empty, *kept], ignore_index=True) if kept else empty)


def _trading_days(panel: StockPanel, rule: IndexRule) -> IntArray:
    """Return the rows at whose close the index trades: those before the first session of a period, and the first."""
    if rule.rebalance == "daily":
        return np.arange(len(panel.dates) - 1, dtype=np.int64)
    period = panel.dates.astype("datetime64[M]").astype(np.int64) // _MONTHS[rule.rebalance]
    rows = np.flatnonzero(period[1:] != period[:-1])
    return rows if len(rows) and rows[0] == 0 else np.insert(rows, 0, 0)


class _Book:
    """Weights over all codes, which drift with returns and move at rebalances."""

    def __init__(self, panel: StockPanel, rule: IndexRule) -> None:
        self.panel = panel
        self.rule = rule
        self.weight = np.zeros(len(panel.codes))

    def target(self, row: np.int64, chosen: BoolArray) -> FloatArray:
        size = np.ones(len(chosen)) if self.rule.weight == "equal" else self.panel.cap[row].astype(np.float64)
        size = np.where(chosen, size, 0.0)
        result: FloatArray = size / size.sum()
        return result

    def trade(
        self, target: FloatArray, no_buy: BoolArray | None, no_sell: BoolArray | None
    ) -> tuple[float, float] | None:
        """Move to a target as far as stocks trade; return what was bought and sold, None for the first purchase."""
        held = self.weight
        first = not held.any()
        if no_buy is None or no_sell is None:
            self.weight = target
        else:
            stuck = np.zeros(len(target), dtype=np.bool_)
            scale = 1.0
            while True:
                wanted = scale * target
                wrong = ~stuck & (((wanted > held) & no_buy) | ((wanted < held) & no_sell))
                if not wrong.any():
                    break
                stuck |= wrong
                free = float(target[~stuck].sum())
                # Where nothing can be bought, the rest is cash.
                scale = max(1.0 - float(held[stuck].sum()), 0.0) / free if free > 0 else 0.0
            self.weight = np.where(stuck, held, wanted)
        if first:
            return None
        change = self.weight - held
        return float(change[change > 0].sum()), float(-change[change < 0].sum())


class _Blocked:
    """Who cannot be bought or sold at the closes at which an index trades, worked out some closes at a time."""

    def __init__(self, panel: StockPanel, rules: StockRules, trades: IntArray, block: int = 64) -> None:
        self.panel, self.rules, self.trades, self.block = panel, rules, trades, block
        self.age = panel.age()[trades]
        self.start = -block
        self.up = self.down = np.zeros((0, 0), dtype=np.bool_)

    def at(self, number: int) -> tuple[BoolArray, BoolArray]:
        """Return who cannot be bought and who cannot be sold at a rebalance."""
        if not self.start <= number < self.start + self.block:
            self.start = number
            part = slice(number, number + self.block)
            self.up, self.down = at_limit(self.panel, self.rules, self.trades[part], self.age[part])
        halted = ~self.panel.traded[self.trades[number]]
        return self.up[number - self.start] | halted, self.down[number - self.start] | halted


class _Ledger:
    """The index day by day."""

    def __init__(self, panel: StockPanel, first: np.int64) -> None:
        self.panel = panel
        self.first = int(first)
        days = len(panel.dates) - self.first
        self.columns = {name: np.zeros(days) for name in ("gross", "net", "turnover", "n_members", "halted", "unknown")}
        self.columns["gross"][0] = self.columns["net"][0] = np.nan

    def hold(self, book: _Book, start: int, end: int, traded: tuple[float, float] | None, cost: float) -> None:
        """Hold what the book has from the close of `start` to that of `end`."""
        columns, charge = self.columns, 0.0
        if traded is not None and start < end:
            columns["turnover"][start + 1 - self.first] = sum(traded) / 2.0
            charge = cost * sum(traded)
        for row in range(start + 1, end + 1):
            at = row - self.first
            at_risk = np.flatnonzero(book.weight)
            weight, moved = book.weight[at_risk], self.panel.ret[row, at_risk].astype(np.float64)
            known = np.isfinite(moved)
            here = self.panel.traded[row, at_risk]
            unknown = float(weight[here & ~known].sum())
            if unknown > _MOST_UNKNOWN:
                self._refuse(row, at_risk[here & ~known], unknown)
            moved[~known] = 0.0
            gross = float(weight @ moved)
            book.weight[at_risk] = weight * (1.0 + moved) / (1.0 + gross)
            columns["gross"][at] = gross
            columns["net"][at] = (1.0 - charge) * (1.0 + gross) - 1.0
            columns["n_members"][at] = len(at_risk)
            columns["halted"][at] = weight[~here].sum()
            columns["unknown"][at] = unknown
            charge = 0.0

    def frame(self) -> pd.DataFrame:
        level = BASE * np.cumprod(1.0 + np.nan_to_num(self.columns["net"]))
        frame = pd.DataFrame({"date": pd.DatetimeIndex(self.panel.dates[self.first :]), "level": level, **self.columns})
        return frame.astype({"n_members": np.int64})

    def _refuse(self, row: int, codes: npt.NDArray[np.intp], unknown: float) -> None:
        day = self.panel.dates[row]
        rows = pd.DataFrame({"date": pd.Timestamp(day), "code": self.panel.codes[codes]})
        raise DataContractError(
            f"the returns of {unknown:.0%} of the index are missing or in quarantine on {day.astype('datetime64[D]')}; "
            "correct these rows, or build the index from a later day",
            rows,
        )


def _members(panel: StockPanel, start: np.int64, weight: FloatArray) -> pd.DataFrame:
    held = np.flatnonzero(weight)
    day = pd.Timestamp(panel.dates[start + 1])
    return pd.DataFrame({"date": day, "code": panel.codes[held], "weight": weight[held]})
