"""`capshift serve` as a process: it listens, answers, says what it does in JSON lines, and stops when told to."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.serving.api.conftest import Home

TOKEN = "a-token-that-is-long-enough"
_STARTED = 90.0
"""Seconds: the cores are shared."""


@dataclass
class Process:
    """A service, the address it listens on and the lines it wrote so far."""

    process: subprocess.Popen[str]
    url: str
    lines: list[dict[str, Any]]

    def stop(self, number: signal.Signals = signal.SIGTERM) -> tuple[int, str]:
        """Send a signal, wait, and return exit code and standard error; the remaining lines are kept."""
        self.process.send_signal(number)
        out, err = self.process.communicate(timeout=40)
        self.lines += [json.loads(line) for line in out.splitlines()]
        return self.process.returncode, err


@contextmanager
def running(artifacts: Path, *options: str, **environment: str) -> Iterator[Process]:
    """Start `capshift serve` on a free port."""
    command = [sys.executable, "-m", "serving.cli", "serve", "--port", "0", "--artifacts", str(artifacts), *options]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, **environment}
    )
    try:
        assert process.stdout is not None
        first = process.stdout.readline()
        assert first, process.communicate()[1]
        lines = [json.loads(first)]
        yield Process(process, f"http://127.0.0.1:{lines[0]['port']}", lines)
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()


def wait_for(url: str) -> httpx.Response:
    end = time.monotonic() + _STARTED
    while True:
        try:
            return httpx.get(url, timeout=10)
        except httpx.TransportError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)


def test_it_serves_until_it_is_told_to_stop(built: Home) -> None:
    with running(built.artifacts, "--token-file", str(_token_file(built))) as service:
        assert service.lines[0] | {"time": 0, "port": 0} == {
            "time": 0, "event": "started", "host": "127.0.0.1", "port": 0, "token": True, "metrics": "token",
        }  # fmt: skip
        assert wait_for(f"{service.url}/healthz").json() == {"status": "ok"}
        assert httpx.get(f"{service.url}/v1/markets").status_code == 401
        headers = {"Authorization": f"Bearer {TOKEN}"}
        name = next(iter(built.bundle.scaler.mean))
        body = {"pair": built.sample.headline, "changes": {name: 1.0}}
        assert httpx.post(f"{service.url}/v1/whatif/sample", json=body, headers=headers, timeout=30).status_code == 200
        with ThreadPoolExecutor(4) as pool:
            asked = [pool.submit(httpx.get, f"{service.url}/v1/forecast/sample", headers=headers) for _ in range(12)]
            assert {answer.result().status_code for answer in asked} == {200}
        _garbage(service.url)
        assert wait_for(f"{service.url}/healthz").status_code == 200
        code, err = service.stop()
    assert (code, err) == (0, "")
    assert service.lines[-1]["event"] == "stopped"
    requests = [line for line in service.lines if line["event"] == "request"]
    assert len(requests) == 16
    assert TOKEN not in str(service.lines)
    assert {"time", "id", "client", "method", "path", "route", "status", "ms", "bytes"} <= set(requests[0])


@pytest.mark.deep
def test_a_request_at_work_is_finished_before_the_end_and_an_open_door_is_warned_of(built: Home) -> None:
    with running(built.artifacts, "--host", "0.0.0.0") as service:
        # It may have come with the first line, and then `communicate` would not see it any more.
        assert service.process.stdout is not None
        warned = json.loads(service.process.stdout.readline())
        wait_for(f"{service.url}/healthz")
        head = b"POST /v1/whatif/sample HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        with socket.create_connection(("127.0.0.1", service.lines[0]["port"]), timeout=20) as connection:
            connection.sendall(head + b"Content-Length: 2\r\n\r\n{")
            time.sleep(0.5)
            service.process.send_signal(signal.SIGTERM)
            time.sleep(0.5)
            assert service.process.poll() is None
            connection.sendall(b"}")
            answer = connection.recv(65536)
        assert answer.startswith(b"HTTP/1.1 422 ")
        out, err = service.process.communicate(timeout=40)
    assert service.process.returncode == 0
    assert json.loads(out.splitlines()[-1])["event"] == "stopped"
    assert err.startswith("warning: anybody who reaches 0.0.0.0")
    assert warned["event"] == "warning"


@pytest.mark.parametrize(
    ("options", "environment", "word"),
    [
        (("--host", "no.such.host.invalid"), {}, "`host`"),
        (("--token-file", "/nowhere/token"), {}, "token_file"),
        ((), {"CAPSHIFT_TOKEN": "short"}, "`token`"),
        (("--max-age", "0"), {}, "max_age"),
        (("--timeout", "0"), {}, "seconds"),
        (("--metrics", "some"), {}, "metrics"),
    ],
)
def test_what_cannot_be_is_one_sentence(
    built: Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], options: tuple[str, ...],
    environment: dict[str, str], word: str,
) -> None:  # fmt: skip
    from serving import cli

    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(
        sys, "argv", ["capshift", "serve", "--port", "0", "--artifacts", str(built.artifacts), *options]
    )
    with pytest.raises(SystemExit) as stop:
        cli.main()
    err = capsys.readouterr().err
    assert stop.value.code == 2
    assert err.splitlines()[-1].startswith("error:")
    assert word in err
    assert "short" not in err


def test_a_port_that_is_taken(built: Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from serving import cli

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        monkeypatch.setattr(sys, "argv", ["capshift", "serve", "--port", port, "--artifacts", str(built.artifacts)])
        with pytest.raises(SystemExit) as stop:
            cli.main()
    assert stop.value.code == 2
    assert f"`port` {port} cannot be listened on" in capsys.readouterr().err


def test_help_loads_nothing_of_the_service() -> None:
    names = ("fastapi", "uvicorn", "prometheus_client", "pandas", "serving.api")
    code = f"import sys, serving.cli; print([name for name in {names} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def _token_file(built: Home) -> Path:
    path = built.artifacts.parent / "token"
    path.write_text(TOKEN, encoding="ascii")
    return path


def _garbage(url: str) -> None:
    """Send what is no HTTP at all."""
    port = int(url.rpartition(":")[2])
    for junk in (b"\x16\x03\x01\x00\xa5junk", b"GET /" + b"x" * 100_000, b"GET / HTTP/1.1\r\nA: " + b"b" * 40_000):
        with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
            try:
                connection.sendall(junk)
                connection.shutdown(socket.SHUT_WR)
                connection.recv(1000)
            except OSError:
                pass


def drip(connection: socket.socket, count: int) -> None:
    """Send the head of a request that never ends, four bytes a second."""
    for _ in range(count):
        connection.sendall(b"X")
        time.sleep(0.25)


@pytest.mark.deep
def test_a_client_that_takes_too_long_to_ask_is_let_go(built: Home) -> None:
    with running(built.artifacts, "--timeout", "1") as service:
        port = service.lines[0]["port"]
        # Who reads that it has started may connect at once.
        with socket.create_connection(("127.0.0.1", port), timeout=_STARTED) as early:
            early.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            assert early.recv(4096).startswith(b"HTTP/1.1 200")
            # A drop at a time, on a connection that was good before.
            with pytest.raises((BrokenPipeError, ConnectionResetError)):
                drip(early, 40)
        with socket.create_connection(("127.0.0.1", port), timeout=20) as silent:
            assert silent.recv(1) == b""
        assert wait_for(f"{service.url}/healthz").status_code == 200
        code, err = service.stop()
    assert (code, err) == (0, "")
