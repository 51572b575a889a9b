"""A hidden Markov chain of two Gaussian states: fitted on the past, filtered online, never smoothed.

The smoothed probabilities that the fit needs never leave it: they know rows after their own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from features.contracts import FloatArray
from features.errors import DataContractError
from models.compiled import compiled

_STEPS = 300
_TOLERANCE = 1e-7
"""The fit ends when a step adds less than this to the mean log likelihood of a row."""
_STAYED, _MOVED = 4.0, 1.0
"""Pseudo-counts of rows that stayed in their state and that left it: a state is not a single outlier."""
_NARROWEST = 0.05
"""No state is narrower than this share of the sample's standard deviation: two equal rows are not a state."""
_RUN = 13
"""Mean run, in rows, of the random states from which a start begins."""


@dataclass(frozen=True, eq=False)
class HmmParams:
    """A fitted chain, the state with the lower mean first, so that states cannot swap between refits.

    Parameters
    ----------
    mean, std : array, shape (2,)
        Of the changes in each state, in their unit; `mean` ascends.
    move : array, shape (2, 2)
        Probability of going from the state of the row to that of the column, one step later.
    log_likelihood : float
        Of the rows that it was fitted on.
    """

    mean: FloatArray
    std: FloatArray
    move: FloatArray
    log_likelihood: float

    def __post_init__(self) -> None:
        sound = self.mean.shape == self.std.shape == (2,) and self.move.shape == (2, 2)
        if not (sound and (self.std > 0).all() and (self.move > 0).all() and np.allclose(self.move.sum(axis=1), 1)):
            raise DataContractError(f"HMM parameters must be two states with `std` and `move` above 0; got {self}")
        if self.mean[0] > self.mean[1]:
            raise DataContractError(f"the states of an HMM must be in the order of `mean`; got {self.mean}")


def fit_hmm(changes: FloatArray, *, starts: int = 6, seed: int = 0) -> HmmParams:
    """Fit by expectation-maximisation from several starts and keep the likeliest.

    Two starts are fixed, calm against wild rows and low against high ones; the others draw random runs of states.
    Transition counts carry a small prior (Baum et al. 1970; Rabiner 1989; the chain starts in its stationary law).

    Parameters
    ----------
    changes : array, shape (n,)
        Changes of a line, any frequency.
    starts : int
    seed : int
        Of the random starts.

    Raises
    ------
    DataContractError
        If there are fewer than 26 changes, one is missing, or they never move.

    Information set: all of `changes`, so pass only rows known at the refit.
    """
    changes = np.asarray(changes, dtype=np.float64)
    if len(changes) < 26 or not np.isfinite(changes).all():
        raise DataContractError(f"`changes` must be at least 26 finite numbers; got {len(changes)} rows")
    scale = float(changes.std())
    if not scale > 0:
        raise DataContractError("`changes` must move; check the prices of the two segments")
    z = changes / scale
    rng = np.random.default_rng(seed)
    best = None
    for start in range(starts):
        if start == 0:
            member = np.abs(z - np.median(z)) > np.quantile(np.abs(z - np.median(z)), 0.7)
        elif start == 1:
            member = z > np.median(z)
        else:
            member = np.cumsum(rng.random(len(z)) < 1 / _RUN) % 2 == 1
        mean, std, move = _first_guess(z, member)
        reached = _maximise(z, mean, std, move)
        if best is None or reached > best[0]:
            best = (float(reached), mean, std, move)
    if best is None:
        raise DataContractError(f"`starts` must be at least 1; got {starts}")
    order = np.argsort(best[1], kind="stable")
    likelihood = best[0] - len(z) * np.log(scale)
    return HmmParams(best[1][order] * scale, best[2][order] * scale, best[3][np.ix_(order, order)], float(likelihood))


def filter_hmm(changes: FloatArray, params: HmmParams) -> FloatArray:
    """Return the filtered probability of the state with the higher mean (Hamilton 1989).

    Parameters
    ----------
    changes : array, shape (n,)
    params : HmmParams

    Returns
    -------
    array, shape (n,)
        Information set: row i uses rows up to i, and parameters of an earlier refit.

    Raises
    ------
    DataContractError
        If a change is missing.
    """
    changes = np.asarray(changes, dtype=np.float64)
    if not np.isfinite(changes).all():
        raise DataContractError("`changes` must be finite; leave out days without a close")
    filtered, _, _ = _filter(changes, params.mean, params.std, params.move)
    return np.asarray(filtered)


