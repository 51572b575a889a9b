"""A booster's text is sound before LightGBM sees it: bad lengths or children end the whole process there, not an error.

LightGBM cuts the text into trees by the lengths that its head declares, and follows children and features blindly when
it predicts. What is checked here is what a bundle may hold: tiny numerical trees with one output, as
``Booster.model_to_string`` writes them. Anything else is refused.
"""

from __future__ import annotations

import re
from functools import lru_cache

import numpy as np

MAX_TREES = 5000
MAX_LEAVES = 256

_END = re.compile(
    r"end of trees\n\nfeature_importances:\n(?P<importances>(?:[^\n]+\n)*)"
    r"\nparameters:\n(?P<parameters>(?:[^\n]+\n)+)\nend of parameters\n\npandas_categorical:null\n"
)
_PARAMETER = re.compile(r"\[(?P<name>[a-z0-9_]+): (?P<value>[-+.,:/\w]*)\]")
_PLAIN = re.compile(r"[-+]?\d{1,19}(?:\.\d+)?(?:e[-+]?\d{1,3})?")
_MOST = 2**31
_DIGITS = re.compile(r"[-+.0-9einf \n]*")
"""Characters of numbers as LightGBM writes them; Python alone would also take underscores, NaN and other scripts."""
_NUMBER = r"-?\d{1,20}(?:\.\d{1,20})?(?:e-\d{2,3}|e\+\d{2})?"
"""As LightGBM writes it; always finite."""
_FIELDS = (
    "split_feature", "split_gain", "threshold", "decision_type", "left_child", "right_child", "leaf_value",
    "leaf_weight", "leaf_count", "internal_value", "internal_weight", "internal_count",
)  # fmt: skip
_LEAF_FIELDS = ("leaf_value", "leaf_weight", "leaf_count")
_KINDS = {
    # An infinite threshold asks whether there is a value at all.
    "threshold": f"(?:{_NUMBER}|-?inf)",
    "split_feature": r"\d{1,6}",
    "decision_type": r"\d{1,2}",
    "left_child": r"-?\d{1,3}",
    "right_child": r"-?\d{1,3}",
    "leaf_count": r"\d{1,9}",
    "internal_count": r"\d{1,9}",
}
_KEPT = ("split_feature", "decision_type", "left_child", "right_child")
_LEAVES = re.compile(r"Tree=\d+\nnum_leaves=(\d{1,4})\n")
_HEAD = {
    "version", "num_class", "num_tree_per_iteration", "label_index", "max_feature_idx", "objective", "feature_names",
    "feature_infos", "tree_sizes", "monotone_constraints",
}  # fmt: skip
_FIXED = {"version": "v4", "num_class": "1", "num_tree_per_iteration": "1", "label_index": "0"}
_DECISIONS = {0, 2, 4, 6, 8, 10}
"""Bits: 1 categorical, 2 missing values go left; above them the kind of missing value, 0 to 2."""


def check_booster_text(text: str) -> None:
    """Refuse a text that LightGBM must not be given.

    Parameters
    ----------
    text : str
        One booster.

    Raises
    ------
    ValueError
        If it is not the text of tiny numerical trees with one output, sound in lengths, numbers and children.
    """
    head, _, _ = text.partition("\n\n")
    lines = head.split("\n")
    fields = dict(line.partition("=")[::2] for line in lines[1:])
    if lines[0] != "tree" or not set(fields) <= _HEAD or len(fields) != len(lines) - 1:
        raise ValueError("the head of a booster is damaged")
    if any(fields.get(name) != value for name, value in _FIXED.items()):
        raise ValueError("a booster has several outputs or another format")
    features = _integers(fields.get("max_feature_idx", ""), 1)[0] + 1
    names, infos = fields.get("feature_names", "").split(" "), fields.get("feature_infos", "").split(" ")
    if not features == len(names) == len(infos) or fields.get("objective") != "cross_entropy":
        raise ValueError("features or objective of a booster are damaged")
    if not _DIGITS.fullmatch(fields.get("tree_sizes", "") + fields["max_feature_idx"]):
        raise ValueError("the head of a booster has something else where numbers are due")
    sizes = _integers(fields.get("tree_sizes", ""))
    if not 0 < len(sizes) <= MAX_TREES:
        raise ValueError(f"a booster must have 1 to {MAX_TREES} trees; got {len(sizes)}")
    place = len(head) + 2
    for number, size in enumerate(sizes):
        block = text[place : place + max(size, 0)]
        if len(block) != size or not block.startswith(f"Tree={number}\n") or not block.endswith("\n\n"):
            raise ValueError(f"the length of tree {number} is not what the head says")
        _check_tree(block, features)
        place += size
    if not text.isascii():
        raise ValueError("a booster holds letters of another script")
    _check_end(text[place:], set(names))


