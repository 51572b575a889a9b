"""An ingest that is killed at any moment: the next one completes, and the store is what it would have been."""

from __future__ import annotations

import json
import multiprocessing as mp
import random
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from features.market import load_market
from features.store import Store
from tests.faults.worker import command
from tests.features.definitions import definition

KILLED = -9
DAYS = pd.bdate_range("2014-01-06", "2018-12-28")


def toml(table: Mapping[str, Any], place: str = "") -> str:
    """Return a definition as TOML."""
    plain = {name: value for name, value in table.items() if not isinstance(value, Mapping)}
    lines = [f"{json.dumps(name)} = {json.dumps(value, ensure_ascii=False)}" for name, value in plain.items()]
    for name, value in table.items():
        if isinstance(value, Mapping):
            key = f"{place}{json.dumps(name)}"
            lines += [f"[{key}]", toml(value, f"{key}.")]
    return "\n".join(lines)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a definition, its data root and a clean store that a whole ingest filled."""
    folder = tmp_path_factory.mktemp("home")
    rng = np.random.default_rng(1)
    names = [f"flow{number}" for number in range(12)]
    frame = pd.DataFrame(rng.normal(size=(len(DAYS), len(names))), columns=names)
    frame.insert(0, "date", DAYS.strftime("%Y-%m-%d"))
    (folder / "data").mkdir()
    frame.to_csv(folder / "data" / "flows.csv", index=False)
    prices = pd.DataFrame({"date": frame["date"], "a": 100 + frame["flow0"], "b": 100 + frame["flow1"]})
    prices.to_csv(folder / "data" / "bars.csv", index=False)
    declared: dict[str, Any] = {name: {"file": "flows.csv", "shape": "wide", "column": name} for name in names}
    for name, column in (("large__close", "a"), ("small__close", "b")):
        declared[name] = {"file": "bars.csv", "shape": "wide", "column": column}
    (folder / "tiny.toml").write_text(toml(definition(**declared)), encoding="utf-8")
    return folder


def ingest(processes: mp.context.ForkServerContext, home: Path, artifacts: Path, after: float | None = None) -> int:
    """Ingest in a process of its own, killed after some seconds; return how it ended."""
    options = ["--market", str(home / "tiny.toml"), "--source", str(home / "data"), "--artifacts", str(artifacts)]
    child = processes.Process(target=command, args=(["ingest", *options],))
    child.start()
    if after is not None:
        time.sleep(after)
        child.kill()
    child.join()
    assert child.exitcode is not None
    return child.exitcode


def rows(home: Path, artifacts: Path) -> pd.DataFrame:
    return Store(artifacts / "store.duckdb").observations(load_market(str(home / "tiny.toml")).name)


@pytest.mark.fault
def test_killed_at_random_points(processes, home: Path, tmp_path: Path) -> None:
    clean = tmp_path / "clean"
    assert ingest(processes, home, clean) == 0
    began = time.monotonic()
    assert ingest(processes, home, tmp_path / "again") == 0
    whole = time.monotonic() - began
    expected = rows(home, clean)
    assert len(expected) == 14 * len(DAYS)
    chance, died = random.Random(7), 0
    for number in range(20):
        artifacts = tmp_path / f"killed{number}"
        died += ingest(processes, home, artifacts, whole * chance.uniform(0.1, 1.0)) == KILLED
        # What the dead process held is free again.
        assert ingest(processes, home, artifacts) == 0
        found = rows(home, artifacts)
        pd.testing.assert_frame_equal(*(part.drop(columns="recorded_at") for part in (found, expected)))
        assert not found.duplicated(["series", "period", "known_at"]).any()
        shutil.rmtree(artifacts)
    assert died, "no process was killed in mid-ingest: the source is too small for this machine"


def test_two_at_once_on_one_store(processes, home: Path, tmp_path: Path) -> None:
    """One of them may be told that the store is in use; the rows are there once."""
    assert ingest(processes, home, tmp_path) == 0
    options = ["--market", str(home / "tiny.toml"), "--source", str(home / "data"), "--artifacts", str(tmp_path)]
    children = [processes.Process(target=command, args=(["ingest", *options],)) for _ in range(3)]
    for child in children:
        child.start()
    for child in children:
        child.join()
    assert {child.exitcode for child in children} <= {0, 6}
    assert len(rows(home, tmp_path)) == 14 * len(DAYS)
