"""Tail of many linear combinations of segment returns on one weighted scenario set, compiled.

A scan in float32 finds scenarios that can lie in the tail; everything read off them is float64. The scan is never
trusted: unless the candidates provably hold the whole tail, it runs again with more of them. Results therefore equal
`models.scenarios.weighted_tail` of each book up to rounding, whatever the sample, and do not depend on the other books
of a batch or on the number of threads.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from features.contracts import FloatArray
from features.errors import DataContractError
from models.compiled import Float32Array, compiled, in_slices, vectorised

_SAMPLE = 1250
"""Scenarios from which the first threshold is guessed."""
_HALVINGS = 40
_FEW = 0.02
"""Part of the mass in question that may be left in the interval before values are looked at one by one."""
_LARGEST = 1e30
_TIE = 1e-12
"""A rounding error of a sum of weights must not move the quantile by a whole scenario."""

IndexArray = npt.NDArray[np.uint32]


class _Scenarios(NamedTuple):
    """Returns in both precisions, shapes (k, n) and (n, k), weights, and their sum."""

    narrow: Float32Array
    rows: FloatArray
    weights: FloatArray
    total: float


class _Books(NamedTuple):
    """Exposures at unit scale, shape (books, k), and what no return of a book exceeds either way, shape (books,)."""

    unit: FloatArray
    bound: FloatArray


class _Work(NamedTuple):
    """Room for one book: its return in every scenario; value, weight and place of the candidates; and a bracket."""

    sums: Float32Array
    values: FloatArray
    mass: FloatArray
    chosen: IndexArray
    few: FloatArray
    few_mass: FloatArray


class Tails(NamedTuple):
    """Lower tails of books at several levels, in the unit of the returns times the exposures.

    `var` and `es` have shape (books, levels). `contributions`, shape (books, levels, k), are the segments' parts of
    `es` and add up to it: exposure times the mean return of the segment in the book's tail.
    """

    var: FloatArray
    es: FloatArray
    contributions: FloatArray


def book_tails(
    exposures: FloatArray, returns: FloatArray, weights: FloatArray, levels: Sequence[float], threads: int = 2
) -> Tails:
    """Read value at risk, expected shortfall and its parts for many books.

    The quantile at level a is the smallest value whose cumulative weight reaches a; expected shortfall is the mean of
    the lowest mass a, the value at the quantile counting with what is left of a (Acerbi and Tasche 2002). Its parts are
    Euler's: exposure times its derivative (Tasche 1999). Scenarios that tie at the quantile share what is left of a in
    proportion to their weights.

    Parameters
    ----------
    exposures : array, shape (books, k)
        Finite.
    returns : array, shape (k, n)
        Simple return of each segment in each scenario; finite.
    weights : array, shape (n,)
        Positive, of sum one.
    levels : sequence of float
        Inside (0, 1), fractions.
    threads : int

    Raises
    ------
    DataContractError
        If a shape does not fit, an input is not finite, weights do not sum to one, or a level is no fraction.

    Information set: that of `returns` and `weights`.
    """
    if exposures.ndim != 2 or returns.shape != (exposures.shape[1], len(weights)):
        raise DataContractError(
            f"`returns` must have shape (segments, scenarios) = ({exposures.shape[1:]}, {len(weights)}); "
            f"got {returns.shape}"
        )
    if not all(0 < level < 1 for level in levels):
        raise DataContractError(f"`levels` must lie inside (0, 1); got {tuple(levels)}")
    # Written so that NaN fails; beyond the bound float32 would overflow, and the scan could not rank.
    if not (np.isfinite(exposures).all() and (np.abs(returns) <= _LARGEST).all()):
        raise DataContractError(f"`exposures` and `returns` must be finite, returns at most {_LARGEST:g}")
    if not ((weights > 0).all() and abs(weights.sum() - 1) <= 1e-9):
        raise DataContractError(f"`weights` must be positive and sum to one; got {weights.sum()}")
    (count, k), n = exposures.shape, len(weights)
    scenarios = _Scenarios(
        np.ascontiguousarray(returns, dtype=np.float32),
        np.ascontiguousarray(returns.T, dtype=np.float64),
        np.ascontiguousarray(weights, dtype=np.float64),
        float(weights.sum()),
    )
    # Tails scale with the exposures: at unit scale no product over- or underflows in float32.
    scale = np.abs(exposures).max(axis=1, initial=0.0, keepdims=True)
    unit = np.ascontiguousarray(exposures / np.where(scale > 0, scale, 1.0), dtype=np.float64)
    books = _Books(unit, np.abs(unit) @ np.abs(returns).max(axis=1) * (1 + 1e-5))
    order = np.argsort(levels)[::-1]
    asked = np.asarray(levels, dtype=np.float64)[order]
    shape = (count, len(asked))
    tails = Tails(np.zeros(shape), np.zeros(shape), np.zeros((*shape, k)))

    def work(first: int, last: int) -> None:
        room = _Work(
            np.empty(n, np.float32), np.empty(n), np.empty(n), np.empty(n, np.uint32), np.empty(n), np.empty(n)
        )
        part = Tails(*(array[first:last] for array in tails))
        _tails(_Books(*(array[first:last] for array in books)), scenarios, asked, part, room)

    in_slices(work, count, threads)
    back = np.argsort(order)
    means = tails.contributions[:, back]
    return Tails(tails.var[:, back] * scale, tails.es[:, back] * scale, exposures[:, None, :] * means)


@vectorised
def _mass_below(values: FloatArray, mass: FloatArray, bound: float) -> float:
    """Return the mass of the values below a bound."""
    below = 0.0
    for j in range(len(values)):
        below += mass[j] if values[j] < bound else 0.0
    return below


@compiled
def _quantile(work: _Work, count: int, target: float, bound: float) -> float:
    """Return the smallest of the first `count` values whose cumulative mass reaches `target`.

    Values lie within plus and minus `bound`. Halving that interval needs nothing but sums; when little mass is left
    inside, the values there are looked at one by one.
    """
    values, mass = work.values[:count], work.mass[:count]
    low, high, below, upto = -bound, bound, 0.0, np.inf
    for _ in range(_HALVINGS):
        middle = 0.5 * (low + high)
        reached = _mass_below(values, mass, middle)
        if reached >= target:
            high, upto = middle, reached
        else:
            low, below = middle, reached
        if upto - below < _FEW * target:
            break
    inside = 0
    for j in range(count):
        work.few[inside], work.few_mass[inside] = values[j], mass[j]
        inside += low <= values[j] <= high
    return _select(work.few[:inside], work.few_mass[:inside], target - below)


@compiled
def _select(values: FloatArray, mass: FloatArray, target: float) -> float:
    """Return the smallest value whose cumulative mass reaches `target`, by quickselect; reorders both."""
    low, high = 0, len(values)
    edge: float = values[0]
    while low < high:
        a, b, c = values[low], values[(low + high) // 2], values[high - 1]
        edge = max(min(a, b), min(max(a, b), c))
        first, less = low, 0.0
        for j in range(low, high):
            if values[j] < edge:
                less += mass[j]
                values[first], values[j] = values[j], values[first]
                mass[first], mass[j] = mass[j], mass[first]
                first += 1
        if less >= target:
            high = first
            continue
        target -= less
        low = first
        for j in range(first, high):
            if values[j] == edge:
                target -= mass[j]
                values[low], values[j] = values[j], values[low]
                mass[low], mass[j] = mass[j], mass[low]
                low += 1
        if target <= 0:
            break
    return edge


@compiled
def _add(sums: Float32Array, returns: Float32Array, exposure: np.float32) -> None:
    """Add exposure times return to every sum; so small that the compiler turns it into vector instructions."""
    for i in range(len(sums)):
        sums[i] += exposure * returns[i]


@compiled
def _at_most(sums: Float32Array, threshold: np.float32, index: IndexArray) -> int:
    """Write the places of the sums up to a threshold and return their number."""
    count = 0
    for i in range(len(sums)):
        index[count] = i
        count += sums[i] <= threshold
    return count


@compiled
def _keep(work: _Work, count: int, edge: float) -> int:
    """Keep the candidates up to a value, in order; returns how many."""
    values, mass, chosen = work.values, work.mass, work.chosen
    kept = 0
    for j in range(count):
        value = values[j]
        values[kept], mass[kept], chosen[kept] = value, mass[j], chosen[j]
        kept += value <= edge
    return kept


@compiled
def _candidates(unit: FloatArray, scenarios: _Scenarios, level: float, bound: float, work: _Work) -> int:
    """Gather every scenario that can lie in the tail at a level; returns how many there are.

    Their exact values, weights and places are left in `work`. No return of the book is beyond plus or minus `bound`.
    """
    rows, weights = scenarios.rows, scenarios.weights
    values, mass, chosen, sums = work.values, work.mass, work.chosen, work.sums
    n, k = rows.shape
    sums[:] = np.float32(0.0)
    for segment in range(k):
        if unit[segment] != 0:
            _add(sums, scenarios.narrow[segment], np.float32(unit[segment]))
    # Conversion of both factors, product and k - 1 sums, each at most half a unit in the last place, twice over.
    slack = (k + 4) * 1.2e-7 * bound + 1e-40
    stride = max(1, n // _SAMPLE)
    share = 1.25 * level + 0.01
    while True:
        threshold = np.float32(np.inf)
        if share < 1:
            count, sampled = 0, 0.0
            for i in range(0, n, stride):
                values[count], mass[count] = sums[i], weights[i]
                sampled += weights[i]
                count += 1
            threshold = np.float32(_quantile(work, count, share * sampled, bound))
        count = _at_most(sums, threshold, chosen)
        for j in range(count):
            row, value = rows[chosen[j]], 0.0
            for segment in range(k):
                value += unit[segment] * row[segment]
            values[j], mass[j] = value, weights[chosen[j]]
        if share >= 1:
            return count
        certain = 0.0
        for j in range(count):
            if values[j] < threshold - slack:
                certain += mass[j]
        if certain >= level * scenarios.total:
            return count
        share *= 2


@compiled
def _average(work: _Work, count: int, rows: FloatArray, edge: float, target: float, means: FloatArray) -> float:
    """Fill the mean return of each segment in the tail of mass `target`, and return that of the book.

    `edge` is the largest of the first `count` values; those that tie with it share what is left of the mass.
    """
    values, mass, chosen = work.values, work.mass, work.chosen
    below, area, tie = 0.0, 0.0, 0.0
    for j in range(count):
        if values[j] == edge:
            tie += mass[j]
        else:
            below += mass[j]
            area += mass[j] * values[j]
    share = (target - below) / tie
    for j in range(count):
        weight = mass[j] * share if values[j] == edge else mass[j]
        row = rows[chosen[j]]
        for segment in range(len(means)):
            means[segment] += weight * row[segment]
    for segment in range(len(means)):
        means[segment] /= target
    return (area + (target - below) * edge) / target


@compiled
def _tails(books: _Books, scenarios: _Scenarios, levels: FloatArray, tails: Tails, work: _Work) -> None:
    """Fill the tails of a slice of books at unit scale, and the segments' mean returns in them; `levels` descend."""
    for book in range(len(books.bound)):
        bound = books.bound[book]
        if bound == 0:
            continue
        count = _candidates(books.unit[book], scenarios, levels[0], bound, work)
        for place in range(len(levels)):
            target = levels[place] * scenarios.total
            edge = _quantile(work, count, target * (1 - _TIE), bound)
            count = _keep(work, count, edge)
            tails.var[book, place] = edge
            tails.es[book, place] = _average(
                work, count, scenarios.rows, edge, target, tails.contributions[book, place]
            )
