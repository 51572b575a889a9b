"""Can an explanation be trusted? Signs against the declared ones, ranks over seeds and refits, families over time.

Everything reads arrays of contributions in log-odds (`models.explain.Explanation`, or one booster's own).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from features.contracts import Event, FeatureInfo, FloatArray, IntArray, TimeArray
from features.errors import DataContractError
from training.plots import Contributions

RANK_TARGET = 0.7
"""Rank correlation of importances at which an ordering of drivers may be shown."""


class RankStability(NamedTuple):
    """Spearman correlation of importances: mean and lowest over the compared pairs, and how many there are."""

    mean: float
    lowest: float
    compared: int


def declared_signs(features: Sequence[FeatureInfo], event: Event, style: IntArray) -> IntArray:
    """Return the sign with which each feature should move an event's log-odds, shape (n, features).

    The catalogue declares the effect on small beating large (`sign`) and on a small-cap crash (`tail_sign`). "Large
    wins" turns the first round; the crash and the switch take the second as it is, and of the first what speaks against
    small caps or against the style in force. Where the two disagree nothing is declared.

    Parameters
    ----------
    features : sequence of FeatureInfo
    event : str
    style : array of int, shape (n,)
        Style in force: +1 small, -1 large.

    Returns
    -------
    array of int
        +1, -1, or 0 where no sign is declared. Information set: the style at its decision.
    """
    result = np.zeros((len(style), len(features)), dtype=np.int64)
    for column, info in enumerate(features):
        direction = -info.sign * (style if event == "switch" else np.ones(len(style), dtype=np.int64))
        tail = 0 if event == "large" else info.tail_sign
        result[:, column] = np.where(direction * tail < 0, 0, np.sign(direction + tail))
    return result


def sign_agreement(shown: Contributions, signs: IntArray, centre: FloatArray | None = None) -> pd.DataFrame:
    """Return how often a contribution has the sign of declared sign times deviation.

    Parameters
    ----------
    shown : Contributions
        Names, values and contributions in log-odds, shape (n, k).
    signs : array of int, shape (n, k) or (k,)
        Declared effect on the log-odds of the event; see `declared_signs`.
    centre : array, shape (k,), optional
        From where a value deviates: the training mean of each feature. By default the mean of the rows given.

    Returns
    -------
    pandas.DataFrame, indexed by feature, the largest contributions first
        `n` (rows with a declared sign, a deviation and a contribution), `agreement` (share of them), `agreement_size`
        (the same, rows weighted by the size of the contribution) and `size` (mean absolute contribution over all
        rows). Features without such a row are left out.

    Raises
    ------
    DataContractError
        If the shapes differ.

    Information set: that of the contributions.
    """
    names, values, amounts = shown
    if not values.shape == amounts.shape == (len(values), len(names)):
        raise DataContractError(f"values and contributions need {len(names)} columns; got {values.shape}, "
                                f"{amounts.shape}")  # fmt: skip
    if np.shape(signs) not in (amounts.shape, amounts.shape[1:]):
        raise DataContractError(f"`signs` must have shape {amounts.shape} or ({len(names)},); got {np.shape(signs)}")
    if centre is None:
        count = np.isfinite(values).sum(axis=0)
        centre = np.where(count > 0, np.nansum(values, axis=0) / np.maximum(count, 1), np.nan)
    expected = np.sign(np.nan_to_num(values - centre)) * np.broadcast_to(signs, amounts.shape)
    counted = (expected != 0) & (amounts != 0)
    right = counted & (np.sign(amounts) == expected)
    size = np.abs(amounts)
    n = counted.sum(axis=0)
    weight = (size * counted).sum(axis=0)
    table = pd.DataFrame(
        {
            "n": n,
            "agreement": right.sum(axis=0) / np.maximum(n, 1),
            "agreement_size": (size * right).sum(axis=0) / np.where(weight > 0, weight, 1.0),
            "size": size.mean(axis=0) if len(size) else np.zeros(len(names)),
        },
        index=pd.Index(names, name="feature"),
    )
    return table[table["n"] > 0].sort_values("size", ascending=False, kind="stable")


def importance(contributions: FloatArray) -> FloatArray:
    """Return the mean absolute contribution of each column of shape (n, k), log-odds."""
    if contributions.ndim != 2 or len(contributions) == 0:
        raise DataContractError(f"`contributions` must have shape (rows, features); got {contributions.shape}")
    return np.asarray(np.abs(contributions).mean(axis=0), dtype=np.float64)


def rank_over_seeds(importances: FloatArray) -> RankStability:
    """Compare the order of features between all pairs of seeds.

    Parameters
    ----------
    importances : array, shape (runs, k)
        Mean absolute contributions of the same features.

    Returns
    -------
    RankStability
        Missing with fewer than two runs or features; a run in which no feature differs has no order and is left out.

    Raises
    ------
    DataContractError
        If the array has not two dimensions or a number is missing.
    """
    ranks = _ranks(importances)
    pairs = [(i, j) for i in range(len(ranks)) for j in range(i)]
    return _stability(ranks, pairs)


def rank_over_refits(importances: FloatArray) -> RankStability:
    """Compare the order of features between consecutive refits; parameters as `rank_over_seeds`, in order of time."""
    ranks = _ranks(importances)
    return _stability(ranks, [(i, i - 1) for i in range(1, len(ranks))])


def family_shares(families: Sequence[str], contributions: FloatArray, dates: TimeArray) -> pd.DataFrame:
    """Return how much of what moved the log-odds came from each family, by calendar year.

    The contributions of a family's features are summed row by row before their size is taken: what cancels within a
    family moved nothing.

    Parameters
    ----------
    families : sequence of str, length k
        Family of each column.
    contributions : array, shape (n, k)
        Log-odds.
    dates : array of datetime64, shape (n,)
        Decision dates.

    Returns
    -------
    pandas.DataFrame, indexed by year, one column per family in order of first appearance
        Shares, fractions that add up to one; missing in a year in which nothing moved.

    Raises
    ------
    DataContractError
        If the shapes differ.

    Information set: that of the contributions.
    """
    if contributions.shape != (len(dates), len(families)):
        raise DataContractError(
            f"`contributions` must have shape ({len(dates)}, {len(families)}); got {contributions.shape}"
        )
    names = list(dict.fromkeys(families))
    member = np.array([[family == name for name in names] for family in families], dtype=np.float64)
    size = pd.DataFrame(np.abs(contributions @ member.reshape(len(families), len(names))), columns=names)
    year = pd.Index(np.asarray(dates).astype("datetime64[Y]").astype(np.int64) + 1970, name="year")
    by_year = size.set_index(year).groupby(level="year").mean()
    total = by_year.sum(axis=1)
    return by_year.div(total.where(total > 0), axis=0)


def _ranks(importances: FloatArray) -> FloatArray:
    panel = np.asarray(importances, dtype=np.float64)
    if panel.ndim != 2 or not np.isfinite(panel).all():
        raise DataContractError(f"`importances` must be finite, shape (runs, features); got shape {panel.shape}")
    ranks = rankdata(panel, axis=1) if panel.size else panel
    centred: FloatArray = ranks - ranks.mean(axis=1, keepdims=True) if panel.size else panel
    return centred


def _stability(ranks: FloatArray, pairs: Sequence[tuple[int, int]]) -> RankStability:
    length = np.sqrt((ranks**2).sum(axis=1))
    usable = [(i, j) for i, j in pairs if length[i] > 0 and length[j] > 0]
    if not usable:
        return RankStability(float("nan"), float("nan"), 0)
    found = [float(ranks[i] @ ranks[j] / (length[i] * length[j])) for i, j in usable]
    return RankStability(float(np.mean(found)), float(np.min(found)), len(found))
