"""Which values that were known at the decision before have been changed since."""

from __future__ import annotations

import numpy as np
import pandas as pd

from features.checks import Finding
from features.market import MarketSpec
from features.revisions import revised_values

_REWRITTEN_SHARE, _REWRITTEN_COUNT = 0.5, 12
"""From this share and number of a series' known periods on, a revision looks like a change of definition."""


def revision_findings(
    market: MarketSpec, observations: pd.DataFrame, since: np.datetime64, until: np.datetime64
) -> list[Finding]:
    """Return one finding for each declared series with revised values: how many, and the newest of them.

    A series of which most was rewritten at once is a warning: its base or its definition may have changed.

    Information set: rows with known_at <= until.
    """
    revised = revised_values(observations, since, until)
    revised = revised[revised["series"].isin(list(market.series))]
    findings = []
    for name, rows in revised.groupby("series", sort=True):
        newest = rows.iloc[-1]
        known = observations.loc[
            (observations["series"] == name) & (observations["known_at"] <= pd.Timestamp(since)), "period"
        ].nunique()
        rewritten = len(rows) >= _REWRITTEN_COUNT and len(rows) > _REWRITTEN_SHARE * known
        remedy = "; most of its history: see whether its definition changed" if rewritten else ""
        findings.append(
            Finding(
                str(name), "revised", "warning" if rewritten else "info", newest["period"], float(newest["new"]), False,
                f"{len(rows)} of {known} known value(s) revised since {_day(since)}, the newest from "
                f"{newest['old']:g} to {newest['new']:g}{remedy}",
            )
        )  # fmt: skip
    return findings


def _day(time: np.datetime64) -> str:
    return str(time.astype("datetime64[D]"))
