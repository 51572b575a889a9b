"""Products appear whole or not at all, and a disk that is full is one sentence."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from features.errors import DataContractError
from serving.output import forecast_path, read_forecast, write_atomic, write_text


def to_a_full_disk(work: Path) -> None:
    work.write_bytes(b"half")
    Path("/dev/full").write_bytes(b"whole")


def test_a_full_disk_is_one_sentence_and_leaves_the_old_file(tmp_path: Path) -> None:
    path = write_text(tmp_path / "deep" / "note.html", "old")
    with pytest.raises(DataContractError, match=r"note\.html: cannot be written: No space left on device; make room"):
        write_atomic(path, to_a_full_disk)
    assert path.read_text(encoding="utf-8") == "old"
    assert [found.name for found in path.parent.iterdir()] == ["note.html"]


def test_so_is_one_that_pyarrow_finds_full(tmp_path: Path) -> None:
    frame = pd.DataFrame({"a": range(100_000)})
    with pytest.raises(DataContractError, match=r"rows\.parquet: cannot be written: .*No space left"):
        write_atomic(tmp_path / "rows.parquet", lambda work: frame.to_parquet("/dev/full"))


def test_a_forecast_that_cannot_be_read_is_one_sentence(tmp_path: Path) -> None:
    forecast_path(tmp_path, "sample", "2010-11-26", "json").mkdir(parents=True)
    with pytest.raises(DataContractError, match="cannot be read: Is a directory; forecast it again"):
        read_forecast(tmp_path, "sample", None)


def test_what_a_writer_raises_on_purpose_passes(tmp_path: Path) -> None:
    def refuse(work: Path) -> None:
        raise DataContractError("no")

    with pytest.raises(DataContractError, match=r"^no$"):
        write_atomic(tmp_path / "x", refuse)
    assert list(tmp_path.iterdir()) == []
