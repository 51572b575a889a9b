"""Batch scoring: equal to the scorer, whole, atomic, one at a time, and unharmed by a kill."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from features.errors import DataContractError, LockedError
from models.row_scores import DRIVER_COLUMNS, NUMBER_COLUMNS, RowScorer, scores_frame
from serving.job_log import JobLog
from serving.lock import output_lock
from serving.parquet_rows import open_rows
from serving.score_rows import ScoreJob, score_rows
from tests.models import row_toy

SILENT = JobLog("test", lambda *_: None)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return row_toy.bundle().save(tmp_path_factory.mktemp("bundle") / "bundle")


def write(frame: pd.DataFrame, path: Path, group: int = 10_000) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    frame.to_parquet(path, index=False, row_group_size=group)
    return path


def expected(frame: pd.DataFrame) -> pd.DataFrame:
    scorer = RowScorer(row_toy.bundle(), "reference")
    rows, _ = scorer.contract.read(frame)
    return scores_frame(scorer.score(rows))


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.mark.parametrize(("group", "part"), [(10_000, 200), (70, 200), (250, 200), (37, 1)])
def test_equal_to_the_scorer_however_the_rows_are_cut(bundle: Path, tmp_path: Path, group: int, part: int) -> None:
    frame = row_toy.many(61 if part == 1 else 950, seed=1)
    source = write(frame, tmp_path / "rows.parquet", group)
    counts = score_rows(ScoreJob(source, tmp_path / "out.parquet", bundle, part_rows=part), SILENT)
    assert (counts.rows, counts.scored, counts.rejected) == (len(frame), len(frame), 0)
    found = pd.read_parquet(tmp_path / "out.parquet")
    assert list(found["pair"]) == list(frame["pair"])
    assert list(found["decision_date"]) == list(frame["decision_date"])
    wanted = expected(frame)
    np.testing.assert_allclose(found[list(NUMBER_COLUMNS)], wanted[list(NUMBER_COLUMNS)], rtol=0, atol=1e-12)
    for column in ("validity", "reasons", *DRIVER_COLUMNS):
        assert list(found[column].astype(object).fillna("")) == list(wanted[column].fillna(""))
    assert names(tmp_path) == {"rows.parquet", "out.parquet"}
    made_by = json.loads(pq.read_schema(tmp_path / "out.parquet").metadata[b"capshift"])
    assert (made_by["market"], made_by["simulated"]) == ("sample", True)


def test_breaches_go_to_the_rejects_and_counts_add_up(bundle: Path, tmp_path: Path) -> None:
    first, second = row_toy.many(300, seed=2), row_toy.many(200, seed=3)
    first.loc[[5, 299], "pair"] = "no-such"
    first.loc[7, "crash_1w_base"] = 2.0
    second["style_momentum_4w"] = "0.5"
    write(first, tmp_path / "rows" / "a.parquet", 64)
    write(second, tmp_path / "rows" / "deep" / "b.parquet")
    (tmp_path / "rows" / "_SUCCESS").write_text("")
    (tmp_path / "rows" / ".c.parquet").write_text("a hidden file is none of ours")
    counts = score_rows(ScoreJob(tmp_path / "rows", tmp_path / "out.parquet", bundle, part_rows=128), SILENT)
    assert (counts.rows, counts.scored, counts.rejected) == (500, 297, 203)
    rejects = pd.read_parquet(tmp_path / "out.rejects.parquet")
    assert len(pd.read_parquet(tmp_path / "out.parquet")) == 297
    assert list(zip(rejects["source"], rejects["row"], strict=True))[:4] == [
        ("a.parquet", 5), ("a.parquet", 7), ("a.parquet", 299), ("deep/b.parquet", 0),
    ]  # fmt: skip
    assert rejects["reason"].iloc[1] == "crash_1w_base is missing or no probability inside (0, 1)"
    assert set(rejects["reason"].iloc[3:]) == {"style_momentum_4w is no number"}
    write(first.drop(index=[5, 7, 299]), tmp_path / "good.parquet")
    score_rows(ScoreJob(tmp_path / "good.parquet", tmp_path / "out.parquet", bundle), SILENT)
    assert names(tmp_path) == {"rows", "good.parquet", "out.parquet"}


def test_key_columns_of_another_type_reject_every_row(bundle: Path, tmp_path: Path) -> None:
    frame = row_toy.many(20)
    source = write(frame.assign(pair=7, decision_date="2010-09-17"), tmp_path / "rows.parquet")
    counts = score_rows(ScoreJob(source, tmp_path / "out.parquet", bundle), SILENT)
    assert (counts.scored, counts.rejected) == (0, 20)
    assert len(pd.read_parquet(tmp_path / "out.parquet")) == 0
    assert list(pd.read_parquet(tmp_path / "out.rejects.parquet")["pair"]) == ["7"] * 20


def test_small_row_groups_are_read_together(tmp_path: Path) -> None:
    source = write(row_toy.many(1000), tmp_path / "rows.parquet", 30)
    files = open_rows(source, 200)
    assert files.rows == 1000
    assert files.parts == 6
    assert [len(unit.groups) for unit in files.units] == [6, 6, 6, 6, 6, 4]


@pytest.mark.parametrize("spoil", ["cut", "none", "text", "lacks", "empty"])
def test_damaged_input_is_one_sentence(bundle: Path, tmp_path: Path, spoil: str) -> None:
    source = write(row_toy.many(500), tmp_path / "rows.parquet", 100)
    if spoil == "cut":
        data = bytearray(source.read_bytes())
        data[4 : len(data) // 2] = bytes(len(data) // 2 - 4)
        source.write_bytes(data)
    elif spoil == "none":
        source.unlink()
    elif spoil == "text":
        source.write_text("no parquet")
    elif spoil == "lacks":
        write(row_toy.many(5).drop(columns="pair"), source)
    else:
        write(row_toy.many(5).iloc[:0], source)
    with pytest.raises(DataContractError) as raised:
        score_rows(ScoreJob(source, tmp_path / "out.parquet", bundle), SILENT)
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "out.parquet").exists()


def test_one_job_an_output(bundle: Path, tmp_path: Path) -> None:
    source = write(row_toy.many(20), tmp_path / "rows.parquet")
    with output_lock(tmp_path / "out.parquet"), pytest.raises(LockedError, match="another job"):
        score_rows(ScoreJob(source, tmp_path / "out.parquet", bundle), SILENT)
    with pytest.raises(DataContractError, match="must not lie among the rows"):
        score_rows(ScoreJob(tmp_path, tmp_path / "out.parquet", bundle), SILENT)


def test_the_input_is_never_taken_for_rejected_rows(bundle: Path, tmp_path: Path) -> None:
    source = write(row_toy.many(20), tmp_path / "rows.rejects.parquet")
    with pytest.raises(DataContractError, match="must not lie among the rows"):
        score_rows(ScoreJob(source, tmp_path / "rows.parquet", bundle), SILENT)
    assert source.is_file()


def test_other_input_starts_over(bundle: Path, tmp_path: Path) -> None:
    """Parts of an earlier input are not mixed with those of a changed one."""
    source, out = write(row_toy.many(500, seed=1), tmp_path / "rows.parquet", 100), tmp_path / "out.parquet"
    done = 0

    def stop_after_two(stage: str, at: int, of: int) -> None:
        nonlocal done
        done = at
        if at == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        score_rows(ScoreJob(source, out, bundle, part_rows=100), JobLog("test", stop_after_two))
    assert done == 2
    assert (tmp_path / ".out.parquet.parts").is_dir()
    other = row_toy.many(500, seed=2)
    write(other, source, 100)
    score_rows(ScoreJob(source, out, bundle, part_rows=100), SILENT)
    found = pd.read_parquet(out)
    np.testing.assert_allclose(found["p_crash_4w"], expected(other)["p_crash_4w"], rtol=0, atol=1e-12)


def test_finished_parts_are_not_scored_again(bundle: Path, tmp_path: Path) -> None:
    source, out = write(row_toy.many(500), tmp_path / "rows.parquet", 100), tmp_path / "out.parquet"
    seen: list[int] = []

    def stop_after_three(stage: str, at: int, of: int) -> None:
        seen.append(at)
        if at == 3 and len(seen) <= 4:
            raise KeyboardInterrupt

    log = JobLog("test", stop_after_three)
    with pytest.raises(KeyboardInterrupt):
        score_rows(ScoreJob(source, out, bundle, part_rows=100), log)
    # The fourth was being written meanwhile. A part that was cut in writing does not count.
    last = sorted((tmp_path / ".out.parquet.parts").glob("*.arrow"))[-1]
    last.write_bytes(last.read_bytes()[:1000])
    score_rows(ScoreJob(source, out, bundle, part_rows=100), log)
    assert seen == [0, 1, 2, 3, 3, 4, 5]
    assert len(pd.read_parquet(out)) == 500


_JOB = """
import sys
from pathlib import Path
from serving.job_log import JobLog
from serving.score_rows import ScoreJob, score_rows
source, out, bundle = (Path(name) for name in sys.argv[1:4])
counts = score_rows(ScoreJob(source, out, bundle, reference=True, part_rows=50), JobLog("score"))
print(counts.rows, counts.scored, counts.rejected)
"""


@pytest.mark.parametrize("kills", [pytest.param(3, marks=pytest.mark.deep), pytest.param(20, marks=pytest.mark.fault)])
def test_killed_at_any_time_the_next_run_completes(bundle: Path, tmp_path: Path, kills: int) -> None:
    frame = row_toy.many(1500, seed=5)
    frame.loc[frame.index[::100], "pair"] = "no-such"
    source = write(frame, tmp_path / "in" / "rows.parquet", 200)
    whole, out = tmp_path / "whole.parquet", tmp_path / "killed.parquet"
    score_rows(ScoreJob(source, whole, bundle, reference=True, part_rows=50), SILENT)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", _JOB, str(source), str(out), str(bundle)]
    rng = np.random.default_rng(kills)
    for after in rng.integers(1, 29, kills):
        job = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, env=environment)
        assert job.stderr is not None
        for line in job.stderr:
            if json.loads(line).get("done", 0) >= after:
                break
        time.sleep(float(rng.uniform(0, 0.02)))
        job.send_signal(signal.SIGKILL)
        job.wait()
        assert not out.exists() or pq.read_metadata(out).num_rows == 1485
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert done.stdout == "1500 1485 15\n"
    assert out.read_bytes() == whole.read_bytes()
    assert (tmp_path / "killed.rejects.parquet").read_bytes() == (tmp_path / "whole.rejects.parquet").read_bytes()
    assert names(tmp_path) == {
        "in",
        "whole.parquet",
        "whole.rejects.parquet",
        "killed.parquet",
        "killed.rejects.parquet",
    }


def test_a_full_disk_is_one_sentence_and_parts_stay(bundle: Path, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    job = ScoreJob(
        write(row_toy.many(2000), tmp_path / "rows.parquet", 200), disk / "out.parquet", bundle, part_rows=200
    )
    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        # Room for each part, not for the whole.
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, before[1]))
        with pytest.raises(DataContractError, match=r"cannot be written: .*File too large"):
            score_rows(job, SILENT)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert not (disk / "out.parquet").exists()
    assert any((disk / ".out.parquet.parts").glob("*.scored.arrow"))
    assert score_rows(job, SILENT).scored == 2000
