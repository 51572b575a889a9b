"""What is installed is this repository: names, markers of types, versions, lock file, gates, lazy imports, wheel."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

PACKAGES = ("features", "models", "training", "serving")
GATES = ("setup", "forecast", "lint", "type", "imports", "test", "deep", "spark", "slow", "bench", "wheel")


@pytest.fixture(scope="module")
def project(root: Path) -> dict[str, Any]:
    return tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def lock(root: Path) -> str:
    return (root / "requirements.lock").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def spark_lock(root: Path) -> str:
    return (root / "requirements-spark.lock").read_text(encoding="utf-8")


def _fresh_python(code: str, cwd: Path) -> Any:
    """Run `code` isolated and away from the repository, and return the JSON that it prints."""
    done = subprocess.run([sys.executable, "-I", "-c", code], cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


class TestNames:
    @pytest.mark.parametrize("name", PACKAGES)
    def test_only_this_distribution_owns_the_name(self, name: str) -> None:
        # A second owner in site-packages would win over ours without a word.
        assert set(metadata.packages_distributions()[name]) == {"capshift"}

    def test_imports_come_from_this_repository(self, root: Path, tmp_path: Path) -> None:
        code = f"import json, importlib; print(json.dumps([importlib.import_module(n).__file__ for n in {PACKAGES}]))"
        assert _fresh_python(code, tmp_path) == [str(root / name / "__init__.py") for name in PACKAGES]

    @pytest.mark.parametrize("name", PACKAGES)
    def test_has_marker_of_types(self, root: Path, name: str) -> None:
        assert (root / name / "py.typed").is_file()

    def test_version_is_the_installed_one(self, project: dict[str, Any]) -> None:
        assert metadata.version("capshift") == project["project"]["version"]

    def test_command(self) -> None:
        (entry,) = metadata.entry_points(group="console_scripts", name="capshift")
        assert entry.value == "serving.cli:main"


class TestLock:
    def test_spark_has_its_own(self, project: dict[str, Any], lock: str, spark_lock: str) -> None:
        pins = dict(re.findall(r"^([A-Za-z0-9._-]+)==([^ ]+) ", spark_lock, flags=re.MULTILINE))
        (need,) = (Requirement(text) for text in project["project"]["optional-dependencies"]["spark"])
        assert Version(pins.pop(need.name)) in need.specifier
        # All else is in the first environment, in whose company the tests run.
        assert set(pins) == {"py4j"}
        assert "pyspark==" not in lock
        assert spark_lock.count("--hash=sha256:") >= 2
        assert "://" not in spark_lock

    def test_every_pin_has_hashes(self, lock: str) -> None:
        entries = re.split(r"^(?=[A-Za-z0-9])", re.sub(r"^\s*#.*\n", "", lock, flags=re.MULTILINE), flags=re.MULTILINE)
        entries = [entry for entry in entries if entry.strip()]
        assert len(entries) > 50
        for entry in entries:
            assert re.match(r"[A-Za-z0-9._-]+==[^ ]+ ", entry), f"not a pin: {entry.splitlines()[0]}"
            assert "--hash=sha256:" in entry, f"no hash: {entry.splitlines()[0]}"

    @pytest.mark.parametrize("word", ["://", "--index-url", "--extra-index-url", "--find-links", "file:", "/tmp", "@ "])
    def test_names_no_address(self, lock: str, word: str) -> None:
        assert word not in lock

    def test_covers_every_dependency(self, project: dict[str, Any], lock: str) -> None:
        pins: dict[str, list[str]] = {}
        for name, version in re.findall(r"^([A-Za-z0-9._-]+)==([^ ]+) ", lock, flags=re.MULTILINE):
            pins.setdefault(canonicalize_name(name), []).append(version)
        wanted = project["project"]["dependencies"] + project["project"]["optional-dependencies"]["dev"]
        for text in [*wanted, *project["build-system"]["requires"]]:
            need = Requirement(text)
            versions = pins.get(canonicalize_name(need.name), [])
            assert versions, f"`make lock` was not run: {need.name} is not pinned"
            assert all(Version(version) in need.specifier for version in versions)


class TestGates:
    @pytest.mark.parametrize("target", GATES)
    def test_makefile_has_target(self, root: Path, target: str) -> None:
        assert re.search(rf"^{target}:", (root / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE)

    def test_ci_runs_the_gates(self, root: Path) -> None:
        script = root / ".ci" / "run"
        assert os.access(script, os.X_OK)
        text = script.read_text(encoding="utf-8")
        assert "make lint type imports test ARGS=" in text
        # The deep tests, too.
        assert 'both="not slow and ' in text


class TestLazyImports:
    def test_command_line_starts_light(self, root: Path, tmp_path: Path) -> None:
        if not (root / "serving" / "cli.py").exists():
            pytest.skip("not built yet: serving/cli.py")
        loaded = _fresh_python("import json, sys, serving.cli; print(json.dumps(sorted(sys.modules)))", tmp_path)
        heavy = {"mlflow", "shap", "matplotlib", "lightgbm", "sklearn", "scipy", "arch", "duckdb", "pandas", "training"}
        assert heavy.isdisjoint(loaded)

    @pytest.mark.parametrize("name", ["features", "models"])
    @pytest.mark.deep
    def test_lower_packages_never_load_mlflow(self, tmp_path: Path, name: str) -> None:
        code = (
            f"import importlib, json, pkgutil, sys, {name} as package\n"
            f"for module in pkgutil.walk_packages(package.__path__, {name + '.'!r}):\n"
            "    importlib.import_module(module.name)\n"
            "print(json.dumps(sorted(sys.modules)))"
        )
        assert {"mlflow", "training", "serving"}.isdisjoint(_fresh_python(code, tmp_path))


@pytest.mark.deep
def test_wheel_holds_the_four_packages_and_their_data(root: Path, tmp_path: Path) -> None:
    source = tmp_path / "source"
    ignore = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for name in PACKAGES:
        shutil.copytree(root / name, source / name, ignore=ignore)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(root / name, source / name)
    (source / "tests").mkdir()
    (source / "tests" / "__init__.py").touch()

    build = "from setuptools import build_meta; build_meta.build_wheel('..')"
    done = subprocess.run([sys.executable, "-c", build], cwd=source, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr

    (wheel,) = tmp_path.glob("capshift-*.whl")
    members = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    wanted = {
        path.relative_to(root).as_posix()
        for package in PACKAGES
        for path in (root / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert members == wanted
