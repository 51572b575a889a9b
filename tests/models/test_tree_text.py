"""Text models: what is read, and that a damaged tree never reaches a compiled loop."""

from __future__ import annotations

import re

import numpy as np
import pytest

from models.tree_text import UnsupportedTreesError, read_trees
from tests.models.boosters import FEATURES, train


def swap(name: str, word: str) -> str:
    """Replace the first word of the first line of a name in a sound text."""
    return re.sub(rf"^{name}=\S+", f"{name}={word}", train(0, 2).model_to_string(), count=1, flags=re.MULTILINE)


def test_reads_what_lightgbm_dumps() -> None:
    booster = train(0, 4, zero_as_missing=True)
    model = read_trees(booster.model_to_string())
    assert (model.features, len(model.trees)) == (FEATURES, 4)
    kinds = {"None": 0, "Zero": 1, "NaN": 2}
    for tree, dumped in zip(model.trees, booster.dump_model()["tree_info"], strict=True):
        nodes, leaves, stack = {}, {}, [dumped["tree_structure"]]
        while stack:
            node = stack.pop()
            if "split_index" in node:
                nodes[node["split_index"]] = node
                stack += [node["left_child"], node["right_child"]]
            else:
                leaves[node["leaf_index"]] = node
        for place, node in nodes.items():
            assert tree.feature[place] == node["split_feature"]
            assert tree.threshold[place] == node["threshold"]
            assert tree.missing[place] == kinds[node["missing_type"]]
            assert tree.default_left[place] == node["default_left"]
            assert tree.node_count[place] == node["internal_count"]
            for side, child in ((tree.left, node["left_child"]), (tree.right, node["right_child"])):
                assert side[place] == child.get("split_index", -1 - child.get("leaf_index", 0))
        np.testing.assert_array_equal(tree.value, [leaves[place]["leaf_value"] for place in sorted(leaves)])
        np.testing.assert_array_equal(tree.leaf_count, [leaves[place]["leaf_count"] for place in sorted(leaves)])


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no LightGBM model"),
        ("nonsense\nTree=0\nnum_leaves=2", "no LightGBM model"),
        (swap("split_feature", "5"), "hang together"),
        (swap("split_feature", "-1"), "hang together"),
        (swap("left_child", "0"), "hang together"),
        (swap("left_child", "-9"), "hang together"),
        (swap("right_child", "99"), "hang together"),
        (swap("threshold", "1 1"), "`threshold` of a tree must have 4 values; got 5"),
        (swap("leaf_value", ""), "`leaf_value` of a tree must have 5 values; got 4"),
        (swap("decision_type", "1"), "categorical"),
        (swap("decision_type", "12"), "missing values"),
        (swap("num_tree_per_iteration", "2"), "several outputs"),
    ],
)
def test_refuses_what_it_does_not_know(text: str, reason: str) -> None:
    with pytest.raises(UnsupportedTreesError, match=reason):
        read_trees(text)


def test_words_that_are_no_numbers_are_errors() -> None:
    for name in ("threshold", "leaf_value", "left_child"):
        with pytest.raises(ValueError, match=r"could not convert|invalid literal"):
            read_trees(swap(name, "x"))
