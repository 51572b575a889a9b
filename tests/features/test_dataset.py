"""The whole data set: each row is what its decision knew, no more and no less."""

from __future__ import annotations

import math
from typing import Any

import exchange_calendars
import numpy as np
import pandas as pd
import pytest

from features.contracts import HORIZONS, Dataset
from features.dataset import build_dataset, decision_day, decision_times, market_calendar
from features.errors import DataContractError
from features.market import MarketSpec
from features.snapshot import snapshot_ids
from models.climatology import climatology
from tests.features import naive
from tests.features.toy import last_decision, toy_market, toy_observations, utc

DAY = np.timedelta64(1, "D")
OUTCOMES = ["spread_realised", "y_switch", "y_large", "y_crash"]


@pytest.fixture(scope="module")
def market() -> MarketSpec:
    return toy_market()


@pytest.fixture(scope="module")
def observations() -> pd.DataFrame:
    return toy_observations(2)


@pytest.fixture(scope="module")
def dataset(market: MarketSpec, observations: pd.DataFrame) -> Dataset:
    return build_dataset(observations, market, last_decision())


def line_as_of(
    market: MarketSpec, vintages: dict[str, pd.DataFrame], pair: str, time: pd.Timestamp
) -> pd.Series[float]:
    names = [market.segments[segment].price for segment in (market.pairs[pair].small, market.pairs[pair].large)]
    small, large = (naive.as_of(vintages[name], market, name, time).map(math.log) for name in names)
    line: pd.Series[float] = (small - large).dropna()
    return line


@pytest.mark.parametrize("pair", ["large-small", "large-micro"])
def test_rows_equal_a_rebuild_at_every_decision(
    market: MarketSpec, observations: pd.DataFrame, dataset: Dataset, pair: str
) -> None:
    """A row exists where the day's close is known and a style is in force; style and sigma are those of that day."""
    last = last_decision()
    decisions = market_calendar(market, last).decisions()
    decisions = decisions[decisions <= last]
    times = decision_times(market, decisions)
    vintages = {str(name): rows for name, rows in observations.groupby("series")}
    rows = dataset.rows.loc[pair]
    expected = []
    for day, time in zip(pd.DatetimeIndex(decisions), pd.DatetimeIndex(times), strict=True):
        line = line_as_of(market, vintages, pair, time)
        closes = line[line.index.isin(pd.DatetimeIndex(decisions)) & (line.index <= day)]
        if closes.empty or closes.index[-1] != day:
            continue
        style = naive.styles(closes.tolist())[-1]
        if style == 0:
            continue
        expected.append(day)
        assert rows.loc[day, "style"] == style
        assert rows.loc[day, "sigma"] == pytest.approx(naive.sigma(closes.tolist()), rel=1e-11)
        assert rows.loc[day, "x"] == pytest.approx(closes.iloc[-1], rel=1e-12)
        assert rows.loc[day, "decision_at"] == time
    assert list(rows.index) == expected
    assert 50 < len(expected) < len(decisions) - 26


def test_some_rows_were_lost_to_late_closes(market: MarketSpec, dataset: Dataset) -> None:
    """The test above means little unless closes do come late."""
    decisions = pd.DatetimeIndex(market_calendar(market, last_decision()).decisions())
    rows = dataset.rows.loc["large-small"].index
    assert len(decisions[(decisions > rows[0]) & (decisions <= rows[-1])].difference(rows)) >= 2


def test_a_history_that_arrives_in_one_go_says_nothing_of_the_time_before(
    market: MarketSpec, observations: pd.DataFrame
) -> None:
    """All closes become known one morning in 2016: there is no row before, and each later one knows all of them."""
    arrival = np.datetime64("2016-06-01T01:00", "us")
    known = np.maximum(observations["known_at"].to_numpy("datetime64[us]"), arrival)
    late = observations.assign(known_at=known)
    dataset = build_dataset(late, market, last_decision())
    assert dataset.rows["decision_at"].min() > pd.Timestamp(arrival)
    assert dataset.rows["decision_at"].min() < pd.Timestamp(arrival + 7 * DAY)
    assert (dataset.rows["price_known_at"] <= dataset.rows["decision_at"]).all()
    assert dataset.outcomes.loc[dataset.outcomes["y_large"].notna(), "matured_at"].min() > pd.Timestamp(arrival)


