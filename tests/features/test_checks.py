"""Checks, quarantine and audit: what is found, that it is judged by the past only, and the golden list of real data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from features.checks import Finding, check_batch, check_stored, findings_frame, jumps
from features.errors import DataContractError
from features.ingest import audit, ingest
from features.market import MarketSpec, load_market
from features.sources.folder import read_folder
from features.store import Appended, Store
from tests.features.definitions import CLOSE, batch, tiny_market, utc

DAY = np.timedelta64(1, "D")
NOW = utc("2014-06-30T08:00")


def points(values: list[float], series: str = "rate", start: str = "2014-06-02", step: int = 1) -> pd.DataFrame:
    """Return one value a day, known at 15:15."""
    days = [utc(start) + n * step * DAY for n in range(len(values))]
    return batch([(series, str(d), str(d + np.timedelta64(435, "m")), v) for d, v in zip(days, values, strict=True)])


def rate(**other: Any) -> MarketSpec:
    return tiny_market(
        rate={"optional": True, "stale_days": 60, **other},
        large__close={"optional": True},
        small__close={"optional": True},
    )


def found(findings: list[Finding] | tuple[Finding, ...]) -> list[tuple[str, str, str | None, bool]]:
    """Series, check, period, whether in quarantine."""
    return [(f.series, f.check, None if f.period is None else f"{f.period:%Y-%m-%d}", f.quarantined) for f in findings]


# -------------------------------------------------------------------------------------------------------------- jumps
@pytest.mark.parametrize(
    ("values", "spikes", "shifts"),
    [
        ([1, 1, 9, 1, 1], [2], []),  # one bad point
        ([1, 1, 9, 9, 9], [2], [3]),  # a new level: the second point confirms it
        ([1, 1, 9, -9, 1], [2, 3], []),  # two bad points that disagree
        ([1, 9, 1, 9, 1, 9], [1, 3, 5], []),
        ([1, 9, 9, 1, 1], [1, 3], [2, 4]),  # there and back
        ([1, 2, 3, 4, 5, 6, 7, 8, 9], [], []),  # a steady climb is none
        ([1, 9, 17, 17], [1, 2], [3]),
        ([9, 1, 1], [1], [2]),  # the first point is taken for good: nothing earlier tells
        ([1, np.nan, 9, np.nan, 9, np.nan], [2], [4]),  # missing points are passed over
        ([np.nan, np.nan], [], []),
        ([], [], []),
        ([1.0, 3.0, 1.0], [], []),  # exactly the limit
        ([1.0, np.nextafter(3.0, 4.0), 1.0], [1], []),
    ],
)
def test_spikes_and_shifts(values: list[float], spikes: list[int], shifts: list[int]) -> None:
    spike, shift = jumps(np.array(values, dtype=np.float64), 2.0)
    assert np.flatnonzero(spike).tolist() == spikes
    assert np.flatnonzero(shift).tolist() == shifts


LEVELS = hnp.arrays(np.float64, st.integers(0, 40), elements=st.sampled_from([0.0, 1.0, 2.0, 9.0, 10.0, 30.0, np.nan]))


@given(LEVELS)
def test_a_point_is_judged_by_earlier_points_only(values: np.ndarray) -> None:
    """Truncation at every row."""
    spike, shift = jumps(values, 2.0)
    for n in range(len(values)):
        early = jumps(values[:n], 2.0)
        assert (early[0] == spike[:n]).all()
        assert (early[1] == shift[:n]).all()


@given(LEVELS)
def test_good_points_never_leap_without_a_shift(values: np.ndarray) -> None:
    spike, shift = jumps(values, 2.0)
    assert not (spike & shift).any()
    good = np.flatnonzero(np.isfinite(values) & ~spike)
    leap = np.abs(np.diff(values[good])) > 2.0
    assert (shift[good[1:]] == leap).all()
    assert not spike[np.flatnonzero(np.isfinite(values))[:1]].any()


# -------------------------------------------------------------------------------------------------------------- points
@pytest.mark.parametrize(
    ("declared", "values", "expected"),
    [
        ({"range": [0, 10]}, [1, -1, 0, 10, 10.5], [("out_of_range", 3, True), ("out_of_range", 6, True)]),
        ({}, [1, np.nan, np.inf], [("out_of_range", 3, True), ("out_of_range", 4, True)]),
        ({"max_jump": 2}, [1, 9, 1, 1], [("jump", 3, True)]),
        ({"max_jump": 2}, [1, 9, 9, 9], [("unit_jump", 4, False), ("jump", 3, True)]),
        # A bad point is no yardstick for the next.
        ({"max_jump": 2, "range": [0, 10]}, [1, 99, 1], [("out_of_range", 3, True)]),
        # The break is declared: in today's unit nothing jumps, and the range speaks of today's unit.
        (
            {"max_jump": 2, "range": [1, 10], "breaks": [{"date": "2014-06-04", "factor": 100.0}]},
            [0.03, 0.04, 5, 4],
            [],
        ),
        (
            {"range": [1, 10], "breaks": [{"date": "2014-06-04", "factor": 100.0}]},
            [0.03, 4],
            [("out_of_range", 3, True)],
        ),
        # Outside its lifetime a series is never served, so its values are not judged.
        ({"range": [0, 10], "born": "2014-06-03", "died": "2014-06-04"}, [99, 1, 99, 99], [("out_of_range", 4, True)]),
        ({"max_jump": 2, "born": "2014-06-03"}, [99, 1, 1], []),
    ],
)
def test_points_of_a_batch(
    declared: dict[str, Any], values: list[float], expected: list[tuple[str, int, bool]]
) -> None:
    rows = points(values)
    findings, bad = check_batch(rows, rate(**declared))
    assert found(findings) == [("rate", check, f"2014-06-{day:02d}", held) for check, day, held in expected]
    assert [int(day) for day in rows.loc[bad, "period"].dt.day] == [
        day for _, day, held in sorted(expected, key=lambda e: e[1]) if held
    ]
    assert all(finding.severity == "error" for finding in findings)
    shuffled = rows.sample(frac=1, random_state=3)
    again, bad_again = check_batch(shuffled, rate(**declared))
    assert again == findings or any(np.isnan(finding.value or 0.0) for finding in findings)
    assert set(shuffled.loc[bad_again, "period"]) == set(rows.loc[bad, "period"])


@pytest.mark.parametrize(
    ("early", "known", "bad"),
    [
        (0, "2014-06-27T16:00", False),  # midnight in Shanghai, as the 28th begins
        (0, "2014-06-27T15:59", True),
        (3, "2014-06-24T16:00", False),
        (3, "2014-06-24T15:59", True),
    ],
)
def test_known_before_its_period_ended(early: int, known: str, bad: bool) -> None:
    findings, mask = check_batch(batch([("rate", "2014-06-28", known, 1.0)]), rate(early_release_days=early))
    assert mask.tolist() == [bad]
    assert found(findings) == ([("rate", "known_before_period", "2014-06-28", True)] if bad else [])


def test_an_early_time_outside_the_lifetime_is_not_judged() -> None:
    assert check_batch(batch([("rate", "2014-06-28", "2014-06-01", 1.0)]), rate(born="2014-06-29"))[0] == []


def test_the_zone_of_a_rule_counts() -> None:
    rows = batch([("rate", "2014-06-28", "2014-06-27T16:00", 1.0)])
    assert check_batch(rows, rate(known={**CLOSE, "tz": "America/New_York"}))[1].tolist() == [True]


def test_an_undeclared_series_is_refused() -> None:
    with pytest.raises(DataContractError, match="series 'rumour' is not declared in market 'tiny'") as caught:
        check_batch(points([1.0], "rumour"), rate())
    assert caught.value.rows is not None
    assert len(caught.value.rows) == 1


@settings(max_examples=40)
@given(st.lists(st.sampled_from([0.0, 1.0, 5.0, 50.0, -3.0]), min_size=1, max_size=15), st.integers(1, 14))
def test_a_batch_is_judged_by_the_past_only(values: list[float], n: int) -> None:
    market = rate(range=[-1, 40], max_jump=3)
    _, whole = check_batch(points(values), market)
    _, part = check_batch(points(values[:n]), market)
    assert part.tolist() == whole[: len(part)].tolist()


# -------------------------------------------------------------------------------------------------------------- stored
def stored(declared: dict[str, Any], rows: pd.DataFrame, at: str = "2014-06-30T07:30") -> list[tuple[str, str | None]]:
    return [
        (f.check, None if f.period is None else f"{f.period:%m-%d}")
        for f in check_stored(rows, rate(**declared), utc(at))
    ]


def test_gaps_by_cadence() -> None:
    def two(frequency: str, days: int, **other: Any) -> list[tuple[str, str | None]]:
        rows = points([1.0, 1.0], start="2013-01-01", step=days)
        return stored({"frequency": frequency, "stale_days": 1000, **other}, rows)

    # The limit is the staleness limit where that is longer, so a small one shows the cadence's own.
    for frequency, limit in (("daily", 30), ("weekly", 60), ("monthly", 100)):
        assert two(frequency, limit, stale_days=1) == [
            ("stale", f"{pd.Timestamp('2013-01-01') + limit * pd.Timedelta(days=1):%m-%d}")
        ]
        assert two(frequency, limit + 1, stale_days=1)[0][0] == "gap"
    assert two("daily", 300) == []
    assert two("daily", 300, stale_days=299)[0] == ("gap", "10-28")
    assert two("daily", 300, stale_days=1, shape="dated")[0][0] == "stale"
    assert two("daily", 300, stale_days=1, column="forecast")[0][0] == "stale"
    assert two("daily", 300, stale_days=1, born="2013-10-28")[0][0] == "stale"


def test_stale_dead_and_missing() -> None:
    rows = points([1.0, 1.0], start="2014-06-12")
    assert stored({"stale_days": 17}, rows) == []
    assert stored({"stale_days": 16}, rows) == [("stale", "06-13")]
    assert stored({"stale_days": 16, "died": "2014-06-29"}, rows) == [], "nothing asks for it"
    assert stored({"stale_days": 16, "died": "2014-06-30"}, rows) == [("stale", "06-13")]
    assert stored({"born": "2014-06-20"}, rows) == [("missing", None)]
    assert stored({"optional": False}, points([1.0], "small.close", "2014-06-30")) == [("missing", None)]
    assert stored({"breaks": [{"date": "2014-01-01", "factor": 2.0}]}, rows, "2014-06-14") == [
        ("definition_break", "01-01")
    ]


def test_a_dead_series_is_reported_when_a_feature_asks_for_it() -> None:
    feature = {"family": "flows", "formula": "change(5)", "unit": "%", "sign": 0, "why": "a test"}
    rows = points([1.0, 1.0], "small.flow", "2014-06-12")
    for inputs in (["small.flow"], ["{small}.flow"]):
        market = tiny_market(
            small__flow={"died": "2014-06-20"}, large__close={"optional": True}, small__close={"optional": True}
        )
        market = MarketSpec.model_validate(market.model_dump() | {"features": {"flow": {**feature, "inputs": inputs}}})
        assert found(check_stored(rows, market, utc("2014-06-20T23:00"))) == []
        assert found(check_stored(rows, market, utc("2014-06-21T00:00"))) == [
            ("small.flow", "dead", "2014-06-20", False)
        ]


# ----------------------------------------------------------------------------------------------------- ingest and audit
@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store.duckdb")


def test_bad_points_are_kept_and_never_served(store: Store) -> None:
    market = rate(range=[0, 10], breaks=[{"date": "2014-06-04", "factor": 100.0}])
    rows = points([0.05, 0.99, 5.0, 6.0])
    report = ingest(store, market, rows, NOW)
    assert report.appended == Appended(3, 0, 1)
    assert ingest(store, market, rows, NOW + DAY).appended == Appended(0, 3, 0)
    assert store.as_of(market, NOW)["value"].tolist() == [5.0, 5.0, 6.0]
    held = store.quarantined("tiny")
    assert held[["series", "value", "check"]].to_numpy().tolist() == [["rate", 0.99, "out_of_range"]]
    listed = audit(store, market, NOW)
    assert found(listed) == [
        ("rate", "out_of_range", "2014-06-03", True),
        ("rate", "definition_break", "2014-06-04", False),
    ]
    assert listed[0].value == 99.0, "in today's unit, like the range it breaks"
    # The source sends a good value: known from now on, and no longer wrong.
    assert ingest(store, market, points([0.05, 0.06, 5.0, 6.0]), NOW + DAY).appended == Appended(1, 3, 0)
    assert found(audit(store, market, NOW + DAY)) == [("rate", "definition_break", "2014-06-04", False)]
    assert store.as_of(market, NOW)["value"].tolist() == [5.0, 5.0, 6.0]


def test_audit_tells_quarantined_from_served(store: Store) -> None:
    """A stricter definition finds points that were served: errors outside quarantine, which fail the audit."""
    ingest(store, rate(range=[0, 10]), points([1.0, 99.0, 5.0]), NOW)
    stricter = rate(range=[0, 4])
    assert found(audit(store, stricter, NOW)) == [
        ("rate", "out_of_range", "2014-06-03", True),
        ("rate", "out_of_range", "2014-06-04", False),
    ]


def test_audit_repeats_what_ingestion_found_of_a_shift(store: Store) -> None:
    """The first point of a new level stays in quarantine; without it the next one would look bad, too."""
    market = rate(max_jump=2)
    report = ingest(store, market, points([1.0, 1.0, 9.0, 9.0, 9.0]), NOW)
    assert report.appended == Appended(4, 0, 1)
    expected = {("rate", "jump", "2014-06-04", True), ("rate", "unit_jump", "2014-06-05", False)}
    assert set(found(report.findings)) == set(found(audit(store, market, NOW))) == expected


def test_audit_as_of_a_day(store: Store) -> None:
    market = rate(range=[0, 10])
    ingest(store, market, points([1.0, 2.0, 99.0]), NOW)
    assert found(audit(store, market, utc("2014-06-03T08:00"))) == []
    assert found(audit(store, market, utc("2014-06-04T08:00"))) == [("rate", "out_of_range", "2014-06-04", True)]


def test_audit_names_what_the_definition_no_longer_declares(store: Store) -> None:
    ingest(store, rate(), points([1.0, 2.0]), NOW)
    without = MarketSpec.model_validate(
        rate().model_dump() | {"series": {k: v for k, v in rate().model_dump()["series"].items() if k != "rate"}}
    )
    assert found(audit(store, without, NOW)) == [("rate", "undeclared", None, False)]


def test_audit_of_a_market_that_is_not_there(store: Store) -> None:
    ingest(store, rate(), points([1.0, 2.0]), NOW)
    other = rate().model_copy(update={"name": "other"})
    with pytest.raises(
        DataContractError, match=r"store\.duckdb: no observation of market 'other'; run `capshift ingest`"
    ):
        audit(store, other)


@pytest.mark.parametrize("values", [[1.0, 99.0, 1.0], [1.0, 6.0, 6.0]])
def test_strict_refuses_and_writes_nothing(store: Store, values: list[float]) -> None:
    market = rate(range=[0, 10], max_jump=2)
    with pytest.raises(
        DataContractError, match=r"rate: \d bad point\(s\), the first on 2014-06-0\d: .* `--strict`"
    ) as caught:
        ingest(store, market, points(values), NOW, strict=True)
    assert caught.value.rows is not None
    assert set(caught.value.rows["series"]) == {"rate"}
    assert not store.path.exists()
    assert ingest(store, market, points([1.0, 2.0]), NOW, strict=True).appended.added == 2


def test_findings_as_a_frame() -> None:
    finding = Finding("rate", "gap", "warning", pd.Timestamp("2014-06-02"), None, False, "30 days")
    frame = findings_frame([finding, replace(finding, severity="error")])
    assert frame["severity"].tolist() == ["warning", "error"]
    assert list(findings_frame([]).columns) == list(frame.columns)


# ----------------------------------------------------------------------------------------------------------- real data
TODAY = utc("2023-12-01")
GOLDEN: dict[str, dict[tuple[str, str, str | None, bool], str]] = {
    "cn": {
        ("sse_turnover_rate", "out_of_range", "2001-10-23", True): "README: a bad point, 175%",
        ("sse_turnover_rate", "out_of_range", "2002-01-11", True): "README: a bad point, 65%",
        ("sse_turnover_rate", "definition_break", "2018-12-26", False): "README: a fraction before, percent from here",
        ("usdcny", "gap", "2015-01-29", False): "the file has no fixing from 2014-12-29 to 2015-01-28",
        ("if_main.close", "gap", "2019-01-02", False): "README: 2018 is missing for the IF and IH main contracts",
        ("if_main.volume", "gap", "2019-01-02", False): "the same",
        ("ih_main.close", "gap", "2019-01-02", False): "the same",
        ("ih_main.volume", "gap", "2019-01-02", False): "the same",
        ("cn_exports_usd_yoy.actual", "gap", "2013-04-10", False): "no print of September 2012 to February 2013",
        ("cn_fx_reserves.actual", "gap", "2014-07-15", False): "few and irregular before March 2016",
        ("cn_fx_reserves.actual", "gap", "2015-01-15", False): "the same",
        ("cn_fx_reserves.actual", "gap", "2016-03-07", False): "the same",
    },
    "us": {
        ("iwm.volume", "out_of_range", "2019-07-30", True): "the source dropped digits: 1,200 shares",
        ("NFCI", "dead", "2023-02-03", False): "README: the vintage of 2023-02; financial_conditions_13w asks for it",
    },
}


@cache
def shared(name: str, root: Path) -> pd.DataFrame:
    return read_folder(load_market(name), root, TODAY).observations


@pytest.fixture(scope="module", params=["cn", "us"])
def real(
    request: pytest.FixtureRequest, real_data: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[MarketSpec, Store, pd.DataFrame, Appended]:
    market = load_market(request.param)
    store = Store(tmp_path_factory.mktemp("real") / "store.duckdb")
    rows = shared(request.param, real_data)
    return market, store, rows, ingest(store, market, rows, TODAY).appended


@pytest.mark.real
def test_the_shared_data_can_be_ingested_and_ingesting_twice_adds_nothing(
    real: tuple[MarketSpec, Store, pd.DataFrame, Appended],
) -> None:
    market, store, rows, first = real
    held = [entry for entry in GOLDEN[market.name] if entry[3]]
    assert first.quarantined == len(held)
    assert first.added + first.unchanged + first.quarantined == len(rows)
    again = ingest(store, market, rows.sample(frac=1, random_state=1), TODAY + DAY).appended
    assert again == Appended(0, len(rows) - len(held), 0)


@pytest.mark.real
def test_the_audit_lists_exactly_what_is_known_to_be_wrong(
    real: tuple[MarketSpec, Store, pd.DataFrame, Appended],
) -> None:
    market, store, _, _ = real
    findings = audit(store, market)
    assert sorted(found(findings), key=str) == sorted(GOLDEN[market.name], key=str)
    assert not [finding for finding in findings if finding.severity == "error" and not finding.quarantined]
    held = store.quarantined(market.name)
    assert {(name, f"{day:%Y-%m-%d}") for name, day in zip(held["series"], held["period"], strict=True)} == {
        (series, day) for series, _, day, quarantined in GOLDEN[market.name] if quarantined
    }


@pytest.mark.real
@pytest.mark.parametrize(
    ("plant", "expected"),
    [
        (lambda rows: rows["value"].where(rows["period"] < "2020-01-01", rows["value"] * 1e4), "out_of_range"),
        (lambda rows: rows["value"].where(rows["period"] != "2020-01-02", 4.5), "jump"),
    ],
)
def test_a_planted_error_is_found(real_data: Path, plant: Callable[[pd.DataFrame], pd.Series], expected: str) -> None:
    """Positive control: the same data with one series spoilt."""
    market = load_market("cn")
    rows = shared("cn", real_data)
    name = {"out_of_range": "csi300.close", "jump": "gov_10y"}[expected]
    spoilt = rows[rows["series"] == name]
    assert check_batch(spoilt, market)[0] == []
    findings, bad = check_batch(spoilt.assign(value=plant(spoilt)), market)
    assert {finding.check for finding in findings} == {expected}
    assert bad.any()
