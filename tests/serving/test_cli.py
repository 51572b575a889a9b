"""The command line as a user meets it: the weekly line, one step at a time, and every bad input in one sentence."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from features.contracts import FORECAST_COLUMNS
from features.ingest import ingest
from features.market import builtin_markets, load_market
from features.sources.simulated import simulate
from features.store import Store
from models.scenarios import ScenarioSet
from serving import cli
from serving.ledger import Ledger
from serving.ledger_read import recorded_forecasts
from serving.ledger_record import FORECAST_FIELDS

Run = tuple[int, str, str]


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


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample market with a short history and schedule: two refits, a year of scenario sets before."""
    import features.markets

    text = (Path(features.markets.__path__[0]) / "sample.toml").read_text(encoding="utf-8")
    for name, day in (("history_start", "2019-01-02"), ("first_decision", "2023-06-02")):
        line = next(row for row in text.splitlines() if row.startswith(name))
        text = text.replace(line, f"{name} = {day}")
    path = tmp_path_factory.mktemp("market") / "short.toml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def trained(market: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Artefacts of one weekly run, on one processor: a second one would load every library again."""
    artifacts = tmp_path_factory.mktemp("artifacts")
    options = ["--market", str(market), "--artifacts", str(artifacts), "--jobs", "1"]
    done = CliRunner().invoke(cli.app, ["weekly", *options])
    assert done.exit_code == 0, done.output
    return artifacts


