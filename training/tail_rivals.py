"""Tail models of one daily line that others use, and the yardstick among them.

Each is a pair of functions: `fit` at a refit, on the closes known then, and `forecast` each week, on the closes known
then. All see the same rolling window and the same minimum history (`TailSettings`), and return one `TailRow` per
horizon. This is the only file that imports the yardstick.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import genpareto, norm
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from features.contracts import FloatArray, TimeArray
from models.curve import GRID
from models.scenarios import ordered_tail, weighted_tail
from training.tail_yardstick import (
    TailParams,
    TailRow,
    TailSettings,
    filter_variance,
    fit_tail,
    tail_forecast,
    tail_shortage,
)

LEVELS = (0.05, 0.025)
YARDSTICK = "fhs_gjr"
EWMA_DECAY = 0.94
"""Daily decay of RiskMetrics (J.P. Morgan 1996)."""
TAIL_SHARE = 0.10
"""Share of residuals beyond each threshold of the extreme-value tails (McNeil and Frey 2000 use 10% of 1,000)."""


_NORMAL = tuple(
    float(unit) for level in LEVELS for unit in (norm.ppf(level), -norm.pdf(norm.ppf(level)) / level)
)  # fmt: skip
"""Quantile and shortfall of the standard normal at each level."""


@dataclass(frozen=True, eq=False)
class Week:
    """What is known at one decision, and the sessions that follow.

    `dates` and `x`, shape (n,), are the line log(small) - log(large) up to the decision; `gap` sessions lead from
    there to entry, `steps` maps each horizon in weeks to sessions from entry to exit; `key` fixes the draws.

    Information set: rows with known_at <= the decision; holidays are as the exchange calendar has them.
    """

    dates: TimeArray
    x: FloatArray
    gap: int
    steps: Mapping[int, int]
    key: int


@dataclass(frozen=True)
class Rival:
    """One model: `fit(dates, x, settings)` at a refit, None with too short a history, and `forecast(fitted, week)`."""

    fit: Callable[[TimeArray, FloatArray, TailSettings], Any]
    forecast: Callable[[Any, Week], dict[int, TailRow]]


def shortage(x: FloatArray, settings: TailSettings) -> str | None:
    """Return in words why a line gives no tail, or None; the same for every model."""
    return tail_shortage(x, settings)


def sample_row(values: FloatArray) -> TailRow:
    """Return both tails and the quantiles of an equally weighted sample."""
    weights = np.full(len(values), 1 / len(values))
    lower = weighted_tail(values, weights, LEVELS)
    upper = weighted_tail(-values, weights, LEVELS)
    whole = ordered_tail(np.sort(values), weights, GRID)[0].tolist()
    return TailRow(tuple(whole), *(v for tail in lower for v in tail), *(-v for tail in upper for v in tail))


def fit_nothing(dates: TimeArray, x: FloatArray, settings: TailSettings) -> TailSettings | None:
    """Return the settings: the models without parameters only need to know their window."""
    return None if shortage(x, settings) else settings


def historical(settings: TailSettings, week: Week) -> dict[int, TailRow]:
    """Read the tail off past overlapping changes over as many sessions as the horizon has: historical simulation."""
    x = week.x[-(settings.window_days + 1) :]
    return {h: sample_row(x[steps:] - x[:-steps]) for h, steps in week.steps.items()}


def ewma_normal(settings: TailSettings, week: Week) -> dict[int, TailRow]:
    """Return a normal tail of mean zero with the EWMA variance of daily changes (RiskMetrics).

    The horizon is scaled by the root of its sessions, which is right only if variance does not move: this model is
    here because desks use it so.
    """
    squares = np.diff(week.x[-(settings.window_days + 1) :]) ** 2
    daily = np.average(squares[::-1], weights=EWMA_DECAY ** np.arange(len(squares)))
    rows = {}
    for h, steps in week.steps.items():
        sigma = float(np.sqrt(daily * steps))
        tail = [sigma * unit for unit in _NORMAL]
        rows[h] = TailRow(tuple((sigma * norm.ppf(GRID)).tolist()), *tail, *(-value for value in tail))
    return rows


def fit_garch_t(dates: TimeArray, x: FloatArray, settings: TailSettings) -> TailParams | None:
    """Fit a zero-mean GARCH(1,1) with Student t errors (Bollerslev 1987) on the window."""
    if shortage(x, settings):
        return None
    from arch import arch_model

    changes = np.diff(x[-(settings.window_days + 1) :]) * 100.0
    model = arch_model(changes, mean="Zero", vol="GARCH", p=1, o=0, q=1, dist="t", rescale=False)
    with threadpool_limits(1, "blas"):
        fit = model.fit(disp="off", show_warning=False)
    omega, alpha, beta, nu = (float(value) for value in fit.params)
    return TailParams(
        omega=omega, alpha=max(alpha, 0.0), gamma=0.0, beta=max(beta, 0.0), eta=nu, skew=0.0, scale=100.0,
        backcast_days=75, backcast_decay=0.94, converged=int(fit.convergence_flag == 0), settings=settings,
        fitted_through=int(dates[-1].astype("datetime64[D]").astype(np.int64)),
    )  # fmt: skip


def garch_t(params: TailParams, week: Week) -> dict[int, TailRow]:
    """Simulate the fitted GARCH-t to each horizon, all parametric."""
    unit = np.sqrt((params.eta - 2) / params.eta)
    return _simulated(params, week, lambda rng, shape: rng.standard_t(params.eta, shape) * unit)


@dataclass(frozen=True)
class EvtParams:
    """The yardstick's recursion and, for losses and gains, threshold, shape and scale of the residuals beyond."""

    params: TailParams
    lower: tuple[float, float, float]
    upper: tuple[float, float, float]


