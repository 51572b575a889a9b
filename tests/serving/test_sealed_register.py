"""The register of looks: it grows, it is chained, and whoever edits it is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from features.errors import LedgerError
from serving.sealed_register import GENESIS, LookRecord, Register


def look(market: str = "europe", number: int = 1, event: str = "opened", data: str = "d" * 16) -> LookRecord:
    return LookRecord.model_validate(
        {"event": event, "at": "2026-11-28T10:00:00Z", "market": market, "window": "all decisions", "number": number,
         "data_hash": data, "frozen_hash": "f" * 16}
    )  # fmt: skip


@pytest.fixture
def register(tmp_path: Path) -> Register:
    register = Register(tmp_path / "sealed" / "register.jsonl")
    for record in (look(), look(event="shown"), look("japan"), look(number=2), look(number=2, event="shown")):
        register.append(record)
    return register


def test_every_line_carries_the_one_before(register: Register) -> None:
    records = register.records()
    assert [record.previous for record in records] == [GENESIS, *(record.hash for record in records[:-1])]
    assert len({record.hash for record in records}) == 5
    assert [record.number for record in register.looks("europe", "all decisions")] == [1, 2]
    assert register.looks("europe", "decisions after 2023-11-30") == ()


def test_a_look_that_showed_nothing_is_unfinished(register: Register) -> None:
    assert register.unfinished("europe", "all decisions") is None
    unfinished = register.unfinished("japan", "all decisions")
    assert unfinished is not None
    assert unfinished.number == 1
    assert Register(register.path.with_name("none.jsonl")).records() == ()


@pytest.mark.parametrize("line", range(5))
def test_an_edit_is_noticed(register: Register, line: int) -> None:
    lines = register.path.read_text(encoding="utf-8").splitlines()
    lines[line] = lines[line].replace("2026-11-28", "2026-11-27")
    register.path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    with pytest.raises(LedgerError, match=f"line {line + 1} was edited"):
        register.append(look(number=3))
    assert len(register.path.read_text(encoding="utf-8").splitlines()) == 5


@pytest.mark.parametrize("line", range(4))
def test_a_line_taken_out_is_noticed(register: Register, line: int) -> None:
    lines = register.path.read_text(encoding="utf-8").splitlines()
    register.path.write_text("\n".join(lines[:line] + lines[line + 1 :]) + "\n", encoding="utf-8")
    with pytest.raises(LedgerError, match=f"line {line + 1} was edited, or a line before it is gone"):
        register.records()


@pytest.mark.parametrize("text", ["{", "[]", '{"event": "opened"}', ""])
def test_a_damaged_line(register: Register, text: str) -> None:
    with register.path.open("a", encoding="utf-8") as file:
        file.write(text + "\n")
    with pytest.raises(LedgerError, match="line 6 is no record"):
        register.records()
