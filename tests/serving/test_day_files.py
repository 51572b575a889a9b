"""The files of a day: finished when both are whole and made from what is asked for, and written again otherwise."""

from __future__ import annotations

import resource
import signal
from functools import lru_cache
from pathlib import Path

import pytest

from features.errors import DataContractError
from serving.day_files import PROVENANCE, DayFiles, sweep
from serving.forecast import Call, make_forecast
from serving.output import forecast_text
from tests import small

DAY = "2010-11-26"


@lru_cache(maxsize=1)
def call() -> Call:
    return make_forecast(
        small.market(), small.observations(), small.dataset(), small.walked().bundles[-1], small.plan()
    )


def made_from() -> dict[str, str]:
    document = call().forecast.to_json()
    return {name: document[name] for name in PROVENANCE}


@pytest.fixture
def files(tmp_path: Path) -> DayFiles:
    files = DayFiles(tmp_path, "sample", DAY)
    assert files.write(call()) == "written"
    return files


def test_a_day_is_finished_once_written(files: DayFiles) -> None:
    assert files.intact()
    assert files.finished(made_from())
    assert files.write(call()) == "unchanged"
    assert files.rows()["pair"].nunique() == 4


@pytest.mark.parametrize("name", PROVENANCE)
def test_a_day_made_from_something_else_is_not(files: DayFiles, name: str) -> None:
    assert not files.finished({**made_from(), name: "2010-01-15"})


@pytest.mark.parametrize("suffix", ["json", "parquet", "sha256"])
@pytest.mark.parametrize("damage", ["cut", "empty", "gone", "a bit"])
def test_a_damaged_file_is_no_finished_day_and_is_written_again(files: DayFiles, suffix: str, damage: str) -> None:
    before = {name: files.path(name).read_bytes() for name in ("json", "parquet", "sha256")}
    path, whole = files.path(suffix), files.path(suffix).read_bytes()
    if damage == "gone":
        path.unlink()
    else:
        middle = len(whole) // 2
        flipped = whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :]
        path.write_bytes({"cut": whole[:middle], "empty": b"", "a bit": flipped}[damage])
    assert not files.intact()
    assert not files.finished(made_from())
    assert files.write(call()) in ("written", "replaced")
    assert {name: files.path(name).read_bytes() for name in before} == before


def test_a_damaged_parquet_is_one_sentence(files: DayFiles) -> None:
    files.path("parquet").write_bytes(files.path("parquet").read_bytes()[:-100])
    with pytest.raises(DataContractError, match="not a readable forecast; score the day again"):
        files.rows()


def test_what_a_killed_job_left_is_swept(files: DayFiles, tmp_path: Path) -> None:
    left = tmp_path / "sample" / f".{DAY}.json-x1y2z3"
    left.write_text("{", encoding="utf-8")
    sweep(tmp_path, "sample")
    assert sorted(path.name for path in (tmp_path / "sample").iterdir()) == [
        f"{DAY}.json",
        f"{DAY}.parquet",
        f"{DAY}.sha256",
    ]
    assert files.intact()


def test_a_full_disk_is_one_sentence_and_leaves_no_finished_day(tmp_path: Path) -> None:
    files = DayFiles(tmp_path, "sample", DAY)
    size = len(forecast_text(call().forecast).encode())
    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        # Room for nothing, and for a part of the JSON.
        for limit in (0, size // 2):
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
            with pytest.raises(DataContractError, match="make room and run again"):
                files.write(call())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert not files.intact()
    assert list((tmp_path / "sample").iterdir()) == []
    assert files.write(call()) == "written"


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "sample").write_text("a file", encoding="utf-8")
    with pytest.raises(DataContractError, match="cannot be written"):
        DayFiles(tmp_path, "sample", DAY).write(call())
