"""Every error as one object: what is wrong, what to do about it, and the number under which the log knows it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException

from features.errors import BundleError, CapshiftError, LedgerError, LockedError, StaleDataError

MEDIA_TYPE = "application/problem+json"


class Problem(BaseModel):
    """Why a request was not answered."""

    model_config = ConfigDict(extra="forbid")

    status: int = Field(description="The HTTP status.", ge=400, le=599)
    error: str = Field(description="What is wrong, in one sentence.")
    remedy: str | None = Field(description="What to do about it; null where nothing is known to help.")
    id: str = Field(description="The request's number; the log has it too.")


class ApiProblem(HTTPException):
    """A request that is not answered.

    Parameters
    ----------
    status : int
    error : str
        What the client is told; never a path of this machine, never a trace.
    remedy : str, optional
    headers : mapping, optional
        Headers of the answer.
    """

    def __init__(
        self, status: int, error: str, remedy: str | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(status, error, dict(headers) if headers else None)
        self.error, self.remedy = error, remedy


def problem_response(
    status: int, error: str, remedy: str | None, request_id: str, headers: Mapping[str, str] | None = None
) -> JSONResponse:
    """Return a problem as an answer."""
    content = Problem(status=status, error=error, remedy=remedy, id=request_id).model_dump()
    return JSONResponse(content, status, headers, media_type=MEDIA_TYPE)


def request_id(scope: Mapping[str, Any]) -> str:
    """Return the number that `serving.api.access.Access` gave a request."""
    return str(scope.get("state", {}).get("request_id", ""))


async def answer_http(request: Request, raised: Exception) -> JSONResponse:
    """Answer an error that has a status: one of ours, an unknown path, a method that is not allowed."""
    if not isinstance(raised, HTTPException):
        raise raised
    if raised.status_code == 400:
        # What FastAPI says of a body that cannot be parsed for another reason than its grammar: bytes, or depth.
        return problem_response(422, _NO_JSON, _CONTRACT, request_id(request.scope))
    remedy = raised.remedy if isinstance(raised, ApiProblem) else _REMEDIES.get(raised.status_code)
    error = raised.error if isinstance(raised, ApiProblem) else _ERRORS.get(raised.status_code, str(raised.detail))
    return problem_response(raised.status_code, error, remedy, request_id(request.scope), raised.headers)


async def answer_invalid(request: Request, raised: Exception) -> JSONResponse:
    """Answer a request that breaks the contract: the first thing that is wrong, and where."""
    if not isinstance(raised, RequestValidationError):
        raise raised
    found = raised.errors()
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    return problem_response(422, f"{_first(found)}{more}", _CONTRACT, request_id(request.scope))


async def answer_ours(request: Request, raised: Exception) -> JSONResponse:
    """Answer an error of capshift: its own words may name paths of this machine, so they go to the log only."""
    if not isinstance(raised, CapshiftError):
        raise raised
    status, error, remedy = _SAID.get(type(raised), (503, "the stored data cannot be used now", _LOG))
    request.scope.setdefault("state", {})["reason"] = f"{type(raised).__name__}: {raised}"
    headers = {"Retry-After": "5"} if isinstance(raised, LockedError) else None
    return problem_response(status, error, remedy, request_id(request.scope), headers)


def _first(found: Sequence[Any]) -> str:
    """Say in words what the first finding of pydantic is."""
    if not found:
        return "the request breaks the contract"
    if found[0]["type"] == "json_invalid":
        return _NO_JSON
    parts = [str(part) for part in found[0]["loc"]]
    name, said = ".".join(parts[1:] or parts)[:80], str(found[0]["msg"])[:200]
    return f"`{name}`: {said[:1].lower()}{said[1:]}".replace("value error, ", "", 1)


_NO_JSON, _CONTRACT = "the body is no JSON", "/openapi.json says what is accepted"
_LOG = "the service's log says more under this number"
_ERRORS = {404: "there is nothing at this path", 405: "this method is not allowed here"}
_REMEDIES = {
    400: "/openapi.json says what is accepted",
    404: "/openapi.json lists the paths",
    405: "the header Allow lists the methods",
}
_SAID: dict[type[CapshiftError], tuple[int, str, str]] = {
    BundleError: (503, "the bundle of this forecast cannot be used", _LOG),
    LedgerError: (503, "the ledger is damaged", "run `capshift ledger verify` on the server"),
    LockedError: (503, "another process holds the data", "try again in some seconds"),
    StaleDataError: (409, "the forecast abstains; there is nothing to move", "name another pair or another day"),
}
