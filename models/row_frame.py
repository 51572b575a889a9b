"""Rows of features as the row contract wants them, from a dataset."""

from __future__ import annotations

import numpy as np
import pandas as pd

from features.contracts import EVENTS, HORIZONS, STYLE_SMALL, Dataset
from models.row_contract import PARTS, STALE, start_column

_COLUMN_OF = {"base": "{}", "shared": "{}_shared", "implied": "{}_implied", "n": "{}_n"}


def feature_rows(dataset: Dataset, rows: pd.MultiIndex, base: pd.DataFrame) -> pd.DataFrame:
    """Return rows of features with everything that the heads start from.

    Parameters
    ----------
    dataset : Dataset
    rows : pandas.MultiIndex of (pair, decision_date)
    base : pandas.DataFrame
        As `models.base.base_frame`.

    Returns
    -------
    pandas.DataFrame
        Columns as in `models.row_contract`, one row per row.

    Information set: rows with known_at <= the decision; outcomes with matured_at <= the decision.
    """
    style = dataset.rows.loc[rows, "style"].to_numpy(np.int64)
    values = dataset.values.loc[rows]
    stale = dataset.stale.loc[rows].to_numpy(np.bool_)
    names = np.array([str(name) for name in dataset.stale.columns], dtype=object)
    columns: dict[str, object] = {
        "pair": rows.get_level_values("pair").to_numpy(dtype=object),
        "decision_date": rows.get_level_values("decision_date").to_numpy("datetime64[us]"),
        "style_in_force": np.where(style == STYLE_SMALL, "small", "large").astype(object),
        STALE: np.array([",".join(names[flags]) for flags in stale], dtype=object),
    }
    columns |= {str(name): values[name].to_numpy(np.float64) for name in values.columns}
    for horizon in HORIZONS:
        keyed = pd.MultiIndex.from_arrays(
            [rows.get_level_values(0), rows.get_level_values(1), np.full(len(rows), horizon)], names=base.index.names
        )
        start = base.reindex(keyed)
        for event in EVENTS:
            for part in PARTS:
                found = start[_COLUMN_OF[part].format(event)].to_numpy(np.float64)
                columns[start_column(event, horizon, part)] = found
    return pd.DataFrame(columns)
