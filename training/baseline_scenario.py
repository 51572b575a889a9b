"""Baselines from the scenario set, as the untilted paths say it and through the shrunk logit."""

from __future__ import annotations

import numpy as np
import pandas as pd

from features.contracts import EVENTS
from training.baseline_logit import Inputs, walk_logit
from training.scores import log_odds


def forecast_scenario_set(inputs: Inputs) -> pd.DataFrame | None:
    """Say what the untilted scenario set implies, the base rate where there is none; None without any set.

    Information set: closes with known_at <= the decision; volatility parameters of an earlier cut.
    """
    if inputs.implied is None:
        return None
    columns = {}
    for event in EVENTS:
        implied = inputs.implied[f"{event}_implied"].to_numpy(np.float64)
        columns[f"p_{event}"] = np.where(np.isfinite(implied), implied, inputs.rate(event))
    return pd.DataFrame(columns, index=inputs.base.index)


def forecast_scenario_logit(inputs: Inputs) -> pd.DataFrame | None:
    """Forecast with the shrunk logit on the set's log-odds beyond the base rate; see `walk_logit`."""
    if inputs.implied is None:
        return None
    beyond = {
        event: (_odds(inputs.implied[f"{event}_implied"].to_numpy(np.float64)) - log_odds(inputs.rate(event)))[:, None]
        for event in EVENTS
    }
    return walk_logit(inputs, lambda cut: beyond)


def _odds(p: np.ndarray) -> np.ndarray:
    return np.where(np.isfinite(p), log_odds(p), np.nan)
