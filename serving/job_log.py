"""What a job that runs with nobody watching says: one JSON object a line on standard error, or a bar on a terminal."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Literal

from features.errors import CapshiftError

LogKind = Literal["auto", "json", "text"]


class JobLog:
    """Reports the progress of one job.

    Parameters
    ----------
    job : str
    bar : callable, optional
        Takes stage, done and total, as `serving.steps.progress_bars` yields it; without it lines of JSON are written.
    """

    def __init__(self, job: str, bar: Callable[[str, int, int], None] | None = None) -> None:
        self._job, self._bar = job, bar

    def emit(self, event: str, **fields: Any) -> None:
        """Write one line: time (UTC), job, event and fields; a terminal shows only progress."""
        if self._bar is not None:
            if {"done", "of"} <= set(fields):
                self._bar(event, fields["done"], fields["of"])
            return
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        sys.stderr.write(json.dumps({"time": now, "job": self._job, "event": event, **fields}, default=str) + "\n")
        sys.stderr.flush()


@contextmanager
def job_log(job: str, kind: LogKind) -> Iterator[JobLog]:
    """Open the log of a job; ``auto`` is JSON unless standard error is a terminal. A failure is logged, too."""
    if kind == "text" or (kind == "auto" and sys.stderr.isatty()):
        from serving.steps import progress_bars

        with progress_bars() as bar:
            yield JobLog(job, bar)
        return
    log = JobLog(job)
    try:
        yield log
    except CapshiftError as error:
        log.emit("failed", error=str(error), exit_code=error.exit_code)
        raise
