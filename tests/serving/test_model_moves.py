"""Moves of the champion: recorded, atomic, and completed when the job that made them was killed."""

from __future__ import annotations

import json
import multiprocessing as mp
import shutil
import signal
from pathlib import Path

import pytest

from features.errors import DataContractError, PromotionError
from serving.model_moves import complete_move, named, read_record, record_path
from serving.registry import CHALLENGER, CHAMPION, PREVIOUS, Registry, champion_bundle
from tests.serving.moves_worker import MARKET, move_and_die, move_to

STEPS = 8
"""Writes of a promotion: intent, line, tags, previous, challenger, champion, intent gone; one more never comes."""


@pytest.fixture
def artifacts(made: Path, tmp_path: Path) -> Path:
    shutil.copy(made, tmp_path / "mlflow.db")
    return tmp_path


@pytest.fixture
def registry(artifacts: Path) -> Registry:
    return Registry(f"sqlite:///{artifacts}/mlflow.db")


def aliases(registry: Registry) -> dict[str, int]:
    return {alias: version.number for version in registry.versions(MARKET) for alias in version.aliases}


def test_what_a_fresh_registry_says(registry: Registry) -> None:
    assert aliases(registry) == {CHAMPION: 1, CHALLENGER: 3}
    assert [version.number for version in registry.versions(MARKET)] == [3, 2, 1]
    assert registry.versions("nowhere") == []
    assert registry.intent(MARKET) is None


def test_a_promotion_and_its_rollback(registry: Registry, artifacts: Path) -> None:
    first = move_to(registry, artifacts, 3)
    assert aliases(registry) == {CHAMPION: 3, PREVIOUS: 1}
    second = move_to(registry, artifacts, 1, "rollback")
    assert aliases(registry) == {CHAMPION: 1, PREVIOUS: 3}
    lines = read_record(record_path(artifacts, MARKET))
    assert [line["id"] for line in lines] == [first.id, second.id]
    assert [(line["action"], line["from_version"], line["to_version"]) for line in lines] == [
        ("promote", 1, 3),
        ("rollback", 3, 1),
    ]
    assert lines[0]["by"] == "ann"
    assert lines[0]["gate"] == "pass  everything"
    champion, withdrawn = (named(registry.versions(MARKET), alias) for alias in (CHAMPION, PREVIOUS))
    assert champion is not None
    assert withdrawn is not None
    assert champion.tags["champion_action"] == "rollback"
    assert withdrawn.tags["champion_gate"] == "pass  everything"
    assert withdrawn.tags["withdrawn_reason"] == "better"
    assert champion.run_id in champion_bundle(MARKET, registry.uri).parts


def test_a_challenger_that_was_not_promoted_stays(registry: Registry, artifacts: Path) -> None:
    move_to(registry, artifacts, 2)
    assert aliases(registry) == {CHAMPION: 2, PREVIOUS: 1, CHALLENGER: 3}


def killed(processes: mp.context.ForkServerContext, registry: Registry, artifacts: Path, number: int, at: int) -> int:
    child = processes.Process(target=move_and_die, args=(registry.uri, artifacts, number, at))
    child.start()
    child.join()
    assert child.exitcode is not None
    return child.exitcode


@pytest.mark.parametrize("steps", [(2, 6, STEPS), pytest.param(tuple(range(1, STEPS + 1)), marks=pytest.mark.fault)])
def test_killed_at_a_step(processes, registry: Registry, artifacts: Path, made: Path, steps: tuple[int, ...]) -> None:
    codes = []
    for step in steps:
        shutil.copy(made, artifacts / "mlflow.db")
        record_path(artifacts, MARKET).unlink(missing_ok=True)
        codes.append(killed(processes, registry, artifacts, 3, step))
        # Old or new, never none, and the bundle is there.
        assert aliases(registry)[CHAMPION] in (1, 3)
        champion_bundle(MARKET, registry.uri)
        before = read_record(record_path(artifacts, MARKET))
        done = complete_move(registry, record_path(artifacts, MARKET), MARKET)
        if done is None:
            # Nothing had begun, or all was done.
            assert len(before) == (0 if aliases(registry)[CHAMPION] == 1 else 1)
            if not before:
                move_to(registry, artifacts, 3)
        assert aliases(registry) == {CHAMPION: 3, PREVIOUS: 1}
        assert len(read_record(record_path(artifacts, MARKET))) == 1
        assert registry.intent(MARKET) is None
    assert codes == [-signal.SIGKILL] * (len(steps) - 1) + [0]


