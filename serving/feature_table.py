"""Rows of features of a market, with what the heads start from in each week, as they were knowable."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from features.contracts import Dataset
from features.errors import DataContractError
from models.base import base_frame
from models.bundle import Bundle
from models.implied import implied_probabilities
from models.row_frame import feature_rows
from models.schedule import Plan, bundle_folder, bundle_root, day_text, refit_cuts


def feature_table(
    dataset: Dataset, plan: Plan, rows: pd.MultiIndex, artifacts: Path, progress: Callable[[str, int, int], None]
) -> pd.DataFrame:
    """Return the rows by the row contract (`models.row_contract`).

    Parameters
    ----------
    dataset : Dataset
    plan : Plan
    rows : pandas.MultiIndex of (pair, decision_date)
    artifacts : Path
        Holds the bundles; a scenario set is drawn with the volatility of the bundle in force at its day.
    progress : callable
        Takes stage, done and total.

    Raises
    ------
    DataContractError
        If there is no row, or the bundle in force in a week is not there.

    Information set: of each row, rows with known_at <= its decision, and parameters of a cut not later.
    """
    if not len(rows):
        raise DataContractError("no pair has a row in these weeks; choose later ones")
    days = np.unique(rows.get_level_values("decision_date").to_numpy("datetime64[us]"))
    cuts = refit_cuts(dataset, plan)
    in_force = cuts[np.unique(np.searchsorted(cuts, days, side="right") - 1)]
    root = bundle_root(artifacts, dataset.market, plan)
    volatility = {}
    for cut in in_force:
        folder = bundle_folder(root, cut, str(dataset.clock["snapshot_id"].loc[pd.Timestamp(cut)]))
        if not folder.is_dir():
            raise DataContractError(
                f"no bundle of cut {day_text(cut)} for this data and configuration; run `capshift train --market "
                f"{dataset.market}`"
            )
        volatility[cut] = Bundle.load(folder).volatility
    frames = []
    for done, day in enumerate(days, start=1):
        frames.append(implied_probabilities(dataset, volatility, np.array([day]), plan.settings.scenarios))
        progress("scenario sets", done, len(days))
    return feature_rows(dataset, rows, base_frame(dataset, pd.concat(frames)))
