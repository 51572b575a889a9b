"""Probability of backtest overfitting by combinatorially symmetric cross-validation (Bailey et al. 2017)."""

from __future__ import annotations

from itertools import combinations
from typing import NamedTuple

import numpy as np
from scipy.stats import rankdata

from features.contracts import FloatArray
from features.errors import DataContractError

BLOCKS = 16


class Overfitting(NamedTuple):
    """How the trial that was best in sample fared out of it, over all splits.

    `pbo` is the share of splits in which it fell to the lower half, `loss` that in which its mean return out of sample
    was below zero, `slope` of the regression of its ratio out of sample on that in sample (below zero: the better it
    looked, the worse it was).
    """

    pbo: float
    loss: float
    slope: float
    splits: int


def backtest_overfitting(returns: FloatArray, *, blocks: int = BLOCKS) -> Overfitting:
    """Estimate the probability that choosing the best trial picks a below-median one out of sample.

    The weeks are cut into an even number of blocks; each choice of half of them is a sample, the other half is out of
    sample. In each split the trial with the highest Sharpe ratio in sample is ranked among all out of sample: w =
    rank / (trials + 1), and the probability of overfitting is the share of splits with logit(w) <= 0.

    Parameters
    ----------
    returns : array, shape (n, k)
        Weekly returns of every logged trial, weeks in order.
    blocks : int
        Even. 16 give 12,870 splits.

    Returns
    -------
    Overfitting
        Missing where no trial ever moves.

    Raises
    ------
    DataContractError
        If there are fewer than two trials, a return is missing, `blocks` is odd, below 2, or leaves less than two
        weeks a block.

    Information set: the returns given.
    """
    panel = np.asarray(returns, dtype=np.float64)
    if panel.ndim != 2 or panel.shape[1] < 2 or not np.isfinite(panel).all():
        raise DataContractError(f"`returns` must be finite, shape (weeks, 2 trials or more); got shape {panel.shape}")
    if blocks < 2 or blocks % 2 or len(panel) < 2 * blocks:
        raise DataContractError(
            f"`blocks` must be even, 2 or more, and at most half of the {len(panel)} weeks; got {blocks}"
        )
    if not (np.ptp(panel, axis=0) > 0).any():
        return Overfitting(float("nan"), float("nan"), float("nan"), 0)
    parts = np.array_split(panel, blocks)
    sums = np.array([[part.sum(axis=0), (part**2).sum(axis=0)] for part in parts])
    counts = np.array([len(part) for part in parts], dtype=np.float64)
    picks = np.array(list(combinations(range(blocks), blocks // 2)))
    chosen = np.zeros((len(picks), blocks))
    np.put_along_axis(chosen, picks, 1.0, axis=1)
    inside, _ = _ratios(chosen, sums, counts)
    outside, mean = _ratios(1 - chosen, sums, counts)
    best = np.argmax(inside, axis=1)
    row = np.arange(len(picks))
    rank = rankdata(outside, axis=1)[row, best] / (panel.shape[1] + 1)
    own, theirs = inside[row, best], outside[row, best]
    spread = float(np.var(own))
    slope = float(np.cov(own, theirs, ddof=0)[0, 1] / spread) if spread > 0 else float("nan")
    return Overfitting(float(np.mean(rank <= 0.5)), float(np.mean(mean[row, best] < 0)), slope, len(picks))


def _ratios(chosen: FloatArray, sums: FloatArray, counts: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Sharpe ratios and means of every trial on every choice of blocks, shape (splits, k); no movement counts as 0."""
    n = (chosen @ counts)[:, None]
    mean, square = chosen @ sums[:, 0] / n, chosen @ sums[:, 1] / n
    variance = np.maximum(square - mean**2, 0.0)
    moves = variance > 1e-12 * np.maximum(square, 1e-300)
    return np.where(moves, mean / np.sqrt(np.where(moves, variance, 1.0)), 0.0), mean
