"""The tracking server: how to reach it, what can go wrong, and a market's experiment on it.

MLflow's telemetry is switched off when this module is imported; MLflow itself is imported inside the functions.
"""

from __future__ import annotations

import logging
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from features.errors import CapshiftError

if TYPE_CHECKING:
    from mlflow import MlflowClient

# Before MLflow is imported, or it reports home.
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
os.environ["DO_NOT_TRACK"] = "true"

_QUIET = ("mlflow", "alembic")
_ENVIRONMENT = {
    # An absent server is an answer too: do not wait minutes for it.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    # Nothing on the terminal but what we print ourselves.
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
"""Defaults; what the user has set stays."""


class TrackingError(CapshiftError):
    """The study could not be logged; it is still on disk."""


def model_name(market: str) -> str:
    """Return the name of a market's registered model and experiment."""
    return f"capshift-{market}"


def connect(uri: str) -> MlflowClient:
    """Return a client of the server or database at an address."""
    _set_defaults()
    from mlflow import MlflowClient

    # After the import, which sets the levels itself: progress of the database's set-up is nobody's concern.
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    return MlflowClient(tracking_uri=uri)


def failures() -> tuple[type[Exception], ...]:
    """Return what a client raises when the server cannot be reached or refuses."""
    _set_defaults()
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    # ImportError: the driver of a database is not installed.
    return MlflowException, SQLAlchemyError, OSError, ImportError


def has_no_file(uri: str) -> bool:
    """Tell a SQLite address whose file is not there: asking it would create the database."""
    return uri.startswith("sqlite:///") and not Path(uri.removeprefix("sqlite:///").partition("?")[0]).is_file()


def experiment_id(client: MlflowClient, market: str, location: str | None) -> str:
    """Return the id of a market's experiment, made or restored where it must be."""
    from mlflow.exceptions import MlflowException

    name = model_name(market)
    found = client.get_experiment_by_name(name)
    if found is None:
        try:
            return str(client.create_experiment(name, artifact_location=location))
        except MlflowException as error:
            # Another process was faster.
            if error.error_code != "RESOURCE_ALREADY_EXISTS" or (found := client.get_experiment_by_name(name)) is None:
                raise
    if found.lifecycle_stage == "deleted":
        client.restore_experiment(found.experiment_id)
    return str(found.experiment_id)


def artifact_location(uri: str, market: str) -> str | None:
    """Return the folder of the artifacts as a URI; None where a server decides for itself.

    Raises
    ------
    TrackingError
        If the address is a bare database, or the folder cannot be made.
    """
    if not uri.startswith("sqlite:///"):
        if re.match(r"(postgresql|mysql|mssql|sqlite)\b", uri):
            reason = "a bare database has no place for artifacts: name an MLflow server in front of it"
            raise TrackingError(sentence(uri, ValueError(reason)))
        return None
    database = Path(uri.removeprefix("sqlite:///").partition("?")[0]).resolve()
    try:
        database.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TrackingError(sentence(uri, error)) from error
    return (database.parent / "mlflow" / model_name(market)).as_uri()


def metric_key(name: str) -> str:
    """Return a name in the characters that MLflow allows."""
    return re.sub(r"[^\w\-. /]", "_", name)[:250]


def sentence(uri: str, error: Exception) -> str:
    """Say what failed, without what the libraries append and without a password that the address may hold."""
    reason = " ".join(str(error).partition("\n[SQL")[0].split())[:200]
    return re.sub(r"//[^/@\s]*@", "//", f"the study was not logged to MLflow at {uri}, it is kept on disk: {reason}")


def _set_defaults() -> None:
    """Set MLflow's environment before it is imported."""
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
