"""What docs have to speak of."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def api_paths() -> set[str]:
    """Return the paths of the service."""
    from serving.api.app import create_app
    from serving.api.settings import ApiSettings

    return set(create_app(ApiSettings(Path("nowhere"))).openapi()["paths"])
