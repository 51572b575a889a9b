"""What the note shows of the scenario set: the fan of the headline pair, and the levered book."""

from __future__ import annotations

from datetime import date
from typing import cast

import numpy as np
import pandas as pd

from features.contracts import FloatArray
from features.market import LeverageSpec, MarketSpec
from models.leverage import leverage_table, loss_probability
from models.levered_book import run_book
from models.scenarios import ScenarioSet, ordered_tail
from models.swap_terms import Basis, SwapTerms
from serving.known_series import is_fresh, series_as_of
from serving.record import Fan, LeverageRow, LeverageView

FAN_LEVELS = (0.05, 0.25, 0.50, 0.75, 0.95)
TOLD_LEVERAGE, TOLD_WEEKS, TOLD_LOSS = 4.0, 4, 0.20
_LEVERAGES = (1, 2, 3, 4, 5)


def spread_fan(scenarios: ScenarioSet, pair: str, legs: tuple[str, str], entry: date) -> Fan:
    """Return the quantiles of a pair's path after each session; `legs` are its large and its small segment.

    Information set: that of the scenario set.
    """
    paths = scenarios.spread(*legs)
    even = np.full(paths.shape[1], 1.0 / paths.shape[1])
    outer = (FAN_LEVELS[0], FAN_LEVELS[-1])
    tilted, untilted = [(0.0,) * len(FAN_LEVELS)], [(0.0, 0.0)]
    for row in paths[1:]:
        order = np.argsort(row, kind="stable")
        values = row[order].astype(np.float64)
        tilted.append(tuple(_quantiles(values, scenarios.weights[order], FAN_LEVELS)))
        low, high = _quantiles(values, even, outer)
        untilted.append((low, high))
    days = tuple(cast(date, day.astype("datetime64[D]").item()) for day in scenarios.sessions)
    return Fan(pair, (entry, *days), tuple(tilted), tuple(untilted))


def _quantiles(values: FloatArray, weights: FloatArray, levels: tuple[float, ...]) -> list[float]:
    quantiles: list[float] = ordered_tail(values, weights, levels)[0].tolist()
    return quantiles


def leverage_view(
    market: MarketSpec, observations: pd.DataFrame, scenarios: ScenarioSet, day: np.datetime64
) -> LeverageView | None:
    """Run the market's levered book over the scenario set; None where the market names none or a leg has no paths.

    Information set: rows with known_at <= the decision.
    """
    spec = market.leverage
    if spec is None or not {spec.long, spec.hedge} <= set(scenarios.segments):
        return None
    discount = _discount(market, spec, observations, day)
    terms = SwapTerms(
        maintenance=spec.maintenance,
        financing=spec.financing,
        basis=Basis(discount=discount or 0.0),
        limit_down=spec.limit_down,
        day_count=spec.sessions_a_year,
    )
    long, hedge = {spec.long: 1.0}, {spec.hedge: 1.0}
    allowed = [leverage for leverage in _LEVERAGES if leverage * spec.maintenance < 1]
    table = leverage_table(scenarios, long, hedge, terms, allowed)
    told = run_book(scenarios, long, hedge, TOLD_LEVERAGE, terms)
    rows = tuple(
        LeverageRow(**{**{str(name): float(value) for name, value in row.items()}, "horizon_weeks": int(weeks)})  # type: ignore[arg-type]
        for (_, row), weeks in zip(table.iterrows(), table["horizon_weeks"], strict=True)
    )
    names = [(market.segments[leg].name, market.segments[leg].name_zh) for leg in (spec.long, spec.hedge)]
    return LeverageView(
        long=spec.long,
        hedge=spec.hedge,
        long_name=names[0],
        hedge_name=names[1],
        financing=spec.financing,
        discount=discount,
        maintenance=spec.maintenance,
        rows=rows,
        told_leverage=TOLD_LEVERAGE,
        told_weeks=TOLD_WEEKS,
        told_loss=TOLD_LOSS,
        p_loss=loss_probability(told, TOLD_WEEKS, TOLD_LOSS),
    )


def _discount(market: MarketSpec, spec: LeverageSpec, observations: pd.DataFrame, day: np.datetime64) -> float | None:
    """Newest futures discount known at the decision, a fraction a year; None where it is stale, dead or never was."""
    if spec.discount is None:
        return None
    values = series_as_of(market, observations, day, [spec.discount])[spec.discount]
    return float(-values.iloc[-1] / 100.0) if is_fresh(market, values, day) else None
