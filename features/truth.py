"""True event probabilities of the simulated market, by Monte Carlo of the process itself.

Everything that comes out of here is SIMULATED. No model can know these numbers: they are conditional on the latent
state, and serve as the yardstick of what could be learnt at best.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from features.calendar import TradingCalendar
from features.contracts import EVENTS, HORIZONS, FloatArray, IntArray, read_events
from features.market import MarketSpec
from features.simulation import (
    DRIVERS,
    LOADINGS,
    OWN_NOISE,
    SIZE_VOL,
    Latent,
    Path,
    Shocks,
    advance,
    regimes,
    spans,
    student,
)
from features.states import style_in_force, weekly_sigma

_PATHS = 1000
_BLOCK = 64
"""Decisions evaluated together: keeps the arrays in the processor's cache."""

Innovations = list[tuple[Shocks, FloatArray]]
"""For each day the shocks of all paths and the own noise of every segment."""


def true_probabilities(path: Path, market: MarketSpec, calendar: TradingCalendar, seed: int) -> pd.DataFrame:
    """Compute the true event probabilities of every decision.

    Parameters
    ----------
    path : Path
    market : MarketSpec
    calendar : TradingCalendar
        Starts with the path's first session and reaches some weeks beyond its last.
    seed : int
        Not negative.

    Returns
    -------
    pandas.DataFrame, indexed by (pair, decision_date, horizon_weeks)
        `p_switch, p_large, p_crash` given the full latent state at the decision's close, and the `regime` of the
        decision date. Only decisions with a style in force.

    Information set: the latent state and the prices at the decision's close. The same innovations serve all decisions,
    so that differences between decisions are sharp; they are antithetic, and the level of a probability has a standard
    error below 0.015.
    """
    decisions = calendar.decisions()
    entry = calendar.position(calendar.entries(decisions))
    count = int(np.searchsorted(decisions, path.sessions[-1], side="right"))
    decisions, at = decisions[:count], calendar.position(decisions[:count])
    # Sessions from each decision to its own entry and to the four entries after it.
    offsets = np.stack([entry[week : week + count] for week in range(max(HORIZONS) + 1)], axis=1) - at[:, None]
    span = spans(calendar.sessions)[at[:, None] + np.arange(1, int(offsets.max()) + 1)]
    states = {}
    for name, pair in market.pairs.items():
        x = path.line(pair.large, pair.small)[at]
        sigma = weekly_sigma(x)
        states[name] = sigma, style_in_force(x, sigma)[0]
    noise = _innovations(np.random.default_rng([seed, 2]), span.shape[1])
    chance = np.empty((len(market.pairs), count, len(HORIZONS), len(EVENTS)))
    for start in range(0, count, _BLOCK):
        block = slice(start, start + _BLOCK)
        reached = _walk(path.latent.at(at[block]), offsets[block], span[block], noise)
        for row, (name, pair) in enumerate(market.pairs.items()):
            line = reached[pair.small] - reached[pair.large]
            sigma, style = np.repeat(states[name][0][block], _PATHS), np.repeat(states[name][1][block], _PATHS)
            for column, horizon in enumerate(HORIZONS):
                walked = (line[1 : horizon + 1] - line[0]).reshape(horizon, -1).T
                for event, happened in enumerate(read_events(walked, sigma, style, horizon)):
                    chance[row, block, column, event] = happened.reshape(-1, _PATHS).mean(axis=1)
    index = pd.MultiIndex.from_product(
        [market.pairs, pd.DatetimeIndex(decisions), HORIZONS], names=["pair", "decision_date", "horizon_weeks"]
    )
    frame = pd.DataFrame(chance.reshape(-1, len(EVENTS)), index=index, columns=[f"p_{event}" for event in EVENTS])
    named = regimes(path.latent.at(at))[:, 0]
    frame["regime"] = np.tile(np.repeat(named, len(HORIZONS)), len(market.pairs))
    ruled = np.concatenate([np.repeat(style != 0, len(HORIZONS)) for _, style in states.values()])
    return frame[ruled]


def _innovations(rng: np.random.Generator, days: int) -> Innovations:
    """Draw antithetic innovations: the second half of the paths mirrors the first."""
    half = _PATHS // 2

    def mirrored(draw: FloatArray, centre: float = 0.0) -> FloatArray:
        return np.concatenate([draw, 2.0 * centre - draw], axis=-1)

    return [
        (
            Shocks(
                mirrored(rng.standard_normal((len(DRIVERS), 1, half))),
                mirrored(student(rng, (1, half))),
                mirrored(rng.random((1, half)), 0.5),
            ),
            mirrored(rng.standard_normal((len(LOADINGS), 1, half))),
        )
        for _ in range(days)
    ]


def _walk(latent: Latent, offsets: IntArray, span: FloatArray, noise: Innovations) -> dict[str, FloatArray]:
    """Return each segment's log return over the market up to each entry, shape (entries, decisions, paths)."""
    weeks, points = offsets.shape
    reached = {name: np.zeros((points, weeks, _PATHS)) for name in LOADINGS}
    so_far = {name: np.zeros((weeks, _PATHS)) for name in LOADINGS}
    for day, (shocks, own) in enumerate(noise):
        latent, size, scale = advance(latent, shocks, span[:, day, None])
        for position, (name, loading) in enumerate(LOADINGS.items()):
            if loading == 0.0:
                continue
            so_far[name] += loading * (size + OWN_NOISE * SIZE_VOL * scale * own[position])
            for point in range(points):
                arrived = offsets[:, point] == day + 1
                reached[name][point, arrived] = so_far[name][arrived]
    return reached
