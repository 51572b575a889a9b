"""Power of the tail tests: how often each would notice a model that is wrong by a stated amount.

A backtest that passes says little without it: at 5%, 104 weeks show a doubled breach rate only every other time.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy.stats import norm

from features.contracts import BoolArray, FloatArray
from features.errors import DataContractError
from training.tail_dynamic import dynamic_statistic
from training.tail_es_tests import shortfall_t, z2
from training.tail_null import SEED, null_pits, simulated_p
from training.tail_tests import TESTS, TestName, hit_statistic

SHORTFALL = 0.75
"""Forecast tail over true tail in the alternative of the shortfall tests: 25% too small."""
_SPELL = 26
"""Weeks of a spell in the alternative of the independence test."""


@lru_cache(maxsize=256)
def power(
    test: TestName,
    n: int,
    level: float,
    *,
    horizon: int = 1,
    pairs: int = 1,
    correlation: float = 0.0,
    draws: int = 500,
) -> float:
    """Return how often a test at 5% rejects a model that is wrong, by simulation; cached.

    The alternatives: for `kupiec`, `conditional_coverage` and `dynamic_quantile` the breach rate is twice the level;
    for `independence` it is twice the level in every other half-year and zero in between; for `acerbi_szekely` and
    `es_intercept` the true tail is the forecast one (normal quantile and shortfall, exponential beyond) divided by
    0.75, so that shortfall and quantile are both 25% too small. Outcomes depend on each other as in `null_pits`, and
    the critical value is that of its draws. The dynamic quantile test runs with four lags and no instrument.

    Parameters
    ----------
    test : str
        One of `TESTS`.
    n : int
        Weeks, the same for each pair.
    level : float
    horizon : int
        Weeks an outcome spans; also the lag.
    pairs : int
    correlation : float
        Of the outcomes of any two pairs.
    draws : int
        Of the alternative.

    Returns
    -------
    float
        A fraction, with a standard error of at most 0.5 / sqrt(draws).

    Raises
    ------
    DataContractError
        If the test is unknown, or the weeks are too few for its lags.
    """
    if test not in TESTS:
        raise DataContractError(f"`test` must be one of {', '.join(TESTS)}; got {test!r}")
    matrix = np.full((pairs, pairs), float(correlation))
    np.fill_diagonal(matrix, 1.0)
    null = null_pits(n, horizon, matrix)
    other = null_pits(n, horizon, matrix, draws=draws, seed=SEED + 1)
    calibrated = _statistic(test, null, 1.0, level, horizon)
    found = _statistic(test, _wrong(test, other), SHORTFALL, level, horizon)
    return float(np.mean([simulated_p(value, calibrated) < 0.05 for value in found]))


def _wrong(test: TestName, pits: FloatArray) -> FloatArray:
    """Return transforms under the alternative of a test that reads breaches."""
    if test in ("acerbi_szekely", "es_intercept"):
        return pits
    if test != "independence":
        return pits / 2
    quiet = (np.arange(pits.shape[1]) // _SPELL % 2 == 1)[None, :, None]
    return np.where(quiet, 1.0, pits / 2)


def _statistic(test: TestName, pits: FloatArray, scale: float, level: float, horizon: int) -> FloatArray:
    """Return the statistic of each draw, large where the model looks wrong."""
    known: BoolArray = np.ones(pits.shape[1:], dtype=np.bool_)
    if test not in ("acerbi_szekely", "es_intercept"):
        if test == "dynamic_quantile":
            return dynamic_statistic(pits < level, known, level, horizon)
        return hit_statistic(test, pits < level, known, level, horizon)
    v = float(norm.ppf(level))
    e = -float(norm.pdf(v)) / level
    y = (v + (v - e) * np.log(pits / level)) / scale
    if test == "acerbi_szekely":
        return -z2(np.where(y < v, y / e, 0.0), int(known.sum()), level)
    return -shortfall_t(y / -e + 1, level, horizon)
