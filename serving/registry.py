"""The model registry as serving sees it: which bundle is the champion, which versions there are, and their runs' files.

Scoring itself needs no MLflow, only the bundle's folder. The only module of serving that imports MLflow, inside the
function that needs it; its telemetry is switched off when this module is imported.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from features.errors import BundleError, CapshiftError, DataContractError
from models.shipping import bundle_of, save_shipped

if TYPE_CHECKING:
    from mlflow import MlflowClient

# Before MLflow is imported, or it reports home.
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
os.environ["DO_NOT_TRACK"] = "true"

CHAMPION, CHALLENGER, PREVIOUS = "champion", "challenger", "previous"
INTENT_TAG = "move"
"""Tag of the registered model that holds a move of the champion while it is under way."""
_ENVIRONMENT = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}
"""Defaults, what the user has set stays: an absent server is an answer too, and the terminal is ours."""
_ABSENT = ("INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST")


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
    return registered_bundle(market, uri, CHAMPION, cache)


def registered_bundle(market: str, uri: str, which: str, cache: Path | None = None) -> Path:
    """Return the folder of the bundle of an alias or a version number; otherwise as `champion_bundle`."""
    name = f"capshift-{market}"
    what = f"version {which}" if which.isdigit() else which
    remedy = f"run `capshift backtest --market {market}`, or name a bundle folder"
    if _no_file(uri):
        # Asking would create the database.
        raise BundleError(f"market {market!r} has no {what}: there is no registry at {_public(uri)}; {remedy}")
    failures = _failures()
    from mlflow import artifacts

    try:
        client = _client(uri)
        found = client.get_model_version if which.isdigit() else client.get_model_version_by_alias
        version = found(name, which)
        source, target = version.source or "", None
        if cache is not None and not source.startswith("file:"):
            # One folder per version: files of another one would spoil the checksums.
            target = str(cache / market / str(version.version))
            Path(target).mkdir(parents=True, exist_ok=True)
        folder = Path(artifacts.download_artifacts(artifact_uri=source, dst_path=target, tracking_uri=uri))
    except failures as error:
        raise BundleError(f"market {market!r} has no {what} at {_public(uri)}: {_reason(error)}; {remedy}") from error
    folder = bundle_of(folder)
    if not folder.is_dir():
        raise BundleError(f"the {what} of market {market!r} is no folder: {folder}; {remedy}")
    return folder


def save_model(bundle: Path, folder: Path) -> Path:
    """Write a bundle as an MLflow pyfunc model, for engines that load models; no tracking server is asked.

    Raises
    ------
    BundleError
        If the bundle is damaged.
    """
    import mlflow.pyfunc

    save_shipped(bundle, folder, mlflow)
    return folder


def spark_udf(spark: Any, model: Path, fields: str) -> Any:
    """Return a model as a function of Spark; `fields` are the columns of its result, as Spark writes a schema."""
    import mlflow.pyfunc

    return mlflow.pyfunc.spark_udf(spark, model.as_uri(), result_type=fields, env_manager="local")


@dataclass(frozen=True)
class Version:
    """One version of a market's model; `tags` are those of its study, and of the moves it took part in."""

    number: int
    run_id: str
    aliases: tuple[str, ...]
    tags: Mapping[str, str]
    created: datetime


@dataclass(frozen=True)
class RunRecord:
    """One MLflow run: its tags, parameters (the configuration) and when it began."""

    run_id: str
    name: str
    status: str
    tags: Mapping[str, str]
    params: Mapping[str, str]
    started: datetime


