"""Steps that overlap give what steps in a row give: the same results in order, and errors in their turn."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from serving.overlap import read_ahead, write_behind


def broken(count: int) -> Iterator[int]:
    yield from range(count)
    raise ValueError("no more")


@pytest.mark.parametrize("count", [0, 1, 2, 7])
def test_same_results_in_order(count: int) -> None:
    with ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(1) as writer:
        done = list(write_behind(lambda item: item * item, read_ahead(range(count), reader), writer))
    assert done == [item * item for item in range(count)]


def test_the_next_item_is_read_while_one_is_in_work() -> None:
    read, seen = threading.Event(), []

    def items() -> Iterator[int]:
        yield 0
        read.set()
        yield 1

    with ThreadPoolExecutor(1) as pool:
        for item in read_ahead(items(), pool):
            assert read.wait(10)
            seen.append(item)
    assert seen == [0, 1]


def test_an_item_is_written_while_the_next_one_is_made() -> None:
    made = threading.Event()

    def items() -> Iterator[int]:
        yield 0
        made.set()
        yield 1

    with ThreadPoolExecutor(1) as pool:
        assert list(write_behind(lambda item: made.wait(10) and item + 1, items(), pool)) == [1, 2]


def test_an_error_of_reading_is_raised_behind_what_was_read() -> None:
    with ThreadPoolExecutor(1) as pool:
        items = read_ahead(broken(2), pool)
        assert [next(items), next(items)] == [0, 1]
        with pytest.raises(ValueError, match="no more"):
            next(items)


def test_an_error_of_writing_ends_the_work() -> None:
    with ThreadPoolExecutor(1) as pool, pytest.raises(ZeroDivisionError):
        list(write_behind(lambda item: 1 // item, range(3), pool))
