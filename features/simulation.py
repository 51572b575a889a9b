"""The process behind the simulated market, its known regimes and its known event probabilities.

Everything that comes out of here is SIMULATED. Six latent drivers move slowly. Three of them (`recovery`, `inflow`,
`easing`) push the drift of one common size factor; three (`crowding`, `leverage`, `dryup`) set the hazard that a crowd
in small caps unwinds. The size factor has a clustering variance and fat tails; each small segment follows it with its
own loading and its own noise. `advance` is the only description of a day: the history is one path of it, and the true
probabilities are Monte-Carlo averages over many paths of the very same function, started from the latent state.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from features.calendar import TradingCalendar
from features.contracts import EVENTS, HORIZONS, BoolArray, FloatArray, IntArray, TimeArray
from features.market import MarketSpec
from features.outcomes import events
from features.states import style_in_force, weekly_sigma

SIMULATED = "SIMULATED"
"""The word that every product of the simulated market carries."""

Driver = Literal["recovery", "inflow", "easing", "crowding", "leverage", "dryup"]
Regime = Literal["calm", "crowded", "unwinding", "large-led"]

DRIVERS: tuple[Driver, ...] = ("recovery", "inflow", "easing", "crowding", "leverage", "dryup")
_HALFLIFE_WEEKS = np.array([20.0, 18.0, 20.0, 16.0, 14.0, 14.0])
_KEEP = 0.5 ** (1.0 / (5.0 * _HALFLIFE_WEEKS))
_PULL = np.array([-0.45, -0.45, 0.45, -0.35, -0.35, -0.35])
"""Weight of each driver in the drift of the size factor."""
_STRAIN = np.array([0.0, 0.0, 0.0, 0.65, 0.55, 0.55])
"""Weight of each driver in the log hazard of an unwinding."""
_ACTS = np.stack([_PULL, _STRAIN])
_ADAPT = 1.0 - 0.5 ** (1.0 / 18.0)
_CROWDING = DRIVERS.index("crowding")

SIZE_VOL = 0.0075
"""Long-run daily volatility of the size factor, log units."""
MARKET_VOL = 0.0140
LOADINGS: Mapping[str, float] = {"s300": 0.0, "s500": 0.55, "s1000": 0.75, "s2000": 0.85, "micro": 1.0}
"""Loading of each segment on the size factor."""
OWN_NOISE = 1.0
"""Own volatility of a segment as a share of its loading times `SIZE_VOL`."""
_DRIFT = 0.107
"""Daily drift of the size factor in units of `SIZE_VOL` for a pull of one."""
_PREMIUM = 0.035
_HAZARD = 1.0 / 380.0
_ALPHA, _BETA, _DEGREES = 0.02, 0.955, 8.0
_CROWDED, _LARGE_LED = 1.0, -0.6
_UNWIND_DRIFT, _UNWIND_VOL, _UNWIND_END, _UNWIND_RELIEF = -0.70, 1.0, 1.0 / 5.0, 0.12


@dataclass(frozen=True, eq=False)
class Latent:
    """The full latent state at a close: everything that the law of the future depends on.

    Parameters
    ----------
    drivers : array, shape (6, ...)
        In the order of `DRIVERS`, each with a long-run variance near one.
    variance : array, shape (...)
        Of the size factor's next day, relative to `SIZE_VOL` squared.
    unwinding : array of bool, shape (...)
        Whether a crowd is unwinding.
    """

    drivers: FloatArray
    pressure: FloatArray
    variance: FloatArray
    unwinding: BoolArray

    def rows(self, index: IntArray | slice) -> Latent:
        """Return some of the times of a history of states, shape (..., 1) to be broadcast against paths."""
        return Latent(
            self.drivers[:, index, None], self.pressure[:, index, None], self.variance[index, None], self.unwinding[index, None].astype(np.bool_)
        )


@dataclass(frozen=True, eq=False)
class Shocks:
    """One day's innovations: standard normals of the drivers, the size factor's unit-variance t and a uniform."""

    drivers: FloatArray
    size: FloatArray
    event: FloatArray


def pull(latent: Latent) -> FloatArray:
    """Return what pushes the size factor: positive favours small caps."""
    return latent.pressure[0]


def strain(latent: Latent) -> FloatArray:
    """Return the log of the hazard of an unwinding relative to its base."""
    return latent.pressure[1]


def advance(latent: Latent, shocks: Shocks) -> tuple[Latent, FloatArray, FloatArray]:
    """Move one day.

    Returns
    -------
    latent : Latent
        The state at the next close.
    size : array
        Return of the size factor over the day, log units.
    scale : array
        Volatility of the day, in units of the long-run volatility; it also scales each segment's own noise.
    """
    begins = shocks.event < _HAZARD * np.exp(np.minimum(strain(latent), 3.0))
    unwinding = np.where(latent.unwinding, shocks.event > _UNWIND_END, begins)
    scale = np.sqrt(latent.variance) * np.where(unwinding, _UNWIND_VOL, 1.0)
    drift = np.where(unwinding, _UNWIND_DRIFT, _PREMIUM + _DRIFT * pull(latent))
    surprise = scale * shocks.size
    shape = (-1,) + (1,) * (latent.drivers.ndim - 1)
    keep = _KEEP.reshape(shape)
    noise = np.sqrt(1.0 - keep**2) * shocks.drivers
    # Small caps that run attract the crowd; an unwinding drives it out.
    drivers = keep * latent.drivers + noise
    drivers[_CROWDING] = (
        keep[_CROWDING] * latent.drivers[_CROWDING]
        + 0.8 * noise[_CROWDING]
        + 0.6 * np.sqrt(1.0 - keep[_CROWDING] ** 2) * surprise
        - _UNWIND_RELIEF * unwinding
    )
    variance = (1.0 - _ALPHA - _BETA) + _ALPHA * np.minimum(surprise**2, 16.0) + _BETA * latent.variance
    pressure = latent.pressure + _ADAPT * (np.tensordot(_ACTS, drivers, axes=1) - latent.pressure)
    return Latent(drivers, pressure, variance, unwinding), SIZE_VOL * (drift + surprise), scale


@dataclass(frozen=True, eq=False)
class Path:
    """One simulated history.

    Parameters
    ----------
    sessions : array of datetime64[us], shape (n,)
    latent : Latent
        State at each close; drivers have shape (6, n).
    returns : dict of segment to array, shape (n,)
        Daily log returns.
    """

    sessions: TimeArray
    latent: Latent
    returns: Mapping[str, FloatArray]

    def line(self, large: str, small: str) -> FloatArray:
        """Return log(small) - log(large) at each close."""
        return np.cumsum(self.returns[small] - self.returns[large])


def generate(sessions: TimeArray, seed: int) -> Path:
    """Draw one history, deterministic in `seed`."""
    rng = np.random.default_rng([seed, 1])
    n = len(sessions)
    normals = rng.standard_normal((n, len(DRIVERS)))
    size = _student(rng, (n,))
    events = rng.random(n)
    start = 0.7 * rng.standard_normal(len(DRIVERS))
    latent = Latent(start, _ACTS @ start, np.array(1.0), np.array(False))
    pressure = np.empty((2, n))
    drivers, variance, unwinding = np.empty((len(DRIVERS), n)), np.empty(n), np.empty(n, dtype=np.bool_)
    factor, scale = np.empty(n), np.empty(n)
    for day in range(n):
        latent, factor[day], scale[day] = advance(latent, Shocks(normals[day], size[day], events[day]))
        pressure[:, day] = latent.pressure
        drivers[:, day], variance[day], unwinding[day] = latent.drivers, latent.variance, latent.unwinding
    market = _market(rng, unwinding)
    returns = {name: market + loading * factor for name, loading in LOADINGS.items()}
    for name, loading in LOADINGS.items():
        returns[name] = returns[name] + OWN_NOISE * loading * SIZE_VOL * scale * rng.standard_normal(n)
    return Path(sessions, Latent(drivers, pressure, variance, unwinding), returns)


def _student(rng: np.random.Generator, shape: tuple[int, ...]) -> FloatArray:
    return rng.standard_t(_DEGREES, shape) * np.sqrt((_DEGREES - 2.0) / _DEGREES)


def _market(rng: np.random.Generator, unwinding: BoolArray) -> FloatArray:
    """Return the common market: clustering variance, fat tails, weak while a crowd unwinds."""
    shocks = _student(rng, unwinding.shape)
    returns, variance = np.empty(len(shocks)), 1.0
    for day, shock in enumerate(shocks):
        surprise = np.sqrt(variance) * shock
        returns[day] = MARKET_VOL * (0.02 + surprise - 0.25 * unwinding[day])
        variance = 0.02 + 0.07 * min(surprise**2, 16.0) + 0.91 * variance
    return returns


_PATHS = 1000
_BLOCK = 64
"""Decisions evaluated together: keeps the arrays in the processor's cache."""