def test_clock_entry_and_exit_follow_the_calendar(market: MarketSpec, dataset: Dataset) -> None:
    calendar = market_calendar(market, last_decision())
    sessions, decisions = pd.DatetimeIndex(calendar.sessions), pd.DatetimeIndex(calendar.decisions())
    key: Any
    for key, row in dataset.rows.iloc[::7].iterrows():
        _, date = key
        week = date.isocalendar()[:2]
        same_week = [day for day in sessions if day.isocalendar()[:2] == week]
        assert date == same_week[-1]
        assert row["entry_date"] == sessions[sessions > date][0]
        assert row["decision_at"] == pd.Timestamp(f"{date:%Y-%m-%d} 15:30", tz="Asia/Shanghai").tz_convert(None)
    for key, outcome in dataset.outcomes.iloc[::11].iterrows():
        _, date, horizon = key
        place = decisions.get_loc(date)
        assert outcome["exit_date"] == sessions[sessions > decisions[place + horizon]][0]
        assert outcome["matured_at"] == pd.Timestamp(
            f"{outcome['exit_date']:%Y-%m-%d} 15:30", tz="Asia/Shanghai"
        ).tz_convert(None)


def test_every_row_has_both_outcomes_and_none_of_the_future(dataset: Dataset) -> None:
    expected = pd.MultiIndex.from_tuples(
        [(*key, horizon) for key in dataset.rows.index for horizon in HORIZONS], names=dataset.outcomes.index.names
    )
    assert dataset.outcomes.index.sort_values().equals(expected.sort_values())
    now = dataset.rows["decision_at"].max()
    assert dataset.outcomes.loc[dataset.outcomes["matured_at"] > now, OUTCOMES].isna().all(axis=None)
    assert dataset.outcomes.loc[dataset.outcomes["matured_at"] <= now, "y_large"].notna().mean() > 0.85


def test_snapshot_ids_change_with_what_is_visible_and_with_nothing_else(
    market: MarketSpec, observations: pd.DataFrame, dataset: Dataset
) -> None:
    times = np.unique(dataset.rows["decision_at"].to_numpy("datetime64[us]"))
    ids = dataset.rows.drop_duplicates("decision_at").set_index("decision_at")["snapshot_id"].sort_index()
    assert ids.is_unique
    assert snapshot_ids(observations, times) == ids.tolist()
    shuffled = observations.sample(frac=1.0, random_state=3)
    assert snapshot_ids(shuffled, times) == ids.tolist()
    assert [snapshot_ids(observations, times[[row]])[0] for row in (0, 40)] == [ids.iloc[0], ids.iloc[40]]
    middle = times[60]
    later = observations[observations["known_at"] <= pd.Timestamp(middle)]
    assert snapshot_ids(later, times)[:61] == ids.tolist()[:61]
    assert snapshot_ids(later, times)[61] == ids.iloc[60]
    for column, value in (("value", 1e9), ("period", pd.Timestamp("2014-01-07")), ("series", "pmi")):
        touched = observations.copy()
        touched.loc[(touched["known_at"] > pd.Timestamp(times[59])).idxmax(), column] = value
        assert snapshot_ids(touched, times[:60]) == ids.tolist()[:60]
        assert snapshot_ids(touched, times)[-1] != ids.iloc[-1]
    both = dataset.rows["snapshot_id"].groupby(level="decision_date").nunique()
    assert (both == 1).all()


def test_later_vintages_change_no_earlier_row(market: MarketSpec, observations: pd.DataFrame, dataset: Dataset) -> None:
    """Replay: every value corrected after the last decision, every row stays."""
    now = dataset.rows["decision_at"].max()
    again = observations.assign(value=observations["value"] * 1.1, known_at=now + pd.Timedelta(seconds=1))
    replay = build_dataset(pd.concat([observations, again]), market, last_decision())
    for part in ("rows", "values", "known_at", "outcomes"):
        pd.testing.assert_frame_equal(getattr(replay, part), getattr(dataset, part))


def test_observations_stay_as_they_are(market: MarketSpec, observations: pd.DataFrame) -> None:
    before = observations.copy(deep=True)
    build_dataset(observations, market, last_decision())
    pd.testing.assert_frame_equal(observations, before)


