"""The dynamic quantile test: whether anything known at the decision foretells a breach.

Information set: matured outcomes; quantile and instrument as known at the decision.
"""

from __future__ import annotations

import numpy as np

from features.contracts import BoolArray, FloatArray
from features.errors import DataContractError
from training.tail_null import as_panel, null_hits
from training.tail_tests import TailTest, hit_panel, likelihood_result

LAGS = 4
_CHUNK = 64
"""Draws of the null that the regression handles at once."""


def dynamic_quantile(
    hits: FloatArray,
    var: FloatArray,
    level: float,
    *,
    instrument: FloatArray | None = None,
    lags: int = LAGS,
    lag: int = 1,
    null: FloatArray | None = None,
) -> TailTest:
    """Test that nothing known at the decision foretells a breach (Engle and Manganelli 2004).

    H = hit - a is regressed on a constant, `lags` earlier hits, the quantile forecast and an optional instrument; the
    statistic is H'X (X'X)^+ X'H / (a (1 - a)), chi-square with the rank of X. Simulated hits leave quantile and
    instrument as they are.

    Parameters
    ----------
    hits, level, null
        As `kupiec`.
    var, instrument : array, shape as `hits`
        Known at the decision, e.g. a crowding state.
    lags : int
        Earlier hits, at multiples of `lag` weeks.
    lag : int
        The horizon in weeks.

    Raises
    ------
    DataContractError
        As `kupiec`; if an instrument has another shape or `lags` leave no row.
    """
    hit, known = hit_panel(hits, level)
    fixed = [as_panel(var)] + ([] if instrument is None else [as_panel(instrument)])
    if any(part.shape != known.shape for part in fixed):
        raise DataContractError(f"`var` and `instrument` must have the shape of `hits`, {known.shape}")
    rows = _lagged_rows(known & np.isfinite(fixed).all(axis=0), known, lags, lag)
    columns = np.stack([np.ones(int(rows.sum())), *(part[rows] for part in fixed)], axis=1)
    spread = columns[:, 1:].std(axis=0)
    columns[:, 1:] = (columns[:, 1:] - columns[:, 1:].mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    steps = [k * lag for k in range(1, lags + 1)]
    x = _regressors(hit, rows, columns, steps)[0]
    rank = int(np.linalg.matrix_rank(x @ x.T, tol=1e-8 * len(columns), hermitian=True))
    draws = None
    if null is not None:
        draws = _regression(null_hits(null, level, known.shape) & known, rows, columns, steps, level)
    statistic = float(_regression(hit, rows, columns, steps, level)[0])
    return likelihood_result("dynamic_quantile", statistic, draws, rank, hit, rows)


def dynamic_statistic(hits: BoolArray, known: BoolArray, level: float, lag: int = 1) -> FloatArray:
    """Return the statistic of many samples with four lags, a constant quantile and no instrument.

    Parameters as `tail_tests.hit_statistic`; returns shape (draws,).
    """
    rows = _lagged_rows(known, known, LAGS, lag)
    steps = [k * lag for k in range(1, LAGS + 1)]
    return _regression(hits, rows, np.ones((int(rows.sum()), 1)), steps, level)


def _lagged_rows(rows: BoolArray, known: BoolArray, lags: int, lag: int) -> BoolArray:
    """Return the rows whose `lags` earlier breaches, `lag` weeks apart, are known too."""
    kept = rows.copy()
    for k in range(1, lags + 1):
        kept[k * lag :] &= known[: -k * lag]
        kept[: k * lag] = False
    if not kept.any():
        raise DataContractError(f"no row has {lags} earlier breaches {lag} weeks apart; give a longer history")
    return kept


def _regressors(hits: BoolArray, rows: BoolArray, columns: FloatArray, steps: list[int]) -> FloatArray:
    """Return constant, quantile, instrument and earlier hits of each draw, shape (draws, k, rows)."""
    fixed = [np.broadcast_to(column, (len(hits), len(columns))) for column in columns.T]
    return np.stack(fixed + [np.roll(hits, step, axis=1)[:, rows] for step in steps], axis=1, dtype=np.float64)


def _regression(hits: BoolArray, rows: BoolArray, columns: FloatArray, steps: list[int], level: float) -> FloatArray:
    """Return the dynamic quantile statistic of each draw, some draws at a time."""
    found = []
    for start in range(0, len(hits), _CHUNK):
        sample = hits[start : start + _CHUNK]
        x = _regressors(sample, rows, columns, steps)
        cross = (x @ (sample[:, rows] - level)[:, :, None])[:, :, 0]
        inverse = np.linalg.pinv(x @ x.transpose(0, 2, 1), rcond=1e-10, hermitian=True)
        found.append(np.einsum("di,dij,dj->d", cross, inverse, cross) / (level * (1 - level)))
    return np.concatenate(found)
