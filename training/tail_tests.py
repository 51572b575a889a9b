"""Backtests of a quantile forecast: how often it is breached, and whether breaches could be foreseen.

Each works on one pair or on several at once (weeks down, pairs across), on consecutive weeks with missing values where
there is no forecast. Without `null` the p-value is the textbook's chi-square; with draws of `tail_null.null_pits` it
is simulated, which keeps its size with few breaches, overlapping horizons and pairs that move together. For horizons
of h weeks give `lag` = h: breaches are then compared with those of the same non-overlapping phase, and the draws carry
the dependence between the phases.

Information set: matured outcomes. The outcome of h weeks ago matures one session after the decision, so a shock on
that one day can make breaches look foreseeable that were not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.special import xlog1py, xlogy
from scipy.stats import chi2

from features.contracts import BoolArray, FloatArray
from features.errors import DataContractError
from training.tail_null import as_panel, null_hits, simulated_p

TestName = Literal[
    "kupiec", "independence", "conditional_coverage", "dynamic_quantile", "acerbi_szekely", "es_intercept"
]
TESTS: tuple[TestName, ...] = (
    "kupiec", "independence", "conditional_coverage", "dynamic_quantile", "acerbi_szekely", "es_intercept",
)  # fmt: skip


@dataclass(frozen=True)
class TailTest:
    """Result of one backtest: statistic, p-value, rows tested, breaches among them, and what the p-value rests on."""

    name: TestName
    statistic: float
    p_value: float
    n: int
    breaches: int
    note: str


def breaches(y: FloatArray, var: FloatArray) -> FloatArray:
    """Return 1 where the outcome lies below the quantile, 0 where not, missing where either is.

    Examples
    --------
    >>> breaches(np.array([-2.0, 0.0, np.nan]), np.array([-1.0, -1.0, -1.0]))
    array([ 1.,  0., nan])
    """
    known = np.isfinite(y) & np.isfinite(var)
    return np.where(known, np.asarray(y < var, dtype=np.float64), np.nan)


def kupiec(hits: FloatArray, level: float, *, null: FloatArray | None = None) -> TailTest:
    """Test that the breach rate is `level`: likelihood ratio, chi-square with 1 degree (Kupiec 1995).

    Parameters
    ----------
    hits : array, shape (n,) or (n, m)
        As `breaches` gives them.
    level : float
        Probability of a breach, a fraction.
    null : array, shape (draws, n, m), optional
        Draws of `null_pits`.

    Raises
    ------
    DataContractError
        If `level` is not inside (0, 1), no row is known, or `null` has another shape.
    """
    return _counted("kupiec", hits, level, 1, null)


def independence(hits: FloatArray, level: float, *, lag: int = 1, null: FloatArray | None = None) -> TailTest:
    """Test that a breach does not depend on the one before: first-order Markov, 1 degree (Christoffersen 1998).

    Parameters
    ----------
    hits, level, null
        As `kupiec`; the level is only used by `null`.
    lag : int
        Weeks between the two, the horizon.
    """
    return _counted("independence", hits, level, lag, null)


def conditional_coverage(hits: FloatArray, level: float, *, lag: int = 1, null: FloatArray | None = None) -> TailTest:
    """Test rate and independence together: the sum of both likelihood ratios, 2 degrees (Christoffersen 1998).

    Parameters as `independence`.
    """
    return _counted("conditional_coverage", hits, level, lag, null)


def hit_statistic(test: TestName, hits: BoolArray, known: BoolArray, level: float, lag: int = 1) -> FloatArray:
    """Return the statistic of a test that reads breaches only, for many samples at once.

    Parameters
    ----------
    test : str
        "kupiec", "independence" or "conditional_coverage".
    hits : array of bool, shape (draws, n, m)
        False where not known.
    known : array of bool, shape (n, m)
    level : float
    lag : int

    Returns
    -------
    array, shape (draws,)

    Raises
    ------
    DataContractError
        If the test is another one, or the weeks are fewer than the lag.
    """
    if test == "kupiec":
        return _coverage(hits, known, level)
    if test == "independence":
        return _markov(hits, known, lag)
    if test == "conditional_coverage":
        return _coverage(hits, known, level) + _markov(hits, known, lag)
    raise DataContractError(f"`test` must read the number and order of breaches only; got {test!r}")


def _counted(test: TestName, hits: FloatArray, level: float, lag: int, null: FloatArray | None) -> TailTest:
    hit, known = hit_panel(hits, level)
    draws = None
    if null is not None:
        draws = hit_statistic(test, null_hits(null, level, known.shape) & known, known, level, lag)
    statistic = float(hit_statistic(test, hit, known, level, lag)[0])
    return likelihood_result(test, statistic, draws, 2 if test == "conditional_coverage" else 1, hit, known)


def hit_panel(hits: FloatArray, level: float) -> tuple[BoolArray, BoolArray]:
    """Return the breaches as one draw, shape (1, n, m), and which rows are known, shape (n, m)."""
    if not 0 < level < 1:
        raise DataContractError(f"`level` must be inside (0, 1); got {level}")
    panel = as_panel(hits)
    known = np.isfinite(panel)
    if not known.any():
        raise DataContractError("`hits` must hold at least one known row; got none")
    return (known & (panel > 0.5))[None], known


def _coverage(hits: BoolArray, known: BoolArray, level: float) -> FloatArray:
    n, x = int(known.sum()), hits.sum(axis=(1, 2)).astype(np.float64)
    ratio = _likelihood(x, n - x, x / n) - _likelihood(x, n - x, np.full(len(x), level))
    return np.maximum(2 * ratio, 0.0)


def _markov(hits: BoolArray, known: BoolArray, lag: int) -> FloatArray:
    if not 1 <= lag < len(known):
        raise DataContractError(f"`lag` must be at least 1 and less than the {len(known)} weeks; got {lag}")
    both = known[lag:] & known[:-lag]
    before, after = hits[:, :-lag] & both, hits[:, lag:] & both
    n11 = (before & after).sum(axis=(1, 2)).astype(np.float64)
    n10, n01 = before.sum(axis=(1, 2)) - n11, after.sum(axis=(1, 2)) - n11
    n00 = both.sum() - n11 - n10 - n01
    total = np.maximum(n00 + n01 + n10 + n11, 1)
    free = _likelihood(n01, n00, n01 / np.maximum(n00 + n01, 1)) + _likelihood(n11, n10, n11 / np.maximum(n10 + n11, 1))
    return np.maximum(2 * (free - _likelihood(n01 + n11, n00 + n10, (n01 + n11) / total)), 0.0)


def _likelihood(ones: FloatArray, zeros: FloatArray, p: FloatArray) -> FloatArray:
    value: FloatArray = xlogy(ones, p) + xlog1py(zeros, -p)
    return value


def likelihood_result(
    name: TestName, statistic: float, draws: FloatArray | None, degrees: int, hit: BoolArray, rows: BoolArray
) -> TailTest:
    """Return the result of a chi-square statistic, its p-value from null `draws` where there are some."""
    if draws is None:
        p_value, note = float(chi2.sf(statistic, degrees)), f"chi-square with {degrees} degrees of freedom"
    else:
        p_value, note = simulated_p(statistic, draws), f"simulated, {len(draws)} draws"
    return TailTest(name, statistic, p_value, int(rows.sum()), int(hit[0][rows].sum()), note)