def _check_end(rest: str, names: set[str]) -> None:
    """Check what follows the trees: LightGBM dies of a parameter that it does not know."""
    found = _END.fullmatch(rest)
    if found is None:
        raise ValueError("a booster does not end as it should after its trees")
    for line in found["importances"].splitlines():
        name, _, count = line.partition("=")
        if name not in names or not count.isdigit():
            raise ValueError("the importances of a booster are damaged")
    known, seen = _known_parameters(), set()
    for line in found["parameters"].splitlines():
        pair = _PARAMETER.fullmatch(line)
        if pair is None or pair["name"] not in known or pair["name"] in seen:
            raise ValueError("the parameters of a booster are damaged or those of another version of LightGBM")
        if known[pair["name"]] and not _PLAIN.fullmatch(pair["value"]):
            raise ValueError(f"the parameter {pair['name']} of a booster is no number")
        seen.add(pair["name"])


@lru_cache(maxsize=1)
def _known_parameters() -> dict[str, bool]:
    """Names of the parameters that this LightGBM writes, and whether their values are numbers."""
    import lightgbm as lgb

    settings = {"objective": "cross_entropy", "verbose": -1, "num_threads": 1}
    text = lgb.train(settings, lgb.Dataset(np.zeros((2, 1)), np.zeros(2)), 1).model_to_string()
    found = _END.fullmatch(text[text.index("end of trees") :])
    pairs = [] if found is None else [_PARAMETER.fullmatch(line) for line in found["parameters"].splitlines()]
    return {pair["name"]: _PLAIN.fullmatch(pair["value"]) is not None for pair in pairs if pair is not None}


def _check_tree(block: str, features: int) -> None:
    leaves = _LEAVES.match(block)
    if leaves is None or not 0 < int(leaves[1]) <= MAX_LEAVES:
        raise ValueError(f"a tree must have 1 to {MAX_LEAVES} leaves")
    nodes = int(leaves[1]) - 1
    found = _tree_pattern(nodes).fullmatch(block)
    if found is None:
        raise ValueError("a tree has categorical splits, or something else than the numbers that are due")
    if not nodes:
        return
    feature, decision, left, right = ([int(word) for word in words.split(" ")] for words in found.groups())
    # Every node but the root, and every leaf as -1 - leaf, is the child of one node that comes before it.
    once = sorted(left + right) == [*range(-nodes - 1, 0), *range(1, nodes)]
    down = all(child < 0 or child > node for side in (left, right) for node, child in enumerate(side))
    if not (once and down and max(feature) < features and set(decision) <= _DECISIONS):
        raise ValueError("the nodes of a tree do not hang together")


@lru_cache(maxsize=MAX_LEAVES)
def _tree_pattern(nodes: int) -> re.Pattern[str]:
    """Return what the text of a tree looks like; a constant may say nothing, or one number, beside its one leaf."""
    if not nodes:
        some = f"(?:{_NUMBER})?"
        lines = [f"{name}={some}" for name in _FIELDS]
        lines[_FIELDS.index("leaf_value")] = f"leaf_value={_NUMBER}"
    else:
        sizes = {name: (nodes + (name in _LEAF_FIELDS), _KINDS.get(name, _NUMBER)) for name in _FIELDS}
        lines = []
        for name, (size, kind) in sizes.items():
            words = " ".join([kind] * size)
            lines.append(f"{name}=({words})" if name in _KEPT else f"{name}={words}")
    body = "\n".join(lines)
    return re.compile(rf"Tree=\d+\nnum_leaves={nodes + 1}\nnum_cat=0\n{body}\nis_linear=0\nshrinkage={_NUMBER}\n\n\n")


def _integers(words: str, size: int | None = None) -> list[int]:
    found = [int(word) for word in words.split(" ")]
    if (size is not None and len(found) != size) or max(found) >= _MOST or min(found) <= -_MOST:
        raise ValueError(f"a booster has other whole numbers than the {size or 'few'} that are due")
    return found
