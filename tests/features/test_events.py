"""The table of events: validated, complete, and read by no feature."""

import ast
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from features.errors import DefinitionError
from features.events import MarketEvent, events_between, in_order, load_events
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
    assert builtin_markets() == ["cn", "europe", "japan", "sample", "us"]


def test_marks_between_two_days_include_both() -> None:
    events = (_event("2023-08-27", "a"), _event("2023-09-01", "b", "reform"), _event("2023-11-17", "c"))
    found = events_between(events, np.datetime64("2023-08-27", "us"), np.datetime64("2023-09-01", "us"))
    assert [event.title for event in found] == ["a", "b"]


def test_events_are_in_order_and_doubles_are_refused() -> None:
    later, earlier = _event("2023-01-01"), _event("2022-01-01", "y")
    assert in_order([later, earlier]) == (earlier, later)
    with pytest.raises(DefinitionError, match="once in a table"):
        in_order([later, later])


@pytest.mark.parametrize(
    "changes", [{"date": "2023-13-01"}, {"kind": "rumour"}, {"title": ""}, {"source": ""}, {"more": "x"}]
)
def test_refuses_a_bad_event(changes: dict[str, str]) -> None:
    whole = {"date": "2023-01-01", "kind": "rescue", "title": "x", "title_zh": "x", "source": "s",
             "confidence": "page_text"}  # fmt: skip
    assert MarketEvent.model_validate(whole) == _event("2023-01-01")
    with pytest.raises(ValidationError, match=next(iter(changes))):
        MarketEvent.model_validate(whole | changes)


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
    theirs = pd.read_csv(real_data / "cn" / "policy_events.csv", dtype=str)
    theirs = theirs[theirs["date"] >= "2005-01-01"]
    assert len(theirs) > 10
    for row in theirs.itertuples():
        mine = ours[date.fromisoformat(str(row.date)), str(row.event)]
        assert (mine.kind, mine.source) == (row.category, "policy_events.csv")


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
