"""`capshift ingest` with a file of stocks, as a user meets it."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from features.market import load_market
from features.store import Store
from serving import cli
from tests.features.crowding.toy_stocks import on_sessions, save, stock_rows, toy_panel

PANEL = on_sessions(toy_panel(1, days=400, codes=240))
LAST = 360
TINY = """
name = "tiny"
title = "Tiny"
title_zh = "小"

[schedule]
calendar = "XSHG"
timezone = "Asia/Shanghai"
decision_time = "15:30"
history_start = 2014-01-06
first_decision = 2014-06-06

[segments]
big = { name = "Big", name_zh = "大", price = "big.close", rank = 0 }
small = { name = "Small", name_zh = "小", price = "small.close", rank = 1 }

[pairs]
big-small = { large = "big", small = "small", headline = true }

[stocks]
file = "stocks.parquet"

[rules]
close = { kind = "sessions", time = "15:15" }

[bars]
big = { file = "big.csv", known = "close", unit = "points", family = "style", stale_days = 16, columns = { close = {} } }
small = { file = "big.csv", known = "close", unit = "points", family = "style", stale_days = 16, columns = { close = {} } }
crowd = { frequency = "weekly", known = "close", family = "crowding", stale_days = 16, vintage = "computed", optional = true, unit = "correlation", columns = { comomentum = {}, turnover = {} } }

[features]
comomentum = { family = "crowding", inputs = ["crowd.comomentum"], formula = "mean(4)", unit = "correlation", sign = 0, tail = 1, why = "a test" }
"""  # noqa: E501


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A data root without a file of stocks."""
    root = tmp_path / "data"
    root.mkdir()
    prices = pd.DataFrame({"date": PANEL.dates, "close": 100 + np.arange(len(PANEL.dates))})
    prices.to_csv(root / "big.csv", index=False, date_format="%Y-%m-%d")
    (tmp_path / "tiny.toml").write_text(TINY, encoding="utf-8")
    return root


@pytest.fixture
def ingest(source: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Run `capshift ingest` on the tiny market; returns exit code, standard output and standard error."""
    base = source.parent

    def call(*options: str) -> tuple[int, str, str]:
        paths = ("--market", base / "tiny.toml", "--source", source, "--artifacts", base / "artifacts")
        monkeypatch.setattr(sys, "argv", ["capshift", "ingest", *map(str, paths), *options])
        code = 0
        try:
            cli.main()
        except SystemExit as stop:
            code = int(stop.code or 0)
        return code, *capsys.readouterr()

    return call


def stored(source: Path) -> pd.DataFrame:
    rows = Store(source.parent / "artifacts" / "store.duckdb").observations("tiny")
    return rows[rows["series"] == "crowd.comomentum"]


def test_a_market_without_the_file_works(ingest, source: Path) -> None:
    code, out, err = ingest()
    assert code == 0, err
    assert "crowding" not in out
    assert stored(source).empty


def test_the_file_is_measured_week_by_week(ingest, source: Path) -> None:
    rows = stock_rows(PANEL)
    named = save(rows[rows["date"] <= PANEL.dates[LAST]], source.parent / "mine.parquet")
    code, out, err = ingest("--stocks", str(named))
    assert code == 0, err
    assert "new week(s) of crowding" in out
    assert "(survivors only)" in out
    assert "crowd.turnover is absent: the file has no column `amount`" in err
    first = stored(source)
    assert len(first) > 10
    # From the place that the definition names, and new weeks only.
    save(rows, source / "stocks.parquet")
    code, out, err = ingest()
    assert code == 0, err
    second = stored(source)
    assert len(second) > len(first)
    new = second[~second["period"].isin(first["period"])]
    assert new["period"].min() > first["period"].max()
    assert f"{len(new)} new week(s) of crowding" in out
    code, out, err = ingest()
    assert "0 new week(s) of crowding" in out
    assert "0 new observation(s)" in out
    # Nothing new, nothing to complain about.
    assert "warning" not in err


def test_strict_refuses_bad_cells_with_their_rows(ingest, source: Path) -> None:
    rows = stock_rows(PANEL)
    wild = rows.index[(rows["code"] == "000030") & (rows["date"] == PANEL.dates[300])][0]
    rows.loc[wild, "ret"] = 7.0
    save(rows, source / "stocks.parquet")
    code, _, err = ingest("--strict")
    assert code == 2
    assert "1 cell(s) of the stock file are wrong and `--strict` was given" in err
    assert "impossible_return" in err
    code, _, err = ingest()
    assert code == 0
    assert "warning: stocks: impossible_return: 1 finding(s), the first 000030" in err


def test_a_missing_file_and_a_market_without_measures_are_refused(
    ingest, source: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = ingest("--stocks", str(source / "nothing.parquet"))
    assert code == 2
    assert "nothing.parquet" in err
    monkeypatch.setattr(sys, "argv", ["capshift", "ingest", "--market", "sample", "--stocks", "x.parquet"])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code == 2
    assert "`--stocks` says nothing to market 'sample'" in capsys.readouterr().err


def test_the_built_in_market_declares_every_measure() -> None:
    from features.crowding.weekly import MEASURES
    from features.sources.stocks import crowd_series

    market = load_market("cn")
    declared = crowd_series(market)
    assert set(declared) == set(MEASURES)
    assert all(market.series[name].optional for name in declared.values())
    assert {market.series[name].vintage for name in declared.values()} == {"computed"}
