"""Hundreds of spoilt bundles, with checksums that fit: each is refused or works, and none ends the process."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from features.errors import BundleError
from models.booster_text import check_booster_text
from models.bundle import Bundle
from models.bundle_files import read_files, write_files
from tests import small
from tests.models.boosters import train

# Runs in a process of its own: what it must find is the death of the process.
_FUZZ = r"""
import hashlib, json, random, re, shutil, sys
from pathlib import Path
import numpy as np
from features.errors import BundleError
from models.bundle import Bundle

saved, work, count, seed = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
chance = random.Random(seed)
names = {re.sub(r"-[0-9a-f]{12}(?=\.)", "", path.name): path.read_text() for path in saved.iterdir()}
names.pop("manifest.json")

def other_number(found):
    return chance.choice(["-1", "0", "1", "7", "99999", "4294967296", "-2147483648", "1e999", "nan", "inf", "x", "",
                          found.group() + "0", found.group()[:-1], "1_0", "-" + found.group()])

def spoil(text):
    kind = chance.randrange(6)
    if kind == 0:  # one number somewhere
        places = list(re.finditer(r"-?\d+(?:\.\d+)?", text))
        found = chance.choice(places)
        return text[:found.start()] + other_number(found) + text[found.end():]
    if kind == 1:  # one number of a field that LightGBM follows blindly
        field = chance.choice(["tree_sizes", "left_child", "right_child", "split_feature", "num_leaves", "num_cat",
                               "decision_type", "max_feature_idx", "num_tree_per_iteration", "num_class", "shrinkage",
                               "leaf_value", "threshold", "feature_infos", "is_linear"])
        lines = list(re.finditer(rf"^{field}=.*$", text, re.M))
        if not lines:
            return text[: len(text) // 2]
        line = chance.choice(lines)
        places = list(re.finditer(r"-?\d+(?:\.\d+)?", line.group()))
        if not places:
            return text[:line.start()] + text[line.end():]
        found = chance.choice(places)
        start = line.start()
        return text[:start + found.start()] + other_number(found) + text[start + found.end():]
    lines = text.split("\n")
    place = chance.randrange(len(lines))
    if kind == 2:
        del lines[place]
    elif kind == 3:
        lines.insert(place, chance.choice(lines))
    elif kind == 4:
        return text[: chance.randrange(len(text))]
    else:
        data = bytearray(text.encode())
        for _ in range(chance.randrange(1, 8)):
            data[chance.randrange(len(data))] = chance.randrange(32, 127)
        return data.decode()
    return "\n".join(lines)

outcome = {"refused": 0, "read": 0}
for number in range(count):
    texts = dict(names)
    name = chance.choice(sorted(texts))
    texts[name] = spoil(texts[name])
    folder = work / "bundle"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    sums = {}
    for name, text in texts.items():
        sums[name] = hashlib.sha256(text.encode()).hexdigest()
        stem, suffix = name.split(".")
        (folder / f"{stem}-{sums[name][:12]}.{suffix}").write_text(text)
    (folder / "manifest.json").write_text(json.dumps({"format": FORMAT, "files": sums}))
    print(number, name, file=sys.stderr, flush=True)
    try:
        bundle = Bundle.load(folder)
    except BundleError as error:
        assert "\n" not in str(error)
        outcome["refused"] += 1
        continue
    for head in bundle.heads.values():
        rows = np.zeros((3, head.boosters[0].num_feature()))
        for booster in head.boosters:
            booster.predict(rows, raw_score=True, num_threads=1)
            booster.predict(rows, pred_contrib=True, num_threads=1)
    outcome["read"] += 1
print(json.dumps(outcome))
"""


def run(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


@pytest.mark.parametrize(("count", "seed"), [(120, 1), pytest.param(2000, 2, marks=pytest.mark.slow)])
def test_no_spoilt_bundle_ends_the_process(count: int, seed: int, tmp_path: Path) -> None:
    saved = small.walked().bundles[-1].save(tmp_path / "saved")
    declared = json.loads((saved / "manifest.json").read_text())["format"]
    done = run(_FUZZ.replace("FORMAT", str(declared)), str(saved), str(tmp_path), str(count), str(seed))
    assert done.returncode == 0, done.stderr[-2000:]
    outcome = json.loads(done.stdout.splitlines()[-1])
    assert sum(outcome.values()) == count
    assert outcome["refused"] > count / 2


def test_control_lightgbm_alone_dies_of_a_wrong_length() -> None:
    text = train(0, objective="cross_entropy").model_to_string()
    spoilt = text.replace("tree_sizes=", "tree_sizes=9", 1)
    done = run("import sys, lightgbm; lightgbm.Booster(model_str=sys.argv[1])", spoilt)
    assert done.returncode != 0
    assert done.returncode < 0 or "Traceback" in done.stderr
    with pytest.raises(ValueError, match="length of tree 0"):
        check_booster_text(spoilt)


def test_what_lightgbm_writes_is_let_through() -> None:
    for options in ({}, {"min_gain_to_split": 1e9}, {"use_missing": False}, {"zero_as_missing": True}):
        check_booster_text(train(1, objective="cross_entropy", **options).model_to_string())


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("objective=cross_entropy", "objective=binary", "objective"),
        ("num_class=1", "num_class=3", "several outputs"),
        ("left_child=", "left_child=77 ", "length"),
        ("split_feature=", "split_feature=9", "numbers that are due"),
        ("end of trees", "the end", "length|end"),
        (r"left_child=\d", "left_child=0", "hang together"),
        (r"(?<=split_feature=)\d", "9", "hang together"),
        (r"(?<=leaf_value=.)\d", "x", "numbers that are due"),
        ("num_cat=0", "num_cat=1", "categorical"),
        ("shrinkage=", "weight=1\nshrinkage=", "length"),
        ("leaf_value=", "leaf_value=1_0", "length"),
        ("version=v4", "version=v5", "another format"),
    ],
)
def test_what_it_does_not_write_is_refused(old: str, new: str, words: str) -> None:
    text = train(0, objective="cross_entropy").model_to_string()
    spoilt = re.sub(old, new, text, count=1)
    assert spoilt != text
    with pytest.raises(ValueError, match=words):
        check_booster_text(spoilt)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("features", 0, "tail_sign"), [None]),
        (("features", 0, "family"), 3),
        (("features", 0, "sign"), True),
        (("settings", "winsor"), "3"),
        (("settings", "calibration_dates"), None),
        (("settings", "trees", "rounds"), 60.5),
        (("settings", "scenarios", "seed"), [1]),
    ],
)
def test_another_type_is_refused_though_the_checksums_are_right(
    place: tuple[str | int, ...], value: object, tmp_path: Path
) -> None:
    texts = read_files(small.walked().bundles[-1].save(tmp_path / "bundle"))
    document = json.loads(texts["model.json"])
    inner = document
    for step in place[:-1]:
        inner = inner[step]
    inner[place[-1]] = value
    write_files(tmp_path / "forged", {**texts, "model.json": json.dumps(document)})
    with pytest.raises(BundleError, match="train it again"):
        Bundle.load(tmp_path / "forged")
