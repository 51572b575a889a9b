"""Filtered historical simulation of all size segments at once (Barone-Adesi, Giannopoulos and Vosper 1999).

Standardised residuals are drawn jointly, in circular blocks of days, and sent through every component's own volatility
recursion; the sessions between decision and entry move the volatility and carry no profit or loss.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce

import numpy as np

from features.contracts import HORIZONS, BoolArray, Event, FloatArray, TimeArray, read_events
from features.errors import DataContractError
from models.scenarios import ScenarioSet
from models.schedule import day_text
from models.volatility import Component, ScenarioSettings, VolatilityParams, filter_volatility

WEEKS = max(HORIZONS)


@dataclass(frozen=True)
class Timing:
    """Sessions of one decision: `gap` to the entry, then from entry to each of the next weekly entries (`points`)."""

    day: np.datetime64
    gap: int
    points: tuple[int, ...]
    sessions: TimeArray

    @property
    def exits(self) -> dict[int, int]:
        """Sessions from entry to exit of each horizon."""
        return {horizon: self.points[horizon - 1] for horizon in HORIZONS}


def timing(sessions: TimeArray, day: np.datetime64) -> Timing:
    """Read a decision's entry and the next four entries off the exchange's sessions.

    A decision is the last session of an ISO week, its entry the next session; weeks without a session do not exist.

    Raises
    ------
    DataContractError
        If the day is no decision, or the sessions end before the longest horizon does.
    """
    week = (sessions.astype("datetime64[D]").astype(np.int64) + 3) // 7
    last = np.flatnonzero(week[1:] != week[:-1])
    place = int(np.searchsorted(sessions, day))
    first = int(np.searchsorted(last, place))
    if first + WEEKS >= len(last) or last[first] != place or sessions[place] != day:
        raise DataContractError(f"{day_text(day)} is no decision day with {WEEKS} weeks of sessions after it")
    entries = last[first : first + WEEKS + 1] + 1
    points = tuple(int(entry - entries[0]) for entry in entries[1:])
    return Timing(day, int(entries[0] - place), points, sessions[entries[0] + 1 : entries[-1] + 1])


def simulate(
    held: Mapping[str, Component],
    volatility: Mapping[str, VolatilityParams | None],
    when: Timing,
    settings: ScenarioSettings,
) -> ScenarioSet | None:
    """Draw the untilted scenario set of a decision; every path weighs the same.

    Parameters
    ----------
    held : mapping of segment to Component
        As `models.volatility.components` returns them, the largest segment first.
    volatility : mapping of segment to VolatilityParams or None
        Fitted at a refit not later than the decision. A segment enters with `min_days` days that all which enter have
        in common, the decision day among them.
    when : Timing
    settings : ScenarioSettings

    Returns
    -------
    ScenarioSet or None
        None if the largest segment or all others cannot enter. Same input, same bytes.

    Raises
    ------
    DataContractError
        If the horizon has more sessions than `max_steps`.

    Information set: the components, which end at the decision.
    """
    steps = when.points[-1]
    if when.gap + steps > settings.max_steps:
        raise DataContractError(f"`max_steps` must be at least {when.gap + steps} sessions; got {settings.max_steps}")
    windows = {
        segment: Component(part.dates[-settings.window_days :], part.changes[-settings.window_days :])
        for segment, part in held.items()
        if volatility.get(segment) is not None and len(part.changes) >= settings.min_days and part.dates[-1] == when.day
    }
    base = next(iter(held), "")
    while len(windows) > 1 and len(common := _common_days(windows)) < settings.min_days:
        windows.pop(min((name for name in windows if name != base), key=lambda name: len(windows[name].dates)))
    if base not in windows or len(windows) < 2:
        return None
    fitted = [params for name in windows if (params := volatility[name]) is not None]
    residuals, now = _standardised(windows, fitted, common)
    # A block that starts near the end goes on at the beginning.
    pool = np.concatenate([residuals, residuals[:, : settings.block - 1]], axis=1)
    omega, alpha, gamma, beta = (
        np.array([getattr(params, name) for params in fitted])[:, None] for name in ("omega", "alpha", "gamma", "beta")
    )
    growth = beta + np.where(pool < 0, alpha + gamma, alpha) * np.abs(pool)
    omega = omega / 100.0
    rng = np.random.Generator(np.random.PCG64([settings.seed, zlib.crc32(day_text(when.day).encode())]))
    starts = rng.integers(len(common), size=((when.gap + steps - 1) // settings.block + 1, settings.paths))
    level = np.repeat(now[:, None], settings.paths, axis=1)
    reached = np.zeros_like(level)
    paths = np.zeros((steps + 1, len(fitted), settings.paths), dtype=np.float32)
    for day in range(when.gap + steps):
        drawn = starts[day // settings.block] + day % settings.block
        if day >= when.gap:
            reached += level * pool.take(drawn, axis=1)
            place = paths[day - when.gap + 1]
            place[:] = reached
            # Every other component is a spread to the largest segment.
            place[1:] += place[0]
        level *= growth.take(drawn, axis=1)
        level += omega
    weights = np.full(settings.paths, 1.0 / settings.paths)
    return ScenarioSet(tuple(windows), when.sessions, when.exits, paths, weights)


def _common_days(windows: Mapping[str, Component]) -> TimeArray:
    dates = [part.dates for part in windows.values()]
    if all(np.array_equal(own, dates[0]) for own in dates[1:]):
        return dates[0]
    return reduce(np.intersect1d, dates)


def _standardised(
    windows: Mapping[str, Component], fitted: list[VolatilityParams], common: TimeArray
) -> tuple[FloatArray, FloatArray]:
    """Residuals of all components on their common days, shape (k, days), and the volatility of the next day, (k,)."""
    residuals, now = [], []
    for part, params in zip(windows.values(), fitted, strict=True):
        level = filter_volatility(params, part.changes)
        residuals.append((part.changes / level[:-1])[np.searchsorted(part.dates, common)])
        now.append(level[-1])
    return np.array(residuals), np.array(now)


@dataclass(frozen=True)
class PairState:
    """What the events of a pair are measured by at a decision: segments, `sigma` (weekly log units) and `style`."""

    large: str
    small: str
    sigma: float
    style: int


def path_events(
    scenarios: ScenarioSet, state: PairState, points: tuple[int, ...], horizon: int
) -> dict[Event, BoolArray]:
    """Say for every path which events of a pair happen within a horizon, each of shape (n,)."""
    small, large = scenarios.position(state.small), scenarios.position(state.large)
    line = np.empty((horizon, len(scenarios.weights)))
    for week, point in enumerate(points[:horizon]):
        line[week] = scenarios.paths[point, small] - scenarios.paths[point, large]
    sigma, style = np.array([state.sigma]), np.array([state.style], dtype=np.int64)
    switch, wins, crash = read_events(line.T, sigma, style, horizon)
    return {"switch": switch, "large": wins, "crash": crash}


def spread_returns(scenarios: ScenarioSet, state: PairState, horizon: int) -> FloatArray:
    """Return small minus large over a horizon, log return, shape (n,)."""
    small, large = scenarios.position(state.small), scenarios.position(state.large)
    end = scenarios.paths[scenarios.exits[horizon]]
    # In the precision of the paths, like every number that is read off them.
    returns: FloatArray = (end[small] - end[large]).astype(np.float64)
    return returns
