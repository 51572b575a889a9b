"""The exam on SIMULATED factors: only sealed rows count, later data change nothing, and the page says what it must."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from features.contracts import Dataset
from features.dataset import build_dataset
from features.errors import DataContractError
from features.market import load_market
from features.sources.folder import read_folder
from models.schedule import Plan
from models.settings import HeadSettings, TreeSettings
from models.volatility import ScenarioSettings
from tests.features.french import simulated_factors, write_french
from tests.small import remembered_fit  # noqa: F401
from training.experiment import baseline_table
from training.freeze import Declared, freeze
from training.frozen import FrozenEntry
from training.score_tables import score_table
from training.sealed_markdown import Exam, sealed_markdown
from training.sealed_run import SealedRun, sealed_rows, sealed_run, sealed_weeks
from training.sealed_scores import SealedScores, score_sealed
from training.verdicts import verdict_table

LAST = np.datetime64("1995-12-29", "us")
AFTER = date(1995, 3, 31)
RIVALS = ("ridge_logit", "scenario_set")
NOW = np.datetime64("2026-11-28", "us")


def plan() -> Plan:
    trees = TreeSettings(rounds=6, seeds=2)
    settings = HeadSettings(calibration_dates=60, trees=trees, scenarios=ScenarioSettings(paths=800))
    return Plan(settings, np.datetime64("1994-10-28", "us"), 26, 104, load_market("europe").config_hash, "test")


@lru_cache(maxsize=4)
def dataset(folder: Path, last: np.datetime64 = LAST) -> Dataset:
    path = folder / "europe" / "Europe_3_Factors_Daily.csv"
    if not path.exists():
        write_french(simulated_factors("europe", "1995-12-29"), path)
    return build_dataset(read_folder(load_market("europe"), folder, NOW).observations, load_market("europe"), last)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("exam")


@pytest.fixture(scope="module")
def run(folder: Path) -> SealedRun:
    return sealed_run(dataset(folder), plan(), (RIVALS, AFTER), folder / "full", jobs=1)


@pytest.fixture(scope="module")
def entry() -> FrozenEntry:
    declared = Declared(date(2026, 11, 28), rivals=RIVALS)
    return freeze(load_market("europe"), plan(), declared, ()).model_copy(update={"sealed_after": AFTER}).sealed()


@pytest.fixture(scope="module")
def result(run: SealedRun, entry: FrozenEntry) -> SealedScores:
    return score_sealed(run, entry)


def test_only_sealed_decisions_are_left(run: SealedRun) -> None:
    assert list(run.models) == ["heads", *RIVALS]
    for frame in run.models.values():
        assert frame["decision_date"].min() == pd.Timestamp("1995-04-07")
        assert frame["decision_date"].max() == pd.Timestamp(LAST)
        pd.testing.assert_series_equal(frame["y_switch"], run.heads["y_switch"])
    # The bundle of October 1994 made the first of them, those of April and October 1995 the rest.
    assert run.refits == len(run.heads["bundle_cut"].unique()) == 3
    assert run.families == ("crowding", "leverage", "style", "calendar")
    assert len(sealed_rows(run.heads, None)) == len(run.heads)


def test_later_data_do_not_change_a_sealed_forecast(folder: Path, run: SealedRun, tmp_path: Path) -> None:
    probabilities = ["p_switch", "p_large", "p_crash", "p_switch_base", "p_large_base", "p_crash_base"]
    key = ["decision_date", "horizon_weeks"]
    cut = np.datetime64("1995-10-27", "us")
    short = sealed_run(dataset(folder, cut), plan(), (RIVALS, AFTER), tmp_path, jobs=1)
    for name, frame in short.models.items():
        assert frame["decision_date"].max() == pd.Timestamp(cut)
        got, whole = (table.set_index(key)[probabilities] for table in (frame, run.models[name]))
        pd.testing.assert_frame_equal(got, whole.reindex(got.index))
    # Positive control: other sealed data, other forecasts.
    assert not np.allclose(run.heads["p_switch"], run.heads["p_switch_base"])


def test_a_run_is_taken_up_where_it_stopped(folder: Path, run: SealedRun) -> None:
    bundles = sorted((folder / "full" / "bundles").rglob("manifest.json"))
    before = [path.stat().st_mtime_ns for path in bundles]
    again = sealed_run(dataset(folder), plan(), (RIVALS, AFTER), folder / "full", jobs=1)
    for name, frame in run.models.items():
        pd.testing.assert_frame_equal(frame, again.models[name])
    assert [path.stat().st_mtime_ns for path in bundles] == before
    assert len(bundles) == 3


def test_without_a_sealed_row_there_is_no_exam(folder: Path) -> None:
    with pytest.raises(DataContractError, match=r"no sealed row: its newest decision is 1995-12-29"):
        sealed_weeks(dataset(folder), plan(), date(1995, 12, 22))
    weeks = sealed_weeks(dataset(folder), plan(), date(1995, 12, 8))
    # The outcome of the fifteenth matures on the 27th; that of the 22nd after the last day.
    assert weeks.astype("datetime64[D]").astype(str).tolist() == ["1995-12-15"]


def test_the_page_says_which_look_it_is(run: SealedRun, entry: FrozenEntry, result: SealedScores) -> None:
    exam = Exam(entry, 1, "2026-11-28T10:00:00Z", "r" * 16, "d" * 16, "s" * 12, "c" * 40, ("VIXCLS",), ("macro",))
    page = sealed_markdown(exam, run, result)
    assert page.startswith("# Sealed exam of market europe\n")
    for words in ("r" * 16, entry.hash, "decisions after 1995-03-31", "No file for: VIXCLS.", "they abstain: macro."):
        assert words in page
    assert sealed_markdown(replace(exam, number=3), run, result).startswith("# SECOND LOOK (run 3)\n")
    rows = [line for line in page.splitlines() if line.startswith("| crash 4w | pooled |")]
    assert len(rows) == 1
    assert f"| {len(run.heads) // 2 - 5} |" in rows[0]


def test_verdicts_follow_the_frozen_rules(entry: FrozenEntry, result: SealedScores) -> None:
    """A rule that asks nothing is reached, one that asks for everything is missed, on the same forecasts."""
    own = result.scores[(result.scores["model"] == "heads")]
    for wanted, reached in ((-9.0, True), (0.99, False)):
        asked = {"pooled": wanted, "every_pair": wanted}
        rules = {head: rule.model_copy(update=asked) for head, rule in entry.rules.items()}
        table = verdict_table(own, result.comparisons, None, rules)
        assert table[table["claim"].str.contains("or more")]["reached"].tolist() == [reached] * 12


def test_an_abstention_gives_its_reason(run: SealedRun, entry: FrozenEntry) -> None:
    heads = run.heads.copy()
    gone = heads.index[:4]
    heads.loc[gone, "validity"] = "abstain_stale"
    heads.loc[gone, "reasons"] = "no live feature in leverage: inputs are stale; no tail: too few daily closes"
    heads.loc[gone, ["p_switch", "p_large", "p_crash"]] = np.nan
    result = score_sealed(replace(run, models={"heads": heads}), entry)
    row = result.validity[result.validity["validity"] == "abstain_stale"].iloc[0]
    assert (row["reasons"], row["rows"]) == ("no live feature in leverage: inputs are stale", 4)
    assert result.scores["n_abstained"].max() == 2


def test_a_sealed_market_shows_nothing_elsewhere(folder: Path, run: SealedRun) -> None:
    nothing = run.heads.iloc[:0]
    table = score_table(nothing)
    assert table.empty
    assert list(table.columns) == list(score_table(run.heads.iloc[:40]).columns)
    with pytest.raises(DataContractError, match="market 'europe' is sealed"):
        baseline_table(nothing, dataset(folder), plan())
