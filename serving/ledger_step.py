"""The step that records a published forecast in the ledger; never silent when it fails."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from features.errors import CapshiftError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from features.market import MarketSpec
    from serving.ledger import Appended


def utc_now() -> np.datetime64:
    """Return the time of the machine's clock, UTC."""
    from datetime import UTC, datetime

    import numpy as np

    return np.datetime64(datetime.now(UTC).replace(tzinfo=None), "us")


def record_forecast(spec: MarketSpec, rows: pd.DataFrame, location: str | None, artifacts: Path, written: Path) -> None:
    """Append a day's published rows to the ledger and print its head; the forecast is already in the file `written`.

    Raises
    ------
    CapshiftError
        If the ledger did not take them, of the kind and so with the exit code of what went wrong; publishing again
        records what is missing.
    """
    from serving.ledger import Ledger
    from serving.ledger_entry import ledger_entries

    try:
        done = Ledger(location, artifacts).append(ledger_entries(spec, rows), utc_now())
    except CapshiftError as error:
        raise type(error)(
            f"{written}: the forecast is written, but recording it in the ledger failed: {error}"
        ) from error
    kinds = [f"{done.backfilled} backfilled"] if done.backfilled else []
    kinds += [f"{done.revised} revising an earlier call"] if done.revised else []
    what = f" ({', '.join(kinds)})" if kinds else ""
    _warn_headless(done)
    typer.echo(f"ledger: {done.added} recorded{what}, {done.unchanged} there already; head: {done.head.line()}")


def record_backfilled(spec: MarketSpec, rows: pd.DataFrame, location: str, artifacts: Path) -> dict[str, int]:
    """Append a past day's rows to the ledger, quietly; return how many were recorded and how many were there.

    Raises
    ------
    CapshiftError
        If the ledger did not take them; running again records what is missing.
    """
    from serving.ledger import Ledger
    from serving.ledger_entry import ledger_entries

    done = Ledger(location, artifacts).append(ledger_entries(spec, rows), utc_now())
    _warn_headless(done)
    return {"recorded": done.added, "of them backfilled": done.backfilled, "there already": done.unchanged}


def _warn_headless(done: Appended) -> None:
    if done.headless:
        typer.echo(
            "warning: the ledger's head file was gone: records cut off the end before could not be found; it is "
            "written anew, compare with the last head in your logs",
            err=True,
        )
