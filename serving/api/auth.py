"""The optional bearer token: compared in constant time, never logged."""

from __future__ import annotations

import hmac

from starlette.types import ASGIApp, Receive, Scope, Send

from serving.api.problems import problem_response, request_id

PROBES = frozenset({"/healthz", "/readyz"})
"""Paths that never ask for a token and never count against a limit: what keeps the service alive asks there."""


class Auth:
    """Lets nobody past without the token, save to the open paths.

    Parameters
    ----------
    app : ASGI application
    token : str
    open_paths : frozenset of str
    """

    def __init__(self, app: ASGIApp, token: str, open_paths: frozenset[str]) -> None:
        self._app, self._token, self._open = app, token.encode(), open_paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http" or scope["path"] in self._open or self._shown(scope):
            await self._app(scope, receive, send)
            return
        challenge = {"WWW-Authenticate": 'Bearer realm="capshift"'}
        remedy = "send the header `Authorization: Bearer TOKEN`"
        answer = problem_response(401, "a valid token is needed", remedy, request_id(scope), challenge)
        await answer(scope, receive, send)

    def _shown(self, scope: Scope) -> bool:
        given = [value for name, value in scope["headers"] if name == b"authorization"]
        if len(given) != 1:
            return False
        kind, _, token = given[0].partition(b" ")
        return kind.lower() == b"bearer" and hmac.compare_digest(token.strip(), self._token)
