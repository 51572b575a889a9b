"""Scores of probability forecasts against climatology: losses, skill with intervals, calibration slope, sharpness.

A sample this small fools the eye, so every skill comes with a bootstrap interval and with the noise floor: the spread
that chance alone would give it. Losses are means over rows; all pairs of a date move together in every interval.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from scipy.special import logit

from features.contracts import FloatArray, IntArray, TimeArray
from features.errors import DataContractError
from models.linear import fit_ridge_logit

CLIP = 1e-12
"""Probabilities are kept this far from 0 and 1."""
BLOCK_DATES = 13
"""Decision dates in one cluster of the slope's standard error: outcomes of four weeks overlap inside it."""
_SEPARATED = 30.0
"""Fitted log-odds beyond this say that the outcomes are separated, so that no finite slope exists."""


class Slope(NamedTuple):
    """A calibration slope and its standard error; both missing where no finite slope exists."""

    value: float
    error: float


def log_loss(p: FloatArray, y: FloatArray) -> FloatArray:
    """Return the log loss of each row, natural units.

    Examples
    --------
    >>> log_loss(np.array([0.5, 0.25]), np.array([1.0, 0.0])).round(4)
    array([0.6931, 0.2877])
    """
    p = _clipped(p)
    loss: FloatArray = -(y * np.log(p) + (1 - y) * np.log1p(-p))
    return loss


def brier(p: FloatArray, y: FloatArray) -> FloatArray:
    """Return the squared error of each row's probability."""
    return np.square(np.asarray(p, dtype=np.float64) - y)


def log_odds(p: FloatArray) -> FloatArray:
    """Return the log-odds of probabilities kept off 0 and 1."""
    odds: FloatArray = logit(_clipped(p))
    return odds


def skill(loss_model: FloatArray, loss_base: FloatArray) -> float:
    """Return 1 - mean(loss_model) / mean(loss_base), a fraction; missing without rows.

    Examples
    --------
    >>> round(skill(np.array([0.4, 0.5]), np.array([0.5, 0.5])), 3)
    0.1
    """
    if len(loss_model) != len(loss_base):
        raise DataContractError(f"losses must pair up row by row; got {len(loss_model)} and {len(loss_base)}")
    total = float(np.sum(loss_base))
    return float(1 - np.sum(loss_model) / total) if total > 0 else float("nan")


def skill_interval(
    loss_model: FloatArray,
    loss_base: FloatArray,
    dates: TimeArray,
    *,
    level: float = 0.9,
    mean_block: float = 10.0,
    draws: int = 2000,
    seed: int,
) -> tuple[float, float]:
    """Return the percentile interval of the skill by stationary bootstrap over dates.

    Blocks of consecutive dates with geometric lengths are drawn around the circle (Politis and Romano 1994); a drawn
    date brings all its rows, so pairs of one date never vouch for each other. On 400 weeks of overlapping four-week
    outcomes a 90% interval holds the truth in about 85% of samples (slow test).

    Parameters
    ----------
    loss_model, loss_base : array, shape (n,)
        Losses of the same rows.
    dates : array of datetime64, shape (n,)
        Decision date of each row, in any order.
    level : float
        Coverage, a fraction.
    mean_block : float
        Expected block length in dates.
    draws : int
    seed : int

    Returns
    -------
    low, high : float
        Fractions; missing without rows.

    Raises
    ------
    DataContractError
        If the shapes differ, `level` is not inside (0, 1) or `mean_block` is below 1.
    """
    if not len(loss_model) == len(loss_base) == len(dates):
        raise DataContractError(f"losses and dates must pair up; got {len(loss_model)}, {len(loss_base)}, {len(dates)}")
    if not 0 < level < 1 or mean_block < 1:
        raise DataContractError(f"`level` must be in (0, 1), `mean_block` at least 1; got {level} and {mean_block}")
    if len(dates) == 0 or float(np.sum(loss_base)) <= 0:
        return float("nan"), float("nan")
    unique, member = np.unique(dates, return_inverse=True)
    sums = np.column_stack([np.bincount(member, loss, len(unique)) for loss in (loss_model, loss_base)])
    drawn = _date_counts(len(unique), float(mean_block), draws, seed) @ sums
    tail = (1 - level) / 2
    low, high = np.quantile(1 - drawn[:, 0] / np.maximum(drawn[:, 1], np.finfo(float).tiny), [tail, 1 - tail])
    return float(low), float(high)


@lru_cache(maxsize=4)
def _date_counts(n: int, mean_block: float, draws: int, seed: int) -> FloatArray:
    """How often each draw of the stationary bootstrap takes each of `n` dates, shape (draws, n)."""
    rng = np.random.default_rng(seed)
    restart = rng.random((draws, n)) < 1 / mean_block
    restart[:, 0] = True
    start = rng.integers(0, n, (draws, n))
    position = np.arange(n)
    last = np.maximum.accumulate(np.where(restart, position, 0), axis=1)
    index = (np.take_along_axis(start, last, axis=1) + position - last) % n
    flat = (index + n * np.arange(draws)[:, None]).ravel()
    counts = np.bincount(flat, minlength=n * draws).reshape(draws, n).astype(np.float64)
    counts.flags.writeable = False
    return counts