def true_probabilities(path: Path, market: MarketSpec, calendar: TradingCalendar, seed: int) -> pd.DataFrame:
    """Compute the true event probabilities of every decision by Monte Carlo of the process itself.

    Parameters
    ----------
    path : Path
    market : MarketSpec
    calendar : TradingCalendar
        Must reach some weeks beyond the last decision.
    seed : int

    Returns
    -------
    pandas.DataFrame, indexed by (pair, decision_date, horizon_weeks)
        `p_switch, p_large, p_crash` given the full latent state at the decision's close, and `regime`. Only decisions
        with a style in force. The same innovations serve all decisions, so that differences between them are sharp.
    """
    decisions = calendar.decisions()
    ahead = calendar.position(calendar.entries(decisions))
    count = int(np.searchsorted(decisions, path.sessions[-1], side="right"))
    decisions, at = decisions[:count], calendar.position(decisions[:count])
    # Days from each decision to its entry and to the following four entries.
    offsets = np.stack([ahead[week : week + count] for week in range(max(HORIZONS) + 1)], axis=1) - at[:, None]
    states = {}
    for name, pair in market.pairs.items():
        x = path.line(pair.large, pair.small)[at]
        sigma = weekly_sigma(x)
        states[name] = sigma, style_in_force(x, sigma)[0]
    noise = _noise(np.random.default_rng([seed, 2]), int(offsets.max()), len(LOADINGS))
    chance = np.empty((len(market.pairs), count, len(HORIZONS), len(EVENTS)))
    for start in range(0, count, _BLOCK):
        block = slice(start, start + _BLOCK)
        entered = _entry_returns(path.latent.rows(at[block]), offsets[block], noise)
        for row, (name, pair) in enumerate(market.pairs.items()):
            line = entered[pair.small] - entered[pair.large]
            sigma, style = (np.repeat(part[block], _PATHS) for part in states[name])
            for column, horizon in enumerate(HORIZONS):
                walk = (line[1 : horizon + 1] - line[0]).reshape(horizon, -1).T
                for event, happened in enumerate(events(walk, sigma, style, horizon)):
                    chance[row, block, column, event] = happened.reshape(-1, _PATHS).mean(axis=1)
    regime = regimes(Latent(path.latent.drivers[:, at], path.latent.pressure[:, at], path.latent.variance[at], path.latent.unwinding[at]))
    index = pd.MultiIndex.from_product(
        [market.pairs, pd.DatetimeIndex(decisions), HORIZONS], names=["pair", "decision_date", "horizon_weeks"]
    )
    frame = pd.DataFrame(chance.reshape(-1, len(EVENTS)), index=index, columns=[f"p_{event}" for event in EVENTS])
    frame["regime"] = np.tile(np.repeat(regime, len(HORIZONS)), len(market.pairs))
    ruled = np.concatenate([np.repeat(style != 0, len(HORIZONS)) for _, style in states.values()])
    return frame[ruled]


