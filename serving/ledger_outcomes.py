"""Outcomes of recorded forecasts: what the published call turned out to mean, read once it has matured."""

from __future__ import annotations

from importlib.metadata import version

import numpy as np
import pandas as pd

from features.contracts import STYLE_LARGE, STYLE_SMALL, Dataset
from features.dataset import decision_times, market_calendar
from features.market import MarketSpec
from features.outcomes import outcome_frame
from serving.ledger import OUTCOME_INPUT
from serving.ledger_record import OUTCOME_COLUMNS

_CODES = {"small": STYLE_SMALL, "large": STYLE_LARGE}


def matured_outcomes(market: MarketSpec, dataset: Dataset, recorded: pd.DataFrame) -> pd.DataFrame:
    """Resolve the recorded forecasts whose outcome has matured.

    Events are read with the sigma and the style that were published, not with those that the store says today: a
    correction that arrived since must not change what the call meant.

    Parameters
    ----------
    market : MarketSpec
    dataset : Dataset
        Of the market, of which the lines and the last decision are read.
    recorded : pandas.DataFrame
        As `serving.ledger_read.recorded_forecasts`; rows that have their outcome are left out.

    Returns
    -------
    pandas.DataFrame
        Columns `serving.ledger.OUTCOME_INPUT`, in the order of the forecasts; `exit_date` as the calendar has it now.
        A forecast whose path lacks a close stays open.

    Information set: the line as known when the outcome matured, of what was known at the dataset's last decision.
    """
    calendar = market_calendar(market, dataset.clock.index[-1].to_datetime64())
    decisions = calendar.decisions()
    entries = calendar.entries(decisions)
    clock = decision_times(market, entries)
    known = recorded["pair"].isin(list(dataset.lines)) & recorded["decision_date"].isin(dataset.clock.index)
    rows = recorded[(recorded["market"] == market.name) & recorded["matured_at"].isna() & known]
    rows = rows.sort_values("decision_date", kind="stable")
    # One call of each pair, horizon and week at a time: several may differ in sigma or style.
    turn = rows.groupby(["pair", "horizon_weeks", "decision_date"]).cumcount()
    parts = []
    for (pair, horizon, _), calls in rows.groupby([rows["pair"], rows["horizon_weeks"], turn]):
        states = pd.DataFrame(
            {"sigma": calls["sigma"].to_numpy(np.float64), "style": calls["style_in_force"].map(_CODES).to_numpy()},
            index=pd.DatetimeIndex(calls["decision_date"], name="decision_date"),
        )
        first = np.searchsorted(decisions, states.index.to_numpy("datetime64[us]"))
        resolved = outcome_frame(states, dataset.lines[str(pair)], entries, first, clock)
        block = resolved.xs(horizon, level="horizon_weeks").reindex(states.index)
        names = ["exit_date", "matured_at", *OUTCOME_COLUMNS]
        parts.append(block[names].set_axis(calls.index).assign(forecast_hash=calls["hash"]))
    if not parts:
        return pd.DataFrame(columns=list(OUTCOME_INPUT))
    found = pd.concat(parts).sort_index()
    matured: pd.DataFrame = found.loc[found[list(OUTCOME_COLUMNS)].notna().all(axis=1)].assign(
        snapshot_id=str(dataset.clock["snapshot_id"].iloc[-1]), code_version=version("capshift")
    )
    return matured.loc[:, list(OUTCOME_INPUT)]
