"""One job for one product: a lock that the system gives back when its holder dies."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from features.errors import DataContractError, LockedError


@contextmanager
def output_lock(out: Path) -> Iterator[None]:
    """Hold the right to write `out`; the lock is a file beside it, ``.NAME.lock``, gone when the work is done.

    Raises
    ------
    LockedError
        If another job holds it.
    DataContractError
        If the folder cannot be written.
    """
    import fcntl

    path = out.parent / f".{out.name}.lock"
    while True:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise DataContractError(f"{out}: cannot be written: {error.strerror}; choose another place") from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # The holder before may have removed the file between our two calls: then this lock guards nothing.
            current = path.exists() and os.path.samestat(os.stat(path), os.fstat(handle))
        except BlockingIOError as error:
            os.close(handle)
            raise LockedError(
                f"{out}: another job is writing it; wait for it to finish or name another output"
            ) from error
        except FileNotFoundError:
            current = False
        if current:
            break
        os.close(handle)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(handle)
