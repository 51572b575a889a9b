"""What one request may take: length of path and query, size of body, time; and how many may be worked on at once."""

from __future__ import annotations

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.api.auth import PROBES
from serving.api.problems import problem_response, request_id
from serving.api.settings import Limits


class _ClientGoneError(Exception):
    """The client went away before its request was whole."""


class RequestLimits:
    """Refuses what is too long or too much, and gives up on what takes too long.

    The body is read here, whole, before anything looks at it: it is small, or refused.

    Parameters
    ----------
    app : ASGI application
    limits : Limits
    """

    def __init__(self, app: ASGIApp, limits: Limits) -> None:
        self._app, self._limits, self._busy = app, limits, 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        refusal = self._refusal(scope)
        if refusal is not None:
            await self._answer(scope, receive, send, *refusal)
            return
        self._busy += 1
        started = False

        async def watched(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            async with asyncio.timeout(self._limits.seconds):
                body = await self._body(receive)
                if body is None:
                    most = self._limits.body_bytes
                    await self._answer(
                        scope, receive, watched, 413, "the body is too large", f"send {most} bytes at most"
                    )
                else:
                    await self._app(scope, _replayed(body, receive), watched)
        except TimeoutError:
            if not started:
                remedy = f"answers may take {self._limits.seconds:g} s; ask for less, or try again"
                await self._answer(scope, receive, send, 504, "the answer took too long", remedy)
        except _ClientGoneError:
            pass
        finally:
            self._busy -= 1

    def _refusal(self, scope: Scope) -> tuple[int, str, str] | None:
        """Return status, error and remedy of a request that is refused as it comes."""
        limits = self._limits
        query, path = len(scope["query_string"]), len(scope.get("raw_path") or scope["path"])
        if query > limits.query_bytes:
            return 414, "the query is too long", f"send {limits.query_bytes} bytes at most"
        if path + query > limits.target_bytes:
            return 414, "the path is too long", f"send {limits.target_bytes} bytes at most"
        if self._busy >= limits.concurrent and scope["path"] not in PROBES:
            return 503, "too many requests are being worked on", "try again in a second"
        declared = [value for name, value in scope["headers"] if name == b"content-length"]
        if declared and declared[0].isdigit() and int(declared[0][:20]) > limits.body_bytes:
            return self._too_large()
        return None

    def _too_large(self) -> tuple[int, str, str]:
        return 413, "the body is too large", f"send {self._limits.body_bytes} bytes at most"

    async def _body(self, receive: Receive) -> bytes | None:
        """Return the body; None where it is longer than it may be."""
        body = bytearray()
        while True:
            message = await receive()
            if message["type"] != "http.request":
                raise _ClientGoneError
            body += message.get("body", b"")
            if len(body) > self._limits.body_bytes:
                return None
            if not message.get("more_body", False):
                return bytes(body)

    @staticmethod
    async def _answer(scope: Scope, receive: Receive, send: Send, status: int, error: str, remedy: str) -> None:
        headers = {"Retry-After": "1"} if status == 503 else {}
        if status == 413:
            # What is left of the body is not read.
            headers["Connection"] = "close"
        await problem_response(status, error, remedy, request_id(scope), headers)(scope, receive, send)


def _replayed(body: bytes, receive: Receive) -> Receive:
    """Return a `receive` that gives the body again, then what comes from the client."""
    given = False

    async def replay() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay
