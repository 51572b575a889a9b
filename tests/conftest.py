"""What every test shares: where the real data lies, and that CI takes no skip for an answer.

On a developer's machine a test that lacks something (real data, a browser, a database server) skips and says why.
`.ci/run` installs those things and sets ``CAPSHIFT_CI=1``: there a skip is a failure, save for real-data tests where
the folder does not exist and for tests of a part that is not built yet.
"""

from __future__ import annotations

import multiprocessing as mp
import os
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

ROOT = Path(__file__).resolve().parents[1]
HEAVY = (
    "serving/test_cli", "training/test_fit", "test_no_telemetry", "serving/test_backfill", "leak/test_replay",
    "serving/test_pyfunc", "training/test_experiment", "leak/test_fit", "serving/test_replay",
    "training/test_baselines",
)  # fmt: skip
"""Test files to start with, the longest first: a worker that takes one up at the end leaves the other idle."""
REAL_DATA = ROOT.parent / "shared" / "data"
KILLED_PROCESSES_LOAD = (
    "serving.cli", "features.sources.folder", "features.ingest", "exchange_calendars", "psycopg",
    "sqlalchemy.dialects.postgresql.psycopg", "tests.serving.ledger_worker", "tests.serving.job_worker",
    "tests.serving.moves_worker", "mlflow.store.model_registry.sqlalchemy_store", "tests.training.test_pending",
)  # fmt: skip
IN_CI = os.environ.get("CAPSHIFT_CI") == "1"
NOT_BUILT = "not built yet"

# No deadline: the cores are shared. In CI the same examples every time.
settings.register_profile("capshift", deadline=None, derandomize=IN_CI)
settings.load_profile("capshift")


@pytest.fixture(scope="session")
def root() -> Path:
    """Folder of the repository."""
    return ROOT


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Root of the real data; tests that use it carry the marker `real`."""
    return REAL_DATA


@pytest.fixture(scope="session")
def processes() -> mp.context.ForkServerContext:
    """Processes forked off a clean server that has imported everything: real ones, started in milliseconds.

    Python has one such server a process, and only whoever starts it says what it imports.
    """
    context = mp.get_context("forkserver")
    context.set_forkserver_preload(list(KILLED_PROCESSES_LOAD))
    return context


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start with the heavy files, and skip real-data tests where there is no real data."""
    place = {ROOT / "tests" / f"{name}.py": number for number, name in enumerate(HEAVY)}
    items.sort(key=lambda item: place.get(item.path, len(place)))
    if not REAL_DATA.is_dir():
        for item in items:
            if item.get_closest_marker("real"):
                item.add_marker(pytest.mark.skip(reason=f"real data: {REAL_DATA} is not there"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, pytest.TestReport]:
    """Turn skips into failures in CI."""
    report: pytest.TestReport = yield
    if not (IN_CI and report.skipped) or hasattr(report, "wasxfail"):
        return report
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    excused = NOT_BUILT in reason or (item.get_closest_marker("real") and not REAL_DATA.is_dir())
    if not excused:
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} skipped where nothing may skip (CAPSHIFT_CI=1): {reason}"
    return report


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print the figures that tests record: `make slow` regenerates some of the README."""
    reports = [report for kind in ("passed", "failed") for report in terminalreporter.getreports(kind)]
    for name, figure in (pair for report in reports if report.when == "call" for pair in report.user_properties):
        terminalreporter.write_line(f"{name}: {figure}")
