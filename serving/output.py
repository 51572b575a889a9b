"""Where products live below the artefacts folder, and atomic writes."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from features.errors import DataContractError

if TYPE_CHECKING:
    import pandas as pd

    from serving.record import Forecast


def store_path(artifacts: Path) -> Path:
    """Return the observation store's file."""
    return artifacts / "store.duckdb"


def forecast_path(artifacts: Path, market: str, day: str, suffix: str) -> Path:
    """Return the file of one day's forecast, ``json`` or ``parquet``."""
    return artifacts / market / "forecasts" / f"{day}.{suffix}"


def backfill_folder(artifacts: Path) -> Path:
    """Return the folder of backfilled forecasts, one folder a market in it, where no other is named."""
    return artifacts / "backfill"


def scenario_path(artifacts: Path, market: str, day: str) -> Path:
    """Return the file of one day's tilted scenario set."""
    return artifacts / market / "scenarios" / f"{day}.npz"


def note_path(artifacts: Path, market: str, day: str, lang: str) -> Path:
    """Return the file of one day's note."""
    return artifacts / market / "notes" / f"{day}.{lang}.html"


def crowding_path(artifacts: Path, market: str, name: str) -> Path:
    """Return a file of the crowding monitor."""
    return artifacts / market / "crowding" / name


def write_atomic(path: Path, write: Callable[[Path], object]) -> Path:
    """Write a file beside its place and move it there, so that nobody ever reads half of it.

    Raises
    ------
    DataContractError
        If the folder cannot be written or the disk is full.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    except OSError as error:
        raise DataContractError(f"{path}: cannot be written: {error.strerror}; choose another place") from error
    os.close(handle)
    try:
        write(Path(name))
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException as error:
        Path(name).unlink(missing_ok=True)
        if isinstance(error, OSError):
            reason = error.strerror or " ".join(str(error).split())[:120]
            raise DataContractError(f"{path}: cannot be written: {reason}; make room and run again") from error
        raise
    return path


def write_text(path: Path, text: str) -> Path:
    """Write text atomically."""
    return write_atomic(path, lambda work: work.write_text(text, encoding="utf-8"))


def forecast_text(forecast: Forecast) -> str:
    """Return a forecast as it is stored; a forecast has one text, so that two can be compared byte by byte."""
    import json

    return json.dumps(forecast.to_json(), ensure_ascii=False, indent=1)


def parquet_bytes(frame: pd.DataFrame) -> bytes:
    """Return a frame as the parquet file that is written of it."""
    import io

    buffer = io.BytesIO()
    frame.to_parquet(buffer, index=False)
    return buffer.getvalue()


def write_parquet(path: Path, frame: pd.DataFrame) -> Path:
    """Write a frame as parquet atomically."""
    return write_atomic(path, lambda work: frame.to_parquet(work, index=False))


def read_forecast(artifacts: Path, market: str, day: str | None) -> Forecast:
    """Read a stored forecast, the newest where no day is named.

    Raises
    ------
    DataContractError
        If there is none, or the file is damaged or cannot be read.
    """
    from pydantic import TypeAdapter, ValidationError

    from serving.record import Forecast

    folder = forecast_path(artifacts, market, "x", "json").parent
    known = sorted(path.stem for path in folder.glob("*.json"))
    if not known or (day is not None and day not in known):
        have = f"stored: {', '.join(known[-5:])}" if known else "none is stored"
        raise DataContractError(
            f"{folder}: no forecast of {day or 'any day'} ({have}); run `capshift forecast --market {market}`"
        )
    path = folder / f"{day or known[-1]}.json"
    try:
        return TypeAdapter(Forecast).validate_json(path.read_bytes())
    except OSError as error:
        raise DataContractError(f"{path}: cannot be read: {error.strerror}; forecast it again") from error
    except ValidationError as error:
        raise DataContractError(f"{path}: not a forecast of this version of capshift; forecast it again") from error
