"""The leak audit of the scenario sets: volatility, paths and levels recomputed on what was known at a cut.

Like `tests.leak.audit` one function, for the real code and for planted leaks. Volatility is fitted at a few of the cuts
only, because a fit takes long; what goes into it is compared at all of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from features.contracts import Dataset, TimeArray
from features.dataset import build_dataset
from features.market import MarketSpec
from models.curve import GRID, LEVELS
from models.implied import implied_probabilities
from models.memory import Key, Memory
from models.tails import RowTail, tail_frame
from models.volatility import Component, ScenarioSettings, components
from tests.leak.audit import Leak, differences
from tests.models.closes import PARAMS
from training.volatility import fit_volatilities

SETTINGS = ScenarioSettings(paths=200, min_days=150, window_days=300)
FITTED = 10
"""One cut in so many is fitted."""
WEEKS = 20
"""Weeks before each cut whose outcomes move the level."""


def held(dataset: Dataset, cut: np.datetime64) -> dict[str, Component]:
    """Return what volatility is fitted to at a cut."""
    at = dataset.clock["decision_at"].loc[pd.Timestamp(cut)].to_datetime64()
    return components(dataset.closes, dataset.segments, at, cut)


def volatility(dataset: Dataset, cut: np.datetime64) -> pd.DataFrame:
    """Return the parameters of every segment at a cut; missing where the history is too short."""
    fitted = fit_volatilities(dataset, np.array([cut]), SETTINGS, jobs=1)[cut]
    rows = {name: {} if params is None else vars(params) for name, params in fitted.items()}
    index = pd.MultiIndex.from_product([rows, [pd.Timestamp(cut)]], names=["segment", "decision_date"])
    return pd.DataFrame(list(rows.values()), index=index, dtype=np.float64)


def implied(dataset: Dataset, days: TimeArray) -> pd.DataFrame:
    """Return what the sets of some days imply, parameters being given."""
    refits = {dataset.clock.index[0].to_datetime64(): dict.fromkeys(dataset.segments, PARAMS)}
    return implied_probabilities(dataset, refits, days, SETTINGS)


def levels(dataset: Dataset, days: TimeArray) -> pd.DataFrame:
    """Return the tails of made-up curves at the corrected level."""
    curves: dict[Key, RowTail] = {}
    chosen = dataset.rows[dataset.rows.index.get_level_values("decision_date").isin(days)]
    for (pair, day), width in chosen["sigma"].items():
        # One pair and the longer horizon: its outcomes take longest to mature.
        if pair == dataset.pairs[0].name:
            quantiles = 2 * float(width) * (LEVELS**0.4 - 1.0)
            both = np.stack([np.stack([quantiles, 1.2 * quantiles])] * 2)
            curves[str(pair), day, 4] = RowTail(both, both, np.zeros((2, len(GRID))), 900.0, np.zeros(3), ())
    return tail_frame(dataset, Memory.empty(), curves)


@dataclass(frozen=True)
class ScenarioPipeline:
    """What is audited: what volatility is fitted to, the fit, the sets, and the level at which they are read."""

    held: Callable[[Dataset, np.datetime64], dict[str, Component]] = held
    volatility: Callable[[Dataset, np.datetime64], pd.DataFrame] = volatility
    implied: Callable[[Dataset, TimeArray], pd.DataFrame] = implied
    levels: Callable[[Dataset, TimeArray], pd.DataFrame] = levels


def cut_short(market: MarketSpec, observations: pd.DataFrame, cuts: TimeArray) -> list[Dataset]:
    """Build the data set of what was known at each cut."""
    at = build_dataset(observations, market, cuts[-1]).clock["decision_at"]
    known = [observations[observations["known_at"] <= at.loc[pd.Timestamp(cut)]] for cut in cuts[:-1]]
    return [build_dataset(rows, market, cut) for rows, cut in zip(known, cuts[:-1], strict=True)]


def audit_scenarios(full: Dataset, shorts: list[Dataset], pipeline: ScenarioPipeline, parts: set[str]) -> list[Leak]:
    """Compare parts of the scenario sets with their recomputation at every cut.

    Parameters
    ----------
    full : Dataset
    shorts : list of Dataset
        As `cut_short` builds them, each ending at its cut.
    pipeline : ScenarioPipeline
    parts : set of str
        Of `held`, `volatility`, `implied`, `level`.
    """
    leaks = []
    for place, short in enumerate(shorts):
        weeks = short.clock.index.to_numpy("datetime64[us]")
        cut, days = weeks[-1], weeks[-WEEKS:]
        days = days[np.isin(days, short.rows.index.get_level_values("decision_date"))]
        pairs: list[tuple[str, pd.DataFrame, pd.DataFrame]] = []
        if "held" in parts:
            pairs.append(("held", _table(pipeline.held(full, cut)), _table(pipeline.held(short, cut))))
        if "volatility" in parts and place % FITTED == FITTED // 2:
            pairs.append(("volatility", pipeline.volatility(full, cut), pipeline.volatility(short, cut)))
        if "implied" in parts:
            pairs.append(("implied", pipeline.implied(full, days[-2:]), pipeline.implied(short, days[-2:])))
        if "level" in parts:
            pairs.append(("level", pipeline.levels(full, days), pipeline.levels(short, days)))
        for part, one, other in pairs:
            leaks += differences(part, one, other, pd.Timestamp(cut))
    return leaks


def _table(parts: dict[str, Component]) -> pd.DataFrame:
    frames = {name: pd.DataFrame({"change": part.changes}, index=part.dates) for name, part in parts.items()}
    return pd.concat(frames, names=["segment", "decision_date"])
