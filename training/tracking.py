"""Studies in MLflow: one run each, and its bundle as a version of the market's registered model.

Nothing here is needed to train, score or explain: without a tracking server the study stays on disk. MLflow is imported
inside the functions that need it, after `training.tracking_server` has switched its telemetry off.
"""

from __future__ import annotations

import json
import logging
import math
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from features.errors import BundleError
from models.shipping import save_shipped
from training.model_card import model_card
from training.score_tables import POOLED
from training.study import Study, write_study
from training.tracking_server import (
    TrackingError,
    artifact_location,
    connect,
    experiment_id,
    failures,
    metric_key,
    model_name,
    sentence,
)

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Run
    from mlflow.entities.model_registry import ModelVersion

CHAMPION, CHALLENGER = "champion", "challenger"
KEY_TAG = "study_key"
"""Tag that finds the run of a kept study again."""
MODEL_PATH = "model"
"""Where the registered model lies among a run's artifacts, the bundle inside it."""
_BATCH = 1000
_PARAM_LENGTH = 6000
_YEARLY = ("skill_log_loss", "skill_brier")


class _Standing(NamedTuple):
    """What the registry holds before a study is logged."""

    champion: ModelVersion | None
    studies: int
    configurations: frozenset[str]


def log_study(study: Study, uri: str, kept: Path | None = None) -> str:
    """Log a study as one MLflow run and register its bundle as a version of the market's pyfunc model.

    The first version of a market becomes champion. A study of the champion's configuration with a later cut is a refit
    and becomes champion too. Every other one registers as `challenger` and waits for the gate; the champion's own
    configuration and code over again gets no alias.

    Parameters
    ----------
    study : Study
    uri : str
        Tracking URI: a server, or ``sqlite:///`` and a path; then the artifacts go next to the database file, into
        ``mlflow/``.
    kept : Path, optional
        Folder that holds the study's files already, see `write_study`; its name is the study's key. A run of that key
        that was finished is not logged again, only registered where that is missing.

    Returns
    -------
    str
        The run's id. Parameters are the configuration; metrics the scores (``skill_log_loss.switch.4w.pooled``), the
        yearly skills with the year as step and the folds' numbers with the fold as step; artifacts the tables, figures,
        forecasts and the model.

    Raises
    ------
    TrackingError
        If the server or database cannot be reached or refuses; a run begun is marked as failed.
    BundleError
        If the bundle's folder is not there, or damaged.
    """
    if not study.bundle_dir.is_dir():
        raise BundleError(f"the study's bundle is not there: {study.bundle_dir}")
    location = artifact_location(uri, study.market)
    failed = failures()
    try:
        client = connect(uri)
        experiment = experiment_id(client, study.market, location)
        run = None if kept is None else _finished_run(client, experiment, kept.name)
        whole = run is not None
        standing = _standing(client, model_name(study.market))
        if run is None:
            tags = _tags(study) | _standing_tags(study, standing) | ({} if kept is None else {KEY_TAG: kept.name})
            run = client.create_run(experiment, tags=tags, run_name=_run_name(study))
    except failed as error:
        raise TrackingError(sentence(uri, error)) from error
    try:
        if not whole:
            _log_run(client, run, study, standing, kept)
            client.set_terminated(run.info.run_id)
            whole = kept is not None
        _register(client, run, study)
    except BaseException as error:
        # The whole run of a kept study stays so: the next upload only registers it.
        if not whole:
            try:
                client.set_terminated(run.info.run_id, status="FAILED")
            except failed:
                logging.getLogger(__name__).debug("run %s could not be marked as failed", run.info.run_id)
        if isinstance(error, failed):
            raise TrackingError(sentence(uri, error)) from error
        raise
    return str(run.info.run_id)


def _log_run(client: MlflowClient, run: Run, study: Study, standing: _Standing, kept: Path | None) -> None:
    import mlflow.pyfunc
    from mlflow.entities import Param

    run_id = run.info.run_id
    params = [Param(metric_key(name), value[:_PARAM_LENGTH]) for name, value in _flat(study.config)]
    for start in range(0, len(params), 100):
        client.log_batch(run_id, params=params[start : start + 100])
    metrics = list(_metrics(study, run.info.start_time))
    for start in range(0, len(metrics), _BATCH):
        client.log_batch(run_id, metrics=metrics[start : start + _BATCH])
    with tempfile.TemporaryDirectory(prefix="capshift-") if kept is None else nullcontext(str(kept)) as folder:
        if kept is None:
            write_study(study, Path(folder))
        known = {"studies": standing.studies, "configurations": len(standing.configurations | {study.config_hash})}
        card = model_card(study, champion=_champion_words(standing.champion), **known)
        (Path(folder) / "model_card.md").write_text(card, encoding="utf-8")
        client.log_artifacts(run_id, folder)
    with tempfile.TemporaryDirectory(prefix="capshift-") as folder:
        save_shipped(study.bundle_dir, Path(folder) / MODEL_PATH, mlflow)
        client.log_artifacts(run_id, folder)


