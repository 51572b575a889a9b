"""A registry of three small models, and a job that is killed in the middle of a move."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from serving import model_moves
from serving.model_moves import Move, complete_move, make_move, named, new_move, record_path
from serving.registry import CHAMPION, Registry
from tests.training.study_toy import study
from training.tracking import log_study

MARKET = "sample"
FACTS = {"time": "2024-01-05T16:00:00+00:00", "gate": "pass  everything", "by": "ann", "reason": "better"}
WRITES = ("set_intent", "tag_version", "set_alias", "drop_alias")


def registered(folder: Path, uri: str, market: str = MARKET, versions: int = 3) -> list[str]:
    """Log studies of different configurations: the first is champion, the last the challenger; return their runs."""
    runs = []
    for number in range(versions):
        home = folder / f"{market}-{number}"
        # Files that are written already, none: nothing is drawn.
        key = home / f"{market}-key{number}"
        key.mkdir(parents=True)
        made = replace(study(home), market=market, config_hash=f"configuration{number + 1}")
        runs.append(log_study(made, uri, key))
    return runs


def move_to(registry: Registry, artifacts: Path, number: int, action: Any = "promote") -> Move:
    """Move the champion to a version, after completing what was cut off."""
    record = record_path(artifacts, MARKET)
    complete_move(registry, record, MARKET)
    versions = registry.versions(MARKET)
    wanted = next(version for version in versions if version.number == number)
    move = new_move(action, MARKET, (named(versions, CHAMPION), wanted), FACTS)
    make_move(registry, record, move)
    return move


def move_and_die(uri: str, artifacts: Path, number: int, step: int) -> None:
    """Move the champion and be killed before the nth write, to the registry or to the record."""
    left = [step]

    def counted(plain: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named_: Any) -> Any:
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return plain(*arguments, **named_)

        return call

    for name in WRITES:
        setattr(Registry, name, counted(getattr(Registry, name)))
    model_moves.os.fsync = counted(os.fsync)  # type: ignore[attr-defined]
    move_to(Registry(uri), artifacts, number)
