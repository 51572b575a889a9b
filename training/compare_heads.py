"""The heads against every other model on the same weeks."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd

from features.contracts import EVENTS, HORIZONS
from training.compare import DRAWS, comparison_table
from training.scores import log_loss

HEADS = "heads"
"""Name of the heads among the models of a table."""
Progress = Callable[[str, int, int], None]


def compare_models(
    models: Mapping[str, pd.DataFrame],
    *,
    draws: int = DRAWS,
    progress: Progress = lambda stage, done, total: None,
) -> pd.DataFrame:
    """Compare the heads with every other model, all pairs pooled, for each event and horizon.

    Parameters
    ----------
    models : mapping of str to pandas.DataFrame
        The same rows in the same order, `heads` among them.

    Returns
    -------
    pandas.DataFrame
        `event, horizon_weeks, model` and the columns of `training.compare.comparison_table`; rows on which a model has
        no probability are left out for all. Information set: matured outcomes.
    """
    tables = []
    for horizon in HORIZONS:
        for event in EVENTS:
            losses = {}
            for name, frame in models.items():
                rows = frame[frame["horizon_weeks"] == horizon]
                y, p = (rows[f"{kind}_{event}"].to_numpy(dtype=np.float64, na_value=np.nan) for kind in ("y", "p"))
                known = np.isfinite(y) & np.isfinite(p)
                losses[name] = np.full(len(rows), np.nan)
                losses[name][known] = log_loss(p[known], y[known])
            dates = rows["decision_date"].to_numpy("datetime64[us]")
            table = comparison_table(losses, dates, HEADS, horizon, draws=draws).reset_index()
            tables.append(table.assign(event=event, horizon_weeks=horizon))
            progress("comparisons", len(tables), len(HORIZONS) * len(EVENTS))
    return pd.concat(tables, ignore_index=True)
