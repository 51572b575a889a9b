"""Baselines that are a shrunk logit on a few columns which exist already, kept as data."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from training.baseline_logit import Column, Inputs, laid_out, walk_logit

PERSISTENCE = (Column("style", "neither"),)
"""One tilt per style in force."""
MOMENTUM = (Column("style_momentum_4w", "along"), Column("style_momentum_13w", "along"))
RIDGE = (
    Column("vol_ratio", "neither"),
    *MOMENTUM,
    Column("age", "along"),
    Column("distance", "along"),
)
VALUATION = ("valuation_spread", "pair_valuation")
"""Features of the catalogue; a pair has the first, the second, both or none."""
_MIN_WEEKS = 52


def forecast_columns(inputs: Inputs, columns: Sequence[Column]) -> pd.DataFrame:
    """Forecast with the shrunk logit on causal states of the rows; see `walk_logit`."""
    laid = laid_out(inputs, inputs.dataset.rows, columns)
    return walk_logit(inputs, lambda cut: laid)


def forecast_valuation(inputs: Inputs) -> pd.DataFrame:
    """Forecast with the shrunk logit on how dear small caps are: the mean of what the pair has of `VALUATION`.

    Each feature is standardised at the cut by its rows before it, all pairs together. The base rate where a pair has
    neither.

    Information set: the row's features; means and deviations of rows before the cut.
    """
    dataset = inputs.dataset
    values = dataset.values.reindex(columns=list(VALUATION)).astype(np.float64)
    dates = dataset.rows.index.get_level_values("decision_date").to_numpy("datetime64[us]")

    def dear(cut: np.datetime64) -> pd.DataFrame:
        past = values[dates < cut]
        moves = (past.count() >= _MIN_WEEKS) & (past.std() > 0)
        scaled = (values - past.mean()) / past.std().where(moves)
        return scaled.mean(axis=1).to_frame("dear")

    return walk_logit(inputs, lambda cut: laid_out(inputs, dear(cut), (Column("dear", "small"),)))
