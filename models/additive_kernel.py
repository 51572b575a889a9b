"""Sums of many small trees over many rows, compiled; single-threaded, and a row's numbers depend on that row only.

Rows come in blocks, so that a node is one comparison over contiguous bytes, which the compiler turns into vector
instructions, and a table stays in the nearest cache while a whole block reads from it.

This file needs numpy, numba and its neighbours `additive_codes`, `additive_plan`, `compiled` and `tree_text` only.
"""

from __future__ import annotations

import numpy as np

from models.additive_codes import LOWEST, WIDTH, ByteArray, Codes
from models.additive_plan import ENTRIES, IndexArray, ScorePlan
from models.compiled import compiled
from models.tree_text import FloatArray, IntArray

BLOCK = 512
"""Rows of a block; a short last one costs as much as a full one."""
_FEW = 100
"""Thresholds up to which counting beats halving."""
_ZERO = float(np.float32(1e-35))
"""LightGBM reads smaller values as zero."""


@compiled
def _count(values: FloatArray, thresholds: FloatArray, rank: IntArray) -> None:
    """Count the thresholds below each value, one by one: the fastest way while they are few. NaN counts none."""
    size = len(thresholds)
    for r in range(BLOCK):
        rank[r] = 0
    for i in range(0, size - 3, 4):
        a, b, c, d = thresholds[i], thresholds[i + 1], thresholds[i + 2], thresholds[i + 3]
        for r in range(BLOCK):
            value = values[r]
            rank[r] += np.int64(a < value) + np.int64(b < value) + np.int64(c < value) + np.int64(d < value)
    for i in range(size - size % 4, size):
        edge = thresholds[i]
        for r in range(BLOCK):
            rank[r] += np.int64(edge < values[r])


@compiled
def _halve(values: FloatArray, thresholds: FloatArray, rank: IntArray) -> None:
    """Count the thresholds below each value by halving, all values in step, so that nothing is left to guess."""
    size, step = len(thresholds), 1
    while 2 * step <= size:
        step *= 2
    # The lower `step` thresholds, or the upper: either way `step` of them are left.
    for r in range(BLOCK):
        rank[r] = size - step if thresholds[step - 1] < values[r] else 0
    while step > 1:
        step >>= 1
        for r in range(BLOCK):
            low = rank[r]
            rank[r] = low + step if thresholds[low + step - 1] < values[r] else low
    for r in range(BLOCK):
        rank[r] += np.int64(thresholds[rank[r]] < values[r])


@compiled
def _write_codes(
    values: FloatArray, rank: IntArray, base: np.int64, missing: np.int8, zero: np.bool_, code: ByteArray
) -> None:
    for r in range(BLOCK):
        within = min(max(rank[r] - base, 0), WIDTH)
        value = values[r]
        absent = (value != value) | (zero & (value == 0.0))
        code[r] = missing if absent else np.int8(within + LOWEST)


@compiled
def encode(rows: FloatArray, codes: Codes, work: FloatArray, rank: IntArray, out: ByteArray) -> None:
    """Turn a block of rows into codes, shape (columns, block); what a short block leaves free stays as it was."""
    for place in range(len(codes.feature)):
        feature = codes.feature[place]
        for r in range(len(rows)):
            value = rows[r, feature]
            work[r] = 0.0 if abs(value) <= _ZERO else value
        thresholds = codes.thresholds[codes.start[place] : codes.start[place + 1]]
        if len(thresholds) <= _FEW:
            _count(work, thresholds, rank)
        else:
            _halve(work, thresholds, rank)
        for column in range(codes.first[place], codes.first[place + 1]):
            _write_codes(work, rank, codes.base[column], codes.missing[column], codes.zero[column], out[column])


@compiled
def _open(code: ByteArray, cut: np.int8, child: np.uint8, place: IndexArray) -> None:
    for r in range(BLOCK):
        place[r] = child if code[r] > cut else np.uint8(0)


@compiled
def _split(code: ByteArray, cut: np.int8, parent: np.uint8, child: np.uint8, place: IndexArray) -> None:
    for r in range(BLOCK):
        place[r] = child if (code[r] > cut) & (place[r] == parent) else place[r]


@compiled
def _shift(place: IndexArray, index: IndexArray) -> None:
    for r in range(BLOCK):
        index[r] += place[r]


@compiled
def _look_up(table: FloatArray, index: IndexArray, total: FloatArray) -> None:
    for r in range(BLOCK):
        total[r] += table[index[r]]


@compiled
def score(rows: FloatArray, codes: Codes, plan: ScorePlan, out: FloatArray) -> None:
    """Fill the raw score of each booster, shape (boosters, n), for rows of shape (n, features)."""
    work, rank = np.zeros(BLOCK), np.zeros(BLOCK, np.int64)
    code = np.zeros((len(codes.base), BLOCK), np.int8)
    place, index = np.zeros(BLOCK, np.uint8), np.zeros(BLOCK, np.uint8)
    total = np.zeros(BLOCK)
    for first in range(0, len(rows), BLOCK):
        last = min(first + BLOCK, len(rows))
        encode(rows[first:last], codes, work, rank, code)
        for booster in range(len(plan.boosters) - 1):
            total[:] = 0.0
            for table in range(plan.boosters[booster], plan.boosters[booster + 1]):
                index[:] = np.uint8(0)
                for tree in range(plan.trees[table], plan.trees[table + 1]):
                    begin, end = plan.steps[tree], plan.steps[tree + 1]
                    if begin == end:
                        continue
                    _open(code[plan.column[begin]], plan.cut[begin], plan.child[begin], place)
                    for step in range(begin + 1, end):
                        _split(code[plan.column[step]], plan.cut[step], plan.parent[step], plan.child[step], place)
                    _shift(place, index)
                _look_up(plan.tables[table * ENTRIES : (table + 1) * ENTRIES], index, total)
            for r in range(last - first):
                out[booster, first + r] = total[r]
