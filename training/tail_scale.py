"""A tail from states: tiny trees predict how large the move will be, matured outcomes in that unit give the quantiles.

The unit of a row is sigma_t sqrt(h) exp(f(states)); f is a LightGBM regression of log(|spread| / (sigma_t sqrt(h)) + c)
on the causal states of the row, pooled over pairs. Quantile and shortfall are those of the matured outcomes of all
pairs divided by their units. With f = 0 it is historical simulation scaled by EWMA volatility (Hull and White 1998).
"""

from __future__ import annotations

from typing import cast

import lightgbm as lgb
import numpy as np
import pandas as pd

from features.contracts import HORIZONS, TAIL_COLUMNS, Dataset, FloatArray
from models.curve import QUANTILE_COLUMNS
from models.settings import TreeSettings
from training.fit import cut_time
from training.tail_rivals import sample_row

STATES = ("vol_ratio", "sigma_percentile", "age", "distance", "style", "style_momentum_4w", "style_momentum_13w")
FLOOR = 0.1
"""Added to the absolute move, in sigmas, before its logarithm: a week without a move is not minus infinity."""
MIN_DATES = 104
"""Matured decision dates below which there is no tail."""


def scale_tails(dataset: Dataset, rows: pd.MultiIndex, cut: np.datetime64, settings: TreeSettings) -> pd.DataFrame:
    """Forecast the tail of rows with trees trained at a cut.

    Parameters
    ----------
    dataset : Dataset
    rows : pandas.MultiIndex of (pair, decision_date)
    cut : datetime64[us]
        Not later than any of the rows.
    settings : TreeSettings

    Returns
    -------
    pandas.DataFrame, indexed by (pair, decision_date, horizon_weeks)
        `TAIL_COLUMNS`, `QUANTILE_COLUMNS` and `reason`, empty where there is a tail.

    Information set: of each row, its states; of the trees and quantiles, outcomes with matured_at < the cut.
    """
    cut_at = cut_time(dataset, cut)
    frames = []
    for horizon in HORIZONS:
        frame = _horizon(dataset, rows, cut_at, horizon, settings)
        frame.index = pd.MultiIndex.from_arrays(
            [rows.get_level_values(0), rows.get_level_values(1), np.full(len(rows), horizon)],
            names=["pair", "decision_date", "horizon_weeks"],
        )
        frames.append(frame)
    return pd.concat(frames)


def _horizon(
    dataset: Dataset, rows: pd.MultiIndex, cut_at: np.datetime64, horizon: int, settings: TreeSettings
) -> pd.DataFrame:
    outcomes = dataset.outcomes.xs(horizon, level="horizon_weeks")
    spread = outcomes["spread_realised"].to_numpy(np.float64)
    matured = (outcomes["matured_at"].to_numpy("datetime64[us]") < cut_at) & np.isfinite(spread)
    known = cast(pd.MultiIndex, outcomes.index[matured])
    dates = known.get_level_values("decision_date")
    if (count := dates.nunique()) < MIN_DATES:
        reason = f"no tail: {count} matured dates, {MIN_DATES} needed"
        nothing = dict.fromkeys((*TAIL_COLUMNS, *QUANTILE_COLUMNS), np.nan)
        return pd.DataFrame({**nothing, "reason": reason}, index=range(len(rows)))
    x, unit = _design(dataset, known, horizon)
    moves = spread[matured] / unit
    weight = 1 / np.sqrt(pd.Series(1, index=dates).groupby(level=0).transform("sum").to_numpy(np.float64))
    booster = _fit(x, np.log(np.abs(moves) + FLOOR), weight, settings)
    standard = sample_row(moves / np.exp(_predict(booster, x)))
    at, its_unit = _design(dataset, rows, horizon)
    scale = its_unit * np.exp(_predict(booster, at))
    return pd.DataFrame({**{name: value * scale for name, value in standard.columns().items()}, "reason": ""})


def _design(dataset: Dataset, rows: pd.MultiIndex, horizon: int) -> tuple[FloatArray, FloatArray]:
    """Return the states of rows and sigma sqrt(h)."""
    chosen = dataset.rows.loc[rows]
    unit = chosen["sigma"].to_numpy(np.float64) * np.sqrt(horizon)
    return chosen[list(STATES)].to_numpy(np.float64), unit


def _fit(x: FloatArray, target: FloatArray, weight: FloatArray, settings: TreeSettings) -> list[lgb.Booster]:
    """Fit a few seeds of shrunk trees to the log move less its mean."""
    params = {
        "objective": "regression", "num_leaves": settings.num_leaves, "max_depth": settings.max_depth,
        "learning_rate": settings.learning_rate, "min_data_in_leaf": settings.min_data_in_leaf,
        "feature_fraction": settings.feature_fraction, "bagging_fraction": settings.bagging_fraction,
        "bagging_freq": 1, "lambda_l2": settings.lambda_l2, "path_smooth": settings.path_smooth,
        "max_bin": settings.max_bin, "deterministic": True, "force_row_wise": True, "num_threads": 1, "verbosity": -1,
    }  # fmt: skip
    centred = target - np.average(target, weights=weight)
    boosters = []
    for seed in range(min(settings.seeds, 5)):
        data = lgb.Dataset(x, centred, weight=weight, params={"max_bin": settings.max_bin}, free_raw_data=False)
        boosters.append(lgb.train({**params, "seed": seed}, data, settings.rounds))
    return boosters


def _predict(boosters: list[lgb.Booster], x: FloatArray) -> FloatArray:
    predictions = [np.asarray(booster.predict(x), dtype=np.float64) for booster in boosters]
    return np.asarray(np.mean(predictions, axis=0), dtype=np.float64)
