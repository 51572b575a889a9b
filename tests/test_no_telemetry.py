"""MLflow sends nothing out of this machine, although it would unless told not to before it is imported.

Runs in fresh processes whose environment is written from scratch: MLflow also keeps quiet under pytest and in CI
(``PYTEST_CURRENT_TEST``, ``CI`` and their like), and that must not be what this test sees. An audit hook, loaded by
``sitecustomize`` and so in child processes too, notes and refuses every look-up and connection that is not local;
without our switches the same hook has to catch MLflow at it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

SWITCHES = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}

HOOK = """
import os, sys

LOCAL = {"", "localhost", "127.0.0.1", "::1", "0.0.0.0", "::"}

def refuse(event, args):
    if event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
        address = args[1]
        if not isinstance(address, tuple):  # a UNIX socket, or none given
            return
        host = address[0]
    elif event in ("socket.getaddrinfo", "socket.gethostbyname"):
        host = args[0]
    else:
        return
    host = host.decode() if isinstance(host, bytes) else host
    if host is None or host in LOCAL or host.startswith("127."):
        return
    with open(os.environ["OUTBOUND_LOG"], "a") as log:
        log.write(f"{event} {host}\\n")
    raise ConnectionRefusedError(f"test: {host} is not this machine")

sys.addaudithook(refuse)
"""

PROBE = """
import importlib, sys, threading
store, *first = sys.argv[1:]
for name in first:
    importlib.import_module(name)
import mlflow

mlflow.set_tracking_uri(f"sqlite:///{store}/mlflow.db")
client = mlflow.MlflowClient()
name = f"study-{len(client.search_experiments())}"
client.create_experiment(name, artifact_location=f"file://{store}/{name}")
mlflow.set_experiment(name)
with mlflow.start_run():
    mlflow.log_param("horizon_weeks", 4)
    mlflow.log_metric("skill", 0.04, step=2018)
    mlflow.log_dict({"a": 1}, "fold.json")
client.create_registered_model(name)
for thread in threading.enumerate():
    if "Telemetry" in thread.name:
        thread.join(timeout=10)
print("logged")
"""


@dataclass(frozen=True)
class Machine:
    """A throw-away home with the hook in it."""

    home: Path

    def run(self, *modules: str, **environment: str) -> list[str]:
        """Log one MLflow run after importing `modules`; return what went, or tried to go, out."""
        log = self.home / "outbound.log"
        log.write_text("")
        env = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "XDG_CONFIG_HOME": str(self.home / "config"),
            "PYTHONPATH": str(self.home / "hook"),
            "OUTBOUND_LOG": str(log),
            **environment,
        }
        command = [sys.executable, "-W", "ignore", "-c", PROBE, str(self.home), *modules]
        done = subprocess.run(command, cwd=self.home, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert done.stdout.endswith("logged\n")
        return log.read_text().splitlines()

    @property
    def installation_id(self) -> Path:
        """File in which MLflow keeps the number it would be recognised by."""
        return self.home / "config" / "mlflow" / "telemetry.json"


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Machine:
    home = tmp_path_factory.mktemp("home")
    (home / "hook").mkdir()
    (home / "hook" / "sitecustomize.py").write_text(HOOK)
    return Machine(home)


@pytest.mark.parametrize("switch", SWITCHES)
@pytest.mark.deep
def test_each_switch_alone_silences_mlflow(machine: Machine, switch: str) -> None:
    assert machine.run(**{switch: SWITCHES[switch]}) == []
    assert not machine.installation_id.exists()


@pytest.mark.parametrize("module", ["training.tracking", "training.tracking_server", "serving.registry"])
@pytest.mark.deep
def test_our_modules_silence_mlflow(root: Path, machine: Machine, module: str) -> None:
    if not (root / (module.replace(".", "/") + ".py")).exists():
        pytest.skip(f"not built yet: {module}")
    assert machine.run(module) == []
    assert not machine.installation_id.exists()


def test_make_exports_the_switches(root: Path) -> None:
    lines = (root / "Makefile").read_text(encoding="utf-8").splitlines()
    for name, value in SWITCHES.items():
        assert f"export {name} = {value}" in lines


@pytest.mark.deep
def test_control_the_hook_catches_mlflow_without_switches(machine: Machine) -> None:
    """Last in this file: it leaves the installation number behind."""
    assert any("mlflow-telemetry" in line for line in machine.run())
