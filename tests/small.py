"""A small, fast configuration on the simulated market, built once a process and shared by many tests.

A few seeds, a few rounds, four refits: enough to run every line, nothing that says how good the model is.

Importing it lets `training.volatility` remember its fits: most tests train chains on closes that another test has
seen, and fits take a third of a small chain. The key is everything that the fit sees: one more close, or one that
differs in its last bit, is fitted anew. That a fit repeats is for `tests/models/test_garch.py` to hold.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd

import training.volatility
from features.contracts import Dataset
from features.dataset import build_dataset
from features.market import MarketSpec, load_market
from features.sources.simulated import simulate
from models.base import base_frame
from models.schedule import Plan
from models.settings import HeadSettings, TreeSettings
from models.volatility import Component, ScenarioSettings, VolatilityParams, fit_volatility
from training.walkforward import WalkForward, walk_forward

_FITS: dict[tuple[bytes, bytes, ScenarioSettings], VolatilityParams | None] = {}


def remembered_fit(component: Component, settings: ScenarioSettings) -> VolatilityParams | None:
    """Return what `fit_volatility` says, from memory where it has seen the same bytes."""
    key = component.dates.tobytes(), component.changes.tobytes(), settings
    if key not in _FITS:
        _FITS[key] = fit_volatility(component, settings)
    return _FITS[key]


training.volatility.fit_volatility = remembered_fit

SEED = 4711
FIRST = np.datetime64("2009-01-09", "us")
LAST = np.datetime64("2010-11-26", "us")
MIDDLE = np.datetime64("2010-01-15", "us")


@lru_cache(maxsize=1)
def market() -> MarketSpec:
    """Return the SIMULATED sample market."""
    return load_market("sample")


@lru_cache(maxsize=1)
def _observations() -> pd.DataFrame:
    rows = simulate(market(), SEED).observations
    return rows[rows["known_at"] < pd.Timestamp("2011-06-01")].reset_index(drop=True)


def observations() -> pd.DataFrame:
    """Return everything published before June 2011; a copy, so that a test may plant what it likes."""
    return _observations().copy()


@lru_cache(maxsize=4)
def dataset(last: np.datetime64 = LAST) -> Dataset:
    """Return the dataset up to a decision day; shared, so nobody may change it."""
    return build_dataset(_observations(), market(), last)


def base(of: Dataset | None = None) -> pd.DataFrame:
    """Return where the heads start on the rows of `dataset`, or on the same rows with other outcomes."""
    return walked().base if of is None else base_frame(of, walked().base)


def volatility(cut: np.datetime64) -> Mapping[str, VolatilityParams | None]:
    """Return the volatility parameters of the bundle in force, before the first those of the first."""
    in_force = [bundle for bundle in walked().bundles if bundle.cut <= cut] or walked().bundles[:1]
    return in_force[-1].volatility


def plan(**changes: Any) -> Plan:
    """Return the small plan; its first three refits calibrate nothing, the fourth does."""
    settings = HeadSettings(
        calibration_dates=60,
        trees=TreeSettings(rounds=6, seeds=2),
        # Few paths of few late years: what is slow is the number of fits. Rows before July 2008 have no scenario set.
        scenarios=ScenarioSettings(paths=1500, min_days=2250, window_days=2400),
    )
    small = Plan(
        settings=settings,
        first_decision=FIRST,
        refit_weeks=26,
        min_weeks=104,
        market_hash=market().config_hash,
        code_version="test",
    )
    return replace(small, **changes)


@lru_cache(maxsize=1)
def walked() -> WalkForward:
    """Return the walk-forward of the small plan, trained in this process."""
    return walk_forward(dataset(), plan(), None, jobs=1)
