"""Where a ledger may live."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.serving.postgres import MakePlace, postgres_places
from tests.serving.small_market import small_artifacts


@pytest.fixture(scope="session")
def make_place() -> Iterator[MakePlace]:
    """Return a function that makes an empty PostgreSQL schema and returns its URL."""
    with postgres_places() as make:
        yield make


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a registry with a champion and two versions more; copied by every test."""
    from tests.serving.moves_worker import registered

    root = tmp_path_factory.mktemp("made")
    registered(root, f"sqlite:///{root}/mlflow.db")
    return root / "mlflow.db"


@pytest.fixture(params=["sqlite", "postgresql"])
def location(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the place of a ledger that does not exist yet, on either database."""
    if request.param == "sqlite":
        return str(tmp_path / "ledger.db")
    place: str = request.getfixturevalue("make_place")()
    return place


@pytest.fixture(scope="session")
def small_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return artefacts of the small SIMULATED market, trained; shared, so nobody may change them."""
    return small_artifacts(tmp_path_factory.mktemp("small"))
