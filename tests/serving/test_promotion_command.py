"""`capshift models`, `promote`, `rollback` and `upload` as a user meets them."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from serving import cli
from serving.champion_note import champion_path, champion_warning
from serving.model_moves import new_move, read_record, record_path
from serving.registry import CHALLENGER, CHAMPION, PREVIOUS, Registry
from serving.upload_command import log_or_keep
from tests.serving.moves_worker import FACTS, MARKET, move_to
from tests.serving.promotion_market import definition, log, planted, real_study, stored_market
from tests.training.study_toy import study
from training.pending import kept_studies

Run = tuple[int, str, str]


@pytest.fixture(autouse=True)
def _own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


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


@pytest.fixture
def artifacts(made: Path, tmp_path: Path) -> Path:
    shutil.copy(made, tmp_path / "mlflow.db")
    return tmp_path


def aliases(artifacts: Path) -> dict[str, int]:
    versions = Registry(f"sqlite:///{artifacts}/mlflow.db").versions(MARKET)
    return {alias: version.number for version in versions for alias in version.aliases}


class TestModels:
    def test_what_is_registered_and_what_was_moved(self, artifacts: Path, run) -> None:
        move_to(Registry(f"sqlite:///{artifacts}/mlflow.db"), artifacts, 3)
        code, out, _ = run("models", "--artifacts", str(artifacts))
        assert code == 0
        assert "SIMULATED Models of sample" in out
        assert "configurat" in out
        assert "(old)" in out
        assert "1 -> 3" in out
        code, out, _ = run("models", "--artifacts", str(artifacts), "--json")
        told = json.loads(out)
        assert [one["version"] for one in told["versions"]] == [3, 2, 1]
        assert told["versions"][0]["aliases"] == [CHAMPION]
        assert told["moves"][0]["by"] == "ann"
        assert told["unfinished_move"] is False

    def test_nothing_registered(self, tmp_path: Path, run) -> None:
        code, out, _ = run("models", "--artifacts", str(tmp_path))
        assert code == 0
        assert "no model of market 'sample' is registered; run `capshift backtest" in out
        assert not (tmp_path / "mlflow.db").exists()


class TestRollback:
    def test_one_command_there_and_back(self, artifacts: Path, run) -> None:
        move_to(Registry(f"sqlite:///{artifacts}/mlflow.db"), artifacts, 3)
        code, out, _ = run("rollback", "--artifacts", str(artifacts), "--by", "bob", "--reason", "margin calls doubled")
        assert (code, out) == (0, "rolled back to version 1 of sample in place of version 3, by bob\n")
        assert aliases(artifacts) == {CHAMPION: 1, PREVIOUS: 3}
        last = read_record(record_path(artifacts, MARKET))[-1]
        assert (last["by"], last["reason"], last["action"]) == ("bob", "margin calls doubled", "rollback")
        assert json.loads(champion_path(artifacts, MARKET).read_text())["version"] == 1
        assert run("rollback", "--artifacts", str(artifacts))[0] == 0
        assert aliases(artifacts) == {CHAMPION: 3, PREVIOUS: 1}

    def test_nothing_to_go_back_to(self, artifacts: Path, run) -> None:
        code, _, err = run("rollback", "--artifacts", str(artifacts))
        assert code == 4
        assert "no earlier champion" in err
        assert not record_path(artifacts, MARKET).exists()

    def test_a_promotion_that_was_cut_off_is_completed_and_then_undone(self, artifacts: Path, run) -> None:
        cut_off(artifacts, 3)
        code, out, _ = run("rollback", "--artifacts", str(artifacts))
        assert code == 0
        assert "completed, it had been cut off: promoted version 3" in out
        assert aliases(artifacts) == {CHAMPION: 1, PREVIOUS: 3}
        assert [line["action"] for line in read_record(record_path(artifacts, MARKET))] == ["promote", "rollback"]


def cut_off(artifacts: Path, number: int) -> None:
    """Leave what a job leaves that is killed right after it said what it was going to do."""
    registry = Registry(f"sqlite:///{artifacts}/mlflow.db")
    versions = {version.number: version for version in registry.versions(MARKET)}
    move = new_move("promote", MARKET, (versions[1], versions[number]), FACTS)
    registry.set_intent(MARKET, json.dumps(vars(move)))


class TestPromote:
    @pytest.mark.parametrize("arguments", [(), ("--challenger", "3")])
    def test_a_rerun_completes_what_was_cut_off(self, artifacts: Path, run, arguments: tuple[str, ...]) -> None:
        cut_off(artifacts, 3)
        assert "a move was cut off" in run("models", "--artifacts", str(artifacts))[2]
        code, out, err = run("promote", "--artifacts", str(artifacts), *arguments)
        assert code == 0, err
        assert "completed, it had been cut off: promoted version 3 of sample in place of version 1, by ann" in out
        assert ("version 3 of market 'sample' is the champion already" in out) == bool(arguments)
        assert aliases(artifacts) == {CHAMPION: 3, PREVIOUS: 1}

    def test_completing_one_move_does_not_begin_another(self, artifacts: Path, run) -> None:
        cut_off(artifacts, 2)
        assert run("promote", "--artifacts", str(artifacts))[0] == 0
        assert aliases(artifacts) == {CHAMPION: 2, PREVIOUS: 1, CHALLENGER: 3}

    def test_the_champion_itself(self, artifacts: Path, run) -> None:
        code, out, _ = run("promote", "--artifacts", str(artifacts), "--challenger", "1")
        assert code == 0
        assert "version 1 of market 'sample' is the champion already" in out

    def test_who_is_not_registered(self, artifacts: Path, run) -> None:
        code, _, err = run("promote", "--artifacts", str(artifacts), "--challenger", "9")
        assert code == 4
        assert "has no version 9 (registered: 3, 2, 1)" in err
        Registry(f"sqlite:///{artifacts}/mlflow.db").drop_alias(MARKET, CHALLENGER)
        code, _, err = run("promote", "--artifacts", str(artifacts))
        assert code == 4
        assert "has no version called `challenger`" in err

    def test_two_at_once(self, artifacts: Path, run) -> None:
        from serving.lock import output_lock

        with output_lock(record_path(artifacts, MARKET)):
            assert run("promote", "--artifacts", str(artifacts))[0] == 6

    def test_there_is_no_force(self, artifacts: Path, run) -> None:
        assert run("promote", "--artifacts", str(artifacts), "--force")[0] == 2


@pytest.mark.slow
class TestGate:
    """Two planted configurations of the small market: the weak one reigns, the strong one wants to."""

    FIRST = "2008-01-04"

    @pytest.fixture(scope="class")
    def place(self, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
        artifacts = tmp_path_factory.mktemp("gate")
        market = definition(artifacts, self.FIRST)
        stored_market(artifacts, market)
        real = real_study(artifacts / "bundles")
        for name, push in (("weak", 0.02), ("strong", 0.1), ("wrong", -0.1)):
            log(planted(real, market, push, name), artifacts, name)
        # What the registered bundle forecast is not what the study says.
        forged = planted(real, market, 0.1, "forged")
        rows = forged.forecasts.copy()
        last = rows["decision_date"] == rows["decision_date"].max()
        rows["p_crash"] = rows["p_crash"].where(~last, rows["p_crash"] + 1e-4)
        log(replace(forged, forecasts=rows), artifacts, "forged")
        return artifacts, market

    def options(self, place: tuple[Path, Path]) -> tuple[str, ...]:
        return ("--artifacts", str(place[0]), "--market", str(place[1]))

    def test_no_skill_is_refused_with_the_rules_that_failed(self, place: tuple[Path, Path], run) -> None:
        code, out, err = run("promote", "--challenger", "3", "--dry-run", *self.options(place))
        assert code == 4
        assert "FAIL  beats the best baseline" in out
        assert "pass  replay: 3 week(s) of cut 2010-07-23 come out as stored" in out
        assert "error: version 3 of market 'sample' does not pass the gate: " in err
        assert aliases(place[0])[CHAMPION] == 1
        assert not record_path(place[0], MARKET).exists()

    def test_a_study_that_does_not_replay_is_refused(self, place: tuple[Path, Path], run) -> None:
        code, out, err = run("promote", "--challenger", "4", "--searched", "none found", *self.options(place))
        assert code == 4
        assert err.rstrip().endswith("does not pass the gate: replay")
        assert "comes out otherwise: p_crash of" in out

    def test_true_skill_passes_and_is_promoted(self, place: tuple[Path, Path], run) -> None:
        why = ("--by", "ann", "--reason", "knows more", "--searched", "none found")
        arguments = ("promote", "--challenger", "2", *why)
        code, out, err = run(*arguments, *self.options(place))
        assert code == 0, out + err
        assert "promoted version 2 of sample in place of version 1, by ann" in out
        assert aliases(place[0]) == {CHAMPION: 2, PREVIOUS: 1, CHALLENGER: 4}
        (line,) = read_record(record_path(place[0], MARKET))
        assert line["gate"].startswith("pass  common weeks")
        assert "challenger minus champion: -" in line["gate"]


class TestUpload:
    def test_a_study_waits_while_the_server_is_down(
        self, artifacts: Path, run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
        made = replace(study(artifacts / "bundles"), contributions={}, config_hash="later")
        log_or_keep(made, artifacts, "http://127.0.0.1:9")
        assert "kept on disk" in (err := capsys.readouterr().err)
        assert "`capshift upload --market sample` logs it" in err
        assert len(kept_studies(artifacts, MARKET)) == 1
        code, out, _ = run("upload", "--artifacts", str(artifacts))
        assert code == 0
        assert "logged as run" in out
        assert aliases(artifacts) == {CHAMPION: 1, CHALLENGER: 4}
        assert run("upload", "--artifacts", str(artifacts))[1] == "no study of market 'sample' waits\n"
        assert json.loads(champion_path(artifacts, MARKET).read_text())["config_hash"] == "configuration1"


class TestChampionNote:
    def test_another_configuration_is_said(self, artifacts: Path, run) -> None:
        assert champion_warning(artifacts, MARKET, "anything") == ""
        move_to(Registry(f"sqlite:///{artifacts}/mlflow.db"), artifacts, 3)
        assert run("rollback", "--artifacts", str(artifacts))[0] == 0
        assert champion_warning(artifacts, MARKET, "configuration1") == ""
        assert "not by the champion's, configuration1 (version 1)" in champion_warning(artifacts, MARKET, "anything")
        champion_path(artifacts, MARKET).write_text("{")
        assert champion_warning(artifacts, MARKET, "anything") == ""
