"""A study: its content, its tables against hand computation, and years that must not be looked at yet."""

from __future__ import annotations

import math
import shutil
import subprocess
from dataclasses import asdict, replace
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from features.contracts import EVENTS, Dataset
from models.bundle import Bundle
from models.explain import explain
from models.schedule import bundle_folder, bundle_root, forecast_rows
from tests import small
from tests.conftest import ROOT
from training.baselines import NAMES
from training.experiment import (
    baseline_table,
    fold_table,
    git_commit,
    last_contributions,
    results_markdown,
    run_study,
)
from training.score_tables import POOLED, score_table, yearly_table
from training.study import Study

UNTIL = date(2010, 3, 26)
"""Ten weeks into the third of four folds."""


def stored(folder: Path, bundles: tuple[Bundle, ...]) -> Path:
    """Keep bundles where a study looks for finished ones, so that it trains nothing; return the artefacts folder."""
    root = bundle_root(folder, "sample", small.plan())
    for bundle in bundles:
        bundle.save(bundle_folder(root, bundle.cut, bundle.snapshot_id))
    return folder


def study(folder: Path, dataset: Dataset | None = None, until: date | None = None) -> Study:
    return run_study(dataset or small.dataset(), small.plan(), folder, scored_until=until, jobs=1)


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return stored(tmp_path_factory.mktemp("artifacts"), small.walked().bundles)


@pytest.fixture(scope="module")
def whole(artifacts: Path) -> Study:
    return study(artifacts)


def test_the_study_is_the_walk_forward_with_its_scores(whole: Study, artifacts: Path) -> None:
    forecasts, last = small.walked().forecasts, small.walked().bundles[-1]
    pd.testing.assert_frame_equal(whole.forecasts, forecasts, check_exact=True)
    pd.testing.assert_frame_equal(whole.shown, forecasts)
    pd.testing.assert_frame_equal(whole.scores, score_table(forecasts))
    pd.testing.assert_frame_equal(whole.yearly, yearly_table(forecasts))
    assert whole.cut == str(last.cut)[:10]
    assert Bundle.load(whole.bundle_dir).cut == last.cut
    assert whole.bundle_dir.is_relative_to(artifacts)
    assert (whole.market, whole.simulated, whole.scored_until) == ("sample", True, None)


def test_the_study_says_where_it_comes_from(whole: Study) -> None:
    plan = small.plan()
    assert whole.config == {"market_hash": plan.market_hash, "scored_until": "None", **asdict(plan.settings)}
    assert whole.config_hash == plan.config_hash
    assert whole.snapshot_id == small.dataset().clock["snapshot_id"].iloc[-1]
    assert whole.git_commit == git_commit()


def test_contributions_are_those_of_the_last_refit_without_pseudo_features(whole: Study) -> None:
    dataset, last = small.dataset(), small.walked().bundles[-1]
    rows = forecast_rows(dataset, small.plan(), last.cut, None)
    explained = explain(last, dataset, rows, small.base(), 4)
    assert set(whole.contributions) == set(EVENTS)
    for event, (names, values, contributions) in whole.contributions.items():
        assert {"momentum_4w", "style_momentum_4w", "valuation_spread"} & set(names)
        assert set(names) <= set(dataset.values.columns)
        np.testing.assert_array_equal(values, dataset.values.loc[rows, list(names)].to_numpy())
        whole_sum = explained[event].contributions.sum(axis=1)
        left = [place for place, name in enumerate(explained[event].names) if name not in names]
        np.testing.assert_allclose(
            contributions.sum(axis=1), whole_sum - explained[event].contributions[:, left].sum(axis=1), atol=1e-12
        )


