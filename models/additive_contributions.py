"""Contributions of features to sums of tiny trees (path-dependent TreeSHAP, Lundberg et al. 2020), as tables.

A tree of k nodes knows a row only by its k decisions. All 2^k answers are worked out once; a row then picks its own.
Behind a leaf stands a game among the features on its path: a feature that the row agrees with lets it through, one
that is left out lets through the fraction of training rows that went that way. The tree's contributions are the sums of
the Shapley values of these games.

This file needs numpy, numba and its neighbours `additive_kernel`, `additive_codes`, `additive_plan`, `compiled` and
`tree_text` only.
"""

from __future__ import annotations

import numpy as np

from models.additive_codes import ByteArray, Codes
from models.additive_kernel import BLOCK, encode
from models.additive_plan import NODES, IndexArray, PatternPlan
from models.compiled import compiled
from models.tree_text import FloatArray


@compiled
def _shapley(
    value: float, share: FloatArray, present: FloatArray, size: int, coef: FloatArray, phi: FloatArray
) -> None:
    """Add the Shapley values of ``value * prod(present of who plays) * prod(share of who does not)`` to `phi`.

    Without player i, the games of s other players sum to the coefficient of t^s in prod(share + present t); each game
    counts s! (size - 1 - s)! / size!.
    """
    for player in range(size):
        coef[:] = 0.0
        coef[0] = 1.0
        top = 0
        for other in range(size):
            if other != player:
                top += 1
                for s in range(top, 0, -1):
                    coef[s] = coef[s] * share[other] + coef[s - 1] * present[other]
                coef[0] *= share[other]
        weight, total = 1.0 / size, 0.0
        for s in range(size):
            total += coef[s] * weight
            weight *= (s + 1.0) / max(size - 1.0 - s, 1.0)
        phi[player] += value * (present[player] - share[player]) * total


@compiled
def fill_tables(plan: PatternPlan, tables: FloatArray) -> None:
    """Fill the contributions by pattern, shape (plan.place[-1],)."""
    parent, side = np.empty(2 * NODES + 1, np.int64), np.empty(2 * NODES + 1, np.int64)
    share, present = np.empty(NODES), np.empty(NODES)
    coef, phi = np.empty(NODES + 1), np.empty(NODES)
    player, member = np.empty(NODES, np.int64), np.empty(NODES, np.int64)
    for tree in range(len(plan.nodes) - 1):
        first, count = plan.nodes[tree], plan.nodes[tree + 1] - plan.nodes[tree]
        # Who stands above: node i at place i, leaf j at place count + j.
        parent[0] = -1
        for node in range(count):
            for way in range(2):
                child = plan.right[first + node] if way else plan.left[first + node]
                place = child if child >= 0 else count - 1 - child
                parent[place], side[place] = node, way
        for leaf in range(count + 1 if count else 0):
            for pattern in range(1 << count):
                player[:] = -1
                size, place = 0, count + leaf
                while parent[place] >= 0:
                    node, way = parent[place], side[place]
                    slot = plan.slot[first + node]
                    if player[slot] < 0:
                        player[slot], member[size] = size, slot
                        share[size], present[size], phi[size] = 1.0, 1.0, 0.0
                        size += 1
                    share[player[slot]] *= plan.part[first + node, way]
                    if (pattern >> node & 1) != way:
                        present[player[slot]] = 0.0
                    place = node
                _shapley(plan.value[first + tree + leaf], share, present, size, coef, phi)
                for i in range(size):
                    tables[plan.place[plan.table[tree, member[i]]] + pattern] += phi[i]


@compiled
def _set_bit(code: ByteArray, cut: np.int8, bit: np.uint8, pattern: IndexArray) -> None:
    for r in range(BLOCK):
        pattern[r] |= bit if code[r] > cut else np.uint8(0)


@compiled
def _add(table: FloatArray, pattern: IndexArray, total: FloatArray) -> None:
    for r in range(BLOCK):
        total[r] += table[pattern[r]]


@compiled
def _add_two(a: FloatArray, of_a: IndexArray, b: FloatArray, of_b: IndexArray, total: FloatArray) -> None:
    for r in range(BLOCK):
        total[r] += a[of_a[r]] + b[of_b[r]]


@compiled
def contribute(rows: FloatArray, codes: Codes, plan: PatternPlan, tables: FloatArray, out: FloatArray) -> None:
    """Add each feature's contribution to `out`, shape (n, features or more), for rows of shape (n, features)."""
    work, rank, total = np.zeros(BLOCK), np.zeros(BLOCK, np.int64), np.zeros(BLOCK)
    code = np.zeros((len(codes.base), BLOCK), np.int8)
    patterns = np.zeros((len(plan.nodes) - 1, BLOCK), np.uint8)
    for first in range(0, len(rows), BLOCK):
        last = min(first + BLOCK, len(rows))
        encode(rows[first:last], codes, work, rank, code)
        for tree in range(len(patterns)):
            pattern = patterns[tree]
            pattern[:] = np.uint8(0)
            bit = np.uint8(1)
            for node in range(plan.nodes[tree], plan.nodes[tree + 1]):
                _set_bit(code[plan.column[node]], plan.cut[node], bit, pattern)
                bit = np.uint8(bit << 1)
        for place in range(len(plan.feature)):
            total[:] = 0.0
            begin, end = plan.start[place], plan.start[place + 1]
            for j in range(begin, end - 1, 2):
                _add_two(
                    tables[plan.place[j] : plan.place[j + 1]], patterns[plan.tree[j]],
                    tables[plan.place[j + 1] : plan.place[j + 2]], patterns[plan.tree[j + 1]], total,
                )  # fmt: skip
            if (end - begin) % 2:
                _add(tables[plan.place[end - 1] : plan.place[end]], patterns[plan.tree[end - 1]], total)
            feature = plan.feature[place]
            for r in range(last - first):
                out[first + r, feature] += total[r]
