"""Tail curves: quantile and expected shortfall of a weighted sample over a grid of levels, and what is read off them.

The level correction needs the tail at levels that are known only later, so both sides of every forecast are kept as
curves; values between grid points are interpolated in the logarithm of the level.
"""

from __future__ import annotations

import math

import numpy as np

from features.contracts import FloatArray
from models.scenarios import ordered_tail

ALPHA = 0.05
LOWEST, HIGHEST = 0.2, 3.0
"""The corrected level stays within these multiples of the nominal one (DESIGN section 5)."""
_STEPS = 12
GRID: FloatArray = (np.arange(100) + 0.5) / 100
"""Levels of the quantiles that stand for a whole distribution, each for one hundredth of its mass."""
QUANTILE_COLUMNS: tuple[str, ...] = tuple(f"q_{place:02d}" for place in range(len(GRID)))
LEVELS: FloatArray = ALPHA * 2.0 ** (np.arange(-41, 21) / _STEPS)
"""From below 0.2 x 2.5% to above 3 x 5%, twelve to the octave; 5% and 2.5% are grid points."""
_GRID: FloatArray = np.log(LEVELS)


def tail_curves(ordered: FloatArray, weights: FloatArray) -> FloatArray:
    """Return the curves of both tails of a weighted sample in ascending order.

    Returns
    -------
    array, shape (2, 2, len(LEVELS))
        Side (lower, then upper), then quantile and expected shortfall. The upper side is that of the negated sample:
        its losses are gains of the sample.
    """
    upper = ordered_tail(-ordered[::-1], weights[::-1], LEVELS)
    return np.stack([ordered_tail(ordered, weights, LEVELS), upper])


def read_curve(curve: FloatArray, level: float) -> tuple[float, float]:
    """Return quantile and expected shortfall at a level inside the grid.

    Examples
    --------
    >>> curve = np.stack([LEVELS, LEVELS / 2])
    >>> read_curve(curve, 0.05)
    (0.05, 0.025)
    """
    place = math.log2(level / LEVELS[0]) * _STEPS
    whole = min(max(round(place), 0), len(LEVELS) - 1)
    if abs(place - whole) < 1e-9:
        return float(curve[0, whole]), float(curve[1, whole])
    return float(np.interp(np.log(level), _GRID, curve[0])), float(np.interp(np.log(level), _GRID, curve[1]))


def reached_level(quantiles: FloatArray, value: float) -> float:
    """Return the level at which a curve's quantile equals a value: the breach happens at every level above it.

    0 below the whole curve, 1 above it; missing if the value or the curve is.
    """
    if not (np.isfinite(value) and np.isfinite(quantiles).all()):
        return float("nan")
    if value < quantiles[0]:
        return 0.0
    if value >= quantiles[-1]:
        return 1.0
    return float(np.exp(np.interp(value, quantiles, _GRID)))
