"""The statistical jump model with two states: clusters of features in time, at a fixed price for every jump.

Fitted on the past; online the state of a row is where the cheapest path through rows up to it ends. That state is 0 or
1, so what is handed on is by how much its path is cheaper: the value gap.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from features.contracts import BoolArray, FloatArray
from features.errors import DataContractError
from models.compiled import compiled

HALFLIVES = (8.0, 21.0, 63.0)
"""Days over which changes are averaged (Shu and Mulvey 2024, on active returns of factors)."""
PENALTY = 50.0
"""Price of a jump, on standardised daily features: the middle of the range of Shu, Yu and Mulvey (2024)."""
_WINSOR = 3.0
_ROUNDS = 100


@dataclass(frozen=True, eq=False)
class JumpParams:
    """A fitted jump model, the state with the lower first feature first, so that states cannot swap between refits.

    Parameters
    ----------
    mean, std : array, shape (k,)
        By which features are standardised, then kept within three standard deviations.
    centres : array, shape (2, k)
        Of the two states, in standardised features; the first column ascends.
    penalty : float
        Price of a jump.
    cost : float
        Of the cheapest path through the rows that it was fitted on.
    """

    mean: FloatArray
    std: FloatArray
    centres: FloatArray
    penalty: float
    cost: float

    def __post_init__(self) -> None:
        if not (self.penalty > 0 and (self.std > 0).all() and self.centres.shape == (2, len(self.mean))):
            raise DataContractError(f"a jump model needs `penalty` and `std` above 0 and two centres; got {self}")
        if self.centres[0, 0] > self.centres[1, 0]:
            raise DataContractError(
                f"the states of a jump model must be in the order of their drift; got {self.centres}"
            )


def jump_features(changes: FloatArray) -> FloatArray:
    """Return exponentially weighted means of daily changes, one column for each of `HALFLIVES`, shape (n, 3).

    The means start at 0, so that the first rows, which know little, say little.

    Information set: row i uses rows up to i.
    """
    series = pd.Series(np.concatenate([[0.0], np.asarray(changes, dtype=np.float64)]))
    means = [series.ewm(halflife=halflife, adjust=False).mean().to_numpy(np.float64) for halflife in HALFLIVES]
    return np.column_stack(means)[1:]


def fit_jump(features: FloatArray, *, penalty: float = PENALTY, starts: int = 10, seed: int = 0) -> JumpParams:
    """Fit by turns: the cheapest path for given centres, the centres for a given path; keep the cheapest of all starts.

    Minimises sum 0.5 |x_t - centre(s_t)|^2 + penalty * number of jumps (Bemporad et al. 2018; Nystrup, Lindstroem and
    Madsen 2020). The first starts split at the median of each feature, the others begin at two random rows.

    Parameters
    ----------
    features : array, shape (n, k)
        The first column says which state leads: its centres ascend.
    penalty : float
    starts : int
    seed : int

    Raises
    ------
    DataContractError
        If there are fewer than 26 rows, a feature is missing or never moves, or `starts` is below 1.

    Information set: all of `features`, so pass only rows known at the refit.
    """
    features = np.asarray(features, dtype=np.float64)
    if features.ndim != 2 or len(features) < 26 or not np.isfinite(features).all() or starts < 1:
        raise DataContractError(f"`features` must be at least 26 rows of finite numbers; got shape {features.shape}")
    mean, std = features.mean(axis=0), features.std(axis=0)
    if not (std > 0).all():
        raise DataContractError("every column of `features` must move; check the prices of the two segments")
    x = _standardised(features, mean, std)
    rng = np.random.default_rng(seed)
    best = None
    for start in range(starts):
        if start < x.shape[1]:
            above = x[:, start] > np.median(x[:, start])
            centres = np.stack([x[~above].mean(axis=0), x[above].mean(axis=0)])
        else:
            centres = x[rng.choice(len(x), 2, replace=False)]
        centres, cost = _descend(x, centres, penalty)
        if best is None or cost < best[1]:
            best = (centres, cost)
    centres, cost = best  # type: ignore[misc]  # `starts` is at least 1
    return JumpParams(mean, std, centres[np.argsort(centres[:, 0], kind="stable")], penalty, cost)


def filter_jump(features: FloatArray, params: JumpParams) -> FloatArray:
    """Return by how much the cheapest path that ends in the leading state beats the other, over the penalty.

    Parameters
    ----------
    features : array, shape (n, k)
    params : JumpParams

    Returns
    -------
    array, shape (n,)
        Above 0 where the online state is the second one (Nystrup et al. 2020, online algorithm). Past rows count for
        at most 1 either way, the row itself comes on top.

        Information set: row i uses rows up to i, and parameters of an earlier refit.

    Raises
    ------
    DataContractError
        If a feature is missing.
    """
    features = np.asarray(features, dtype=np.float64)
    if not np.isfinite(features).all():
        raise DataContractError("`features` must be finite; leave out days without a close")
    loss = _losses(_standardised(features, params.mean, params.std), params.centres)
    value = _forward(loss, params.penalty)
    return np.asarray((value[:, 0] - value[:, 1]) / params.penalty)


def _standardised(features: FloatArray, mean: FloatArray, std: FloatArray) -> FloatArray:
    return np.clip((features - mean) / std, -_WINSOR, _WINSOR)


def _losses(x: FloatArray, centres: FloatArray) -> FloatArray:
    return np.asarray(0.5 * np.square(x[:, None, :] - centres[None]).sum(axis=2))


def _descend(x: FloatArray, centres: FloatArray, penalty: float) -> tuple[FloatArray, float]:
    """Centres and cost where neither path nor centres get any better."""
    cost = np.inf
    for _ in range(_ROUNDS):
        value = _forward(loss := _losses(x, centres), penalty)
        path = _backward(value, penalty)
        now = float(loss[np.arange(len(x)), path.astype(np.int64)].sum() + penalty * np.sum(path[1:] != path[:-1]))
        if now >= cost - 1e-10:
            break
        cost = now
        # A state that no row is in keeps its centre.
        inside = (~path, path)
        centres = np.stack([x[rows].mean(axis=0) if rows.any() else centres[s] for s, rows in enumerate(inside)])
    return centres, cost


@compiled
def _forward(loss: FloatArray, penalty: float) -> FloatArray:
    """Cost of the cheapest path that ends in each state, less that of the cheapest of all; shape (n, 2)."""
    value = np.empty_like(loss)
    low = high = 0.0
    for row in range(len(loss)):
        a = loss[row, 0] + min(low, high + penalty)
        b = loss[row, 1] + min(high, low + penalty)
        least = min(a, b)
        low, high = a - least, b - least
        value[row, 0], value[row, 1] = low, high
    return value


@compiled
def _backward(value: FloatArray, penalty: float) -> BoolArray:
    """Trace the cheapest path back; True where it is in the second state."""
    path = np.empty(len(value), np.bool_)
    path[-1] = value[-1, 1] < value[-1, 0]
    for row in range(len(value) - 2, -1, -1):
        low = value[row, 0] + (penalty if path[row + 1] else 0.0)
        high = value[row, 1] + (0.0 if path[row + 1] else penalty)
        path[row] = high < low
    return path
