"""What the gate asks of a model beside its skill: that it replays, and that its data are clean."""

from __future__ import annotations

from typing import cast

import numpy as np
import pandas as pd

from features.contracts import FORECAST_COLUMNS
from features.errors import CapshiftError
from features.ingest import audit
from features.market import MarketSpec
from features.store import Store
from models.bundle import Bundle
from models.schedule import Plan, day_text
from serving.forecast import dataset_for, make_forecast

TOLERANCE = 1e-9
"""Largest difference of two numbers that count as equal; the order of sums differs between one week and all of them."""
_WEEKS = 3
_KEYS = ["pair", "horizon_weeks"]
_LATER = {"spread_realised", "y_switch", "y_large", "y_crash"}
"""Outcomes, which mature after the forecast."""


def replay_check(
    market: MarketSpec, observations: pd.DataFrame, bundle: Bundle, plan: Plan, forecasts: pd.DataFrame
) -> tuple[bool, str]:
    """Forecast some weeks again from the store and compare them with what the study holds.

    Parameters
    ----------
    market : MarketSpec
    observations : pandas.DataFrame
        As `Store.observations`.
    bundle : Bundle
        The registered one.
    plan : Plan
    forecasts : pandas.DataFrame
        Rows of the study; first, middle and last week that this bundle forecast are compared, every number and word.

    Returns
    -------
    passed, found : bool, str

    Information set: of each week, rows with known_at <= its decision.
    """
    own = forecasts[forecasts["bundle_cut"] == pd.Timestamp(bundle.cut)]
    days = np.unique(own["decision_date"].to_numpy("datetime64[us]"))
    if len(days) == 0:
        return False, f"the study holds no forecast of its own bundle, cut {day_text(bundle.cut)}"
    for day in days[np.unique(np.linspace(0, len(days) - 1, _WEEKS).round().astype(int))]:
        try:
            again = make_forecast(market, observations, dataset_for(market, observations, day), bundle, plan).rows
        except CapshiftError as error:
            return False, f"{day_text(day)} cannot be forecast again: {error}"
        if differs := _difference(again, own[own["decision_date"] == pd.Timestamp(day)]):
            return False, f"{day_text(day)} comes out otherwise: {differs}"
    return True, f"{min(len(days), _WEEKS)} week(s) of cut {day_text(bundle.cut)} come out as stored"


def data_check(store: Store, market: MarketSpec) -> tuple[bool, str]:
    """Say whether the audit of a market's stored data finds an error that is not in quarantine."""
    findings = audit(store, market)
    errors = [finding for finding in findings if finding.severity == "error" and not finding.quarantined]
    if errors:
        return False, f"{len(errors)} error(s), the first: {errors[0].series}: {errors[0].message}"
    return True, f"no error among {len(findings)} finding(s)"


def _difference(again: pd.DataFrame, stored: pd.DataFrame) -> str:
    """Return the first difference in words; empty where there is none."""
    left, right = (frame.set_index(_KEYS).sort_index() for frame in (again, stored))
    if not left.index.equals(right.index):
        return f"{len(left)} rows, not {len(right)}"
    for name in FORECAST_COLUMNS:
        if name in _LATER or name in _KEYS:
            continue
        ours, theirs = left[name], right[name]
        if pd.api.types.is_float_dtype(ours):
            same = np.isclose(ours.to_numpy(np.float64), theirs.to_numpy(np.float64), 0, TOLERANCE, equal_nan=True)
        else:
            same = (ours.to_numpy() == theirs.to_numpy()) | (ours.isna() & theirs.isna()).to_numpy()
        if not np.all(same):
            at = int(np.argmin(same))
            pair, horizon = cast(tuple[str, int], left.index[at])
            return f"{name} of {pair} {horizon}w is {ours.iloc[at]}, stored {theirs.iloc[at]}"
    return ""
