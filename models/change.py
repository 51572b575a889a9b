"""Why a probability moved between two decisions: data moved, data revised, model retrained, recalibrated.

Ordered substitution (DESIGN section 1): one thing is exchanged after the other, and what the log-odds do at each step
is that thing's part. The parts telescope, so they add up to the whole change, and so do those of every family of
drivers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal, get_args

import numpy as np
import pandas as pd
from scipy.special import expit
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from features.contracts import HORIZONS, Dataset, Event
from features.errors import BundleError
from models.base import base_frame
from models.bundle import Bundle
from models.explain import explain, probability_points
from models.implied import implied_probabilities

Step = Literal["moved", "revised", "retrained", "recalibrated"]
STEPS: tuple[Step, ...] = get_args(Step)
BASE = "base"
"""Family of the base rate, from which the log-odds start."""


@dataclass(frozen=True, eq=False)
class State:
    """A model on data, at the data's last decision."""

    bundle: Bundle
    dataset: Dataset

    @property
    def day(self) -> np.datetime64:
        """The decision that is explained."""
        day: np.datetime64 = self.dataset.clock.index.to_numpy("datetime64[us]")[-1]
        return day


@dataclass(frozen=True)
class StepChange:
    """What one step does to one probability.

    Parameters
    ----------
    step : Step
    log_odds, points : float
        Change of the log-odds and of the probability (fraction).
    families : mapping of family to float
        The log-odds by family; they add up to `log_odds`. Beside families of features: ``base`` (the base rate),
        ``intercept``, ``calibration`` and ``coherence``.
    family_points : mapping of family to float
        The same as shares of `points`.
    """

    step: Step
    log_odds: float
    points: float
    families: Mapping[str, float]
    family_points: Mapping[str, float]


@dataclass(frozen=True)
class EventChange:
    """One probability at two decisions and the steps between; `before` and `after` are fractions."""

    pair: str
    horizon_weeks: int
    event: Event
    before: float
    after: float
    log_odds_before: float
    log_odds_after: float
    steps: tuple[StepChange, ...]

    def families(self) -> dict[str, float]:
        """Return each family's probability points over all steps; they add up to `after` - `before`."""
        names = self.steps[0].family_points
        return {name: math.fsum(step.family_points[name] for step in self.steps) for name in names}


def recalibrated_as(new: Bundle, old: Bundle) -> Bundle:
    """Return a bundle with the calibration of an older one: pool weight and slope of every head.

    All else that a refit learns is retraining: scaler, linear part, trees, GARCH parameters and the start that the
    heads take from the scenario set.
    """
    return replace(
        new,
        heads={
            key: replace(head, pool=old.heads[key].pool, slope=old.heads[key].slope) for key, head in new.heads.items()
        },
    )


def decompose(states: Sequence[State], pairs: Sequence[str]) -> list[EventChange]:
    """Split the change of every event of some pairs.

    Parameters
    ----------
    states : sequence of State, length 5
        The first decision as it was; the second with the old bundle and unrevised data; with revised data; with the new
        bundle calibrated as the old one (`recalibrated_as`); as it is. A state that equals the one before may be the
        same object, and costs nothing.
    pairs : sequence of str
        Pairs with a row at the last decision of every state.

    Returns
    -------
    list of EventChange
        By pair, horizon and event.

    Raises
    ------
    BundleError
        If there are not five states, or a bundle is of another catalogue.
    LookAheadError
        If a bundle is later than its day.

    Information set: of each state, rows with known_at <= its decision.
    """
    if len(states) != len(STEPS) + 1:
        raise BundleError(f"`states` must be {len(STEPS) + 1}, one more than the steps; got {len(states)}")
    parts: dict[int, dict[tuple[str, int, Event], dict[str, float]]] = {}
    with threadpool_limits(1, "blas"):
        for state in states:
            if id(state) not in parts:
                parts[id(state)] = _parts(state, pairs)
    changes = []
    for key in parts[id(states[0])]:
        along = [parts[id(state)][key] for state in states]
        # A family that only one of two catalogues knows adds nothing to the other.
        names = list(dict.fromkeys(name for families in along for name in families))
        levels = [math.fsum(families.values()) for families in along]
        steps = tuple(
            _step(step, {name: new.get(name, 0.0) - old.get(name, 0.0) for name in names}, ends)
            for step, (old, new), ends in zip(STEPS, pairwise(along), pairwise(levels), strict=True)
        )
        p = expit(np.array(levels))
        changes.append(EventChange(*key, float(p[0]), float(p[-1]), levels[0], levels[-1], steps))
    return changes


def _step(step: Step, families: dict[str, float], ends: tuple[float, float]) -> StepChange:
    before, after = (np.array([end]) for end in ends)
    shares = probability_points(before, after, np.array([list(families.values())]))[0]
    points = float((expit(after) - expit(before))[0])
    return StepChange(step, ends[1] - ends[0], points, families, dict(zip(families, shares.tolist(), strict=True)))


def _parts(state: State, pairs: Sequence[str]) -> dict[tuple[str, int, Event], dict[str, float]]:
    """Log-odds of every probability of a state by family, the base rate among them."""
    bundle, dataset, day = state.bundle, state.dataset, state.day
    rows = pd.MultiIndex.from_product([list(pairs), [pd.Timestamp(day)]], names=["pair", "decision_date"])
    volatility = {bundle.cut: bundle.volatility}
    implied = implied_probabilities(dataset, volatility, np.array([day]), bundle.settings.scenarios)
    base = base_frame(dataset, implied)
    found: dict[tuple[str, int, Event], dict[str, float]] = {}
    for horizon in HORIZONS:
        for event, told in explain(bundle, dataset, rows, base, horizon).items():
            for place, pair in enumerate(pairs):
                families = dict.fromkeys(told.families, 0.0)
                for name in families:
                    own = [family == name for family in told.families]
                    families[name] = math.fsum(told.contributions[place, own].tolist())
                found[pair, horizon, event] = {BASE: float(told.base[place]), **families}
    return found
