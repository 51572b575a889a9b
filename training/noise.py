"""Noise floors: what chance alone would write in place of each figure of a probability forecast.

Forecasts are kept and outcomes drawn (`training.null_outcomes`) under one of two nulls. Under ``climatology`` the base
rate is the truth: what skill, discrimination and AUC would a forecast as sharp as this one show by luck? Under
``calibrated`` the forecast itself is the truth: how miscalibrated would it look?

The skill's own floor (`training.scores.noise_floor`) is of the second kind, in closed form.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from features.contracts import BoolArray, FloatArray
from training.corp import SCORES, Levels, ScoreName
from training.null_outcomes import DRAWS, SEED, draw_outcomes
from training.score_tables import matured_sample, scored_groups
from training.scores import Sample, brier, log_loss, log_odds
from training.tail_null import simulated_p

Null = Literal["climatology", "calibrated"]
ECE_BINS = 10
TOP_SHARE = 0.1
"""Share of rows with the highest probabilities whose precision is shown."""
PRIOR_WEEKS = 104
"""Weeks of history that a rebuilt climatology starts with."""
_COLUMNS = ["figure", "value", "null", "null_mean", "null_sd", "null_low", "null_high", "p_value"]


def auc(p: FloatArray, y: FloatArray) -> float:
    """Return the area under the ROC curve, ties counting half (Mann and Whitney 1947); missing with one class.

    Examples
    --------
    >>> auc(np.array([0.1, 0.4, 0.35, 0.8]), np.array([0.0, 0.0, 1.0, 1.0]))
    0.75
    """
    return float(_auc(rankdata(p)[None, :], np.asarray(y)[None, :])[0]) if len(p) else float("nan")


def auc_null(
    sample: Sample, horizon_weeks: int, *, rebuilt: bool = False, draws: int = DRAWS, seed: int = SEED
) -> FloatArray:
    """Return the AUC of the forecasts on outcomes drawn from climatology, shape (draws,).

    Kept as they are, forecasts never react to the drawn outcomes. Real ones do: an expanding base rate falls after
    quiet years, so that pooled over time even a forecast that knows nothing ranks below a coin (METHODS 1). `rebuilt`
    adds that reaction: each draw moves the log-odds by what an expanding climatology would have learned from it.

    Parameters
    ----------
    sample : Sample
    horizon_weeks : int
    rebuilt : bool
    draws, seed : int

    Returns
    -------
    array, shape (draws,)
        Missing where a draw holds one class only. Information set: matured outcomes, through their correlation only.
    """
    drawn = draw_outcomes(sample, sample.base, horizon_weeks, draws=draws, seed=seed)
    return _auc_of_draws(sample, drawn, horizon_weeks if rebuilt else None)


def noise_floors(sample: Sample, horizon_weeks: int, *, draws: int = DRAWS, seed: int = SEED) -> pd.DataFrame:
    """Return every figure of a sample beside what chance would make of it.

    Parameters
    ----------
    sample : Sample
    horizon_weeks : int
    draws, seed : int

    Returns
    -------
    pandas.DataFrame, one row per figure
        `figure`, `value`, `null` (what is drawn from), `null_mean`, `null_sd`, `null_low, null_high` (its central 90%)
        and `p_value`, the share of draws that are at least as large (ties count half): small says skill where the null
        is climatology, and miscalibration where it is the forecast. Fractions, log loss in natural units. Figures:
        `skill_log_loss, skill_brier`, `discrimination_log_loss, discrimination_brier`, `auc`, `auc_rebuilt` (the same
        value beside the null of `auc_null(rebuilt=True)`), `precision_top` (share of events in the tenth of rows with
        the highest probabilities); and `miscalibration_log_loss, miscalibration_brier`, `ece` (ten bins of equal
        count).

    Information set: matured outcomes.
    """
    truths: tuple[tuple[Null, FloatArray], ...] = (("climatology", sample.base), ("calibrated", sample.p))
    rows = []
    for null, truth in truths if len(sample.p) else ():
        drawn = draw_outcomes(sample, truth, horizon_weeks, draws=draws, seed=seed)
        values, chance = _figures(sample, sample.y[None, :], null), _figures(sample, drawn.astype(np.float64), null)
        if null == "climatology":
            values["auc_rebuilt"] = values["auc"]
            chance["auc_rebuilt"] = _auc_of_draws(sample, drawn, horizon_weeks)
        rows += [_row(name, null, float(values[name][0]), chance[name]) for name in values]
    return pd.DataFrame(rows, columns=_COLUMNS)


def noise_table(forecasts: pd.DataFrame, *, draws: int = DRAWS, seed: int = SEED) -> pd.DataFrame:
    """Return the noise floors of every event, horizon and pair, and of all pairs pooled.

    Returns
    -------
    pandas.DataFrame
        `event, horizon_weeks, pair` and the columns of `noise_floors`. Information set: matured outcomes.
    """
    tables = []
    for event, horizon, pair, group in scored_groups(forecasts):
        table = noise_floors(matured_sample(group, event), horizon, draws=draws, seed=seed)
        for place, (name, key) in enumerate((("event", event), ("horizon_weeks", horizon), ("pair", pair))):
            table.insert(place, name, key)
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


def _row(name: str, null: Null, value: float, chance: FloatArray) -> dict[str, object]:
    chance = chance[np.isfinite(chance)]
    if len(chance) == 0 or not np.isfinite(value):
        return {"figure": name, "value": value, "null": null}
    low, high = np.quantile(chance, [0.05, 0.95])
    spread = {"null_mean": float(chance.mean()), "null_sd": float(chance.std()), "null_low": low, "null_high": high}
    return {"figure": name, "value": value, "null": null, **spread, "p_value": simulated_p(value, chance)}


def _figures(sample: Sample, y: FloatArray, null: Null) -> dict[str, FloatArray]:
    """Every figure that a null speaks of, one number per row of outcomes, shape (draws, n)."""
    p, base = sample.p, sample.base
    if null == "calibrated":
        corp = _decompositions(p, y)
        return {f"miscalibration_{score}": corp[score][:, 0] for score in SCORES} | {"ece": _ece(p, y)}
    top = np.argsort(-p, kind="stable")[: int(np.ceil(TOP_SHARE * len(p)))]
    corp = _decompositions(p, y)
    skills = {f"skill_{score}": 1 - _mean_loss(p, y, score) / _mean_loss(base, y, score) for score in SCORES}
    found = {f"discrimination_{score}": corp[score][:, 1] for score in SCORES}
    return skills | found | {"auc": _auc_of_draws(sample, y > 0.5, None), "precision_top": y[:, top].mean(axis=1)}


def _mean_loss(p: FloatArray, y: FloatArray, score: ScoreName) -> FloatArray:
    """Mean loss of each row of outcomes: both losses are linear in the outcome."""
    loss = {"log_loss": log_loss, "brier": brier}[score]
    happened, not_happened = loss(p, np.ones(len(p))), loss(p, np.zeros(len(p)))
    mean: FloatArray = (y @ (happened - not_happened) + not_happened.sum()) / len(p)
    return mean


def _decompositions(p: FloatArray, y: FloatArray) -> dict[ScoreName, FloatArray]:
    """Miscalibration and discrimination of each row of outcomes, shape (draws, 2)."""
    levels = Levels.of(p)
    fits = [levels.recalibrated(row)[levels.member] for row in y]
    result: dict[ScoreName, FloatArray] = {}
    for score in SCORES:
        said = _mean_loss(p, y, score)
        parts = [_parts(fit, row, score) for fit, row in zip(fits, y, strict=True)]
        best, constant = np.array(parts).T
        result[score] = np.maximum(np.column_stack([said - best, constant - best]), 0.0)
    return result


def _parts(fit: FloatArray, y: FloatArray, score: ScoreName) -> tuple[float, float]:
    loss = {"log_loss": log_loss, "brier": brier}[score]
    return float(loss(fit, y).mean()), float(loss(np.full(len(y), y.mean()), y).mean())


def _ece(p: FloatArray, y: FloatArray) -> FloatArray:
    """Return the expected calibration error over bins of equal count."""
    order = np.argsort(p, kind="stable")
    edges = (np.arange(min(ECE_BINS, len(p)) + 1) * len(p)) // min(ECE_BINS, len(p))
    gaps = np.add.reduceat((y - p)[:, order], edges[:-1], axis=1)
    error: FloatArray = np.abs(gaps).sum(axis=1) / len(p)
    return error


def _auc_of_draws(sample: Sample, y: BoolArray, horizon: int | None) -> FloatArray:
    """AUC of each row of outcomes; with a horizon after the reaction of an expanding climatology."""
    if horizon is None:
        return _auc(rankdata(sample.p)[None, :], y)
    return _auc(rankdata(log_odds(sample.p) + _reaction(sample, y, horizon), axis=1), y)


def _auc(ranks: FloatArray, y: BoolArray | FloatArray) -> FloatArray:
    """AUC from ranks, shape (1 or draws, n), and outcomes, shape (draws, n)."""
    happened = y.sum(axis=1).astype(np.float64)
    couples = happened * (y.shape[1] - happened)
    wins = (ranks * y).sum(axis=1) - happened * (happened + 1) / 2
    area: FloatArray = np.where(couples > 0, wins / np.maximum(couples, 1.0), np.nan)
    return area


def _reaction(sample: Sample, y: BoolArray, horizon: int) -> FloatArray:
    """By how much the log-odds of an expanding climatology of each pair move with the drawn outcomes.

    It starts from the pair's mean base rate, worth `PRIOR_WEEKS`; an outcome is known `horizon` + 1 decisions later.
    """
    moved = np.zeros(y.shape)
    for code in np.unique(sample.pair):
        rows = np.flatnonzero(sample.pair == code)
        rows = rows[np.argsort(sample.dates[rows], kind="stable")]
        rate, lag = float(sample.base[rows].mean()), min(horizon + 1, len(rows))
        known = np.zeros((len(y), len(rows)))
        known[:, lag:] = np.cumsum(y[:, rows], axis=1)[:, : len(rows) - lag]
        count = np.maximum(np.arange(len(rows)) - horizon, 0)
        moved[:, rows] = log_odds((known + PRIOR_WEEKS * rate) / (count + PRIOR_WEEKS)) - log_odds(np.array([rate]))
    return moved
