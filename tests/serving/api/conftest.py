"""An artefacts folder as the weekly job leaves it, and a client of the service on it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from features.ingest import ingest
from features.store import Store
from models.bundle import Bundle
from models.schedule import bundle_folder, bundle_root
from serving.api.app import create_app
from serving.api.settings import ApiSettings, Limits
from serving.forecast import make_forecast
from serving.ledger import Ledger
from serving.ledger_entry import ledger_entries
from serving.output import forecast_path, store_path, write_text
from serving.record import Forecast
from tests import small
from tests.serving import factory

NOW = datetime(2023, 11, 27, 9, 0, tzinfo=UTC)
"""Two days and a bit after the forecast of `cn`."""


def write_forecast(artifacts: Path, forecast: Forecast) -> Path:
    """Write a forecast the way `capshift forecast` does."""
    path = forecast_path(artifacts, forecast.market, forecast.decision_date.isoformat(), "json")
    return write_text(path, json.dumps(forecast.to_json(), ensure_ascii=False, indent=1))


@dataclass(frozen=True)
class Home:
    """Artefacts: `sample` with store, bundle and ledger, `cn` with a forecast that no bundle made."""

    artifacts: Path
    sample: Forecast
    bundle: Bundle
    folder: Path


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """One weekly run of the small market; read only."""
    artifacts = tmp_path_factory.mktemp("api") / "artifacts"
    bundle, plan = small.walked().bundles[-1], small.plan()
    call = make_forecast(small.market(), small.observations(), small.dataset(), bundle, plan)
    write_forecast(artifacts, call.forecast)
    write_forecast(artifacts, factory.make_forecast())
    folder = bundle_folder(bundle_root(artifacts, bundle.market, plan), bundle.cut, bundle.snapshot_id)
    bundle.save(folder)
    rows = small.observations()
    rows = rows[rows["series"] == rows["series"].iloc[0]].head(50).reset_index(drop=True)
    ingest(Store(store_path(artifacts)), small.market(), rows, np.datetime64("2011-06-01", "us"))
    entries = ledger_entries(small.market(), call.rows)
    Ledger(None, artifacts).append(entries, np.datetime64("2010-11-27", "us"))
    return Home(artifacts, call.forecast, bundle, folder)


@pytest.fixture
def home(built: Home, tmp_path: Path) -> Home:
    """A copy to write to."""
    artifacts = tmp_path / "artifacts"
    shutil.copytree(built.artifacts, artifacts)
    return Home(artifacts, built.sample, built.bundle, artifacts / built.folder.relative_to(built.artifacts))


@dataclass
class Lines:
    """A log that keeps what it is told."""

    events: list[dict[str, Any]] = field(default_factory=list)

    def __call__(self, event: str, **fields: Any) -> None:
        """Keep one event."""
        self.events.append({"event": event, **fields})

    def of(self, event: str) -> list[dict[str, Any]]:
        """Return the events of a name."""
        return [row for row in self.events if row["event"] == event]


@dataclass(frozen=True)
class Api:
    """A client and what the service logs."""

    client: TestClient
    log: Lines


Serve = Callable[..., Api]


@pytest.fixture
def serve() -> Serve:
    """Return a function that serves an artefacts folder; keyword arguments are settings and `now`."""

    def make(artifacts: Path, *, now: datetime = NOW, limits: Limits | None = None, **settings: Any) -> Api:
        log = Lines()
        quiet = limits or Limits(per_minute=0)
        app = create_app(ApiSettings(artifacts, limits=quiet, **settings), log, lambda: now)
        return Api(TestClient(app, raise_server_exceptions=False), log)

    return make


@pytest.fixture
def api(built: Home, serve: Serve) -> Api:
    """The service without token and rate limit."""
    return serve(built.artifacts)


def problem(response: Any, status: int, *words: str) -> dict[str, Any]:
    """Require an error in the one form, and words in it."""
    assert response.status_code == status, response.text[:500]
    assert response.headers["content-type"] == "application/problem+json"
    said: dict[str, Any] = response.json()
    assert set(said) == {"status", "error", "remedy", "id"}
    assert said["status"] == status
    assert said["id"] == response.headers["x-request-id"]
    for word in words:
        assert word in f"{said['error']} {said['remedy']}"
    for leak in ("Traceback", ".py", "/tmp", "artifacts/"):
        assert leak not in response.text
    return said