def test_folds_by_hand(whole: Study) -> None:
    dataset, bundles = small.dataset(), small.walked().bundles
    assert whole.folds["cut"].tolist() == [pd.Timestamp(bundle.cut) for bundle in bundles]
    days = [day for _, day in dataset.rows.index]
    for place, bundle in enumerate(bundles):
        row = whole.folds.iloc[place]
        start = pd.Timestamp(bundle.cut)
        stop = pd.Timestamp(bundles[place + 1].cut) if place + 1 < len(bundles) else pd.Timestamp.max
        assert row["n_train"] == sum(day < start for day in days)
        for event in EVENTS:
            losses: dict[str, list[float]] = {"model": [], "base": []}
            for _, one in whole.forecasts.iterrows():
                y = one[f"y_{event}"]
                if one["horizon_weeks"] == 4 and start <= one["decision_date"] < stop and not math.isnan(y):
                    for name, p in (("model", one[f"p_{event}"]), ("base", one[f"p_{event}_base"])):
                        losses[name].append(-math.log(p if y == 1 else 1 - p))
            for name, values in losses.items():
                assert row[f"log_loss_{event}_{name}"] == pytest.approx(sum(values) / len(values), rel=1e-9)
            assert row[f"pool_{event}"] == bundle.heads[event, 4].pool
            assert row[f"slope_{event}"] == bundle.heads[event, 4].slope


def test_a_fold_compares_head_and_base_on_the_same_rows() -> None:
    forecasts, bundle = small.walked().forecasts, small.walked().bundles[1]
    mine = (forecasts["bundle_cut"] == bundle.cut) & (forecasts["horizon_weeks"] == 4)
    silent = forecasts.copy()
    half = mine & (forecasts.index % 2 == 0)
    silent.loc[half, [f"p_{event}" for event in EVENTS]] = np.nan
    [row] = fold_table(silent, small.dataset(), (bundle,)).to_dict("records")
    kept = forecasts[mine & ~half]
    for event in EVENTS:
        p, y = kept[f"p_{event}_base"], kept[f"y_{event}"]
        assert row[f"log_loss_{event}_base"] == pytest.approx(-np.log(np.where(y == 1, p, 1 - p)).mean(), rel=1e-9)
    silent.loc[mine, [f"p_{event}" for event in EVENTS]] = np.nan
    empty = fold_table(silent, small.dataset(), (bundle,))
    assert empty.filter(like="log_loss").isna().all(axis=None)
    assert empty["n_train"].iloc[0] == row["n_train"] > 0


def planted(folder: Path) -> Study:
    """A study to `UNTIL` in whose later years all is different: outcomes turned, values moved, heads refitted."""
    dataset = small.dataset()
    outcomes, values = dataset.outcomes.copy(), dataset.values.copy()
    late = outcomes.index.get_level_values("decision_date") > pd.Timestamp(UNTIL)
    for event in EVENTS:
        outcomes.loc[late, f"y_{event}"] = 1 - outcomes.loc[late, f"y_{event}"]
    values[values.index.get_level_values("decision_date") > pd.Timestamp(UNTIL)] *= 3.0
    bundles = tuple(
        bundle
        if bundle.cut <= np.datetime64(UNTIL)
        else replace(bundle, heads={key: replace(head, slope=-3.0, pool=0.9) for key, head in bundle.heads.items()})
        for bundle in small.walked().bundles
    )
    changed = replace(dataset, outcomes=outcomes, values=values)
    return study(stored(folder, bundles), changed, UNTIL)


@pytest.mark.deep
def test_nothing_after_the_last_scored_decision_is_shown(artifacts: Path, tmp_path: Path, whole: Study) -> None:
    given, other = study(artifacts, until=UNTIL), planted(tmp_path)
    assert given.scored_until == UNTIL
    assert given.config["scored_until"] == "2010-03-26"
    # The plants are there: forecasts run to the end and differ from the day on, and only from there.
    pd.testing.assert_frame_equal(given.forecasts, whole.forecasts, check_exact=True)
    early = given.forecasts["decision_date"] <= pd.Timestamp(UNTIL)
    pd.testing.assert_frame_equal(given.forecasts[early], other.forecasts[early], check_exact=True)
    assert (given.forecasts.loc[~early, "p_large"] != other.forecasts.loc[~early, "p_large"]).all()
    assert len(given.shown) == early.sum() < len(given.forecasts)
    # No table and no figure sees them.
    for one, two in ((given.scores, other.scores), (given.yearly, other.yearly), (given.folds, other.folds)):
        pd.testing.assert_frame_equal(one, two, check_exact=True)
    for event in EVENTS:
        for mine, theirs in zip(given.contributions[event], other.contributions[event], strict=True):
            np.testing.assert_array_equal(mine, theirs)
    few = {"names": ("climatology", "momentum", "scenario_set")}
    tables = [baseline_table(each.shown, small.dataset(), small.plan(), each.implied, **few) for each in (given, other)]
    pd.testing.assert_frame_equal(*tables, check_exact=True)
    assert len(given.folds) == 3
    # The control: without the limit the same plants change every table.
    for table, one, two in (
        ("scores", score_table(whole.forecasts), score_table(other.forecasts)),
        ("yearly", yearly_table(whole.forecasts), yearly_table(other.forecasts)),
        ("folds", whole.folds, fold_table(other.forecasts, small.dataset(), small.walked().bundles)),
    ):
        assert not one.equals(two), table
    # The bundle that serves is the last one all the same.
    assert given.cut == whole.cut
    assert given.bundle_dir == whole.bundle_dir


