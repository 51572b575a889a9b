"""Whether forecasts can be served as they should be: files readable, bundles loadable, nothing too old."""

from __future__ import annotations

import threading
import time

from features.errors import CapshiftError, LedgerError
from serving.api.answers import Check, Readiness
from serving.api.forecasts import age_days
from serving.api.problems import ApiProblem
from serving.api.service import Service
from serving.output import store_path

_SECONDS = 2.0
"""How long an answer is kept: whoever asks needs no token, and must not keep the service busy."""
_MAGIC = b"DUCK"


class ReadinessChecks:
    """Looks at everything, at most once in two seconds.

    Parameters
    ----------
    service : Service
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        self._lock = threading.Lock()
        self._kept: tuple[float, Readiness] | None = None

    def look(self) -> Readiness:
        """Return the state of the service."""
        with self._lock:
            if self._kept is None or time.monotonic() - self._kept[0] > _SECONDS:
                checks = [self._store(), self._ledger(), *self._markets()]
                self._kept = time.monotonic(), Readiness(ready=all(check.ok for check in checks), checks=checks)
            return self._kept[1]

    def _store(self) -> Check:
        """Look at the store without opening it: a reader would keep a nightly job from writing."""
        try:
            with store_path(self._service.settings.artifacts).open("rb") as stream:
                ok = stream.read(12)[8:] == _MAGIC
        except OSError:
            ok = False
        return Check(check="store", market=None, ok=ok, detail="readable" if ok else "missing or not readable")

    def _ledger(self) -> Check:
        book = self._service.ledger
        if book.database.path is not None and not book.database.path.is_file():
            return Check(check="ledger", market=None, ok=True, detail="not begun yet")
        try:
            self._service.ledger_guard.require()
            return Check(check="ledger", market=None, ok=True, detail="verified")
        except LedgerError:
            return Check(check="ledger", market=None, ok=False, detail="does not verify")
        except CapshiftError:
            return Check(check="ledger", market=None, ok=False, detail="cannot be read")

    def _markets(self) -> list[Check]:
        markets = self._service.forecasts.markets()
        if not markets:
            return [Check(check="forecast", market=None, ok=False, detail="no forecast is stored")]
        return [check for market in markets for check in self._market(market)]

    def _market(self, market: str) -> list[Check]:
        service = self._service
        try:
            forecast = service.forecasts.read(market, None).forecast
        except (CapshiftError, ApiProblem):
            return [Check(check="forecast", market=market, ok=False, detail="the newest forecast cannot be read")]
        age, most = age_days(forecast, service.now()), service.settings.max_age_days
        # Simulated data end when they end.
        fresh = forecast.simulated or age <= most
        detail = f"{age:.1f} days old, {'SIMULATED: may be' if forecast.simulated else f'at most {most:g}'}"
        checks = [Check(check="forecast", market=market, ok=fresh, detail=detail)]
        try:
            service.bundles.load(service.bundles.folders(forecast)[0])
            checks.append(Check(check="bundle", market=market, ok=True, detail=f"cut {forecast.bundle_cut}"))
        except CapshiftError:
            checks.append(Check(check="bundle", market=market, ok=False, detail="missing or damaged"))
        return checks
