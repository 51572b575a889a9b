"""Settings of the heads: one frozen object whose hash goes into every bundle."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field

from features.contracts import Event
from models.volatility import ScenarioSettings


@dataclass(frozen=True)
class TreeSettings:
    """LightGBM on top of the linear part: trees of one split, heavily shrunk."""

    rounds: int = 60
    seeds: int = 20
    num_leaves: int = 2
    max_depth: int = 1
    learning_rate: float = 0.02
    min_data_in_leaf: int = 60
    feature_fraction: float = 0.4
    bagging_fraction: float = 0.7
    lambda_l2: float = 20.0
    path_smooth: float = 20.0
    max_bin: int = 31


@dataclass(frozen=True)
class HeadSettings:
    """Everything that decides what a head learns from given data.

    Penalties are in units of independent weeks: rows are weighted by uniqueness (1 / horizon, shared between the pairs
    of a date) and by an exponential decay. Those of linear part and trees are for four weeks: what drifts moves the
    log-odds like the root of the horizon, so at one week effects are half as large and penalties four times as high,
    those of pool weight and calibration slope included.
    """

    ridge_penalty: float = 100.0
    """Of the composites of single families: many noisy drivers."""
    drivers_penalty: float = 15.0
    """Of what all drivers say together."""
    states_penalty: float = 25.0
    """Of the causal states: few, and read off the pair's own line."""
    soft_direction: bool = True
    """Whether the direction is learned from how clearly large won (`models.heads.soft_direction`), not from who won."""
    halflife_years: float = 8.0
    winsor: float = 3.0
    scenario_prior: float = 0.75
    """Slope towards which the Platt of the implied log-odds is shrunk: the raw set over-reacts to bursts."""
    scenario_prior_large: float = 0.0
    """The same for the direction, on which a set without drift has no opinion."""
    scenario_penalty: float = 20.0
    pool_penalty: float = 20.0
    platt_slope_penalty: float = 20.0
    calibration_dates: int = 208
    band: float = 1.2815515655446004
    """Normal quantile of the 80% band."""
    trees: TreeSettings = field(default_factory=TreeSettings)
    scenarios: ScenarioSettings = field(default_factory=ScenarioSettings)

    def prior(self, event: Event) -> float:
        """Return the slope towards which an event's Platt of the implied log-odds is shrunk."""
        return self.scenario_prior_large if event == "large" else self.scenario_prior

    @property
    def config_hash(self) -> str:
        """Digest of the settings."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:16]
