"""Two steps of a job at the same time: the next item is read while this one is worked on, and the last one written."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from itertools import islice
from typing import TypeVar

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def read_ahead(items: Iterable[_Item], pool: Executor) -> Iterator[_Item]:
    """Yield items in order; the next one is made in `pool` meanwhile. Its error is raised in its turn."""
    source = iter(items)
    coming = pool.submit(lambda: list(islice(source, 1)))
    while found := coming.result():
        coming = pool.submit(lambda: list(islice(source, 1)))
        yield found[0]


def write_behind(work: Callable[[_Item], _Result], items: Iterable[_Item], pool: Executor) -> Iterator[_Result]:
    """Yield what `work` makes of each item, in order; it runs in `pool` while the next item is made."""
    running: deque[Future[_Result]] = deque()
    for item in items:
        running.append(pool.submit(work, item))
        if len(running) > 1:
            yield running.popleft().result()
    while running:
        yield running.popleft().result()
