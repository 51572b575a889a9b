"""A tracking server over HTTP with PostgreSQL behind it: a study is logged, its model promoted and rolled back."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import make_url

from models.bundle import Bundle
from serving import cli
from serving.model_moves import read_record, record_path
from serving.registry import CHALLENGER, CHAMPION, PREVIOUS, Registry, champion_bundle
from serving.run_compare import compare_runs
from tests.models import row_toy
from tests.serving.moves_worker import MARKET, move_to, registered
from tests.serving.postgres import MakePlace

pytestmark = pytest.mark.server
PATIENCE = 90.0


@pytest.fixture(scope="module")
def server(make_place: MakePlace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Start ``mlflow server`` on a free port of this machine."""
    root = tmp_path_factory.mktemp("server")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    backend = make_url(make_place()).set(drivername="postgresql+psycopg").render_as_string(hide_password=False)
    command = [
        sys.executable, "-m", "mlflow", "server", "--backend-store-uri", backend, "--artifacts-destination",
        str(root / "artifacts"), "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
    ]  # fmt: skip
    environment = os.environ | {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}
    environment |= {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    address = f"http://127.0.0.1:{port}"
    with open(root / "log", "wb") as log:
        running = subprocess.Popen(
            command, cwd=root, env=environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            _wait(address, running, root / "log")
            yield address
        finally:
            os.killpg(running.pid, signal.SIGTERM)
            try:
                running.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(running.pid, signal.SIGKILL)
                running.wait()


def _wait(address: str, running: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        try:
            with urllib.request.urlopen(f"{address}/health", timeout=2):
                return
        except OSError:
            if running.poll() is not None:
                break
            time.sleep(0.2)
    raise AssertionError(f"mlflow server does not answer: {log.read_text(encoding='utf-8')[-2000:]}")


def test_log_promote_and_roll_back(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    runs = registered(tmp_path, server, versions=2)
    registry = Registry(server)
    newest, first = registry.versions(MARKET)
    assert (first.aliases, newest.aliases) == ((CHAMPION,), (CHALLENGER,))
    assert [first.run_id, newest.run_id] == runs
    champion = champion_bundle(MARKET, server, tmp_path / "cache")
    assert Bundle.load(champion).cut == row_toy.bundle().cut

    move_to(registry, tmp_path, 2)
    newest, first = registry.versions(MARKET)
    assert (first.aliases, newest.aliases) == ((PREVIOUS,), (CHAMPION,))
    assert champion_bundle(MARKET, server, tmp_path / "cache") != champion

    for _ in range(2):
        monkeypatch.setattr(sys, "argv", ["capshift", "rollback", "--artifacts", str(tmp_path), "--by", "ann"])
        cli.main()
    assert capsys.readouterr().out.splitlines() == [
        "rolled back to version 1 of sample in place of version 2, by ann",
        "rolled back to version 2 of sample in place of version 1, by ann",
    ]
    assert [line["to_version"] for line in read_record(record_path(tmp_path, MARKET))] == [2, 1, 2]
    assert registry.intent(MARKET) is None
    assert registry.run("sample@previous").run_id == runs[0]
    # The toy's files were never written: a comparison says so, over HTTP as well.
    with pytest.raises(Exception, match=r"no whole study: it lacks forecasts\.parquet"):
        compare_runs(runs[0], runs[1], tmp_path)
