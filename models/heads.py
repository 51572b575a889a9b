"""One head: the scenario-implied log-odds, a ridge logit on the design, shrunk trees on top, and their calibration.

Log-odds of an event are start + slope * (linear + pool * trees). The start is level + a + b (implied - level), where
level is the climatology's log-odds shared by all pairs and implied what the untilted scenario set says; without a
scenario set it is the level. All parts are linear in log-odds, so contributions add up.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import lightgbm as lgb
import numpy as np
from scipy.special import expit, logit, ndtr

from features.contracts import HORIZONS, Event, FloatArray, TimeArray
from models.design import DRIVERS, Design, is_composite, training_weights
from models.linear import RidgeLogit, fit_ridge_logit
from models.settings import HeadSettings, TreeSettings

_HELD = 1e12
"""A penalty that holds the intercept at zero: the level is the climatology's business, not the head's."""
_UNIT = 0.5
"""Log-odds. Penalties of pool and slope are those of an effect of this size: scores that hardly move teach little."""


@dataclass(frozen=True, eq=False)
class Labels:
    """What a head learns from, beside its design; every array has shape (n,).

    Parameters
    ----------
    y : array
        Outcomes, 0 or 1, or in between where a head learns from soft ones.
    level, implied : array
        Log-odds of the climatology and of the scenario set; the latter missing where there is no set.
    dates : array of datetime64[us]
        Decision dates; also the clusters.
    """

    y: FloatArray
    level: FloatArray
    implied: FloatArray
    dates: TimeArray


@dataclass(frozen=True, eq=False)
class Head:
    """A fitted head.

    Parameters
    ----------
    event : Event
    horizon : int
        Weeks.
    scenario : RidgeLogit
        One-variable Platt of implied - level; its coefficient is the difference to `prior`.
    prior : float
        Slope towards which the Platt is shrunk.
    linear : RidgeLogit
    boosters : tuple of lightgbm.Booster
        One per seed; their raw scores are averaged.
    pool, slope : float
        Weight of the trees, and the calibration of the deviation from the base.
    """

    event: Event
    horizon: int
    scenario: RidgeLogit
    prior: float
    linear: RidgeLogit
    boosters: tuple[lgb.Booster, ...]
    pool: float = 0.5
    slope: float = 1.0

    def start(self, level: FloatArray, implied: FloatArray) -> FloatArray:
        """Return the log-odds from which linear part and trees depart."""
        return _start(self.scenario, self.prior, level, implied)

    def start_error(self, level: FloatArray, implied: FloatArray) -> FloatArray:
        """Return the standard error of the start beside that of the level."""
        gap = implied - level
        error = self.scenario.standard_error(np.nan_to_num(gap)[:, None])
        return np.where(np.isfinite(gap), error, 0.0)

    def deviation(self, linear: FloatArray, trees: FloatArray) -> FloatArray:
        """Return the calibrated deviation from the start."""
        return self.slope * (linear + self.pool * trees)


def _start(scenario: RidgeLogit, prior: float, level: FloatArray, implied: FloatArray) -> FloatArray:
    """Level moved by the Platt of the implied log-odds; the level itself where there is no scenario set."""
    gap = implied - level
    known = np.isfinite(gap)
    moved = np.where(known, gap, 0.0)
    shift = prior * moved + scenario.decision_function(moved[:, None])
    return level + np.where(known, shift, 0.0)


@dataclass(frozen=True, eq=False)
class RawScores:
    """Uncalibrated parts of a head's log-odds at some rows; `trees_error` is the standard error over seeds."""

    linear: FloatArray
    linear_error: FloatArray
    trees: FloatArray
    trees_error: FloatArray


def variance(head: Head, rate: FloatArray, n: FloatArray, start_error: FloatArray, raw: RawScores) -> FloatArray:
    """Return the variance of published log-odds: of the base rate, the start, the linear part and the seeds.

    `rate` is the base rate and `n` the number of independent outcomes it rests on; every array has shape (n,).
    """
    total = 1 / (n * rate * (1 - rate)) + start_error**2
    total += head.slope**2 * (raw.linear_error**2 + (head.pool * raw.trees_error) ** 2)
    return total


def linear_columns(design: Design) -> FloatArray:
    """Columns of the linear part: those with a declared orientation; an absent one says nothing."""
    return np.nan_to_num(design.columns[:, : design.layout.signed], nan=0.0)


def fit_head(design: Design, labels: Labels, horizon: int, cut: np.datetime64, settings: HeadSettings) -> Head:
    """Fit the start, the linear part and the trees on matured rows; calibration is left at its start.

    Parameters
    ----------
    design : Design
        Rows whose outcome matured before the cut.
    labels : Labels
        Of the same rows.
    horizon : int
    cut : datetime64[us]
    settings : HeadSettings
    """
    weight = training_weights(labels.dates, horizon, cut, settings.halflife_years)
    cluster = labels.dates.astype(np.float64)
    prior = settings.prior(design.layout.event)
    scenario = _fit_scenario(labels, prior, weight, settings.scenario_penalty)
    start = _start(scenario, prior, labels.level, labels.implied)
    columns = linear_columns(design)
    stiffer = _stiffer(horizon)
    penalty = stiffer * np.array([_penalty(name, settings) for name in design.layout.columns[: design.layout.signed]])
    linear = fit_ridge_logit(
        columns, labels.y, start, weight, penalty, intercept_penalty=_HELD, cluster=cluster,
    )  # fmt: skip
    offset = start + linear.decision_function(columns)
    trees = replace(settings.trees, lambda_l2=stiffer * settings.trees.lambda_l2)
    boosters = _fit_trees(design, labels.y, offset, weight, trees)
    return Head(design.layout.event, horizon, scenario, prior, linear, boosters)


