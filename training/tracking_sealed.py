"""Sealed exams in MLflow: the run is there before the first number is, and stays if the register is lost."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from training.tracking_evaluation import EVALUATION, KIND, LOOK
from training.tracking_server import (
    TrackingError,
    artifact_location,
    connect,
    experiment_id,
    failures,
    has_no_file,
    metric_key,
    model_name,
    sentence,
)

SEALED = "sealed"
"""Tag that holds the window; its presence marks the run."""


def earlier_exams(market: str, window: str, uri: str) -> tuple[str, ...]:
    """Return name of every logged exam of a window, oldest first.

    Raises
    ------
    TrackingError
        If the server or database cannot be reached.
    """
    if has_no_file(uri):
        return ()
    try:
        client = connect(uri)
        experiment = client.get_experiment_by_name(model_name(market))
        if experiment is None:
            return ()
        found = client.search_runs(
            [experiment.experiment_id], f"tags.{SEALED} = '{window}'", order_by=["attributes.start_time ASC"]
        )
    except failures() as error:
        raise TrackingError(sentence(uri, error)) from error
    return tuple(str(run.info.run_name) for run in found)


def open_exam(market: str, window: str, number: int, uri: str, tags: Mapping[str, str]) -> str:
    """Begin the run of an exam, before anything is scored; return its id.

    It also counts as a look beyond the design years (`training.tracking_evaluation.earlier_looks`).

    Raises
    ------
    TrackingError
        If the server or database cannot be reached or refuses.
    """
    location = artifact_location(uri, market)
    marks = {KIND: EVALUATION, LOOK: f"sealed, {window}, run {number}", SEALED: window, "number": str(number)}
    try:
        client = connect(uri)
        experiment = experiment_id(client, market, location)
        run = client.create_run(experiment, tags={**tags, **marks}, run_name=f"{market} sealed {number}")
    except failures() as error:
        raise TrackingError(sentence(uri, error)) from error
    return str(run.info.run_id)


def close_exam(run_id: str, folder: Path, uri: str, metrics: Mapping[str, float]) -> None:
    """Log the tables and numbers of an exam and end its run.

    Raises
    ------
    TrackingError
        If the server or database cannot be reached or refuses.
    """
    try:
        client = connect(uri)
        from mlflow.entities import Metric

        moment = client.get_run(run_id).info.start_time
        client.log_batch(run_id, metrics=[Metric(metric_key(key), value, moment, 0) for key, value in metrics.items()])
        for path in sorted(folder.iterdir()):
            if path.is_file():
                client.log_artifact(run_id, str(path))
        client.set_terminated(run_id)
    except failures() as error:
        raise TrackingError(sentence(uri, error)) from error
