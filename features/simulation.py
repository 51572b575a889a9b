"""The process behind the simulated market: latent drivers, regimes and one day's step.

Everything that comes out of here is SIMULATED. Six latent drivers move slowly; what has built up of them over some
weeks presses on the market in two ways: a *pull* on the drift of one common size factor, and a *strain* that sets the
hazard that a crowd in small caps unwinds. The size factor has a clustering variance and fat tails; each small segment
follows it with its own loading and its own noise. `advance` is the only description of a day: the history is one path
of it, and `features.truth` averages over many paths of the very same function.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from features.contracts import BoolArray, FloatArray, IntArray, TimeArray

SIMULATED = "SIMULATED"
"""The word that every product of the simulated market carries."""

Driver = Literal["recovery", "inflow", "easing", "crowding", "leverage", "dryup"]
Regime = Literal["calm", "crowded", "unwinding", "large-led"]

DRIVERS: tuple[Driver, ...] = ("recovery", "inflow", "easing", "crowding", "leverage", "dryup")
REGIMES: tuple[Regime, ...] = ("calm", "crowded", "unwinding", "large-led")

TRUE_FEATURES: tuple[str, ...] = (
    "pmi_level", "industrial_level", "m1_m2_scissors",
    "fund_issuance_level", "etf_buying", "northbound_buying",
    "repo_level", "gov_10y_level", "credit_spread_level",
    "turnover_level", "amount_level", "active_level",
    "micro_share", "valuation_spread", "overlap_level",
    "basis_discount", "margin_level", "open_interest_level",
    "vol_ratio", "sigma_percentile", "volatility_level", "volatility_gap",
)  # fmt: skip
"""Features of the sample market that measure something the process acts through: three for each driver and four for
its volatility. All others are noise or, like momentum, mere echoes of past prices."""

SIZE_VOL = 0.0075
"""Long-run daily volatility of the size factor, log units."""
MARKET_VOL = 0.0155
"""Long-run daily volatility of the market, log units."""
LOADINGS: Mapping[str, float] = {"s300": 0.0, "s500": 0.55, "s1000": 0.75, "s2000": 0.85, "micro": 1.0}
"""Loading of each segment on the size factor."""
OWN_NOISE = 1.0
"""Own volatility of a segment as a multiple of its loading times `SIZE_VOL`."""

_HALFLIFE_WEEKS = np.array([20.0, 18.0, 20.0, 16.0, 14.0, 14.0])
_KEEP = 0.5 ** (1.0 / (5.0 * _HALFLIFE_WEEKS))
_FRESH = np.sqrt(1.0 - _KEEP**2)
_PULL = np.array([-0.45, -0.45, 0.45, -0.35, -0.35, -0.35])
_STRAIN = np.array([0.0, 0.0, 0.0, 0.50, 0.42, 0.42])
_ACTS = np.stack([_PULL, _STRAIN])
"""Weight of each driver in the drift of the size factor and in the log hazard of an unwinding."""
_ADAPT = 1.0 - 0.5 ** (1.0 / 18.0)
"""Share of the gap between drivers and pressure that closes in a day: prices answer to what has built up."""
_CROWDING = DRIVERS.index("crowding")
_PREMIUM, _DRIFT = 0.035, 0.104
"""Daily drift of the size factor in units of `SIZE_VOL`: constant, and for a pull of one."""
_ALPHA, _BETA, _DEGREES = 0.02, 0.96, 5.0
_HAZARD, _MOST_STRAIN = 1.0 / 330.0, 3.0
_UNWIND_DRIFT, _UNWIND_VOL, _UNWIND_END, _UNWIND_RELIEF = -2.4, 1.2, 0.5, 0.25
_CROWDED, _LARGE_LED = 0.6, -0.6


@dataclass(frozen=True, eq=False)
class Latent:
    """The full latent state at a close: everything that the law of the future depends on.

    Parameters
    ----------
    drivers : array, shape (6, ...)
        In the order of `DRIVERS`, each with a long-run variance near one.
    pressure : array, shape (2, ...)
        Pull (positive favours small caps) and strain (log hazard of an unwinding relative to its base).
    variance : array, shape (...)
        Of the size factor's next day, relative to `SIZE_VOL` squared.
    unwinding : array of bool, shape (...)
        Whether a crowd is unwinding.
    """

    drivers: FloatArray
    pressure: FloatArray
    variance: FloatArray
    unwinding: BoolArray

    def at(self, index: IntArray) -> Latent:
        """Return the states at some times of a history, with a last axis of length one for paths."""
        return Latent(
            self.drivers[:, index, None],
            self.pressure[:, index, None],
            self.variance[index, None],
            self.unwinding[index, None],
        )


@dataclass(frozen=True, eq=False)
class Shocks:
    """One day's innovations: standard normals of the drivers, the size factor's unit-variance t and a uniform."""

    drivers: FloatArray
    size: FloatArray
    event: FloatArray


def advance(latent: Latent, shocks: Shocks, span: FloatArray) -> tuple[Latent, FloatArray, FloatArray]:
    """Move one session.

    Parameters
    ----------
    latent : Latent
    shocks : Shocks
    span : array
        How many ordinary days' news the session carries, see `spans`.

    Returns
    -------
    latent : Latent
        The state at the session's close.
    size : array
        Return of the size factor, log units.
    scale : array
        Volatility of the session in units of the long-run daily one; it also scales each segment's own noise.
    """
    pull, strain = latent.pressure
    begins = shocks.event < _HAZARD * np.exp(np.minimum(strain, _MOST_STRAIN))
    unwinding = np.where(latent.unwinding, shocks.event > _UNWIND_END, begins)
    volatility = np.sqrt(latent.variance) * np.where(unwinding, _UNWIND_VOL, 1.0)
    surprise = volatility * shocks.size
    drift = np.where(unwinding, _UNWIND_DRIFT, _PREMIUM + _DRIFT * pull)
    stretch = np.sqrt(span)
    keep, fresh = _column(_KEEP, latent.drivers), _column(_FRESH, latent.drivers)
    drivers = keep * latent.drivers + fresh * shocks.drivers
    # Small caps that run attract the crowd; an unwinding drives it out.
    drivers[_CROWDING] += _FRESH[_CROWDING] * (0.6 * surprise - 0.2 * shocks.drivers[_CROWDING])
    drivers[_CROWDING] -= _UNWIND_RELIEF * unwinding
    pressure = latent.pressure + _ADAPT * (np.tensordot(_ACTS, drivers, axes=1) - latent.pressure)
    variance = (1.0 - _ALPHA - _BETA) + _ALPHA * np.minimum(surprise**2, 16.0) + _BETA * latent.variance
    size = SIZE_VOL * (span * drift + stretch * surprise)
    return Latent(drivers, pressure, variance, unwinding), size, stretch * volatility


def _column(values: FloatArray, like: FloatArray) -> FloatArray:
    return values.reshape((-1,) + (1,) * (like.ndim - 1))


def spans(sessions: TimeArray) -> FloatArray:
    """Return how many ordinary days' news each session carries: a week cut short by holidays has a full week's."""
    week = (sessions.astype("datetime64[D]").astype(np.int64) + 3) // 7
    _, group, count = np.unique(week, return_inverse=True, return_counts=True)
    return np.minimum(5.0 / count[group], 2.5)


def regimes(latent: Latent) -> npt.NDArray[np.str_]:
    """Name the regime of each state: unwinding goes before crowded, crowded before large-led, all before calm."""
    pull, strain = latent.pressure
    tests = [latent.unwinding, strain > _CROWDED, pull < _LARGE_LED]
    return np.select(tests, ["unwinding", "crowded", "large-led"], default="calm")


def student(rng: np.random.Generator, shape: tuple[int, ...]) -> FloatArray:
    """Draw from the t distribution of the surprises, scaled to unit variance."""
    return np.asarray(rng.standard_t(_DEGREES, shape) * np.sqrt((_DEGREES - 2.0) / _DEGREES))


@dataclass(frozen=True, eq=False)
class Path:
    """One simulated history.

    Parameters
    ----------
    sessions : array of datetime64[us], shape (n,)
    latent : Latent
        State at each close; times on the last axis.
    returns : mapping of segment to array, shape (n,)
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
    normals, size, events = rng.standard_normal((n, len(DRIVERS))), student(rng, (n,)), rng.random(n)
    start = 0.7 * rng.standard_normal(len(DRIVERS))
    latent = Latent(start, _ACTS @ start, np.array(1.0), np.array(False))
    drivers, pressure = np.empty((len(DRIVERS), n)), np.empty((2, n))
    variance, unwinding = np.empty(n), np.empty(n, dtype=np.bool_)
    factor, scale = np.empty(n), np.empty(n)
    for day, span in enumerate(spans(sessions)):
        latent, factor[day], scale[day] = advance(latent, Shocks(normals[day], size[day], events[day]), span)
        drivers[:, day], pressure[:, day] = latent.drivers, latent.pressure
        variance[day], unwinding[day] = latent.variance, latent.unwinding
    market = _market(rng, unwinding)
    returns = {
        name: market + loading * (factor + OWN_NOISE * SIZE_VOL * scale * rng.standard_normal(n))
        for name, loading in LOADINGS.items()
    }
    return Path(sessions, Latent(drivers, pressure, variance, unwinding), returns)


def _market(rng: np.random.Generator, unwinding: BoolArray) -> FloatArray:
    """Return the common market: clustering variance, fat tails, weak while a crowd unwinds."""
    shocks = student(rng, unwinding.shape)
    returns, variance = np.empty(len(shocks)), 1.0
    for day, shock in enumerate(shocks):
        surprise = np.sqrt(variance) * shock
        returns[day] = MARKET_VOL * (0.02 + surprise - 0.25 * unwinding[day])
        variance = 0.02 + 0.07 * min(surprise**2, 16.0) + 0.91 * variance
    return returns