def fit_evt(dates: TimeArray, x: FloatArray, settings: TailSettings) -> EvtParams | None:
    """Fit the yardstick's recursion, then a generalised Pareto law to each tenth of its residuals.

    McNeil and Frey (2000), maximum likelihood; shapes are kept in [-0.5, 0.5], where the tail has a variance.
    """
    params = fit_tail(dates, x, settings)
    if params is None:
        return None
    changes = np.diff(x[-(settings.window_days + 1) :])
    residuals = changes / np.sqrt(filter_variance(params, changes)[:-1])
    return EvtParams(params, _pareto(-residuals), _pareto(residuals))


def fhs_evt(fitted: EvtParams, week: Week) -> dict[int, TailRow]:
    """Simulate from filtered residuals, those beyond the thresholds drawn from their generalised Pareto laws.

    Residuals are drawn one by one, not in blocks: beyond a threshold there is no next day of the sample to follow.
    """
    params = fitted.params
    changes = np.diff(week.x[-(params.settings.window_days + 1) :])
    pool = changes / np.sqrt(filter_variance(params, changes)[:-1])

    def draw(rng: np.random.Generator, shape: tuple[int, int]) -> FloatArray:
        drawn = pool[rng.integers(len(pool), size=shape)]
        for sign, (threshold, xi, scale) in ((-1.0, fitted.lower), (1.0, fitted.upper)):
            beyond = sign * drawn > threshold
            uniform = 1 - rng.random(int(beyond.sum()))
            excess = -np.log(uniform) if abs(xi) < 1e-6 else np.expm1(-xi * np.log(uniform)) / xi
            drawn[beyond] = sign * (threshold + scale * excess)
        return drawn

    return _simulated(params, week, draw)


def yardstick(params: TailParams, week: Week) -> dict[int, TailRow]:
    """Run the plain GJR filtered historical simulation of `training.tail_yardstick`."""
    return tail_forecast(params, week.dates, week.x, week.gap, week.steps, week.key)


RIVALS: dict[str, Rival] = {
    YARDSTICK: Rival(fit_tail, yardstick),
    "historical": Rival(fit_nothing, historical),
    "ewma_normal": Rival(fit_nothing, ewma_normal),
    "garch_t": Rival(fit_garch_t, garch_t),
    "fhs_evt": Rival(fit_evt, fhs_evt),
}
"""Models of one line; `training.tail_scale` adds the one that reads states."""


def _pareto(losses: FloatArray) -> tuple[float, float, float]:
    """Return threshold, shape and scale of the upper tenth."""
    threshold = float(np.quantile(losses, 1 - TAIL_SHARE))
    excess = losses[losses > threshold] - threshold
    shape, _, scale = genpareto.fit(excess, floc=0.0)
    if not -0.5 <= shape <= 0.5:
        shape = float(np.clip(shape, -0.5, 0.5))
        scale = float(excess.mean()) * (1 - shape)
    return threshold, float(shape), float(scale)


def _simulated(
    params: TailParams, week: Week, draw: Callable[[np.random.Generator, tuple[int, int]], FloatArray]
) -> dict[int, TailRow]:
    """Run drawn residuals through the variance recursion, gap first, and read both tails at each horizon."""
    settings, last = params.settings, max(week.steps.values())
    changes = np.diff(week.x[-(settings.window_days + 1) :])
    variance = np.full(settings.paths, filter_variance(params, changes)[-1])
    rng = np.random.Generator(np.random.PCG64([settings.seed, week.key]))
    residuals = draw(rng, (week.gap + last, settings.paths))
    total, ends = np.zeros(settings.paths), {}
    for day, z in enumerate(residuals):
        if day >= week.gap:
            total = total + np.sqrt(variance) * z
            ends[day - week.gap + 1] = total
        growth = params.beta + np.where(z < 0, params.alpha + params.gamma, params.alpha) * z**2
        variance = params.omega / params.scale**2 + growth * variance
    return {h: sample_row(ends[steps]) for h, steps in week.steps.items()}
