"""How often one client may ask: a bucket of tokens for each address, refilled as time goes by."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable

from starlette.types import ASGIApp, Receive, Scope, Send

from serving.api.auth import PROBES
from serving.api.problems import problem_response, request_id

_CLIENTS = 10_000
"""Addresses that are remembered; beyond, the one that was quiet for the longest time starts afresh."""


class Buckets:
    """A bucket for each client.

    Parameters
    ----------
    per_minute, burst : int
        How many tokens a minute brings, and how many a bucket holds.
    clock : callable
        Seconds that never run backwards.
    """

    def __init__(self, per_minute: int, burst: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate, self._burst, self._clock = per_minute / 60.0, float(burst), clock
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait(self, client: str) -> float:
        """Take a token; return 0.0, or the seconds until there is one again."""
        now = self._clock()
        tokens, then = self._left.pop(client, (self._burst, now))
        tokens = min(self._burst, tokens + (now - then) * self._rate)
        taken = tokens >= 1.0
        self._left[client] = (tokens - 1.0 if taken else tokens), now
        if len(self._left) > _CLIENTS:
            self._left.popitem(last=False)
        return 0.0 if taken else (1.0 - tokens) / self._rate


class RateLimit:
    """Tells a client that asks too often when to come back.

    Parameters
    ----------
    app : ASGI application
    buckets : Buckets
    """

    def __init__(self, app: ASGIApp, buckets: Buckets) -> None:
        self._app, self._buckets = app, buckets

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http" or scope["path"] in PROBES:
            await self._app(scope, receive, send)
            return
        client = scope.get("client")
        wait = self._buckets.wait(client[0] if client else "")
        if wait == 0.0:
            await self._app(scope, receive, send)
            return
        seconds = str(math.ceil(wait))
        answer = problem_response(
            429, "too many requests", f"try again in {seconds} s", request_id(scope), {"Retry-After": seconds}
        )
        await answer(scope, receive, send)
