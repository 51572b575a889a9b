"""The folder source: what it reads of each shape, and a sentence with file, row and remedy for whatever is wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from features.errors import DataContractError
from features.ingest import ingest
from features.market import MarketSpec, load_market
from features.sources.folder import read_folder, revisions
from features.store import Store
from tests.features.definitions import tiny_market, utc

NOW = utc("2014-06-30T08:00")  # 16:00 in Shanghai
MID_MONTH = {"kind": "month", "day": 16}
CREDIT = {"frequency": "monthly", "known": MID_MONTH, "stale_days": 75}
OBSERVATIONS = ["series", "period", "known_at", "value", "estimated", "revision"]


def market(**declared: dict[str, Any]) -> MarketSpec:
    """Two prices in one file of bars, and what is declared beside them."""
    bars = {"file": "bars.csv", "shape": "wide"}
    return tiny_market(large__close={**bars, "column": "a"}, small__close={**bars, "column": "b"}, **declared)


MARKET = market(
    flow={"file": "flow.csv"},
    credit={"file": "credit.csv", "shape": "monthly", "release_time": "16:30", **CREDIT},
    reserves={"file": "reserves.csv", "shape": "dated", "column": "after"},
    **{
        f"prints__{column}": {
            "file": "prints.csv", "shape": "releases", "key": "m2", "column": column, "release_time": "10:00", **CREDIT,
        }
        for column in ("actual", "forecast")
    },
    rumour={"file": "rumour.csv", "optional": True},
    wish={"optional": True},
)  # fmt: skip
FILES = {
    "bars.csv": "date,a,b\n2014-06-26,100,50\n2014-06-27,101,51.5\n2014-06-30,102,52\n",
    "flow.csv": "date,value\n2014-06-26,1\n2014-06-27,\n2014-06-30,-3e0\n",
    "credit.csv": "period,release_date,value\n2014-03,2014-04-15,9\n2014-04-30,,8.5\n2014-05,2014-06-12,8.25\n",
    "reserves.csv": (
        "announce_date,effective_date,after\n2014-04-22,2014-04-25,19.5\n2014-04-22,2014-06-25,19\n2014-06-09,2014-06-16,18.5\n"
    ),
    "prints.csv": (
        "series,release_date,actual,forecast,previous,genuine_release_date\n"
        "m2,2014-03-01,10,,9,0\n"
        "other,2014-03-02,1,1,1,1\n"
        "m2,2014-04-15,11,10.5,10,1\n"
        "m2,2014-05-12,12,11,11.5,1\n"
        "m2,2014-06-12,,12,12.5,1\n"
    ),
}


def lay_out(root: Path) -> Path:
    root.mkdir()
    for name, text in FILES.items():
        (root / name).write_text(text, encoding="utf-8")
    return root


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder in which nothing is wrong."""
    return lay_out(tmp_path / "data")


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store that holds that folder."""
    base = tmp_path_factory.mktemp("filled")
    store = Store(base / "store.duckdb")
    ingest(store, MARKET, read_folder(MARKET, lay_out(base / "data"), NOW).observations, NOW)
    return store


def rows(frame: pd.DataFrame, series: str) -> list[tuple[str, str, float, bool, bool]]:
    """Period, UTC time of publication, value, estimated, revision."""
    part = frame[frame["series"] == series]
    columns = (f"{{:{form}}}".format for form in ("%Y-%m-%d", "%Y-%m-%d %H:%M"))
    days, times = (list(map(form, part[name])) for form, name in zip(columns, ("period", "known_at"), strict=True))
    return list(zip(days, times, part["value"], part["estimated"], part["revision"], strict=True))


# ------------------------------------------------------------------------------------------------------------- shapes
def test_every_shape(folder: Path) -> None:
    read = read_folder(MARKET, folder, NOW)
    frame = read.observations
    assert list(frame.columns) == OBSERVATIONS
    assert read.absent == ("rumour", "wish")
    assert rows(frame, "small.close") == [
        ("2014-06-26", "2014-06-26 07:15", 50.0, False, False),
        ("2014-06-27", "2014-06-27 07:15", 51.5, False, False),
        ("2014-06-30", "2014-06-30 07:15", 52.0, False, False),
    ]
    assert [row[:3:2] for row in rows(frame, "flow")] == [("2014-06-26", 1.0), ("2014-06-30", -3.0)]
    # Stated dates count to the minute; April has none: 16 May, a Friday, plus three sessions, 18:00.
    assert rows(frame, "credit") == [
        ("2014-03-31", "2014-04-15 08:30", 9.0, False, False),
        ("2014-04-30", "2014-05-21 10:00", 8.5, True, False),
        ("2014-05-31", "2014-06-12 08:30", 8.25, False, False),
    ]
    # Two steps announced on one day: where they lead.
    assert [row[:3] for row in rows(frame, "reserves")] == [
        ("2014-04-22", "2014-04-22 07:15", 19.0), ("2014-06-09", "2014-06-09 07:15", 18.5),
    ]  # fmt: skip
    # A first of the month is a placeholder: the rule dates it. `previous` is a later vintage of the row before.
    assert rows(frame, "prints.actual") == [
        ("2014-03-01", "2014-03-20 10:00", 10.0, True, False),
        ("2014-04-15", "2014-04-15 02:00", 11.0, False, False),
        ("2014-05-12", "2014-05-12 02:00", 12.0, False, False),
        ("2014-04-15", "2014-05-12 02:00", 11.5, False, True),
        ("2014-05-12", "2014-06-12 02:00", 12.5, False, True),
    ]
    # The consensus is known with the release.
    assert [row[1:3] for row in rows(frame, "prints.forecast")] == [
        ("2014-04-15 02:00", 10.5), ("2014-05-12 02:00", 11.0), ("2014-06-12 02:00", 12.0),
    ]  # fmt: skip


def test_parquet_says_the_same_as_csv(folder: Path) -> None:
    expected = read_folder(MARKET, folder, NOW).observations
    for name in FILES:
        table = pd.read_csv(folder / name)
        if name == "bars.csv":
            table["date"] = pd.to_datetime(table["date"])
        (folder / name).unlink()
        table.to_parquet((folder / name).with_suffix(".parquet"))
    pd.testing.assert_frame_equal(read_folder(MARKET, folder, NOW).observations, expected)


def test_a_stated_time_of_publication_beats_the_rule(folder: Path) -> None:
    text = "date,value,known_at\n2014-06-26,1,2014-06-26T20:00+08:00\n2014-06-27,2,\n2014-06-30,3,2014-06-30T07:59Z\n"
    (folder / "flow.csv").write_text(text)
    assert [row[1] for row in rows(read_folder(MARKET, folder, NOW).observations, "flow")] == [
        "2014-06-26 12:00", "2014-06-27 07:15", "2014-06-30 07:59",
    ]  # fmt: skip


def test_a_stated_time_is_no_estimate(folder: Path) -> None:
    text = "period,release_date,value,known_at\n2014-03,,9,2014-04-15T16:30+08:00\n2014-04,,8,\n"
    (folder / "credit.csv").write_text(text)
    assert [(row[1], row[3]) for row in rows(read_folder(MARKET, folder, NOW).observations, "credit")] == [
        ("2014-04-15 08:30", False), ("2014-05-21 10:00", True),
    ]  # fmt: skip


def test_a_file_is_read_anew_each_time(folder: Path) -> None:
    """Even one that changes without changing its size."""
    for value in ("1", "2"):
        (folder / "flow.csv").write_text(f"date,value\n2014-06-26,{value}\n")
        assert rows(read_folder(MARKET, folder, NOW).observations, "flow")[0][2] == float(value)


def test_blank_lines_and_a_byte_order_mark_do_no_harm(folder: Path) -> None:
    (folder / "flow.csv").write_bytes(b"\xef\xbb\xbfdate,value\r\n2014-06-26,1\r\n\r\n2014-06-30,2\r\n\r\n")
    assert [row[2] for row in rows(read_folder(MARKET, folder, NOW).observations, "flow")] == [1.0, 2.0]


def test_old_vintages_are_dated_revisions(folder: Path) -> None:
    """FRED-MD: a row of transformation codes first, months as days, known at the end of the file's month."""
    (folder / "2014-05.csv").write_text("sasdate,M2X\nTransform:,6\n3/1/2014,9.5\n4/1/2014,8.5\n,\n")
    (folder / "2014-06.csv").write_text("sasdate,M2X\nTransform:,6\n3/1/2014,9.25\n5/1/2014,\n")
    group = {
        "files": ["2014-05.csv", "2014-06.csv"], "date_column": "sasdate", "columns": {"M2X": "credit"},
        "known": {"kind": "month", "offset": 0, "day": -1, "exact": True, "time": "17:00"},
    }  # fmt: skip
    with_vintages = MARKET.model_validate(MARKET.model_dump() | {"vintage_files": [group]})
    plain = read_folder(with_vintages, folder, NOW).observations
    assert not rows(plain, "credit")[0][4]
    frame = read_folder(with_vintages, folder, utc("2014-07-01"), vintages=True).observations
    assert [row for row in rows(frame, "credit") if row[4]] == [
        ("2014-03-31", "2014-05-31 09:00", 9.5, False, True),
        ("2014-04-30", "2014-05-31 09:00", 8.5, False, True),
        ("2014-03-31", "2014-06-30 09:00", 9.25, False, True),
    ]
    store = Store(folder / "store.duckdb")
    added = ingest(store, with_vintages, frame, utc("2014-07-01")).appended.added
    assert added == len(frame) - 1, "April's vintage says what was known already"
    for day, march in (("2014-05-30", 9.0), ("2014-06-01", 9.5), ("2014-07-01", 9.25)):
        known = store.as_of(with_vintages, utc(day))
        assert known.set_index(["series", "period"])["value"]["credit", pd.Timestamp("2014-03-31")] == march
    (folder / "2014-06.csv").unlink()
    with pytest.raises(DataContractError, match=r"2014-06\.csv: missing file of old vintages; add it or leave `--vin"):
        read_folder(with_vintages, folder, NOW, vintages=True)


