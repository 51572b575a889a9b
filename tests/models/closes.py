"""Made-up closes for the scenario tests: sessions, histories with vintages, components and parameters."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from features.contracts import Dataset, FloatArray, History, TimeArray
from features.dataset import build_dataset
from models.volatility import Component, VolatilityParams
from tests.features.toy import last_decision, toy_market, toy_observations

PARAMS = VolatilityParams(omega=0.05, alpha=0.04, gamma=0.06, beta=0.88, eta=6.0, skew=-0.1, converged=1)
"""Volatility of about 1% a day that answers more to falls than to rises."""
SEGMENTS = ("large", "mid", "small")


def constant(omega: float) -> VolatilityParams:
    """Return parameters under which volatility is always `omega` percent a day."""
    return VolatilityParams(omega, 0.0, 0.0, 0.0, 6.0, 0.0, 1)


def weekdays(n: int, last: str = "2023-11-24") -> TimeArray:
    """Return n sessions, Mondays to Fridays, up to a day."""
    end = np.datetime64(last, "D")
    days: TimeArray = np.busday_offset(end, np.arange(-n + 1, 1), roll="backward").astype("datetime64[us]")
    return days


def changes(seed: int, n: int, params: VolatilityParams = PARAMS) -> FloatArray:
    """Draw daily log changes whose volatility follows the recursion."""
    shocks = np.random.default_rng(seed).standard_normal(n)
    level, result = 1.0, np.empty(n)
    for day in range(n):
        moved = level * shocks[day]
        result[day] = moved / 100
        level = params.omega + (params.alpha + params.gamma * (moved < 0)) * abs(moved) + params.beta * level
    return result


def held(n: int = 400, seed: int = 0, last: str = "2023-11-24") -> dict[str, Component]:
    """Return components of three segments on the same days."""
    dates = weekdays(n, last)
    return {name: Component(dates, changes(seed + place, n)) for place, name in enumerate(SEGMENTS)}


def history(dates: TimeArray, close: FloatArray) -> History:
    """Return log closes, each known at half past seven in the morning, UTC, of its day."""
    return History.of(dates, dates + np.timedelta64(450, "m"), close)


def filtered(params: VolatilityParams, moves: FloatArray) -> FloatArray:
    """Filter the volatility day by day, the slow way, with arch's start; percent in and out."""
    head = np.abs(moves[:75])
    weight = 0.94 ** np.arange(len(head))
    before = float((head * weight).sum() / weight.sum())
    levels = [params.omega + (params.alpha + params.gamma / 2 + params.beta) * before]
    for move in moves:
        size = abs(move) * (params.alpha + params.gamma * (move < 0))
        levels.append(params.omega + size + params.beta * levels[-1])
    return np.array(levels)


@lru_cache(maxsize=1)
def toy_dataset() -> Dataset:
    """Return the dataset of the toy market: closes come late, are corrected or never come. Nobody may change it."""
    return build_dataset(toy_observations(4), toy_market(), last_decision())


def toy_days(dataset: Dataset) -> TimeArray:
    """Return the decision days with a row."""
    days: TimeArray = np.unique(dataset.rows.index.get_level_values("decision_date").to_numpy("datetime64[us]"))
    return days
