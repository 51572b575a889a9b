"""What was read from a file, kept until the file changes: a new forecast or bundle appears without a restart."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Generic, TypeVar

Value = TypeVar("Value")
State = tuple[int, int, int]


def file_state(path: Path) -> State:
    """Return what changes when a file is replaced: inode, size and time of change.

    Raises
    ------
    OSError
        If it is not there.
    """
    found = path.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns


class FileCache(Generic[Value]):
    """The newest few values, one reader at a time for each, so that nothing is read twice.

    Parameters
    ----------
    size : int
        How many values are kept.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._kept: OrderedDict[Hashable, tuple[State, Value]] = OrderedDict()
        self._busy: dict[Hashable, threading.Lock] = {}
        self._lock = threading.Lock()

    def get(self, key: Hashable, path: Path, read: Callable[[], Value]) -> Value:
        """Return the value of a key; `read` it where the file at `path` is not the one that was read.

        Raises
        ------
        OSError
            If the file is not there; and whatever `read` raises, which is not kept.
        """
        state = file_state(path)
        found = self._find(key, state)
        if found is not None:
            return found[1]
        with self._lock:
            busy = self._busy.setdefault(key, threading.Lock())
        with busy:
            # The state is taken before reading: a file that changes meanwhile is read again next time.
            state = file_state(path)
            found = self._find(key, state)
            if found is not None:
                return found[1]
            value = read()
            with self._lock:
                self._kept[key] = state, value
                self._kept.move_to_end(key)
                while len(self._kept) > self._size:
                    old, _ = self._kept.popitem(last=False)
                    self._busy.pop(old, None)
            return value

    def _find(self, key: Hashable, state: State) -> tuple[State, Value] | None:
        with self._lock:
            found = self._kept.get(key)
            if found is None or found[0] != state:
                return None
            self._kept.move_to_end(key)
            return found
