"""A day scored in batch: the same bytes whatever the machine, nothing half-written, and every refusal in a sentence."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pydantic import TypeAdapter

from features.errors import DataContractError, LockedError, StaleDataError
from features.store import Store
from models.schedule import bundle_root
from serving.day_files import DayFiles
from serving.forecast import make_forecast
from serving.ledger import Ledger
from serving.ledger_read import recorded_forecasts
from serving.lock import output_lock
from serving.market_score import score_market
from serving.output import forecast_text, parquet_bytes, store_path
from serving.record import Forecast
from tests import small
from tests.serving.job_worker import score, score_elsewhere
from tests.serving.small_market import LAST

KILLED = -9


@pytest.fixture(autouse=True)
def small_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serving.opened_market.training_plan", lambda spec: small.plan())


@pytest.fixture(scope="module")
def wanted() -> tuple[bytes, bytes]:
    """What the library itself makes of the day."""
    call = make_forecast(
        small.market(), small.observations(), small.dataset(), small.walked().bundles[-1], small.plan()
    )
    return forecast_text(call.forecast).encode(), parquet_bytes(call.rows)


def content(out: Path) -> tuple[bytes, bytes]:
    files = DayFiles(out, "sample", LAST)
    assert files.intact()
    return files.path("json").read_bytes(), files.path("parquet").read_bytes()


def test_the_files_are_the_forecast_and_a_second_run_leaves_them_alone(
    small_folder: Path, tmp_path: Path, wanted: tuple[bytes, bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    assert score_market("sample", LAST, tmp_path, small_folder) == 0
    first = capsys.readouterr()
    assert f"SIMULATED score: {tmp_path}/sample/{LAST}.json written" in first.out
    assert f"preflight sample {LAST}: go" in first.out
    assert content(tmp_path) == wanted
    names = sorted(path.name for path in (tmp_path / "sample").iterdir())
    assert names == [f"{LAST}.json", f"{LAST}.parquet", f"{LAST}.sha256"]
    times = [path.stat().st_mtime_ns for path in sorted((tmp_path / "sample").iterdir())]
    assert score_market("sample", LAST, tmp_path, small_folder) == 0
    assert "unchanged" in capsys.readouterr().out
    assert [path.stat().st_mtime_ns for path in sorted((tmp_path / "sample").iterdir())] == times
    checked = subprocess.run(["sha256sum", "--check", f"{LAST}.sha256"], cwd=tmp_path / "sample", check=False)
    assert checked.returncode == 0
    read = TypeAdapter(Forecast).validate_json(content(tmp_path)[0])
    assert read.decision_date.isoformat() == LAST


def test_clock_time_zone_and_threads_leave_no_trace(
    processes, small_folder: Path, tmp_path: Path, wanted: tuple[bytes, bytes]
) -> None:
    child = processes.Process(target=score_elsewhere, args=(small_folder, LAST, tmp_path))
    child.start()
    child.join()
    assert child.exitcode == 0
    assert content(tmp_path) == wanted


@pytest.mark.slow  # that of a backfill, which writes the same way, is in the fast tier
def test_killed_anywhere_it_goes_on(processes, small_folder: Path, tmp_path: Path, wanted: tuple[bytes, bytes]) -> None:
    def run(out: Path, kill_at: int) -> int:
        ours, theirs = processes.Pipe()
        child = processes.Process(target=score, args=(small_folder, LAST, out, kill_at, theirs))
        child.start()
        child.join()
        assert child.exitcode == (KILLED if kill_at > 0 else 0)
        return int(ours.recv()) if kill_at < 0 else 0

    steps = run(tmp_path / "dry", -1)
    assert steps > 10
    rng = np.random.default_rng(20)
    # The last of them: both files are there, their checksums are not.
    for kill_at in [steps - 2, *rng.integers(1, steps, 19)]:
        run(tmp_path / "out", int(kill_at))
    assert score_market("sample", LAST, tmp_path / "out", small_folder) == 0
    assert content(tmp_path / "out") == wanted
    assert sorted(path.suffix for path in (tmp_path / "out" / "sample").iterdir()) == [".json", ".parquet", ".sha256"]


def test_two_jobs_on_one_output(small_folder: Path, tmp_path: Path) -> None:
    with output_lock(tmp_path / "sample"), pytest.raises(LockedError, match="another job is writing it") as error:
        score_market("sample", LAST, tmp_path, small_folder)
    assert error.value.exit_code == 6


def test_it_never_trains(small_folder: Path, tmp_path: Path) -> None:
    artifacts = tmp_path / "artifacts"
    shutil.copytree(small_folder, artifacts)
    shutil.rmtree(bundle_root(artifacts, "sample", small.plan()))
    with pytest.raises(DataContractError, match=r"no bundle of cut 2010-07-23 .* run `capshift train --market sample`"):
        score_market("sample", LAST, tmp_path, artifacts)
    assert not list((artifacts / "bundles").glob("*/*/*"))
    assert not (tmp_path / "sample").exists() or not list((tmp_path / "sample").iterdir())


def test_a_close_that_is_not_known_abstains(small_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(StaleDataError, match="ingest newer prices") as error:
        score_market("sample", "2011-08-26", tmp_path, small_folder)
    assert error.value.exit_code == 5


@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 0.97])
def test_a_truncated_store_is_one_sentence(small_folder: Path, tmp_path: Path, share: float) -> None:
    whole = store_path(small_folder).read_bytes()
    artifacts = tmp_path / "artifacts"
    artifacts.mkdir()
    store_path(artifacts).write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(DataContractError, match="store"):
        score_market("sample", LAST, tmp_path, artifacts)
    assert not list(tmp_path.glob("sample/*"))


def test_an_input_that_fell_silent_abstains_and_is_written_and_recorded(
    small_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from tests.serving.small_market import small_artifacts

    rows = small.observations()
    spec = small.market()
    sources = {name for one in spec.features.values() if one.family == "leverage" for name in one.inputs}
    silent = rows["series"].isin(sources) & (rows["period"] > pd.Timestamp("2010-05-01"))
    artifacts = small_artifacts(tmp_path / "artifacts", rows[~silent])
    root = bundle_root(artifacts, "sample", small.plan())
    # The bundle lies where a bundle of these data would: what it learned from was the same.
    opened = Store(store_path(artifacts)).observations("sample")
    from features.snapshot import snapshot_ids

    at = small.dataset().clock["decision_at"].loc[["2010-07-23"]].to_numpy("datetime64[us]")
    old = next(root.glob("2010-07-23-*"))
    old.rename(root / f"2010-07-23-{snapshot_ids(opened, at)[0]}")
    ledger = str(tmp_path / "ledger.db")
    assert score_market("sample", LAST, tmp_path, artifacts, ledger=ledger) == 5
    said = capsys.readouterr()
    assert "abstained: no live feature in leverage: inputs are stale" in said.err
    assert f"preflight sample {LAST}: abstain" in said.out
    recorded = recorded_forecasts(Ledger(ledger, tmp_path), "sample")
    assert set(recorded["validity"]) == {"abstain_stale"}
    assert recorded["p_switch"].isna().all()
    stored = DayFiles(tmp_path, "sample", LAST).rows()
    assert set(stored["validity"]) == {"abstain_stale"}
