"""The door of the crowding measures: known at the close, week by week, and absent with a reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from features.crowding.weekly import MEASURES, crowd_measures
from features.dataset import market_calendar
from features.errors import DataContractError, DefinitionError
from features.frames import check_observations
from features.ingest import ingest
from features.market import MarketSpec
from features.sources.stocks import CrowdRead, read_crowding
from features.store import Store
from tests.features.crowding.toy_stocks import QUICK, on_sessions, save, stock_rows, toy_panel
from tests.features.definitions import definition, utc

NOW = utc("2015-06-01")
PANEL = on_sessions(toy_panel(3, days=200, codes=80, amount=True))
ROWS = stock_rows(PANEL)


def market(*measures: str, **other: Any) -> MarketSpec:
    """A definition that asks for measures of stocks, all by default."""
    weekly = {"frequency": "weekly", "family": "crowding", "optional": True, "vintage": "computed"}
    declared = definition(**{f"crowd__{name}": weekly for name in measures or MEASURES})
    return MarketSpec.model_validate({**declared, "stocks": {"file": "stocks.parquet"}, **other})


MARKET = market()


def read(path: Path, spec: MarketSpec = MARKET, newest: dict[str, np.datetime64] | None = None) -> CrowdRead:
    return read_crowding(spec, path, NOW, newest, settings=QUICK)


def wide(observations: pd.DataFrame) -> pd.DataFrame:
    return observations.pivot_table(index="period", columns="series", values="value")


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(ROWS, tmp_path_factory.mktemp("stocks") / "stocks.parquet")


def test_observations_are_the_measures_at_every_decision(path: Path) -> None:
    told = read(path)
    decisions = market_calendar(MARKET, PANEL.dates[-1]).decisions()
    decisions = decisions[decisions <= PANEL.dates[-1]]
    expected = crowd_measures(PANEL, decisions, QUICK).dropna(how="all").add_prefix("crowd.")
    assert told.weeks == len(expected) < told.decisions == len(decisions)
    frame = wide(check_observations(told.observations))
    assert_frame_equal(frame, expected[frame.columns], check_names=False, rtol=1e-6)
    assert dict(told.absent) == {}


def test_a_week_is_known_at_the_close_of_its_decision(path: Path) -> None:
    rows = read(path).observations
    # 15:15 in Shanghai.
    assert (rows["known_at"] == rows["period"] + pd.Timedelta(hours=7, minutes=15)).all()
    assert not rows["estimated"].any()
    assert not rows["revision"].any()


def test_only_weeks_after_the_stored_ones_are_computed_and_they_are_the_same(path: Path, tmp_path: Path) -> None:
    whole = read(path).observations
    last = PANEL.dates[150]
    before = save(ROWS[ROWS["date"] <= last], tmp_path / "before.parquet")
    store = Store(tmp_path / "store.duckdb")
    assert store.newest(MARKET.name) == {}
    ingest(store, MARKET, read(before).observations, NOW)
    newest = store.newest(MARKET.name)
    assert set(newest) == {f"crowd.{name}" for name in MEASURES}
    told = read(path, newest=newest)
    assert told.observations["period"].min() > pd.Timestamp(last)
    report = ingest(store, MARKET, told.observations, NOW)
    assert report.appended.added == len(told.observations)
    stored = store.observations(MARKET.name)
    assert_frame_equal(wide(stored), wide(whole), rtol=1e-12)
    again = read(path, newest=store.newest(MARKET.name))
    assert (again.decisions, again.weeks, len(again.observations)) == (0, 0, 0)
    assert set(again.absent.values()) == {"no new decision day"}


def test_a_stored_week_is_not_rewritten_when_a_code_vanishes(path: Path, tmp_path: Path) -> None:
    store = Store(tmp_path / "store.duckdb")
    ingest(store, MARKET, read(path).observations, NOW)
    gone = save(ROWS[ROWS["code"] != "000011"], tmp_path / "gone.parquet")
    assert read(gone, newest=store.newest(MARKET.name)).observations.empty


def test_a_measure_declared_later_is_computed_from_the_start(path: Path) -> None:
    whole = read(path).observations
    newest = {f"crowd.{name}": PANEL.dates[-1] for name in MEASURES if name != "comomentum"}
    assert_frame_equal(read(path, newest=newest).observations, whole)


def test_turnover_needs_an_amount_and_does_not_hold_the_others_up(tmp_path: Path) -> None:
    path = save(ROWS.drop(columns="amount"), tmp_path / "stocks.parquet")
    told = read(path)
    assert dict(told.absent) == {"crowd.turnover": "the file has no column `amount`"}
    assert "crowd.turnover" not in set(told.observations["series"])
    newest = {str(name): PANEL.dates[-1] for name in told.observations["series"].unique()}
    assert read(path, newest=newest).decisions == 0


def test_without_shares_every_measure_is_absent_with_a_reason(tmp_path: Path) -> None:
    told = read(save(ROWS.drop(columns="total_shares_10k"), tmp_path / "stocks.parquet"))
    assert told.observations.empty
    assert told.weeks == 0
    assert set(told.absent) == {f"crowd.{name}" for name in MEASURES}
    assert all("total_shares_10k" in reason for reason in told.absent.values())
    assert "missing_shares" in set(told.findings["check"])


def test_weeks_whose_window_lacks_a_session_are_left_out(tmp_path: Path) -> None:
    lost = PANEL.dates[100]
    told = read(save(ROWS[ROWS["date"] != lost], tmp_path / "stocks.parquet"))
    weeks = told.observations["period"].unique()
    inside = (weeks >= lost) & (weeks < PANEL.dates[100 + QUICK.window])
    assert not inside.any()
    assert (weeks < lost).any()
    assert (weeks >= PANEL.dates[100 + QUICK.window]).any()
    assert "missing_session" in set(told.findings["check"])
    few = save(ROWS[(ROWS["date"] != lost) & (ROWS["date"] <= PANEL.dates[110])], tmp_path / "few.parquet")
    newest = {f"crowd.{name}": PANEL.dates[99] for name in MEASURES}
    assert set(read(few, newest=newest).absent.values()) == {"sessions are missing from the window of every new week"}


def test_bad_cells_are_found_and_left_out(path: Path, tmp_path: Path) -> None:
    rows = ROWS.copy()
    wild = rows.index[(rows["code"] == "000030") & (rows["date"] == PANEL.dates[190])][0]
    rows.loc[wild, "ret"] = 7.0
    negative = rows.index[(rows["code"] == "000031") & (rows["date"] == PANEL.dates[191])][0]
    rows.loc[negative, "close"] = -1.0
    rows = pd.concat([rows, rows.loc[[5]], rows.loc[[6]].assign(ret=0.01)])
    told = read(save(rows.sample(frac=1, random_state=0), tmp_path / "stocks.parquet"))
    assert {"impossible_return", "price", "duplicate"} <= set(told.findings["check"])
    frame, clean = (wide(one.observations).drop(columns="crowd.turnover") for one in (told, read(path)))
    # Two stocks of eighty miss a day: nothing blows up.
    assert (frame - clean).abs().max(axis=None) < 0.2
    assert frame.shape == clean.shape


@pytest.mark.parametrize(
    ("spec", "error", "said"),
    [
        (market("nonsense"), DefinitionError, "series 'crowd.nonsense' names no measure"),
        (market(stocks=None), DefinitionError, "series of crowding need a table `stocks`"),
        (MarketSpec.model_validate(definition()), DefinitionError, "declares no series `crowd"),
    ],
)
def test_bad_definitions(spec: MarketSpec, error: type[Exception], said: str, path: Path) -> None:
    with pytest.raises(error, match=said):
        read(path, spec)


def test_a_day_in_the_future_is_an_error(path: Path) -> None:
    with pytest.raises(DataContractError, match="the day 2014-10-31 lies in the future"):
        read_crowding(MARKET, path, utc("2014-10-30T15:59"), settings=QUICK)
    assert read_crowding(MARKET, path, utc("2014-10-30T16:00"), settings=QUICK).weeks
    with pytest.raises(DataContractError):
        read(Path("nowhere.parquet"))
