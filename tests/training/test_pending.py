"""Studies that wait for MLflow: nothing is lost, and nothing is logged twice."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import date
from pathlib import Path

import pandas as pd
import pytest
from mlflow import MlflowClient

from features.errors import DataContractError
from serving.registry import CHAMPION, champion_bundle
from tests.training.study_toy import study
from training.pending import keep_study, kept_studies, load_study, upload_kept
from training.study import Study
from training.tracking import log_study
from training.tracking_server import TrackingError, model_name


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An artefacts folder with one study that waits; copied by every test."""
    root = tmp_path_factory.mktemp("kept")
    made = replace(study(root / "bundles"), scored_until=date(2013, 11, 22), simulated=False)
    keep_study(made, root / "artifacts", "20230701-a")
    return root


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty MLflow database: making one takes longer than all else."""
    path = tmp_path_factory.mktemp("database") / "mlflow.db"
    MlflowClient(tracking_uri=f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def artifacts(kept: Path, database: Path, tmp_path: Path) -> Path:
    copy = Path(shutil.copytree(kept / "artifacts", tmp_path / "artifacts"))
    shutil.copy(database, copy / "mlflow.db")
    return copy


def uri(artifacts: Path) -> str:
    return f"sqlite:///{artifacts}/mlflow.db"


def again(artifacts: Path, key: str, **changes: str) -> Study:
    """Let a second study wait: the first under another key."""
    first = kept_studies(artifacts, "sample")[0]
    second = first.with_name(key)
    shutil.copytree(first, second)
    os.replace(second / "files" / first.name, second / "files" / key)
    text = (second / "study.json").read_text(encoding="utf-8")
    for name, value in changes.items():
        text = text.replace(f'"{name}": "{getattr(load_study(first), name)}"', f'"{name}": "{value}"')
    (second / "study.json").write_text(text, encoding="utf-8")
    return load_study(second)


def test_what_is_kept_is_what_was_made(kept: Path) -> None:
    made = replace(study(kept / "twin"), scored_until=date(2013, 11, 22), simulated=False)
    (folder,) = kept_studies(kept / "artifacts", "sample")
    found = load_study(folder)
    for name in ("forecasts", "scores", "yearly", "folds"):
        pd.testing.assert_frame_equal(getattr(found, name), getattr(made, name), check_exact=True)
    files = {path.name: path.read_bytes() for path in made.bundle_dir.iterdir()}
    assert {path.name: path.read_bytes() for path in found.bundle_dir.iterdir()} == files
    same = ("market", "simulated", "config_hash", "snapshot_id", "git_commit", "cut", "scored_until")
    assert [getattr(found, name) for name in same] == [getattr(made, name) for name in same]
    assert found.config == made.config
    # No half-written folder stays.
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_they_are_logged_in_order_once_and_dropped(artifacts: Path) -> None:
    again(artifacts, "20240105-b", cut="2023-12-29")
    done = list(upload_kept(artifacts, "sample", uri(artifacts)))
    assert [key for key, _ in done] == ["20230701-a", "20240105-b"]
    assert kept_studies(artifacts, "sample") == []
    assert list(upload_kept(artifacts, "sample", uri(artifacts))) == []
    client = MlflowClient(tracking_uri=uri(artifacts))
    versions = client.search_model_versions(f"name='{model_name('sample')}'")
    assert sorted(int(one.version) for one in versions) == [1, 2]
    # The later one is a refit of the first.
    assert int(client.get_model_version_by_alias(model_name("sample"), CHAMPION).version) == 2
    names = {file.path for file in client.list_artifacts(done[0][1])}
    assert {"model", "model_card.md", "forecasts.parquet", "reliability_4w.png", "shap_crash.png"} <= names
    assert "study.json" not in names


def test_a_study_that_was_logged_is_not_logged_again(artifacts: Path) -> None:
    """The job was killed between the logging and the dropping."""
    (folder,) = kept_studies(artifacts, "sample")
    first = log_study(load_study(folder), uri(artifacts), folder / "files" / folder.name)
    assert [run for _, run in upload_kept(artifacts, "sample", uri(artifacts))] == [first]
    client = MlflowClient(tracking_uri=uri(artifacts))
    assert len(client.search_model_versions(f"name='{model_name('sample')}'")) == 1


def test_no_server_and_a_later_upload(artifacts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(TrackingError, match="kept on disk"):
        list(upload_kept(artifacts, "sample", "http://127.0.0.1:9"))
    assert len(kept_studies(artifacts, "sample")) == 1
    assert len(list(upload_kept(artifacts, "sample", uri(artifacts)))) == 1


@contextmanager
def silent_server() -> Iterator[str]:
    """A server that accepts every connection and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        held: list[socket.socket] = []

        def accept() -> None:
            while True:
                try:
                    held.append(server.accept()[0])
                except OSError:
                    return

        threading.Thread(target=accept, daemon=True).start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)
        for one in held:
            one.close()


