"""Which stocks could not be bought or sold at a close: those at their exchange's daily price limit."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from features.contracts import BoolArray, FloatArray, IntArray
from features.stock_panel import StockPanel
from features.stock_rules import StockRules

Cells = npt.NDArray[np.intp]
_BEGINNING = np.datetime64("0001-01-01", "D")


def limits_of(
    panel: StockPanel, rules: StockRules, day: Cells, code: Cells, *, special: bool = True
) -> tuple[FloatArray, IntArray]:
    """Return the price limit of some cells of a panel.

    Parameters
    ----------
    panel : StockPanel
    rules : StockRules
    day, code : arrays of int, shape (k,)
        Positions in `panel.dates` and `panel.codes`.
    special : bool
        Whether the flag of special treatment counts.

    Returns
    -------
    limit : array, shape (k,)
        A fraction; infinite where no entry applies.
    free_rows : array of int, shape (k,)
        Sessions after the listing that have no limit.

    Information set: rules in force on the day and the flag of the day.
    """
    limit, free = np.full(len(day), np.inf), np.zeros(len(day), dtype=np.int64)
    flagged = panel.st[day, code] if special else np.zeros(len(day), dtype=np.bool_)
    for entry in rules.limits:
        board = np.zeros(len(panel.codes), dtype=np.bool_)
        for prefix in entry.codes:
            board |= np.char.startswith(panel.codes, prefix)
        begun = panel.dates >= (_BEGINNING if entry.since is None else np.datetime64(entry.since))
        at = begun[day] if not entry.codes else board[code] & begun[day]
        narrow = entry.limit if entry.st_limit is None else entry.st_limit
        limit[at] = np.where(flagged[at], narrow, entry.limit)
        free[at] = entry.free_rows
    return limit, free


def at_limit(
    panel: StockPanel, rules: StockRules, rows: IntArray, age: npt.NDArray[np.int32]
) -> tuple[BoolArray, BoolArray]:
    """Return which stocks closed at their upper and at their lower price limit.

    The limit price is the last close, times one plus or minus the limit, rounded to the tick. The last close is read
    off the close and its return, which undoes splits.

    Parameters
    ----------
    panel : StockPanel
    rules : StockRules
    rows : array of int, shape (k,)
        Positions in `panel.dates`.
    age : array of int32, shape (k, n_codes)
        `StockPanel.age` of these rows.

    Returns
    -------
    up, down : arrays of bool, shape (k, n_codes)
        Nobody can buy at `up`, nobody can sell at `down`.

    Information set: closes and returns up to the close of each day.
    """
    up, down = np.zeros(age.shape, dtype=np.bool_), np.zeros(age.shape, dtype=np.bool_)
    narrowest = narrowest_limit(rules)
    if not np.isfinite(narrowest):
        return up, down
    moved, close = panel.ret[rows], panel.close[rows]
    # Below that price rounding to the tick can take more than half of the narrowest limit away.
    with np.errstate(invalid="ignore"):
        moving = (np.abs(moved) >= 0.5 * narrowest) | ((close < 2 * rules.tick / narrowest) & (moved != 0))
        moving &= np.isfinite(moved) & np.isfinite(close)
    at, code = np.nonzero(moving)
    limit, free = limits_of(panel, rules, rows[at], code)
    bound = age[at, code] > free
    at, code, limit = at[bound], code[bound], limit[bound]
    price, change = close[at, code].astype(np.float64), moved[at, code].astype(np.float64)
    last = price / (1.0 + change)
    # Returns have five decimals: the last close is uncertain by that, besides half a tick.
    room = 0.5 * rules.tick + 6e-6 * price
    up[at, code] = (change > 0) & (price >= _tick(last * (1.0 + limit), rules.tick) - room)
    down[at, code] = (change < 0) & (price <= _tick(last * (1.0 - limit), rules.tick) + room)
    return up, down


def narrowest_limit(rules: StockRules) -> float:
    """Return the narrowest price limit of any board; infinite without one."""
    return min((min(entry.limit, entry.st_limit or entry.limit) for entry in rules.limits), default=np.inf)


def _tick(price: FloatArray, tick: float) -> FloatArray:
    rounded: FloatArray = np.floor(price / tick + 0.5) * tick
    return rounded
