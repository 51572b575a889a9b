"""Every command line in docs and examples is one that capshift takes."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from tests.deploy.commands import docker_lines, inline_lines, parse_command, shell_lines, unit_commands

HARDENED = {
    "NoNewPrivileges=yes", "ProtectSystem=strict", "ReadWritePaths=/var/lib/capshift", "ProtectHome=yes",
    "PrivateTmp=yes", "CapabilityBoundingSet=",
}  # fmt: skip


class TestParser:
    def test_it_takes_what_the_command_line_takes(self) -> None:
        assert parse_command(["ledger", "verify", "--artifacts", "x"]) == "ledger verify"
        assert parse_command(["serve", "--port", "0"]) == "serve"

    @pytest.mark.parametrize(
        "wrong",
        [["nothing"], ["serve", "--prot", "1"], ["serve", "--port", "x"], ["ledger", "nothing"], ["weekly", "extra"]],
    )
    def test_control_it_refuses_what_is_none(self, wrong: list[str]) -> None:
        with pytest.raises(typer.TyperException):
            parse_command(wrong)


class TestDocs:
    def test_every_line_is_a_command(self, root: Path) -> None:
        text = (root / "docs" / "serving.md").read_text(encoding="utf-8")
        lines = [*shell_lines(text), *inline_lines(text)]
        assert len(lines) > 15
        names = {parse_command(line) for line in lines}
        assert {"weekly", "forecast", "serve", "ledger verify", "ledger resolve", "ledger show", "audit"} <= names
        runs = docker_lines(text, "capshift:0.1.0")
        assert [parse_command(run or ["serve"]) for run in runs] == ["serve", "weekly"]

    def test_every_path_and_exit_code_is_told(self, root: Path, api_paths: set[str]) -> None:
        text = (root / "docs" / "serving.md").read_text(encoding="utf-8")
        for path in api_paths:
            assert path in text
        for code in ("| 0 |", "| 1 |", "| 2 |", "| 3 |", "| 4 |", "| 5 |", "| 6 |"):
            assert code in text


class TestUnits:
    @pytest.fixture
    def units(self, root: Path) -> Path:
        return root / "deploy" / "systemd"

    def test_every_line_is_a_command(self, units: Path) -> None:
        names = [parse_command(line) for path in units.glob("*.service") for line in unit_commands(path)]
        assert sorted(names) == ["ingest", "ledger resolve", "ledger resolve", "ledger verify", "serve", "weekly"]

    def test_services_are_hardened_and_timers_have_one(self, units: Path) -> None:
        services = sorted(units.glob("*.service"))
        assert len(services) == 3
        for path in services:
            lines = set(path.read_text(encoding="utf-8").splitlines())
            assert lines >= HARDENED, path.name
            assert "User=capshift" in lines
        for path in units.glob("*.timer"):
            assert path.with_suffix(".service").is_file()

    def test_systemd_takes_them(self, units: Path, tmp_path: Path) -> None:
        tool = shutil.which("systemd-analyze")
        if tool is None:
            # .ci/run installs no systemd: a container has none, and the parse above still holds.
            return
        for path in units.iterdir():
            # The program is not installed here.
            text = path.read_text(encoding="utf-8").replace("/opt/capshift/bin/capshift", "/bin/true")
            (tmp_path / path.name).write_text(text, encoding="utf-8")
        done = subprocess.run(
            [tool, "verify", *map(str, sorted(tmp_path.iterdir()))], capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stderr) == (0, "")


class TestCron:
    def test_every_line_is_a_command(self, root: Path) -> None:
        lines = (root / "deploy" / "cron" / "capshift").read_text(encoding="utf-8").splitlines()
        jobs = [line for line in lines if line and not line.startswith("#") and "=" not in line.split()[0]]
        names = []
        for job in jobs:
            fields = 1 if job.startswith("@") else 5
            user, *command = job.split()[fields:]
            assert user == "capshift"
            (line,) = shell_lines("  " + " ".join(command))
            names.append(parse_command(line))
        assert names == ["weekly", "ledger resolve", "ledger verify", "serve"]


class TestCompose:
    @pytest.fixture
    def compose(self, root: Path) -> dict[str, Any]:
        path = root / "deploy" / "compose" / "compose.yaml"
        loaded: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
        return loaded

    def test_its_commands_are_ours_or_those_of_mlflow(self, compose: dict[str, Any], root: Path) -> None:
        services = compose["services"]
        assert set(services) == {"database", "mlflow", "api", "weekly", "resolve"}
        ours = {name: parse_command(services[name]["command"]) for name in ("api", "weekly", "resolve")}
        assert ours == {"api": "serve", "weekly": "weekly", "resolve": "ledger resolve"}
        from mlflow.cli import cli as mlflow

        assert services["mlflow"]["entrypoint"] == ["mlflow"]
        command, *options = services["mlflow"]["command"]
        mlflow.commands[command].make_context(command, options)

    def test_nothing_is_open_and_nothing_is_written_in_it(self, compose: dict[str, Any], root: Path) -> None:
        services = compose["services"]
        assert [port for service in services.values() for port in service.get("ports", [])] == ["127.0.0.1:8000:8000"]
        for name in ("mlflow", "api", "weekly", "resolve"):
            assert services[name]["read_only"] is True
            assert services[name]["cap_drop"] == ["ALL"]
            assert services[name]["environment"]["CAPSHIFT_LEDGER"].startswith("postgresql://")
        text = (root / "deploy" / "compose" / "compose.yaml").read_text(encoding="utf-8")
        # Passwords come from outside, and nothing starts without them.
        for line in text.splitlines():
            if "PASSWORD:" in line or "TOKEN:" in line:
                assert ":?" in line

    def test_what_it_mounts_and_depends_on_is_there(self, compose: dict[str, Any], root: Path) -> None:
        folder = root / "deploy" / "compose"
        assert (folder / compose["x-capshift"]["build"]["context"] / "Dockerfile").is_file()
        for service in compose["services"].values():
            assert set(service.get("depends_on", {})) <= set(compose["services"])
            for volume in service.get("volumes", []):
                source = volume.partition(":")[0]
                if source.startswith("./"):
                    assert (folder / source).exists()
                elif not source.startswith("$"):
                    assert source in compose["volumes"]
