"""Evaluations in MLflow: every look at outcomes is a run, so that nobody forgets how often one looked."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

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
    if has_no_file(uri):
        return ()
    try:
        client = connect(uri)
        experiment = client.get_experiment_by_name(model_name(market))
        if experiment is None:
            return ()
        found = client.search_runs(
            [experiment.experiment_id], f"tags.{KIND} = '{EVALUATION}'", max_results=_MOST,
            order_by=["attributes.start_time ASC"],
        )  # fmt: skip
    except failures() as error:
        raise TrackingError(sentence(uri, error)) from error
    return tuple(run.data.tags[LOOK] for run in found if run.data.tags.get(LOOK))


def log_evaluation(
    market: str, folder: Path | None, uri: str, *, tags: Mapping[str, str], metrics: Mapping[str, float], name: str
) -> str:
    """Log one evaluation as a run of the market's experiment.

    Parameters
    ----------
    market : str
    folder : Path, optional
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
    location = artifact_location(uri, market)
    try:
        client = connect(uri)
        from mlflow.entities import Metric

        experiment = experiment_id(client, market, location)
        run = client.create_run(experiment, tags={**tags, KIND: EVALUATION}, run_name=name)
        moment = run.info.start_time
        found = [Metric(metric_key(key), value, moment, 0) for key, value in metrics.items()]
        for start in range(0, len(found), _MOST):
            client.log_batch(run.info.run_id, metrics=found[start : start + _MOST])
        if folder is not None:
            client.log_artifacts(run.info.run_id, str(folder))
        client.set_terminated(run.info.run_id)
    except failures() as error:
        raise TrackingError(sentence(uri, error)) from error
    return str(run.info.run_id)
