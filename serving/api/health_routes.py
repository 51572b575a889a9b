"""Alive, ready, metrics: for what watches over the service."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from serving.api.answers import Health, Readiness
from serving.api.metrics import CONTENT_TYPE
from serving.api.readiness import ReadinessChecks
from serving.api.service import Service, service_of

router = APIRouter()
metrics_router = APIRouter()


@router.get("/healthz", operation_id="healthz", summary="Is the process alive?")
async def healthz() -> Health:
    """Answer; nothing is looked at."""
    return Health(status="ok")


@router.get(
    "/readyz",
    operation_id="readyz",
    summary="Can forecasts be served?",
    responses={503: {"model": Readiness, "description": "Something does not hold; `checks` says what."}},
)
async def readyz(request: Request, response: Response, service: Annotated[Service, Depends(service_of)]) -> Readiness:
    """Look at store, ledger, forecasts and bundles; 503 where something is missing, damaged or too old."""
    checks: ReadinessChecks = request.app.state.readiness
    found = await service.workers.run(checks.look)
    if not found.ready:
        response.status_code = 503
    return found


@metrics_router.get(
    "/metrics",
    operation_id="metrics",
    summary="Metrics for Prometheus",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}, "description": "Prometheus text."}},
)
async def metrics(service: Annotated[Service, Depends(service_of)]) -> Response:
    """Return what was counted, and the age of forecasts as it is now."""
    text = await service.workers.run(lambda: service.metrics.text(service.forecasts, service.now()))
    return Response(text, media_type=CONTENT_TYPE)
