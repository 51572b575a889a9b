"""Trees as tables: every number against LightGBM's own, and what happens where only LightGBM can go."""

from __future__ import annotations

import json
import logging
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import lightgbm as lgb
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.contracts import HORIZONS, FloatArray
from models.additive import AdditiveTrees
from models.predict import head_scores
from models.schedule import forecast_rows
from tests import small
from tests.models.boosters import FEATURES, awkward_rows, parameters, train, training_rows

FILES = (
    "__init__", "additive", "additive_codes", "additive_contributions", "additive_kernel", "additive_plan", "compiled",
    "tree_text",
)  # fmt: skip
"""What a registered model takes along."""


def reference(boosters: list[lgb.Booster], rows: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Scores of each booster and mean contributions, by LightGBM."""
    scores = np.array([booster.predict(rows, raw_score=True, num_threads=1) for booster in boosters])
    parts = np.mean([booster.predict(rows, pred_contrib=True, num_threads=1) for booster in boosters], axis=0)
    return scores, parts


def check(boosters: list[lgb.Booster], rows: FloatArray) -> AdditiveTrees:
    """Compare with LightGBM; the tolerances are those that are promised, in units of the largest score."""
    trees = AdditiveTrees(boosters)
    scores, parts = reference(boosters, rows)
    size = max(1.0, float(np.abs(scores).max()))
    np.testing.assert_allclose(trees.scores(rows), scores, rtol=0, atol=1e-12 * size)
    np.testing.assert_allclose(trees.contributions(rows), parts, rtol=0, atol=1e-10 * size)
    np.testing.assert_allclose(trees.contributions(rows).sum(axis=1), scores.mean(axis=0), rtol=0, atol=1e-10 * size)
    return trees


@given(parameters, st.integers(1, 3), st.integers(1, 8), st.integers(0, 2**20))
@settings(max_examples=25)
def test_random_boosters(options: dict[str, Any], count: int, rounds: int, seed: int) -> None:
    boosters = [train(seed + number, rounds, **options) for number in range(count)]
    trees = check(boosters, awkward_rows(boosters, np.random.default_rng(seed)))
    assert (trees.slow_scores, trees.slow_contributions) == ("", "")


@pytest.mark.slow
@given(parameters, st.integers(1, 4), st.integers(1, 60), st.integers(0, 2**20))
@settings(max_examples=1500)
def test_many_random_boosters(options: dict[str, Any], count: int, rounds: int, seed: int) -> None:
    boosters = [train(seed + number, rounds, **options) for number in range(count)]
    check(boosters, awkward_rows(boosters, np.random.default_rng(seed), 700))


def test_boosters_may_treat_missing_values_differently() -> None:
    kinds = [{}, {"zero_as_missing": True}, {"use_missing": False}, {"boosting": "rf"}]
    boosters = [train(seed, 12, **kind) for seed, kind in enumerate(kinds)]
    rules = {word for booster in boosters for word in fields(booster, "decision_type")}
    # Every rule is there: nothing is missing, zero and NaN that go left or right.
    assert {int(word) >> 2 for word in rules} == {0, 1, 2}
    assert {int(word) & 2 for word in rules if int(word) >> 2} == {0, 2}
    check(boosters, awkward_rows(boosters, np.random.default_rng(1), 2000))


def fields(booster: lgb.Booster, name: str) -> list[str]:
    """Return the words of every tree's line of a name in the text of a booster."""
    lines = booster.model_to_string().splitlines()
    return [word for line in lines if line.startswith(f"{name}=") for word in line.partition("=")[2].split()]


def test_trees_that_are_constants() -> None:
    boosters = [train(seed, 3, min_gain_to_split=1e9) for seed in range(2)]
    assert set(fields(boosters[0], "num_leaves")) == {"1"}
    rows = training_rows(np.random.default_rng(0), 7)
    trees = check(boosters, rows)
    assert np.ptp(trees.scores(rows), axis=1).max() == 0
    # The same beside trees that split.
    check([*boosters, train(2)], rows)


def test_best_iteration_is_what_counts() -> None:
    booster = train(1, 20)
    booster.best_iteration = 5
    rows = awkward_rows([booster], np.random.default_rng(1))
    assert np.abs(booster.predict(rows, raw_score=True) - booster.predict(rows, raw_score=True, num_iteration=20)).max()
    check([booster], rows)


def test_more_thresholds_than_a_byte_tells_apart() -> None:
    rng = np.random.default_rng(5)
    x = training_rows(rng, 3000)
    booster = train(5, 300, x, max_bin=2000, min_data_in_bin=1, num_leaves=9, extra_trees=True)
    pairs = zip(fields(booster, "split_feature"), fields(booster, "threshold"), strict=True)
    assert len({edge for place, edge in pairs if place == "0"}) > 300
    check([booster], np.concatenate([x, awkward_rows([booster], rng, 2000)]))


@pytest.mark.parametrize(("leaves", "scored"), [(10, True), (200, True), (300, False)])
def test_large_trees(leaves: int, scored: bool) -> None:
    x = training_rows(np.random.default_rng(3), 4000)
    booster = train(3, 3, x, objective="regression", num_leaves=leaves)
    assert max(int(word) for word in fields(booster, "num_leaves")) == leaves
    trees = check([booster], awkward_rows([booster], np.random.default_rng(3)))
    assert (trees.slow_scores == "") == scored
    assert "more than 8" in trees.slow_contributions if scored else "more than 256" in trees.slow_contributions


def test_a_row_depends_on_itself_only() -> None:
    boosters = [train(seed, 30) for seed in range(3)]
    trees = AdditiveTrees(boosters)
    rows = awkward_rows(boosters, np.random.default_rng(0), 20_000)
    scores, parts = trees.scores(rows), trees.contributions(rows)
    few = slice(8185, 8200)
    np.testing.assert_array_equal(trees.scores(rows[few]), scores[:, few])
    np.testing.assert_array_equal(trees.contributions(rows[few]), parts[few])
    np.testing.assert_array_equal(trees.scores(rows, threads=2), scores)
    np.testing.assert_array_equal(trees.contributions(rows, threads=2), parts)
    columnwise = np.asfortranarray(rows)
    np.testing.assert_array_equal(trees.scores(columnwise, threads=2), scores)
    np.testing.assert_array_equal(trees.contributions(columnwise, threads=2), parts)


def test_any_form_of_rows() -> None:
    booster = train(0)
    trees = AdditiveTrees([booster])
    rows = awkward_rows([booster], np.random.default_rng(0))
    wanted = trees.scores(rows)
    frozen = rows.copy()
    frozen.flags.writeable = False
    for form in (np.asfortranarray(rows), frozen, np.repeat(rows, 2, axis=1)[:, ::2]):
        before = form.copy()
        np.testing.assert_array_equal(trees.scores(form), wanted)
        np.testing.assert_array_equal(trees.contributions(form), trees.contributions(rows))
        np.testing.assert_array_equal(form, before)
    with np.errstate(under="ignore", over="ignore"):
        narrow = rows.astype(np.float32)
    np.testing.assert_allclose(trees.scores(narrow)[0], booster.predict(narrow, raw_score=True), rtol=0, atol=1e-12)
    assert trees.scores(rows[:0]).shape == (1, 0)
    assert trees.contributions(rows[:0]).shape == (0, FEATURES + 1)


@pytest.mark.parametrize("shape", [(3,), (3, FEATURES - 1), (3, FEATURES + 1), (1, 3, FEATURES)])
def test_refuses_rows_of_another_shape(shape: tuple[int, ...]) -> None:
    trees = AdditiveTrees([train(0, 1)])
    for method in (trees.scores, trees.contributions):
        with pytest.raises(ValueError, match=r"`rows` must have shape \(n, 5\)"):
            method(np.zeros(shape))


def test_refuses_boosters_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match="one or more with the same number of features; got \\[\\]"):
        AdditiveTrees([])
    with pytest.raises(ValueError, match=r"got \[3, 5\]"):
        AdditiveTrees([train(0, 1), train(0, 1, training_rows(np.random.default_rng(0))[:, :3])])


