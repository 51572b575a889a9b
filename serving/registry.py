"""Which bundle is the champion, as the model registry says. Scoring itself needs no MLflow, only the bundle's folder.

The only module of serving that imports MLflow, inside the function that needs it; its telemetry is switched off when
this module is imported.
"""

from __future__ import annotations

import logging
import os
import re
from pathlib import Path

from features.errors import BundleError

# Before MLflow is imported, or it reports home.
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
os.environ["DO_NOT_TRACK"] = "true"

CHAMPION = "champion"
_ENVIRONMENT = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}
"""Defaults, what the user has set stays: an absent server is an answer too, and the terminal is ours."""


def tracking_uri(artifacts: Path) -> str:
    """Return ``MLFLOW_TRACKING_URI`` where it is set, else the SQLite file of an artifacts folder."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{artifacts.resolve().as_posix()}/mlflow.db"


def champion_bundle(market: str, uri: str, cache: Path | None = None) -> Path:
    """Return the folder of the bundle that the registry calls a market's champion.

    Parameters
    ----------
    market : str
    uri : str
        Tracking URI, see `tracking_uri`.
    cache : Path, optional
        Where a bundle that lies on a server is downloaded to; a temporary folder by default. A bundle on this machine
        is returned where it lies.

    Raises
    ------
    BundleError
        If the registry cannot be reached, or has no champion or an incomplete one.
    """
    name = f"capshift-{market}"
    remedy = f"run `capshift backtest --market {market}`, or name a bundle folder"
    if uri.startswith("sqlite:///") and not Path(uri.removeprefix("sqlite:///").partition("?")[0]).is_file():
        # Asking would create the database.
        raise BundleError(f"market {market!r} has no champion: there is no registry at {_public(uri)}; {remedy}")
    for variable, value in _ENVIRONMENT.items():
        os.environ.setdefault(variable, value)
    from mlflow import MlflowClient, artifacts
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    for logger in ("mlflow", "alembic"):
        logging.getLogger(logger).setLevel(logging.WARNING)
    try:
        version = MlflowClient(tracking_uri=uri).get_model_version_by_alias(name, CHAMPION)
        source, target = version.source or "", None
        if cache is not None and not source.startswith("file:"):
            # One folder per version: files of another one would spoil the checksums.
            target = str(cache / market / str(version.version))
            Path(target).mkdir(parents=True, exist_ok=True)
        folder = Path(artifacts.download_artifacts(artifact_uri=source, dst_path=target, tracking_uri=uri))
    except (MlflowException, SQLAlchemyError, OSError, ImportError) as error:
        reason = _public(" ".join(str(error).partition("\n[SQL")[0].split())[:200])
        raise BundleError(f"market {market!r} has no champion at {_public(uri)}: {reason}; {remedy}") from error
    if not folder.is_dir():
        raise BundleError(f"the champion of market {market!r} is no folder: {folder}; {remedy}")
    return folder


def _public(text: str) -> str:
    """Return a text without the passwords of the addresses in it."""
    return re.sub(r"//[^/@\s]*@", "//", text)
