"""The unwind of a crowd on a market's own turnover, volatility and discount, as known at a decision."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources

import numpy as np
import pandas as pd
from pydantic import Field

from features.errors import DataContractError
from features.market import MarketSpec
from features.series import Frozen
from models.impact import MarketDepth
from models.unwind_grid import unwind_grid
from models.unwind_settings import UnwindSettings
from serving.known_series import is_fresh, series_as_of


class FuturesSource(Frozen):
    """Series of the futures that the crowd has sold; `multiplier` is money a point, `discount` in percent a year."""

    close: str
    volume: str
    multiplier: float = Field(gt=0)
    discount: str


class UnwindScene(Frozen):
    """One crowd: the segment it holds and that it hedges with, where depth is read, and sizes in money (*assumed*)."""

    tier: str
    amount: str
    hedge: str
    futures: FuturesSource
    sizes: tuple[float, ...]


class UnwindPlan(Frozen):
    """What is asked of the simulator for a market; `assumed` says what no data backs."""

    assumed: str
    leverages: tuple[float, ...]
    shocks: tuple[float, ...]
    turnover_sessions: int = Field(ge=5)
    volatility_sessions: int = Field(ge=20)
    scenes: tuple[UnwindScene, ...]


@dataclass(frozen=True, eq=False)
class UnwindView:
    """One scene as the page prints it.

    Parameters
    ----------
    scene : UnwindScene
    assumed : str
    settings : mapping of str to UnwindSettings
        By depth: ``now`` as measured; ``storm`` with the highest volatility of each leg so far. Empty where an input is
        missing.
    table : pandas.DataFrame, optional
        As `unwind_grid`, with the column `depth` in front.
    reason : str
        Why there is no table; empty where there is one.
    """

    scene: UnwindScene
    assumed: str
    settings: Mapping[str, UnwindSettings]
    table: pd.DataFrame | None
    reason: str


def load_unwind_plan(market: str) -> UnwindPlan | None:
    """Return the plan of a market from ``serving/unwinds.toml``; None where it has none."""
    text = (resources.files("serving") / "unwinds.toml").read_text(encoding="utf-8")
    known = tomllib.loads(text)
    return UnwindPlan.model_validate(known[market]) if market in known else None


def unwind_views(
    market: MarketSpec, observations: pd.DataFrame, day: np.datetime64, plan: UnwindPlan | None = None
) -> tuple[UnwindView, ...]:
    """Run every scene of a market's plan; a scene that lacks an input says which.

    Depth is the mean turnover and the volatility of daily log returns over the last sessions of the plan; turnover of
    futures is volume times close times multiplier of the main contract, which leaves out the other months. A crowd does
    not leave in calm: every row comes a second time with the highest volatility that each leg has had over as many
    sessions, at the turnover of now.

    Parameters
    ----------
    market : MarketSpec
    observations : pandas.DataFrame
        As `Store.observations`.
    day : datetime64[us]
        A decision day.
    plan : UnwindPlan, optional
        By default the market's own; a market without one has no views.

    Information set: rows with known_at <= the decision.
    """
    plan = plan or load_unwind_plan(market.name)
    if plan is None:
        return ()
    return tuple(_view(market, observations, day, plan, scene) for scene in plan.scenes)


def _view(
    market: MarketSpec, observations: pd.DataFrame, day: np.datetime64, plan: UnwindPlan, scene: UnwindScene
) -> UnwindView:
    try:
        settings = _settings(market, observations, day, plan, scene)
    except DataContractError as error:
        return UnwindView(scene, plan.assumed, {}, None, str(error))
    tables = []
    for depth, terms in settings.items():
        table = unwind_grid(scene.sizes, plan.leverages, plan.shocks, terms)
        table.insert(0, "depth", depth)
        tables.append(table)
    return UnwindView(scene, plan.assumed, settings, pd.concat(tables, ignore_index=True), "")


def _settings(
    market: MarketSpec, observations: pd.DataFrame, day: np.datetime64, plan: UnwindPlan, scene: UnwindScene
) -> dict[str, UnwindSettings]:
    price, futures = market.segments[scene.tier].price, scene.futures
    names = (price, scene.amount, futures.close, futures.volume, futures.discount)
    known = series_as_of(market, observations, day, names)
    turned, moved = plan.turnover_sessions, plan.volatility_sessions
    for name, needed in zip(names, (moved + 1, turned, moved + 1, turned, 1), strict=True):
        if len(known[name]) < needed or not is_fresh(market, known[name], day):
            raise DataContractError(
                f"{name} must be known on {needed} session(s) up to {np.datetime_as_string(day, 'D')}; ingest it, or "
                "name another day"
            )
    traded = (known[futures.volume] * known[futures.close] * futures.multiplier).dropna()
    turnover = [float(values.iloc[-turned:].mean()) for values in (known[scene.amount], traded)]
    volatility = [np.log(known[name]).diff().rolling(moved).std() for name in (price, futures.close)]
    now = [float(path.iloc[-1]) for path in volatility]
    storm = [float(path.max()) for path in volatility]
    rules = market.leverage

    def settings(sigma: list[float]) -> UnwindSettings:
        tier, hedge = (MarketDepth(adv=adv, sigma=one) for adv, one in zip(turnover, sigma, strict=True))
        return UnwindSettings(
            tier=tier,
            hedge=hedge,
            maintenance=0.12 if rules is None else rules.maintenance,
            discount=-float(known[futures.discount].iloc[-1]) / 100.0,
        )

    return {"now": settings(now), "storm": settings(storm)}
