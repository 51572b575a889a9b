"""What chance alone does to breaches: the null of the tail tests, overlap and co-moving pairs included.

Forecasts of h weeks made every week share h - 1 weeks with their neighbours, so the breaches of a true model come in
clusters and the chi-square of the textbook rejects it far too often: Kupiec's, meant for 5%, a fifth of the time at
h = 4 (slow test). Here the null is simulated: weekly innovations, independent over time, are summed over h weeks and
turned into probability integral transforms of the true law. A test's statistic on these draws is its null distribution.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy.special import ndtr

from features.contracts import BoolArray, FloatArray
from features.errors import DataContractError

DRAWS = 999
SEED = 20120106


def as_panel(values: FloatArray) -> FloatArray:
    """Return values of shape (n,) or (n, m) as (n, m): weeks down, pairs across, missing where there is no forecast."""
    panel = np.asarray(values, dtype=np.float64)
    if panel.ndim not in (1, 2):
        raise DataContractError(f"`values` must have shape (weeks,) or (weeks, pairs); got {panel.shape}")
    return panel[:, None] if panel.ndim == 1 else panel


def null_pits(
    weeks: int, horizon: int = 1, correlation: FloatArray | None = None, *, draws: int = DRAWS, seed: int = SEED
) -> FloatArray:
    """Draw probability integral transforms of outcomes under forecasts that are true.

    Innovations are normal and independent over weeks; those of one week correlate across pairs. Only their ranks
    matter: a breach at level a is a draw below a. Supply your own array of this shape to test against another null.

    Parameters
    ----------
    weeks : int
        Consecutive decisions.
    horizon : int
        Weeks an outcome spans; neighbours share `horizon` - 1 of them.
    correlation : array, shape (m, m), optional
        Of weekly outcomes across pairs; one pair by default.
    draws, seed : int

    Returns
    -------
    array, shape (draws, weeks, m)
        In (0, 1), uniform; read-only, the same array for the same arguments.

    Raises
    ------
    DataContractError
        If a count is below 1 or `correlation` is no correlation matrix.
    """
    if min(weeks, horizon, draws) < 1:
        raise DataContractError(f"`weeks`, `horizon` and `draws` must be 1 or more; got {weeks}, {horizon}, {draws}")
    matrix = np.eye(1) if correlation is None else np.round(np.asarray(correlation, dtype=np.float64), 6)
    valid = matrix.ndim == 2 and matrix.shape[0] == matrix.shape[1] and np.array_equal(matrix, matrix.T)
    if not (valid and np.allclose(np.diag(matrix), 1.0) and np.linalg.eigvalsh(matrix)[0] > -1e-6):
        raise DataContractError(f"`correlation` must be symmetric, positive, with a unit diagonal; got {matrix}")
    return _drawn(weeks, horizon, matrix.tobytes(), len(matrix), draws, seed)


@lru_cache(maxsize=12)
def _drawn(weeks: int, horizon: int, matrix: bytes, columns: int, draws: int, seed: int) -> FloatArray:
    value, vector = np.linalg.eigh(np.frombuffer(matrix).reshape(columns, columns))
    root = vector * np.sqrt(np.maximum(value, 0.0))
    innovation = np.random.default_rng(seed).standard_normal((draws, weeks + horizon - 1, columns)) @ root.T
    total = np.cumsum(innovation, axis=1)
    total[:, horizon:] -= total[:, :-horizon].copy()
    pits: FloatArray = ndtr(total[:, horizon - 1 :] / np.sqrt(horizon))
    pits.flags.writeable = False
    return pits


def null_hits(null: FloatArray, level: float, shape: tuple[int, int]) -> BoolArray:
    """Return the breaches of null draws, shape (draws, n, m).

    Raises
    ------
    DataContractError
        If the draws are not of the tested panel's shape.
    """
    if null.ndim != 3 or null.shape[1:] != shape:
        raise DataContractError(f"`null` must have shape (draws, {shape[0]}, {shape[1]}); got {null.shape}")
    return null < level


def simulated_p(statistic: float, null: FloatArray) -> float:
    """Return the share of null statistics that are larger, ties counting half (mid-p), the observed one among them.

    Counts of breaches are coarse: without the half a test at 5% would reject a true model 3 to 4% of the time.

    Examples
    --------
    >>> simulated_p(2.0, np.array([1.0, 2.0, 3.0]))
    0.5
    """
    tie = 1e-9 * max(1.0, abs(statistic))
    above, equal = int((null > statistic + tie).sum()), int((np.abs(null - statistic) <= tie).sum())
    return (above + 0.5 * (equal + 1)) / (len(null) + 1)
