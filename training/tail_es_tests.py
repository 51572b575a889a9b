"""Backtests of expected shortfall: whether losses beyond the quantile are as large as forecast.

Both are one-sided against shortfalls that are too small, which is the error that costs. Lower tails only: turn the
sign of everything for the upper side. Shapes and `null` as in `tail_tests`.
"""

from __future__ import annotations

import numpy as np

from features.contracts import BoolArray, FloatArray
from features.errors import DataContractError
from training.tail_null import SEED, as_panel, null_hits, simulated_p
from training.tail_tests import TailTest

_CHUNK = 50


def acerbi_szekely(
    y: FloatArray,
    var: FloatArray,
    es: FloatArray,
    level: float,
    *,
    null: FloatArray | None = None,
    simulated: FloatArray | None = None,
) -> TailTest:
    """Test quantile and shortfall together: Z2 = 1 - mean(y 1{y < v} / (a e)) (Acerbi and Szekely 2014, test 2).

    Zero is expected, a negative value says that losses exceed what was forecast. The p-value is simulated, either from
    `simulated` outcomes under the forecasts or from `null` transforms with a standardised tail: an outcome whose
    transform is u < a becomes v + (v - e) log(u / a), the exponential excess that has the forecast's own quantile and
    shortfall. Acerbi and Szekely find critical values that hardly depend on the law of the tail; a heavier tail than
    the exponential moves them a little (slow test).

    Parameters
    ----------
    y, var, es : array, shape (n,) or (n, m)
        Outcomes and forecasts, es <= var < 0.
    level : float
    null : array, shape (draws, n, m), optional
        Draws of `null_pits`.
    simulated : array, shape (draws, n, m), optional
        Outcomes drawn from the forecast distributions, e.g. one scenario set for each week; needs no `null`.

    Raises
    ------
    DataContractError
        If neither or both of `null` and `simulated` are given, a shape differs, or a forecast is out of order.
    """
    outcome, quantile, shortfall, known = _panels(y, var, es)
    if (null is None) == (simulated is None):
        raise DataContractError("one of `null` and `simulated` must be given, not both; use `null_pits` for `null`")
    n = int(known.sum())
    ratio = np.where(known, outcome, 0.0) / np.where(known, shortfall, -1.0)
    hit = known & (outcome < quantile)
    statistic = float(z2(np.where(hit, ratio, 0.0)[None], n, level)[0])
    if simulated is not None:
        null_hits(simulated, level, known.shape)
        with np.errstate(invalid="ignore"):
            below = known & (simulated < quantile)
        losses = np.where(below, simulated, 0.0) / np.where(known, shortfall, -1.0)
        note = f"{len(simulated)} draws of the forecasts"
    else:
        below = null_hits(null, level, known.shape) & known  # type: ignore[arg-type]
        v, e = np.where(known, quantile, -1.0), np.where(known, shortfall, -1.0)
        excess = np.log(np.where(below, null, level) / level)  # type: ignore[arg-type]
        losses = np.where(below, (v + (v - e) * excess) / e, 0.0)
        note = f"simulated, {len(losses)} draws, exponential tail"
    draws = z2(losses, n, level)
    return TailTest("acerbi_szekely", statistic, simulated_p(-statistic, -draws), n, int(hit.sum()), note)


def z2(ratios: FloatArray, n: int, level: float) -> FloatArray:
    """Return Z2 of many samples, shape (draws,), from y / e where breached and 0 elsewhere, shape (draws, n, m).

    `n` is the number of known rows.
    """
    statistic: FloatArray = 1 - ratios.sum(axis=(1, 2)) / (n * level)
    return statistic


