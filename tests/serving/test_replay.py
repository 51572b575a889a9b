"""Replay of what was published: identical to the byte, or what differs and why."""

from __future__ import annotations

import json
import shutil
import sqlite3
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import typer

from features.errors import DataContractError, LedgerError
from features.ingest import ingest
from features.store import Store
from models.schedule import bundle_root
from serving.day_files import DayFiles
from serving.ledger_step import record_backfilled
from serving.market_score import score_market
from serving.output import store_path
from serving.replay import Check, Replay, replay
from serving.replay_command import replay as replay_command
from tests import small
from tests.serving.small_market import LAST

DAY = np.datetime64(LAST, "us")


@pytest.fixture(scope="module")
def published(small_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Artefacts whose last day was scored and recorded; shared."""
    artifacts = tmp_path_factory.mktemp("published") / "artifacts"
    shutil.copytree(small_folder, artifacts)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("serving.opened_market.training_plan", lambda spec: small.plan())
        assert score_market("sample", LAST, artifacts / "out", artifacts, ledger=str(artifacts / "ledger.db")) == 0
    return artifacts


@pytest.fixture
def copy(published: Path, tmp_path: Path) -> Path:
    shutil.copytree(published, tmp_path / "artifacts")
    return tmp_path / "artifacts"


@pytest.fixture(autouse=True)
def small_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serving.replay.training_plan", lambda spec: small.plan())


def run(artifacts: Path, ledger: str | None = None) -> Replay:
    return replay(small.market(), artifacts, DAY, ledger, artifacts / "out" / "sample")


def check_of(found: Replay, origin: str) -> Check:
    [check] = [one for one in found.checks if origin in one.origin]
    return check


def test_files_and_records_are_identical(published: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = run(published)
    assert found.identical
    assert [one.differences for one in found.checks] == [(), (), ()]
    assert [one.origin.split("/")[-1] for one in found.checks[:2]] == [f"{LAST}.json", f"{LAST}.parquet"]
    assert found.checks[2].origin.endswith("the call that counts, backfilled")
    replay_command(LAST, "sample", published, None, published / "out" / "sample", False)
    said = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in said[:3]] == ["identical"] * 3
    assert said[3] == f"SIMULATED replay sample {LAST}: identical"


@pytest.mark.slow
def test_the_ledger_alone_is_enough(copy: Path) -> None:
    shutil.rmtree(copy / "out")
    found = run(copy)
    assert len(found.checks) == 1
    assert found.identical


@pytest.mark.slow
def test_later_vintages_change_nothing(copy: Path) -> None:
    rows = Store(store_path(copy)).observations("sample")
    rows = rows[rows["known_at"] > pd.Timestamp("2010-06-01")].drop_duplicates(["series", "period"], keep="last")
    later = rows.assign(value=rows["value"] * 1.001, revision=False).drop(columns="recorded_at")
    ingest(Store(store_path(copy)), small.market(), later, np.datetime64("2011-07-01", "us"))
    assert run(copy).identical


@pytest.mark.deep
def test_each_publication_is_told_what_is_wrong_with_it(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = DayFiles(copy / "out", "sample", LAST)
    rows = files.rows()
    document = json.loads(files.path("json").read_bytes())
    told = document["pairs"][3]
    old, key = told["heads"]["crash"]["probability"], (told["pair"], told["horizon_weeks"])
    told["heads"]["crash"]["probability"] = 0.5
    files.path("json").write_text(json.dumps(document, ensure_ascii=False, indent=1), encoding="utf-8")
    files.path("parquet").write_bytes(files.path("parquet").read_bytes()[:-7])
    record_backfilled(small.market(), rows.assign(p_large_base=0.3), str(copy / "ledger.db"), copy)
    found = run(copy)
    assert not found.identical
    edited, damaged, first, second = found.checks
    [difference] = edited.differences
    assert (difference.pair, difference.horizon_weeks) == key
    assert (difference.field, difference.old, difference.new) == ("heads.crash.probability", 0.5, old)
    assert "the published numbers were edited" in edited.causes[0]
    assert damaged.differences[0].field == "file"
    assert "the file is damaged" in damaged.causes[0]
    # The first call counts, and a later one does not stand in for it.
    assert first.differences == ()
    assert ["that counts" in check.origin for check in (first, second)] == [True, False]
    assert {one.field for one in second.differences} == {"p_large_base"}
    with pytest.raises(typer.Exit) as stop:
        replay_command(LAST, "sample", copy, None, copy / "out" / "sample", False)
    assert stop.value.exit_code == 4
    said = capsys.readouterr().out
    assert f"  {key[0]} {key[1]}w heads.crash.probability: 0.5 -> {old}" in said
    assert "NOT identical" in said


@pytest.mark.deep
def test_rows_that_were_written_later_but_dated_before_are_the_named_cause(copy: Path) -> None:
    spec = small.market()
    rows = small.observations()
    rows = rows[(rows["series"] == "pmi") & (rows["known_at"] < pd.Timestamp("2010-11-01"))].tail(6)
    # Dated revisions that a source delivers late.
    late = rows.assign(value=rows["value"] + 1.0, known_at=pd.Timestamp("2010-11-20"), revision=True)
    ingest(Store(store_path(copy)), spec, late, np.datetime64("2011-09-05T10:00", "us"))
    found = run(copy)
    assert not found.identical
    for check in found.checks:
        assert check.differences
        told = "; ".join(check.causes)
        assert "snapshot differs: published from" in told
        assert f"{len(late)} row(s) of pmi were written to the store from 2011-09-05 10:00 UTC on" in told
        assert "from the rows stored before them it is identical: the data are the whole cause" in told
    fields = {one.field for one in check_of(found, "ledger").differences}
    assert {"snapshot_id", "p_switch"} <= fields


@pytest.mark.slow
def test_a_store_that_lost_rows_says_so(copy: Path, tmp_path: Path) -> None:
    rows = Store(store_path(copy)).observations("sample").drop(columns="recorded_at")
    store_path(copy).unlink()
    kept = rows[~((rows["series"] == "pmi") & (rows["period"] == pd.Timestamp("2010-09-30")))]
    ingest(Store(store_path(copy)), small.market(), kept.assign(revision=False).drop_duplicates(["series", "period"]),
           np.datetime64("2011-06-01", "us"))  # fmt: skip
    found = run(copy)
    assert not found.identical
    assert any("the store no longer holds what was known then" in cause for cause in found.checks[0].causes)


def test_a_bundle_that_is_gone_cannot_be_replayed(copy: Path) -> None:
    shutil.rmtree(bundle_root(copy, "sample", small.plan()))
    found = run(copy)
    assert not found.identical
    assert all("it cannot be rebuilt" in check.causes[0] for check in found.checks)
    assert all("the bundle of cut 2010-07-23 is gone" in check.causes[0] for check in found.checks)


@pytest.mark.slow
def test_another_bundle_in_its_place_is_told_from_data_and_code(copy: Path) -> None:
    from dataclasses import replace

    root = bundle_root(copy, "sample", small.plan())
    folder = next(root.glob("2010-07-23-*"))
    bundle = small.walked().bundles[-1]
    heads = {key: replace(head, slope=head.slope * 1.01) for key, head in bundle.heads.items()}
    replace(bundle, heads=heads).save(folder)
    found = run(copy)
    assert not found.identical
    assert "the bundle was trained again" in found.checks[0].causes[0]


def test_a_ledger_that_was_edited_is_no_evidence(copy: Path) -> None:
    database = sqlite3.connect(copy / "ledger.db")
    names = [row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'")]
    for name in names:
        database.execute(f"DROP TRIGGER {name}")
    [table] = [
        row[0]
        for row in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        if "forecast" in row[0]
    ]
    database.execute(f"UPDATE {table} SET p_switch = 0.5 WHERE sequence = 1")
    database.commit()
    database.close()
    with pytest.raises(LedgerError, match="restore a backup that verifies"):
        run(copy)


def test_nothing_published_and_a_ledger_that_is_not_there(small_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DataContractError, match="nothing was published of market 'sample' on 2010-11-26"):
        replay(small.market(), small_folder, DAY, None, None)
    with pytest.raises(DataContractError, match="no ledger here"):
        replay(small.market(), small_folder, DAY, str(tmp_path / "no.db"), None)
