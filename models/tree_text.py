"""LightGBM's text models as plain arrays: what a tree asks, where it sends a row, and what its leaves hold.

The text is LightGBM's own (``Booster.model_to_string``, version v4 of the format); reading it executes nothing, and
children and features are checked, because compiled loops follow them blindly. This file needs numpy only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

_CATEGORICAL, _DEFAULT_LEFT = 1, 2
"""Bits of ``decision_type``; the two above them hold the missing type: 0 none, 1 zero, 2 NaN."""


class UnsupportedTreesError(ValueError):
    """A model that only LightGBM itself can evaluate; the message says why."""


@dataclass(frozen=True, eq=False)
class Tree:
    """One tree of k inner nodes and k + 1 leaves; node 0 is the root, and a tree without nodes is a constant.

    Parameters
    ----------
    feature : array of int, shape (k,)
        Place of the feature that a node asks for.
    threshold : array, shape (k,)
        A row goes left if its value is at most this.
    missing : array of int, shape (k,)
        What counts as missing: 0 nothing (NaN is read as zero), 1 zero and NaN, 2 NaN.
    default_left : array of bool, shape (k,)
        Where a missing value goes.
    left, right : arrays of int, shape (k,)
        Children: a node, or a leaf as -1 - leaf.
    value : array, shape (k + 1,)
        Raw score of each leaf, shrinkage included.
    leaf_count, node_count : arrays, shapes (k + 1,) and (k,)
        Training rows that reached a leaf or a node.
    """

    feature: IntArray
    threshold: FloatArray
    missing: IntArray
    default_left: npt.NDArray[np.bool_]
    left: IntArray
    right: IntArray
    value: FloatArray
    leaf_count: FloatArray
    node_count: FloatArray


@dataclass(frozen=True, eq=False)
class TreeModel:
    """The trees of one booster; its raw score is their sum, that of a random forest included."""

    features: int
    trees: tuple[Tree, ...]


def read_trees(text: str) -> TreeModel:
    """Read a text model.

    Parameters
    ----------
    text : str
        As ``Booster.model_to_string`` returns it.

    Raises
    ------
    UnsupportedTreesError
        If the model has several outputs, categorical splits or linear leaves, or is no sound text model.
    """
    head, *blocks = text.split("\nTree=")
    fields = _fields(head)
    if "max_feature_idx" not in fields:
        raise UnsupportedTreesError("the text is no LightGBM model")
    if int(fields.get("num_tree_per_iteration", "1")) != 1:
        raise UnsupportedTreesError("the model has several outputs")
    features = int(fields["max_feature_idx"]) + 1
    trees = tuple(_tree(_fields(block.split("\nend of trees")[0]), features) for block in blocks)
    return TreeModel(features, trees)


def _fields(block: str) -> dict[str, str]:
    pairs = (line.partition("=") for line in block.splitlines())
    return {name: value for name, _, value in pairs}


def _tree(fields: Mapping[str, str], features: int) -> Tree:
    if int(fields.get("is_linear", "0")):
        raise UnsupportedTreesError("a tree has linear leaves")
    inner = int(fields["num_leaves"]) - 1
    feature, left, right, kind = (
        _ints(fields, name, inner) for name in ("split_feature", "left_child", "right_child", "decision_type")
    )
    if int(fields.get("num_cat", "0")) or any(word & _CATEGORICAL for word in kind):
        raise UnsupportedTreesError("a tree has categorical splits")
    if any(word >> 2 not in (0, 1, 2) for word in kind):
        raise UnsupportedTreesError("a tree has an unknown kind of missing values")
    # Every node but the root and every leaf is the child of one node, and a node's number is below those of its nodes.
    once = sorted(left + right) == [*range(-inner - 1, 0), *range(1, inner)] or not inner
    down = all(child < 0 or child > node for side in (left, right) for node, child in enumerate(side))
    if not (once and down and all(0 <= place < features for place in feature)):
        raise UnsupportedTreesError("the nodes of a tree do not hang together")
    decision = np.array(kind, dtype=np.int64)
    return Tree(
        feature=np.array(feature, dtype=np.int64),
        threshold=_floats(fields, "threshold", inner),
        missing=decision >> 2 & 3,
        default_left=(decision & _DEFAULT_LEFT) > 0,
        left=np.array(left, dtype=np.int64),
        right=np.array(right, dtype=np.int64),
        value=_floats(fields, "leaf_value", inner + 1),
        # A tree that is a constant has no counts: nothing was split.
        leaf_count=_floats(fields, "leaf_count", inner + 1) if inner else np.ones(1),
        node_count=_floats(fields, "internal_count", inner),
    )


def _ints(fields: Mapping[str, str], name: str, size: int) -> list[int]:
    return [int(word) for word in _words(fields, name, size)]


def _floats(fields: Mapping[str, str], name: str, size: int) -> FloatArray:
    return np.array([float(word) for word in _words(fields, name, size)], dtype=np.float64)


def _words(fields: Mapping[str, str], name: str, size: int) -> list[str]:
    words = fields.get(name, "").split() if size else []
    if len(words) != size:
        raise UnsupportedTreesError(f"`{name}` of a tree must have {size} values; got {len(words)}")
    return words