def es_intercept(
    y: FloatArray,
    var: FloatArray,
    es: FloatArray,
    level: float,
    *,
    horizon: int = 1,
    draws: int = 499,
    seed: int = SEED,
) -> TailTest:
    """Test that the shortfall needs no intercept (Bayer and Dimitriadis 2022, the intercept test).

    The joint quantile and shortfall regression of the forecast error on a constant is solved by the sample's own
    shortfall, so the statistic is the shortfall at level a of y / |e| + 1, in units of its HAC standard error. Errors
    are divided by the forecast: with forecasts that vary, errors in returns are a mixture whose shortfall is not zero
    even for a true model. The p-value compares it with the studentised, centred statistic of a stationary bootstrap
    over weeks (mean block 2 h); all pairs of a week are drawn together.

    Parameters
    ----------
    y, var, es, level
        As `acerbi_szekely`; the quantile only counts the breaches.
    horizon : int
        Weeks an outcome spans.
    draws, seed : int

    Returns
    -------
    TailTest
        A negative statistic says that losses exceed the forecast. Missing below 1 / level known rows.
    """
    outcome, quantile, shortfall, known = _panels(y, var, es)
    n, hit = int(known.sum()), known & (outcome < quantile)
    note = f"stationary bootstrap, {draws} draws"
    if n * level < 1:
        return TailTest("es_intercept", float("nan"), float("nan"), n, int(hit.sum()), "too few rows")
    kept = known.any(axis=1)
    errors = np.where(known, outcome / np.where(known, -shortfall, 1.0) + 1, np.nan)[kept]
    weeks = len(errors)
    rng = np.random.default_rng(seed)
    restart = rng.random((draws, weeks)) < (1 if horizon == 1 else 1 / (2 * horizon))
    restart[:, 0] = True
    position = np.arange(weeks)
    last = np.maximum.accumulate(np.where(restart, position, 0), axis=1)
    index = (np.take_along_axis(rng.integers(0, weeks, (draws, weeks)), last, axis=1) + position - last) % weeks
    value, error = _shortfall(errors[None], level, horizon)
    parts = [_shortfall(errors[index[i : i + _CHUNK]], level, horizon) for i in range(0, draws, _CHUNK)]
    drawn = (np.concatenate([part[0] for part in parts]) - value) / np.concatenate([part[1] for part in parts])
    statistic = float(value[0] / error[0])
    return TailTest("es_intercept", statistic, simulated_p(-statistic, -drawn), n, int(hit.sum()), note)


def shortfall_t(errors: FloatArray, level: float, horizon: int) -> FloatArray:
    """Return the statistic of `es_intercept` of many samples, shape (draws,), from y / |e| + 1, shape (draws, n, m)."""
    value, error = _shortfall(errors, level, horizon)
    return value / error


def _shortfall(errors: FloatArray, level: float, horizon: int) -> tuple[FloatArray, FloatArray]:
    """Return the shortfall of each draw of a panel and its standard error, shape (draws,).

    The error is that of the estimator's influence q + min(x - q, 0) / a - es, summed over the pairs of a week, with
    Bartlett weights up to twice the horizon.
    """
    flat = errors.reshape(len(errors), -1)
    n = np.isfinite(flat).sum(axis=1)
    ordered = np.sort(flat, axis=1)
    mass = n * level
    rank = np.maximum(np.ceil(mass - 1e-9).astype(np.int64) - 1, 0)
    rows = np.arange(len(flat))
    q = ordered[rows, rank]
    below = np.where(np.arange(flat.shape[1]) < rank[:, None], ordered, 0.0).sum(axis=1)
    es = (below + (mass - rank) * q) / mass
    edge = q[:, None, None]
    influence = np.nansum(edge + np.minimum(errors - edge, 0) / level - es[:, None, None], axis=2)
    variance = np.sum(influence**2, axis=1)
    width = 1 if horizon == 1 else 2 * horizon
    for lag in range(1, min(width, influence.shape[1])):
        variance += 2 * (1 - lag / width) * np.sum(influence[:, lag:] * influence[:, :-lag], axis=1)
    return es, np.sqrt(np.maximum(variance, np.finfo(float).tiny)) / n


def _panels(y: FloatArray, var: FloatArray, es: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray, BoolArray]:
    outcome, quantile, shortfall = as_panel(y), as_panel(var), as_panel(es)
    if not outcome.shape == quantile.shape == shortfall.shape:
        found = f"{outcome.shape}, {quantile.shape} and {shortfall.shape}"
        raise DataContractError(f"`y`, `var` and `es` must have one shape; got {found}")
    known = np.isfinite(outcome) & np.isfinite(quantile) & np.isfinite(shortfall)
    if not known.any():
        raise DataContractError("`y`, `var` and `es` must share at least one known row; got none")
    bad = known & ((quantile >= 0) | (shortfall > quantile))
    if bad.any():
        row, column = np.argwhere(bad)[0]
        raise DataContractError(
            f"`var` and `es` must hold es <= var < 0; got {shortfall[row, column]} and {quantile[row, column]}"
        )
    return outcome, quantile, shortfall, known
