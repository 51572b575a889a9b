"""The forecast of one decision day: a bundle applied to what was knowable then, with drivers and context."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from typing import cast
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from features.contracts import EVENTS, HORIZONS, TAIL_COLUMNS, Dataset, Event, Style
from features.dataset import build_dataset, decision_times, market_calendar
from features.errors import DataContractError, StaleDataError
from features.forecasts import checked_forecasts
from features.market import MarketSpec
from models.base import base_frame
from models.bundle import Bundle
from models.design import STYLE_FEATURE
from models.explain import SCENARIO_FEATURE, Explanation, explain, probability_points
from models.implied import implied_probabilities
from models.predict import check_contract, draft, finish
from models.scenarios import PairLevel, ScenarioSet
from models.schedule import Plan, day_text, forecast_rows
from models.validity import Judgement
from serving.context import absent_features, next_releases, style_history
from serving.record import Driver, Forecast, HeadForecast, PairForecast, TailDetail
from serving.risk_view import leverage_view, spread_fan


def latest_decision(market: MarketSpec, observations: pd.DataFrame) -> np.datetime64:
    """Return the newest decision day on which both prices of the headline pair are known.

    Raises
    ------
    DataContractError
        If there is none.
    """
    pair = market.pairs[market.headline]
    prices = [market.segments[segment].price for segment in (pair.large, pair.small)]
    large, small = (
        observations.loc[observations["series"] == price, "period"].to_numpy("datetime64[us]") for price in prices
    )
    days = np.intersect1d(large, small)
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
        have = dataset.rows.index[dataset.rows.index.get_level_values("pair") == market.headline]
        newest = f"the newest decision with both is {have[-1][1]:%Y-%m-%d}" if len(have) else "no decision has both"
        raise StaleDataError(
            f"no close of pair {market.headline} was known at the decision of {day_text(day)}; {newest}; "
            "ingest newer prices"
        )
    return dataset


@dataclass(frozen=True, eq=False)
class Call:
    """One day's call.

    Parameters
    ----------
    forecast : Forecast
    rows : pandas.DataFrame
        The same numbers with the columns of `features.contracts.FORECAST_COLUMNS`.
    scenarios : ScenarioSet, optional
        The tilted set; None while too few segments have a history.
    """

    forecast: Forecast
    rows: pd.DataFrame
    scenarios: ScenarioSet | None


def make_forecast(
    market: MarketSpec,
    observations: pd.DataFrame,
    dataset: Dataset,
    bundle: Bundle,
    plan: Plan,
    headline: str | None = None,
) -> Call:
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

    Raises
    ------
    LookAheadError, BundleError
        If the bundle is later than the day or was trained with another catalogue.

    Information set: rows with known_at <= the decision.
    """
    with threadpool_limits(1, "blas"):  # the last digits of a product depend on the number of threads
        return _forecast(market, observations, dataset, bundle, plan, headline)


def _forecast(
    market: MarketSpec,
    observations: pd.DataFrame,
    dataset: Dataset,
    bundle: Bundle,
    plan: Plan,
    headline: str | None,
) -> Call:
    day = dataset.clock.index[-1].to_datetime64().astype("datetime64[us]")
    rows = forecast_rows(dataset, plan, day, None)
    headline = headline or market.headline
    if headline not in market.pairs:
        raise DataContractError(f"`pair` must be one of {', '.join(market.pairs)}; got {headline!r}")
    if headline not in rows.get_level_values("pair"):
        raise DataContractError(
            f"pair {headline} of market {market.name!r} has less than {plan.min_weeks} weeks of history, or no close, "
            f"on {day_text(day)}"
        )
    check_contract(bundle, dataset, rows)
    block = forecast_rows(dataset, plan, bundle.cut, None)
    days = np.unique(block.get_level_values("decision_date").to_numpy("datetime64[us]"))
    settings = bundle.settings.scenarios
    base = base_frame(dataset, implied_probabilities(dataset, {bundle.cut: bundle.volatility}, days, settings))
    drafted = draft(bundle, dataset, block, base, keep_scenarios=True)
    done = finish(drafted, dataset, bundle.memory)
    whole = checked_forecasts(done.forecasts)
    frame = whole[whole["decision_date"] == pd.Timestamp(day)].reset_index(drop=True)
    pairs = []
    for horizon in HORIZONS:
        explanations = explain(bundle, dataset, rows, base, horizon)
        for place, (pair, _) in enumerate(rows):
            row = frame[(frame["pair"] == pair) & (frame["horizon_weeks"] == horizon)].iloc[0]
            key = (str(pair), pd.Timestamp(day), horizon)
            extra = _Extra(drafted.judgements[key], _detail(done.tails, key))
            pairs.append(_pair(market, dataset, row, explanations, place, extra))
    scenarios, spec = drafted.scenarios, market.pairs[headline]
    if scenarios is not None:
        scenarios = replace(scenarios, levels=_levels(market, done.tails, pd.Timestamp(day)))
    fan = None
    if scenarios is not None and {spec.large, spec.small} <= set(scenarios.segments):
        fan = spread_fan(scenarios, headline, (spec.large, spec.small), pairs[0].entry_date)
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
        fan=fan,
        leverage=None if scenarios is None else leverage_view(market, observations, scenarios, day),
        absent=absent_features(market, observations, dataset, day, headline),
        next_releases=next_releases(market, observations, day, at),
        bundle_cut=_date(bundle.cut),
        snapshot_id=str(frame["snapshot_id"].iloc[0]),
        config_hash=bundle.config_hash,
        code_version=bundle.code_version,
    )
    return Call(forecast, frame, scenarios)


