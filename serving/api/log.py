"""The log: one JSON object a line, with a time in UTC; it never holds a token, a header or a body."""

from __future__ import annotations

import json
import logging
import sys
import threading
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TextIO

Value = str | int | float | bool | None
Log = Callable[..., None]
"""Called with the event's name and its fields."""


class JsonLog:
    """Writes events as lines.

    Parameters
    ----------
    stream : text stream, optional
        Standard output by default.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream
        self._lock = threading.Lock()

    def __call__(self, event: str, **fields: Value) -> None:
        """Write one line; a reader that went away is no reason to fail."""
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        line = json.dumps({"time": now, "event": event, **fields}, ensure_ascii=True)
        with self._lock:
            try:
                stream = self._stream or sys.stdout
                stream.write(line + "\n")
                stream.flush()
            except (OSError, ValueError):
                pass


class JsonHandler(logging.Handler):
    """Passes what uvicorn and asyncio log on as events.

    Parameters
    ----------
    log : Log
    """

    def __init__(self, log: Log) -> None:
        super().__init__(logging.WARNING)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record."""
        trace = None
        if record.exc_info and record.exc_info[1] is not None:
            trace = "".join(traceback.format_exception(record.exc_info[1]))
        self._log("server", level=record.levelname.lower(), message=record.getMessage(), trace=trace)
