"""Rows of features of a market, with what the heads start from in each week, as they were knowable."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from features.errors import DataContractError
from models.base import base_frame
from models.implied import implied_probabilities
from models.row_frame import feature_rows
from serving.opened_market import OpenedMarket


def feature_table(opened: OpenedMarket, rows: pd.MultiIndex, progress: Callable[[str, int, int], None]) -> pd.DataFrame:
    """Return the rows by the row contract (`models.row_contract`).

    Parameters
    ----------
    opened : OpenedMarket
        A scenario set is drawn with the volatility of the bundle in force at its day.
    rows : pandas.MultiIndex of (pair, decision_date)
    progress : callable
        Takes stage, done and total.

    Raises
    ------
    DataContractError
        If there is no row, or the bundle in force in a week is not there.
    BundleError
        If a bundle is damaged.

    Information set: of each row, rows with known_at <= its decision, and parameters of a cut not later.
    """
    if not len(rows):
        raise DataContractError("no pair has a row in these weeks; choose later ones")
    dataset = opened.dataset
    days = np.unique(rows.get_level_values("decision_date").to_numpy("datetime64[us]"))
    in_force = {opened.cut(day): day for day in days}
    volatility = {cut: opened.bundle(day).volatility for cut, day in in_force.items()}
    frames = []
    for done, day in enumerate(days, start=1):
        frames.append(implied_probabilities(dataset, volatility, np.array([day]), opened.plan.settings.scenarios))
        progress("scenario sets", done, len(days))
    return feature_rows(dataset, rows, base_frame(dataset, pd.concat(frames)))
