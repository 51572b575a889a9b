"""The ledger page by page."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from features.errors import LedgerError
from serving.api.ledger_guard import LedgerGuard
from serving.ledger import Ledger
from serving.ledger_read import recorded_forecasts
from tests.serving.api.conftest import Api, Home, Serve, problem
from tests.serving.ledger_toy import filled, tampering, toy_entries
from tests.serving.postgres import MakePlace


def test_pages_hold_every_entry_once_in_order(home: Home, serve: Serve) -> None:
    book = Ledger(None, home.artifacts)
    for week in range(3):
        entries = toy_entries(week)
        book.append(entries, entries["decision_at"].max().to_datetime64() + np.timedelta64(900, "W"))
    recorded, api, seen, after = recorded_forecasts(book, "toy"), serve(home.artifacts), [], None
    pages = 0
    while pages == 0 or after is not None:
        page = api.client.get("/v1/ledger/toy", params={"limit": 5, **({"after": after} if after is not None else {})})
        body = page.json()
        seen += body["entries"]
        after, pages = body["next"], pages + 1
    assert pages == -(-len(recorded) // 5)
    assert [row["hash"] for row in seen] == recorded["hash"].tolist()
    assert [row["p_switch"] for row in seen] == recorded["p_switch"].tolist()
    assert pd.to_datetime([row["decision_date"] for row in seen]).tolist() == recorded["decision_date"].tolist()
    past = api.client.get("/v1/ledger/toy", params={"after": seen[-1]["sequence"]}).json()
    assert (past["entries"], past["next"]) == ([], None)


def test_simulated_calls_say_so(api: Api, built: Home) -> None:
    body = api.client.get("/v1/ledger/sample").json()
    assert len(body["entries"]) == len(built.sample.pairs)
    assert body["simulated"]
    assert "SIMULATED" in body["notice"]
    assert all(row["simulated"] for row in body["entries"])
    beyond = api.client.get("/v1/ledger/sample?after=9007199254740992").json()
    assert (beyond["entries"], beyond["simulated"], beyond["notice"]) == ([], True, body["notice"])
    problem(api.client.get("/v1/ledger/cn?after=1"), 404, "'cn'")


def test_refusals(api: Api) -> None:
    problem(api.client.get("/v1/ledger/cn"), 404, "'cn'")
    problem(api.client.get("/v1/ledger/sample?limit=0"), 422, "`limit`")
    problem(api.client.get("/v1/ledger/sample?limit=501"), 422, "`limit`")
    problem(api.client.get("/v1/ledger/sample?after=-1"), 422, "`after`")
    problem(api.client.get("/v1/ledger/sample?after=99999999999999999999"), 422, "`after`")


def test_no_ledger_and_a_damaged_one(home: Home, serve: Serve) -> None:
    path = home.artifacts / "ledger.db"
    path.write_bytes(b"SQLite format 3\x00" + b"\x07" * 4000)
    problem(serve(home.artifacts).client.get("/v1/ledger/sample"), 503, "damaged", "capshift ledger verify")
    path.unlink()
    problem(serve(home.artifacts).client.get("/v1/ledger/sample"), 404, "no ledger")
    assert not path.exists()


def test_an_edited_ledger_is_not_shown_until_it_is_mended(home: Home, serve: Serve) -> None:
    api, path = serve(home.artifacts), home.artifacts / "ledger.db"
    assert api.client.get("/v1/ledger/sample").status_code == 200
    sound = path.read_bytes()
    with tampering(Ledger(str(path), home.artifacts)) as hand:
        hand.edit("forecast", 2, p_crash=0.5)
    problem(api.client.get("/v1/ledger/sample"), 503, "damaged", "capshift ledger verify")
    path.write_bytes(sound)
    assert api.client.get("/v1/ledger/sample").status_code == 200


def test_a_ledger_on_a_server_is_verified_again_after_a_minute(make_place: MakePlace, tmp_path: Path) -> None:
    now, book = 100.0, filled(make_place(), tmp_path)
    guard = LedgerGuard(book, lambda: now)
    guard.require()
    with tampering(book) as hand:
        hand.edit("forecast", 3, p_crash=0.5)
    guard.require()
    now += 61
    with pytest.raises(LedgerError, match="record 3 was edited"):
        guard.require()
