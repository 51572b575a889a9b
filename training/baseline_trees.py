"""The baseline of somebody in a hurry: LightGBM as it comes, on every feature, all pairs together."""

from __future__ import annotations

import lightgbm as lgb
import numpy as np
import pandas as pd

from features.contracts import EVENTS, FloatArray
from training.baseline_logit import MIN_DATES, Inputs, Rows, event_rows


def forecast_default_trees(inputs: Inputs) -> pd.DataFrame:
    """Forecast with default LightGBM, refitted at every cut with the purge of the other baselines.

    Nothing is shrunk and no offset is held, which is the point: it shows what the defaults do on so few outcomes.

    Parameters
    ----------
    inputs : Inputs

    Returns
    -------
    pandas.DataFrame, indexed like `inputs.base`
        `p_switch, p_large, p_crash`; missing before the first cut and where the base rate is. The base rate until 104
        dates have matured.

    Information set: the row's features and style; outcomes with matured_at < the cut.
    """
    dataset = inputs.dataset
    own = np.column_stack([dataset.values.to_numpy(np.float64), dataset.rows["style"].to_numpy(np.float64)])
    x = own[inputs.place]
    columns = {}
    for event in EVENTS:
        rate = inputs.rate(event)
        p = np.full(len(rate), np.nan)
        for horizon in np.unique(inputs.horizon):
            rows = event_rows(inputs, event, int(horizon))
            for number, cut in enumerate(inputs.cuts):
                target = rows.place[inputs.block(number)[rows.place] & np.isfinite(rate[rows.place])]
                if len(target):
                    p[target] = _fitted(rows, x, cut, x[target], rate[target])
        columns[f"p_{event}"] = p
    return pd.DataFrame(columns, index=inputs.base.index)


def _fitted(rows: Rows, x: FloatArray, cut: np.datetime64, asked: FloatArray, rate: FloatArray) -> FloatArray:
    """Probabilities at `asked`, learned at one cut; the base rate while there is too little to learn from."""
    train = rows.matured(cut)
    y = rows.y[train]
    if len(np.unique(rows.decision_at[train])) < MIN_DATES or np.ptp(y) == 0:
        return rate
    # One thread and fixed sums make the same bytes; they change no default of the learner.
    model = lgb.LGBMClassifier(n_jobs=1, deterministic=True, force_col_wise=True, random_state=0, verbosity=-1)
    model.fit(x[rows.place[train]], y.astype(np.int64))
    return np.asarray(model.booster_.predict(asked), dtype=np.float64)