def regimes(latent: Latent) -> npt.NDArray[np.str_]:
    """Name the regime of each latent state: unwinding before crowded before large-led before calm."""
    crowded, led = strain(latent) > _CROWDED, pull(latent) < _LARGE_LED
    names: list[Regime] = ["unwinding", "crowded", "large-led"]
    return np.select([latent.unwinding, crowded, led], names, default="calm")


def _noise(rng: np.random.Generator, days: int, segments: int) -> list[tuple[Shocks, FloatArray]]:
    """Draw antithetic innovations of `days` days for `_PATHS` paths: shocks and each segment's own noise."""
    half = _PATHS // 2

    def mirrored(draw: FloatArray, centre: float = 0.0) -> FloatArray:
        return np.concatenate([draw, 2.0 * centre - draw], axis=-1)

    return [
        (
            Shocks(
                mirrored(rng.standard_normal((len(DRIVERS), 1, half))),
                mirrored(_student(rng, (1, half))),
                mirrored(rng.random((1, half)), 0.5),
            ),
            mirrored(rng.standard_normal((segments, 1, half))),
        )
        for _ in range(days)
    ]


def _entry_returns(
    latent: Latent, offsets: IntArray, noise: list[tuple[Shocks, FloatArray]]
) -> dict[str, FloatArray]:
    """Return each segment's log return over the market from decision to entry points, shape (entries, weeks, paths)."""
    weeks, points = offsets.shape
    reached = {name: np.zeros((points, weeks, _PATHS)) for name in LOADINGS}
    so_far = {name: np.zeros((weeks, _PATHS)) for name in LOADINGS}
    for day, (shocks, own) in enumerate(noise, start=1):
        latent, size, scale = advance(latent, shocks)
        for position, (name, loading) in enumerate(LOADINGS.items()):
            if not loading:
                continue
            so_far[name] += loading * (size + OWN_NOISE * SIZE_VOL * scale * own[position])
            for point in range(points):
                arrived = offsets[:, point] == day
                reached[name][point, arrived] = so_far[name][arrived]
    return reached
