"""The outermost layer: a number for every request, a line in the log, the metrics, and no trace for the client."""

from __future__ import annotations

import time
import traceback
import uuid

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.api.log import Log
from serving.api.metrics import Metrics
from serving.api.problems import problem_response

_SHOWN = 200
"""Characters of a path that the log shows."""


class Access:
    """Gives every request a number, and answers for what nobody caught.

    Parameters
    ----------
    app : ASGI application
    log : Log
    metrics : Metrics
    """

    def __init__(self, app: ASGIApp, log: Log, metrics: Metrics) -> None:
        self._app, self._log, self._metrics = app, log, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        number = uuid.uuid4().hex[:16]
        scope.setdefault("state", {})["request_id"] = number
        began, status, size = time.perf_counter(), 0, 0

        async def counted(message: Message) -> None:
            nonlocal status, size
            if message["type"] == "http.response.start":
                status = int(message["status"])
                message["headers"] = [*message.get("headers", ()), (b"x-request-id", number.encode())]
            elif message["type"] == "http.response.body":
                size += len(message.get("body", b""))
            await send(message)

        self._metrics.in_flight.inc()
        try:
            await self._app(scope, receive, counted)
        except Exception as error:
            self._log("error", id=number, error=type(error).__name__, trace=traceback.format_exc())
            if not status:
                remedy = "report it with this number: the service's log says more"
                await problem_response(500, "something unexpected went wrong", remedy, number)(scope, receive, counted)
        finally:
            self._metrics.in_flight.dec()
            self._tell(scope, status, size, time.perf_counter() - began)

    def _tell(self, scope: Scope, status: int, size: int, seconds: float) -> None:
        route = str(getattr(scope.get("route"), "path", "") or "unmatched")
        self._metrics.count(scope["method"], route, status, seconds)
        client = scope.get("client")
        self._log(
            "request",
            id=scope["state"]["request_id"],
            client=client[0] if client else None,
            method=scope["method"][:_SHOWN],
            path=scope["path"][:_SHOWN],
            route=route,
            status=status,
            ms=round(1000 * seconds, 2),
            bytes=size,
            reason=scope["state"].get("reason"),
        )
