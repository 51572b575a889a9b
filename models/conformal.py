"""The level correction: adaptive conformal inference on the level at which the weighted paths are read.

Gibbs and Candes (2021) with delayed feedback: after each matured outcome the level moves by gamma (alpha - error). What
was published is what is judged: an error is whether the outcome breached the level in force at its own decision.
"""

from __future__ import annotations

import numpy as np

from features.contracts import FloatArray, TimeArray
from models.curve import ALPHA, HIGHEST, LOWEST

GAMMA = 0.01
"""Step for one-week outcomes; longer horizons share it, because their errors overlap."""


def corrected_levels(
    reached: FloatArray, decision_at: TimeArray, matured_at: TimeArray, horizon: int, gamma: float = GAMMA
) -> FloatArray:
    """Return the corrected 5% level in force at each decision of one pair, horizon and side.

    Parameters
    ----------
    reached : array, shape (n,)
        Level reached by each outcome, see `models.curve.reached_level`; missing where there is no outcome or no tail.
    decision_at, matured_at : arrays of datetime64[us], shape (n,)
        In order of decision.
    horizon : int
        Weeks.
    gamma : float

    Returns
    -------
    array, shape (n,)
        Inside [0.2, 3] times 5%.

    Information set: outcomes with matured_at <= the decision.

    Examples
    --------
    A breach that matures before the second decision lowers the level there.

    >>> week = np.datetime64("2023-01-06", "us") + np.arange(3) * np.timedelta64(7, "D")
    >>> corrected_levels(np.array([0.01, 1.0, 1.0]), week, week + np.timedelta64(3, "D"), 1).round(4)
    array([0.05  , 0.0405, 0.041 ])
    """
    step = gamma / horizon
    order = np.argsort(matured_at, kind="stable")
    # Outcomes that are not there, or mature never, are never fed.
    feed = order[np.isfinite(reached[order]) & ~np.isnat(matured_at[order])]
    due = np.searchsorted(matured_at[feed], decision_at, side="right")
    level, done = ALPHA, 0
    levels = np.empty(len(reached))
    for row in range(len(reached)):
        while done < due[row]:
            source = feed[done]
            error = float(reached[source] < levels[source])
            level = float(np.clip(level + step * (ALPHA - error), LOWEST * ALPHA, HIGHEST * ALPHA))
            done += 1
        levels[row] = level
    return levels
