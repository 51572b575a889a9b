"""Sharpe and information ratios with what they are worth: standard error, and deflation for the trials behind them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.stats import norm

from features.contracts import FloatArray
from features.errors import DataContractError

WEEKS_A_YEAR = 52
_EULER = 0.5772156649015329


class Ratio(NamedTuple):
    """A ratio a year and its standard error; both missing where returns never move."""

    value: float
    error: float


def information_ratio(excess: FloatArray, *, lags: int = 0, periods: int = WEEKS_A_YEAR) -> Ratio:
    """Return mean over standard deviation of excess returns, a year, with its standard error (Lo 2002).

    The error comes from the joint long-run variance of mean and second moment by the delta method, Bartlett weights up
    to `lags`. With `lags` 0 and normal returns it is Lo's sqrt((1 + SR^2 / 2) / n) a period; skewness and fat tails
    enter as in Mertens (2002).

    Parameters
    ----------
    excess : array, shape (n,)
        Returns a period, fractions.
    lags : int
        Autocovariances that count.
    periods : int
        Periods a year.

    Raises
    ------
    DataContractError
        If `lags` is negative or not below the number of returns.

    Information set: the returns given.
    """
    n = len(excess)
    if n > 0 and not 0 <= lags < n:
        raise DataContractError(f"`lags` must be in [0, {n}); got {lags}")
    mean, deviation = (float(np.mean(excess)), float(np.std(excess))) if n else (0.0, 0.0)
    # A standard deviation that is rounding is none.
    if n < 3 or deviation <= 1e-12 * max(abs(mean), 1e-300) or deviation == 0.0:
        return Ratio(float("nan"), float("nan"))
    z = (excess - mean) / deviation
    ratio = mean / deviation
    # Influence of one return on the ratio: d(mean / sd) = z - SR (z^2 - 1) / 2.
    influence = z - ratio * (z**2 - 1) / 2
    variance = float(influence @ influence)
    for lag in range(1, lags + 1):
        variance += 2 * (1 - lag / (lags + 1)) * float(influence[lag:] @ influence[:-lag])
    return Ratio(float(ratio * np.sqrt(periods)), float(np.sqrt(max(variance, 0.0) * periods) / n))


def weekly_ratios(returns: FloatArray) -> FloatArray:
    """Return the Sharpe ratio a period of each trial, returns of shape (n, k); missing where one never moves."""
    return np.array([information_ratio(column, periods=1).value for column in np.asarray(returns).T])


def expected_maximum(trials: int, spread: float) -> float:
    """Return the Sharpe ratio that the best of `trials` worthless ones shows: Bailey and Lopez de Prado (2014), eq. 1.

    Parameters
    ----------
    trials : int
        Independent trials.
    spread : float
        Standard deviation of the trials' ratios a period.
    """
    if trials < 1 or spread < 0:
        raise DataContractError(f"`trials` must be 1 or more and `spread` not negative; got {trials} and {spread}")
    if trials == 1:
        return 0.0
    high, higher = norm.ppf([1 - 1 / trials, 1 - 1 / (trials * np.e)])
    return float(spread * ((1 - _EULER) * high + _EULER * higher))


def deflated_sharpe(excess: FloatArray, trials: FloatArray) -> float:
    """Return the probability that a Sharpe ratio is above what the best of all trials would show by luck.

    Phi((SR - SR0) sqrt(n - 1) / sqrt(1 - skew SR + (kurtosis - 1) / 4 SR^2)), SR0 the expected maximum over the trials
    (Bailey and Lopez de Prado 2014, "The deflated Sharpe ratio", eq. 2).

    Parameters
    ----------
    excess : array, shape (n,)
        Returns a period of the strategy that was chosen.
    trials : array, shape (k,)
        Sharpe ratios a period (not a year) of every trial that was run, this one included. Trials are taken to be
        independent, which makes the answer severe where they resemble each other. Missing ones count as trials.

    Returns
    -------
    float
        In (0, 1); above 0.95 is the usual bar. Missing where returns never move.

    Raises
    ------
    DataContractError
        If there is no trial.

    Information set: the returns given.
    """
    if len(trials) == 0:
        raise DataContractError("`trials` must hold the ratio of at least the strategy itself; got none")
    seen = trials[np.isfinite(trials)]
    spread = float(np.std(seen, ddof=1)) if len(seen) > 1 else 0.0
    return probabilistic_sharpe(excess, expected_maximum(len(trials), spread))


def probabilistic_sharpe(excess: FloatArray, benchmark: float = 0.0) -> float:
    """Return the probability that the true Sharpe ratio a period exceeds `benchmark` (Bailey and Lopez de Prado 2012).

    Missing where returns never move.
    """
    ratio = information_ratio(excess, periods=1).value
    if not np.isfinite(ratio):
        return float("nan")
    z = (excess - np.mean(excess)) / np.std(excess)
    return _deflate(ratio, benchmark, len(excess), float(np.mean(z**3)), float(np.mean(z**4)))


def _deflate(ratio: float, benchmark: float, n: int, skew: float, kurtosis: float) -> float:
    # Positive for every real sample: kurtosis is at least 1 + skew^2.
    spread = max(1 - skew * ratio + (kurtosis - 1) / 4 * ratio**2, 1e-12)
    return float(norm.cdf((ratio - benchmark) * np.sqrt((n - 1) / spread)))
