"""The same definitions as `features`, written a second time, one decision at a time and without any shortcut."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
import pandas as pd

from features.contracts import FloatArray, History
from features.market import FeatureSpec, MarketSpec
from features.transforms import evaluate, parse_formula


def as_of(vintages: pd.DataFrame, market: MarketSpec, series: str, time: pd.Timestamp) -> pd.Series[float]:
    """Return the latest vintage of each period known at a time, in today's unit, within the series' lifetime.

    `vintages` are the observations of that series.
    """
    rows = vintages[vintages["known_at"] <= time]
    rows = rows.sort_values("known_at", kind="stable").drop_duplicates("period", keep="last")
    values = rows.set_index("period")["value"].sort_index()
    if series in market.series:
        spec = market.series[series]
        for change in spec.breaks:
            values = values.where(values.index >= pd.Timestamp(change.date), values * change.factor)
        if spec.born is not None:
            values = values[values.index >= pd.Timestamp(spec.born)]
        if spec.died is not None:
            values = values[values.index <= pd.Timestamp(spec.died)]
    return values


def cell(
    vintages: Mapping[str, pd.DataFrame], market: MarketSpec, spec: FeatureSpec, inputs: Sequence[str],
    decision: pd.Timestamp, time: pd.Timestamp, *, limits: bool = True,
) -> float:  # fmt: skip
    """Return one cell of the panel; without `limits` no number is too old."""
    parts = []
    for source in inputs:
        if source not in market.series or source not in vintages:
            return np.nan
        declared = market.series[source]
        if declared.died is not None and decision > pd.Timestamp(declared.died):
            return np.nan
        part = as_of(vintages[source], market, source, time)
        if part.empty or (limits and (decision - part.index[-1]).days > declared.stale_days):
            return np.nan
        parts.append(part)
    joined = pd.concat(parts, axis=1, join="inner").sort_index()
    if joined.empty:
        return np.nan
    if limits and (decision - joined.index[-1]).days > max(market.series[source].stale_days for source in inputs):
        return np.nan
    value = evaluate(parse_formula(spec.formula, len(inputs)), joined.to_numpy(np.float64))[-1]
    return float(value) if np.isfinite(value) else np.nan


def history_as_of(history: History, time: np.datetime64) -> dict[np.datetime64, FloatArray]:
    """Return what a history said at a time, row by row."""
    seen: dict[np.datetime64, FloatArray] = {}
    for row in range(len(history)):
        if history.known_at[row] <= time:
            seen[history.period[row]] = history.value[row]
    return seen


def sigma(x: Sequence[float]) -> float:
    """Return the weekly sigma of decision closes up to and including the last one."""
    changes = [after - before for before, after in pairwise(x)]
    if len(changes) < 26:
        return np.nan
    weights = [0.5 ** (age / 26.0) for age in range(len(changes))][::-1]
    total = sum(weight * change**2 for weight, change in zip(weights, changes, strict=True))
    return float(np.sqrt(total / sum(weights)))


def styles(x: Sequence[float]) -> list[int]:
    """Return the style in force at each decision close: the extreme is looked up anew in the closes since the flip."""
    result: list[int] = []
    style, flipped = 0, 0
    for now in range(len(x)):
        bar = sigma(x[: now + 1]) * np.sqrt(13.0)
        since = x[flipped : now + 1]
        rise, fall = x[now] - min(since), max(since) - x[now]
        if style == 0 and (rise >= bar or fall >= bar):
            style, flipped = (1 if rise >= bar else -1), now
        elif (style == 1 and fall >= bar) or (style == -1 and rise >= bar):
            style, flipped = -style, now
        result.append(style)
    return result
