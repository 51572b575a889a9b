"""What the ledger takes in: published forecasts with the times that tell a live call from a backfilled one.

A call is *live* if it was recorded no later than `live_until`, the time at which the close of its entry day is known
(the market's decision clock on that day, in UTC). The path from which every outcome is read starts at that close, so
nothing of the outcome can have been known. Every call recorded later is *backfilled*: the next decision and the exit
come after the entry, so whatever is recorded after one of them is backfilled too.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from features.contracts import FORECAST_COLUMNS
from features.dataset import decision_times
from features.errors import DataContractError
from features.forecasts import checked_forecasts
from features.market import MarketSpec
from serving.ledger_record import FORECAST_FIELDS, Record, date_text, stored_number, time_text

ENTRY_COLUMNS: tuple[str, ...] = (*FORECAST_FIELDS, "simulated", "decision_at", "live_until")
DATE_FIELDS = frozenset({"decision_date", "entry_date", "exit_date", "bundle_cut"})
TEXT_FIELDS = frozenset(
    {"market", "pair", "style_in_force", "validity", "reasons", "snapshot_id", "config_hash", "code_version"}
)


def ledger_entries(market: MarketSpec, rows: pd.DataFrame) -> pd.DataFrame:
    """Return published forecasts as the ledger takes them.

    Parameters
    ----------
    market : MarketSpec
    rows : pandas.DataFrame
        Columns `features.contracts.FORECAST_COLUMNS`; the outcomes, known or not, are left out.

    Returns
    -------
    pandas.DataFrame
        Columns `ENTRY_COLUMNS`: `simulated` (bool), `decision_at` and `live_until` (UTC) beside the forecast.

    Raises
    ------
    DataContractError
        If the rows break the contract of forecasts.

    Information set: the market's clock; no observation.
    """
    checked = checked_forecasts(rows[list(FORECAST_COLUMNS)])
    if (foreign := checked["market"] != market.name).any():
        raise DataContractError(f"forecasts of another market than {market.name!r}", checked.loc[foreign])
    entries = checked[list(FORECAST_FIELDS)].reset_index(drop=True)
    return entries.assign(
        simulated=market.simulated,
        decision_at=decision_times(market, entries["decision_date"].to_numpy("datetime64[us]")),
        live_until=decision_times(market, entries["entry_date"].to_numpy("datetime64[us]")),
    )


def forecast_records(entries: pd.DataFrame) -> list[Record]:
    """Return entries as records, without what the ledger itself adds.

    Raises
    ------
    DataContractError
        If a column is missing, a time or a number that every call has is, or a number is infinite.
    """
    if missing := [name for name in ENTRY_COLUMNS if name not in entries.columns]:
        raise DataContractError(f"entries of the ledger lack {', '.join(missing)}; build them with `ledger_entries`")
    columns = {name: _stored(name, entries[name]) for name in ENTRY_COLUMNS}
    return [{name: column[at] for name, column in columns.items()} for at in range(len(entries))]


def _stored(name: str, column: pd.Series) -> list[str] | list[int] | list[float | None]:
    if name in DATE_FIELDS:
        return [date_text(day) for day in column.to_numpy("datetime64[us]")]
    if name in ("decision_at", "live_until"):
        return [time_text(time) for time in column.to_numpy("datetime64[us]")]
    if name in TEXT_FIELDS:
        return [str(text) for text in column]
    if name in ("horizon_weeks", "simulated"):
        return [int(number) for number in column]
    numbers = [stored_number(name, number) for number in column.to_numpy(np.float64, na_value=np.nan).tolist()]
    if None in numbers and not may_be_missing(name):
        raise DataContractError(f"`{name}` must be there to be recorded; got a missing one")
    return numbers


def may_be_missing(name: str) -> bool:
    """Return whether a call may lack this number: one that abstains has neither probabilities nor a tail."""
    return name != "sigma" and not name.endswith("_base")
