"""Questions of trees as comparisons of bytes: thresholds become ranks, and missing values codes at either end.

A value is turned into its rank among all thresholds of its feature (QuickScorer, Lucchese et al. 2015, sorts them in
the same way). A *column* holds ranks as single bytes, for one feature and one way to treat missing values: where those
go left, a missing value gets the lowest code, where they go right the highest. Then each node asks ``code > cut``,
whatever is missing. A feature with more thresholds than a byte can tell apart gets several columns.

This file needs numpy and `models.tree_text` only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from models.tree_text import FloatArray, IntArray, Tree

ByteArray = npt.NDArray[np.int8]

WIDTH = 254
"""Thresholds of one column: codes 0 to 254 are ranks, and 255 lies above every cut."""
LOWEST, HIGHEST = -128, 127
"""Codes are shifted into signed bytes, which processors compare in one step."""


class Codes(NamedTuple):
    """How rows become codes.

    `thresholds` of `feature[i]` lie at ``start[i]:start[i + 1]``, sorted; its columns at ``first[i]:first[i + 1]``. A
    column counts ranks from `base` up, and gives `missing` to NaN and, if `zero`, to zero.
    """

    feature: IntArray
    thresholds: FloatArray
    start: IntArray
    first: IntArray
    base: IntArray
    missing: ByteArray
    zero: npt.NDArray[np.bool_]


class Layout(NamedTuple):
    """Where each node of each tree finds its code: column and cut, shape (nodes of all trees,)."""

    codes: Codes
    column: IntArray
    cut: ByteArray


def lay_out(trees: Sequence[Tree]) -> Layout:
    """Give every node its column and cut, and describe the columns."""
    feature = np.concatenate([np.zeros(0, np.int64), *(tree.feature for tree in trees)])
    threshold = np.concatenate([np.zeros(0), *(tree.threshold for tree in trees)])
    missing = np.concatenate([np.zeros(0, np.int64), *(tree.missing for tree in trees)])
    left = np.concatenate([np.zeros(0, np.bool_), *(tree.default_left for tree in trees)])
    # 0 nothing is missing; 1, 2 zero goes right, left; 3, 4 NaN goes right, left.
    rule = np.where(missing > 0, 2 * missing - 1 + left, 0)
    column, cut = np.zeros(len(feature), np.int64), np.zeros(len(feature), np.int8)
    used = np.unique(feature)
    sorted_thresholds, first, base, code, zero = [], [0], [], [], []
    for place in used:
        nodes = np.flatnonzero(feature == place)
        distinct, rank = np.unique(threshold[nodes], return_inverse=True)
        sorted_thresholds.append(distinct)
        chunk, within = np.divmod(rank, WIDTH)
        kinds, which = np.unique(np.column_stack([rule[nodes], chunk]), axis=0, return_inverse=True)
        column[nodes] = first[-1] + which.ravel()
        cut[nodes] = within + LOWEST
        at_zero = int(np.searchsorted(distinct, 0.0))
        for kind, number in kinds:
            base.append(number * WIDTH)
            as_zero = LOWEST + min(max(at_zero - number * WIDTH, 0), WIDTH)
            code.append(as_zero if kind == 0 else LOWEST if kind in (2, 4) else HIGHEST)
            zero.append(kind in (1, 2))
        first.append(len(base))
    start = np.cumsum([0, *(len(part) for part in sorted_thresholds)])
    codes = Codes(
        used,
        np.concatenate([np.zeros(0), *sorted_thresholds]),
        start.astype(np.int64),
        np.array(first, dtype=np.int64),
        np.array(base, dtype=np.int64),
        np.array(code, dtype=np.int8),
        np.array(zero, dtype=np.bool_),
    )
    return Layout(codes, column, cut)