@dataclass(frozen=True)
class _Extra:
    """What a row says beside its numbers."""

    judgement: Judgement
    tail: TailDetail | None


def _detail(tails: pd.DataFrame, key: tuple[str, pd.Timestamp, int]) -> TailDetail | None:
    """Return what a row's tail was before tilt and correction; None without a tail."""
    if key not in tails.index:
        return None
    row = tails.loc[[key]].iloc[0]
    residual = {event: float(row[f"residual_{event}"]) for event in EVENTS}
    return TailDetail(
        level_lower=float(row["level_lower"]),
        level_upper=float(row["level_upper"]),
        uncorrected={name: float(row[f"raw_{name}"]) for name in TAIL_COLUMNS},
        untilted={name: float(row[f"untilted_{name}"]) for name in TAIL_COLUMNS},
        residual={event: gap if np.isfinite(gap) else None for event, gap in residual.items()},
        effective_size=float(row["effective_size"]),
    )


def _levels(market: MarketSpec, tails: pd.DataFrame, day: pd.Timestamp) -> tuple[PairLevel, ...]:
    """Return the corrected levels of a day's pairs."""
    rows = tails.xs(day, level="decision_date")
    return tuple(
        PairLevel(pair, market.pairs[pair].small, int(horizon), float(lower), float(upper))
        for (pair, horizon), lower, upper in zip(rows.index, rows["level_lower"], rows["level_upper"], strict=True)
    )


def _pair(
    market: MarketSpec,
    dataset: Dataset,
    row: pd.Series,
    explanations: Mapping[Event, Explanation],
    place: int,
    extra: _Extra,
) -> PairForecast:
    pair, day = str(row["pair"]), row["decision_date"]
    past = dataset.rows.loc[pair]
    facts = _facts(dataset, pair, day)
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
        heads={event: _head(facts, row, event, explanations[event], place) for event in EVENTS},
        tail=tail if all(np.isfinite(value) for value in tail.values()) else None,
        tail_detail=extra.tail,
        validity=extra.judgement.validity,
        reasons=extra.judgement.reasons,
    )


@dataclass(frozen=True)
class _Fact:
    """What a driver's row says beside its contribution."""

    why: str = ""
    unit: str = ""
    vintage: str = "computed"
    value: float | None = None
    percentile: float | None = None
    known_at: datetime | None = None


def _facts(dataset: Dataset, pair: str, day: pd.Timestamp) -> dict[str, _Fact]:
    """Look up value, place in the pair's own past and publication time of every feature on the last decision."""
    rows, past, clocks = dataset.rows.loc[pair], dataset.values.loc[pair], dataset.known_at.loc[pair]
    here = past.index.get_indexer(pd.DatetimeIndex([day]))[0]
    facts = {}
    for info in dataset.features:
        history = past[info.name].to_numpy(np.float64)[: here + 1]
        number, history = history[-1], history[np.isfinite(history)]
        value = percentile = known = None
        if np.isfinite(number):
            value, percentile = float(number), float(np.mean(history < number) + 0.5 * np.mean(history == number))
            known = _utc(clocks[info.name].to_numpy("datetime64[us]")[here])
        facts[info.name] = _Fact(info.why, info.unit, info.vintage, value, percentile, known)
    price_known = _utc(rows["price_known_at"].to_numpy("datetime64[us]")[here])
    facts[SCENARIO_FEATURE] = _Fact(
        why="What volatility, fat tails and the path alone imply, before any driver", known_at=price_known
    )
    facts[STYLE_FEATURE] = _Fact(
        why="Which style leads: +1 small caps, -1 large caps",
        unit="code",
        value=float(rows["style"].to_numpy()[here]),
        known_at=price_known,
    )
    return facts


def _head(
    facts: Mapping[str, _Fact], row: pd.Series, event: Event, explanation: Explanation, place: int
) -> HeadForecast:
    abstains = not np.isfinite(row[f"p_{event}"])
    base, published = explanation.base[place], explanation.published[place]
    contributions = explanation.contributions[place]
    points = probability_points(np.array([base]), np.array([published]), contributions[None, :])[0]
    drivers = tuple(
        Driver(name, family, log_odds=float(log_odds), points=float(point), **vars(facts.get(name, _Fact())))
        for name, family, log_odds, point in zip(
            explanation.names, explanation.families, contributions, points, strict=True
        )
    )
    families = {family: math.fsum(d.log_odds for d in drivers if d.family == family) for family in explanation.families}
    return HeadForecast(
        event=event,
        probability=None if abstains else float(row[f"p_{event}"]),
        base=float(row[f"p_{event}_base"]),
        lo=None if abstains else float(row[f"p_{event}_lo"]),
        hi=None if abstains else float(row[f"p_{event}_hi"]),
        base_log_odds=float(base),
        log_odds=None if abstains else float(published),
        drivers=() if abstains else drivers,
        families={} if abstains else families,
    )


def _date(value: np.datetime64) -> date:
    return cast(date, value.astype("datetime64[D]").item())


def _utc(value: np.datetime64) -> datetime:
    return cast(datetime, value.astype("datetime64[us]").item()).replace(tzinfo=UTC)
