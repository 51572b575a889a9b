"""The yardstick of the tail: filtered historical simulation of one pair's line (GJR-GARCH, skewed t).

`fit_tail` fits at a refit; each week `tail_forecast` filters the variance through the last known day and draws the
trailing standardised residuals, in blocks, through the recursion. Public numbers are natural log returns, never
percent.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd
from scipy.signal import lfilter
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from features.contracts import TAIL_COLUMNS, FloatArray, TimeArray
from features.errors import DataContractError, LookAheadError
from models.curve import GRID, QUANTILE_COLUMNS
from models.scenarios import ordered_tail
from models.volatility import ScenarioSettings


@dataclass(frozen=True)
class TailSettings(ScenarioSettings):
    """Choices of the simulation, those of the scenario set; `seed` is combined with the key of each forecast."""

    paths: int = 10_000
    max_steps: int = 26


@dataclass(frozen=True)
class TailParams:
    """What a forecast needs beside the line itself: numbers only; `DataContractError` if they are impossible.

    h_t = omega + (alpha + gamma 1{e_{t-1} < 0}) e_{t-1}^2 + beta h_{t-1}, e the change times `scale` (Glosten,
    Jagannathan and Runkle 1993). The squared change before the window is the mean of its first `backcast_days` squared
    changes with weights `backcast_decay`^i, as in arch. `eta` and `skew`, the shape of the fitted skewed t, are kept
    for the record. `fitted_through` is the last day used, in days since 1970-01-01; `converged` is 0 or 1.
    """

    omega: float
    alpha: float
    gamma: float
    beta: float
    eta: float
    skew: float
    scale: float
    backcast_days: int
    backcast_decay: float
    fitted_through: int
    converged: int
    settings: TailSettings

    def __post_init__(self) -> None:
        positive = min(self.omega, self.scale, self.backcast_days, self.backcast_decay) > 0
        finite = all(map(math.isfinite, {**asdict(self), "settings": 0}.values()))
        if not (finite and positive and min(self.alpha, self.alpha + self.gamma, self.beta) >= 0):
            raise DataContractError(f"tail parameters must be finite and keep the variance positive; got {self}")


@dataclass(frozen=True)
class TailRow:
    """Tail of the small-minus-large log return over one horizon; `_up` is the other side, with positive numbers.

    `quantiles` at the levels of `models.curve.GRID` stand for the whole distribution.
    """

    quantiles: tuple[float, ...]
    var_95: float
    es_95: float
    var_975: float
    es_975: float
    var_95_up: float
    es_95_up: float
    var_975_up: float
    es_975_up: float

    def columns(self) -> dict[str, float]:
        """Return the numbers under `TAIL_COLUMNS` and `QUANTILE_COLUMNS`."""
        tails = {name: getattr(self, name) for name in TAIL_COLUMNS}
        return tails | dict(zip(QUANTILE_COLUMNS, self.quantiles, strict=True))


def tail_shortage(x: FloatArray, settings: TailSettings) -> str | None:
    """Return why `fit_tail` gives None, or None if the line is long enough.

    Information set: the length of `x` up to the decision.
    """
    return f"no tail: {len(x)} closes known, {need} needed" if len(x) < (need := settings.min_days + 1) else None


def fit_tail(x_dates: TimeArray, x: FloatArray, settings: TailSettings) -> TailParams | None:
    """Fit a zero-mean GJR-GARCH(1,1,1) with skewed t errors to the daily changes of a line.

    The line is x = log(small) - log(large), shape (n,), at days `x_dates`. None if it is too short (`tail_shortage`
    says so in words); `DataContractError` if it has missing values or unordered days, or does not move.

    Information set: only `x` up to the refit.
    """
    _check_line(x_dates, x)
    if tail_shortage(x, settings):
        return None
    from arch import arch_model  # serving from a bundle needs no arch

    changes = np.diff(x[-(settings.window_days + 1) :]) * 100.0  # in percent: the optimiser wants numbers near one
    if not changes.any():
        raise DataContractError("`x` does not move over the window; check the prices of the two segments")
    model = arch_model(changes, mean="Zero", vol="GARCH", p=1, o=1, q=1, dist="skewt", rescale=False)
    with threadpool_limits(1, "blas"):  # the optimum moves in its seventh digit with the number of threads
        fit = model.fit(disp="off", show_warning=False)
    omega, alpha, gamma, beta, eta, skew = (float(value) for value in fit.params)
    alpha, beta = max(alpha, 0.0), max(beta, 0.0)  # the optimiser oversteps its bounds by rounding
    return TailParams(
        omega=omega, alpha=alpha, gamma=max(gamma, -alpha), beta=beta, eta=eta, skew=skew, scale=100.0,
        backcast_days=75, backcast_decay=0.94, converged=int(fit.convergence_flag == 0), settings=settings,
        fitted_through=int(x_dates[-1].astype("datetime64[D]").astype(np.int64)),
    )  # fmt: skip


def filter_variance(params: TailParams, changes: FloatArray) -> FloatArray:
    """Return the variance of each of n daily log changes and of the one to come, shape (n + 1,).

    Information set: element t uses the changes before t, and the first `backcast_days` to start the recursion.
    """
    squares = (changes * params.scale) ** 2
    head = squares[: params.backcast_days]
    before = np.average(head, weights=params.backcast_decay ** np.arange(len(head)))
    start = (params.alpha + 0.5 * params.gamma + params.beta) * before
    shocks = np.where(changes < 0, params.alpha + params.gamma, params.alpha) * squares
    drive = params.omega + np.append(start, shocks)
    # given the squared changes the recursion is linear in the variance: a first-order filter
    return np.asarray(lfilter([1.0], [1.0, -params.beta], drive), dtype=np.float64) / params.scale**2


def tail_forecast(
    params: TailParams, x_dates: TimeArray, x: FloatArray, steps_gap: int, steps_by_horizon: Mapping[int, int], key: int
) -> dict[int, TailRow]:
    """Simulate the line from the decision on and read both tails at each horizon.

    Filtered historical simulation (Barone-Adesi, Giannopoulos and Vosper 1999) with circular blocks of residuals, not
    centred. Expected shortfall is the mean beyond the quantile (Acerbi and Tasche 2002). Same input, same bytes.

    Information set: only `x` up to the decision; parameters fitted on later days are refused.

    Parameters
    ----------
    params : TailParams
    x_dates, x : arrays, shape (n,)
        The line up to and including the decision day.
    steps_gap : int
        Sessions from decision to entry; they move the variance and carry no profit or loss.
    steps_by_horizon : mapping of int to int
        Sessions from entry to exit of each horizon.
    key : int
        Not negative; with the seed it fixes the draws, and a shorter horizon sees the start of the same paths.

    Raises
    ------
    DataContractError, LookAheadError
        If the line is missing values, unordered or too short, or the sessions are out of range; if `params` saw later
        days than `x_dates`.
    """
    paths = _simulate(params, x_dates, x, steps_gap, steps_by_horizon.values(), key)
    even = np.full(paths.shape[1], 1 / paths.shape[1])
    sides = {h: (_lower_tail(paths[n]), _lower_tail(-paths[n])) for h, n in steps_by_horizon.items()}
    whole = {h: ordered_tail(np.sort(paths[n]), even, GRID)[0] for h, n in steps_by_horizon.items()}
    return {
        h: TailRow(tuple(whole[h].tolist()), *lower, *(-value for value in upper))
        for h, (lower, upper) in sides.items()
    }


def _simulate(
    params: TailParams, x_dates: TimeArray, x: FloatArray, gap: int, exits: Collection[int], key: int
) -> FloatArray:
    """Return cumulative log returns since entry, shape (1 + last exit, paths)."""
    settings, last = params.settings, max(exits, default=0)
    if min(gap, key) < 0 or min(exits, default=0) < 1 or gap + last > settings.max_steps:
        rule = f"`steps_gap` and `key` must be 0 or more, sessions 1 or more, with the gap at most {settings.max_steps}"
        raise DataContractError(f"{rule}; got gap {gap}, sessions {list(exits)}, key {key}")
    _check_line(x_dates, x)
    if short := tail_shortage(x, settings):
        raise DataContractError(short)
    if x_dates[-1] < (through := np.datetime64(params.fitted_through, "D")):
        raise LookAheadError(f"tail parameters use days to {through}, after the decision on {x_dates[-1]}")

    changes = np.diff(x[-(settings.window_days + 1) :])
    variances = filter_variance(params, changes)
    pool = changes / np.sqrt(variances[:-1])
    pool = np.append(pool, pool[: settings.block - 1])
    growth = params.beta + np.where(pool < 0, params.alpha + params.gamma, params.alpha) * pool**2
    rng = np.random.Generator(np.random.PCG64([settings.seed, key]))
    starts = rng.integers(len(changes), size=((gap + last - 1) // settings.block + 1, settings.paths))
    variance = np.full(settings.paths, variances[-1])
    paths = np.zeros((last + 1, settings.paths))
    for day in range(gap + last):
        drawn = starts[day // settings.block] + day % settings.block
        if day >= gap:
            paths[day - gap + 1] = paths[day - gap] + np.sqrt(variance) * pool[drawn]
        variance = params.omega / params.scale**2 + growth[drawn] * variance
    return paths


def _lower_tail(returns: FloatArray) -> list[float]:
    """Return quantile (inverse of the step function) and expected shortfall at 5%, then at 2.5%."""
    masses = [len(returns) * 0.05, len(returns) * 0.025]
    ranks = [math.ceil(round(mass, 6)) - 1 for mass in masses]
    tail: list[float] = np.sort(np.partition(returns, ranks[0])[: ranks[0] + 1]).tolist()
    # fsum rounds once, so the instruction set of the processor cannot show
    shortfalls = [(math.fsum(tail[:r]) + (m - r) * tail[r]) / m for r, m in zip(ranks, masses, strict=True)]
    return [tail[ranks[0]], shortfalls[0], tail[ranks[1]], shortfalls[1]]


def _check_line(x_dates: TimeArray, x: FloatArray) -> None:
    if x.ndim != 1 or x_dates.shape != x.shape or len(x) == 0:
        raise DataContractError(f"`x_dates` and `x` must be equally long; got {x_dates.shape} and {x.shape}")
    if (bad := ~(np.isfinite(x) & np.append(True, x_dates[1:] > x_dates[:-1]))).any():
        rows = pd.DataFrame({"date": x_dates[bad], "x": x[bad]})
        found = f"{len(rows)} bad rows, the first {rows.x[0]} on {rows.date[0]}; drop or sort them"
        raise DataContractError(f"`x` must be finite on strictly increasing `x_dates`; got {found}", rows)
