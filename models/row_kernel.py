"""Design, contributions and top drivers of many rows, compiled; the same formulas as `models.design`, row by row.

Single-threaded, and a row's numbers depend on that row only. `models.row_parts` holds the same in numpy.
"""

from __future__ import annotations

import numpy as np

from features.contracts import FloatArray, IntArray
from models.compiled import compiled
from models.row_plan import DesignPlan, ScalePlan


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
            root, total = np.sqrt(float(count)), 0.0
            for j in range(plan.start[c], plan.start[c + 1]):
                parts[r, j] /= root
                total += parts[r, j]
            columns[r, c] = total


@compiled
def share_out(
    parts: FloatArray, trees: FloatArray, weights: FloatArray, slope: float, plan: DesignPlan, out: FloatArray
) -> None:
    """Fill the contribution of every driver, shape (n, drivers); see `models.hand_down`."""
    for r in range(len(parts)):
        out[r, :] = 0.0
        for c in range(len(weights)):
            begin, end = plan.start[c], plan.start[c + 1]
            total = 0.0
            for j in range(begin, end):
                total += abs(parts[r, j])
            for j in range(begin, end):
                share = abs(parts[r, j]) / total if total > 0 else 1.0 / (end - begin)
                out[r, plan.driver[j]] += slope * parts[r, j] * weights[c] + trees[r, c] * share


@compiled
def sum_up(drivers: FloatArray, family: IntArray, families: FloatArray, top: IntArray, size: FloatArray) -> None:
    """Fill sums by family, shape (families, n), and the largest drivers and their sizes, shape (top, n)."""
    for r in range(len(drivers)):
        for i in range(drivers.shape[1]):
            value = drivers[r, i]
            families[family[i], r] += value
            filled = min(i, len(top))
            place = filled
            while place > 0 and abs(value) > abs(size[place - 1, r]):
                place -= 1
            if place < len(top):
                for lower in range(min(filled, len(top) - 1), place, -1):
                    top[lower, r], size[lower, r] = top[lower - 1, r], size[lower - 1, r]
                top[place, r], size[place, r] = i, value