def test_contributions_end_with_the_last_scored_decision() -> None:
    dataset, bundle = small.dataset(), small.walked().bundles[2]
    stop = np.datetime64(UNTIL) + np.timedelta64(1, "D")
    rows = forecast_rows(dataset, small.plan(), bundle.cut, stop)
    assert rows.get_level_values("decision_date").max() == pd.Timestamp(UNTIL)
    for _, values, contributions in last_contributions(dataset, bundle, rows, small.base()).values():
        assert len(values) == len(contributions) == len(rows)


@pytest.mark.deep
def test_before_the_first_decision_there_is_nothing_to_show(artifacts: Path, whole: Study) -> None:
    # Two years are forecast where nothing is shown; the first of them will do.
    closed = study(artifacts, small.dataset(small.MIDDLE), until=date(2008, 12, 26))
    assert closed.shown.empty
    assert closed.scores.empty
    assert closed.folds.empty
    assert closed.contributions == {}
    assert len(closed.forecasts) == (whole.forecasts["decision_date"] <= pd.Timestamp(small.MIDDLE)).sum() > 300


@pytest.mark.deep
def test_heads_and_baselines_are_scored_on_the_same_rows() -> None:
    walked = small.walked()
    forecasts = walked.forecasts.copy()
    # Where the heads abstain the baselines are left out, too.
    quiet = (forecasts["pair"] == "s300-micro") & (forecasts["decision_date"] < pd.Timestamp("2009-06-01"))
    forecasts.loc[quiet, [f"p_{event}" for event in EVENTS]] = np.nan
    names = [name for name in NAMES if name not in ("markov_switching", "lightgbm_default")]
    table = baseline_table(forecasts, small.dataset(), small.plan(), walked.base, names=names)
    assert list(dict.fromkeys(table["model"])) == ["heads", *names]
    key = ["event", "horizon_weeks", "pair"]
    counts = table.groupby(key)[["n", "n_dates", "n_abstained", "base_rate"]].nunique()
    assert (counts == 1).all(axis=None)
    assert (table.loc[table["pair"] == "s300-micro", "n_abstained"] > 0).all()
    heads = table[table["model"] == "heads"].drop(columns="model").reset_index(drop=True)
    pd.testing.assert_frame_equal(heads, score_table(forecasts))
    still = table[table["model"] == "climatology"]
    assert (still[["skill_log_loss", "skill_brier", "sharpness"]].abs() < 1e-12).all(axis=None)
    # One line of the published table for each event and horizon, then one for each baseline.
    text = results_markdown(table, simulated=True, scored_until=None)
    first, second = (text.split("\n\n")[place].splitlines()[2:] for place in (1, 3))
    assert [tuple(line.strip("| ").split(" | ")[:2]) for line in first] == [
        (event, str(weeks)) for weeks in (1, 4) for event in EVENTS
    ]
    assert [line.strip("| ").split(" | ")[0] for line in second] == names
    assert max(map(len, text.splitlines())) <= 150


def scored(model: str, event: str, weeks: int, pair: str, skill: float) -> dict[str, object]:
    return {
        "model": model, "event": event, "horizon_weeks": weeks, "pair": pair, "n": 1322, "base_rate": 0.134,
        "sharpness": 0.346, "slope_vs_base": 0.84, "noise_floor": 0.0141, "skill_log_loss": skill,
        "skill_low": skill - 0.031, "skill_high": skill + 0.031,
    }  # fmt: skip