def reliability_slope(p: FloatArray, y: FloatArray, dates: TimeArray, *, block_dates: int = BLOCK_DATES) -> Slope:
    """Return the slope of a logistic regression of the outcomes on logit(p), with intercept (Cox 1958).

    1 is calibrated, below 1 too bold, above 1 too timid. The standard error is a sandwich clustered by blocks of
    `block_dates` consecutive decision dates.
    """
    return _slope(log_odds(p), y, np.zeros(len(p)), dates, block_dates)


def reliability_slope_vs_base(
    p: FloatArray, y: FloatArray, base: FloatArray, dates: TimeArray, *, block_dates: int = BLOCK_DATES
) -> Slope:
    """Return the slope on logit(p) - logit(base) with logit(base) held as offset, with intercept.

    The slope that matters for a forecast which is a deviation from climatology: 1 says that the deviations are worth
    what they claim, 0 that they are noise. Missing where the forecast never leaves the base rate.
    """
    offset = log_odds(base)
    return _slope(log_odds(p) - offset, y, offset, dates, block_dates)


def _slope(x: FloatArray, y: FloatArray, offset: FloatArray, dates: TimeArray, block_dates: int) -> Slope:
    missing = Slope(float("nan"), float("nan"))
    if len(x) == 0 or np.ptp(x) < 1e-9 or np.ptp(y) == 0:
        return missing
    block = np.unique(dates, return_inverse=True)[1] // block_dates
    scale = float(np.std(x))
    cluster = block.astype(np.float64)
    try:
        fit = fit_ridge_logit((x / scale)[:, None], y, offset, np.ones(len(x)), 0.0, cluster=cluster)
    except DataContractError:
        # Separable classes have no slope.
        return missing
    if np.abs(offset + fit.decision_function((x / scale)[:, None])).max() > _SEPARATED:
        return missing
    blocks = int(block.max()) + 1
    # With few clusters the sandwich is too small; a single one has none.
    error = np.sqrt(fit.covariance[1, 1] * blocks / (blocks - 1)) if blocks > 1 else float("nan")
    return Slope(float(fit.coef[0] / scale), float(error / scale))


def sharpness(p: FloatArray, base: FloatArray) -> float:
    """Return the standard deviation of logit(p) - logit(base); missing without rows."""
    return float(np.std(log_odds(p) - log_odds(base))) if len(p) else float("nan")


class Sample(NamedTuple):
    """Matured forecasts of one event and horizon: probability, base rate, outcome, date and pair of each row."""

    p: FloatArray
    base: FloatArray
    y: FloatArray
    dates: TimeArray
    pair: IntArray


def pair_correlation(sample: Sample) -> float:
    """Return how outcomes of two pairs on one date correlate, in [0, 1]; 0 where no date has two pairs.

    The mean cross product of the standardised residuals (y - base), over their mean square.
    """
    _, base, y, dates, _ = sample
    date = np.unique(dates, return_inverse=True)[1]
    residual = (y - base) / np.sqrt(np.maximum(base * (1 - base), CLIP))
    sums, counts = np.bincount(date, residual), np.bincount(date)
    couples, squares = np.sum(counts * (counts - 1)), np.sum(residual**2)
    if couples == 0 or squares == 0:
        return 0.0
    return float(np.clip((np.sum(sums**2) - squares) / (couples * squares / len(y)), 0, 1))


def noise_floor(sample: Sample, horizon_weeks: int) -> float:
    """Return the standard deviation of the log-loss skill of a perfectly calibrated forecast as sharp as this one.

    Were `p` the truth, each row's gain over the base rate would be y * (logit p - logit base) + const, with standard
    deviation s = sqrt(p (1 - p)) (logit p - logit base), signed. Outcomes k dates apart share h - k of h weeks and so
    correlate as 1 - k / h; outcomes of two pairs correlate by the mean cross product of the standardised residuals
    (y - base) of equal dates. The variance of the summed gain follows in closed form; it is divided by the expected
    loss of the base rate. A measured skill within two noise floors of zero says little.
    """
    p, base, _, dates, pair = sample
    if len(p) == 0:
        return float("nan")
    unique, date = np.unique(dates, return_inverse=True)
    column = np.unique(pair, return_inverse=True)[1]
    gains = np.zeros((len(unique), int(column.max()) + 1))
    gains[date, column] = np.sqrt(p * (1 - p)) * (log_odds(p) - log_odds(base))
    rho = pair_correlation(sample)
    total = gains.sum(axis=1)
    variance = 0.0
    for lag in range(min(horizon_weeks, len(unique))):
        own = np.sum(gains[lag:] * gains[: len(gains) - lag])
        joint = np.sum(total[lag:] * total[: len(total) - lag])
        variance += (1 if lag == 0 else 2) * (1 - lag / horizon_weeks) * ((1 - rho) * own + rho * joint)
    expected = float(np.sum(p * log_loss(base, np.ones(len(p))) + (1 - p) * log_loss(base, np.zeros(len(p)))))
    return float(np.sqrt(max(variance, 0.0)) / expected)


def _clipped(p: FloatArray) -> FloatArray:
    return np.clip(np.asarray(p, dtype=np.float64), CLIP, 1 - CLIP)
