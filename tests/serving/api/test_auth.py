"""The token: asked for everywhere but at the probes, refused in every wrong form, never told."""

from __future__ import annotations

from pathlib import Path

import pytest

from features.errors import DataContractError
from serving.api.settings import ApiSettings, is_loopback, read_token
from tests.serving.api.conftest import Api, Home, Serve, problem

TOKEN = "0123456789abcdef0123"


@pytest.fixture
def guarded(built: Home, serve: Serve) -> Api:
    return serve(built.artifacts, token=TOKEN)


@pytest.mark.parametrize("path", ["/v1/markets", "/v1/forecast/cn", "/metrics", "/openapi.json", "/nothing"])
def test_without_it_nothing_but_the_probes(guarded: Api, path: str) -> None:
    said = guarded.client.get(path)
    problem(said, 401, "token")
    assert said.headers["www-authenticate"] == 'Bearer realm="capshift"'
    assert guarded.client.get(path, headers={"Authorization": f"Bearer {TOKEN}"}).status_code in (200, 404)
    assert guarded.client.get("/healthz").status_code == 200
    assert guarded.client.get("/readyz").status_code in (200, 503)


@pytest.mark.parametrize(
    "header",
    ["", "Bearer", "Bearer ", f"Bearer {TOKEN[:-1]}", f"Bearer {TOKEN}x", f"Basic {TOKEN}", TOKEN, f"Bearer {TOKEN} x",
     b"Bearer \xff\xfe", f"Bearer {TOKEN.upper()}"],
)  # fmt: skip
def test_wrong_forms(guarded: Api, header: str | bytes) -> None:
    problem(guarded.client.get("/v1/markets", headers={"Authorization": header}), 401)


def test_two_headers_are_none(guarded: Api) -> None:
    headers = [("Authorization", f"Bearer {TOKEN}"), ("Authorization", "Bearer x")]
    problem(guarded.client.get("/v1/markets", headers=headers), 401)


def test_the_scheme_may_be_written_small(guarded: Api) -> None:
    assert guarded.client.get("/v1/markets", headers={"Authorization": f"bearer {TOKEN}"}).status_code == 200


def test_the_token_is_in_no_line_and_no_repr(guarded: Api) -> None:
    guarded.client.get("/v1/markets", headers={"Authorization": f"Bearer {TOKEN}"})
    assert guarded.log.of("request")
    assert TOKEN not in str(guarded.log.events)
    assert TOKEN not in repr(ApiSettings(Path("x"), token=TOKEN))


def test_metrics_may_be_open(built: Home, serve: Serve) -> None:
    api = serve(built.artifacts, token=TOKEN, metrics="open")
    assert api.client.get("/metrics").status_code == 200
    problem(api.client.get("/v1/markets"), 401)


def test_a_token_file(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text(f"{TOKEN}\n", encoding="ascii")
    assert read_token(path) == TOKEN
    for content in (b"", b"short", b"\xff" * 40, b"two words of a token"):
        path.write_bytes(content)
        with pytest.raises(DataContractError, match="token") as error:
            read_token(path)
        assert "words" not in str(error.value)
    with pytest.raises(DataContractError, match="token_file"):
        read_token(tmp_path / "missing")


@pytest.mark.parametrize(
    ("host", "here"),
    [("127.0.0.1", True), ("127.8.9.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("::", False),
     ("192.168.1.4", False), ("example.org", False)],
)  # fmt: skip
def test_loopback(host: str, here: bool) -> None:
    assert is_loopback(host) is here
