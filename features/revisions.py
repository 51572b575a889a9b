"""What publishers changed after the fact between two times, and the record as it would stand had they not."""

from __future__ import annotations

import numpy as np
import pandas as pd

REVISION_COLUMNS = ("series", "period", "old", "new", "known_at")
_KEY = ["series", "period"]


def revised_values(observations: pd.DataFrame, since: np.datetime64, until: np.datetime64) -> pd.DataFrame:
    """Return the values that were known at one time and read otherwise at a later one.

    Parameters
    ----------
    observations : pandas.DataFrame
        As `features.store.Store.observations`: ordered so that of the same series, period and known_at the row that
        counts is last.
    since, until : datetime64[us]
        UTC.

    Returns
    -------
    pandas.DataFrame
        Columns `REVISION_COLUMNS`, by series and period: the values that counted at the two times, in the source's own
        unit, and when the new one became known.

    Information set: rows with known_at <= until.
    """
    early, late = _parts(observations, since, until)
    new = late.drop_duplicates(_KEY, keep="last")
    old = early.drop_duplicates(_KEY, keep="last")[[*_KEY, "value"]].rename(columns={"value": "old"})
    both = new.rename(columns={"value": "new"}).merge(old, on=_KEY, how="inner")
    changed = both[both["old"] != both["new"]]
    return changed.sort_values(_KEY, ignore_index=True)[list(REVISION_COLUMNS)]


def without_revisions(observations: pd.DataFrame, since: np.datetime64, until: np.datetime64) -> pd.DataFrame:
    """Return what was known at `until`, had no value that was known at `since` been revised.

    New periods are there with all their vintages; of the old ones only the vintages known at `since`.

    Information set: rows with known_at <= until.
    """
    known = observations[observations["known_at"] <= pd.Timestamp(until)]
    later = (known["known_at"] > pd.Timestamp(since)).to_numpy()
    if not later.any():
        return known
    old = pd.MultiIndex.from_frame(known.loc[~later, _KEY])
    revision = later.copy()
    revision[later] = pd.MultiIndex.from_frame(known.loc[later, _KEY]).isin(old)
    return known[~revision]


def _parts(observations: pd.DataFrame, since: np.datetime64, until: np.datetime64) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Split into what was known at `since` of the periods that moved later, and what became known up to `until`."""
    known_at = observations["known_at"]
    late = observations[(known_at > pd.Timestamp(since)) & (known_at <= pd.Timestamp(until))]
    touched = observations["period"].isin(late["period"].unique()) & (known_at <= pd.Timestamp(since))
    return observations[touched], late[[*_KEY, "known_at", "value"]]
