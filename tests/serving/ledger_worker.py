"""What the processes of the ledger's crash and race tests run; importable, so that a fork server can start them."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Event
from pathlib import Path

from features.errors import CapshiftError
from serving.ledger import Ledger
from tests.serving.ledger_toy import on_time, toy_entries

_FILES = frozenset({"open", "os.rename", "os.chmod", "os.mkdir", "os.remove", "sqlite3.connect", "tempfile.mkstemp"})
"""Audit events of Python that touch a file."""


MANY = tuple(f"pair{number}" for number in range(50))


def append_weeks(location: str, artifacts: Path, weeks: list[int], start: Event | None = None) -> None:
    """Append weeks one by one; with `start`, all processes begin at once."""
    if start is not None:
        start.wait()
    for week in weeks:
        Ledger(location, artifacts).append(toy_entries(week), on_time(60))


def append_and_die(location: str, artifacts: Path, week: int, step: int, steps: Connection) -> None:
    """Append a week and kill this process with SIGKILL before its step-th statement, commit or file operation.

    Where the append has fewer steps it ends well, and the number of its steps is sent.
    """
    count = _count_steps(lambda seen: os.kill(os.getpid(), signal.SIGKILL) if seen == step else None)
    Ledger(location, artifacts).append(toy_entries(week), on_time(week))
    steps.send(count())


def append_forever(location: str, artifacts: Path, started: Event) -> None:
    """Append week after week until somebody kills this process."""
    ledger, week = Ledger(location, artifacts), 0
    while True:
        ledger.append(toy_entries(week), on_time(week))
        started.set()
        week += 1


def append_without_room(location: str, artifacts: Path, week: int, limit: int, said: Connection) -> None:
    """Append a week of many pairs where no file may grow beyond a size, and send what the ledger says to that."""
    import resource

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    try:
        Ledger(location, artifacts).append(toy_entries(week, MANY), on_time(week))
    except CapshiftError as error:
        said.send((type(error).__name__, str(error)))
    else:
        said.send(("", ""))


def _count_steps(at: Callable[[int], object]) -> Callable[[], int]:
    """Count what an append does, and tell `at` the number before each; returns a function that says how many."""
    from sqlalchemy import Engine, event

    seen = 0

    def step(*_: object) -> None:
        nonlocal seen
        seen += 1
        at(seen)

    event.listen(Engine, "before_cursor_execute", step)
    event.listen(Engine, "commit", step)
    sys.addaudithook(lambda name, _: step() if name in _FILES else None)
    return lambda: seen
