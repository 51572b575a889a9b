"""Files of daily factors: both forms say the same, the index cumulates them, and a wrong file gets a sentence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.calendar import TradingCalendar
from features.dataset import build_dataset
from features.errors import DataContractError
from features.market import load_market
from features.sources.factors import FactorTable
from features.sources.folder import read_folder
from tests.features.french import simulated_factors, write_french, write_plain

NOW = np.datetime64("2024-01-15", "us")
LAST = "1994-06-30"
HEADER = ",Mkt-RF,SMB,HML,RF\n"
GOOD = "19900702,0.74,-0.14,0.13,0.03\n"


@pytest.fixture(scope="module")
def factors() -> pd.DataFrame:
    return simulated_factors("europe", LAST)


def test_both_forms_say_the_same(tmp_path: Path, factors: pd.DataFrame) -> None:
    french = FactorTable.read(write_french(factors, tmp_path / "french.csv"))
    plain = FactorTable.read(write_plain(factors, tmp_path / "plain.csv"))
    parquet = tmp_path / "plain.parquet"
    factors.reset_index().astype({"date": str}).to_parquet(parquet)
    for name in factors.columns:
        np.testing.assert_array_equal(french.returns(name), factors[name])
        np.testing.assert_array_equal(plain.returns(name), factors[name])
        np.testing.assert_array_equal(FactorTable.read(parquet).returns(name), factors[name])


def test_the_line_is_the_cumulated_size_factor(tmp_path: Path, factors: pd.DataFrame) -> None:
    write_french(factors, tmp_path / "europe" / "Europe_3_Factors_Daily.csv")
    market = load_market("europe")
    read = read_folder(market, tmp_path, NOW)
    dataset = build_dataset(read.observations, market, np.datetime64("1994-06-24", "us"))
    period, line = dataset.lines["smb"].as_of(NOW)
    expected = np.log1p(factors["smb"]).cumsum()[pd.DatetimeIndex(period)]
    np.testing.assert_allclose(line[:, 0], expected, rtol=0, atol=1e-12)
    assert len(period) > 900
    # All drivers of the US are optional and absent; families of the factors themselves live.
    assert {"VIXCLS", "DGS10", "ism_pmi"} <= set(read.absent)
    live = {info.family for info in dataset.features if dataset.values[info.name].notna().any()}
    assert live == {"crowding", "leverage", "style", "calendar"}


def test_a_missing_day_has_no_value_and_the_index_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "f.csv"
    path.write_text(f"{HEADER}{GOOD}19900703,-99.99,-99.99,-999,0.03\n19900704,1.00,2.00,0.1,0.00\n", encoding="utf-8")
    table = FactorTable.read(path)
    level = table.index("mkt_rf + rf * smb")
    assert np.isnan(level[1])
    assert level[2] == pytest.approx(100 * 1.0077 * 0.9986 * 1.01 * 1.02, rel=1e-12)
    plain = tmp_path / "p.csv"
    plain.write_text("date,smb\n1990-07-02,0.01\n1990-07-03,-0.9999\n", encoding="utf-8")
    np.testing.assert_array_equal(FactorTable.read(plain).returns("smb"), [0.01, np.nan])


def test_what_follows_the_daily_rows_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "f.csv"
    text = f"Text, with a comma, and \xe9\n\n{HEADER}{GOOD}\n Annual Factors\n{HEADER}1990,1,1,1,1\n"
    path.write_text(text, encoding="latin-1")
    assert len(FactorTable.read(path).table) == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"{HEADER}199007,0.74,-0.14,0.13,0.03\n", "row 2: a month; download the daily file"),
        (f"{HEADER}\nCopyright\n", "no row begins with a date YYYYMMDD"),
        (f"{HEADER}{GOOD}19900703,0.74,-0.14\n", "row 3: 3 cells where the header has 5"),
        (f"{HEADER}19900742,0.74,-0.14,0.13,0.03\n", "row 2: column 'date' must be a date"),
        (f"{HEADER}19900702,0.74,x,0.13,0.03\n", "row 2: column 'smb' must be a number"),
        (f"{HEADER}{GOOD}{GOOD}", "row 3: date 1990-07-02 repeats"),
        (f"{HEADER}19900702,0.74,-100.00,0.13,0.03\n", "a day of 'smb' loses everything"),
        (",Mkt-RF,RF\n19900702,0.74,0.03\n", "the header lacks smb"),
        ("date,mkt_rf,smb,hml,rf\n1990-07-02,0.74,-0.14,0.13,0.03\n", "seems to hold percentages"),
        (f"{HEADER}20300701,0.74,-0.14,0.13,0.03\n", "lies in the future"),
        ("", "the file is empty"),
    ],
)  # fmt: skip
def test_a_wrong_file_gets_a_sentence(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "europe" / "returns" / "ff3_daily.csv"
    path.parent.mkdir(parents=True)
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DataContractError, match=said) as caught:
        read_folder(load_market("europe"), tmp_path, NOW)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("name", ["europe", "japan"])
def test_no_file_at_all(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataContractError, match=r"ff3_daily\.csv: missing file"):
        read_folder(load_market(name), tmp_path, NOW)


def test_sessions_are_those_of_any_exchange() -> None:
    joined = TradingCalendar.build("XLON+XETR", "2023-04-24", "2023-05-12")
    # The first of May closes Frankfurt and London both; the eighth, a coronation, only London.
    days = set(joined.sessions.astype("datetime64[D]").astype(str))
    assert "2023-05-01" not in days
    assert "2023-05-08" in days
    with pytest.raises(DataContractError, match="XNOWHERE"):
        TradingCalendar.build("XLON+XNOWHERE", "2023-04-24", "2023-05-12")


@given(st.sets(st.integers(0, 59)))
def test_sessions_as_realised(gone: set[int]) -> None:
    calendar = TradingCalendar.build("XETR", "2023-01-02", "2023-06-30")
    days = calendar.sessions[[place for place in range(60) if place not in gone]]
    realised = calendar.realised(days).sessions
    if not len(days):
        np.testing.assert_array_equal(realised, calendar.sessions)
    else:
        np.testing.assert_array_equal(realised[: len(days)], days)
        np.testing.assert_array_equal(realised[len(days) :], calendar.sessions[calendar.sessions > days[-1]])


def test_a_day_that_the_file_passes_over_is_no_session(tmp_path: Path, factors: pd.DataFrame) -> None:
    """A Friday without a row makes Thursday the decision; rows on holidays only feed the index."""
    market = load_market("europe")
    friday, thursday = pd.Timestamp("1994-03-11"), pd.Timestamp("1994-03-10")
    write_french(factors.drop(friday), tmp_path / "europe" / "returns" / "Europe_3_Factors_Daily.csv")
    dataset = build_dataset(read_folder(market, tmp_path, NOW).observations, market, np.datetime64("1994-06-24", "us"))
    assert friday.to_datetime64() not in dataset.sessions
    assert ("smb", thursday) in dataset.rows.index
    other = tmp_path / "other"
    weekdays = simulated_factors("europe", LAST, every_weekday=True)
    write_french(weekdays, other / "europe" / "returns" / "Europe_3_Factors_Daily.csv")
    full = build_dataset(read_folder(market, other, NOW).observations, market, np.datetime64("1994-06-24", "us"))
    assert np.datetime64("1993-04-12", "us") not in full.sessions
    assert full.rows.index.get_level_values("decision_date").isin(full.sessions).all()
    assert pd.Timestamp("1993-04-12") in weekdays.index
    x = full.rows["x"].xs("smb")
    expected = np.log1p(weekdays["smb"]).cumsum()[x.index]
    np.testing.assert_allclose(x, expected, rtol=0, atol=1e-12)