def test_a_pair_too_young_for_a_state_has_no_rows_and_disturbs_nobody(
    market: MarketSpec, observations: pd.DataFrame, dataset: Dataset
) -> None:
    young = observations[(observations["series"] != "micro.close") | (observations["period"] >= "2016-11-01")]
    small = build_dataset(young, market, last_decision())
    assert set(small.rows.index.get_level_values("pair")) == {"large-small"}
    assert set(small.outcomes.index.get_level_values("pair")) == {"large-small"}
    older = dataset.rows.index.get_level_values("pair") == "large-small"
    states = ["style", "sigma", "distance"]
    pd.testing.assert_frame_equal(small.rows[states], dataset.rows.loc[older, states])
    assert len(climatology(small)) == len(small.outcomes)


def test_a_headline_without_prices_is_an_error_that_names_them(market: MarketSpec, observations: pd.DataFrame) -> None:
    without = observations[observations["series"] != "small.close"]
    with pytest.raises(DataContractError, match=r"pair large-small: no prices known at 2016-12-30 for small\.close"):
        build_dataset(without, market, last_decision())


def test_another_pair_without_prices_has_no_rows(
    market: MarketSpec, observations: pd.DataFrame, dataset: Dataset
) -> None:
    """It may be launched later: a decision before its launch must come out as it did then."""
    small = build_dataset(observations[observations["series"] != "micro.close"], market, last_decision())
    assert set(small.rows.index.get_level_values("pair")) == {"large-small"}
    assert [pair.name for pair in small.pairs] == ["large-small", "large-micro"]
    assert len(small.lines["large-micro"]) == 0
    older = dataset.rows.index.get_level_values("pair") == "large-small"
    pd.testing.assert_frame_equal(small.values, dataset.values[older])
    pd.testing.assert_frame_equal(
        small.rows.drop(columns="snapshot_id"), dataset.rows[older].drop(columns="snapshot_id")
    )
    early = decision_day(market, np.datetime64("2014-08-29", "us"))
    before = build_dataset(observations, market, early)
    assert set(before.rows.index.get_level_values("pair")) == {"large-small"}
    assert set(before.rows.dtypes.items()) == set(dataset.rows.dtypes.items())


def test_a_series_that_lies_outside_its_lifetime_is_absent(market: MarketSpec, observations: pd.DataFrame) -> None:
    """All rows of `flow` fall before its birth: an empty history, not a crash."""
    moved = observations.copy()
    moved.loc[moved["series"] == "flow", "period"] -= pd.Timedelta(days=2000)
    assert build_dataset(moved, market, last_decision()).values["flow_level"].isna().all()


def test_undeclared_series_are_left_alone(market: MarketSpec, observations: pd.DataFrame, dataset: Dataset) -> None:
    day = np.array([np.datetime64("2014-02-03", "us")])
    stranger = pd.DataFrame({"series": "stranger", "period": day, "known_at": utc(day, "12:00"), "value": [1.0]})
    other = build_dataset(pd.concat([observations, stranger]), market, last_decision())
    pd.testing.assert_frame_equal(other.values, dataset.values)


def test_decision_day(market: MarketSpec) -> None:
    friday = np.datetime64("2016-12-30", "us")
    assert decision_day(market, friday) == friday
    assert decision_day(market, np.datetime64("2016-12-30", "D")) == friday
    with pytest.raises(DataContractError, match="2016-12-29 is none, the previous one is 2016-12-23"):
        decision_day(market, np.datetime64("2016-12-29", "us"))
    for early in ("2014-01-09", "2013-06-28", "1999-01-01"):
        with pytest.raises(DataContractError, match="before the history of market 'toy'; its first decision day"):
            decision_day(market, np.datetime64(early, "us"))


def test_the_end_of_the_exchange_calendar_is_an_error_and_no_forecast(market: MarketSpec) -> None:
    """Holidays are known a year at a time: near the end of the calendar there is no entry or exit to speak of."""
    end = exchange_calendars.get_calendar("XSHG").bound_max()
    decisions = market_calendar(market, np.datetime64(end, "us")).decisions()
    assert decision_day(market, decisions[-5]) == decisions[-5]
    for day in (decisions[-4], decisions[-1], np.datetime64(end, "us")):
        with pytest.raises(DataContractError, match=r"the XSHG calendar ends .* update the package exchange_calendars"):
            decision_day(market, day)
        with pytest.raises(DataContractError, match=r"the XSHG calendar ends .* update the package exchange_calendars"):
            build_dataset(toy_observations(1), market, day)