def next_moments(high: FloatArray, params: HmmParams) -> tuple[FloatArray, FloatArray]:
    """Return mean and standard deviation of the next change, given the filtered probability of the higher state.

    Information set: that of `high`.
    """
    ahead = high * params.move[1, 1] + (1 - high) * params.move[0, 1]
    mean = (1 - ahead) * params.mean[0] + ahead * params.mean[1]
    square = (1 - ahead) * (params.std[0] ** 2 + params.mean[0] ** 2) + ahead * (
        params.std[1] ** 2 + params.mean[1] ** 2
    )
    return mean, np.sqrt(square - mean**2)


def _first_guess(z: FloatArray, member: np.ndarray) -> tuple[FloatArray, FloatArray, FloatArray]:
    mean, std = np.zeros(2), np.ones(2)
    for state, rows in enumerate((~member, member)):
        if rows.sum() > 1:
            mean[state], std[state] = z[rows].mean(), max(float(z[rows].std()), _NARROWEST)
    return mean, std, np.array([[0.95, 0.05], [0.05, 0.95]])


@compiled
def _filter(y: FloatArray, mean: FloatArray, std: FloatArray, move: FloatArray) -> tuple[FloatArray, FloatArray, float]:
    """Return filtered and predicted probability of the second state, shape (n,) each, and the log likelihood."""
    n = len(y)
    filtered, predicted = np.empty(n), np.empty(n)
    likelihood = -0.5 * n * math.log(2 * math.pi)
    ahead = move[0, 1] / (move[0, 1] + move[1, 0])
    for row in range(n):
        predicted[row] = ahead
        low = -0.5 * ((y[row] - mean[0]) / std[0]) ** 2 - math.log(std[0])
        high = -0.5 * ((y[row] - mean[1]) / std[1]) ** 2 - math.log(std[1])
        top = max(low, high)
        low, high = (1 - ahead) * math.exp(low - top), ahead * math.exp(high - top)
        likelihood += top + math.log(low + high)
        filtered[row] = high / (low + high)
        ahead = filtered[row] * move[1, 1] + (1 - filtered[row]) * move[0, 1]
    return filtered, predicted, likelihood


@compiled
def _maximise(y: FloatArray, mean: FloatArray, std: FloatArray, move: FloatArray) -> float:
    """Improve the parameters in place; return their log likelihood before the last step."""
    n = len(y)
    before = -math.inf
    likelihood = before
    for _ in range(_STEPS):
        filtered, predicted, likelihood = _filter(y, mean, std, move)
        if likelihood - before < _TOLERANCE * n:
            break
        before = likelihood
        # Rows that stayed in the first state, rose, fell, and stayed in the second.
        stayed, rose, fell, kept = _STAYED, _MOVED, _MOVED, _STAYED
        weight = total = square = 0.0
        all_total = all_square = 0.0
        later = filtered[n - 1]
        for row in range(n - 1, -1, -1):
            if row < n - 1:
                now, low, high = filtered[row], (1 - later) / (1 - predicted[row + 1]), later / predicted[row + 1]
                stayed += (1 - now) * move[0, 0] * low
                fell += now * move[1, 0] * low
                rose += (1 - now) * move[0, 1] * high
                kept += now * move[1, 1] * high
                # Smoothed probability of this row, which serves the fit only.
                later = now * (move[1, 0] * low + move[1, 1] * high)
            weight += later
            total += later * y[row]
            square += later * y[row] ** 2
            all_total += y[row]
            all_square += y[row] ** 2
        for state in range(2):
            if state == 0:
                share, first, second = n - weight, all_total - total, all_square - square
            else:
                share, first, second = weight, total, square
            share = max(share, 1e-9)
            mean[state] = first / share
            std[state] = math.sqrt(max(second / share - mean[state] ** 2, _NARROWEST**2))
        move[0, 0], move[0, 1] = stayed / (stayed + rose), rose / (stayed + rose)
        move[1, 0], move[1, 1] = fell / (fell + kept), kept / (fell + kept)
    return likelihood
