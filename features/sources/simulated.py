"""The simulated market as a source: what a reader of published, noisy, late series would have seen.

Everything that comes out of here is SIMULATED. Each series measures one latent driver, or none, through slow noise of
its own; `MEASURES` says which and how well. When a number becomes known follows from the market definition.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import ClassVar

import numpy as np
import pandas as pd

from features.calendar import TradingCalendar
from features.contracts import BoolArray, FloatArray, TimeArray
from features.errors import DefinitionError
from features.frames import OBSERVATION_COLUMNS
from features.market import MarketSpec, SeriesSpec
from features.publication import known_times
from features.simulation import DRIVERS, LOADINGS, SIMULATED, Driver, Path, generate
from features.truth import true_probabilities

HISTORY_END = np.datetime64("2023-12-29", "us")
"""Last simulated session; nothing that becomes known later is part of the market."""

_DAY = np.timedelta64(1, "D")


@dataclass(frozen=True)
class Measure:
    """How a published series looks at the latent state.

    The standardised measurement is m = q driver + sqrt(1 - q^2) noise, the noise slow (first-order autoregressive);
    the value is `level` + `scale` m, or `level` exp(`scale` m) when `positive`.

    Parameters
    ----------
    driver : Driver, optional
        None for a series of pure noise.
    quality : float
        q, the long-run correlation with the driver.
    level, scale, positive
    halflife : float
        Of the noise, weeks.
    jitter, revision : float
        Standard deviations, in units of m, of white noise and of the first print's error (0: never revised).
    noise_of : str
        Series whose slow noise this one shares; by default its own.
    """

    driver: Driver | None = None
    quality: float = 0.0
    level: float = 0.0
    scale: float = 1.0
    positive: bool = False
    halflife: float = 8.0
    jitter: float = 0.0
    revision: float = 0.0
    noise_of: str = ""

    def standardised(self, path: Path, rng: np.random.Generator) -> FloatArray:
        """Return m on every session."""
        keep = 0.5 ** (1.0 / (5.0 * self.halflife))
        shocks = rng.standard_normal(len(path.sessions))
        shocks[1:] *= np.sqrt((1.0 + keep) / (1.0 - keep))
        noise: FloatArray = pd.Series(shocks).ewm(alpha=1.0 - keep, adjust=False).mean().to_numpy()
        if self.driver is None:
            return noise
        latent = path.latent.drivers[DRIVERS.index(self.driver)]
        return np.asarray(self.quality * latent + np.sqrt(1.0 - self.quality**2) * noise)

    def value(self, m: FloatArray) -> FloatArray:
        """Return the value in the series' unit."""
        return np.asarray(self.level * np.exp(self.scale * m) if self.positive else self.level + self.scale * m)


