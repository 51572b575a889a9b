"""The bundle: an exact round trip, text only, and refusal of whatever does not fit."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from features.contracts import EVENTS, HORIZONS
from features.errors import BundleError, DataContractError
from models.bundle import Bundle, Support
from models.bundle_files import MANIFEST
from tests import small


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small.walked().bundles[-1].save(tmp_path_factory.mktemp("bundles") / "2010-07-23-abc")


@pytest.fixture
def folder(saved: Path, tmp_path: Path) -> Path:
    """Return a copy that a test may spoil."""
    return Path(shutil.copytree(saved, tmp_path / "bundle"))


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def stored(folder: Path, name: str) -> Path:
    [path] = folder.glob(f"{Path(name).stem}-*{Path(name).suffix}")
    return path


def forge(folder: Path, name: str, change: Callable[[str], str]) -> None:
    """Change a file and its checksum, as somebody would who knows the format."""
    path = stored(folder, name)
    text = change(path.read_text())
    path.unlink()
    checksum = hashlib.sha256(text.encode()).hexdigest()
    path.with_name(f"{Path(name).stem}-{checksum[:12]}{Path(name).suffix}").write_text(text)
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest["files"][name] = checksum
    (folder / MANIFEST).write_text(json.dumps(manifest))


def forge_model(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    def edit(text: str) -> str:
        document = json.loads(text)
        change(document)
        return json.dumps(document)

    forge(folder, "model.json", edit)


def assert_refused(folder: Path, words: str) -> None:
    with pytest.raises(BundleError, match=words) as raised:
        Bundle.load(folder)
    assert raised.value.exit_code == 4
    assert str(folder.name) in str(raised.value)


def test_round_trip_is_exact(saved: Path, tmp_path: Path) -> None:
    bundle, loaded = small.walked().bundles[-1], Bundle.load(saved)
    for name in ("market", "simulated", "cut", "snapshot_id", "config_hash", "code_version", "features", "families"):
        assert getattr(loaded, name) == getattr(bundle, name)
    assert loaded.cut.dtype == bundle.cut.dtype
    assert loaded.settings == bundle.settings
    assert (loaded.scaler, loaded.support) == (bundle.scaler, bundle.support)
    assert loaded.volatility == bundle.volatility
    assert any(params is not None for params in loaded.volatility.values())
    assert loaded.memory.settled == bundle.memory.settled
    assert set(loaded.memory.pending) == set(bundle.memory.pending)
    assert min(len(loaded.memory.settled), len(loaded.memory.pending)) > 0
    for row, curve in bundle.memory.pending.items():
        assert np.array_equal(loaded.memory.pending[row], curve)
    assert set(loaded.heads) == {(event, horizon) for event in EVENTS for horizon in HORIZONS}
    for key, head in bundle.heads.items():
        other = loaded.heads[key]
        assert (other.pool, other.slope, other.prior) == (head.pool, head.slope, head.prior)
        for mine, theirs in ((head.linear, other.linear), (head.scenario, other.scenario)):
            assert theirs.intercept == mine.intercept
            assert np.array_equal(theirs.coef, mine.coef)
            assert np.array_equal(theirs.covariance, mine.covariance)
        assert len(other.boosters) == len(head.boosters)
    assert contents(loaded.save(tmp_path / "again")) == contents(saved)


def test_text_and_json_only(saved: Path) -> None:
    names = sorted(path.name for path in saved.iterdir())
    assert {Path(name).suffix for name in names} == {".json", ".txt"}
    assert len(names) == 2 + len(EVENTS) * len(HORIZONS)
    for path in saved.iterdir():
        text = path.read_text(encoding="utf-8")
        assert text.isprintable() or "\n" in text
        assert json.loads(text) if path.suffix == ".json" else text.startswith("tree\n")
        assert path.stat().st_mode & 0o777 == 0o644


def test_saving_again_leaves_exactly_the_new_files(folder: Path) -> None:
    old = contents(folder)
    (folder / "stray.txt").write_text("left behind")
    other = small.walked().bundles[0]
    other.save(folder)
    assert Bundle.load(folder).cut == other.cut
    assert set(contents(folder)).isdisjoint(set(old) - {MANIFEST})
    assert not list(folder.parent.glob(".*"))
    assert "stray.txt" not in contents(folder)


@pytest.mark.parametrize("name", ["model.json", "switch-1w.txt", "crash-4w.txt"])
def test_a_changed_byte_is_found(folder: Path, name: str) -> None:
    path = stored(folder, name)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))
    assert_refused(folder, "checksum differs|cannot be read")


@pytest.mark.parametrize("name", ["model.json", "large-4w.txt"])
def test_a_cut_or_missing_file_is_found(folder: Path, name: str) -> None:
    path = stored(folder, name)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert_refused(folder, "checksum differs")
    path.write_bytes(b"")
    assert_refused(folder, "checksum differs")
    path.unlink()
    assert_refused(folder, "cannot be read")
    path.mkdir()
    assert_refused(folder, "cannot be read")


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d.pop("heads"),
        lambda d: d["heads"].pop(),
        lambda d: d["heads"][0].pop("linear"),
        lambda d: d["heads"][0].pop("prior"),
        lambda d: d["heads"][0]["linear"].pop("coef"),
        lambda d: d["heads"][0]["linear"]["coef"].append(0.5),
        lambda d: d["heads"][0]["linear"].update(coef=["a"]),
        lambda d: d["heads"][0]["scenario"]["coef"].append(0.5),
        lambda d: d["heads"][0]["scenario"].update(covariance=[[1.0]]),
        lambda d: d["heads"][0].update(pool="half"),
        lambda d: d["heads"][0].update(slope=None),
        lambda d: d["heads"][0].update(event="flood"),
        lambda d: d["heads"][0]["linear"].update(intercept=float("nan")),
        lambda d: d["heads"][0]["linear"]["covariance"].pop(),
        lambda d: d["features"].pop(),
        lambda d: d["features"][0].update(weight=3),
        lambda d: d["settings"].update(unheard_of=1),
        lambda d: d["settings"]["scenarios"].update(paths=-1),
        lambda d: d["settings"].pop("trees"),
        lambda d: d.update(volatility=[]),
        lambda d: d.update(volatility={"s300": {"omega": 1}}),
        lambda d: d["volatility"]["s300"].update(beta=-1.0),
        lambda d: d["volatility"]["s300"].update(beta="much"),
        lambda d: d.pop("memory"),
        lambda d: d["memory"].pop("pending"),
        lambda d: d["memory"]["settled"][0]["lower"].pop(),
        lambda d: d["memory"]["settled"][0].update(dates=7),
        lambda d: d["memory"]["pending"][0]["upper"].pop(),
        lambda d: [d["memory"]["pending"][0][side].pop() for side in ("lower", "upper")],
        lambda d: d["memory"]["pending"][0].update(date="soon"),
        lambda d: d.update(cut="soon"),
        lambda d: d.update(scaler=None),
    ],
)
def test_a_document_that_does_not_fit_is_refused(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    forge_model(folder, change)
    assert_refused(folder, "train it again")


@pytest.mark.parametrize("text", ["", "[]", "null", "[" * 100_000, '"tree"'])
def test_a_document_of_another_kind_is_refused(folder: Path, text: str) -> None:
    forge(folder, "model.json", lambda _: text)
    assert_refused(folder, "train it again")


def test_trees_that_do_not_fit_are_refused(folder: Path) -> None:
    large = stored(folder, "large-1w.txt").read_text()
    forge(folder, "switch-1w.txt", lambda _: large)
    assert_refused(folder, "trees of switch at 1 week")
    forge(folder, "switch-1w.txt", lambda _: "not a tree")
    assert_refused(folder, "train it again")


def test_a_folder_that_cannot_be_written_is_an_error_of_usage(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    for target in (tmp_path / "file", tmp_path / "file" / "bundle"):
        with pytest.raises(DataContractError, match="cannot be written"):
            small.walked().bundles[0].save(target)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_support_is_the_range_of_what_was_seen() -> None:
    days = pd.date_range("2001-01-05", periods=101, freq="7D", unit="us")
    index = pd.MultiIndex.from_product([["a-b"], days], names=["pair", "decision_date"])
    values = pd.DataFrame({"x": np.arange(101.0), "young": [np.nan] * 50 + [1.0] * 51, "gone": np.nan}, index=index)
    support = Support.fit(values)
    assert support == Support({"x": 1.0}, {"x": 99.0}, {"x": 0.0}, {"x": 100.0})


def test_two_bundles_of_different_content_differ(saved: Path, tmp_path: Path) -> None:
    bundle = small.walked().bundles[-1]
    heads = {**bundle.heads, ("large", 4): replace(bundle.heads["large", 4], pool=0.51)}
    other = replace(bundle, heads=heads).save(tmp_path / "other")
    assert contents(other) != contents(saved)