def categorical() -> lgb.Booster:
    rng = np.random.default_rng(0)
    x = np.column_stack([rng.integers(0, 6, 300), rng.normal(size=300)]).astype(np.float64)
    data = lgb.Dataset(x, 5 * np.isin(x[:, 0], [1, 4]) + x[:, 1], categorical_feature=[0], params={"verbose": -1})
    return lgb.train({"verbose": -1, "num_leaves": 4, "min_data_per_group": 5, "cat_smooth": 1.0}, data, 3)


def linear() -> lgb.Booster:
    x = np.random.default_rng(0).normal(size=(300, 2))
    return lgb.train({"verbose": -1, "linear_tree": True, "num_leaves": 3}, lgb.Dataset(x, x[:, 0] * x[:, 1]), 3)


def several() -> lgb.Booster:
    x = np.random.default_rng(0).normal(size=(300, 2))
    options = {"verbose": -1, "objective": "multiclass", "num_class": 3, "num_leaves": 3}
    return lgb.train(options, lgb.Dataset(x, np.arange(300) % 3), 3)


@pytest.mark.parametrize(
    ("make", "reason"),
    [(categorical, "categorical splits"), (linear, "linear leaves"), (several, "several outputs")],
)
def test_what_only_lightgbm_can_do_it_does(make: Any, reason: str, caplog: pytest.LogCaptureFixture) -> None:
    booster = make()
    rows = np.column_stack([np.arange(10) % 6, np.linspace(-1, 1, 10)])
    with caplog.at_level(logging.WARNING, "models.additive"):
        trees = AdditiveTrees([booster, booster])
    assert reason in trees.slow_scores
    assert trees.slow_scores == trees.slow_contributions
    assert reason in caplog.text
    np.testing.assert_array_equal(trees.scores(rows), [booster.predict(rows, raw_score=True)] * 2)
    if make is not linear:  # LightGBM has no contributions of linear leaves
        np.testing.assert_array_equal(trees.contributions(rows), booster.predict(rows, pred_contrib=True))


