"""The contract: every path with every error that it may answer."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from serving.api.auth import PROBES
from serving.api.problems import MEDIA_TYPE, Problem

_ALWAYS = {
    "413": "The body is too large.",
    "414": "The path or the query is too long.",
    "429": "Too many requests; `Retry-After` says when to come back.",
    "500": "Something unexpected; `id` is in the log.",
    "503": "Too many requests at once, or the stored data cannot be used now.",
    "504": "The answer took too long.",
}
_ROUTES = {
    "forecast": {"404": "No such forecast or pair."},
    "drivers": {"404": "No such forecast or pair."},
    "whatif": {
        "404": "No such forecast or pair.",
        "409": "The forecast abstains.",
        "422": "The request breaks the contract.",
    },
    "ledger": {"404": "Nothing is recorded of this market."},
}


def contract(app: FastAPI, *, token: bool, open_paths: frozenset[str]) -> dict[str, Any]:
    """Return the OpenAPI document of an app.

    Parameters
    ----------
    app : FastAPI
    token : bool
        Whether a token is asked for.
    open_paths : frozenset of str
        Paths that ask for none.
    """
    document = get_openapi(
        title=app.title, version=app.version, description=app.description, routes=app.routes, summary=app.summary
    )
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    schemas[Problem.__name__] = Problem.model_json_schema()
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    if token:
        document["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    for path, methods in document["paths"].items():
        for operation in methods.values():
            said = {**_ROUTES.get(operation["operationId"], {}), **_always(path, operation)}
            if token and path not in open_paths:
                operation["security"] = [{"token": []}]
                said["401"] = "A valid token is needed."
            for status, description in said.items():
                if status not in operation["responses"] or status == "422":
                    operation["responses"][status] = _problem(description, status)
    return document


def _always(path: str, operation: dict[str, Any]) -> dict[str, str]:
    said = {status: text for status, text in _ALWAYS.items() if path not in PROBES or status != "429"}
    if "422" in operation["responses"]:
        said["422"] = "The request breaks the contract."
    return said


def _problem(description: str, status: str) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "description": description,
        "content": {MEDIA_TYPE: {"schema": {"$ref": f"#/components/schemas/{Problem.__name__}"}}},
    }
    header = {"401": "WWW-Authenticate", "429": "Retry-After"}.get(status)
    if header is not None:
        answer["headers"] = {header: {"schema": {"type": "string"}, "required": True}}
    return answer
