"""Stored forecasts: markets, the forecast object, and its drivers."""

from __future__ import annotations

import json
from datetime import date
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response

from features.contracts import EVENTS
from features.errors import CapshiftError
from serving.api.answers import Drivers, HeadDrivers, MarketEntry, Markets, PublishedForecast
from serving.api.forecasts import age_days, answer_bytes
from serving.api.notice import notice_of
from serving.api.parameters import DriversQuery, ForecastQuery, Market
from serving.api.problems import ApiProblem
from serving.api.service import Service, service_of
from serving.record import Forecast, PairForecast
from serving.whatif import pair_names

router = APIRouter(prefix="/v1")
Shared = Annotated[Service, Depends(service_of)]
_JSON = "application/json"


@router.get("/markets", operation_id="markets", summary="Markets that have forecasts")
async def markets(service: Shared) -> Markets:
    """List every market with a stored forecast."""
    return await service.workers.run(partial(_markets, service))


@router.get(
    "/forecast/{market}", operation_id="forecast", response_model=PublishedForecast, summary="A stored forecast"
)
async def forecast(service: Shared, market: Market, query: Annotated[ForecastQuery, Query()]) -> Response:
    """Return the forecast object as `capshift weekly` writes it; `pair` and `horizon` leave the other rows out."""
    return Response(await service.workers.run(partial(_forecast, service, market, query)), media_type=_JSON)


@router.get("/drivers/{market}", operation_id="drivers", summary="Why the probabilities are what they are")
async def drivers(service: Shared, market: Market, query: Annotated[DriversQuery, Query()]) -> Drivers:
    """Return each feature's contribution with its value, its percentile and when it became known."""
    return await service.workers.run(partial(_drivers, service, market, query))


def chosen_rows(forecast: Forecast, query: ForecastQuery) -> list[PairForecast]:
    """Return the rows of a forecast that a query asks for.

    Raises
    ------
    ApiProblem
        404 if it asks for a pair that the forecast does not have.
    """
    known = pair_names(forecast)
    if query.pair is not None and query.pair not in known:
        raise ApiProblem(404, f"the forecast has no pair {query.pair!r}", f"it has {', '.join(known)}")
    rows = [row for row in forecast.pairs if query.pair in (None, row.pair)]
    return [row for row in rows if query.horizon in (None, row.horizon_weeks)]


def _forecast(service: Service, market: str, query: ForecastQuery) -> bytes:
    stored = service.forecasts.read(market, query.as_of)
    if query.pair is None and query.horizon is None:
        return stored.answer
    wanted = {(row.pair, row.horizon_weeks) for row in chosen_rows(stored.forecast, query)}
    document = json.loads(stored.answer)
    document["pairs"] = [row for row in document["pairs"] if (row["pair"], row["horizon_weeks"]) in wanted]
    return answer_bytes(document)


def _markets(service: Service) -> Markets:
    return Markets(markets=[_market(service, name) for name in service.forecasts.markets()])


def _market(service: Service, name: str) -> MarketEntry:
    days = service.forecasts.days(name)
    entry = MarketEntry(
        market=name, title=None, title_zh=None, simulated=None, notice=None, headline=None, pairs=[],
        newest=date.fromisoformat(days[-1]), forecasts=len(days), age_days=None, problem=None,
    )  # fmt: skip
    try:
        stored = service.forecasts.read(name, days[-1]).forecast
    except CapshiftError:
        return entry.model_copy(update={"problem": "the newest forecast cannot be read"})
    return entry.model_copy(
        update={
            "title": stored.title,
            "title_zh": stored.title_zh,
            "simulated": stored.simulated,
            "notice": notice_of(stored.simulated),
            "headline": stored.headline,
            "pairs": list(pair_names(stored)),
            "age_days": age_days(stored, service.now()),
        }
    )


def _drivers(service: Service, market: str, query: DriversQuery) -> Drivers:
    stored = service.forecasts.read(market, query.as_of).forecast
    events = EVENTS if query.event is None else (query.event,)
    heads = [
        HeadDrivers(
            pair=row.pair,
            horizon_weeks=row.horizon_weeks,
            event=event,
            validity=row.validity,
            probability=row.heads[event].probability,
            base=row.heads[event].base,
            base_log_odds=row.heads[event].base_log_odds,
            log_odds=row.heads[event].log_odds,
            drivers=list(row.heads[event].drivers),
        )
        for row in chosen_rows(stored, query)
        for event in events
    ]
    return Drivers(
        market=stored.market,
        simulated=stored.simulated,
        notice=notice_of(stored.simulated),
        decision_date=stored.decision_date,
        heads=heads,
    )