_Q = 0.95
MEASURES: Mapping[str, Measure] = {
    "pmi": Measure("recovery", 0.97, 50.5, 1.4, revision=0.20, jitter=0.10),
    "industrial_yoy": Measure("recovery", 0.97, 9.0, 2.5, revision=0.30, jitter=0.10),
    "m1_yoy": Measure("recovery", 0.97, 12.0, 4.5, jitter=0.10),
    "m2_yoy": Measure(None, 0.0, 13.0, 0.9),
    "exports_yoy": Measure(None, 0.0, 10.0, 9.0, jitter=0.40),
    "ppi_yoy": Measure(None, 0.0, 1.0, 3.0, halflife=16.0),
    "cpi_yoy": Measure(None, 0.0, 2.5, 1.2, halflife=16.0),
    "cpi_yoy_forecast": Measure(None, 0.0, 2.5, 1.2, halflife=16.0, jitter=0.3, noise_of="cpi_yoy"),
    "fund_issuance": Measure("inflow", _Q, 120.0, 0.7, positive=True, jitter=0.40),
    "etf_flow": Measure("inflow", _Q, 1.0, 4.0, jitter=1.0),
    "northbound_flow": Measure("inflow", _Q, 12.0, 15.0, jitter=1.2),
    "new_accounts": Measure(None, 0.0, 900.0, 0.4, positive=True, jitter=0.2),
    "ipo_proceeds": Measure(None, 0.0, 150.0, 0.5, positive=True, jitter=0.4),
    "insider_sales": Measure(None, 0.0, 40.0, 0.6, positive=True, jitter=0.5),
    "repo_rate": Measure("easing", -_Q, 2.8, 0.5, jitter=0.4),
    "gov_10y": Measure("easing", -_Q, 3.4, 0.35, jitter=0.05),
    "credit_spread": Measure("easing", -_Q, 1.6, 0.3, jitter=0.1),
    "swap_spread": Measure(None, 0.0, 0.2, 0.15, jitter=0.1),
    "us_gov_10y": Measure(None, 0.0, 2.8, 0.7, halflife=30.0),
    "usdcny": Measure(None, 0.0, 6.7, 0.04, positive=True, halflife=40.0),
    "turnover_rate": Measure("dryup", -_Q, 1.1, 0.35, positive=True, jitter=0.4),
    "active_share": Measure("dryup", -_Q, 0.6, 0.07, jitter=0.3),
    "limit_up_share": Measure(None, 0.0, 0.015, 0.5, positive=True, jitter=0.6),
    "auction_share": Measure(None, 0.0, 0.05, 0.15, positive=True, jitter=0.4),
    "pb_small": Measure("crowding", _Q, 3.2, 0.18, positive=True),
    "pb_large": Measure(None, 0.0, 1.6, 0.03, positive=True),
    "holdings_overlap": Measure("crowding", _Q, 0.22, 0.03, jitter=0.3),
    "decile_dispersion": Measure(None, 0.0, 0.009, 0.25, positive=True, jitter=0.4),
    "block_discount": Measure(None, 0.0, 5.0, 1.5, jitter=0.4),
    "futures_basis": Measure("leverage", -_Q, -6.0, 4.0, jitter=0.5),
    "margin_ratio": Measure("leverage", _Q, 2.4, 0.3),
    "open_interest": Measure("leverage", _Q, 180.0, 0.25, positive=True, jitter=0.2),
    "short_balance": Measure(None, 0.0, 400.0, 0.3, positive=True),
    "trust_leverage": Measure(None, 0.0, 2.0, 0.2),
    "pledge_ratio": Measure(None, 0.0, 9.0, 1.0, halflife=20.0),
}
"""Every simulated series that is neither a price nor an amount."""

_AMOUNTS: Mapping[str, tuple[float, Measure]] = {
    "s300": (1500.0, Measure("dryup", -_Q, scale=0.22)),
    "s500": (800.0, Measure(None, scale=0.10)),
    "s1000": (900.0, Measure(None, scale=0.10)),
    "s2000": (850.0, Measure(None, scale=0.12)),
    "micro": (120.0, Measure("crowding", _Q, scale=0.22)),
}
"""Mean amount of each segment and what moves it: the first row moves the whole market, the others their own share."""


@dataclass(frozen=True, eq=False)
class SimulatedMarket:
    """A SIMULATED market: what could be read, and what was true.

    Parameters
    ----------
    observations : pandas.DataFrame
        Columns `features.frames.OBSERVATION_COLUMNS`: `series, period, known_at, value, estimated, revision`.
    truth : pandas.DataFrame or None
        As `features.truth.true_probabilities` returns it; None unless asked for.
    """

    label: ClassVar[str] = SIMULATED
    observations: pd.DataFrame
    truth: pd.DataFrame | None


def simulate(market: MarketSpec, seed: int, *, truth: bool = False) -> SimulatedMarket:
    """Generate the market that a definition describes, deterministic in `seed`.

    Parameters
    ----------
    market : MarketSpec
        A definition with ``simulated = true`` whose series are those of `MEASURES`, prices and amounts.
    seed : int
        Not negative.
    truth : bool
        Also compute the true probabilities, which takes seconds.

    Raises
    ------
    DefinitionError
        If the market is not simulated or has a series that is neither simulated nor optional.
    """
    if not market.simulated:
        raise DefinitionError(f"market {market.name!r} is not simulated; read it from a folder with `--source`")
    if seed < 0:
        raise DefinitionError(f"`seed` must not be negative; got {seed}")
    first = np.datetime64(market.schedule.history_start)
    calendar = TradingCalendar.build(market.schedule.calendar, first, HISTORY_END + 120 * _DAY)
    path = generate(calendar.sessions[calendar.sessions <= HISTORY_END], seed)
    frames = []
    for spec in market.series.values():
        if spec.optional:
            continue
        period, value, printed = _values(spec, market, path, calendar, seed)
        known, estimated = known_times(spec, period, None, calendar, market.schedule.timezone)
        frames.append(_rows(spec, period, known, printed, estimated, revision=False))
        if value is not printed:
            # The next release restates the period before; January and February come out together.
            new = np.flatnonzero(known[1:] > known[:-1])
            frames.append(_rows(spec, period[new], known[new + 1], value[new], estimated[new + 1], revision=True))
    observations = pd.concat(frames, ignore_index=True)
    observations = observations[observations["known_at"] <= HISTORY_END + _DAY].reset_index(drop=True)
    return SimulatedMarket(observations, true_probabilities(path, market, calendar, seed) if truth else None)


