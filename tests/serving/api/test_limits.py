"""Too long, too much, too often, too slow; and what a client sees when something breaks."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from starlette.testclient import TestClient

from features.errors import DataContractError
from serving.api.app import create_app
from serving.api.rate_limit import Buckets
from serving.api.security_headers import HEADERS
from serving.api.settings import ApiSettings, Limits
from tests.serving.api.conftest import Api, Home, Lines, Serve, problem


class TestSize:
    def test_bodies(self, built: Home, serve: Serve) -> None:
        api = serve(built.artifacts, limits=Limits(body_bytes=100, per_minute=0))
        problem(api.client.post("/v1/whatif/sample", content=b"x" * 101), 413, "100 bytes")
        problem(api.client.post("/v1/whatif/sample", content=iter([b"x" * 60, b"x" * 60])), 413, "100 bytes")
        problem(api.client.post("/v1/whatif/sample", content=b"x" * 100), 422)
        problem(api.client.request("GET", "/v1/markets", content=b"x" * 101), 413)

    def test_queries_and_paths(self, api: Api) -> None:
        problem(api.client.get("/v1/forecast/cn?as_of=" + "9" * 2000), 414, "query")
        problem(api.client.get("/v1/" + "x" * 5000), 414, "path")
        assert len(api.log.of("request")[-1]["path"]) <= 200


class TestRate:
    def test_a_bucket_fills_as_time_goes_by(self) -> None:
        now = [0.0]
        buckets = Buckets(60, 3, lambda: now[0])
        assert [buckets.wait("a") for _ in range(3)] == [0.0] * 3
        assert buckets.wait("a") == pytest.approx(1.0)
        assert buckets.wait("b") == 0.0
        now[0] += 0.75
        assert buckets.wait("a") == pytest.approx(0.25)
        now[0] += 0.25
        assert buckets.wait("a") == 0.0
        now[0] += 1000
        assert [buckets.wait("a") == 0.0 for _ in range(4)] == [True, True, True, False]

    def test_clients_are_remembered_up_to_a_number(self) -> None:
        buckets = Buckets(60, 1, lambda: 0.0)
        for client in range(10_050):
            buckets.wait(str(client))
        assert len(buckets._left) == 10_000

    def test_too_often_is_told_when_to_come_back(self, built: Home, serve: Serve) -> None:
        api = serve(built.artifacts, limits=Limits(per_minute=1, burst=2))
        assert [api.client.get("/v1/markets").status_code for _ in range(2)] == [200, 200]
        refused = api.client.get("/v1/markets")
        problem(refused, 429, "try again")
        assert 1 <= int(refused.headers["retry-after"]) <= 60
        # Who watches over the service is never refused.
        assert {api.client.get("/healthz").status_code for _ in range(5)} == {200}


@pytest.fixture
def slow(built: Home) -> Iterator[tuple[Api, threading.Event]]:
    """A service one of whose routes takes as long as the test wants."""
    log, go = Lines(), threading.Event()
    limits = Limits(per_minute=0, seconds=2.0, concurrent=3, workers=2)
    app = create_app(ApiSettings(built.artifacts, limits=limits), log)

    @app.get("/slow")
    async def slow_route() -> str:
        await app.state.service.workers.run(lambda: go.wait(30))
        return "done"

    with TestClient(app, raise_server_exceptions=False) as client:
        yield Api(client, log), go
        go.set()


class TestTime:
    def test_an_answer_that_takes_too_long(self, slow: tuple[Api, threading.Event]) -> None:
        api, go = slow
        assert api.client.get("/v1/markets").status_code == 200
        began = time.perf_counter()
        problem(api.client.get("/slow"), 504, "2 s")
        assert time.perf_counter() - began < 20
        # Its thread is still at work, the other one answers.
        assert api.client.get("/v1/markets").status_code == 200
        go.set()
        assert api.client.get("/slow").status_code == 200

    def test_too_many_at_once(self, slow: tuple[Api, threading.Event]) -> None:
        api, _ = slow
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda _: api.client.get("/slow"), range(8)))
        statuses = sorted(answer.status_code for answer in answers)
        assert set(statuses) == {503, 504}
        full = next(answer for answer in answers if answer.status_code == 503)
        problem(full, 503, "too many requests")
        assert full.headers["retry-after"] == "1"


class TestConcurrency:
    def test_many_at_once_get_the_same_bytes(self, built: Home, serve: Serve) -> None:
        api = serve(built.artifacts, limits=Limits(per_minute=0, concurrent=100))
        name = next(iter(built.bundle.scaler.mean))

        def ask(number: int) -> httpx.Response:
            if number % 2:
                return api.client.get("/v1/forecast/sample")
            changes = {"pair": built.sample.headline, "changes": {name: float(number % 4)}}
            return api.client.post("/v1/whatif/sample", json=changes)

        with api.client, ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(ask, range(24)))
        assert {answer.status_code for answer in answers} == {200}
        assert len({answer.content for answer in answers[1::2]}) == 1
        assert len({answer.content for answer in answers[0::4]}) == 1
        assert answers[0].content != answers[2].content


class TestBreakage:
    def test_nothing_of_an_error_reaches_the_client(self, built: Home) -> None:
        log = Lines()
        app = create_app(ApiSettings(built.artifacts), log)

        @app.get("/broken")
        async def broken() -> None:
            raise RuntimeError("a secret")

        answer = TestClient(app, raise_server_exceptions=False).get("/broken")
        said = problem(answer, 500, "unexpected")
        assert "secret" not in answer.text
        (line,) = log.of("error")
        assert (line["id"], line["error"]) == (said["id"], "RuntimeError")
        assert "a secret" in line["trace"]

    def test_every_answer_has_the_headers_and_none_lets_another_origin_in(self, api: Api) -> None:
        for path, origin in (("/healthz", None), ("/v1/forecast/cn", "https://example.org"), ("/nothing", None)):
            answer = api.client.get(path, headers={"Origin": origin} if origin else {})
            for name, value in HEADERS:
                assert answer.headers[name.decode()] == value.decode()
            assert not [name for name in answer.headers if name.startswith("access-control")]
        preflight = api.client.options(
            "/v1/markets", headers={"Origin": "https://example.org", "Access-Control-Request-Method": "GET"}
        )
        problem(preflight, 405)
        assert preflight.headers["allow"] == "GET"


@pytest.mark.parametrize(
    "wrong",
    [{"body_bytes": 0}, {"seconds": 0.0}, {"seconds": float("nan")}, {"concurrent": 0}, {"per_minute": -1}],
)
def test_limits_are_validated(wrong: dict[str, float]) -> None:
    with pytest.raises(DataContractError, match=next(iter(wrong))):
        Limits(**wrong)
    with pytest.raises(DataContractError, match="max_age_days"):
        ApiSettings(Path("x"), max_age_days=0.0)