class TestLine:
    def test_weekly_writes_forecast_note_bundle_and_run(self, trained: Path) -> None:
        forecasts = sorted((trained / "sample" / "forecasts").iterdir())
        assert [path.suffix for path in forecasts] == [".json", ".parquet"]
        rows = pd.read_parquet(forecasts[1])
        assert tuple(rows.columns) == FORECAST_COLUMNS
        assert set(rows["pair"]) == set(load_market("sample").pairs)
        note = next((trained / "sample" / "notes").glob("*.en.html")).read_text(encoding="utf-8")
        assert "SIMULATED" in note
        assert (trained / "mlflow.db").exists()
        assert len(list((trained / "bundles").glob("*/*/*/manifest.json"))) == 2
        scenarios = ScenarioSet.load(trained / "sample" / "scenarios" / f"{forecasts[0].stem}.npz")
        assert scenarios.segments == tuple(load_market("sample").segments)
        assert 1 < scenarios.effective_size < len(scenarios.weights)

    @pytest.mark.deep
    def test_in_its_own_process_and_on_two_processors_it_writes_the_same(
        self, trained: Path, market: Path, tmp_path: Path
    ) -> None:
        command = [sys.executable, "-m", "serving.cli", "weekly", "--market", str(market), "--artifacts", str(tmp_path)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        folders = [root / "sample" / "forecasts" for root in (trained, tmp_path)]
        folders += [root / "bundles" for root in (trained, tmp_path)]
        one, two, *both = (
            {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
            for folder in folders
        )
        assert len(two) == 2
        assert {name: one[name] for name in two} == two
        assert both[0] == both[1]

    def test_a_second_run_trains_nothing_and_writes_the_same_bytes(self, trained: Path, market: Path, run) -> None:
        forecast = next((trained / "sample" / "forecasts").glob("*.json"))
        before, models = forecast.read_bytes(), {p: p.stat().st_mtime_ns for p in trained.rglob("model-*.json")}
        scenarios = next((trained / "sample" / "scenarios").glob("*.npz"))
        drawn = scenarios.read_bytes()
        code, out, err = run("weekly", "--market", str(market), "--artifacts", str(trained))
        assert code == 0, err
        assert "0 new observation(s)" in out
        assert forecast.read_bytes() == before
        assert scenarios.read_bytes() == drawn
        assert {p: p.stat().st_mtime_ns for p in trained.rglob("model-*.json")} == models

    def test_every_published_row_is_in_the_ledger_once(self, trained: Path, market: Path, run) -> None:
        path = max((trained / "sample" / "forecasts").glob("*.parquet"))
        options = ("--market", str(market), "--artifacts", str(trained), "--as-of", path.stem)
        code, out, err = run("forecast", *options)
        assert code == 0, err
        assert "ledger: 0 recorded, 8 there already" in out
        recorded = recorded_forecasts(Ledger(None, trained), "sample")
        today = recorded[recorded["decision_date"] == pd.Timestamp(path.stem)].reset_index(drop=True)
        names = list(FORECAST_FIELDS)
        pd.testing.assert_frame_equal(today[names], pd.read_parquet(path)[names], check_exact=True, check_dtype=False)
        # The sample ends in 2023: whoever forecasts it today is late, and the ledger says so.
        assert today["backfilled"].all()
        assert today["simulated"].all()
        assert run("ledger", "verify", "--artifacts", str(trained))[0] == 0

    def test_a_ledger_that_fails_leaves_the_forecast_and_an_exit_code(
        self, trained: Path, market: Path, run, tmp_path: Path
    ) -> None:
        damaged = tmp_path / "ledger.db"
        damaged.write_bytes(b"not a database" * 400)
        path = max((trained / "sample" / "forecasts").glob("*.parquet"))
        before = path.read_bytes()
        path.unlink()
        options = ("--market", str(market), "--artifacts", str(trained), "--as-of", path.stem)
        code, out, err = run("forecast", *options, "--ledger", str(damaged))
        assert code == 4
        assert "SIMULATED" in out
        assert f"error: {path}: the forecast is written, but recording it in the ledger failed" in err
        assert path.read_bytes() == before

    def test_show_prints_the_stored_forecast(self, trained: Path, market: Path, run) -> None:
        code, out, _ = run("show", "--market", str(market), "--artifacts", str(trained), "--json")
        stored = json.loads(next((trained / "sample" / "forecasts").glob("*.json")).read_text(encoding="utf-8"))
        assert code == 0
        assert json.loads(out) == stored
        code, out, _ = run("show", "--market", str(market), "--artifacts", str(trained), "--lang", "zh")
        assert code == 0
        assert "SIMULATED" in out

    def test_forecast_of_a_past_week_uses_the_earlier_bundle(self, trained: Path, market: Path, run) -> None:
        options = ("--market", str(market), "--artifacts", str(trained))
        code, _, err = run("forecast", *options, "--as-of", "2023-10-13", "--lang", "zh")
        assert code == 0, err
        stored = json.loads((trained / "sample" / "forecasts" / "2023-10-13.json").read_text(encoding="utf-8"))
        assert stored["bundle_cut"] == "2023-06-02"

    @pytest.mark.deep
    def test_a_forecast_asks_no_registry(self, trained: Path, market: Path, tmp_path: Path) -> None:
        """MLflow is not even imported, and a tracking server that is down is no concern of scoring."""
        program = "import sys; from serving import cli; cli.main(); print('mlflow' in sys.modules)"
        arguments = ["forecast", "--market", str(market), "--artifacts", str(trained), "--as-of", "2023-11-17"]
        done = subprocess.run(
            [sys.executable, "-c", program, *arguments, "--ledger", str(tmp_path / "ledger.db")],
            capture_output=True, text=True, check=False, env=os.environ | {"MLFLOW_TRACKING_URI": "http://127.0.0.1:9"},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert done.stdout.endswith("False\n")
        assert "warning: " not in done.stderr

    @pytest.mark.deep
    def test_backtest_writes_every_pair_and_horizon(self, trained: Path, market: Path, run, tmp_path: Path) -> None:
        out = tmp_path / "forecasts.parquet"
        options = ("--market", str(market), "--artifacts", str(trained), "--out", str(out), "--jobs", "1")
        code, text, err = run("backtest", *options)
        assert code == 0, err
        rows = pd.read_parquet(out)
        assert tuple(rows.columns) == FORECAST_COLUMNS
        assert set(rows["horizon_weeks"]) == {1, 4}
        assert "climatology" in text
        assert "SIMULATED" in text

    def test_inputs_that_fell_silent_abstain_as_stale(self, trained: Path, market: Path, run, tmp_path: Path) -> None:
        spec = load_market(str(market))
        sources = {source for one in spec.features.values() if one.family == "leverage" for source in one.inputs}
        rows = simulate(spec, 0).observations
        silent = rows["series"].isin(sources) & (rows["period"] > rows["period"].max() - pd.Timedelta(days=200))
        now = np.datetime64("2024-01-02T09:00", "us")
        ingest(Store(tmp_path / "store.duckdb"), spec, rows[~silent], now)
        bundle = max((trained / "bundles").glob("*/*/*"))
        code, out, err = run("forecast", "--market", str(market), "--artifacts", str(tmp_path), "--bundle", str(bundle))
        assert code == 5, err
        assert "abstained: no live feature in leverage: inputs are stale" in err
        assert "Abstains: stale" in out
        stored = pd.read_parquet(next((tmp_path / "sample" / "forecasts").glob("*.parquet")))
        assert set(stored["validity"]) == {"abstain_stale"}

    def test_audit_of_the_sample_is_clean(self, trained: Path, market: Path, run) -> None:
        code, out, _ = run("audit", "--market", str(market), "--artifacts", str(trained))
        assert code == 0
        assert "0 error(s) not in quarantine" in out

    def test_audit_of_points_that_should_not_be_served_fails(
        self, trained: Path, market: Path, run, tmp_path: Path
    ) -> None:
        # A stricter definition finds points that are served already.
        text = market.read_text(encoding="utf-8")
        assert "range = [30.0, 70.0]" in text
        stricter = tmp_path / "stricter.toml"
        stricter.write_text(text.replace("range = [30.0, 70.0]", "range = [30.0, 50.0]"), encoding="utf-8")
        code, out, _ = run("audit", "--market", str(stricter), "--artifacts", str(trained))
        assert code == 2
        assert "pmi" in out
        assert "0 error(s) not in quarantine" not in out


class TestBadInput:
    """One sentence, the exit code, no traceback, nothing half-written."""

    def refused(self, result: Run, code: int, *words: str) -> None:
        got, out, err = result
        assert got == code, (out, err)
        assert err.startswith("error:") or "Usage" in err
        assert "Traceback" not in err + out
        for word in words:
            assert word in err

    def test_a_day_that_is_no_decision_day_names_the_previous_one(self, trained: Path, market: Path, run) -> None:
        result = run("forecast", "--market", str(market), "--artifacts", str(trained), "--as-of", "2023-10-12")
        self.refused(result, 2, "2023-10-12", "2023-09-28")

    def test_before_history(self, trained: Path, market: Path, run) -> None:
        options = ("--market", str(market), "--artifacts", str(trained))
        self.refused(run("forecast", *options, "--as-of", "1980-01-04"), 2, "1980-01-04")
        self.refused(run("forecast", *options, "--as-of", "2021-03-05"), 2, "before the first decision")

    def test_after_the_data(self, trained: Path, market: Path, run) -> None:
        result = run("forecast", "--market", str(market), "--artifacts", str(trained), "--as-of", "2024-03-08")
        self.refused(result, 5, "ingest newer prices")

    @pytest.mark.parametrize("text", ["soon", "", "NaT", "today", "2023", "20231013", "2023-10-13T12", "2023-02-30"])
    def test_no_date(self, trained: Path, market: Path, run, text: str) -> None:
        result = run("audit", "--market", str(market), "--artifacts", str(trained), "--as-of", text)
        self.refused(result, 2, "YYYY-MM-DD", repr(text))

    def test_unknown_pair(self, trained: Path, market: Path, run) -> None:
        result = run("forecast", "--market", str(market), "--artifacts", str(trained), "--pair", "moon-sun")
        self.refused(result, 2, "moon-sun", "s300-s1000")

    def test_unknown_market(self, run, tmp_path: Path) -> None:
        self.refused(run("ingest", "--market", "mars", "--artifacts", str(tmp_path)), 2, "mars", *builtin_markets())

    def test_missing_source(self, run, tmp_path: Path) -> None:
        self.refused(run("ingest", "--market", "cn", "--artifacts", str(tmp_path)), 2, "--source")
        nowhere = tmp_path / "nowhere"
        self.refused(
            run("ingest", "--market", "cn", "--source", str(nowhere), "--artifacts", str(tmp_path)), 2, str(nowhere)
        )
        assert list(tmp_path.iterdir()) == []

    def test_no_store(self, run, tmp_path: Path) -> None:
        self.refused(run("forecast", "--artifacts", str(tmp_path)), 2, "capshift ingest")

    def test_corrupt_store(self, run, tmp_path: Path) -> None:
        (tmp_path / "store.duckdb").write_bytes(b"not a database" * 400)
        self.refused(run("forecast", "--artifacts", str(tmp_path)), 2, "store.duckdb")

    def test_no_bundle(self, run, tmp_path: Path, market: Path) -> None:
        assert run("ingest", "--market", str(market), "--artifacts", str(tmp_path))[0] == 0
        self.refused(run("forecast", "--market", str(market), "--artifacts", str(tmp_path)), 2, "capshift train")

    def test_corrupt_bundle(self, trained: Path, market: Path, run, tmp_path: Path) -> None:
        folder = next((trained / "bundles").glob("*/*/*"))
        copy = tmp_path / "bundle"
        copy.mkdir()
        for file in folder.iterdir():
            (copy / file.name).write_bytes(file.read_bytes())
        part = next(copy.glob("switch-4w*"))
        part.write_bytes(part.read_bytes()[:-100])
        result = run("forecast", "--market", str(market), "--artifacts", str(trained), "--bundle", str(copy))
        self.refused(result, 4, part.name)

    def test_a_later_bundle_is_refused(self, trained: Path, market: Path, run) -> None:
        later = max((trained / "bundles").glob("*/*/*"))
        options = ("--market", str(market), "--artifacts", str(trained), "--bundle", str(later))
        self.refused(run("forecast", *options, "--as-of", "2023-10-13"), 3, "not later")

    def test_nothing_stored(self, run, tmp_path: Path) -> None:
        self.refused(run("show", "--artifacts", str(tmp_path)), 2, "capshift forecast")

    def test_unknown_language_and_option(self, run) -> None:
        assert run("show", "--lang", "fr")[0] == 2
        assert run("show", "--colour", "red")[0] == 2

    def test_artifacts_that_cannot_be_written(self, run, tmp_path: Path) -> None:
        blocked = tmp_path / "file"
        blocked.write_text("here", encoding="utf-8")
        self.refused(run("ingest", "--artifacts", str(blocked / "below")), 2, str(blocked))


class TestConfiguration:
    def test_precedence_of_flag_environment_file_default(
        self, run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        (tmp_path / "capshift.toml").write_text('market = "mars"\n', encoding="utf-8")
        assert "mars" in run("show")[2]
        monkeypatch.setenv("CAPSHIFT_MARKET", "venus")
        assert "venus" in run("show")[2]
        assert "pluto" in run("show", "--market", "pluto")[2]

    def test_unknown_key(self, run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        (tmp_path / "capshift.toml").write_text("markt = 'cn'\n", encoding="utf-8")
        code, _, err = run("show")
        assert code == 2
        assert "markt" in err
        assert "market" in err

    def test_help_of_every_command_says_what_it_reads_and_writes(self, run) -> None:
        for command in ("ingest", "audit", "train", "forecast", "backtest", "weekly", "show"):
            code, out, _ = run(command, "--help")
            assert code == 0
            assert "Reads" in out
            assert "writes" in out
