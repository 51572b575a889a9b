"""Whether a tail forecast is larger before bad months: rank, alerts, and how far it overshoots what ever happened.

Coverage tests cannot see this: a constant tail can have the right breach rate. Panels have weeks down and pairs across,
missing where there is no forecast or outcome; everything is in log returns (fractions).
"""

from __future__ import annotations

import numpy as np
from scipy.stats import rankdata

from features.contracts import BoolArray, FloatArray

BAD_MONTH = -0.05
"""A spread over four weeks at which a book of leverage four has lost a fifth."""
PAST_WEEKS = 104
ALERT_SHARE = 0.20
_MIN_SHIFT = 26


def auc(score: FloatArray, bad: FloatArray) -> float:
    """Return the probability that a bad week scores above a good one of the same pair; ties count half.

    Pairs are ranked each for itself and weighted by their number of comparisons: a pair that is always riskier must
    not pass for timing.

    Parameters
    ----------
    score, bad : array, shape (n, m)
        Larger scores mean more risk; `bad` is 1 or 0; either may be missing.

    Returns
    -------
    float
        Missing without both kinds of weeks.

    Examples
    --------
    >>> auc(np.array([[1.0], [2.0], [3.0]]), np.array([[0.0], [1.0], [0.0]]))
    0.5
    """
    return _stratified([_ranked(s, b) for s, b in zip(score.T, bad.T, strict=True)], 0)


def auc_null(score: FloatArray, bad: FloatArray, coverage: float = 0.90) -> tuple[float, float]:
    """Return the range of the AUC of a score that knows nothing but moves as slowly as this one.

    Outcomes are turned around the circle against scores, by every shift of at least 26 weeks: both keep their own
    dependence and all pairs keep theirs to each other. Scores and bad months come in spells, so that the range is far
    wider than that of as many independent weeks.

    Returns
    -------
    low, high : float
        Missing where the sample is shorter than 52 weeks or has no AUC.
    """
    columns = [_ranked(s, b) for s, b in zip(score.T, bad.T, strict=True)]
    longest = max((len(ranks) for ranks, _ in columns), default=0)
    found = np.array([_stratified(columns, shift) for shift in range(_MIN_SHIFT, longest - _MIN_SHIFT + 1)])
    if not np.isfinite(found).any():
        return float("nan"), float("nan")
    low, high = np.nanquantile(found, [(1 - coverage) / 2, (1 + coverage) / 2])
    return float(low), float(high)


def causal_alerts(es: FloatArray) -> FloatArray:
    """Return 1 where a shortfall is in the worst 20% of its own past, 0 where not, per pair, shape (n, m).

    Missing before 104 earlier forecasts of the pair.

    Information set: forecasts made before the week, and the week's own.
    """
    alerts = np.full(es.shape, np.nan)
    for column in range(es.shape[1]):
        rows = np.flatnonzero(np.isfinite(es[:, column]))
        past = es[rows, column]
        for k in range(PAST_WEEKS, len(rows)):
            alerts[rows[k], column] = past[k] < np.quantile(past[:k], ALERT_SHARE)
    return alerts


def spells(flags: BoolArray) -> int:
    """Return the number of runs of true values down the columns of a panel.

    Examples
    --------
    >>> spells(np.array([[True], [True], [False], [True]]))
    2
    """
    before = np.vstack([np.zeros((1, flags.shape[1]), dtype=np.bool_), flags[:-1]])
    return int((flags & ~before).sum())


def overshoot(es: FloatArray, worst: FloatArray) -> float:
    """Return the largest ratio of a forecast shortfall to the worst loss its pair had suffered by then.

    Parameters
    ----------
    es, worst : array, shape (n, m)
        Forecast and, as known at the decision, the lowest matured outcome; below zero, or missing.

    Returns
    -------
    float
        Missing where no week has both.
    """
    with np.errstate(invalid="ignore"):
        ratio = np.where(worst < 0, es / np.where(worst < 0, worst, -1.0), np.nan)
    return float(np.nanmax(ratio)) if np.isfinite(ratio).any() else float("nan")


def _ranked(score: FloatArray, bad: FloatArray) -> tuple[FloatArray, BoolArray]:
    known = np.isfinite(score) & np.isfinite(bad)
    return rankdata(score[known]), bad[known] > 0.5


def _stratified(columns: list[tuple[FloatArray, BoolArray]], shift: int) -> float:
    wins = comparisons = 0.0
    for ranks, bad in columns:
        n = int(bad.sum())
        wins += float(ranks[np.roll(bad, shift)].sum()) - n * (n + 1) / 2
        comparisons += n * (len(bad) - n)
    return wins / comparisons if comparisons else float("nan")