# ---------------------------------------------------------------------------------------------- what `previous` revises
def dates(*days: str) -> np.ndarray:
    return np.array(days, dtype="datetime64[us]")


@pytest.mark.parametrize(
    ("period", "value", "previous", "expected"),
    [
        # Trade balance, early 2017: each month revises the one before.
        (("2016-12-08", "2017-01-13", "2017-02-10"), (446.1, 408.2, 513.5), (490.6, 446.1, 407.1), [2]),
        # The first row has none before it.
        (("2014-01-15", "2014-02-15"), (1.0, 2.0), (5.0, 1.0), []),
        # April 2020: M2 printed twice; the second `previous` speaks of March, not of the first print.
        (("2020-03-11", "2020-04-10", "2020-04-11"), (8.8, 10.1, 10.1), (8.4, 8.8, 8.8), []),
        # Exports: nothing from September 2012 to April 2013, so `previous` is a month that is not there.
        (("2012-08-10", "2012-09-10", "2013-04-10"), (1.0, 2.7, 10.0), (11.3, 1.0, 21.8), []),
        # Output of October 2019 is missing.
        (("2019-10-18", "2019-12-16"), (5.8, 6.2), (4.4, 4.7), []),
        # February's release is folded into March's: it revises January's.
        (("2019-12-08", "2020-01-14", "2020-03-07"), (-1.1, 7.6, -17.2), (-0.9, -1.1, 7.9), [2]),
        # Consumer prices of May 2019 were 0.0, which the source takes for missing and shows April's again.
        (("2019-05-09", "2019-06-12", "2019-07-10"), (0.1, 0.0, -0.1), (-0.4, 0.1, 0.1), []),
        # No print before, or nothing said of it.
        (("2014-01-15", "2014-02-15", "2014-03-15"), (1.0, np.nan, 3.0), (0.0, 1.5, 2.5), [1]),
        (("2014-01-15", "2014-02-15"), (1.0, 2.0), (0.0, np.nan), []),
        ((), (), (), []),
    ],
)  # fmt: skip
def test_what_previous_revises(period: tuple, value: tuple, previous: tuple, expected: list[int]) -> None:
    at = revisions(dates(*period), np.array(value, float), np.array(previous, float))
    assert at.tolist() == expected