def test_results_as_markdown() -> None:
    table = pd.DataFrame(
        [
            scored(model, event, weeks, pair, skill if event == "switch" else -skill)
            for model, skill in (("heads", 0.0123), ("climatology", 0.0), ("ridge", -0.005), ("momentum", 0.005))
            for weeks, event in ((1, "switch"), (4, "crash"))
            for pair in (POOLED, "a-b")
        ]
    )
    text = results_markdown(table, simulated=True, scored_until=date(2018, 12, 28))
    title, empty, head, rule, *lines = text.splitlines()
    lines, every = lines[:2], lines[3:]
    assert title.startswith("SIMULATED. Log-loss skill against climatology in percent")
    assert "decisions to 2018-12-28" in title
    assert empty == ""
    columns = "event weeks rows base_rate sharpness slope noise heads best_baseline"
    assert [cell.replace(" ", "_") for cell in head.strip("| ").split(" | ")] == columns.split()
    assert rule.count("---") == len(columns.split())
    # Pooled rows only, in the order of the table, each beside the baseline that is hardest to beat there.
    numbers = "1322 | 13.4% | 0.35 | 0.8 | 1.4"
    assert lines == [
        f"| switch | 1 | {numbers} | +1.2 [-1.9, +4.3] | momentum +0.5 [-2.6, +3.6] |",
        f"| crash | 4 | {numbers} | -1.2 [-4.3, +1.9] | ridge +0.5 [-2.6, +3.6] |",
    ]
    assert every == [
        "Every baseline", "", "| baseline | switch 1w | crash 4w |", "| --- | --- | --- |",
        "| climatology | 0 | 0 |", "| ridge | -0.5 | +0.5 |", "| momentum | +0.5 | -0.5 |",
    ]  # fmt: skip
    alone = results_markdown(table[table["model"] != "momentum"], simulated=False, scored_until=None)
    assert "| climatology 0 |" in alone
    plain = results_markdown(table, simulated=False, scored_until=None)
    assert "SIMULATED" not in plain
    assert "decisions to" not in plain
    assert plain.splitlines()[2:] == text.splitlines()[2:]


def test_the_commit_is_that_of_the_checkout() -> None:
    if not (ROOT / ".git").exists() or shutil.which("git") is None:
        assert git_commit() == "unknown"
        return
    done = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert git_commit() == done.stdout.strip()


@pytest.mark.parametrize("missing", ["checkout", "git"])
def test_without_a_checkout_or_git_the_commit_is_unknown(
    missing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_DIR" if missing == "checkout" else "PATH", str(tmp_path / "nowhere"))
    assert git_commit() == "unknown"


def test_the_scenario_set_alone_is_a_baseline() -> None:
    walked = small.walked()
    implied = walked.base[[f"{event}_implied" for event in EVENTS]]
    names = ("scenario_set", "climatology")
    given = walked.forecasts, small.dataset(), small.plan()
    table = baseline_table(*given, implied, names=names)
    assert "scenario_set" not in set(baseline_table(*given, names=names)["model"])
    mine, heads = (table[table["model"] == name].reset_index(drop=True) for name in ("scenario_set", "heads"))
    pd.testing.assert_series_equal(mine["n"], heads["n"])
    # What it says is what the paths say, and where there are none the base rate.
    row = mine[(mine["pair"] == "s300-s1000") & (mine["event"] == "switch") & (mine["horizon_weeks"] == 4)].iloc[0]
    chosen = walked.forecasts[(walked.forecasts["pair"] == "s300-s1000") & (walked.forecasts["horizon_weeks"] == 4)]
    chosen = chosen[chosen["y_switch"].notna() & chosen["p_switch"].notna()]
    index = pd.MultiIndex.from_frame(chosen[["pair", "decision_date", "horizon_weeks"]])
    p = implied["switch_implied"].reindex(index).to_numpy(np.float64)
    p = np.where(np.isnan(p), chosen["p_switch_base"], p)
    assert row["mean_p"] == pytest.approx(p.mean(), abs=1e-12)
