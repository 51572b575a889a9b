"""Two decision days compared: the parts add up, revisions are told from news, and what is left out says why."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest

from features.errors import DataContractError
from features.ingest import ingest
from features.store import Store
from models.change import EventChange
from serving.compare import Comparison, compare_days
from serving.compare_command import compare as compare_command
from serving.forecast import make_forecast
from serving.output import forecast_path, forecast_text, store_path, write_text
from tests import small
from tests.serving.small_market import opened

FIRST, SECOND = "2010-07-16", "2010-07-30"


def day(text: str) -> np.datetime64:
    return np.datetime64(text, "us")


@pytest.fixture(autouse=True)
def small_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serving.opened_market.training_plan", lambda spec: small.plan())


@pytest.fixture(scope="module")
def revised(small_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Artefacts in whose store the PMI was revised between the two days."""
    artifacts = tmp_path_factory.mktemp("revised") / "artifacts"
    shutil.copytree(small_folder, artifacts)
    rows = small.observations()
    at = small.dataset().clock["decision_at"].loc[FIRST]
    old = rows[(rows["series"] == "pmi") & (rows["known_at"] < at)].tail(12)
    changed = old.assign(value=old["value"] + 3.0, known_at=at + pd.Timedelta(days=9), revision=True)
    ingest(Store(store_path(artifacts)), small.market(), changed, np.datetime64("2011-06-02", "us"))
    # The cut of the later bundle lies before the revision: what it learned from did not change.
    return artifacts


@pytest.fixture(scope="module")
def found(revised: Path) -> Comparison:
    return compare_days(opened(revised, SECOND), day(FIRST))


def step(change: EventChange, name: str) -> float:
    return next(one.points for one in change.steps if one.step == name)


def test_the_ends_are_what_the_two_weeks_say(found: Comparison, revised: Path) -> None:
    for end, name in ((0, FIRST), (1, SECOND)):
        rows = opened(revised, name).call(day(name)).rows.set_index(["pair", "horizon_weeks"])
        for change in found.changes:
            told = rows.loc[(change.pair, change.horizon_weeks), f"p_{change.event}"]
            assert (change.before, change.after)[end] == pytest.approx(told, abs=1e-12)


def test_parts_add_up_by_step_and_by_family(found: Comparison) -> None:
    assert len(found.changes) == 4 * 2 * 3
    for change in found.changes:
        move = change.after - change.before
        assert math.fsum(one.points for one in change.steps) == pytest.approx(move, abs=1e-12)
        assert math.fsum(change.families().values()) == pytest.approx(move, abs=1e-9)
        for one in change.steps:
            assert math.fsum(one.families.values()) == pytest.approx(one.log_odds, abs=1e-12)


def test_a_revision_is_told_from_news(found: Comparison, small_folder: Path) -> None:
    clean = compare_days(opened(small_folder, SECOND), day(FIRST))
    assert "pmi" in found.revised_series
    assert found.revised >= 12 + clean.revised - 1
    moved = [abs(step(change, "revised")) for change in found.changes]
    assert max(moved) > 1e-4
    for with_it, without in zip(found.changes, clean.changes, strict=True):
        assert (with_it.pair, with_it.event) == (without.pair, without.event)
        # What became known of new periods is the same with and without the revision.
        if "pmi" not in clean.revised_series:
            assert step(with_it, "moved") == pytest.approx(step(without, "moved"), abs=1e-9)
        macro = [one.family_points["macro"] for one in with_it.steps if one.step == "revised"]
        assert macro[0] == pytest.approx(step(with_it, "revised"), abs=0.02)


def test_a_refit_between_shows_as_retrained_and_recalibrated(found: Comparison) -> None:
    assert found.cuts[0] < found.cuts[1] == "2010-07-23"
    assert any(abs(step(change, "retrained")) > 1e-4 for change in found.changes)
    assert any(abs(step(change, "recalibrated")) > 1e-9 for change in found.changes)


def test_without_a_refit_the_model_adds_nothing(small_folder: Path) -> None:
    same = compare_days(opened(small_folder, "2010-11-26"), day("2010-08-20"))
    assert same.cuts == ("2010-07-23", "2010-07-23")
    assert all(step(c, "retrained") == step(c, "recalibrated") == 0.0 for c in same.changes)
    assert any(step(c, "moved") != 0.0 for c in same.changes)


