"""Design, contributions and top drivers of many rows, compiled; the same formulas as `models.design`, row by row.

Arrays of rows are in Fortran order and worked on in blocks of rows: there a column is contiguous, which the compiler
turns into vector instructions. Single-threaded, and a row's numbers depend on that row only. `models.row_parts` holds
the same in numpy.
"""

from __future__ import annotations

import numpy as np

from features.contracts import FloatArray, IntArray
from models.additive_kernel import BLOCK
from models.compiled import compiled
from models.row_plan import ColumnWeights, DesignPlan, ScalePlan, Summary


@compiled
def _fill(value: float, out: FloatArray | IntArray) -> None:
    for r in range(len(out)):
        out[r] = value


@compiled
def standardise(values: FloatArray, style: IntArray, plan: ScalePlan, z: FloatArray) -> None:
    """Fill z-scores, shape (n, features + 1); the last column is the style in force."""
    n, size = values.shape
    for i in range(size):
        mean, std, winsor = plan.mean[i], plan.std[i], plan.winsor
        if not plan.live[i]:
            z[:, i] = np.nan
            continue
        for r in range(n):
            found = (values[r, i] - mean) / std
            # Comparisons with a missing value are false: it stays missing.
            found = winsor if found > winsor else found
            z[r, i] = -winsor if found < -winsor else found
    for r in range(n):
        z[r, size] = style[r]


@compiled
def _lay_member(
    z: FloatArray, sign: float, style: FloatArray, turn: np.bool_, part: FloatArray, live: FloatArray
) -> None:
    for r in range(len(part)):
        found = z[r] * sign
        found = found * style[r] if turn else found
        there = found == found
        live[r] += 1.0 if there else 0.0
        part[r] = found if there else 0.0


@compiled
def _add_member(part: FloatArray, live: FloatArray, column: FloatArray) -> None:
    for r in range(len(part)):
        part[r] /= np.sqrt(max(live[r], 1.0))
        column[r] += part[r]


@compiled
def lay_columns(z: FloatArray, plan: DesignPlan, columns: FloatArray, parts: FloatArray) -> None:
    """Fill the columns, shape (n, k), and the members' parts of them, shape (n, m); see `models.design`."""
    last, count = z.shape[1] - 1, np.empty(BLOCK)
    for a in range(0, len(z), BLOCK):
        b = min(a + BLOCK, len(z))
        style, live = z[a:b, last], count[: b - a]
        for c in range(columns.shape[1]):
            begin, end, column = plan.start[c], plan.start[c + 1], columns[a:b, c]
            _fill(0.0, live)
            for j in range(begin, end):
                _lay_member(z[a:b, plan.feature[j]], plan.sign[j], style, plan.turn[j], parts[a:b, j], live)
            _fill(0.0, column)
            for j in range(begin, end):
                _add_member(parts[a:b, j], live, column)
            for r in range(b - a):
                column[r] = column[r] if live[r] > 0.0 else np.nan


@compiled
def _split_trees(tree: FloatArray, sizes: FloatArray, members: int, each: FloatArray, rest: FloatArray) -> None:
    """Find what of the trees goes to a unit of a member's part, and what to each member where all parts are zero."""
    for r in range(len(tree)):
        there = sizes[r] > 0.0
        each[r] = tree[r] / sizes[r] if there else 0.0
        rest[r] = 0.0 if there else tree[r] / members


@compiled
def _hand_down(
    part: FloatArray, slope: float, coef: float, each: FloatArray, rest: FloatArray, driver: FloatArray
) -> None:
    for r in range(len(part)):
        driver[r] += slope * part[r] * coef + abs(part[r]) * each[r] + rest[r]


@compiled
def _add_size(part: FloatArray, total: FloatArray) -> None:
    for r in range(len(part)):
        total[r] += abs(part[r])


@compiled
def _add(part: FloatArray, total: FloatArray) -> None:
    for r in range(len(part)):
        total[r] += part[r]


@compiled
def _rank(value: FloatArray, place: IntArray, size: FloatArray, top: IntArray) -> None:
    """Keep the larger of each two in `size` and `top`, of equal ones the new, and hand the other on."""
    for r in range(len(value)):
        new, old, new_place, old_place = value[r], size[r], place[r], top[r]
        larger = abs(new) >= abs(old)
        size[r], top[r] = (new, new_place) if larger else (old, old_place)
        value[r], place[r] = (old, old_place) if larger else (new, new_place)


@compiled
def share_out(
    parts: FloatArray,
    trees: FloatArray,
    scenario: FloatArray,
    weights: ColumnWeights,
    plan: DesignPlan,
    out: Summary,
) -> None:
    """Hand contributions down to the drivers, add them up by family and find the largest; see `models.hand_down`.

    `parts` has shape (n, members), `trees` (n, columns + 1); `scenario`, shape (n,), is the last driver's contribution.
    """
    family, families, top, size = out
    last = len(family) - 1
    drivers, sums = np.empty((len(family), BLOCK)), np.empty((len(families), BLOCK))
    first, value = np.empty((len(top), BLOCK), np.int64), np.empty((len(top), BLOCK))
    place, sizes, each, rest = np.empty(BLOCK, np.int64), np.empty(BLOCK), np.empty(BLOCK), np.empty(BLOCK)
    none = np.zeros(BLOCK)
    for a in range(0, len(parts), BLOCK):
        b = min(a + BLOCK, len(parts))
        for i in range(len(drivers)):
            _fill(0.0, drivers[i])
        _add(scenario[a:b], drivers[last])
        for c in range(len(weights.coef)):
            begin, end, coef = plan.start[c], plan.start[c + 1], weights.coef[c]
            if end - begin == 1:
                _hand_down(parts[a:b, begin], weights.slope, coef, none, trees[a:b, c], drivers[plan.driver[begin]])
                continue
            _fill(0.0, sizes)
            for j in range(begin, end):
                _add_size(parts[a:b, j], sizes)
            _split_trees(trees[a:b, c], sizes, end - begin, each, rest)
            for j in range(begin, end):
                _hand_down(parts[a:b, j], weights.slope, coef, each, rest, drivers[plan.driver[j]])
        for i in range(len(sums)):
            _fill(0.0, sums[i])
        for k in range(len(top)):
            _fill(0, first[k])
            _fill(0.0, value[k])
        # Backwards: of equal contributions the first driver is to stand first.
        for i in range(last, -1, -1):
            _add(drivers[i], sums[family[i]])
            _fill(i, place)
            for k in range(len(top)):
                _rank(drivers[i], place, value[k], first[k])
        for r in range(b - a):
            for i in range(len(sums)):
                families[i, a + r] = sums[i, r]
            for k in range(len(top)):
                top[k, a + r], size[k, a + r] = first[k, r], value[k, r]
