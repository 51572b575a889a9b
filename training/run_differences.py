"""Two studies on the rows that both forecast: how their log losses differ, and whether that is more than luck."""

from __future__ import annotations

from datetime import date

import numpy as np
import pandas as pd

from features.contracts import FloatArray
from training.compare import diebold_mariano
from training.score_tables import scored_groups
from training.scores import log_loss
from training.study import shown_rows

_KEYS = ["pair", "decision_date", "horizon_weeks"]


def loss_differences(first: pd.DataFrame, second: pd.DataFrame, scored_until: date | None) -> pd.DataFrame:
    """Compare the log losses of two walk-forwards, event by horizon by pair and pooled.

    Parameters
    ----------
    first, second : pandas.DataFrame
        Rows with `pair, decision_date, horizon_weeks` and `p_X, p_X_base, y_X` of every event.
    scored_until : date, optional
        Last decision that may be looked at.

    Returns
    -------
    pandas.DataFrame
        `event, horizon_weeks, pair`, `n` common rows and `n_dates`, `n_revised` rows left out because the two do not
        agree on the outcome, `difference` (mean log loss of the second minus that of the first: below zero the second
        is better) with its 90% interval `low, high`, and the two-sided Diebold-Mariano `p_value`; intervals and
        p-values are missing below 20 dates.

    Raises
    ------
    DataContractError
        If a column is missing or a key is there twice.

    Information set: matured outcomes.
    """
    rows = []
    shown, other = shown_rows(first, scored_until), second.set_index(_KEYS)
    list(scored_groups(second))
    for event, horizon, pair, group in scored_groups(shown):
        theirs = other.reindex(pd.MultiIndex.from_frame(group[_KEYS]))
        p, y = _numbers(group, f"p_{event}"), _numbers(group, f"y_{event}")
        p_other, y_other = _numbers(theirs, f"p_{event}"), _numbers(theirs, f"y_{event}")
        common = np.isfinite(p) & np.isfinite(p_other) & np.isfinite(y) & np.isfinite(y_other)
        kept = common & (y == y_other)
        # What is not compared keeps its date's place in time.
        own, rival = (np.where(kept, log_loss(one, y), np.nan) for one in (p, p_other))
        dates = group["decision_date"].to_numpy("datetime64[us]")
        dm = diebold_mariano(rival, own, dates, horizon)
        rows.append(
            {
                "event": event, "horizon_weeks": horizon, "pair": pair, "n": dm.n, "n_dates": dm.dates,
                "n_revised": int((common & ~kept).sum()), "difference": dm.mean, "low": dm.low, "high": dm.high,
                "p_value": dm.p_value,
            }
        )  # fmt: skip
    return pd.DataFrame(rows)


def _numbers(frame: pd.DataFrame, name: str) -> FloatArray:
    return frame[name].to_numpy(dtype=np.float64, na_value=np.nan)