@pytest.mark.slow
def test_killed_again_and_again(processes, registry: Registry, artifacts: Path) -> None:
    """Twelve moves to and fro, each killed somewhere: every one is recorded once, in order."""
    expected = []
    for turn in range(12):
        number = 3 if turn % 2 == 0 else 1
        code = killed(processes, registry, artifacts, number, 1 + (5 * turn) % (STEPS - 1))
        done = complete_move(registry, record_path(artifacts, MARKET), MARKET)
        if code != 0 and done is None and aliases(registry)[CHAMPION] != number:
            move_to(registry, artifacts, number)
        expected.append(number)
        assert aliases(registry)[CHAMPION] == number
    assert [line["to_version"] for line in read_record(record_path(artifacts, MARKET))] == expected


def test_the_torn_end_of_the_record_is_no_line(registry: Registry, artifacts: Path) -> None:
    move_to(registry, artifacts, 3)
    record = record_path(artifacts, MARKET)
    whole = record.read_bytes()
    record.write_bytes(whole + whole[: len(whole) // 2])
    assert len(read_record(record)) == 1
    move_to(registry, artifacts, 1, "rollback")
    assert [line["to_version"] for line in read_record(record)] == [3, 1]


def test_a_damaged_line_is_named(registry: Registry, artifacts: Path) -> None:
    move_to(registry, artifacts, 3)
    record = record_path(artifacts, MARKET)
    record.write_bytes(b"{\n" + record.read_bytes())
    with pytest.raises(DataContractError, match="line 1 is damaged"):
        read_record(record)


@pytest.mark.parametrize("text", ["", "{", "[]", '"x"', json.dumps({"id": 1})])
def test_an_intent_that_cannot_be_read(registry: Registry, artifacts: Path, text: str) -> None:
    registry.set_intent(MARKET, text)
    if text:
        with pytest.raises(PromotionError, match="under way, but not which"):
            complete_move(registry, record_path(artifacts, MARKET), MARKET)
    else:
        assert complete_move(registry, record_path(artifacts, MARKET), MARKET) is None
    assert aliases(registry)[CHAMPION] == 1


def test_an_absent_registry(tmp_path: Path) -> None:
    nowhere = Registry(f"sqlite:///{tmp_path}/mlflow.db")
    assert nowhere.versions(MARKET) == []
    assert nowhere.intent(MARKET) is None
    with pytest.raises(DataContractError, match="no registry"):
        nowhere.run("abcd")
    assert list(tmp_path.iterdir()) == []


def test_a_registry_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(DataContractError, match="did not do it") as error:
        Registry("http://ann:secret@127.0.0.1:9").versions(MARKET)
    assert "secret" not in str(error.value)


class TestRuns:
    def test_by_id_beginning_alias_and_number(self, registry: Registry) -> None:
        run = registry.versions(MARKET)[0].run_id
        for reference in (run, run[:8], "sample@challenger", "sample@3"):
            assert registry.run(reference).run_id == run
        assert registry.run(run).tags["config_hash"] == "configuration3"
        assert registry.run(run).params["ridge_penalty"] == "20.0"
        assert "model_card.md" in registry.files(run, (".md",))

    @pytest.mark.parametrize("reference", ["", "abc", "zzzzzz", "' OR 1=1", "0" * 32, "sample@9", "cn@champion"])
    def test_what_is_no_run(self, registry: Registry, reference: str) -> None:
        with pytest.raises(DataContractError, match=r"run|model"):
            registry.run(reference)