def test_nodes_without_training_rows_are_left_to_lightgbm() -> None:
    booster = train(0, 2)
    # The text must keep its length: LightGBM finds its trees by it.
    emptied = lgb.Booster(
        model_str=re.sub(
            r"(?m)^leaf_count=(\d+)", lambda found: "leaf_count=" + "0" * len(found[1]), booster.model_to_string()
        )
    )
    trees = AdditiveTrees([emptied])
    assert trees.slow_scores == ""
    assert "no training row" in trees.slow_contributions


@pytest.mark.slow
def test_the_heads_of_a_bundle() -> None:
    bundle, dataset = small.walked().bundles[-1], small.dataset()
    rows = forecast_rows(dataset, small.plan(), bundle.cut, None)
    for horizon in HORIZONS:
        for event, score in head_scores(bundle, dataset, rows, small.base(), horizon).items():
            boosters = bundle.heads[event, horizon].boosters
            columns = score.design.columns
            trees = check(list(boosters), columns)
            assert (trees.slow_scores, trees.slow_contributions) == ("", "")
            each = trees.scores(columns)
            np.testing.assert_allclose(each.mean(axis=0), score.raw.trees, rtol=0, atol=1e-12)
            error = each.std(axis=0, ddof=1) / np.sqrt(len(boosters))
            np.testing.assert_allclose(error, score.raw.trees_error, rtol=0, atol=1e-12)


def run_alone(folder: Path, root: Path, code: str) -> Any:
    """Run code where of capshift only the files of a registered model exist, and return the JSON that it prints."""
    (folder / "models").mkdir()
    for name in FILES:
        shutil.copy(root / "models" / f"{name}.py", folder / "models")
    train(0).save_model(folder / "booster.txt")
    # The folder comes first; capshift is installed in place by a finder or a path, and both are taken away.
    start = (
        "import json, sys; sys.meta_path = [f for f in sys.meta_path if 'editable' not in repr(f).lower()]; "
        f"sys.path = [{str(folder)!r}, *(p for p in sys.path if p != {str(root)!r})]\n"
    )
    done = subprocess.run([sys.executable, "-I", "-c", start + code], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1]), done.stderr


ALONE = """
import lightgbm, numpy
from models.additive import AdditiveTrees
booster = lightgbm.Booster(model_file="booster.txt")
trees = AdditiveTrees([booster])
rows = numpy.random.default_rng(0).normal(size=(50, 5))
print(json.dumps({
    "slow": trees.slow_scores,
    "score": float(abs(trees.scores(rows)[0] - booster.predict(rows, raw_score=True)).max()),
    "part": float(abs(trees.contributions(rows) - booster.predict(rows, pred_contrib=True)).max()),
    "others": sorted({"features", "training", "serving"} & set(sys.modules)),
    "shap": "shap" in sys.modules,
}))
"""


def test_without_numba_lightgbm_gives_the_numbers(tmp_path: Path, root: Path) -> None:
    # None in sys.modules is how Python marks a module that cannot be imported.
    found, said = run_alone(tmp_path, root, "sys.modules['numba'] = None\n" + ALONE)
    assert "numba cannot be imported" in found["slow"]
    assert "LightGBM itself computes" in said
    assert (found["score"], found["part"], found["others"]) == (0, 0, [])


@pytest.mark.slow
def test_stands_alone_with_numba(tmp_path: Path, root: Path) -> None:
    found, _ = run_alone(tmp_path, root, ALONE)
    assert found["slow"] == ""
    assert found["score"] < 1e-12
    assert found["part"] < 1e-10
    assert (found["others"], found["shap"]) == ([], False)
