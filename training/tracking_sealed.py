"""Sealed exams in MLflow: the run is there before the first number is, and stays if the register is lost."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import training.tracking as tracking
from training.tracking import TrackingError
from training.tracking_evaluation import EVALUATION, KIND, LOOK, _client, _failures

SEALED = "sealed"
"""Tag that holds the window; its presence marks the run."""


def earlier_exams(market: str, window: str, uri: str) -> tuple[str, ...]:
    """Return name of every logged exam of a window, oldest first.

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
            [experiment.experiment_id], f"tags.{SEALED} = '{window}'", order_by=["attributes.start_time ASC"]
        )
    except _failures() as error:
        raise TrackingError(tracking._sentence(uri, error)) from error
    return tuple(str(run.info.run_name) for run in found)


def open_exam(market: str, window: str, number: int, uri: str, tags: Mapping[str, str]) -> str:
    """Begin the run of an exam, before anything is scored; return its id.

    It also counts as a look beyond the design years (`training.tracking_evaluation.earlier_looks`).

    Raises
    ------
    TrackingError
        If the server or database cannot be reached or refuses.
    """
    location = tracking._artifact_location(uri, market)
    client = _client(uri)
    marks = {KIND: EVALUATION, LOOK: f"sealed, {window}, run {number}", SEALED: window, "number": str(number)}
    try:
        experiment = tracking._experiment(client, market, location)
        run = client.create_run(experiment, tags={**tags, **marks}, run_name=f"{market} sealed {number}")
    except _failures() as error:
        raise TrackingError(tracking._sentence(uri, error)) from error
    return str(run.info.run_id)


def close_exam(run_id: str, folder: Path, uri: str, metrics: Mapping[str, float]) -> None:
    """Log the tables and numbers of an exam and end its run.

    Raises
    ------
    TrackingError
        If the server or database cannot be reached or refuses.
    """
    client = _client(uri)
    from mlflow.entities import Metric

    try:
        moment = client.get_run(run_id).info.start_time
        client.log_batch(
            run_id, metrics=[Metric(tracking._key(key), value, moment, 0) for key, value in metrics.items()]
        )
        for path in sorted(folder.iterdir()):
            if path.is_file():
                client.log_artifact(run_id, str(path))
        client.set_terminated(run_id)
    except _failures() as error:
        raise TrackingError(tracking._sentence(uri, error)) from error
