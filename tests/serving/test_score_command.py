"""`capshift features` and `capshift score`, end to end on the small market."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from features.errors import DataContractError
from models.predict import draft
from models.schedule import bundle_folder, bundle_root, day_text
from serving import cli
from serving.feature_table import feature_table
from serving.opened_market import OpenedMarket
from tests import small
from tests.models import row_toy


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the bundles of the small plan and rows to score."""
    root = tmp_path_factory.mktemp("artifacts")
    for bundle in small.walked().bundles:
        bundle.save(bundle_folder(bundle_root(root, "sample", small.plan()), bundle.cut, bundle.snapshot_id))
    row_toy.many(30, seed=1).to_parquet(root / "rows.parquet", index=False)
    return root


@dataclass(frozen=True)
class Done:
    """How a command ended and what it said."""

    returncode: int
    stdout: str
    stderr: str


Run = Callable[..., Done]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Call `capshift score` in this process."""

    def call(*arguments: str) -> Done:
        monkeypatch.setattr(sys, "argv", ["capshift", "score", *arguments])
        code = 0
        try:
            cli.main()
        except SystemExit as stop:
            code = int(stop.code or 0)
        return Done(code, *capsys.readouterr())

    return call


def run_alone(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `capshift score` as a user does."""
    command = [sys.executable, "-m", "serving.cli", "score", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def opened(artifacts: Path) -> OpenedMarket:
    """Return the small market with the bundles of a folder; nothing is in quarantine."""
    rows = small.observations()
    return OpenedMarket(small.market(), artifacts, rows, rows.head(0), small.dataset(), small.plan())


def test_scores_of_written_rows_are_the_forecast(home: Path, tmp_path: Path, run: Run) -> None:
    seen: list[int] = []
    table = feature_table(opened(home), row_toy.index(), lambda stage, done, of: seen.append(done))
    table.to_parquet(tmp_path / "rows.parquet", index=False)
    newest = max((home / "bundles").rglob("20*"))
    done = run(
        "--features", str(tmp_path / "rows.parquet"), "--bundle", str(newest), "--out", f"{tmp_path}/out.parquet"
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"SIMULATED {len(table)} rows: {len(table)} scored")
    events = [json.loads(line) for line in done.stderr.splitlines()]
    assert [event["event"] for event in events] == ["started", "score", "score", "finished"]
    assert events[0]["simulated"] is True
    found = pd.read_parquet(tmp_path / "out.parquet")
    forecasts = draft(row_toy.bundle(), small.dataset(), row_toy.index(), small.base(), tails=False).forecasts
    week = forecasts[forecasts["horizon_weeks"] == 4]
    np.testing.assert_allclose(found["p_switch_4w"], week["p_switch"], rtol=0, atol=1e-12)
    assert seen == list(range(1, len(np.unique(table["decision_date"])) + 1))


def test_rows_need_the_bundle_in_force(home: Path, tmp_path: Path) -> None:
    first = small.walked().bundles[0]
    with pytest.raises(DataContractError, match=f"no bundle of cut {day_text(row_toy.bundle().cut)}"):
        feature_table(opened(tmp_path), row_toy.index(), lambda *_: None)
    with pytest.raises(DataContractError, match="no pair has a row"):
        feature_table(opened(home), row_toy.index()[:0], lambda *_: None)
    assert first.cut < row_toy.bundle().cut


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--as-of", "2010-11-26"], "`as_of` and `ledger` do not go with `features`"),
        (["--bundle", "nowhere"], "manifest.json: cannot be read"),
        (["--market", "sample"], "no bundle of market 'sample' is there"),
        (["--engine", "flink"], "Invalid value"),
    ],
)
def test_usage_is_one_sentence(home: Path, tmp_path: Path, run: Run, arguments: list[str], words: str) -> None:
    rows = ["--features", str(home / "rows.parquet"), "--out", str(tmp_path / "out.parquet")]
    done = run(*rows, "--artifacts", str(tmp_path), *arguments)
    assert done.returncode == (4 if "nowhere" in arguments else 2)
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_options_of_rows_need_rows(tmp_path: Path, run: Run) -> None:
    done = run("--out", str(tmp_path / "out.parquet"), "--reference")
    assert done.returncode == 2
    assert "go with `features`" in done.stderr


def test_the_environment_speaks_to_every_command(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAPSHIFT_AS_OF", "2010-11-26")
    monkeypatch.setenv("CAPSHIFT_LEDGER", str(tmp_path / "ledger.db"))
    bundle = max((home / "bundles").rglob("20*"))
    done = run_alone(
        "--features", str(home / "rows.parquet"), "--bundle", str(bundle), "--out", f"{tmp_path}/out.parquet"
    )
    assert done.returncode == 0, done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"out.parquet"}


def test_all_rejected_is_an_error_of_data(home: Path, tmp_path: Path, run: Run) -> None:
    row_toy.many(5).assign(pair="no-such").to_parquet(tmp_path / "rows.parquet", index=False)
    bundle = max((home / "bundles").rglob("20*"))
    out = tmp_path / "out.parquet"
    done = run(
        "--features", str(tmp_path / "rows.parquet"), "--bundle", str(bundle), "--out", str(out), "--log", "json"
    )
    assert done.returncode == 2
    assert "0 scored" in done.stdout
    assert "5 rejected" in done.stdout
    assert len(pd.read_parquet(tmp_path / "out.rejects.parquet")) == 5
