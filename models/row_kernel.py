"""Design, contributions and top drivers of many rows, compiled; the same formulas as `models.design`, row by row.

Single-threaded, and a row's numbers depend on that row only. `models.row_parts` holds the same in numpy.
"""

from __future__ import annotations

import numpy as np

from features.contracts import FloatArray, IntArray
from models.compiled import compiled
from models.row_plan import ColumnWeights, DesignPlan, ScalePlan, Summary


@compiled
def standardise(values: FloatArray, style: IntArray, plan: ScalePlan, z: FloatArray) -> None:
    """Fill z-scores, shape (n, features + 1); the last column is the style in force."""
    n, size = values.shape
    for r in range(n):
        for i in range(size):
            if plan.live[i]:
                found = (values[r, i] - plan.mean[i]) / plan.std[i]
                # Comparisons with a missing value are false: it stays missing.
                if found > plan.winsor:
                    found = plan.winsor
                elif found < -plan.winsor:
                    found = -plan.winsor
                z[r, i] = found
            else:
                z[r, i] = np.nan
        z[r, size] = style[r]


@compiled
def lay_columns(z: FloatArray, plan: DesignPlan, columns: FloatArray, parts: FloatArray) -> None:
    """Fill the columns, shape (n, k), and the members' parts of them, shape (n, m); see `models.design`."""
    last = z.shape[1] - 1
    for r in range(len(z)):
        for c in range(columns.shape[1]):
            count = 0
            for j in range(plan.start[c], plan.start[c + 1]):
                found = z[r, plan.feature[j]] * plan.sign[j]
                if plan.turn[j]:
                    found *= z[r, last]
                if found == found:
                    count += 1
                    parts[r, j] = found
                else:
                    parts[r, j] = 0.0
            if count == 0:
                columns[r, c] = np.nan
                continue
            begin, end = plan.start[c], plan.start[c + 1]
            if end - begin == 1:
                columns[r, c] = parts[r, begin]
                continue
            root, total = np.sqrt(float(count)), 0.0
            for j in range(begin, end):
                part = parts[r, j]
                if part != 0.0:
                    part /= root
                    parts[r, j] = part
                    total += part
            columns[r, c] = total


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
    drivers, sums = np.empty(len(family)), np.empty(len(families))
    first, value = np.empty(len(top), np.int64), np.empty(len(top))
    for r in range(len(parts)):
        drivers[:] = 0.0
        sums[:] = 0.0
        for c in range(len(weights.coef)):
            begin, end = plan.start[c], plan.start[c + 1]
            tree, coef = trees[r, c], weights.coef[c]
            if end - begin == 1:
                drivers[plan.driver[begin]] += weights.slope * parts[r, begin] * coef + tree
                continue
            total = 0.0
            for j in range(begin, end):
                total += abs(parts[r, j])
            if total > 0:
                each = tree / total
                for j in range(begin, end):
                    part = parts[r, j]
                    drivers[plan.driver[j]] += weights.slope * part * coef + abs(part) * each
            else:
                for j in range(begin, end):
                    drivers[plan.driver[j]] += tree / (end - begin)
        drivers[-1] = scenario[r]
        for i in range(len(drivers)):
            found = drivers[i]
            sums[family[i]] += found
            filled = min(i, len(top))
            if filled == len(top) and abs(found) <= abs(value[filled - 1]):
                continue
            place = filled
            while place > 0 and abs(found) > abs(value[place - 1]):
                place -= 1
            for lower in range(min(filled, len(top) - 1), place, -1):
                first[lower], value[lower] = first[lower - 1], value[lower - 1]
            first[place], value[place] = i, found
        for i in range(len(sums)):
            families[i, r] = sums[i]
        for i in range(len(top)):
            top[i, r], size[i, r] = first[i], value[i]
