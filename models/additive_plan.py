"""Trees laid out for the loops of `models.additive_kernel` and `models.additive_contributions`.

This file needs numpy and its neighbours `models.additive_codes` and `models.tree_text` only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from models.additive_codes import ByteArray, Layout
from models.tree_text import FloatArray, IntArray, Tree, TreeModel, UnsupportedTreesError

IndexArray = npt.NDArray[np.uint8]

ENTRIES = 256
"""Entries of a table of scores: its index is a byte."""
NODES = 8
"""Nodes of a tree whose decisions fit into one byte."""


class ScorePlan(NamedTuple):
    """Steps that lead to a row's place in each table, and the tables.

    Trees share a table as long as the product of their leaves is a byte. Within a tree a row starts at place 0; step s
    moves it from `parent` to `child` if its code in `column` exceeds `cut`. Tree t has the steps
    ``steps[t]:steps[t + 1]``; table g holds the trees ``trees[g]:trees[g + 1]``, at ``tables[g * 256 :]``; booster b
    has the tables ``boosters[b]:boosters[b + 1]``.
    """

    column: IntArray
    cut: ByteArray
    parent: IndexArray
    child: IndexArray
    steps: IntArray
    trees: IntArray
    boosters: IntArray
    tables: FloatArray


class PatternPlan(NamedTuple):
    """Trees by their nodes, for contributions.

    Nodes of tree t are ``nodes[t]:nodes[t + 1]``; node i of a tree sets bit i of the row's pattern if its code in
    `column` exceeds `cut`. Its children `left` and `right` are nodes of the tree, or leaves as -1 - leaf; `part` holds
    the fraction of the node's training rows that went to each, shape (all nodes, 2); `slot` numbers the features of the
    tree.
    Leaves of tree t have the scores ``value[t + nodes[t] : t + nodes[t + 1] + 1]``.

    Tree t has for each of its features a table of contributions by pattern. Tables come feature by feature: those of
    `feature[i]` are ``start[i]:start[i + 1]``; table j reads the pattern of ``tree[j]`` and lies at
    ``place[j]:place[j + 1]``. The table of slot s of tree t is ``table[t, s]``.
    """

    column: IntArray
    cut: ByteArray
    left: IntArray
    right: IntArray
    part: FloatArray
    slot: IntArray
    nodes: IntArray
    value: FloatArray
    feature: IntArray
    start: IntArray
    tree: IntArray
    place: IntArray
    table: IntArray


def plan_scores(models: Sequence[TreeModel], layout: Layout) -> ScorePlan:
    """Lay out the tables of scores.

    Raises
    ------
    UnsupportedTreesError
        If a tree has more than 256 leaves.
    """
    column, cut, parent, child = [], [], [], []
    steps, trees, boosters, tables = [0], [0], [0], []
    offset = 0
    for model in models:
        table, room = np.zeros(1), ENTRIES
        for tree in model.trees:
            leaves = len(tree.value)
            if leaves > ENTRIES:
                raise UnsupportedTreesError(f"a tree has {leaves} leaves, more than {ENTRIES}")
            if len(table) * leaves > room:
                tables.append(np.pad(table, (0, ENTRIES - len(table))))
                trees.append(len(steps) - 1)
                table = np.zeros(1)
            places, order = _places(tree)
            stride = len(table)
            for node, before, after in order:
                column.append(layout.column[offset + node])
                cut.append(layout.cut[offset + node])
                parent.append(before * stride)
                child.append(after * stride)
            steps.append(len(column))
            table = (tree.value[places][:, None] + table).ravel()
            offset += leaves - 1
        tables.append(np.pad(table, (0, ENTRIES - len(table))))
        trees.append(len(steps) - 1)
        boosters.append(len(tables))
    return ScorePlan(
        np.array(column, dtype=np.int64),
        np.array(cut, dtype=np.int8),
        np.array(parent, dtype=np.uint8),
        np.array(child, dtype=np.uint8),
        np.array(steps, dtype=np.int64),
        np.array(trees, dtype=np.int64),
        np.array(boosters, dtype=np.int64),
        np.concatenate(tables),
    )


def _places(tree: Tree) -> tuple[list[int], list[tuple[int, int, int]]]:
    """Return the leaf at each place, and the steps that lead there: node, place before, and place to the right.

    A step splits the place of its node: rows that go left keep it, those that go right get the next free one.
    """
    leaves, order = {}, []
    stack, free = [(0 if len(tree.feature) else -1, 0)], 1
    while stack:
        node, place = stack.pop()
        if node < 0:
            leaves[place] = -1 - node
            continue
        order.append((node, place, free))
        stack += [(int(tree.right[node]), free), (int(tree.left[node]), place)]
        free += 1
    return [leaves[place] for place in range(free)], order


def plan_patterns(models: Sequence[TreeModel], layout: Layout) -> PatternPlan:
    """Lay out the trees for their contributions, each tree's scores divided by the number of boosters.

    Raises
    ------
    UnsupportedTreesError
        If a tree has more than eight nodes, or a node that no training row reached.
    """
    trees = [tree for model in models for tree in model.trees]
    for tree in trees:
        if len(tree.feature) > NODES:
            raise UnsupportedTreesError(f"a tree has {len(tree.feature)} nodes, more than {NODES}")
        if min(tree.leaf_count.min(), tree.node_count.min(initial=np.inf)) <= 0:
            raise UnsupportedTreesError("a tree has a node or leaf that no training row reached")
    counts = np.array([len(tree.feature) for tree in trees], dtype=np.int64)
    owner = np.repeat(np.arange(len(trees)), counts)
    feature = np.concatenate([np.zeros(0, np.int64), *(tree.feature for tree in trees)])
    # One table for each feature of each tree, feature by feature.
    pairs, which = np.unique(np.column_stack([feature, owner]), axis=0, return_inverse=True)
    slots = [np.unique(tree.feature, return_inverse=True)[1] for tree in trees]
    slot = np.concatenate([np.zeros(0, np.int64), *slots])
    table = np.zeros((len(trees), NODES), np.int64)
    table[owner, slot] = which.ravel()
    used, start = np.unique(pairs[:, 0], return_index=True)
    return PatternPlan(
        layout.column,
        layout.cut,
        np.concatenate([np.zeros(0, np.int64), *(tree.left for tree in trees)]),
        np.concatenate([np.zeros(0, np.int64), *(tree.right for tree in trees)]),
        np.concatenate([np.zeros((0, 2)), *(_parts(tree) for tree in trees)]),
        slot,
        np.append(0, np.cumsum(counts)),
        np.concatenate([np.zeros(0), *(tree.value / len(models) for tree in trees)]),
        used,
        np.append(start, len(pairs)),
        pairs[:, 1].copy(),
        np.append(0, np.cumsum(1 << counts[pairs[:, 1]])),
        table,
    )


def _parts(tree: Tree) -> FloatArray:
    child = np.column_stack([tree.left, tree.right])
    rows = np.append(tree.node_count, tree.leaf_count)
    # A leaf -1 - i is found behind the nodes.
    place = np.where(child < 0, len(tree.feature) - 1 - child, child)
    parts: FloatArray = rows[place] / tree.node_count[:, None]
    return parts


def expected_value(models: Sequence[TreeModel]) -> float:
    """Return the mean raw score of the training rows, averaged over boosters: what contributions start from."""
    total = 0.0
    for model in models:
        for tree in model.trees:
            rows = tree.node_count[0] if len(tree.node_count) else 1.0
            total += float(tree.leaf_count / rows @ tree.value)
    return total / len(models)
