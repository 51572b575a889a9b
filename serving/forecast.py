"""The forecast of one decision day: a bundle applied to what was knowable then, with drivers and context."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import cast
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd

from features.calendar import TradingCalendar
from features.contracts import EVENTS, HORIZONS, STYLE_SMALL, TAIL_COLUMNS, Dataset, Event, History, Style, Validity
from features.dataset import build_dataset, decision_times, market_calendar
from features.errors import DataContractError, StaleDataError
from features.market import MarketSpec
from features.panel import resolve_inputs
from features.publication import rule_days
from features.store import histories
from models.bundle import Bundle
from models.climatology import climatology
from models.design import STYLE_FEATURE
from models.explain import Explanation, explain, probability_points
from models.predict import predict
from models.schedule import Plan, day_text, forecast_rows
from serving.record import Driver, Forecast, HeadForecast, NextRelease, PairForecast, StyleHistory

_FLIP_WEEKS = 13
_NEXT_DAYS = 35


def latest_decision(market: MarketSpec, observations: pd.DataFrame) -> np.datetime64:
    """Return the newest decision day on which both prices of the headline pair are known.

    Raises
    ------
    DataContractError
        If there is none.
    """
    pair = market.pairs[market.headline]
    prices = [market.segments[segment].price for segment in (pair.large, pair.small)]
    known = [observations.loc[observations["series"] == price, "period"].to_numpy("datetime64[us]") for price in prices]
    days = np.intersect1d(*known)
    if len(days) == 0:
        raise DataContractError(f"market {market.name!r}: no day has prices of both {prices[0]} and {prices[1]}")
    decisions = market_calendar(market, days[-1]).decisions()
    both = decisions[np.isin(decisions, days)]
    if len(both) == 0:
        raise DataContractError(f"market {market.name!r}: no decision day has prices of {prices[0]} and {prices[1]}")
    newest: np.datetime64 = both[-1]
    return newest


def dataset_for(market: MarketSpec, observations: pd.DataFrame, day: np.datetime64) -> Dataset:
    """Build the dataset up to a decision day and make sure that the headline pair has a row for it.

    Raises
    ------
    StaleDataError
        If the close of the day is not known.
    """
    dataset = build_dataset(observations, market, day)
    if (market.headline, pd.Timestamp(day)) not in dataset.rows.index:
        dates = dataset.rows.loc[market.headline].index
        newest = f"the newest decision with both is {dates[-1]:%Y-%m-%d}" if len(dates) else "no decision has both"
        raise StaleDataError(
            f"no close of pair {market.headline} was known at the decision of {day_text(day)}; {newest}; ingest newer prices"
        )
    return dataset


def make_forecast(
    market: MarketSpec,
    observations: pd.DataFrame,
    dataset: Dataset,
    bundle: Bundle,
    plan: Plan,
    headline: str | None = None,
) -> tuple[Forecast, pd.DataFrame]:
    """Forecast the dataset's last decision day.

    Parameters
    ----------
    market : MarketSpec
    observations : pandas.DataFrame
        As `Store.observations`; rows known after the decision are not used.
    dataset : Dataset
        As `dataset_for` builds it.
    bundle : Bundle
        Its cut must not be later than the day.
    plan : Plan
        Says which pairs are old enough.
    headline : str, optional
        The pair that leads the note; by default the market's.

    Returns
    -------
    forecast : Forecast
    rows : pandas.DataFrame
        The same numbers with the columns of `features.contracts.FORECAST_COLUMNS`.

    Raises
    ------
    LookAheadError, BundleError
        If the bundle is later than the day or was trained with another catalogue.

    Information set: rows with known_at <= the decision.
    """
    day = dataset.clock.index[-1].to_datetime64().astype("datetime64[us]")
    rows = forecast_rows(dataset, plan, day, None)
    headline = headline or market.headline
    if headline not in market.pairs:
        raise DataContractError(f"`pair` must be one of {', '.join(market.pairs)}; got {headline!r}")
    if headline not in rows.get_level_values("pair"):
        raise DataContractError(
            f"pair {headline} of market {market.name!r} has less than {plan.min_weeks} weeks of history, or no close, on "
            f"{day_text(day)}"
        )
    base = climatology(dataset)
    frame = predict(bundle, dataset, rows, base)
    pairs = []
    for horizon in HORIZONS:
        explanations = explain(bundle, dataset, rows, base, horizon)
        for place, (pair, _) in enumerate(rows):
            row = frame[(frame["pair"] == pair) & (frame["horizon_weeks"] == horizon)].iloc[0]
            pairs.append(_pair(market, dataset, row, explanations, place))
    at = decision_times(market, np.array([day]))[0]
    names = {name: (spec.name or name, spec.name_zh or spec.name or name) for name, spec in market.pairs.items()}
    forecast = Forecast(
        market=market.name,
        title=market.title,
        title_zh=market.title_zh,
        simulated=market.simulated,
        decision_date=_date(day),
        decision_at=_utc(at).astimezone(ZoneInfo(market.schedule.timezone)),
        headline=headline,
        pair_names=names,
        pairs=tuple(pairs),
        history=style_history(dataset, headline),
        absent=absent_features(market, observations, dataset, day, headline),
        next_releases=next_releases(market, observations, day, at),
        bundle_cut=_date(bundle.cut),
        snapshot_id=str(frame["snapshot_id"].iloc[0]),
        config_hash=bundle.config_hash,
        code_version=bundle.code_version,
    )
    return forecast, frame


def _pair(
    market: MarketSpec, dataset: Dataset, row: pd.Series, explanations: Mapping[Event, Explanation], place: int
) -> PairForecast:
    pair, day = str(row["pair"]), row["decision_date"]
    past = dataset.rows.loc[pair]
    since = past.index[-1]
    changed = np.flatnonzero(np.diff(past["style"].to_numpy()) != 0)
    since = past.index[changed[-1] + 1] if len(changed) else past.index[0]
    spec = market.pairs[pair]
    tail = {column: float(row[column]) for column in TAIL_COLUMNS}
    return PairForecast(
        pair=pair,
        large=spec.large,
        small=spec.small,
        horizon_weeks=int(row["horizon_weeks"]),
        decision_date=day.date(),
        entry_date=row["entry_date"].date(),
        exit_date=row["exit_date"].date(),
        style_in_force=cast(Style, row["style_in_force"]),
        style_since=since.date(),
        sigma=float(row["sigma"]),
        heads={event: _head(dataset, row, event, explanations[event], place) for event in EVENTS},
        tail=tail if all(np.isfinite(value) for value in tail.values()) else None,
        validity=cast(Validity, row["validity"]),
        reasons=tuple(part for part in str(row["reasons"]).split("; ") if part),
    )


def _head(dataset: Dataset, row: pd.Series, event: Event, explanation: Explanation, place: int) -> HeadForecast:
    abstains = not np.isfinite(row[f"p_{event}"])
    base, published = explanation.base[place], explanation.published[place]
    contributions = explanation.contributions[place]
    points = probability_points(np.array([base]), np.array([published]), contributions[None, :])[0]
    infos = {info.name: info for info in dataset.features}
    key = (row["pair"], row["decision_date"])
    drivers, families = [], {}
    for name, family, log_odds, point in zip(
        explanation.names, explanation.families, contributions, points, strict=True
    ):
        families[family] = families.get(family, 0.0) + float(log_odds)
        info = infos.get(name)
        value = known = percentile = None
        if info is not None and np.isfinite(number := float(dataset.values.at[key, name])):
            history = dataset.values.loc[row["pair"], name].dropna().to_numpy()
            value, percentile = number, float((history < number).mean() + 0.5 * (history == number).mean())
            known = _utc(np.datetime64(dataset.known_at.at[key, name], "us"))
        elif name == STYLE_FEATURE:
            value, known = float(dataset.rows.at[key, "style"]), _utc(dataset.rows.at[key, "price_known_at"].to_datetime64())
        drivers.append(
            Driver(
                feature=name,
                family=family,
                why=info.why if info else "Which style leads: +1 small caps, -1 large caps" if name == STYLE_FEATURE else "",
                unit=info.unit if info else "code" if name == STYLE_FEATURE else "",
                value=value,
                percentile=percentile,
                known_at=known,
                vintage=info.vintage if info else "computed",
                log_odds=float(log_odds),
                points=float(point),
            )
        )
    return HeadForecast(
        event=event,
        probability=None if abstains else float(row[f"p_{event}"]),
        base=float(row[f"p_{event}_base"]),
        lo=None if abstains else float(row[f"p_{event}_lo"]),
        hi=None if abstains else float(row[f"p_{event}_hi"]),
        base_log_odds=float(base),
        log_odds=None if abstains else float(published),
        drivers=() if abstains else tuple(drivers),
        families={} if abstains else families,
    )


def style_history(dataset: Dataset, pair: str) -> StyleHistory:
    """Return a pair's line, its causal style by week, and what became of past adverse moves.

    Information set: the rows of the dataset and outcomes matured by its last decision.
    """
    rows = dataset.rows.loc[pair]
    style = rows["style"].to_numpy(np.int64)
    outcome = dataset.outcomes.loc[pair].xs(4, level="horizon_weeks").reindex(rows.index)
    adverse = outcome["y_switch"].to_numpy(np.float64) == 1.0
    seen = np.arange(len(rows)) + _FLIP_WEEKS < len(rows)
    flips = np.array([(style[at + 1 : at + _FLIP_WEEKS + 1] == -style[at]).any() for at in range(len(rows))])
    x = rows["x"].to_numpy(np.float64)
    return StyleHistory(
        pair=pair,
        dates=tuple(day.date() for day in rows.index),
        line=tuple(np.exp(x - x[0]).tolist()),
        style=tuple("small" if code == STYLE_SMALL else "large" for code in style),
        adverse_moves=int((adverse & seen).sum()),
        followed_by_flip=int((adverse & seen & flips).sum()),
    )


def absent_features(
    market: MarketSpec, observations: pd.DataFrame, dataset: Dataset, day: np.datetime64, pair: str
) -> dict[str, str]:
    """Say for every feature that a pair lacks on the last decision why it is absent."""
    newest = observations.groupby("series")["period"].max()
    values = dataset.values.loc[(pair, pd.Timestamp(day))]
    absent = {}
    for name in values.index[values.isna()]:
        spec = market.features[str(name)]
        reasons = []
        for source in resolve_inputs(spec, market.pairs[pair]):
            series = market.series.get(source)
            if source not in newest.index or series is None:
                reasons.append(f"{source}: not in the data")
            elif series.died is not None and np.datetime64(series.died, "us") < day:
                reasons.append(f"{source}: ended {series.died}")
            elif day - newest[source].to_datetime64() > np.timedelta64(series.stale_days, "D"):
                reasons.append(f"{source}: stale, newest value of {newest[source]:%Y-%m-%d}")
        absent[str(name)] = "; ".join(reasons) or "history too short or inputs without a common date"
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
        if market.series[name].frequency == "monthly" and market.series[name].shape == "monthly"
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
    period = ((month + np.timedelta64(1, "M")).astype("datetime64[D]") - np.timedelta64(1, "D")).astype("datetime64[us]")
    # The usual day: the sessions that make an estimate safe have no place in a diary.
    due = rule_days(spec.known.model_copy(update={"exact": True}), np.array([period]), calendar)[0]
    if np.isnat(due) or due > day + np.timedelta64(_NEXT_DAYS, "D"):
        return []
    due = max(due, day + np.timedelta64(1, "D"))
    return [NextRelease(name, spec.family, _date(period), _date(due), spec.known.estimated)]


def _date(value: np.datetime64) -> date:
    return cast(date, value.astype("datetime64[D]").item())


def _utc(value: np.datetime64) -> datetime:
    return cast(datetime, value.astype("datetime64[us]").item()).replace(tzinfo=UTC)
