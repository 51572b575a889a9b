"""Simulated forecasts for the gate: what is true is known, so who must pass and who must not is known too."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.special import expit, logit

from features.contracts import EVENTS

KEYS = ["pair", "decision_date", "horizon_weeks"]
BASE = {"switch": 0.3, "large": 0.5, "crash": 0.2}
WEEKS = 52 * 12
PAIRS = ("a-b", "a-c")


def world(seed: int = 0, signal: float = 0.45, weeks: int = WEEKS) -> pd.DataFrame:
    """Outcomes whose log-odds move with a slow signal; overlapping weeks and pairs of a date share most of their luck.

    `truth_X` holds the true log-odds beyond the base rate.
    """
    rng = np.random.default_rng(seed)
    dates = np.datetime64("2007-01-05", "us") + np.timedelta64(7, "D") * np.arange(weeks)
    state = {event: _slow(rng, weeks) for event in EVENTS}
    frames = []
    for horizon in (1, 4):
        shared = {event: _slow(rng, weeks, 1 - 1 / horizon) for event in EVENTS}
        for pair in PAIRS:
            frame = pd.DataFrame({"pair": pair, "decision_date": dates, "horizon_weeks": horizon})
            for event in EVENTS:
                truth = signal * state[event]
                luck = 0.6 * shared[event] + 0.8 * _slow(rng, weeks, 1 - 1 / horizon)
                uniform = _normal_cdf(luck)
                frame[f"p_{event}_base"] = BASE[event]
                frame[f"truth_{event}"] = truth
                frame[f"y_{event}"] = (uniform < expit(logit(BASE[event]) + truth)).astype(np.float64)
            frames.append(frame)
    return pd.concat(frames, ignore_index=True)


def told(of: pd.DataFrame, share: float | np.ndarray = 1.0, noise: float = 0.0, seed: int = 1) -> pd.DataFrame:
    """Return the walk-forward of a model that sees `share` of the truth, and `noise` besides."""
    rng = np.random.default_rng(seed)
    frame = of.copy()
    for event in EVENTS:
        wrong = noise * rng.normal(size=len(of))
        frame[f"p_{event}"] = expit(logit(BASE[event]) + share * of[f"truth_{event}"].to_numpy() + wrong)
    return frame


def baselines(of: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Climatology, and a rule that sees a little of the truth and more noise."""
    models = {"climatology": told(of, 0.0), "rule": told(of, 0.2, 0.1, seed=7)}
    return {name: frame.set_index(KEYS)[[f"p_{event}" for event in EVENTS]] for name, frame in models.items()}


def _slow(rng: np.random.Generator, n: int, memory: float = 0.8) -> np.ndarray:
    """Standard normal values with a memory."""
    shocks = rng.normal(size=n)
    out = np.empty(n)
    out[0] = shocks[0]
    for at in range(1, n):
        out[at] = memory * out[at - 1] + np.sqrt(1 - memory**2) * shocks[at]
    return out


def _normal_cdf(x: np.ndarray) -> np.ndarray:
    from scipy.stats import norm

    return norm.cdf(x)
