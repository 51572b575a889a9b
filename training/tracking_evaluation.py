"""Evaluations in MLflow: every look at outcomes is a run, so that nobody forgets how often one looked."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import training.tracking as tracking
from training.tracking import TrackingError

if TYPE_CHECKING:
    from mlflow import MlflowClient

KIND, LOOK = "kind", "look"
EVALUATION = "evaluation"
_MOST = 1000


def earlier_looks(market: str, uri: str) -> tuple[str, ...]:
    """Return the last decisions of earlier evaluations that went beyond the design years, oldest first.

    Raises
    ------
    TrackingError
        If the server or database cannot be reached.
    """
    if uri.startswith("sqlite:///") and not Path(uri.removeprefix("sqlite:///").partition("?")[0]).is_file():
        # Asking would create the database.
        return ()
    client = _client(uri)
    try:
        experiment = client.get_experiment_by_name(tracking.model_name(market))
        if experiment is None:
            return ()
        found = client.search_runs(
            [experiment.experiment_id], f"tags.{KIND} = '{EVALUATION}'", max_results=_MOST,
            order_by=["attributes.start_time ASC"],
        )  # fmt: skip
    except _failures() as error:
        raise TrackingError(tracking._sentence(uri, error)) from error
    return tuple(run.data.tags[LOOK] for run in found if run.data.tags.get(LOOK))


def log_evaluation(
    market: str, folder: Path, uri: str, *, tags: Mapping[str, str], metrics: Mapping[str, float], name: str
) -> str:
    """Log one evaluation as a run of the market's experiment.

    Parameters
    ----------
    market : str
    folder : Path
        Its tables, page and figures become the run's artifacts.
    uri : str
        Tracking URI.
    tags : mapping
        Data, configuration and code behind it; `look`, the last decision, where it went beyond the design years.
    metrics : mapping
        Finite headline numbers.
    name : str
        Of the run.

    Returns
    -------
    str
        The run's id.

    Raises
    ------
    TrackingError
        If the server or database cannot be reached or refuses.
    """
    location = tracking._artifact_location(uri, market)
    client = _client(uri)
    from mlflow.entities import Metric

    try:
        experiment = tracking._experiment(client, market, location)
        run = client.create_run(experiment, tags={**tags, KIND: EVALUATION}, run_name=name)
        moment = run.info.start_time
        found = [Metric(tracking._key(key), value, moment, 0) for key, value in metrics.items()]
        for start in range(0, len(found), _MOST):
            client.log_batch(run.info.run_id, metrics=found[start : start + _MOST])
        client.log_artifacts(run.info.run_id, str(folder))
        client.set_terminated(run.info.run_id)
    except _failures() as error:
        raise TrackingError(tracking._sentence(uri, error)) from error
    return str(run.info.run_id)


def _client(uri: str) -> MlflowClient:
    for variable, value in tracking._ENVIRONMENT.items():
        os.environ.setdefault(variable, value)
    from mlflow import MlflowClient

    for logger in tracking._QUIET:
        logging.getLogger(logger).setLevel(logging.WARNING)
    return MlflowClient(tracking_uri=uri)


def _failures() -> tuple[type[Exception], ...]:
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    return MlflowException, SQLAlchemyError, OSError, ImportError
