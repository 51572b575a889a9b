"""The forecasts that `capshift weekly` and `capshift forecast` wrote, as the service reads them."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import date, datetime
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from features.errors import CapshiftError
from serving.api.file_cache import FileCache
from serving.api.notice import notice_of
from serving.api.problems import ApiProblem
from serving.output import forecast_path
from serving.record import Forecast

if TYPE_CHECKING:
    from pydantic import TypeAdapter

MARKET_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$"
"""Names of markets; none of them can leave the artefacts folder."""
MAX_BYTES = 32 * 1024 * 1024
_KEPT = 16


class UnreadableForecastError(CapshiftError):
    """A stored forecast that cannot be read."""


@dataclass(frozen=True, eq=False)
class Stored:
    """A forecast, and the bytes that the service answers with: the same as JSON, and a notice if it is simulated."""

    forecast: Forecast
    answer: bytes


class ForecastFiles:
    """Stored forecasts by market and day.

    Parameters
    ----------
    artifacts : Path
    """

    def __init__(self, artifacts: Path) -> None:
        self._artifacts = artifacts
        self._cache: FileCache[Stored] = FileCache(_KEPT)

    def markets(self) -> list[str]:
        """Name the markets that have a forecast."""
        try:
            names = sorted(path.name for path in self._artifacts.iterdir())
        except OSError:
            return []
        return [name for name in names if re.fullmatch(MARKET_PATTERN, name) and self.days(name)]

    def days(self, market: str) -> list[str]:
        """Return the decision days that are stored of a market, ascending."""
        if not re.fullmatch(MARKET_PATTERN, market):
            return []
        folder = forecast_path(self._artifacts, market, "x", "json").parent
        try:
            return sorted(path.stem for path in folder.glob("*.json") if _is_day(path.stem))
        except OSError:
            return []

    def read(self, market: str, day: str | None) -> Stored:
        """Return a stored forecast, the newest where no day is named.

        Raises
        ------
        ApiProblem
            404 if there is none.
        UnreadableForecastError
            If the file is damaged or of another version.
        """
        days = self.days(market)
        if not days:
            raise ApiProblem(404, f"no forecast of market {market!r} is stored", "/v1/markets lists the markets")
        if day is not None and day not in days:
            near = max((known for known in days if known < day), default=days[0])
            raise ApiProblem(404, f"no forecast of {day} is stored", f"the nearest is of {near}")
        path = forecast_path(self._artifacts, market, day or days[-1], "json")
        try:
            return self._cache.get((market, path.stem), path, lambda: _read(path, market))
        except OSError as error:
            raise UnreadableForecastError(f"{path}: cannot be read: {error.strerror}; forecast it again") from error


def _read(path: Path, market: str) -> Stored:
    from pydantic import ValidationError

    if path.stat().st_size > MAX_BYTES:
        raise UnreadableForecastError(f"{path}: larger than {MAX_BYTES} bytes; this is no forecast of capshift")
    raw = path.read_bytes()
    try:
        forecast = _adapter().validate_json(raw)
    except ValidationError as error:
        raise UnreadableForecastError(f"{path}: not a forecast of this version; forecast it again") from error
    if (forecast.market, forecast.decision_date.isoformat()) != (market, path.stem):
        raise UnreadableForecastError(f"{path}: holds {forecast.market} of {forecast.decision_date}; move it away")
    try:
        # `to_json` would make null of a number that is none, where the contract has a number.
        answer_bytes(json.loads(raw))
        return Stored(forecast, answer_bytes({**forecast.to_json(), "notice": notice_of(forecast.simulated)}))
    except ValueError as error:
        raise UnreadableForecastError(f"{path}: holds a number that is none; forecast it again") from error


def answer_bytes(document: dict[str, Any]) -> bytes:
    """Return JSON without spaces.

    Raises
    ------
    ValueError
        If it holds a number that is none.
    """
    return json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def age_days(forecast: Forecast, now: datetime) -> float:
    """Return the days since a decision, a fraction."""
    return (now - forecast.decision_at).total_seconds() / 86400.0


@lru_cache(maxsize=1)
def _adapter() -> TypeAdapter[Forecast]:
    from pydantic import TypeAdapter

    return TypeAdapter(Forecast)


def _is_day(text: str) -> bool:
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False