def _stream(seed: int, name: str) -> np.random.Generator:
    """Random numbers of one series, independent of which other series exist."""
    return np.random.default_rng([seed, zlib.crc32(name.encode())])


def _values(
    spec: SeriesSpec, market: MarketSpec, path: Path, calendar: TradingCalendar, seed: int
) -> tuple[TimeArray, FloatArray, FloatArray]:
    """Return periods, final values and first prints of a series; the last two are one object if never revised."""
    segment, _, column = spec.name.partition(".")
    if segment in LOADINGS and column in ("close", "amount"):
        close = 1000.0 * np.exp(np.cumsum(path.returns[segment]))
        value = close if column == "close" else _amount(segment, path, seed)
        return path.sessions, value, value
    if spec.name not in MEASURES:
        raise DefinitionError(f"series {spec.name!r} of market {market.name!r} is neither simulated nor optional")
    measure = MEASURES[spec.name]
    period, m = _sample(spec, measure.standardised(path, _stream(seed, measure.noise_of or spec.name)), path, calendar)
    rng = _stream(seed, f"{spec.name}.print")
    m = m + measure.jitter * rng.standard_normal(len(m))
    value = measure.value(m)
    if not measure.revision:
        return period, value, value
    return period, value, measure.value(m + measure.revision * rng.standard_normal(len(m)))


def _amount(segment: str, path: Path, seed: int) -> FloatArray:
    level, own = _AMOUNTS[segment]
    whole = _AMOUNTS["s300"][1]
    log_amount = whole.scale * whole.standardised(path, _stream(seed, "s300.amount"))
    rng = _stream(seed, f"{segment}.amount.own")
    if segment != "s300":
        log_amount = log_amount + own.scale * own.standardised(path, rng)
    return np.asarray(level * np.exp(log_amount + 0.12 * rng.standard_normal(len(path.sessions))))


def _sample(spec: SeriesSpec, m: FloatArray, path: Path, calendar: TradingCalendar) -> tuple[TimeArray, FloatArray]:
    """Average a daily measurement over complete weeks or months; months are dated by their last day."""
    sessions = path.sessions
    if spec.frequency == "daily":
        return sessions, m
    if spec.frequency == "weekly":
        period = calendar.decisions()[calendar.decisions() <= sessions[-1]]
        group = np.searchsorted(period, sessions)
    else:
        months, group = np.unique(sessions.astype("datetime64[M]"), return_inverse=True)
        period = ((months + 1).astype("datetime64[D]") - 1).astype("datetime64[us]")
    inside = group < len(period)
    total = np.bincount(group[inside], weights=m[inside], minlength=len(period))
    return period, total / np.bincount(group[inside], minlength=len(period))


def _rows(
    spec: SeriesSpec, period: TimeArray, known_at: TimeArray, value: FloatArray, estimated: BoolArray, *, revision: bool
) -> pd.DataFrame:
    """Return rows within the series' lifetime, in the unit that was in use at the time."""
    value = value.copy()
    for change in spec.breaks:
        value[period < np.datetime64(change.date, "us")] /= change.factor
    columns = (spec.name, period, known_at, value, estimated, revision)
    frame = pd.DataFrame(dict(zip(OBSERVATION_COLUMNS, columns, strict=True)))
    born, died = np.datetime64(spec.born or date.min, "us"), np.datetime64(spec.died or date.max, "us")
    return frame[(period >= born) & (period <= died)]
