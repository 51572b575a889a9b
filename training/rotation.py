"""The rotation rule: all large, half and half, or all small, from what the head says beyond the base rate.

It is there to price the direction head, not to be traded: one rule, stated before it was run, with no parameter that
was searched. Positions are taken at the entry close and held to the next entry, which is when one can trade.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd

from features.contracts import FloatArray
from features.errors import DataContractError
from training.sharpe import WEEKS_A_YEAR, information_ratio

MARGIN = 0.02
"""How far p_large must lie from the base rate, a fraction, for a full position; nearer it is half and half."""
COST = 0.001
"""Cost a side, a fraction of what is traded: 10 basis points."""
_LAGS = 4
"""Autocovariances in the error of the information ratio."""
_NEEDED = ("pair", "decision_date", "horizon_weeks", "p_large", "p_large_base", "spread_realised")


class RotationSummary(NamedTuple):
    """What the rule earned over half and half, net of costs, log returns as fractions.

    `excess` and `cost` a year, `ratio` with its standard `error`, `drawdown` the largest fall of the net excess from
    its peak (not positive), `turnover` how often a year the whole book is exchanged, `large` and `small` shares of
    weeks in each full position.
    """

    weeks: int
    excess: float
    cost: float
    ratio: float
    error: float
    drawdown: float
    turnover: float
    large: float
    small: float


def rotation_position(p_large: FloatArray, base: FloatArray, margin: float = MARGIN) -> FloatArray:
    """Return the weight of the small segment: 0 where p_large >= base + margin, 1 where <= base - margin, else 1/2.

    A missing probability is half and half.

    Raises
    ------
    DataContractError
        If `margin` is negative.

    Information set: the probabilities at their decision.

    Examples
    --------
    >>> rotation_position(np.array([0.50, 0.43, 0.36]), np.array([0.42, 0.42, 0.42]))
    array([0. , 0.5, 1. ])
    """
    if not margin >= 0:
        raise DataContractError(f"`margin` must be 0 or more; got {margin}")
    # Rounding must not decide between a full and half a position.
    lean = np.round(np.asarray(p_large, dtype=np.float64) - base, 12)
    position: FloatArray = np.where(lean >= margin, 0.0, np.where(lean <= -margin, 1.0, 0.5))
    return position


def rotation_weeks(position: FloatArray, spread: FloatArray, cost: float = COST) -> pd.DataFrame:
    """Return what positions earn over half and half, week by week.

    With weight w in small caps and spread x the book grows by (w e^x + 1 - w) against (e^x + 1) / 2 of half and half,
    whatever large caps do, so that the spread alone gives the exact excess. Both books are brought back to their
    weights each week and pay for it: `cost` on what is sold and on what is bought. Both start as half and half.

    Parameters
    ----------
    position : array, shape (n,)
        Weight of the small segment from each entry to the next, in [0, 1].
    spread : array, shape (n,)
        Small-minus-large log return from each entry to the next.
    cost : float
        A side, a fraction.

    Returns
    -------
    pandas.DataFrame
        `position`, `gross` (log excess before costs), `cost` (log, net of what half and half pays), `turnover` (share
        of the book exchanged), `excess` = gross - cost. Information set: the week's own position and spread.

    Raises
    ------
    DataContractError
        If the shapes differ, a number is missing, or a position or cost is out of range.
    """
    if len(position) != len(spread) or not np.isfinite(spread).all():
        raise DataContractError(f"positions must pair up with known spreads; got {len(position)} and {len(spread)}")
    if not ((position >= 0) & (position <= 1)).all() or not 0 <= cost < 0.5:
        raise DataContractError(f"positions must be in [0, 1] and `cost` in [0, 0.5); got a cost of {cost}")
    half = np.full(len(position), 0.5)
    growth, turnover = _book(position, spread)
    growth_half, turnover_half = _book(half, spread)
    gross = growth - growth_half
    paid = np.log1p(-2 * cost * turnover_half) - np.log1p(-2 * cost * turnover)
    return pd.DataFrame(
        {"position": position, "gross": gross, "cost": paid, "turnover": turnover, "excess": gross - paid}
    )


def rotation(
    forecasts: pd.DataFrame, horizon_weeks: int, costs: Mapping[str, float] | None = None, *, margin: float = MARGIN
) -> pd.DataFrame:
    """Run the rule on every pair's walk-forward.

    Parameters
    ----------
    forecasts : pandas.DataFrame
        `pair, decision_date, horizon_weeks, p_large, p_large_base, spread_realised`; returns come from the one-week
        rows, from entry to next entry, the probability from the rows of `horizon_weeks`.
    horizon_weeks : int
        Of the probability that decides.
    costs : mapping of pair to float, optional
        Cost a side; 10 basis points where a pair is not named. Micro-caps cost 30 to 50.
    margin : float

    Returns
    -------
    pandas.DataFrame
        `pair, decision_date` and the columns of `rotation_weeks`, each pair in order of time. Weeks whose spread has
        not matured are left out.

    Raises
    ------
    DataContractError
        If a column or the one-week rows are missing.

    Information set: of each position, the probabilities at its decision, before its entry.
    """
    if missing := [name for name in _NEEDED if name not in forecasts.columns]:
        raise DataContractError(f"the forecasts lack {', '.join(missing)}; give the frame of a walk-forward")
    if not (forecasts["horizon_weeks"] == 1).any():
        raise DataContractError("the forecasts hold no one-week rows, whose spreads the rule earns")
    tables = []
    for pair, rows in forecasts.groupby("pair", sort=True):
        week = rows[(rows["horizon_weeks"] == 1) & rows["spread_realised"].notna()].set_index("decision_date")
        said = rows[rows["horizon_weeks"] == horizon_weeks].set_index("decision_date").reindex(week.sort_index().index)
        position = rotation_position(_numbers(said["p_large"]), _numbers(said["p_large_base"]), margin)
        spread = _numbers(week.sort_index()["spread_realised"])
        table = rotation_weeks(position, spread, (costs or {}).get(str(pair), COST))
        table.insert(0, "decision_date", said.index)
        table.insert(0, "pair", str(pair))
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


def rotation_summary(weeks: pd.DataFrame) -> RotationSummary:
    """Summarise the weeks of one pair, or of several as an equal mix: see `RotationSummary`.

    Parameters
    ----------
    weeks : pandas.DataFrame
        Rows of `rotation`.

    Information set: matured spreads.
    """
    by_week = weeks.groupby("decision_date")[["excess", "cost", "turnover"]].mean().sort_index()
    excess = by_week["excess"].to_numpy(np.float64)
    ratio = information_ratio(excess, lags=min(_LAGS, max(len(excess) - 1, 0)))
    year = WEEKS_A_YEAR
    mean = by_week.mean()
    return RotationSummary(
        weeks=len(excess),
        excess=float(mean["excess"] * year),
        cost=float(mean["cost"] * year),
        ratio=ratio.value,
        error=ratio.error,
        drawdown=maximum_drawdown(excess),
        turnover=float(mean["turnover"] * year),
        large=float((weeks["position"] == 0).mean()),
        small=float((weeks["position"] == 1).mean()),
    )


def maximum_drawdown(excess: FloatArray) -> float:
    """Return the largest fall of cumulated log returns from their peak, the start included; not positive.

    Examples
    --------
    >>> round(maximum_drawdown(np.array([0.02, -0.03, 0.01, -0.02])), 4)
    -0.04
    """
    path = np.concatenate([[0.0], np.cumsum(excess)])
    return float(np.min(path - np.maximum.accumulate(path)))


def _book(position: FloatArray, spread: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Log growth over large caps of a book held at weights, and the share exchanged at each entry to get there."""
    grown = position * np.exp(spread) + 1 - position
    drifted = np.concatenate([[0.5], (position * np.exp(spread) / grown)[:-1]])
    growth: FloatArray = np.log(grown)
    return growth, np.abs(position - drifted)[: len(position)]


def _numbers(column: pd.Series[float]) -> FloatArray:
    return np.asarray(column.to_numpy(dtype=np.float64, na_value=np.nan), dtype=np.float64)
