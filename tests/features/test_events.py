"""The table of events: validated, complete, and read by no feature."""

import ast
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from features.errors import DataContractError, DefinitionError
from features.events import MarketEvent, events_between, load_events, merge_events, read_events
from features.market import builtin_markets, load_market
from tests.conftest import ROOT

END_OF_DATA = date(2023, 11, 30)
MAY_READ = ("features/events.py", "serving/")


def _event(day: str, title: str = "x", kind: str = "rescue") -> MarketEvent:
    return MarketEvent.model_validate({
        "date": day, "kind": kind, "title": title, "title_zh": title, "source": "s", "confidence": "page_text"
    })  # fmt: skip


def test_the_table_of_the_package_is_ordered_and_ends_with_the_data() -> None:
    events = load_events("cn")
    days = [event.date for event in events]
    assert days == sorted(days)
    assert days[-1] <= END_OF_DATA
    assert {2015, 2016, 2017, 2018, 2020, 2021, 2022, 2023} <= {day.year for day in days}
    assert all(event.source for event in events)


def test_a_market_without_a_table_has_no_events() -> None:
    assert load_events("us") == ()
    assert load_events("../cn") == ()
    # The folder of tables is not taken for a market.
    assert builtin_markets() == ["cn", "sample", "us"]


def test_marks_between_two_days_include_both() -> None:
    events = (_event("2023-08-27", "a"), _event("2023-09-01", "b", "reform"), _event("2023-11-17", "c"))
    found = events_between(events, np.datetime64("2023-08-27", "us"), np.datetime64("2023-09-01", "us"))
    assert [event.title for event in found] == ["a", "b"]
    assert [
        e.title for e in events_between(events, np.datetime64("2023-01-01"), np.datetime64("2023-12-31"), ["reform"])
    ] == ["b"]


def test_reads_the_table_of_a_folder(tmp_path: Path) -> None:
    path = tmp_path / "policy_events.csv"
    path.write_text("date,event,category,confidence\n2023-08-27,印花税减半,stamp_duty,repo_list\n", encoding="utf-8")
    (event,) = read_events(path)
    assert event.date == date(2023, 8, 27)
    assert event.source == "policy_events.csv"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("date,event\n", "columns of a table of events must be"),
        ("date,event,category,confidence\n2023-13-01,x,rescue,page_text\n", "row 2: `date`"),
        ("date,event,category,confidence\n2023-01-01,x,rumour,page_text\n", "row 2: `kind`"),
        ("date,event,category,confidence\n2023-01-01,,rescue,page_text\n", "row 2: `title`"),
    ],
)
def test_refuses_a_bad_table(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "events.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DataContractError, match=message):
        read_events(path)


def test_merging_keeps_the_first_and_refuses_doubles() -> None:
    ours, theirs = _event("2023-01-01"), _event("2023-01-01").model_copy(update={"source": "file"})
    other = _event("2022-01-01", "y")
    assert merge_events([ours], [theirs, other]) == (other, ours)
    with pytest.raises(DefinitionError, match="once in a table"):
        merge_events([ours, ours])


def _imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield from (node.module, *(f"{node.module}.{name.name}" for name in node.names))
        elif isinstance(node, ast.Import):
            yield from (name.name for name in node.names)


def test_no_feature_reads_events() -> None:
    readers = [
        path.relative_to(ROOT).as_posix()
        for package in ("features", "models", "training", "serving")
        for path in sorted((ROOT / package).rglob("*.py"))
        if "features.events" in set(_imports(path))
    ]
    # Positive control: the scan sees who draws them.
    assert "serving/report/event_marks.py" in readers
    assert [path for path in readers if not path.startswith(MAY_READ)] == []
    for name in builtin_markets():
        market = load_market(name)
        files = {spec.file for spec in market.series.values() if spec.file}
        assert not [file for file in files if "event" in file]
        assert not [source for feature in market.features.values() for source in feature.inputs if "event" in source]


@pytest.mark.real
def test_the_table_holds_what_the_folder_says(real_data: Path) -> None:
    ours = {(event.date, event.title_zh): event for event in load_events("cn")}
    theirs = [event for event in read_events(real_data / "cn" / "policy_events.csv") if event.date.year >= 2005]
    assert len(theirs) > 10
    for event in theirs:
        assert ours[event.date, event.title_zh].kind == event.kind
        assert ours[event.date, event.title_zh].source == "policy_events.csv"


@pytest.mark.real
def test_the_data_show_what_is_marked_as_verified(real_data: Path) -> None:
    verified = {event.date.isoformat() for event in load_events("cn") if event.confidence == "verified_by_data"}
    bars = pd.read_csv(real_data / "cn/bars/csi300.csv", parse_dates=["date"]).set_index("date")["close"]
    fell = bars.pct_change()
    for day in ("2016-01-04", "2016-01-07", "2020-02-03"):
        assert day in verified
        assert fell.loc[day] < -0.065
    for day, file in (
        ("2015-04-16", "futures/ic_main.csv"), ("2022-07-22", "futures/im_main.csv"),
        ("2010-03-31", "daily/margin_financing_balance.csv"), ("2014-11-17", "daily/northbound_net_flow.csv"),
    ):  # fmt: skip
        assert day in verified
        assert pd.read_csv(real_data / "cn" / file)["date"].iloc[0] == day
