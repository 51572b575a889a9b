"""Batch jobs on the small market in processes of their own, some of which are killed; importable for a fork server."""

from __future__ import annotations

import os
import signal
import sys
import time
from multiprocessing.connection import Connection
from pathlib import Path

from threadpoolctl import threadpool_limits

import serving.opened_market
from serving.backfill_command import backfill
from serving.market_score import score_market
from tests import small

_FILES = frozenset({"open", "os.rename", "os.chmod", "os.mkdir", "os.remove", "tempfile.mkstemp", "sqlite3.connect"})
"""Audit events of Python that touch a file."""


def score(artifacts: Path, day: str, out: Path, kill_at: int, steps: Connection) -> None:
    """Score a day; die before the step with a number, or else send how many steps there were."""
    _small_plan()
    count = _watch(out, kill_at)
    score_market("sample", day, out, artifacts)
    steps.send(count[0])


def score_elsewhere(artifacts: Path, day: str, out: Path) -> None:
    """Score a day on the other side of the date line, with as many threads as there are."""
    os.environ["TZ"] = "Pacific/Kiritimati"
    time.tzset()
    with threadpool_limits(4):
        _small_plan()
        score_market("sample", day, out, artifacts)


def fill(artifacts: Path, span: tuple[str, str], out: Path, ledger: str | None, kill_at: int) -> None:
    """Backfill a span in one process; die before the step with a number, if it comes that far."""
    _small_plan()
    _watch(out, kill_at)
    backfill(span[0], "sample", artifacts, span[1], out, 1, "loky", ledger)


def _small_plan() -> None:
    serving.opened_market.training_plan = lambda spec: small.plan()


def _watch(folder: Path, kill_at: int) -> list[int]:
    """Count the file operations below a folder, and die before the one with a number."""
    count = [0]
    prefix = str(folder)

    def step(name: str, arguments: tuple[object, ...]) -> None:
        if name in _FILES and any(str(argument).startswith(prefix) for argument in arguments[:2]):
            count[0] += 1
            if count[0] == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(step)
    return count
