"""What stands around a forecast: publications to come, inputs that are absent, and past style states."""

from __future__ import annotations

from datetime import date

import numpy as np
import pandas as pd
import pytest

from features.dataset import decision_times
from serving.context import absent_features, next_releases, style_history
from serving.forecast import dataset_for
from serving.record import AbsentInput
from tests import small


@pytest.mark.parametrize("day", ["2010-11-26", "2010-02-26", "2010-01-15", "2009-01-09"])
def test_next_releases_follow_from_the_rules_alone(day: str) -> None:
    market, observations = small.market(), small.observations()
    today = np.datetime64(day, "us")
    at = decision_times(market, np.array([today]))[0]
    shown = next_releases(market, observations, today, at)
    known = observations[observations["known_at"] <= pd.Timestamp(at)]
    assert next_releases(market, known, today, at) == shown
    moved = observations.copy()
    later = moved["known_at"] > pd.Timestamp(at)
    moved.loc[later, "known_at"] += pd.Timedelta(days=9)
    moved.loc[later, "period"] += pd.Timedelta(days=62)
    assert next_releases(market, moved, today, at) == shown
    assert shown
    assert [release.expected for release in shown] == sorted(release.expected for release in shown)
    for release in shown:
        newest = known.loc[known["series"] == release.series, "period"].max()
        assert release.period > newest.date()
        assert 0 < (release.expected - today.astype("datetime64[D]").item()).days <= 35
        assert market.series[release.series].family == release.family
        assert market.series[release.series].known.estimated == release.estimated
    assert len({release.series for release in shown}) == len(shown)


def test_next_releases_come_true() -> None:
    # Publishers with an exact rule keep to it; of the others the rule's day is expected, and days later is when the
    # number counts as known.
    market, observations = small.market(), small.observations()
    at = decision_times(market, np.array([small.LAST]))[0]
    kinds = set()
    for release in next_releases(market, observations, small.LAST, at):
        rows = observations[
            (observations["series"] == release.series) & (observations["period"] == str(release.period))
        ]
        known = rows["known_at"].min().tz_localize("UTC").tz_convert("Asia/Shanghai").date()
        delay = (known - release.expected).days
        assert 1 <= delay <= 7 if release.estimated else delay == 0
        kinds.add(release.estimated)
    assert kinds == {True, False}


def test_absent_features_say_why() -> None:
    market, observations = small.market(), small.observations()
    read = {
        name: spec.inputs
        for name, spec in market.features.items()
        if len(spec.inputs) == 1 and "{" not in spec.inputs[0]
    }
    gone, old = "margin_level", "repo_level"
    late = next(name for name, spec in read.items() if spec[0] == "pmi")
    start = pd.Timestamp(small.LAST)
    drop = (observations["series"] == read[gone][0]) | (
        (observations["series"] == read[old][0]) & (observations["period"] > start - pd.Timedelta(days=200))
    )
    drop |= (observations["series"] == "pmi") & (observations["period"] < start - pd.Timedelta(days=200))
    rows = observations[~drop]
    dataset = dataset_for(market, rows, small.LAST)
    absent = absent_features(market, rows, dataset, small.LAST, "s300-s1000")
    values = dataset.values.loc["s300-s1000"].iloc[-1]
    assert set(absent) == set(values.index[values.isna()])
    assert absent[gone] == (AbsentInput("not_in_data", read[gone][0]),)
    newest = rows.loc[(rows["series"] == read[old][0]), "period"].max().date()
    assert absent[old] == (AbsentInput("stale", read[old][0], newest),)
    assert newest.year == 2010
    assert absent[late] == (AbsentInput("too_short"),)
    # What the context calls stale is what the panel calls so.
    stale = dataset.stale.loc["s300-s1000"].iloc[-1]
    assert {name for name, why in absent.items() if "stale" in {one.kind for one in why}} == set(stale.index[stale])


def test_absent_reasons_do_not_read_later_rows() -> None:
    # A series that resumes after the decision is stale on the day, whatever the store holds by now.
    market, observations = small.market(), small.observations()
    at = pd.Timestamp(decision_times(market, np.array([small.LAST]))[0])
    [series] = market.features["margin_level"].inputs
    rows = observations[
        (observations["series"] != series)
        | (observations["period"] < pd.Timestamp(small.LAST) - pd.Timedelta(days=200))
        | (observations["known_at"] > at)
    ]
    assert (rows.loc[rows["series"] == series, "known_at"] > at).any()
    dataset = dataset_for(market, rows, small.LAST)
    absent = absent_features(market, rows, dataset, small.LAST, "s300-s1000")
    [reason] = absent["margin_level"]
    assert (reason.kind, reason.series) == ("stale", series)
    assert absent == absent_features(market, rows[rows["known_at"] <= at], dataset, small.LAST, "s300-s1000")


def test_an_ended_series_says_when() -> None:
    market = small.market()
    dead = next(name for name, spec in market.series.items() if spec.died is not None)
    died = market.series[dead].died
    assert died is not None
    features = [name for name, spec in market.features.items() if dead in spec.inputs]
    assert features
    ending = market.model_copy(
        update={"series": {**market.series, dead: market.series[dead].model_copy(update={"died": date(2010, 3, 31)})}}
    )
    dataset = dataset_for(ending, small.observations(), small.LAST)
    absent = absent_features(ending, small.observations(), dataset, small.LAST, "s300-s1000")
    for name in features:
        assert AbsentInput("ended", dead, date(2010, 3, 31)) in absent[name]


@pytest.mark.parametrize("pair", ["s300-s1000", "s300-micro"])
def test_style_history_counts_episodes_as_the_record_says(pair: str) -> None:
    dataset = small.dataset()
    history = style_history(dataset, pair)
    rows = dataset.rows.loc[pair]
    outcome = dataset.outcomes.loc[pair].xs(4, level="horizon_weeks")["y_switch"].to_dict()
    style, days = rows["style"].tolist(), list(rows.index)
    moves = flips = 0
    resume = 0
    for week, day in enumerate(days):
        if week < resume or week + 13 >= len(days) or outcome[day] != 1.0:
            continue
        moves += 1
        flips += any(style[later] == -style[week] for later in range(week + 1, week + 14))
        resume = week + 4
    assert (history.adverse_moves, history.followed_by_flip) == (moves, flips)
    assert moves > flips > 0
    assert history.dates == tuple(day.date() for day in days)
    assert history.style == tuple("small" if code == 1 else "large" for code in style)
    np.testing.assert_allclose(history.line, np.exp(rows["x"] - rows["x"].iloc[0]), rtol=1e-12)
    assert history.line[0] == 1.0
