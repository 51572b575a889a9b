"""What the routes share: settings, stored forecasts, bundles, ledger, metrics and threads."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from fastapi import Request

from serving.api.bundles import BundleShelf
from serving.api.forecasts import ForecastFiles
from serving.api.ledger_guard import LedgerGuard
from serving.api.metrics import Metrics
from serving.api.settings import ApiSettings
from serving.api.work import Workers
from serving.ledger import Ledger


class Service:
    """The parts of one service.

    Parameters
    ----------
    settings : ApiSettings
    now : callable
        Returns the time, with its zone.
    """

    def __init__(self, settings: ApiSettings, now: Callable[[], datetime]) -> None:
        self.settings = settings
        self.now = now
        self.forecasts = ForecastFiles(settings.artifacts)
        self.bundles = BundleShelf(settings.artifacts)
        self.ledger = Ledger(settings.ledger, settings.artifacts)
        self.ledger_guard = LedgerGuard(self.ledger)
        self.metrics = Metrics()
        self.workers = Workers(settings.limits.workers)


def utc_now() -> datetime:
    """Return the time."""
    return datetime.now(UTC)


def service_of(request: Request) -> Service:
    """Return the service that a request came to."""
    service: Service = request.app.state.service
    return service
