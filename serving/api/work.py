"""Threads that compute while the loop answers others; as many as told, however slow they are."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Result = TypeVar("Result")


class Workers:
    """A few threads. A request that is given up frees its place in the queue; a thread at work finishes first.

    Parameters
    ----------
    count : int
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._pool: ThreadPoolExecutor | None = None

    async def run(self, work: Callable[[], Result]) -> Result:
        """Call `work` in a thread and return what it returns."""
        # Called from the loop only, so that nobody else makes one meanwhile.
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._count, thread_name_prefix="capshift-api")
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)

    def close(self) -> None:
        """Drop what has not begun; what has begun finishes."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
            self._pool = None