def _register(client: MlflowClient, run: Run, study: Study) -> None:
    """Register the run's model once; the alias moves last."""
    from mlflow.exceptions import MlflowException

    name = model_name(study.market)
    try:
        client.create_registered_model(name, tags={"market": study.market, "simulated": _text(study.simulated)})
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    known = client.search_model_versions(f"run_id='{run.info.run_id}'")
    version = known[0] if known else None
    if version is None:
        version = client.create_model_version(
            name, f"{run.info.artifact_uri}/{MODEL_PATH}", run.info.run_id, tags=_tags(study), await_creation_for=0
        )
    champion = _champion(client, name)
    alias = _alias(study, None if champion is None else champion.tags)
    if alias is not None and (champion is None or champion.version != version.version):
        client.set_registered_model_alias(name, alias, version.version)


def _alias(study: Study, champion: Mapping[str, str] | None) -> str | None:
    """Return the alias that a new version gets beside a champion with these tags."""
    if champion is None:
        return CHAMPION
    if study.config_hash != champion.get("config_hash"):
        return CHALLENGER
    if study.cut > champion.get("cut", ""):
        return CHAMPION
    return None if study.git_commit == champion.get("git_commit") else CHALLENGER


def _champion(client: MlflowClient, name: str) -> ModelVersion | None:
    from mlflow.exceptions import MlflowException

    try:
        return client.get_model_version_by_alias(name, CHAMPION)
    except MlflowException as error:
        if error.error_code in ("INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST"):
            return None
        raise


def _standing(client: MlflowClient, name: str) -> _Standing:
    versions = client.search_model_versions(f"name='{name}'")
    hashes = frozenset(version.tags.get("config_hash", "") for version in versions)
    return _Standing(_champion(client, name), len(versions), hashes)


def _standing_tags(study: Study, standing: _Standing) -> dict[str, str]:
    return {
        "champion_then": _champion_words(standing.champion) or "none",
        "champion_then_run": "" if standing.champion is None else str(standing.champion.run_id),
        "trials": str(len(standing.configurations | {study.config_hash})),
    }


def _champion_words(version: ModelVersion | None) -> str | None:
    if version is None:
        return None
    tags = version.tags
    return f"version {version.version}, cut {tags.get('cut')}, configuration {tags.get('config_hash')}"


def _finished_run(client: MlflowClient, experiment: str, key: str) -> Run | None:
    """Return the finished run of a kept study; one that was cut off is marked as killed."""
    finished = None
    for run in client.search_runs([experiment], f"tags.{KEY_TAG} = '{key}'"):
        if run.info.status == "FINISHED":
            finished = run
        elif run.info.status == "RUNNING":
            client.set_terminated(run.info.run_id, status="KILLED")
    return finished


def _metrics(study: Study, timestamp: int) -> Iterator[Metric]:
    """Scores, yearly skills and folds; what is missing is left out."""
    from mlflow.entities import Metric

    def metric(name: str, value: Any, step: int) -> Iterator[Metric]:
        if not math.isnan(number := float(value)):
            yield Metric(metric_key(name), number, timestamp, step)

    keys = ("event", "horizon_weeks", "pair")
    for row in study.scores.to_dict("records"):
        for column, value in row.items():
            if column not in keys:
                yield from metric(f"{column}.{row['event']}.{row['horizon_weeks']}w.{row['pair']}", value, 0)
    for row in study.yearly.to_dict("records"):
        if row["pair"] == POOLED:
            for column in _YEARLY:
                name = f"yearly_{column}.{row['event']}.{row['horizon_weeks']}w.{row['pair']}"
                yield from metric(name, row[column], int(row["year"]))
    numbers = study.folds.select_dtypes(include=[np.number, "bool"])
    for step, fold in enumerate(numbers.to_dict("records")):
        for column, value in fold.items():
            yield from metric(f"fold_{column}", value, step)


def _flat(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in config.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value if isinstance(value, str) else json.dumps(value, default=str)


def _tags(study: Study) -> dict[str, str]:
    return {
        "market": study.market,
        "simulated": _text(study.simulated),
        "snapshot_id": study.snapshot_id,
        "config_hash": study.config_hash,
        "git_commit": study.git_commit,
        "cut": study.cut,
        "mlflow.source.git.commit": study.git_commit,
    }


def _run_name(study: Study) -> str:
    return f"{'SIMULATED ' if study.simulated else ''}{study.market} {study.bundle_dir.name}"


def _text(flag: bool) -> str:
    return "true" if flag else "false"