def test_a_server_that_never_answers(artifacts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    begun = time.monotonic()
    with silent_server() as address, pytest.raises(TrackingError, match="kept on disk"):
        list(upload_kept(artifacts, "sample", address))
    assert time.monotonic() - begun < 20
    assert len(kept_studies(artifacts, "sample")) == 1


def upload_and_die(artifacts: Path, step: int) -> None:
    """Upload, and be killed at the nth call that writes to the registry, the store or the disk."""
    import mlflow.store.model_registry.sqlalchemy_store as registry
    import mlflow.store.tracking.sqlalchemy_store as tracking

    left = [step]

    def counted(name: str, plain):  # type: ignore[no-untyped-def]
        def call(*arguments, **named):  # type: ignore[no-untyped-def]
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return plain(*arguments, **named)

        return call

    for store, names in (
        (tracking.SqlAlchemyStore, ("create_experiment", "create_run", "log_batch", "update_run_info")),
        (registry.SqlAlchemyStore, ("create_registered_model", "create_model_version", "set_registered_model_alias")),
    ):
        for name in names:
            setattr(store, name, counted(name, getattr(store, name)))
    shutil.rmtree = counted("rmtree", shutil.rmtree)  # type: ignore[assignment]
    list(upload_kept(artifacts, "sample", uri(artifacts)))


@pytest.mark.parametrize("steps", [(2, 8), pytest.param(tuple(range(1, 12)), marks=pytest.mark.fault)])
def test_killed_at_a_step_and_uploaded_again(processes, artifacts: Path, steps: tuple[int, ...]) -> None:
    """The calls that write: experiment, run, parameters, metrics, end, model, version, alias; last the drop."""
    spare, database = artifacts / "spare", (artifacts / "mlflow.db").read_bytes()
    shutil.copytree(artifacts / "sample", spare)
    killed = 0
    for step in steps:
        (artifacts / "mlflow.db").write_bytes(database)
        shutil.rmtree(artifacts / "sample")
        shutil.copytree(spare, artifacts / "sample")
        child = processes.Process(target=upload_and_die, args=(artifacts, step))
        child.start()
        child.join()
        killed += child.exitcode == -signal.SIGKILL
        list(upload_kept(artifacts, "sample", uri(artifacts)))
        client = MlflowClient(tracking_uri=uri(artifacts))
        experiment = client.get_experiment_by_name(model_name("sample"))
        assert experiment is not None
        runs = client.search_runs([experiment.experiment_id])
        assert [run.info.status for run in runs].count("FINISHED") == 1
        assert {run.info.status for run in runs} <= {"FINISHED", "KILLED"}
        (version,) = client.search_model_versions(f"name='{model_name('sample')}'")
        assert version.run_id in champion_bundle("sample", uri(artifacts)).parts
        assert kept_studies(artifacts, "sample") == []
    assert killed >= min(len(steps), 8)


@pytest.mark.parametrize("damage", ["study.json", "tables/scores.parquet", "files/20230701-a/forecasts.parquet"])
def test_a_damaged_one_is_named_and_the_others_stay(artifacts: Path, damage: str) -> None:
    again(artifacts, "20240105-b")
    (kept_studies(artifacts, "sample")[0] / damage).write_bytes(b"\x00\x01{")
    with pytest.raises(DataContractError, match="no kept study"):
        list(upload_kept(artifacts, "sample", uri(artifacts)))
    assert len(kept_studies(artifacts, "sample")) == 2


def test_no_room(tmp_path: Path) -> None:
    (tmp_path / "sample").write_text("a file where the folder would go")
    with pytest.raises(TrackingError, match="cannot be kept"):
        keep_study(study(tmp_path / "bundles"), tmp_path, "key")


def test_logging_takes_less_than_four_seconds(artifacts: Path) -> None:
    """On a warm database, all that MLflow adds to a study whose files are written."""
    again(artifacts, "20240105-b")
    uploads = upload_kept(artifacts, "sample", uri(artifacts))
    next(uploads)
    begun = time.perf_counter()
    next(uploads)
    assert time.perf_counter() - begun < 4
