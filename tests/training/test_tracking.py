"""A study in MLflow: what is logged, what is registered, and what happens when it cannot be."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

import mlflow.pyfunc
import pandas as pd
import pytest
from mlflow import MlflowClient

from features.errors import BundleError, DataContractError
from models.pyfunc import RowModel
from models.row_scores import RowScorer
from serving.registry import CHALLENGER, CHAMPION, champion_bundle, registered_bundle, tracking_uri
from tests.models import row_toy
from tests.training.study_toy import study
from training.score_tables import score_table, yearly_table
from training.study import Study, write_study
from training.tracking import log_study
from training.tracking_server import TrackingError, model_name

ARTIFACTS = {
    "model", "model_card.md", "config.json", "folds.csv", "folds.json", "folds.md", "forecasts.parquet", "scores.csv",
    "yearly.csv",
    "reliability_1w.png", "reliability_4w.png", "yearly_1w.png", "yearly_4w.png", "shap_crash.png",
}  # fmt: skip


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@dataclass(frozen=True)
class Logged:
    """A study that was logged from an empty working folder."""

    study: Study
    artifacts: Path
    work: Path
    uri: str
    run_id: str

    @property
    def client(self) -> MlflowClient:
        return MlflowClient(tracking_uri=self.uri)


@pytest.fixture(scope="module")
def logged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Logged]:
    root = tmp_path_factory.mktemp("tracking")
    work, artifacts = root / "work", root / "artifacts"
    work.mkdir()
    done = study(root / "bundles")
    before = Path.cwd()
    os.chdir(work)
    try:
        uri = f"sqlite:///{artifacts}/mlflow.db"
        yield Logged(done, artifacts, work, uri, log_study(done, uri))
    finally:
        os.chdir(before)


class TestRun:
    def test_tags_say_what_made_it(self, logged: Logged) -> None:
        run = logged.client.get_run(logged.run_id)
        assert run.info.status == "FINISHED"
        assert run.info.run_name == "SIMULATED sample 2013-10-04-abc"
        expected = {"snapshot_id": "5eed", "config_hash": "c0ffee", "git_commit": "0123abc", "simulated": "true"}
        expected |= {"champion_then": "none", "trials": "1"}
        assert expected.items() <= run.data.tags.items()

    def test_parameters_are_the_configuration(self, logged: Logged) -> None:
        params = logged.client.get_run(logged.run_id).data.params
        assert params["ridge_penalty"] == "20.0"
        assert (params["trees.rounds"], params["trees.grid"]) == ("80", "[1, 2]")
        assert len(params["note"]) == 6000

    def test_headline_metrics(self, logged: Logged) -> None:
        metrics = logged.client.get_run(logged.run_id).data.metrics
        for row in logged.study.scores.to_dict("records"):
            name = f"{row['event']}.{row['horizon_weeks']}w.{row['pair']}"
            assert metrics[f"skill_log_loss.{name}"] == pytest.approx(row["skill_log_loss"])
            assert metrics[f"noise_floor.{name}"] == pytest.approx(row["noise_floor"])

    def test_years_and_folds_are_steps(self, logged: Logged) -> None:
        history = logged.client.get_metric_history(logged.run_id, "yearly_skill_log_loss.crash.4w.pooled")
        assert sorted(point.step for point in history) == [2012, 2013]
        history = logged.client.get_metric_history(logged.run_id, "fold_log_loss_in")
        assert [(point.step, point.value) for point in history] == [(0, 0.51), (1, 0.5)]
        # Not measured is left out, not zero.
        assert len(logged.client.get_metric_history(logged.run_id, "fold_log_loss_out")) == 1

    def test_artifacts(self, logged: Logged) -> None:
        assert {file.path for file in logged.client.list_artifacts(logged.run_id)} == ARTIFACTS
        home = logged.artifacts / "mlflow" / model_name("sample") / logged.run_id / "artifacts"
        pd.testing.assert_frame_equal(pd.read_parquet(home / "forecasts.parquet"), logged.study.forecasts)
        folds = (home / "folds.md").read_text(encoding="utf-8")
        assert folds.startswith("SIMULATED\n")
        assert "| 2012-10-05 | 100 | 0.5100 | 0.6100 |" in folds

    def test_nothing_is_left_behind(self, logged: Logged) -> None:
        assert list(logged.work.iterdir()) == []
        assert {path.name for path in logged.artifacts.iterdir()} == {"mlflow.db", "mlflow"}


class TestRegistry:
    def test_champion_is_the_bundle(self, logged: Logged) -> None:
        folder = champion_bundle("sample", logged.uri)
        assert contents(folder) == contents(logged.study.bundle_dir)
        version = logged.client.get_model_version_by_alias(model_name("sample"), CHAMPION)
        assert version.tags["simulated"] == "true"

    @pytest.mark.parametrize(
        ("changes", "alias"),
        [
            ({"cut": "2023-12-29"}, CHAMPION),
            pytest.param({"cut": "2023-12-29", "git_commit": "4567def"}, CHAMPION, marks=pytest.mark.deep),
            ({}, None),
            pytest.param({"cut": "2022-12-30"}, None, marks=pytest.mark.deep),
            pytest.param({"git_commit": "4567def"}, CHALLENGER, marks=pytest.mark.deep),
            pytest.param({"config_hash": "beef"}, CHALLENGER, marks=pytest.mark.deep),
            ({"config_hash": "beef", "cut": "2023-12-29"}, CHALLENGER),
        ],
        ids=["refit", "refit of newer code", "again", "an earlier day", "other code", "other configuration", "both"],
    )
    def test_which_alias_a_second_study_gets(
        self, logged: Logged, tmp_path: Path, changes: dict[str, str], alias: str | None
    ) -> None:
        client, uri = logged.client, logged.uri
        market = f"market{len(client.search_registered_models())}"
        first = replace(study(tmp_path / "first"), simulated=False, market=market)
        # Files that are written already, none: nothing is drawn.
        for name in ("one", "two"):
            (tmp_path / name).mkdir()
        one = log_study(first, uri, tmp_path / "one")
        two = log_study(replace(first, **changes), uri, tmp_path / "two")
        aliases = client.get_registered_model(model_name(market)).aliases
        newest = registered_bundle(market, uri, "2")
        assert two in newest.parts
        if alias is None:
            assert set(aliases) == {CHAMPION}
        else:
            assert registered_bundle(market, uri, alias) == newest
        if alias != CHAMPION:
            assert one in champion_bundle(market, uri).parts
        tags = client.get_run(two).data.tags
        assert tags["champion_then"] == "version 1, cut 2023-06-30, configuration c0ffee"
        assert tags["champion_then_run"] == one
        assert tags["trials"] == ("2" if "config_hash" in changes else "1")
        assert client.get_run(two).info.run_name == f"{market} 2013-10-04-abc"
        assert list(logged.work.iterdir()) == []

    def test_it_loads_as_a_model(self, logged: Logged) -> None:
        mlflow.set_tracking_uri(logged.uri)
        loaded = mlflow.pyfunc.load_model(f"models:/{model_name('sample')}@{CHAMPION}")
        rows = row_toy.rows().head(10)
        wanted = RowModel(RowScorer(row_toy.bundle(), "reference")).predict(rows)
        pd.testing.assert_frame_equal(loaded.predict(rows), wanted, rtol=0, atol=1e-12)

    def test_no_champion(self, logged: Logged) -> None:
        with pytest.raises(BundleError, match="market 'cn' has no champion"):
            champion_bundle("cn", logged.uri)

    def test_asking_creates_no_database(self, tmp_path: Path) -> None:
        with pytest.raises(BundleError, match="no registry"):
            champion_bundle("sample", f"sqlite:///{tmp_path}/mlflow.db")
        assert list(tmp_path.iterdir()) == []

    def test_address(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
        assert tracking_uri(tmp_path) == f"sqlite:///{tmp_path}/mlflow.db"
        monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://tracking.example:5000")
        assert tracking_uri(tmp_path) == "http://tracking.example:5000"


class TestFailure:
    @pytest.fixture
    def done(self, tmp_path: Path) -> Study:
        return replace(study(tmp_path / "bundles"), contributions={})

    def test_no_server(self, done: Study, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
        with pytest.raises(TrackingError, match="kept on disk") as error:
            log_study(done, "http://user:secret@127.0.0.1:9")
        assert "secret" not in str(error.value)
        assert "\n" not in str(error.value)

    def test_database_is_none(self, done: Study, tmp_path: Path) -> None:
        (tmp_path / "mlflow.db").write_text("this is no database" * 100)
        with pytest.raises(TrackingError, match="not a database"):
            log_study(done, f"sqlite:///{tmp_path}/mlflow.db")

    def test_a_bare_database_has_no_place_for_artifacts(self, done: Study) -> None:
        with pytest.raises(TrackingError, match="name an MLflow server"):
            log_study(done, "postgresql://user:secret@127.0.0.1/mlflow")

    def test_no_bundle(self, done: Study, tmp_path: Path) -> None:
        with pytest.raises(BundleError, match="bundle is not there"):
            log_study(replace(done, bundle_dir=tmp_path / "gone"), f"sqlite:///{tmp_path}/mlflow.db")

    def test_interrupted_halfway_keeps_the_champion(self, logged: Logged, done: Study) -> None:
        champion = champion_bundle("sample", logged.uri)
        # A file where the run's artifacts would go.
        home = logged.artifacts / "mlflow" / model_name("halfway")
        home.parent.mkdir(exist_ok=True)
        home.write_text("in the way")
        with pytest.raises(TrackingError, match="kept on disk"):
            log_study(replace(done, market="halfway"), logged.uri)
        experiment = logged.client.get_experiment_by_name(model_name("halfway"))
        assert experiment is not None
        (run,) = logged.client.search_runs([experiment.experiment_id])
        assert run.info.status == "FAILED"
        with pytest.raises(BundleError):
            champion_bundle("halfway", logged.uri)
        assert champion_bundle("sample", logged.uri) == champion


def test_what_is_not_scored_is_not_drawn(tmp_path: Path) -> None:
    whole = replace(study(tmp_path / "bundles"), contributions={})
    until = date(2013, 6, 28)
    shown = whole.forecasts[whole.forecasts["decision_date"] <= pd.Timestamp(until)]
    frozen = replace(whole, scores=score_table(shown), yearly=yearly_table(shown), scored_until=until)
    write_study(frozen, tmp_path / "frozen")
    assert len(pd.read_parquet(tmp_path / "frozen" / "forecasts.parquet")) == len(whole.forecasts)
    with pytest.raises(DataContractError, match="the scores of 'switch' rest on"):
        write_study(replace(frozen, scored_until=None), tmp_path / "peeking")


def test_a_study_on_disk_needs_no_mlflow(tmp_path: Path) -> None:
    whole = replace(study(tmp_path / "bundles"), contributions={})
    write_study(whole, tmp_path / "study")
    logged_only = {"model", "model_card.md", "shap_crash.png"}
    assert {path.name for path in (tmp_path / "study").iterdir()} == ARTIFACTS - logged_only
    loaded = "import sys, training.study; print({'mlflow', 'matplotlib', 'shap'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
