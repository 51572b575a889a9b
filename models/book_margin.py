"""Margin calls and forced sales of many books, day by day along every path of a scenario set.

A thousand times the work of a tail: about a millisecond a book, so that a caller asks for it, and large batches do not.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from features.contracts import FloatArray, IntArray
from features.errors import DataContractError
from models.books import Books, BookSettings, require_sound
from models.compiled import Float32Array, compiled, in_slices
from models.scenarios import ScenarioSet


class _Legs(NamedTuple):
    """Long and net notional of each segment, leverage and daily carry of each book, per unit of equity."""

    longs: FloatArray
    net: FloatArray
    lever: FloatArray
    daily: FloatArray


class _Paths(NamedTuple):
    """Simple returns since entry, shape (steps, k, n), weights, and the last session of each horizon."""

    returns: Float32Array
    weights: FloatArray
    steps: IntArray


class MarginCalls(NamedTuple):
    """Probability of a margin call within a horizon, and the share of the long leg sold at it, shape (books,).

    `forced_share` is a mean over all paths; it is zero on those without a call.
    """

    probability: FloatArray
    forced_share: FloatArray


def margin_calls(
    books: Books, held: ScenarioSet, horizons: Sequence[int], settings: BookSettings | None = None
) -> dict[int, MarginCalls]:
    """Follow every book's equity at the close of each session until its first margin call.

    With equity 1 and leverage L at entry, both legs unchanged since, the long leg stands at
    A' = L sum_k long_k (1 + r_k) and equity at E' = 1 + L sum_k (long_k - hedge_k) r_k plus carry to date. A call comes
    on the first close with E' / A' below `settings.maintenance`; the sale that restores L is Q = (A' - L E') / A', kept
    within [0, 1]: no more than the book can be sold (METHODS 6). What happens after the first call is not followed.

    Parameters
    ----------
    books : Books
    held : ScenarioSet
    horizons : sequence of int
        Weeks.
    settings : BookSettings, optional

    Returns
    -------
    dict of int to MarginCalls
        By horizon.

    Raises
    ------
    DataContractError
        If a book breaks a rule, or the set lacks a segment or a horizon.

    Information set: that of the scenario set, rows with known_at <= its decision.
    """
    require_sound(books)
    settings = settings or BookSettings()
    if missing := [horizon for horizon in horizons if horizon not in held.exits]:
        raise DataContractError(f"`horizons` must be among {sorted(held.exits)} weeks; got {missing[0]}")
    ordered = sorted(set(horizons), key=lambda horizon: held.exits[horizon])
    steps = np.array([held.exits[horizon] for horizon in ordered], dtype=np.int64)
    places = [held.position(segment) for segment in books.segments]
    returns = np.ascontiguousarray(np.expm1(held.paths[1 : int(steps[-1]) + 1, places]))
    paths = _Paths(returns, np.ascontiguousarray(held.weights), steps)
    lever = np.ascontiguousarray(books.gross_leverage, dtype=np.float64)
    legs = _Legs(lever[:, None] * books.long, books.exposures, lever, books.carry(1 / settings.sessions_per_year))
    calls = MarginCalls(np.zeros((len(books), len(steps))), np.zeros((len(books), len(steps))))

    def work(first: int, last: int) -> None:
        part = _Legs(*(array[first:last] for array in legs))
        _follow(part, paths, settings.maintenance, MarginCalls(*(array[first:last] for array in calls)))

    in_slices(work, len(books), settings.threads)
    return {horizon: MarginCalls(*(array[:, place] for array in calls)) for place, horizon in enumerate(ordered)}


@compiled
def _add_return(sums: FloatArray, returns: Float32Array, exposure: float) -> None:
    for i in range(len(sums)):
        sums[i] += exposure * returns[i]


@compiled
def _follow(legs: _Legs, paths: _Paths, maintenance: float, calls: MarginCalls) -> None:
    """Fill probability and sold share of a slice of books at each horizon's last session."""
    longs, net, returns, weights, steps = legs.longs, legs.net, paths.returns, paths.weights, paths.steps
    k, n = returns.shape[1], returns.shape[2]
    asset, equity, share = np.empty(n), np.empty(n), np.empty(n)
    for book in range(len(longs)):
        lever, daily = legs.lever[book], legs.daily[book]
        if lever == 0:
            continue
        share[:] = -1.0
        place = 0
        for step in range(1, returns.shape[0] + 1):
            asset[:] = longs[book].sum()
            equity[:] = 1.0 + step * daily
            for segment in range(k):
                if longs[book, segment] != 0:
                    _add_return(asset, returns[step - 1, segment], longs[book, segment])
                if net[book, segment] != 0:
                    _add_return(equity, returns[step - 1, segment], net[book, segment])
            for i in range(n):
                if equity[i] < maintenance * asset[i] and share[i] < 0:
                    share[i] = min(1.0, max(0.0, 1.0 - lever * equity[i] / asset[i]))
            while place < len(steps) and steps[place] == step:
                for i in range(n):
                    if share[i] >= 0:
                        calls.probability[book, place] += weights[i]
                        calls.forced_share[book, place] += weights[i] * share[i]
                place += 1
