"""Is one model better than another, or than all of them? Tests on losses of the same rows, clustered by date.

Pairs of one date enter as one observation, and outcomes of h weeks made weekly share h - 1 weeks, so no test here
counts rows. All losses are negatively oriented.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd
from arch.bootstrap import MCS, SPA
from scipy.stats import t as student

from features.contracts import FloatArray, TimeArray
from features.errors import DataContractError
from training.tail_scores import loss_difference

BLOCK = 10
"""Mean block of the stationary bootstrap in dates."""
DRAWS = 1000
SEED = 20120106
_MIN_DATES = 20


class DieboldMariano(NamedTuple):
    """Mean loss of a model minus that of a rival; below zero the model is better.

    `statistic` and two-sided `p_value` with the small-sample correction; `low, high` is the wider 90% interval of
    `training.tail_scores.loss_difference`, which also allows for differences that persist beyond the overlap.
    """

    mean: float
    statistic: float
    p_value: float
    low: float
    high: float
    n: int
    dates: int


class SuperiorAbility(NamedTuple):
    """P-values of "no model is better than the benchmark"; `consistent` is the one to quote, the others bound it."""

    lower: float
    consistent: float
    upper: float


def diebold_mariano(loss: FloatArray, rival: FloatArray, dates: TimeArray, horizon_weeks: int) -> DieboldMariano:
    """Test equal accuracy of two models on the same rows.

    Diebold and Mariano (1995): the mean difference over its standard error from h - 1 autocovariances, here of the sums
    of each date, times sqrt((n + 1 - 2h + h(h - 1) / n) / n) and against a t with n - 1 degrees of freedom (Harvey,
    Leybourne and Newbold 1997), n the number of dates. Where the autocovariances add up to nothing positive, Bartlett
    weights take their place.

    Parameters
    ----------
    loss, rival : array, shape (n,)
        Rows with a missing loss on either side count for nothing but keep their date's place in time.
    dates : array of datetime64, shape (n,)
        Decision dates, in any order; consecutive dates count as consecutive weeks.
    horizon_weeks : int

    Returns
    -------
    DieboldMariano
        Missing statistic below 20 dates; a difference of exactly zero everywhere has p-value 1.

    Raises
    ------
    DataContractError
        If the shapes differ or the horizon is below 1.

    Information set: matured outcomes.
    """
    if horizon_weeks < 1:
        raise DataContractError(f"`horizon_weeks` must be 1 or more; got {horizon_weeks}")
    mean, low, high, rows, weeks = loss_difference(loss, rival, dates)
    if weeks < _MIN_DATES:
        return DieboldMariano(mean, float("nan"), float("nan"), low, high, rows, weeks)
    difference = np.asarray(loss, dtype=np.float64) - rival
    kept = np.isfinite(difference)
    member = np.unique(dates, return_inverse=True)[1]
    influence = np.bincount(member, np.where(kept, difference - mean, 0.0)).astype(np.float64)
    variance = _long_run(influence, horizon_weeks) / rows**2
    if variance <= 0:
        return DieboldMariano(mean, 0.0, 1.0, low, high, rows, weeks)
    h, n = min(horizon_weeks, weeks // 2), weeks
    statistic = mean / np.sqrt(variance) * np.sqrt((n + 1 - 2 * h + h * (h - 1) / n) / n)
    return DieboldMariano(mean, float(statistic), float(2 * student.sf(abs(statistic), n - 1)), low, high, rows, weeks)


def losses_by_date(losses: Mapping[str, FloatArray], dates: TimeArray) -> pd.DataFrame:
    """Return one loss per date and model, on the rows on which every model has one.

    A date's loss is the sum of its rows over the mean number of rows per date, so that the mean of a column is the
    pooled mean loss.

    Parameters
    ----------
    losses : mapping of model to array, shape (n,)
    dates : array of datetime64, shape (n,)

    Returns
    -------
    pandas.DataFrame, indexed by decision_date, one column per model
        Information set: matured outcomes.

    Raises
    ------
    DataContractError
        If the shapes differ.
    """
    if wrong := [name for name, loss in losses.items() if len(loss) != len(dates)]:
        raise DataContractError(f"losses of {', '.join(wrong)} must pair up with {len(dates)} dates")
    table = np.column_stack([np.asarray(loss, dtype=np.float64) for loss in losses.values()])
    kept = np.isfinite(table).all(axis=1)
    unique, member = np.unique(dates[kept], return_inverse=True)
    sums = np.column_stack([np.bincount(member, column, len(unique)) for column in table[kept].T])
    per_date = kept.sum() / max(len(unique), 1)
    return pd.DataFrame(sums / per_date, index=pd.DatetimeIndex(unique, name="decision_date"), columns=list(losses))


def superior_ability(
    losses: pd.DataFrame, benchmark: str, *, block: int = BLOCK, draws: int = DRAWS, seed: int = SEED
) -> SuperiorAbility:
    """Test whether any model beats a benchmark, allowing for having tried them all (Hansen 2005).

    Through `arch.bootstrap.SPA`, whose statistic is the largest mean gain. Gains are divided by their own standard
    error first, which makes it Hansen's studentised statistic: without it the noisiest model rules the null. The block
    bootstrap understates long-run variances, so that on 400 dates a test at 10% rejects a true null 12% of the time at
    one week and 16% at four (slow test).

    Parameters
    ----------
    losses : pandas.DataFrame, shape (dates, models)
        As `losses_by_date` returns them.
    benchmark : str
        Column to beat.
    block : int
        Mean block in dates, 8 to 13 for weekly forecasts of four weeks.
    draws, seed : int

    Returns
    -------
    SuperiorAbility
        Near 0: some model is better. Models that never differ from the benchmark are left out; were that all, 1.
        Missing below 20 dates.

    Raises
    ------
    DataContractError
        If the benchmark is no column.

    Information set: matured outcomes.
    """
    if benchmark not in losses.columns:
        raise DataContractError(f"`benchmark` must be one of {', '.join(map(str, losses.columns))}; got {benchmark!r}")
    if len(losses) < _MIN_DATES:
        return SuperiorAbility(*[float("nan")] * 3)
    own = losses[benchmark].to_numpy(np.float64)
    gain = own[:, None] - losses.drop(columns=benchmark).to_numpy(np.float64)
    error = np.sqrt(_bootstrap_variance(gain, block))
    differs = error > 1e-12
    if not differs.any():
        return SuperiorAbility(1.0, 1.0, 1.0)
    spa = SPA(np.zeros(len(own)), -gain[:, differs] / error[differs], block_size=block, reps=draws, seed=seed)
    spa.compute()
    return SuperiorAbility(*(float(spa.pvalues[name]) for name in SuperiorAbility._fields))


def confidence_set(
    losses: pd.DataFrame, *, level: float = 0.9, block: int = BLOCK, draws: int = DRAWS, seed: int = SEED
) -> pd.DataFrame:
    """Return the model confidence set: which models cannot be told from the best (Hansen, Lunde and Nason 2011).

    Through `arch.bootstrap.MCS` with the range statistic. Models with the very same losses enter once and share the
    answer.

    Parameters
    ----------
    losses : pandas.DataFrame, shape (dates, models)
    level : float
        The best model is inside with this probability.
    block, draws, seed : int
        As `superior_ability`.

    Returns
    -------
    pandas.DataFrame, indexed by model, best first
        `loss`, `p_value`, `included`; p-values missing and all included below 20 dates.

    Raises
    ------
    DataContractError
        If `level` is not inside (0, 1).

    Information set: matured outcomes.
    """
    if not 0 < level < 1:
        raise DataContractError(f"`level` must be in (0, 1); got {level}")
    means = losses.mean()
    if len(losses) < _MIN_DATES:
        table = pd.DataFrame({"loss": means, "p_value": np.nan, "included": True})
        return table.rename_axis("model").sort_values("loss", kind="stable")
    _, first, twin = np.unique(losses.to_numpy(np.float64).round(12), axis=1, return_index=True, return_inverse=True)
    p = np.ones(len(first))
    if len(first) > 1:
        mcs = MCS(losses.to_numpy(np.float64)[:, first], 1 - level, reps=draws, block_size=block, seed=seed)
        mcs.compute()
        p = mcs.pvalues["Pvalue"].sort_index().to_numpy(np.float64)
    table = pd.DataFrame({"loss": means, "p_value": p[twin.ravel()]})
    table["included"] = table["p_value"] > 1 - level
    return table.rename_axis("model").sort_values("loss", kind="stable")


def comparison_table(
    losses: Mapping[str, FloatArray], dates: TimeArray, model: str, horizon_weeks: int, *, draws: int = DRAWS
) -> pd.DataFrame:
    """Compare one model with every other on the same rows.

    Parameters
    ----------
    losses : mapping of model to array, shape (n,)
    dates : array of datetime64, shape (n,)
    model : str
        The one that claims to be better.
    horizon_weeks : int
    draws : int
        Of the bootstraps.

    Returns
    -------
    pandas.DataFrame, indexed by model, best first
        `loss`; `mcs_p_value, mcs_included` (90% set); against `model`: `difference` (its loss minus the row's, below
        zero it is better) with `low, high` (90%), `dm_statistic, dm_p_value` (two-sided); `spa_p_value` of "the model
        does not beat this row", and in the model's own row of "nobody beats it".

    Raises
    ------
    DataContractError
        If `model` is no key or the shapes differ.

    Information set: matured outcomes.
    """
    if model not in losses:
        raise DataContractError(f"`model` must be one of {', '.join(losses)}; got {model!r}")
    by_date = losses_by_date(losses, dates)
    table = confidence_set(by_date, draws=draws).rename(columns={"p_value": "mcs_p_value", "included": "mcs_included"})
    kept = np.isfinite(np.column_stack(list(losses.values()))).all(axis=1)
    own = np.where(kept, losses[model], np.nan)
    rows = {}
    for name in table.index:
        if name == model:
            rows[name] = {"spa_p_value": superior_ability(by_date, model, draws=draws).consistent}
            continue
        dm = diebold_mariano(own, losses[name], dates, horizon_weeks)
        rows[name] = {
            "difference": dm.mean, "low": dm.low, "high": dm.high, "dm_statistic": dm.statistic,
            "dm_p_value": dm.p_value,
            "spa_p_value": superior_ability(by_date[[name, model]], name, draws=draws).consistent,
        }  # fmt: skip
    columns = ["difference", "low", "high", "dm_statistic", "dm_p_value", "spa_p_value"]
    return table.join(pd.DataFrame.from_dict(rows, orient="index").reindex(columns=columns))


def _long_run(influence: FloatArray, horizon: int) -> float:
    """Sum of autocovariances up to lag h - 1, with Bartlett weights where that is not positive."""
    lags = min(horizon, len(influence)) - 1
    covariance = np.array([influence[lag:] @ influence[: len(influence) - lag] for lag in range(lags + 1)])
    plain = float(covariance[0] + 2 * covariance[1:].sum())
    if plain > 0 or lags == 0:
        return plain
    return float(covariance[0] + 2 * ((1 - np.arange(1, lags + 1) / (lags + 1)) @ covariance[1:]))


def _bootstrap_variance(gain: FloatArray, block: int) -> FloatArray:
    """Variance of a mean under the stationary bootstrap, times the number of dates (Politis and Romano 1994)."""
    n = len(gain)
    centred = gain - gain.mean(axis=0)
    keep = 1 - 1 / block
    variance = (centred**2).mean(axis=0)
    for lag in range(1, n):
        weight = (1 - lag / n) * keep**lag + lag / n * keep ** (n - lag)
        variance += 2 * weight * (centred[lag:] * centred[:-lag]).sum(axis=0) / n
    positive: FloatArray = np.maximum(variance, 0.0)
    return positive