# ----------------------------------------------------------------------------------------------------------- bad input
def write(name: str, text: str | bytes) -> Callable[[Path], None]:
    def change(root: Path) -> None:
        (root / name).write_bytes(text.encode() if isinstance(text, str) else text)

    return change


def without(*names: str) -> Callable[[Path], None]:
    def change(root: Path) -> None:
        for name in names:
            (root / name).unlink()

    return change


BAD: dict[str, tuple[Callable[[Path], None], str]] = {
    "missing file": (without("flow.csv"), r"flow\.csv: missing file for series 'flow'; add it or mark .* `optional`$"),
    "no file at all": (without(*FILES), r"bars\.csv: missing file .*none of the market's files is here.*data root\?"),
    "empty file": (write("flow.csv", ""), r"flow\.csv: the file is empty; give it a header and rows"),
    "only a header": (write("flow.csv", "date,value\n"), r"flow\.csv: column 'value' of series 'flow' is empty"),
    "empty series": (write("bars.csv", "date,a,b\n2014-06-26,1,\n"), r"bars\.csv: column 'b' .* is empty .*fill it"),
    "wrong header": (
        write("flow.csv", "day,value\n2014-06-26,1\n"),
        r"flow\.csv: row 1: the header lacks date; it has day, value; ren",
    ),
    "another separator": (
        write("flow.csv", "date;value\n2014-06-26;1\n"),
        r"row 1: the header lacks date, value; it has date;value",
    ),
    "column missing": (
        write("credit.csv", "period,value\n2014-03,1\n"),
        r"credit\.csv: row 1: the header lacks release_date",
    ),
    "too many cells": (write("flow.csv", "date,value\n2014-06-26,1\n2014-06-27,2,3\n"), r"cannot be read .*line 3"),
    "more cells than names": (write("flow.csv", "date,value\n2014-06-26,1,2\n"), r"row 2: more cells than the header"),
    "text": (
        write("flow.csv", "date,value\n2014-06-26,1\n\n2014-06-27,n/a\n"),
        r"flow\.csv: row 4: column 'value' must be a number, .*; got 'n/a'",
    ),
    "thousands": (write("flow.csv", 'date,value\n2014-06-26,"1,000"\n'), r"row 2: .* must be a number.*got '1,000'"),
    "infinite": (
        write("flow.csv", "date,value\n2014-06-26,inf\n"),
        r"row 2: column 'value' must be a number.*got 'inf'",
    ),
    "no date": (write("flow.csv", "date,value\n,1\n"), r"row 2: column 'date' must be a date.*; got an empty cell"),
    "American date": (write("flow.csv", "date,value\n06/26/2014,1\n"), r"row 2: .*date YYYY-MM-DD; got '06/26/2014'"),
    "no such day": (write("flow.csv", "date,value\n2014-06-31,1\n"), r"row 2: .*YYYY-MM-DD; got '2014-06-31'"),
    "a time in a date": (
        write("flow.csv", "date,value\n2014-06-26T10:00+08:00,1\n"),
        r"row 2: .*YYYY-MM-DD; got '2014-06-26T10:00\+08:00'",
    ),
    "a month in a date": (write("flow.csv", "date,value\n2014-06,1\n"), r"row 2: .*YYYY-MM-DD; got '2014-06'"),
    "a quarter": (
        write("credit.csv", "period,release_date,value\n2014Q1,,1\n"),
        r"row 2: .*a month YYYY-MM; got '2014Q1'",
    ),
    "unsorted": (
        write("flow.csv", "date,value\n2014-06-27,1\n2014-06-26,1\n"),
        r"flow\.csv: row 3: date 2014-06-26 is out of order after 2014-06-27; sort the file and keep one row per date",
    ),
    "repeated": (
        write("flow.csv", "date,value\n2014-06-26,1\n2014-06-26,2\n"),
        r"row 3: date 2014-06-26 repeats 2014-06-26; sort",
    ),
    "a month twice": (
        write("credit.csv", "period,release_date,value\n2014-03,,1\n2014-03-31,,1\n"),
        r"row 3: period 2014-03-31 repeats",
    ),
    "a print twice": (
        write("prints.csv", FILES["prints.csv"] + "m2,2014-06-12,1,1,1,1\n"),
        r"row 7: release_date 2014-06-12 repeats",
    ),
    "future date": (write("flow.csv", "date,value\n2014-07-01,1\n"), r"row 2: date lies in the future; .*'2014-07-01'"),
    "future month": (
        write("credit.csv", "period,release_date,value\n2014-07,,1\n"),
        r"row 2: period lies in the future",
    ),
    "future release": (
        write("credit.csv", "period,release_date,value\n2014-03,2014-04-15,9\n2014-05,2014-07-01,1\n"),
        r"credit\.csv: row 3: published in the future; correct the date; got '2014-07-01'",
    ),
    "future print": (
        write("prints.csv", FILES["prints.csv"] + "m2,2014-07-12,,1,1,1\n"),
        r"row 7: published in the future.*'2014-07-12'",
    ),
    "future known_at": (
        write("flow.csv", "date,value,known_at\n2014-06-26,1,2014-06-30T16:01+08:00\n"),
        r"flow\.csv: row 2: `known_at` lies in the future; correct it; got '2014-06-30T16:01\+08:00'",
    ),
    "known_at without zone": (
        write("flow.csv", "date,value,known_at\n2014-06-26,1,2014-06-26T20:00+08:00\n2014-06-27,1,2014-06-27 20:00\n"),
        r"flow\.csv: row 3: 'known_at' must be a time with its zone, e\.g\. 2023.*; got '2014-06-27 20:00'",
    ),
    "known_at that is a date": (
        write("flow.csv", "date,value,known_at\n2014-06-26,1,2014-06-26\n"),
        r"row 2: 'known_at' must be a time with",
    ),
    "known_at that is nothing": (
        write("flow.csv", "date,value,known_at\n2014-06-26,1,T noon Z\n"),
        r"row 2: 'known_at' must be a time with",
    ),
    "genuine or not": (
        write("prints.csv", FILES["prints.csv"].replace("11.5,1", "11.5,yes")),
        r"row 5: .* must be 0 or 1; got 'yes'",
    ),
    "unknown key": (
        write("prints.csv", FILES["prints.csv"].replace("m2", "m3")),
        r"prints\.csv: no row has series = 'm2'.*`key`",
    ),
    "not UTF-8": (
        write("flow.csv", "date,value\n2014-06-26,中\n".encode("gbk")),
        r"flow\.csv: byte 23 is not UTF-8 .*save",
    ),
    "no parquet": (
        lambda root: (root / "flow.csv").rename(root / "flow.parquet"),
        r"flow\.parquet: cannot be read as a table: .*; correct",
    ),
    "a folder": (
        lambda root: ((root / "flow.csv").unlink(), (root / "flow.csv").mkdir()),
        r"flow\.csv: cannot be read",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_names_file_row_and_remedy(folder: Path, filled: Store, case: str) -> None:
    change, message = BAD[case]
    before = filled.path.read_bytes()
    change(folder)
    with pytest.raises(DataContractError, match=message) as caught:
        ingest(filled, MARKET, read_folder(MARKET, folder, NOW).observations, NOW)
    assert str(caught.value).startswith(str(folder))
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2
    assert filled.path.read_bytes() == before
    assert sorted(filled.path.parent.iterdir()) == [filled.path.parent / "data", filled.path], "nothing half-written"


def test_an_error_carries_the_rows(folder: Path) -> None:
    write("flow.csv", "date,value\n2014-06-25,0\n2014-06-27,1\n2014-06-26,x\n")(folder)
    with pytest.raises(DataContractError) as caught:
        read_folder(MARKET, folder, NOW)
    assert caught.value.rows is not None
    assert caught.value.rows["date"].tolist() == ["2014-06-27", "2014-06-26"]
    assert caught.value.rows.index.tolist() == [3, 4]


@pytest.mark.parametrize("root", ["nowhere", "bars.csv"])
def test_a_source_that_is_no_folder(folder: Path, root: str) -> None:
    with pytest.raises(DataContractError, match=rf"`--source` must be a folder.*{root} is none"):
        read_folder(MARKET, folder / root, NOW)


def test_a_series_without_a_file(folder: Path) -> None:
    with pytest.raises(DataContractError, match=r"^rate: the market definition names no `file` for this series"):
        read_folder(market(rate={}), folder, NOW)


def test_today_is_the_markets_today(folder: Path) -> None:
    """At 17:00 UTC on the 29th it is the 30th in Shanghai already; the hour of publication may lie ahead."""
    at = utc("2014-06-29T17:00")
    frame = read_folder(MARKET, folder, at).observations
    assert frame["known_at"].max() > pd.Timestamp(at)
    with pytest.raises(DataContractError, match="row 4: date lies in the future"):
        read_folder(MARKET, folder, utc("2014-06-29T15:59"))


def test_a_calendar_that_ends_too_early(folder: Path) -> None:
    """The library knows sessions to the end of some year; an estimate beyond it cannot be made."""
    late = {**CREDIT, "known": {**MID_MONTH, "offset": 400}}
    message = r"credit: no publication time for period 2014-04-30.*exchange_calendars"
    with pytest.raises(DataContractError, match=message):
        read_folder(market(credit={"file": "credit.csv", "shape": "monthly", **late}), folder, NOW)


# ----------------------------------------------------------------------------------------------------------- real data
@pytest.mark.real
def test_the_release_stream_of_china(real_data: Path) -> None:
    """How many first prints are revised by `previous`: counted by hand from releases.csv."""
    cn = load_market("cn")
    frame = read_folder(cn, real_data, utc("2023-12-01")).observations
    revised = frame[frame["revision"]]["series"].value_counts().to_dict()
    assert revised == {
        "cn_trade_balance_usd.actual": 27,
        "cn_exports_usd_yoy.actual": 7,
        "cn_imports_usd_yoy.actual": 6,
        "cn_fx_reserves.actual": 2,
        "cn_caixin_pmi_mfg_incl_flash.actual": 2,
    }
    reserves = frame[frame["revision"] & (frame["series"] == "cn_fx_reserves.actual")]
    assert list(zip(reserves["period"].astype(str), reserves["value"], strict=True)) == [
        ("2016-12-07", 30520.0), ("2020-02-07", 31150.0),
    ]  # fmt: skip


@pytest.mark.real
def test_stated_dates_are_genuine_and_the_rest_estimated(real_data: Path) -> None:
    cn = load_market("cn")
    frame = read_folder(cn, real_data, utc("2023-12-01")).observations
    estimated = frame.groupby("series")["estimated"].mean()
    monthly = {name for name, spec in cn.series.items() if spec.shape in ("monthly", "releases")}
    assert set(estimated[estimated > 0].index) <= monthly
    assert estimated["consumer_confidence"] == 1.0
    for name in ("cpi_yoy", "pmi_mfg"):
        assert 0 < estimated[name] < 1
        recent = frame[(frame["series"] == name) & (frame["period"] >= "2015-01-01")]
        assert not recent["estimated"].any()
