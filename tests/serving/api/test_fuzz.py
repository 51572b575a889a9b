"""Requests that schemathesis makes up from the service's own contract, and bytes that follow none.

Every answer keeps to the contract, none is a 5xx, none holds a trace. The short run is part of `make test`, the long
one of `make fuzz`; both send the same requests every time.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import schemathesis
from fastapi import FastAPI
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi import checks
from starlette.testclient import TestClient

from serving.api.app import create_app
from serving.api.settings import ApiSettings, Limits
from tests.serving.api.conftest import NOW, Home, Lines

CHECKS = [
    schemathesis.checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
    checks.response_headers_conformance,
]
PARAMETERS = ("drivers", "forecast", "ledger", "whatif")
"""Operations that take something."""


@pytest.fixture(scope="module")
def served(built: Home, tmp_path_factory: pytest.TempPathFactory) -> tuple[FastAPI, Lines, dict[str, Any]]:
    """The service on the sample market, what it logs, and names that mean something to it."""
    artifacts = tmp_path_factory.mktemp("fuzz") / "artifacts"
    shutil.copytree(built.artifacts, artifacts)
    shutil.rmtree(artifacts / "cn")
    log = Lines()
    app = create_app(ApiSettings(artifacts, limits=Limits(per_minute=0, seconds=60)), log, lambda: NOW)
    known = {
        "as_of": built.sample.decision_date.isoformat(),
        "pair": built.sample.headline,
        "features": list(built.bundle.scaler.mean)[:3],
    }
    return app, log, known


def clean(log: Lines) -> None:
    assert log.of("error") == []
    assert {row["status"] // 100 for row in log.of("request")} <= {2, 4}


def runs(examples: int) -> Callable[[Any], Any]:
    """Return settings that send the same requests every time."""
    return settings(
        max_examples=examples, derandomize=True, database=None, deadline=None,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip


def contract_fuzz(app: FastAPI, known: dict[str, Any], examples: int) -> int:
    """Send requests that keep to the contract, and some that break it in one place; return how many."""
    schema = schemathesis.openapi.from_asgi("/openapi.json", app)
    sent = 0
    for found in schema.get_all_operations():
        operation = found.ok()
        for mode in GenerationMode:
            try:
                sent += _send_cases(operation, mode, known, examples)
            except Unsatisfiable:
                # There is no way to break the contract of a request that takes nothing.
                assert operation.definition.raw["operationId"] not in PARAMETERS
    return sent


def _send_cases(operation: Any, mode: GenerationMode, known: dict[str, Any], examples: int) -> int:
    sent = 0

    @given(case=operation.as_strategy(generation_mode=mode), choice=st.integers(0, 3))
    @runs(examples)
    def send(case: schemathesis.Case, choice: int) -> None:
        nonlocal sent
        sent += 1
        aimed(case, choice, known, wrong=mode is GenerationMode.NEGATIVE)
        case.call_and_validate(checks=CHECKS)

    send()
    return sent


def aimed(case: schemathesis.Case, choice: int, known: dict[str, Any], *, wrong: bool) -> None:
    """Put names that exist into most of the requests: made-up ones get no further than the first look-up."""
    if choice and "market" in (case.path_parameters or {}):
        case.path_parameters["market"] = "sample"
    if choice > 1 and not wrong:
        for name in ("as_of", "pair"):
            if name in (case.query or {}):
                case.query[name] = known[name]
        if isinstance(case.body, dict):
            values = list(case.body["changes"].values())
            case.body = {"pair": known["pair"], "changes": dict(zip(known["features"], values, strict=False))}


def bytes_fuzz(app: FastAPI, log: Lines, known: dict[str, Any], examples: int) -> None:
    """Send paths, queries, headers and bodies that follow no contract."""
    client = TestClient(app, raise_server_exceptions=False)
    text = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
    json_text = st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | text | st.sampled_from([known["pair"], "pair"]),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text | st.just("changes"), inner, max_size=4),
        max_leaves=8,
    ).map(lambda value: repr(value).replace("'", '"').encode("utf-8", "surrogatepass"))
    path = st.sampled_from(
        ["/v1/forecast/sample", "/v1/drivers/sample", "/v1/whatif/sample", "/v1/ledger/sample", "/v1/forecast/", "/"]
    )
    query = st.lists(st.tuples(st.sampled_from(["as_of", "pair", "horizon", "event", "after", "limit", "x"]), text))

    @given(
        method=st.sampled_from(["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "BREW"]),
        path=path, tail=text, query=query, body=st.binary(max_size=300) | json_text,
        kind=st.sampled_from(["application/json", "text/plain", "multipart/form-data", "application/json; charset=x"]),
    )  # fmt: skip
    @runs(examples)
    def send(method: str, path: str, tail: str, query: list[tuple[str, str]], body: bytes, kind: str) -> None:
        target = path + quote(tail, safe="/:;@%")
        answer = client.request(method, target, params=query, content=body, headers={"content-type": kind})
        assert answer.status_code < 500, log.of("error")[-1:] or answer.text[:500]
        assert "Traceback" not in answer.text

    send()


def test_requests_from_the_contract(served: tuple[FastAPI, Lines, dict[str, Any]]) -> None:
    app, log, known = served
    assert contract_fuzz(app, known, 8) > 60
    clean(log)
    reached = {(row["route"], row["status"]) for row in log.of("request")}
    # The requests get somewhere. Whether a made-up what-if computes is up to eight random bodies.
    for operation in ("/v1/forecast/{market}", "/v1/drivers/{market}", "/v1/ledger/{market}"):
        assert (operation, 200) in reached
    assert any(route == "/v1/whatif/{market}" for route, _ in reached)


def test_bytes_that_follow_no_contract(served: tuple[FastAPI, Lines, dict[str, Any]]) -> None:
    app, log, known = served
    bytes_fuzz(app, log, known, 60)
    clean(log)


@pytest.mark.slow
def test_a_thousand_of_each(served: tuple[FastAPI, Lines, dict[str, Any]]) -> None:
    app, log, known = served
    assert contract_fuzz(app, known, 200) > 1000
    bytes_fuzz(app, log, known, 1000)
    clean(log)


def test_the_contract_names_every_error(built: Home, tmp_path: Path) -> None:
    app = create_app(ApiSettings(built.artifacts, token="0123456789abcdef"), Lines())
    document = app.openapi()
    assert document["openapi"].startswith("3.1")
    assert set(document["paths"]) == {
        "/v1/markets", "/v1/forecast/{market}", "/v1/drivers/{market}", "/v1/whatif/{market}", "/v1/ledger/{market}",
        "/healthz", "/readyz", "/metrics",
    }  # fmt: skip
    for path, methods in document["paths"].items():
        for operation in methods.values():
            said = operation["responses"]
            assert {"200", "413", "414", "500", "503", "504"} <= set(said), path
            assert ("401" in said) == ("security" in operation) == (path not in ("/healthz", "/readyz"))
            for status, answer in said.items():
                if status.startswith(("4", "5")) and (path, status) != ("/readyz", "503"):
                    assert list(answer["content"]) == ["application/problem+json"], (path, status)
    assert "HTTPValidationError" not in document["components"]["schemas"]
