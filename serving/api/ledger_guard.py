"""The ledger is shown only as long as it verifies: who reads it over HTTP cannot run `capshift ledger verify`."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

from features.errors import LedgerError
from serving.api.file_cache import State, file_state
from serving.ledger import Ledger
from serving.ledger_verify import verify

_SECONDS = 60.0
"""How long a verification holds where no file tells of a change: on a server."""


class LedgerGuard:
    """Verifies a ledger when it has changed, and remembers what was found.

    Parameters
    ----------
    ledger : Ledger
    clock : callable
        Seconds that never run backwards.
    """

    def __init__(self, ledger: Ledger, clock: Callable[[], float] = time.monotonic) -> None:
        self._ledger, self._clock = ledger, clock
        self._lock = threading.Lock()
        self._seen: tuple[State | None, ...] = ()
        self._until, self._wrong = -1.0, ""

    def require(self) -> None:
        """Let nobody past unless every record is as it was written.

        Raises
        ------
        LedgerError
            With the first bad record.
        DataContractError, LockedError
            If there is no ledger, or it is busy.
        """
        with self._lock:
            # Taken before reading: what changes meanwhile is read again next time.
            seen = self._states()
            stale = self._ledger.database.path is None and self._clock() >= self._until
            if not self._seen or seen != self._seen or stale:
                finding = verify(self._ledger).finding
                self._wrong = "" if finding is None else f"{finding.chain}: {finding.message}"
                self._seen, self._until = seen, self._clock() + _SECONDS
            if self._wrong:
                raise LedgerError(f"{self._ledger.database.name}: {self._wrong}; restore a backup that verifies")

    def _states(self) -> tuple[State | None, ...]:
        path = self._ledger.database.path
        files = [self._ledger.head_path]
        if path is not None:
            files += [path, path.with_name(f"{path.name}-wal")]
        return tuple(_state(file) for file in files)


def _state(path: Path) -> State | None:
    try:
        return file_state(path)
    except OSError:
        return None
