"""`capshift ledger` and the step that publishes, as a user meets them; no model is trained here."""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import typer
from typer.testing import CliRunner

from features.errors import DataContractError, LedgerError, LockedError
from features.ingest import ingest
from features.market import MarketSpec, load_market
from features.sources.simulated import simulate
from features.store import Store
from serving import cli
from serving.forecast import dataset_for, latest_decision
from serving.ledger import Ledger
from serving.ledger_entry import ENTRY_COLUMNS, ledger_entries
from serving.ledger_read import recorded_forecasts
from serving.ledger_step import record_forecast
from tests.serving.ledger_market import published_rows, short_market
from tests.serving.ledger_toy import tampering

Run = tuple[int, str, str]
NOW = np.datetime64("2024-01-02T09:00", "us")
LIVE_WEEKS = 6


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Call the command line in this process; returns exit code, standard output and standard error."""

    def call(*arguments: str) -> Run:
        monkeypatch.setattr(sys, "argv", ["capshift", *arguments])
        code = 0
        try:
            cli.main()
        except SystemExit as stop:
            code = int(stop.code or 0)
        out, err = capsys.readouterr()
        return code, out, err

    return call


@dataclass(frozen=True)
class Home:
    """A market, its calls, and artefacts with store and ledger."""

    definition: Path
    spec: MarketSpec
    rows: pd.DataFrame
    artifacts: Path

    @property
    def options(self) -> tuple[str, ...]:
        """The options that every command needs."""
        return ("--market", str(self.definition), "--artifacts", str(self.artifacts))

    @property
    def ledger(self) -> Ledger:
        """The ledger at its default place."""
        return Ledger(None, self.artifacts)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """Four years of backfilled calls and six weeks of live ones, nothing resolved."""
    folder = tmp_path_factory.mktemp("ledger")
    definition = short_market(folder, "2017-01-03", "2019-06-07")
    spec, artifacts = load_market(str(definition)), folder / "artifacts"
    store = Store(artifacts / "store.duckdb")
    ingest(store, spec, simulate(spec, 0).observations, NOW)
    observations = store.observations(spec.name)
    rows = published_rows(spec, dataset_for(spec, observations, latest_decision(spec, observations)))
    entries, ledger = ledger_entries(spec, rows), Ledger(None, artifacts)
    days = entries["decision_date"]
    live = np.sort(days.unique())[-LIVE_WEEKS:]
    first = live[0] - np.timedelta64(1, "D")
    ledger.append(entries[days < live[0]].reset_index(drop=True), first)
    for day in live:
        ledger.append(entries[days == day].reset_index(drop=True), day + np.timedelta64(14, "h"))
    return Home(definition, spec, rows, artifacts)


@pytest.fixture
def home(built: Home, tmp_path: Path) -> Home:
    """A copy to write to."""
    artifacts = tmp_path / "artifacts"
    shutil.copytree(built.artifacts, artifacts)
    return Home(built.definition, built.spec, built.rows, artifacts)


def refused(result: Run, code: int, *words: str) -> None:
    """Require one sentence, the exit code and no traceback."""
    got, out, err = result
    assert got == code, (out, err)
    assert "Traceback" not in err + out
    assert err.splitlines()[-1].startswith("error:")
    for word in words:
        assert word in err


def test_entries_follow_the_markets_clock(built: Home) -> None:
    entries = ledger_entries(built.spec, built.rows)
    assert tuple(entries.columns) == ENTRY_COLUMNS
    assert entries["simulated"].all()
    # Shanghai stands eight hours before UTC: 15:30 there is 07:30.
    clock = pd.Timedelta(hours=7, minutes=30)
    assert (entries["decision_at"] == entries["decision_date"] + clock).all()
    assert (entries["live_until"] == entries["entry_date"] + clock).all()
    assert (entries["live_until"] > entries["decision_at"]).all()
    with pytest.raises(DataContractError, match="another market"):
        ledger_entries(built.spec, built.rows.assign(market="other"))
    with pytest.raises(DataContractError, match="break their contract"):
        ledger_entries(built.spec, built.rows.assign(p_switch=2.0))


@pytest.fixture(scope="module")
def resolved(built: Home, tmp_path_factory: pytest.TempPathFactory) -> Home:
    """The same after `capshift ledger resolve`."""
    artifacts = tmp_path_factory.mktemp("resolved") / "artifacts"
    shutil.copytree(built.artifacts, artifacts)
    home = Home(built.definition, built.spec, built.rows, artifacts)
    before = len(recorded_forecasts(home.ledger))
    done = CliRunner().invoke(cli.app, ["ledger", "resolve", *home.options])
    assert done.exit_code == 0, done.output
    recorded = recorded_forecasts(home.ledger)
    matured, left = recorded["matured_at"].notna().sum(), recorded["matured_at"].isna().sum()
    assert len(recorded) == before
    assert f"{matured} outcome(s) recorded, {left} forecast(s) open" in done.output
    return home


class TestResolve:
    def test_records_what_the_dataset_says_of_all_that_matured(self, resolved: Home, run) -> None:
        recorded = recorded_forecasts(resolved.ledger)
        matured = recorded["matured_at"].notna()
        observations = Store(resolved.artifacts / "store.duckdb").observations(resolved.spec.name)
        dataset = dataset_for(resolved.spec, observations, latest_decision(resolved.spec, observations))
        keys = pd.MultiIndex.from_frame(recorded[["pair", "decision_date", "horizon_weeks"]])
        for name in ("spread_realised", "y_switch", "y_large", "y_crash"):
            np.testing.assert_array_equal(recorded[name], dataset.outcomes.reindex(keys)[name])
        assert 0 < (~matured).sum() < 40
        code, out, err = run("ledger", "verify", "--artifacts", str(resolved.artifacts))
        assert code == 0, err
        assert f"verified: {len(recorded)} forecasts" in out
        assert f"{matured.sum()} outcomes" in out

    def test_again_adds_nothing(self, resolved: Home, run) -> None:
        head = resolved.ledger.head_path.read_bytes()
        code, out, err = run("ledger", "resolve", *resolved.options)
        assert code == 0, err
        assert "ledger: 0 outcome(s) recorded" in out
        assert resolved.ledger.head_path.read_bytes() == head


class TestShow:
    def test_tables_say_what_is_simulated_live_backfilled_and_too_little(self, resolved: Home, run) -> None:
        code, out, err = run("ledger", "show", *resolved.options)
        assert code == 0, err
        words = " ".join(out.split())
        assert "SIMULATED Ledger, market sample: recent calls" in words
        assert "SIMULATED Record of backfilled calls" in words
        assert "SIMULATED Live calls: nothing can be said yet of the skill of 1-week calls" in words
        assert "1864 call(s): 48 live, 1816 backfilled" in words

    def test_skill_with_intervals_as_json(self, resolved: Home, run) -> None:
        code, out, err = run("ledger", "show", *resolved.options, "--last", "2", "--json")
        assert code == 0, err
        told = json.loads(out)
        assert told["simulated"] is True
        assert len(told["calls"]) == 2 * 2 * len(resolved.spec.pairs)
        assert {row["backfilled"] for row in told["calls"]} == {False}
        assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", row["recorded_at"]) for row in told["calls"])
        record = {(row["kind"], row["horizon_weeks"], row["event"]): row for row in told["record"]}
        crash = record["backfilled", 1, "crash"]
        for rival in ("climatology", "persistence", "momentum"):
            assert crash[f"{rival}_low"] < crash[f"{rival}_skill"] < crash[f"{rival}_high"]
        # "Large wins" is called at the base rate itself.
        assert record["backfilled", 4, "large"]["climatology_skill"] == 0
        live = record["live", 1, "crash"]
        assert live["n_weeks"] <= LIVE_WEEKS
        assert live["climatology_skill"] is None

    def test_without_the_store(self, resolved: Home, run, tmp_path: Path) -> None:
        for path in resolved.artifacts.glob("ledger.db*"):
            shutil.copy(path, tmp_path)
        options = ("--market", str(resolved.definition), "--artifacts", str(tmp_path))
        refused(run("ledger", "resolve", *options), 2, "capshift ingest")
        code, out, err = run("ledger", "show", *options)
        assert code == 0, err
        assert "persistence and momentum are left out" in err
        assert "not known" in out

    def test_few_calls_say_that_nothing_can_be_said(self, built: Home, run) -> None:
        code, out, err = run("ledger", "show", *built.options)
        assert code == 0
        assert err == ""
        assert out.count("nothing can be said yet") == 2
        assert "0 resolved" in " ".join(out.split())


class TestBadLedgers:
    @pytest.mark.parametrize("command", ["show", "verify", "resolve"])
    def test_missing(self, built: Home, run, tmp_path: Path, command: str) -> None:
        market = () if command == "verify" else ("--market", str(built.definition))
        refused(run("ledger", command, *market, "--artifacts", str(tmp_path)), 2, "no ledger here", "capshift forecast")
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize("command", ["show", "verify", "resolve"])
    def test_corrupt(self, built: Home, run, tmp_path: Path, command: str) -> None:
        path = tmp_path / "ledger.db"
        path.write_bytes(b"not a database" * 400)
        market = () if command == "verify" else ("--market", str(built.definition))
        refused(run("ledger", command, *market, "--artifacts", str(tmp_path)), 4, str(path), "restore a backup")

    @pytest.mark.parametrize("command", ["show", "verify", "resolve"])
    def test_touched(self, home: Home, run, command: str) -> None:
        with tampering(home.ledger) as hand:
            hand.edit("forecast", 77, p_crash=0.0)
        options = home.options[2:] if command == "verify" else home.options
        refused(run("ledger", command, *options), 4, "forecast: record 77 was edited")

    def test_without_its_head(self, home: Home, run) -> None:
        home.ledger.head_path.unlink()
        code, out, err = run("ledger", "verify", "--artifacts", str(home.artifacts))
        assert code == 0
        assert "verified:" in out
        assert "warning:" in err
        assert "cut off the end cannot be found" in err

    def test_against_a_copy_of_the_head(self, home: Home, run, tmp_path: Path) -> None:
        copy = tmp_path / "head.json"
        shutil.copy(home.ledger.head_path, copy)
        with tampering(home.ledger) as hand:
            [(last,)] = hand.run("SELECT max(sequence) FROM capshift_forecast")
            hand.remove("forecast", last, last)
        home.ledger.head_path.unlink()
        options = ("--artifacts", str(home.artifacts), "--head", str(copy))
        refused(run("ledger", "verify", *options), 4, "end of the chains", f"forecast records {last} to {last}")
        refused(run("ledger", "verify", *options[:3], str(tmp_path / "nowhere")), 2, "no head file")

    @pytest.mark.parametrize(
        "place",
        ["mysql://me:s3cret@host/db", "postgresql://me:s3cret@host", "sqlite://", "http://[s3cret", "a://b://c"],
    )
    def test_no_place_for_a_ledger(self, run, tmp_path: Path, place: str) -> None:
        result = run("ledger", "verify", "--artifacts", str(tmp_path), "--ledger", place)
        refused(result, 2, "`ledger` must be a file")
        assert "s3cret" not in result[2]

    def test_a_server_that_does_not_answer(self, run, tmp_path: Path) -> None:
        place = f"postgresql://me:s3cret@/db?host={tmp_path}"
        result = run("ledger", "verify", "--artifacts", str(tmp_path), "--ledger", place)
        refused(result, 2, "cannot be used")
        assert "s3cret" not in result[2]

    def test_place_by_environment_and_file(
        self, home: Home, run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        empty = tmp_path / "empty"
        empty.mkdir()
        monkeypatch.chdir(empty)
        (empty / "capshift.toml").write_text(f'ledger = "{home.artifacts / "ledger.db"}"\n', encoding="utf-8")
        assert run("ledger", "verify")[0] == 0
        monkeypatch.setenv("CAPSHIFT_LEDGER", f"sqlite:///{tmp_path}/nowhere.db")
        refused(run("ledger", "verify"), 2, "nowhere.db")

    def test_help_says_what_is_read_and_written(self, run) -> None:
        for command in ("show", "verify", "resolve"):
            code, out, _ = run("ledger", command, "--help")
            assert code == 0
            assert "Reads" in out
            assert "writes" in out


class TestPublishing:
    """`record_forecast`, with which `publish` ends."""

    def last_rows(self, home: Home) -> pd.DataFrame:
        return home.rows[home.rows["decision_date"] == home.rows["decision_date"].max()].reset_index(drop=True)

    def record(self, home: Home, rows: pd.DataFrame, place: str | None = None) -> None:
        record_forecast(home.spec, rows, place, home.artifacts, home.artifacts / "day.parquet")

    def test_says_what_was_new_and_prints_the_head(self, home: Home, capsys: pytest.CaptureFixture[str]) -> None:
        rows = self.last_rows(home)
        self.record(home, rows)
        assert "ledger: 0 recorded, 8 there already; head: 1864 forecasts" in capsys.readouterr().out
        # The machine's clock is years later.
        self.record(home, rows.assign(snapshot_id="new"))
        assert "8 recorded (8 backfilled), 0 there already" in capsys.readouterr().out
        self.record(home, rows.assign(code_version="2"))
        assert "8 recorded (8 backfilled, 8 revising an earlier call)" in capsys.readouterr().out

    def test_a_ledger_that_fails_is_never_silent(self, home: Home, tmp_path: Path) -> None:
        rows = self.last_rows(home)
        blocked = tmp_path / "file"
        blocked.write_text("here", encoding="utf-8")
        words = "day.parquet: the forecast is written, but recording it in the ledger failed"
        with pytest.raises(DataContractError, match=words):
            self.record(home, rows, str(blocked / "ledger.db"))
        damaged = tmp_path / "damaged.db"
        damaged.write_bytes(b"not a database" * 400)
        with pytest.raises(LedgerError, match=words):
            self.record(home, rows, str(damaged))

    def test_a_ledger_that_is_held(self, home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("serving.ledger_database.WAIT_SECONDS", 0.1)
        other = sqlite3.connect(home.artifacts / "ledger.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        try:
            with pytest.raises(LockedError, match="another process holds the ledger"):
                self.record(home, self.last_rows(home))
        finally:
            other.close()

    def test_options_reach_the_step(self) -> None:
        group = typer.main.get_command(cli.app)
        for command in ("forecast", "weekly"):
            assert "ledger" in {option.name for option in group.commands[command].params}
