"""The application: routes, layers around them, and what they share."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from importlib.metadata import version
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from features.errors import CapshiftError
from serving.api import forecast_routes, health_routes, ledger_routes, whatif_routes
from serving.api.access import Access
from serving.api.auth import PROBES, Auth
from serving.api.log import JsonLog, Log
from serving.api.openapi import contract
from serving.api.problems import answer_http, answer_invalid, answer_ours
from serving.api.rate_limit import Buckets, RateLimit
from serving.api.readiness import ReadinessChecks
from serving.api.request_limits import RequestLimits
from serving.api.security_headers import SecurityHeaders
from serving.api.service import Service, utc_now
from serving.api.settings import ApiSettings


def create_app(settings: ApiSettings, log: Log | None = None, now: Callable[[], datetime] = utc_now) -> FastAPI:
    """Return the application.

    Parameters
    ----------
    settings : ApiSettings
    log : Log, optional
        Lines on standard output by default.
    now : callable
        Returns the time, with its zone.
    """
    service = Service(settings, now)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        service.workers.close()

    app = FastAPI(
        title="capshift",
        version=version("capshift"),
        summary="How likely the size style in force is to break, how bad that would be, and why.",
        description="Forecasts, their drivers, what-if and the ledger. Probabilities and returns are fractions.",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
    )
    app.state.service, app.state.readiness = service, ReadinessChecks(service)
    routers = [forecast_routes.router, whatif_routes.router, ledger_routes.router, health_routes.router]
    open_paths = PROBES
    if settings.metrics != "off":
        routers.append(health_routes.metrics_router)
    if settings.metrics == "open":
        open_paths = PROBES | {"/metrics"}
    for router in routers:
        app.include_router(router)
    app.add_exception_handler(HTTPException, answer_http)
    app.add_exception_handler(RequestValidationError, answer_invalid)
    app.add_exception_handler(CapshiftError, answer_ours)
    # The layer that is added last is the outermost one.
    app.add_middleware(RequestLimits, limits=settings.limits)
    if settings.token is not None:
        app.add_middleware(Auth, token=settings.token, open_paths=open_paths)
    if settings.limits.per_minute:
        app.add_middleware(RateLimit, buckets=Buckets(settings.limits.per_minute, settings.limits.burst))
    app.add_middleware(SecurityHeaders)
    app.add_middleware(Access, log=log or JsonLog(), metrics=service.metrics)
    document: dict[str, Any] = {}

    def openapi() -> dict[str, Any]:
        if not document:
            document.update(contract(app, token=settings.token is not None, open_paths=open_paths))
        return document

    app.openapi = openapi  # type: ignore[method-assign]
    return app
