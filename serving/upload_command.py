"""`capshift upload`: log to MLflow the studies that could not be logged when they were made."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from features.errors import CapshiftError
from serving.options import DEFAULT_ARTIFACTS, Artifacts, Market, TrackingUri
from serving.steps import market_spec

if TYPE_CHECKING:
    from training.study import Study


def upload(
    market: Market = "sample", artifacts: Artifacts = DEFAULT_ARTIFACTS, tracking_uri: TrackingUri = None
) -> None:
    """Log the studies of a market that wait in ARTIFACTS/MARKET/pending, oldest first, and drop them there.

    Reads ARTIFACTS/MARKET/pending; writes MLflow runs and model versions. A study that was logged already is not logged
    again.
    """
    spec = market_spec(market)
    logged = _upload(spec.name, artifacts, tracking_uri)
    for key, run_id in logged:
        typer.echo(f"{key}: logged as run {run_id}")
    if not logged:
        typer.echo(f"no study of market {spec.name!r} waits")


def log_or_keep(study: Study, artifacts: Path, tracking_uri: str | None) -> None:
    """Log a study, after those that wait; where MLflow does not answer it waits too, and that costs a warning."""
    from datetime import UTC, datetime
    from uuid import uuid4

    from training.pending import keep_study

    key = f"{datetime.now(UTC):%Y%m%dT%H%M%S%f}-{uuid4().hex[:8]}"
    try:
        keep_study(study, artifacts, key)
    except CapshiftError as error:
        typer.echo(f"warning: {error}", err=True)
        return
    try:
        _upload(study.market, artifacts, tracking_uri)
    except CapshiftError as error:
        typer.echo(f"warning: {error}; `capshift upload --market {study.market}` logs it", err=True)


def _upload(market: str, artifacts: Path, tracking_uri: str | None) -> list[tuple[str, str]]:
    from serving.champion_note import note_champion
    from serving.lock import output_lock
    from serving.registry import Registry
    from training.pending import pending_folder, upload_kept

    uri = tracking_uri or f"sqlite:///{artifacts / 'mlflow.db'}"
    with output_lock(pending_folder(artifacts, market)):
        logged = list(upload_kept(artifacts, market, uri))
    if logged:
        note_champion(Registry(uri), artifacts, market)
    return logged
