"""What a stock does beyond the market."""

from __future__ import annotations

import numpy as np

from features.contracts import FloatArray, IntArray

_STILL = 1e-12
"""A residual with less than this share of the sum of squares is rounding."""


def residual_returns(returns: FloatArray, controls: FloatArray, coverage: float) -> tuple[FloatArray, IntArray]:
    """Regress each stock on a constant and the controls, and return what is left.

    Each stock is regressed on its own days. A day without a return has residual zero: it says neither that the stock
    went with the others nor that it went against them.

    Parameters
    ----------
    returns : array, shape (n, k)
        Fractions; missing where there is none.
    controls : array, shape (n, c)
        Without gaps.
    coverage : float
        Least share of the n rows on which a stock must have a return.

    Returns
    -------
    residuals : array, shape (n, m)
        Fractions.
    kept : array of int, shape (m,)
        The columns of `returns` that they belong to: enough days, and a residual that moves.

    Information set: the rows passed.
    """
    n = len(returns)
    design = np.column_stack([np.ones(n), controls - controls.mean(axis=0)])
    width = design.shape[1]
    present = np.isfinite(returns)
    kept = np.flatnonzero(present.sum(axis=0) >= max(coverage * n, width + 2))
    present, filled = present[:, kept], np.where(present[:, kept], returns[:, kept], 0.0)
    # Normal equations of every stock at once: products of the controls, summed over the stock's own days.
    products = (design[:, :, None] * design[:, None, :]).reshape(n, width * width)
    gram = (present.T.astype(np.float64) @ products).reshape(-1, width, width)
    # Where the controls do not vary on a stock's days the determinant vanishes beside the diagonal.
    solvable = np.linalg.det(gram) > _STILL * np.prod(np.diagonal(gram, axis1=1, axis2=2), axis=1)
    kept, present, filled, gram = kept[solvable], present[:, solvable], filled[:, solvable], gram[solvable]
    beta = np.linalg.solve(gram, (filled.T @ design)[:, :, None])[:, :, 0]
    left = np.where(present, filled - design @ beta.T, 0.0)
    moves = np.sum(left**2, axis=0) > _STILL * np.sum(filled**2, axis=0)
    return left[:, moves], kept[moves]


def unit_length(residuals: FloatArray) -> FloatArray:
    """Scale each column to length one, so that a product of two is their correlation; none may be all zero."""
    return np.asarray(residuals / np.sqrt(np.sum(residuals**2, axis=0)))
