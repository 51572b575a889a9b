"""Where the heads start from, row by row: the base rate, and what the untilted scenario set implies."""

from __future__ import annotations

import pandas as pd

from features.contracts import EVENTS, Dataset
from models.climatology import climatology


def base_frame(dataset: Dataset, implied: pd.DataFrame) -> pd.DataFrame:
    """Join climatology and implied probabilities.

    Parameters
    ----------
    dataset : Dataset
    implied : pandas.DataFrame
        As `models.implied.implied_probabilities` returns it; may hold fewer rows.

    Returns
    -------
    pandas.DataFrame, indexed like `dataset.outcomes`
        Columns of `models.climatology.climatology` and `EVENT_implied`, missing where there is no scenario set.

    Information set: outcomes with matured_at <= the decision; closes known at the decision.
    """
    return climatology(dataset).join(implied[[f"{event}_implied" for event in EVENTS]])
