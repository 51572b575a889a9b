"""A simulated size ladder like that of A-shares: a fund wholly in the 2000-tier correlates at 0.9 with micro-caps."""

from __future__ import annotations

import numpy as np
import pandas as pd

from features.contracts import FloatArray

TIERS = ["t300", "t500", "t1000", "t2000", "micro"]
NOISE = 0.003
"""Daily noise of the synthetic funds; what stock picking inside a tier leaves (METHODS 7 does not state its own)."""


def ladder(seed: int, days: int = 480) -> pd.DataFrame:
    """Draw simple daily returns of five tiers: market and size factor, fat tails, bursts of volatility they share."""
    rng = np.random.default_rng(seed)
    calm = np.zeros(days)
    for day in range(1, days):
        calm[day] = 0.95 * calm[day - 1] + 0.15 * rng.standard_normal()
    shocks = rng.standard_t(6, (days, 7)) / np.sqrt(6 / 4) * np.exp(calm)[:, None]
    market, size, own = 0.008 * shocks[:, 0], 0.007 * shocks[:, 1], shocks[:, 2:]
    loading, noise = np.array([-0.2, 0.5, 0.9, 1.0, 1.1]), np.array([0.002, 0.003, 0.0015, 0.0012, 0.0047])
    returns = market[:, None] + size[:, None] * loading + own * noise
    return pd.DataFrame(returns, columns=TIERS, index=pd.bdate_range("2020-01-01", periods=days, name="date"))


def fund_of(tiers: pd.DataFrame, weights: list[float], seed: int, noise: float = NOISE) -> FloatArray:
    """Mix the tiers and add noise with fat tails."""
    # A stream of its own: with that of `ladder` the noise would be made of the tiers' shocks.
    rng = np.random.default_rng([seed, 1])
    wobble = rng.standard_t(5, len(tiers)) / np.sqrt(5 / 3)
    return np.asarray(tiers.to_numpy() @ np.array(weights) + noise * wobble)


ONLY_2000 = [0.0, 0.0, 0.0, 1.0, 0.0]
FIFTH_MICRO = [0.0, 0.0, 0.0, 0.8, 0.2]
