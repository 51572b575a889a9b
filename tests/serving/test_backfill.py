"""A span backfilled: what score writes, resumed after any kill, recorded once, on any backend."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import typer

import features.markets
from features.errors import DataContractError, LockedError
from features.frames import OBSERVATION_COLUMNS
from features.ingest import ingest
from features.market import load_market
from features.store import Store
from models.schedule import Plan, bundle_folder, bundle_root, day_text
from serving import backends
from serving.backfill import BackfillJob, expected, run_backfill, span_days
from serving.backfill_command import backfill
from serving.day_files import DayFiles
from serving.ledger import Ledger
from serving.ledger_read import recorded_forecasts
from serving.ledger_record import KEY_FIELDS
from serving.ledger_verify import verify
from serving.lock import output_lock
from serving.opened_market import open_market
from serving.output import forecast_text, parquet_bytes, store_path
from tests import small
from tests.serving.job_worker import fill
from tests.serving.small_market import opened

SPAN = ("2010-07-12", "2010-07-30")
DAYS = ["2010-07-16", "2010-07-23", "2010-07-30"]
KILLED = -9
ROWS = 8


@pytest.fixture(autouse=True)
def small_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serving.opened_market.training_plan", lambda spec: small.plan())


@pytest.fixture(scope="module")
def wanted(small_folder: Path) -> dict[str, tuple[bytes, bytes]]:
    """What each day alone gives, its dataset built up to it and no further."""
    calls = {day: opened(small_folder, day).call(np.datetime64(day, "us")) for day in DAYS}
    return {day: (forecast_text(call.forecast).encode(), parquet_bytes(call.rows)) for day, call in calls.items()}


def content(out: Path) -> dict[str, tuple[bytes, bytes]]:
    files = {path.stem: DayFiles(out, "sample", path.stem) for path in sorted((out / "sample").glob("*.sha256"))}
    assert all(one.intact() for one in files.values())
    return {day: (one.path("json").read_bytes(), one.path("parquet").read_bytes()) for day, one in files.items()}


def outcomes(artifacts: Path, out: Path, jobs: int = 1, backend: str = "threading") -> list[str]:
    market = opened(artifacts, DAYS[-1])
    days = span_days(market, np.datetime64(SPAN[0], "us"))
    assert [day_text(day) for day in days] == DAYS
    done = list(run_backfill(market, days, BackfillJob.of(market, "sample", out), jobs, backend))
    assert [one.day for one in done] == DAYS
    return [one.outcome for one in done]


def test_every_day_is_what_that_day_alone_gives_across_a_refit_and_is_kept(
    small_folder: Path, tmp_path: Path, wanted: dict[str, tuple[bytes, bytes]]
) -> None:
    assert outcomes(small_folder, tmp_path, 2) == ["written"] * 3
    assert content(tmp_path) == wanted
    cuts = [str(DayFiles(tmp_path, "sample", day).rows()["bundle_cut"].iloc[0])[:10] for day in DAYS]
    assert cuts[0] < cuts[1] == cuts[2] == "2010-07-23"
    DayFiles(tmp_path, "sample", DAYS[1]).path("parquet").write_bytes(b"PAR1")
    assert outcomes(small_folder, tmp_path) == ["kept", "replaced", "kept"]
    assert content(tmp_path) == wanted


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["loky", "multiprocessing"])
def test_processes_give_the_same_bytes(
    small_folder: Path, tmp_path: Path, wanted: dict[str, tuple[bytes, bytes]], backend: str
) -> None:
    assert outcomes(small_folder, tmp_path, 2, backend) == ["written"] * 3
    assert content(tmp_path) == wanted


@pytest.mark.parametrize("kills", [pytest.param(1, marks=pytest.mark.deep), pytest.param(20, marks=pytest.mark.fault)])
def test_killed_anywhere_it_goes_on_and_nothing_is_lost_or_doubled(
    processes, small_folder: Path, tmp_path: Path, wanted: dict[str, tuple[bytes, bytes]], kills: int
) -> None:
    out, ledger = tmp_path / "out", str(tmp_path / "out" / "ledger.db")

    def run(kill_at: int) -> bool:
        """Run until a step; say whether it came that far."""
        child = processes.Process(target=fill, args=(small_folder, SPAN, out, ledger, kill_at))
        child.start()
        child.join()
        assert child.exitcode in (KILLED, 0)
        return child.exitcode == KILLED

    rng = np.random.default_rng(kills)
    # Early ones fall into the first day, late ones into the ledger or past the end; each run goes on from the last.
    killed = [run(int(step)) for step in [rng.integers(8, 15), *rng.integers(3, 90, kills - 1)]]
    assert killed[0]
    assert sum(killed) >= min(kills, 8)
    assert not run(-1)
    assert content(out) == wanted
    assert not list((out / "sample").glob(".*"))
    book = Ledger(ledger, tmp_path)
    assert verify(book).finding is None
    recorded = recorded_forecasts(book, "sample")
    assert not recorded.duplicated(list(KEY_FIELDS)).any()
    assert recorded.groupby("decision_date").size().to_dict() == {pd.Timestamp(day): ROWS for day in DAYS}
    # Whoever forecasts 2010 today is late, and the ledger says so.
    assert recorded["backfilled"].all()
    assert (recorded["revision"] == 0).all()


def test_two_jobs_on_one_output(small_folder: Path, tmp_path: Path) -> None:
    with output_lock(tmp_path / "sample"), pytest.raises(LockedError) as error:
        backfill(SPAN[0], "sample", small_folder, SPAN[1], tmp_path, 1, "loky", None)
    assert error.value.exit_code == 6


CLOSED, BEFORE = "2010-07-23", "2010-07-22"


@pytest.fixture(scope="module")
def realised(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Plan]:
    """Return definition, artefacts and plan of a market that was closed, to its surprise, on a Friday."""
    folder = tmp_path_factory.mktemp("realised")
    text = (Path(features.markets.__path__[0]) / "sample.toml").read_text(encoding="utf-8")
    definition = folder / "realised.toml"
    definition.write_text(text.replace("[schedule]", '[schedule]\nsessions = "s1000.close"', 1), encoding="utf-8")
    spec, rows = load_market(str(definition)), small.observations()
    prices = [segment.price for segment in spec.segments.values()]
    rows = rows[~((rows["period"] == pd.Timestamp(CLOSED)) & rows["series"].isin(prices))]
    ingest(Store(store_path(folder)), spec, rows[list(OBSERVATION_COLUMNS)], np.datetime64("2011-06-01T09:00", "us"))
    plan = small.plan(market_hash=spec.config_hash)
    known = open_market(spec, folder, DAYS[-1], plan).dataset.clock["snapshot_id"]
    for bundle in small.walked().bundles:
        # The refit of the closed day is, with hindsight, that of the day before.
        if day_text(bundle.cut) in {DAYS[1], *(f"{day:%Y-%m-%d}" for day in known.index)}:
            cut = known.index[known.index <= pd.Timestamp(bundle.cut)][-1].to_datetime64().astype("datetime64[us]")
            snapshot = str(known.loc[cut])
            moved = replace(bundle, cut=cut, snapshot_id=snapshot, config_hash=plan.config_hash)
            moved.save(bundle_folder(bundle_root(folder, spec.name, plan), cut, snapshot))
    return definition, folder, plan


@pytest.mark.parametrize("end", [CLOSED, pytest.param(DAYS[2], marks=pytest.mark.deep)])
def test_a_day_that_was_no_decision_ends_no_span(
    realised: tuple[Path, Path, Plan], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys, end: str
) -> None:
    definition, folder, plan = realised
    monkeypatch.setattr("serving.opened_market.training_plan", lambda spec: plan)

    def run() -> int:
        try:
            backfill(SPAN[0], str(definition), folder, end, tmp_path, 1, "threading", None)
        except typer.Exit as stopped:
            return stopped.exit_code
        return 0

    assert run() == (0 if end == CLOSED else 5)
    assert list(content(tmp_path)) == ([DAYS[0]] if end == CLOSED else [DAYS[0], DAYS[2]])
    said = capsys.readouterr()
    if end != CLOSED:
        assert "3 day(s)" in said.out
        assert "1 no_decision, 2 written" in said.out
        assert f"{BEFORE}: no_decision: the market was expected to open" in said.err


@pytest.mark.deep
def test_a_day_before_the_headline_pair_is_old_enough_ends_no_span(small_folder: Path, tmp_path: Path) -> None:
    market = opened(small_folder, DAYS[-1])
    age = int(market.dataset.rows.loc[market.spec.headline].index.searchsorted(pd.Timestamp(DAYS[1])))
    young = small.plan(min_weeks=age)
    for bundle in small.walked().bundles:
        root = bundle_root(tmp_path, "sample", young)
        replace(bundle, config_hash=young.config_hash).save(bundle_folder(root, bundle.cut, bundle.snapshot_id))
    shutil.copy(store_path(small_folder), store_path(tmp_path))
    market = open_market(small.market(), tmp_path, DAYS[-1], young)
    job = BackfillJob.of(market, "sample", tmp_path / "out")
    days = span_days(market, np.datetime64(SPAN[0], "us"))
    done = list(run_backfill(market, days, job, 1, "threading"))
    assert [one.outcome for one in done] == ["no_history", "written", "written"]


def test_days_of_other_data_are_made_again(small_folder: Path, tmp_path: Path) -> None:
    market = opened(small_folder, DAYS[-1])
    day = np.datetime64(DAYS[0], "us")
    files = DayFiles(tmp_path, "sample", DAYS[0])
    files.write(market.call(day))
    assert files.finished(expected(market, day))
    clock = market.dataset.clock.assign(snapshot_id="0" * 12)
    assert not files.finished(expected(replace(market, dataset=replace(market.dataset, clock=clock)), day))


def test_a_store_that_changes_meanwhile_is_refused(small_folder: Path, tmp_path: Path) -> None:
    artifacts = tmp_path / "artifacts"
    shutil.copytree(small_folder, artifacts)
    market = opened(artifacts, DAYS[-1])
    days = span_days(market, np.datetime64(SPAN[0], "us"))
    late = small.observations().head(1).assign(period=pd.Timestamp("2002-01-01"), known_at=pd.Timestamp("2002-01-04"))
    ingest(Store(store_path(artifacts)), small.market(), late, np.datetime64("2011-07-01", "us"))
    with pytest.raises(DataContractError, match="the store changed while the backfill ran; run it again"):
        list(run_backfill(market, days, BackfillJob.of(market, "sample", tmp_path), 1, "threading"))


@pytest.mark.slow
def test_a_bundle_that_is_missing_is_trained(
    small_folder: Path, tmp_path: Path, wanted: dict[str, tuple[bytes, bytes]], capsys: pytest.CaptureFixture[str]
) -> None:
    artifacts = tmp_path / "artifacts"
    shutil.copytree(small_folder, artifacts)
    root = bundle_root(artifacts, "sample", small.plan())
    lost = next(root.glob("2010-07-23-*"))
    shutil.rmtree(lost)
    backfill(DAYS[1], "sample", artifacts, DAYS[1], tmp_path, 1, "loky", None)
    said = capsys.readouterr()
    assert "training: 1 bundle(s)" in said.err
    assert "SIMULATED backfill sample: 1 day(s) from 2010-07-23 to 2010-07-23: 1 written" in said.out
    assert lost.exists()
    assert content(tmp_path) == {DAYS[1]: wanted[DAYS[1]]}


def test_a_refused_day_is_left_out_and_told(
    small_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # A definition under which points that are served are impossible.
    spec = small.market()
    stricter = spec.series["pmi"].model_copy(update={"range": (30.0, 45.0)})
    changed = spec.model_copy(update={"series": {**spec.series, "pmi": stricter}})
    for module in ("serving.backfill", "serving.backfill_command"):
        monkeypatch.setattr(f"{module}.market_spec", lambda name: changed)
    with pytest.raises(typer.Exit) as stop:
        backfill(DAYS[0], "sample", small_folder, DAYS[0], tmp_path, 1, "loky", None)
    assert stop.value.exit_code == 2
    said = capsys.readouterr()
    assert "1 refused" in said.out
    assert "outside the plausible range [30, 45]" in said.err
    assert not list(tmp_path.glob("sample/*"))


REFUSED: list[tuple[tuple[str, str | None], str]] = [
    (("2010-07-31", "2010-07-17"), "there is none from 2010-07-31 to 2010-07-17"),
    (("2010-07-19", "2010-07-21"), "there is none from 2010-07-19 to 2010-07-21"),
    (("2008-07-18", "2010-07-16"), "before the first decision of market 'sample', 2009-01-09"),
    (("yesterday", None), "`from` must be a date YYYY-MM-DD; got 'yesterday'"),
    (("2010-07-16", "2010-02-30"), "`to` must be a date YYYY-MM-DD; got '2010-02-30'"),
]


@pytest.mark.parametrize(("span", "words"), REFUSED)
def test_a_span_that_makes_no_sense(
    small_folder: Path, tmp_path: Path, span: tuple[str, str | None], words: str
) -> None:
    with pytest.raises(DataContractError) as error:
        backfill(span[0], "sample", small_folder, span[1], tmp_path, 1, "loky", None)
    assert words in str(error.value)


class TestBackends:
    def test_an_unknown_one_is_refused(self, small_folder: Path, tmp_path: Path) -> None:
        with pytest.raises(DataContractError, match=r"`backend` must be one of loky, threading, .*; got 'mpi'"):
            backfill(SPAN[0], "sample", small_folder, SPAN[1], tmp_path, 1, "mpi", None)

    @pytest.mark.parametrize("backend", ["spark", "dask", "ray"])
    def test_one_whose_package_is_missing_says_which(self, monkeypatch: pytest.MonkeyPatch, backend: str) -> None:
        def absent(name: str) -> object:
            raise ModuleNotFoundError(name)

        monkeypatch.setattr(backends, "import_module", absent)
        with pytest.raises(DataContractError, match=f"`backend` {backend} needs the package"):
            backends.check_backend(backend)

    @pytest.mark.parametrize("backend", ["loky", "threading", "multiprocessing"])
    def test_joblib_runs_on_what_is_chosen(self, backend: str) -> None:
        from joblib.parallel import get_active_backend

        names = {"loky": "LokyBackend", "threading": "ThreadingBackend", "multiprocessing": "MultiprocessingBackend"}
        with backends.parallel_backend(backend, 2):
            active, jobs = get_active_backend()
            assert (type(active).__name__, jobs) == (names[backend], 2)
        assert type(get_active_backend()[0]).__name__ == "LokyBackend"
