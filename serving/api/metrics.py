"""Prometheus metrics in a registry of their own: requests, times, age of forecasts and what abstains.

Labels come from the routes and from stored markets, never from what a client sends: their number stays small.
"""

from __future__ import annotations

from datetime import datetime

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from features.errors import CapshiftError
from serving.api.forecasts import ForecastFiles
from serving.api.problems import ApiProblem

CONTENT_TYPE = CONTENT_TYPE_LATEST
_METHODS = frozenset({"GET", "POST", "HEAD", "OPTIONS", "PUT", "PATCH", "DELETE"})
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Metrics:
    """What the service counts."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry(auto_describe=True)
        self._requests = Counter(
            "capshift_http_requests_total", "Requests answered.", ("method", "route", "status"), registry=self.registry
        )
        self._seconds = Histogram(
            "capshift_http_request_seconds", "Time to the end of the answer.", ("route",), buckets=_SECONDS,
            registry=self.registry,
        )  # fmt: skip
        self.in_flight = Gauge("capshift_http_in_flight", "Requests being worked on.", registry=self.registry)
        self._age = Gauge(
            "capshift_forecast_age_seconds", "Time since the newest stored decision.", ("market",),
            registry=self.registry,
        )  # fmt: skip
        self._rows = Gauge(
            "capshift_forecast_rows", "Pairs and horizons of the newest stored forecast.", ("market", "validity"),
            registry=self.registry,
        )  # fmt: skip
        self._abstentions = Gauge(
            "capshift_forecast_abstentions", "Pairs and horizons of the newest stored forecast that abstain.",
            ("market",), registry=self.registry,
        )  # fmt: skip
        self._unreadable = Gauge(
            "capshift_forecast_unreadable", "1 where the newest stored forecast cannot be read.", ("market",),
            registry=self.registry,
        )  # fmt: skip

    def count(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one answered request."""
        self._requests.labels(method if method in _METHODS else "other", route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def text(self, files: ForecastFiles, now: datetime) -> bytes:
        """Return everything in Prometheus' text format; forecasts are looked at now."""
        for gauge in (self._age, self._rows, self._abstentions, self._unreadable):
            gauge.clear()
        for market in files.markets():
            try:
                forecast = files.read(market, None).forecast
            except (CapshiftError, ApiProblem):
                self._unreadable.labels(market).set(1)
                continue
            self._unreadable.labels(market).set(0)
            self._age.labels(market).set((now - forecast.decision_at).total_seconds())
            self._abstentions.labels(market).set(sum(row.validity.startswith("abstain") for row in forecast.pairs))
            for row in forecast.pairs:
                self._rows.labels(market, row.validity).inc()
        return generate_latest(self.registry)