def soft_direction(spread: FloatArray, sigma: FloatArray, horizon: int) -> FloatArray:
    """Return how clearly large beat small, in [0, 1]: the label from which the direction is learned.

    Phi(-spread / (sigma root h)), its log-odds times root 2: were the spread's mean m sigmas, the mean of Phi over a
    normal outcome around it is Phi(m / root 2), which the factor undoes (METHODS 2).

    Parameters
    ----------
    spread : array, shape (n,)
        Realised small-minus-large log return.
    sigma : array, shape (n,)
        Of a week, log units.
    horizon : int
        Weeks.

    Examples
    --------
    >>> soft_direction(np.array([0.0, -0.04, 0.04]), np.array([0.02, 0.02, 0.02]), 4).round(3)
    array([0.5  , 0.913, 0.087])
    """
    clear = np.clip(ndtr(-spread / (sigma * np.sqrt(horizon))), 1e-6, 1 - 1e-6)
    label: FloatArray = expit(np.sqrt(2.0) * logit(clear))
    return label


def _stiffer(horizon: int) -> float:
    """By how much penalties rise as the horizon falls."""
    return max(HORIZONS) / horizon


def _penalty(column: str, settings: HeadSettings) -> float:
    if column.startswith(DRIVERS):
        return settings.drivers_penalty
    return settings.ridge_penalty if is_composite(column) else settings.states_penalty


def _fit_scenario(labels: Labels, prior: float, weight: FloatArray, penalty: float) -> RidgeLogit:
    """Fit the one-variable Platt of the implied log-odds; with no scenario set it stays at its prior."""
    gap = labels.implied - labels.level
    known = np.isfinite(gap)
    if not known.any():
        return RidgeLogit(np.zeros(1), 0.0, np.zeros((2, 2)))
    return fit_ridge_logit(
        gap[known][:, None], labels.y[known], (labels.level + prior * gap)[known], weight[known],
        penalty, intercept_penalty=penalty,
        cluster=labels.dates[known].astype(np.float64),
    )  # fmt: skip


def _fit_trees(
    design: Design, y: FloatArray, offset: FloatArray, weight: FloatArray, settings: TreeSettings
) -> tuple[lgb.Booster, ...]:
    data = lgb.Dataset(
        design.columns, y, weight=weight, init_score=offset, free_raw_data=False,
        feature_name=list(design.layout.columns), params={"max_bin": settings.max_bin, "verbose": -1},
    )  # fmt: skip
    parameters = {
        "objective": "cross_entropy",
        "boost_from_average": False,
        "num_leaves": settings.num_leaves,
        "max_depth": settings.max_depth,
        "learning_rate": settings.learning_rate,
        "min_data_in_leaf": settings.min_data_in_leaf,
        "feature_fraction": settings.feature_fraction,
        "bagging_fraction": settings.bagging_fraction,
        "bagging_freq": 1,
        "lambda_l2": settings.lambda_l2,
        "path_smooth": settings.path_smooth,
        "max_bin": settings.max_bin,
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": 1,
        "verbose": -1,
    }
    return tuple(
        lgb.train({**parameters, "seed": seed}, data, num_boost_round=settings.rounds) for seed in range(settings.seeds)
    )


def raw_scores(head: Head, design: Design) -> RawScores:
    """Return the parts of the head's log-odds at the rows of a design."""
    columns = linear_columns(design)
    trees = np.array([booster.predict(design.columns, raw_score=True, num_threads=1) for booster in head.boosters])
    error = trees.std(axis=0, ddof=1) / np.sqrt(len(trees)) if len(trees) > 1 else np.zeros(len(columns))
    linear, linear_error = head.linear.decision_function(columns), head.linear.standard_error(columns)
    return RawScores(linear, linear_error, trees.mean(axis=0), error)


def calibrate(
    head: Head, scores: tuple[FloatArray, FloatArray], past: Labels, cut: np.datetime64, settings: HeadSettings
) -> Head:
    """Learn pool weight and ridge-Platt from matured out-of-sample scores of earlier bundles.

    Parameters
    ----------
    head : Head
    scores : pair of arrays, shape (n,)
        Linear and tree parts as earlier bundles predicted them out of sample.
    past : Labels
        Outcomes matured before the cut; `level` is the start that those bundles had.
    cut : datetime64[us]
    settings : HeadSettings

    Returns
    -------
    Head
        Unchanged while there are fewer than `settings.calibration_dates` dates.
    """
    y, base, dates = past.y, past.level, past.dates
    if len(np.unique(dates)) < settings.calibration_dates:
        return head
    linear, trees = scores
    weight = training_weights(dates, head.horizon, cut, settings.halflife_years)
    half = base + linear + 0.5 * trees
    stiffer = _stiffer(head.horizon)
    pool = fit_ridge_logit(
        (trees / _UNIT)[:, None], y, half, weight, stiffer * settings.pool_penalty, intercept_penalty=_HELD
    )  # fmt: skip
    share = float(np.clip(0.5 + pool.coef[0] / _UNIT, 0.0, 1.0))
    deviation = linear + share * trees
    platt = fit_ridge_logit(
        (deviation / _UNIT)[:, None], y, base + deviation, weight, stiffer * settings.platt_slope_penalty,
        intercept_penalty=_HELD,
    )  # fmt: skip
    return replace(head, pool=share, slope=max(1.0 + float(platt.coef[0]) / _UNIT, 0.0))