@pytest.mark.slow
def test_a_stored_forecast_that_says_something_else_is_a_warning(small_folder: Path, tmp_path: Path) -> None:
    artifacts = tmp_path / "artifacts"
    shutil.copytree(small_folder, artifacts)
    market = opened(artifacts, SECOND)
    path = forecast_path(artifacts, "sample", SECOND, "json")
    write_text(path, forecast_text(market.call(day(SECOND)).forecast))
    assert compare_days(market, day(FIRST)).warnings == ()
    text = path.read_text(encoding="utf-8")
    document = json.loads(text)
    document["pairs"][0]["heads"]["switch"]["probability"] += 0.01
    path.write_text(json.dumps(document), encoding="utf-8")
    [warning] = compare_days(market, day(FIRST)).warnings
    assert warning == f"the stored forecast of {SECOND} is not what the store says now; see `capshift replay`"


@pytest.mark.slow
def test_a_pair_without_a_close_is_left_out_with_its_reason(small_folder: Path, tmp_path: Path) -> None:
    artifacts = tmp_path / "artifacts"
    shutil.copytree(small_folder, artifacts)
    rows = small.observations()
    price = small.market().segments["micro"].price
    store_path(artifacts).unlink()
    gone = (rows["series"] == price) & (rows["period"] == pd.Timestamp("2010-10-15"))
    ingest(Store(store_path(artifacts)), small.market(), rows[~gone], np.datetime64("2011-06-01", "us"))
    told = compare_days(opened(artifacts, "2010-10-15"), day("2010-09-30"))
    assert told.left_out == {"s300-micro": "s300-micro is not forecast on 2010-10-15"}
    assert {change.pair for change in told.changes} == {"s300-s500", "s300-s1000", "s300-s2000"}


def test_days_must_be_in_order(small_folder: Path) -> None:
    market = opened(small_folder, SECOND)
    with pytest.raises(DataContractError, match="must be earlier than the second; got 2010-07-30 and 2010-07-30"):
        compare_days(market, day(SECOND))


class TestCommand:
    def test_tables_show_steps_and_families(self, revised: Path, capsys: pytest.CaptureFixture[str]) -> None:
        compare_command(FIRST, SECOND, "sample", revised, "s300-s500", False)
        out = capsys.readouterr().out
        assert out.startswith("SIMULATED sample: 2010-07-16 to 2010-07-30;")
        assert "revised value(s) in" in out
        assert out.index("s300-s500, style") < out.index("s300-s1000, style")
        assert "s300-s500 switch 4w by family" in out
        assert "recalibrated" in out

    def test_json_holds_every_part(self, revised: Path, capsys: pytest.CaptureFixture[str]) -> None:
        compare_command(FIRST, SECOND, "sample", revised, None, True)
        told = json.loads(capsys.readouterr().out)
        assert len(told["changes"]) == 24
        first = told["changes"][0]
        whole = sum(one["points"] for one in first["steps"])
        assert whole == pytest.approx(first["after"] - first["before"], abs=1e-12)
        assert "macro" in first["steps"][0]["families"]

    def test_runs_are_handed_on(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
        module = ModuleType("serving.run_compare")
        module.compare_runs = lambda a, b, artifacts: f"{a} against {b} in {artifacts.name}"  # type: ignore[attr-defined]
        monkeypatch.setitem(__import__("sys").modules, "serving.run_compare", module)
        compare_command("run:abc", "run:def", "sample", tmp_path, None, False)
        assert capsys.readouterr().out == f"abc against def in {tmp_path.name}\n"

    @pytest.mark.parametrize(
        ("first", "second", "words"),
        [
            ("run:a", SECOND, "not one of each; got 'run:a' and '2010-07-30'"),
            ("2010-07-14", SECOND, "2010-07-09"),
            ("soon", SECOND, "`first` must be a date YYYY-MM-DD"),
        ],
    )
    def test_bad_input_is_one_sentence(self, small_folder: Path, first: str, second: str, words: str) -> None:
        with pytest.raises(DataContractError) as error:
            compare_command(first, second, "sample", small_folder, None, False)
        assert words in str(error.value)

    def test_an_unknown_pair(self, small_folder: Path) -> None:
        with pytest.raises(DataContractError, match="`pair` must be one of"):
            compare_command(FIRST, SECOND, "sample", small_folder, "moon-sun", False)


def test_the_forecast_does_not_depend_on_the_number_of_threads() -> None:
    from threadpoolctl import threadpool_limits

    def text(threads: int) -> str:
        with threadpool_limits(threads):
            call = make_forecast(
                small.market(), small.observations(), small.dataset(), small.walked().bundles[-1], small.plan()
            )
        return forecast_text(call.forecast)

    assert text(1) == text(2)
