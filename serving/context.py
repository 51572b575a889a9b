"""What stands around a forecast: past style states, inputs that are absent, and publications to come."""

from __future__ import annotations

from datetime import date
from typing import cast

import numpy as np
import pandas as pd

from features.calendar import TradingCalendar
from features.contracts import STYLE_SMALL, Dataset, History
from features.dataset import decision_times, market_calendar
from features.market import MarketSpec
from features.panel import resolve_inputs
from features.publication import rule_days
from features.store import histories
from serving.record import AbsentInput, NextRelease, StyleHistory

_FLIP_WEEKS = 13
_NEXT_DAYS = 35


def style_history(dataset: Dataset, pair: str) -> StyleHistory:
    """Return a pair's line, its causal style by week, and what became of past adverse moves.

    Information set: the rows of the dataset and outcomes matured by its last decision.
    """
    rows = dataset.rows.loc[pair]
    style = rows["style"].to_numpy(np.int64)
    outcome = dataset.outcomes.loc[pair].xs(4, level="horizon_weeks").reindex(rows.index)
    adverse = outcome["y_switch"].to_numpy(np.float64) == 1.0
    episodes = flipped = week = 0
    while week + _FLIP_WEEKS < len(rows):
        if adverse[week]:
            episodes += 1
            flipped += int((style[week + 1 : week + _FLIP_WEEKS + 1] == -style[week]).any())
        # Weeks that share the four weeks ahead tell of the same move.
        week += 4 if adverse[week] else 1
    x = rows["x"].to_numpy(np.float64)
    return StyleHistory(
        pair=pair,
        dates=tuple(day.date() for day in rows.index),
        line=tuple(np.exp(x - x[0]).tolist()),
        style=tuple("small" if code == STYLE_SMALL else "large" for code in style),
        adverse_moves=episodes,
        followed_by_flip=flipped,
    )


def absent_features(
    market: MarketSpec, observations: pd.DataFrame, dataset: Dataset, day: np.datetime64, pair: str
) -> dict[str, tuple[AbsentInput, ...]]:
    """Say for every feature that a pair lacks on a decision why it is absent: at least one reason each.

    Information set: rows with known_at <= the decision.
    """
    at = decision_times(market, np.array([day]))[0]
    newest = observations[observations["known_at"] <= pd.Timestamp(at)].groupby("series")["period"].max()
    gone = dataset.values.loc[pair].loc[[pd.Timestamp(day)]].isna().to_numpy()[0]
    absent = {}
    for name in dataset.values.columns[gone]:
        spec = market.features[str(name)]
        reasons: list[AbsentInput] = []
        for source in resolve_inputs(spec, market.pairs[pair]):
            series = market.series.get(source)
            if source not in newest.index or series is None:
                reasons.append(AbsentInput("not_in_data", source))
            elif series.died is not None and np.datetime64(series.died, "us") < day:
                reasons.append(AbsentInput("ended", source, series.died))
            elif day - newest[source].to_datetime64() > np.timedelta64(series.stale_days, "D"):
                reasons.append(AbsentInput("stale", source, newest[source].date()))
        absent[str(name)] = tuple(reasons) or (AbsentInput("too_short"),)
    return absent


def next_releases(
    market: MarketSpec, observations: pd.DataFrame, day: np.datetime64, at: np.datetime64
) -> tuple[NextRelease, ...]:
    """Return the publications that the rules expect over the next five weeks and that a feature reads.

    Information set: rows with known_at <= the decision; the dates come from the rules, never from later rows.
    """
    read = {source for spec in market.features.values() for source in spec.inputs}
    calendar = market_calendar(market, day)
    known: dict[str, History] = histories(observations[observations["known_at"] <= pd.Timestamp(at)], market)
    expected = [
        release
        for name in sorted(read & set(known))
        if market.series[name].frequency == "monthly" and market.series[name].shape not in ("dated", "releases")
        for release in _next_release(market, name, known[name], calendar, day)
    ]
    return tuple(sorted(expected, key=lambda release: (release.expected, release.series)))


def _next_release(
    market: MarketSpec, name: str, history: History, calendar: TradingCalendar, day: np.datetime64
) -> list[NextRelease]:
    spec = market.series[name]
    if len(history) == 0 or (spec.died is not None and np.datetime64(spec.died, "us") < day):
        return []
    month = history.period.max().astype("datetime64[M]") + np.timedelta64(1, "M")
    if spec.known.january_with_february and month.astype(np.int64) % 12 == 0:
        month = month + np.timedelta64(1, "M")
    following = (month + np.timedelta64(1, "M")).astype("datetime64[D]")
    period = (following - np.timedelta64(1, "D")).astype("datetime64[us]")
    # The usual day: the sessions that make an estimate safe have no place in a diary.
    due = rule_days(spec.known.model_copy(update={"exact": True}), np.array([period]), calendar)[0]
    if np.isnat(due) or due > day + np.timedelta64(_NEXT_DAYS, "D"):
        return []
    due = max(due, day + np.timedelta64(1, "D"))
    return [NextRelease(name, spec.family, _date(period), _date(due), spec.known.estimated)]


def _date(value: np.datetime64) -> date:
    return cast(date, value.astype("datetime64[D]").item())
