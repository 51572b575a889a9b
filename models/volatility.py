"""Volatility of the components of a market: the largest segment's return, and each other segment's spread to it.

The variance of a spread moves on its own, not with the market's, so a filter per spread sees it where the difference of
two segment filters does not; a segment's own return is the largest segment's plus its spread, path by path. Public
numbers are natural log returns, never percent.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import NamedTuple

import numpy as np
from scipy.signal import lfilter
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from features.contracts import FloatArray, History, TimeArray
from features.errors import BundleError, DataContractError, DefinitionError

_PERCENT = 100.0
"""The optimiser wants numbers near one."""
_BACKCAST_DAYS, _BACKCAST_DECAY = 75, 0.94


@dataclass(frozen=True)
class ScenarioSettings:
    """Choices of filter and simulation; `DefinitionError` if one is out of range.

    `paths` simulated in blocks of `block` days from at most `window_days` and at least `min_days` daily changes, over
    at most `max_steps` sessions (gap included); `seed` is combined with the decision day.
    """

    paths: int = 20_000
    block: int = 5
    window_days: int = 2520
    min_days: int = 750
    max_steps: int = 30
    seed: int = 20231130

    def __post_init__(self) -> None:
        floors = {"paths": 100, "block": 1, "window_days": self.min_days, "min_days": 100, "max_steps": 1, "seed": 0}
        for name, floor in floors.items():
            if (value := getattr(self, name)) < floor:
                raise DefinitionError(f"`{name}` must be at least {floor}; got {value}")


class Component(NamedTuple):
    """Daily log changes of one component, oldest first."""

    dates: TimeArray
    changes: FloatArray


@dataclass(frozen=True)
class VolatilityParams:
    """A fitted threshold GARCH; `DataContractError` if it could not keep the volatility positive.

    s_t = omega + (alpha + gamma 1{e_{t-1} < 0}) |e_{t-1}| + beta s_{t-1}, s the standard deviation and e the change,
    both in percent (Zakoian 1994). Volatility that answers to the size of a shock rather than to its square does not
    explode after a burst. `eta` and `skew`, the shape of the fitted skewed t (Hansen 1994), are kept for the record.
    """

    omega: float
    alpha: float
    gamma: float
    beta: float
    eta: float
    skew: float
    converged: int

    def __post_init__(self) -> None:
        finite = all(map(math.isfinite, asdict(self).values()))
        if not (finite and self.omega > 0 and min(self.alpha, self.alpha + self.gamma, self.beta) >= 0):
            raise DataContractError(f"volatility parameters must be finite and keep volatility positive; got {self}")

    @staticmethod
    def from_json(data: Mapping[str, float]) -> VolatilityParams:
        """Rebuild what `dataclasses.asdict` gave; `BundleError` if a key or a value does not fit."""
        names = {field.name for field in fields(VolatilityParams)}
        if set(data) != names or not all(isinstance(value, int | float) for value in data.values()):
            raise BundleError(f"volatility parameters must be the numbers {', '.join(sorted(names))}; got {dict(data)}")
        try:
            return VolatilityParams(**data)  # type: ignore[arg-type]
        except DataContractError as error:
            raise BundleError(f"{error}; retrain the bundle") from error


def components(
    closes: Mapping[str, History], segments: Sequence[str], at: np.datetime64, day: np.datetime64
) -> dict[str, Component]:
    """Return the daily changes of every component up to a day.

    Parameters
    ----------
    closes : mapping of segment to History
        Log closes, every vintage.
    segments : sequence of str
        The largest first; without its close there are no components.
    at : datetime64[us]
        UTC time of the decision.
    day : datetime64[us]
        The decision day.

    Information set: rows with known_at <= at of periods up to the day.
    """
    held: dict[str, tuple[TimeArray, FloatArray]] = {}
    for segment in segments:
        dates, values = closes[segment].as_of(at)
        n = int(np.searchsorted(dates, day, side="right"))
        if n > 1:
            held[segment] = dates[:n], values[:n, 0]
    base = segments[0]
    if base not in held:
        return {}
    base_dates, base_close = held[base]
    result = {}
    for segment, (dates, close) in held.items():
        if segment == base:
            line = close
        elif np.array_equal(dates, base_dates):
            line = close - base_close
        else:
            dates, own, shared = np.intersect1d(dates, base_dates, assume_unique=True, return_indices=True)
            line = close[own] - base_close[shared]
        if len(line) > 1:
            result[segment] = Component(dates[1:], np.diff(line))
    return result


def fit_volatility(component: Component, settings: ScenarioSettings) -> VolatilityParams | None:
    """Fit a zero-mean threshold GARCH(1,1,1) with skewed t errors to a component; None if it is too short.

    Raises
    ------
    DataContractError
        If the component does not move.

    Information set: the component.
    """
    if len(component.changes) < settings.min_days:
        return None
    changes = component.changes[-settings.window_days :] * _PERCENT
    if not changes.any():
        raise DataContractError("a segment does not move against the largest one; check its prices")
    from models.garch import fit_garch  # serving from a bundle needs no arch

    with threadpool_limits(1, "blas"):  # the optimum moves in its seventh digit with the number of threads
        (omega, alpha, gamma, beta, eta, skew), converged = fit_garch(changes)
    alpha, beta = max(alpha, 0.0), max(beta, 0.0)  # the optimiser oversteps its bounds by rounding
    return VolatilityParams(omega, alpha, max(gamma, -alpha), beta, eta, skew, int(converged))


def filter_volatility(params: VolatilityParams, changes: FloatArray) -> FloatArray:
    """Return the standard deviation of each of n daily changes and of the one to come, log units, shape (n + 1,).

    The absolute change before the window is a weighted mean of the first ones, as in arch.

    Information set: element t uses the changes before t, and the first 75 to start the recursion.
    """
    size = np.abs(changes) * _PERCENT
    head = size[:_BACKCAST_DAYS]
    before = np.average(head, weights=_BACKCAST_DECAY ** np.arange(len(head)))
    start = (params.alpha + 0.5 * params.gamma + params.beta) * before
    shocks = np.where(changes < 0, params.alpha + params.gamma, params.alpha) * size
    drive = params.omega + np.append(start, shocks)
    # Given the changes the recursion is linear in the volatility: a first-order filter.
    return np.asarray(lfilter([1.0], [1.0, -params.beta], drive), dtype=np.float64) / _PERCENT