class Registry:
    """The models and runs of the registry at an address.

    Every method raises `DataContractError` if it cannot be reached or refuses.
    """

    def __init__(self, uri: str) -> None:
        self._uri = uri

    @property
    def uri(self) -> str:
        """Its address."""
        return self._uri

    def versions(self, market: str) -> list[Version]:
        """Return the versions of a market's model, the newest first; empty where there are none."""
        if _no_file(self._uri):
            return []
        name = _name(market)
        with self._asking() as client:
            # A search does not say which aliases a version has.
            models = client.search_registered_models(f"name='{name}'")
            named = models[0].aliases if models else {}
            found = client.search_model_versions(f"name='{name}'")
        versions = [
            Version(
                number=int(one.version),
                run_id=str(one.run_id),
                aliases=tuple(sorted(alias for alias, number in named.items() if int(number) == int(one.version))),
                tags=dict(one.tags),
                created=datetime.fromtimestamp(one.creation_timestamp / 1000, UTC),
            )
            for one in found
        ]
        return sorted(versions, key=lambda version: -version.number)

    def set_alias(self, market: str, alias: str, number: int) -> None:
        """Let an alias name a version."""
        with self._asking() as client:
            client.set_registered_model_alias(_name(market), alias, str(number))

    def drop_alias(self, market: str, alias: str) -> None:
        """Take an alias away; one that is not there is no error."""
        with self._asking() as client:
            client.delete_registered_model_alias(_name(market), alias)

    def tag_version(self, market: str, number: int, tags: Mapping[str, str]) -> None:
        """Set tags on a version."""
        with self._asking() as client:
            for key, value in tags.items():
                client.set_model_version_tag(_name(market), str(number), key, value)

    def intent(self, market: str) -> str | None:
        """Return the move that is under way, or was cut off; None where there is none."""
        if _no_file(self._uri):
            return None
        with self._asking() as client:
            models = client.search_registered_models(f"name='{_name(market)}'")
        return (dict(models[0].tags).get(INTENT_TAG) or None) if models else None

    def set_intent(self, market: str, text: str | None) -> None:
        """Say which move is under way; None: it is done."""
        with self._asking() as client:
            if text is None:
                client.delete_registered_model_tag(_name(market), INTENT_TAG)
            else:
                client.set_registered_model_tag(_name(market), INTENT_TAG, text)

    def run(self, reference: str) -> RunRecord:
        """Return the run of an id, of the unique beginning of one, or of ``MARKET@ALIAS`` and ``MARKET@NUMBER``."""
        if _no_file(self._uri):
            raise DataContractError(f"there is no registry at {_public(self._uri)}; run `capshift backtest`")
        market, at, which = reference.partition("@")
        if at:
            chosen = [one for one in self.versions(market) if which == str(one.number) or which in one.aliases]
            if not chosen:
                raise DataContractError(f"market {market!r} has no model {which!r}; `capshift models` lists them")
            reference = chosen[0].run_id
        with self._asking() as client:
            run = client.get_run(reference if len(reference) == 32 else self._whole_id(client, reference))
        return RunRecord(
            run_id=str(run.info.run_id),
            name=str(run.info.run_name),
            status=str(run.info.status),
            tags=dict(run.data.tags),
            params=dict(run.data.params),
            started=datetime.fromtimestamp(run.info.start_time / 1000, UTC),
        )

    def files(self, run_id: str, suffixes: tuple[str, ...]) -> dict[str, Path]:
        """Return the files of a run's top folder with one of these suffixes, downloaded where they are not here."""
        with self._asking() as client:
            names = [file.path for file in client.list_artifacts(run_id) if not file.is_dir]
            wanted = sorted(name for name in names if name.endswith(suffixes))
            return {name: Path(client.download_artifacts(run_id, name)) for name in wanted}

    @staticmethod
    def _whole_id(client: MlflowClient, start: str) -> str:
        """Return the only run whose id begins like this."""
        places = [one.experiment_id for one in client.search_experiments(filter_string="name LIKE 'capshift-%'")]
        plain = re.fullmatch("[0-9a-f]{4,32}", start) is not None
        found = client.search_runs(places, f"attributes.run_id LIKE '{start}%'") if plain else []
        if len(found) != 1:
            raise DataContractError(
                f"run {start!r} must be the id of one run or four or more letters of its beginning; got {len(found)} "
                "runs; `capshift models` lists the runs of the models"
            )
        return str(found[0].info.run_id)

    @contextmanager
    def _asking(self) -> Iterator[MlflowClient]:
        failures = _failures()
        try:
            yield _client(self._uri)
        except CapshiftError:
            raise
        except failures as error:
            raise DataContractError(
                f"the model registry at {_public(self._uri)} did not do it: {_reason(error)}; see that it runs and "
                "holds what was asked for"
            ) from error


def _failures() -> tuple[type[Exception], ...]:
    """Return what MLflow and its database raise: a damaged one does as the client is made."""
    for variable, value in _ENVIRONMENT.items():
        os.environ.setdefault(variable, value)
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    for logger in ("mlflow", "alembic"):
        logging.getLogger(logger).setLevel(logging.WARNING)
    return MlflowException, SQLAlchemyError, OSError, ImportError


def _client(uri: str) -> MlflowClient:
    """Return a client; call `_failures` before."""
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=uri)


def _name(market: str) -> str:
    return f"capshift-{market}"


def _no_file(uri: str) -> bool:
    """Whether a SQLite address names a file that is not there: asking would create it."""
    return uri.startswith("sqlite:///") and not Path(uri.removeprefix("sqlite:///").partition("?")[0]).is_file()


def _reason(error: Exception) -> str:
    return _public(" ".join(str(error).partition("\n[SQL")[0].split())[:200])


def _public(text: str) -> str:
    """Return a text without the passwords of the addresses in it."""
    return re.sub(r"//[^/@\s]*@", "//", text)
