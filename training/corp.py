"""CORP reliability: isotonic recalibration and what it says of a probability forecast (Dimitriadis et al. 2021).

Pool-adjacent-violators turns forecasts into the best monotone recalibration of themselves, without bins to choose. The
mean loss then splits into miscalibration (what recalibration would save), discrimination (what the recalibrated
forecast saves against a constant) and uncertainty (the loss of that constant): loss = MCB - DSC + UNC.

Both terms are positive by chance alone; `training.noise` gives their noise floors.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
from sklearn.isotonic import isotonic_regression

from features.contracts import FloatArray
from features.errors import DataContractError
from training.null_outcomes import DRAWS, SEED, draw_outcomes
from training.score_tables import matured_sample, scored_groups
from training.scores import Sample, brier, log_loss

ScoreName = Literal["log_loss", "brier"]
SCORES: tuple[ScoreName, ...] = ("log_loss", "brier")
_LOSS = {"log_loss": log_loss, "brier": brier}


class Decomposition(NamedTuple):
    """Mean loss of a forecast and its parts: loss = miscalibration - discrimination + uncertainty."""

    loss: float
    miscalibration: float
    discrimination: float
    uncertainty: float


class Levels(NamedTuple):
    """Distinct forecast probabilities, ascending, how often each was said, and which one each row said."""

    p: FloatArray
    weight: FloatArray
    member: np.ndarray

    @staticmethod
    def of(p: FloatArray) -> Levels:
        """Find the levels of rows; ties are pooled before the violators, so that equal forecasts stay equal."""
        value, member, count = np.unique(p, return_inverse=True, return_counts=True)
        return Levels(value, count.astype(np.float64), member)

    def recalibrated(self, y: FloatArray) -> FloatArray:
        """Return the isotonic fit to outcomes at each level, shape (levels,)."""
        share = np.bincount(self.member, y, len(self.p)) / self.weight
        fit = isotonic_regression(share, sample_weight=self.weight, y_min=0.0, y_max=1.0)
        return np.asarray(fit, dtype=np.float64)


def recalibrate(p: FloatArray, y: FloatArray) -> FloatArray:
    """Return the isotonic recalibration of forecasts by their own outcomes, shape (n,).

    In sample, so it is a diagnosis and never a forecast.

    Examples
    --------
    >>> recalibrate(np.array([0.1, 0.3, 0.2, 0.4]), np.array([0.0, 0.0, 1.0, 1.0]))
    array([0. , 0.5, 0.5, 1. ])
    """
    levels = Levels.of(p)
    return levels.recalibrated(y)[levels.member] if len(p) else np.empty(0)


def decompose(p: FloatArray, y: FloatArray, score: ScoreName = "log_loss") -> Decomposition:
    """Split a forecast's mean loss into miscalibration, discrimination and uncertainty.

    Parameters
    ----------
    p, y : array, shape (n,)
        Probabilities (fractions) and outcomes (0 or 1).
    score : str
        "log_loss" (natural units) or "brier".

    Returns
    -------
    Decomposition
        Miscalibration and discrimination are never negative. Missing without rows.

    Raises
    ------
    DataContractError
        If the score is unknown or the rows do not pair up.

    Information set: matured outcomes.

    Examples
    --------
    >>> decompose(np.array([0.5, 0.5]), np.array([1.0, 0.0]), "brier")
    Decomposition(loss=0.25, miscalibration=0.0, discrimination=0.0, uncertainty=0.25)
    """
    if score not in _LOSS:
        raise DataContractError(f"`score` must be one of {', '.join(SCORES)}; got {score!r}")
    if len(p) != len(y):
        raise DataContractError(f"forecasts and outcomes must pair up row by row; got {len(p)} and {len(y)}")
    if len(p) == 0:
        return Decomposition(*[float("nan")] * 4)
    loss = _LOSS[score]
    said, best, rate = (float(loss(q, y).mean()) for q in (p, recalibrate(p, y), np.full(len(y), np.mean(y))))
    # The recalibration can only save; rounding may say otherwise.
    return Decomposition(said, max(said - best, 0.0), max(rate - best, 0.0), rate)


def corp_table(forecasts: pd.DataFrame) -> pd.DataFrame:
    """Decompose every event, horizon and pair, and all pairs pooled, beside the base rate's own decomposition.

    Parameters
    ----------
    forecasts : pandas.DataFrame
        Rows of the walk-forward, as for `training.score_tables.score_table`.

    Returns
    -------
    pandas.DataFrame
        `event, horizon_weeks, pair, score, n`, `loss, miscalibration, discrimination, uncertainty` of the forecast and
        `loss_base, miscalibration_base, discrimination_base` of the base rate. Pooled discrimination also holds what
        tells pairs apart. Information set: matured outcomes.
    """
    rows = []
    for event, horizon, pair, group in scored_groups(forecasts):
        sample = matured_sample(group, event)
        for score in SCORES:
            own, base = decompose(sample.p, sample.y, score), decompose(sample.base, sample.y, score)
            key = {"event": event, "horizon_weeks": horizon, "pair": pair, "score": score, "n": len(sample.y)}
            theirs = {f"{name}_base": getattr(base, name) for name in Decomposition._fields[:3]}
            rows.append({**key, **own._asdict(), **theirs})
    return pd.DataFrame(rows)


def consistency_band(
    sample: Sample, horizon_weeks: int, *, level: float = 0.9, draws: int = DRAWS, seed: int = SEED
) -> pd.DataFrame:
    """Return the reliability curve and the band in which a calibrated forecast's curve would lie.

    The forecasts are kept and outcomes drawn from them, whole dates at a time with their overlap
    (`training.null_outcomes`); the band holds each level's central share of the recalibrated draws, point by point.

    Parameters
    ----------
    sample : Sample
    horizon_weeks : int
    level : float
        Coverage at each level, a fraction.
    draws, seed : int

    Returns
    -------
    pandas.DataFrame, one row per distinct probability
        `p, recalibrated, n, low, high`, fractions. Information set: matured outcomes.

    Raises
    ------
    DataContractError
        If `level` is not inside (0, 1).
    """
    if not 0 < level < 1:
        raise DataContractError(f"`level` must be in (0, 1); got {level}")
    if len(sample.p) == 0:
        return pd.DataFrame(columns=["p", "recalibrated", "n", "low", "high"], dtype=np.float64)
    levels = Levels.of(sample.p)
    drawn = draw_outcomes(sample, sample.p, horizon_weeks, draws=draws, seed=seed)
    curves = np.array([levels.recalibrated(y.astype(np.float64)) for y in drawn])
    low, high = np.quantile(curves, [(1 - level) / 2, (1 + level) / 2], axis=0)
    curve = levels.recalibrated(sample.y)
    return pd.DataFrame(
        {"p": levels.p, "recalibrated": curve, "n": levels.weight.astype(np.int64), "low": low, "high": high}
    )
