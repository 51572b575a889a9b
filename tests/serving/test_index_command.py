"""`capshift index build` as a user meets it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from features.frames import OBSERVATION_COLUMNS
from features.store import Store
from serving import cli
from serving.output import store_path
from tests.features.stocks_toy import rows_of, save

ROWS = rows_of(2, 180, 60)
RULE = ["--rule", "smallest:10", "--market", "cn"]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Call the command line in this process; returns exit code, standard output and standard error."""
    monkeypatch.chdir(tmp_path)
    rows = ROWS.copy()
    # The drawn days are weekdays; the exchange is closed on some of them, which is said and does no harm.
    save(rows, tmp_path)

    def call(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["capshift", "index", "build", *words])
        code = 0
        try:
            cli.main()
        except SystemExit as stop:
            code = int(stop.code or 0)
        return code, *capsys.readouterr()

    return call


def test_table_json_and_files_say_the_same(run, tmp_path: Path) -> None:
    words = [*RULE, "--stocks", "stocks.parquet", "--cost", "0.002", "--out", "new/index.csv"]
    code, table, err = run(*words, "--members", "members.parquet")
    assert code == 0, err
    frame = pd.read_csv(tmp_path / "new" / "index.csv")
    assert frame.columns.tolist() == [
        "date", "level", "gross", "net", "turnover", "n_members", "halted", "unknown",
    ]  # fmt: skip
    assert frame["date"].iloc[-1] == f"{ROWS['date'].max():%Y-%m-%d}"
    members = pd.read_parquet(tmp_path / "members.parquet")
    assert members.groupby("date")["weight"].sum().to_numpy() == pytest.approx(1.0)
    assert "Survivors only" in table
    assert "20 bp a side" in table
    code, text, err = run(*words, "--json")
    content = json.loads(text)
    figures = content["figures"]
    assert content["survivors_only"] is True
    assert (content["rule"], content["rebalance"], content["limits"]) == ("smallest:10", "monthly", True)
    assert figures["total_return"] == pytest.approx(frame["level"].iloc[-1] / 1000 - 1)
    assert figures["total_return_gross"] > figures["total_return"]
    assert figures["cost_drag_a_year"] > 0
    years = (pd.Timestamp(frame["date"].iloc[-1]) - pd.Timestamp(frame["date"].iloc[0])).days / 365.25
    assert figures["turnover_a_year"] == pytest.approx(frame["turnover"].sum() / years)
    assert content["likeness"] == []


def test_parquet_interval_source_and_no_limits(run, tmp_path: Path) -> None:
    (tmp_path / "cn").mkdir()
    (tmp_path / "stocks.parquet").rename(tmp_path / "cn" / "stocks.parquet")
    days = np.sort(ROWS["date"].unique())
    interval = ["--from", str(days[40])[:10], "--until", str(days[90])[:10]]
    code, _, err = run(*RULE, "--source", ".", *interval, "--no-limits", "--out", "index.parquet")
    assert code == 0, err
    frame = pd.read_parquet("index.parquet")
    assert frame["date"].iloc[[0, -1]].tolist() == [pd.Timestamp(days[40]), pd.Timestamp(days[90])]
    assert (frame["n_members"].iloc[1:] == 10).all()


def test_it_is_compared_with_the_series_of_the_store(run, tmp_path: Path) -> None:
    words = [*RULE, "--stocks", "stocks.parquet", "--out", "index.csv", "--artifacts", "art", "--json"]
    run(*words)
    frame = pd.read_csv("index.csv", parse_dates=["date"])
    period = frame["date"].astype("datetime64[us]")
    # A revised vintage of every close counts: the first one is nonsense.
    known = period + pd.Timedelta(hours=8)
    late = known + pd.Timedelta(days=400)
    batch = pd.concat(
        [
            pd.DataFrame({"series": "micro400.close", "period": period, "known_at": at, "value": value})
            for at, value in ((known, 500.0 + np.arange(len(frame)) % 3), (late, frame["level"]))
        ],
        ignore_index=True,
    ).assign(estimated=False, revision=lambda rows: rows["known_at"] > known.max())
    Store(store_path(tmp_path / "art")).append(
        "cn", batch[list(OBSERVATION_COLUMNS)], np.datetime64("2030-01-01", "us")
    )
    code, text, err = run(*words)
    assert code == 0, err
    (likeness,) = json.loads(text)["likeness"]
    assert likeness["series"] == "micro400.close"
    assert likeness["correlation"] == pytest.approx(1.0)
    assert likeness["days"] == len(frame) - 1


def test_bad_cells_are_told_and_strict_refuses_them(run, tmp_path: Path) -> None:
    rows = ROWS.copy()
    at = rows.index[rows["ret"].notna() & ~rows["is_st"]][400]
    rows.loc[at, "ret"] = 3.0
    save(pd.concat([rows, rows.iloc[[9]].assign(ret=0.0123)]), tmp_path)
    words = [*RULE, "--stocks", "stocks.parquet", "--out", "index.csv"]
    code, _, err = run(*words)
    assert code == 0
    assert "impossible_return: 1 finding(s), 1 in quarantine" in err
    assert "duplicate: 1 finding(s), 1 in quarantine" in err
    code, _, err = run(*words, "--strict", "--out", "strict.csv")
    assert code == 2
    assert "2 cell(s) of the stock file are wrong" in err
    assert str(rows.loc[at, "code"]) in err
    assert not (tmp_path / "strict.csv").exists()


def test_an_index_that_cannot_do_without_bad_cells_is_refused_with_them(run, tmp_path: Path) -> None:
    rows = ROWS.copy()
    day = np.sort(rows["date"].unique())[100]
    rows.loc[rows["date"] == day, "ret"] = np.nan
    save(rows, tmp_path)
    code, _, err = run(*RULE, "--stocks", "stocks.parquet", "--out", "index.csv")
    assert code == 2
    assert f"of the index are missing or in quarantine on {str(day)[:10]}" in err
    assert "code" in err
    assert not (tmp_path / "index.csv").exists()
    save(ROWS.drop(columns="total_shares_10k"), tmp_path)
    code, _, err = run(*RULE, "--stocks", "stocks.parquet", "--out", "index.csv")
    assert code == 2
    assert "needs shares" in err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--rule", "tiny:4"], "`rule` must be smallest:N"),
        (["--rebalance", "hourly"], "`rebalance` must be one of"),
        (["--weight", "price"], "`weight` must be one of"),
        (["--cost", "1"], "`cost` must be a fraction"),
        (["--from", "2021"], "`from` must be a date"),
        (["--until", "today"], "`until` must be a date"),
        (["--out", "index.xlsx"], "must be a file that ends in"),
        (["--market", "sample"], "says nothing of single stocks"),
        (["--stocks", "none.parquet"], "no such file"),
        (["--rule", "smallest:61"], "needs 61 stocks"),
    ],
)
def test_usage_errors_are_one_sentence(run, words: list[str], said: str) -> None:
    code, _, err = run(*RULE, "--stocks", "stocks.parquet", "--out", "index.csv", *words)
    assert code == 2
    assert said in err
    assert "Traceback" not in err


def test_it_asks_for_the_file(run) -> None:
    code, _, err = run(*RULE, "--out", "index.csv")
    assert code == 2
    assert "`--stocks` must name" in err
