"""Read once, again after a change, and once only however many ask."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from serving.api.file_cache import FileCache
from serving.output import write_text


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    path, cache, reads = tmp_path / "a", FileCache[str](2), []

    def read() -> str:
        reads.append(path.read_text())
        return reads[-1]

    write_text(path, "one")
    assert [cache.get("a", path, read) for _ in range(3)] == ["one"] * 3
    # Same size: what tells them apart is the file itself.
    write_text(path, "two")
    assert cache.get("a", path, read) == "two"
    assert reads == ["one", "two"]


def test_what_fails_is_not_kept(tmp_path: Path) -> None:
    path, cache = write_text(tmp_path / "a", "one"), FileCache[str](2)

    def fail() -> str:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        cache.get("a", path, fail)
    assert cache.get("a", path, path.read_text) == "one"
    path.unlink()
    with pytest.raises(OSError, match="No such file"):
        cache.get("a", path, path.read_text)


def test_the_oldest_goes_first(tmp_path: Path) -> None:
    path, cache, reads = write_text(tmp_path / "a", "one"), FileCache[int](2), []

    def read() -> int:
        reads.append(len(reads))
        return reads[-1]

    assert [cache.get(key, path, read) for key in "abacab"] == [0, 1, 0, 2, 0, 3]


def test_many_that_ask_at_once_read_once(tmp_path: Path) -> None:
    path, cache, reads = write_text(tmp_path / "a", "one"), FileCache[int](2), []

    def read() -> int:
        reads.append(1)
        time.sleep(0.05)
        return len(reads)

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(lambda _: cache.get("a", path, read), range(8))) == {1}
    assert len(reads) == 1
