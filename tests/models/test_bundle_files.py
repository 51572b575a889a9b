"""The folder of a bundle: names that stay inside it, and a save that no crash can spoil."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from features.errors import BundleError
from models.bundle import Bundle
from models.bundle_files import FORMAT, MANIFEST, MAX_BYTES
from models.schedule import day_text
from tests import small


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small.walked().bundles[-1].save(tmp_path_factory.mktemp("bundles") / "2010-07-23-abc")


@pytest.fixture
def folder(saved: Path, tmp_path: Path) -> Path:
    """Return a copy that a test may spoil."""
    return Path(shutil.copytree(saved, tmp_path / "bundle"))


def stored(folder: Path, name: str) -> Path:
    [path] = folder.glob(f"{Path(name).stem}-*{Path(name).suffix}")
    return path


def assert_refused(folder: Path, words: str) -> None:
    with pytest.raises(BundleError, match=words) as raised:
        Bundle.load(folder)
    assert raised.value.exit_code == 4
    assert str(folder.name) in str(raised.value)


@pytest.mark.parametrize(
    "manifest",
    [
        "", "{", "[]", "null", "3", '"text"', "{}", '{"format": 2}', '{"format": 2, "files": []}', "[" * 100_000,
        '{"format": 2, "files": {"model.json": {"sha256": "a"}}}', '{"format": 2, "files": {}}', "\x00\x01",
    ],
)  # fmt: skip
def test_a_spoilt_manifest_is_found(folder: Path, manifest: str) -> None:
    (folder / MANIFEST).write_text(manifest)
    assert_refused(folder, "bundle")


def test_a_missing_or_undecodable_manifest_and_a_missing_folder_are_found(folder: Path) -> None:
    (folder / MANIFEST).write_bytes(b"\xff\xfe\x00")
    assert_refused(folder, "cannot be read")
    (folder / MANIFEST).unlink()
    assert_refused(folder, "cannot be read")
    assert_refused(folder / "nowhere", "cannot be read")


@pytest.mark.parametrize("declared", [1, 99, "2", None])
def test_another_format_is_refused(folder: Path, declared: object) -> None:
    manifest = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(json.dumps({**manifest, "format": declared}))
    assert_refused(folder, f"reads {FORMAT}")


def test_an_oversized_file_is_refused_unread(folder: Path) -> None:
    os.truncate(stored(folder, "model.json"), MAX_BYTES + 1)
    assert_refused(folder, "larger than")


@pytest.mark.parametrize("name", ["../secret.json", "/etc/passwd", "a/b.txt", "..", "bad\x00name.txt"])
def test_a_name_outside_the_folder_is_refused(folder: Path, name: str) -> None:
    secret = folder.parent / "secret.json"
    secret.write_text("{}")
    checksum = hashlib.sha256(b"{}").hexdigest()
    secret.with_name(f"secret-{checksum[:12]}.json").write_text("{}")
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest["files"][name] = checksum
    (folder / MANIFEST).write_text(json.dumps(manifest))
    assert_refused(folder, "points outside|cannot be read")


def test_a_checksum_that_is_a_path_is_refused(folder: Path) -> None:
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest["files"]["model.json"] = "/../../x/../"
    (folder / MANIFEST).write_text(json.dumps(manifest))
    assert_refused(folder, "points outside")


# Every file operation of a save is one place to be killed at: the process dies there, without any clean-up, and the
# folder must still load as the old bundle or as the new one.
_KILL = """
import json, os, shutil, sys
from pathlib import Path
from models.bundle import Bundle
from models.bundle_files import read_files

old, new, target = (Path(name) for name in sys.argv[1:4])
second = Bundle.load(new)
EVENTS = {"open", "os.rename", "os.remove", "os.chmod", "os.mkdir", "os.rmdir", "os.listdir", "os.scandir"}
state = {"left": -1}

def hook(event, args):
    if state["left"] >= 0 and event in EVENTS:
        if state["left"] == 0:
            os._exit(9)
        state["left"] -= 1

def load():
    try:
        return json.loads(read_files(target)["model.json"])["cut"]
    except Exception as error:
        return type(error).__name__

sys.addaudithook(hook)
seen = []
for step in range(500):
    if sys.argv[4] == "replace":
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(old, target)
    child = os.fork()
    if child == 0:
        state["left"] = step
        second.save(target)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    seen.append(load() if target.exists() else "nothing")
    if status == 0:
        break
    if sys.argv[4] == "fresh" and target.exists():
        sys.exit("a killed first save left a folder")
print(json.dumps(seen))
"""


@pytest.mark.parametrize("kind", [pytest.param("replace", marks=pytest.mark.deep), "fresh"])
def test_killed_anywhere_a_save_leaves_the_old_or_the_new(kind: str, tmp_path: Path) -> None:
    old, new = (small.walked().bundles[place].save(tmp_path / str(place)) for place in (0, -1))
    done = subprocess.run(
        [sys.executable, "-c", _KILL, str(old), str(new), str(tmp_path / "target"), kind],
        capture_output=True, text=True, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    before = "nothing" if kind == "fresh" else day_text(small.walked().bundles[0].cut)
    after = day_text(small.walked().bundles[-1].cut)
    assert set(seen) == {before, after}
    assert len(seen) > 15
    # Once the new bundle shows, it stays: one step decides.
    assert seen == [before] * seen.count(before) + [after] * seen.count(after)
