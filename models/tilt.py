"""The tilt: re-weight the scenario set so that it says what the heads say, and change it as little as possible.

Minimum relative entropy with soft constraints (Meucci 2008, entropy pooling): the weights w minimise
m KL(w | uniform) + sum_j (E_w[f_j] - p_j)^2 / (2 s_j^2) over the event indicators f_j of all pairs and horizons, s_j
the standard errors of the heads and m the number of independent months behind the paths: both sides have the say that
their evidence earns. The dual is a smooth convex problem with one variable an event, solved by Newton's method.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from features.contracts import BoolArray, FloatArray, IntArray
from features.errors import DataContractError

MIN_PATHS = 20
"""An event that fewer untilted paths show, or fail to show, cannot be re-weighted; its constraint is left out."""
_STEPS, _TOLERANCE = 50, 1e-10
_CHUNK = 32
_LEAST = -600.0
"""Log of the least weight relative to the greatest: targets that no path meets must leave every path some weight."""


@dataclass(frozen=True, eq=False)
class Tilt:
    """Weights of the paths and how well they meet the heads.

    Parameters
    ----------
    weights : array, shape (n,)
        Positive, of sum one.
    residual : array, shape (m,)
        E_w[f_j] - p_j, fractions; what the soft constraints left open, or the whole gap where `used` is False.
    used : array of bool, shape (m,)
        False where the event has too few paths.
    """

    weights: FloatArray
    residual: FloatArray
    used: BoolArray


def tilt(happened: BoolArray, target: FloatArray, slack: FloatArray, months: float = 1.0) -> Tilt:
    """Re-weight paths.

    Parameters
    ----------
    happened : array of bool, shape (n, m)
        Which event happens on which path.
    target : array, shape (m,)
        Probabilities that the heads publish.
    slack : array, shape (m,)
        Their standard errors, as probabilities; positive.
    months : float
        Independent months behind the paths: how firmly they stand against the targets.

    Raises
    ------
    DataContractError
        If a target is no probability or a slack is not positive.

    Information set: none of its own.
    """
    inside = np.isfinite(target) & (target > 0) & (target < 1) & np.isfinite(slack) & (slack > 0)
    if not inside.all():
        raise DataContractError(f"`target` must lie in (0, 1) and `slack` be positive; got {target} and {slack}")
    n = len(happened)
    # Paths with the same events get the same weight: the problem is solved on the distinct patterns.
    _, first, member, count = np.unique(
        _pattern_codes(happened), return_index=True, return_inverse=True, return_counts=True
    )
    pattern = happened[first].astype(np.float64)
    share = count / n
    hits = np.minimum(share @ pattern, share @ (1 - pattern)) * n
    used = hits >= MIN_PATHS
    chosen, wanted, spare = pattern[:, used], target[used], months * slack[used] ** 2
    score = _solve(chosen, share, wanted, spare)
    mass = share * np.exp(np.maximum(score - score.max(), _LEAST))
    weights = (mass / mass.sum() / count)[member]
    residual = (weights @ happened.astype(np.float64)) - target
    return Tilt(weights / weights.sum(), residual, used)


def _pattern_codes(happened: BoolArray) -> IntArray:
    """Return a number for each row, the same just where all events agree; an integer takes 32 of them at once."""
    code = np.zeros(len(happened), dtype=np.int64)
    for start in range(0, happened.shape[1], _CHUNK):
        part = happened[:, start : start + _CHUNK]
        _, before = np.unique(code, return_inverse=True)
        code = (before << _CHUNK) + part @ (1 << np.arange(part.shape[1], dtype=np.int64))
    return code


def _solve(pattern: FloatArray, share: FloatArray, wanted: FloatArray, spare: FloatArray) -> FloatArray:
    """Return the log of the weight ratio of each pattern, up to a constant."""
    force = np.zeros(len(wanted))

    def dual(force: FloatArray) -> float:
        score = pattern @ force
        top = score.max()
        return float(top + np.log(share @ np.exp(score - top)) - force @ wanted + 0.5 * spare @ force**2)

    for _ in range(_STEPS):
        score = pattern @ force
        mass = share * np.exp(score - score.max())
        mass /= mass.sum()
        mean = mass @ pattern
        gradient = mean - wanted + spare * force
        hessian = (pattern * mass[:, None]).T @ pattern - np.outer(mean, mean) + np.diag(spare)
        step = np.linalg.solve(hessian, gradient)
        size, before = 1.0, dual(force)
        while size > 1e-6 and dual(force - size * step) > before + 1e-14 * abs(before):
            size /= 2
        force = force - size * step
        if np.abs(step).max(initial=0.0) <= _TOLERANCE:
            break
    result: FloatArray = pattern @ force
    return result
