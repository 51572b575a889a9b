"""Recorded forecasts as a frame, each with its outcome where there is one."""

from __future__ import annotations

import numpy as np
import pandas as pd
from sqlalchemy import select

from features.contracts import FORECAST_COLUMNS
from features.errors import DataContractError, LedgerError
from serving.ledger import Ledger
from serving.ledger_entry import DATE_FIELDS, TEXT_FIELDS
from serving.ledger_record import OUTCOME_COLUMNS
from serving.ledger_tables import CHAINS, read_identity

RECORDED_COLUMNS: tuple[str, ...] = (
    *FORECAST_COLUMNS, "sequence", "revision", "simulated", "decision_at", "live_until", "recorded_at", "backfilled",
    "matured_at", "outcome_recorded_at", "hash",
)  # fmt: skip
_TIMES = DATE_FIELDS | {"decision_at", "live_until", "recorded_at", "matured_at", "outcome_recorded_at"}
_KINDS = {
    **dict.fromkeys((*TEXT_FIELDS, "hash"), "str"),
    **dict.fromkeys(("sequence", "revision", "horizon_weeks"), "int64"),
    **dict.fromkeys(("simulated", "backfilled"), "bool"),
}


def recorded_forecasts(
    ledger: Ledger, market: str | None = None, *, after: int | None = None, limit: int | None = None
) -> pd.DataFrame:
    """Return every recorded forecast in the order of recording, with its outcome where there is one.

    Parameters
    ----------
    ledger : Ledger
        Not verified here.
    market : str, optional
    after : int, optional
        Leaves out the records up to this `sequence`.
    limit : int, optional
        The most records that are returned.

    Returns
    -------
    pandas.DataFrame
        Columns `RECORDED_COLUMNS`; times in UTC, outcomes missing until they are resolved.

    Raises
    ------
    DataContractError, LockedError, LedgerError
        If the ledger is missing, busy or damaged.
    """
    forecast, outcome = CHAINS["forecast"], CHAINS["outcome"]
    query = (
        select(
            forecast,
            *(outcome.c[name] for name in ("matured_at", *OUTCOME_COLUMNS)),
            outcome.c.recorded_at.label("outcome_recorded_at"),
        )
        .join_from(forecast, outcome, outcome.c.forecast_hash == forecast.c.hash, isouter=True)
        .order_by(forecast.c.sequence)
    )
    if market is not None:
        query = query.where(forecast.c.market == market)
    if after is not None:
        query = query.where(forecast.c.sequence > after)
    if limit is not None:
        query = query.limit(limit)
    with ledger.database.reading() as connection:
        if read_identity(connection, ledger.database.name) is None:
            raise DataContractError(f"{ledger.database.name}: no ledger here; `capshift forecast` begins one")
        result = connection.execute(query)
        frame = pd.DataFrame(result.all(), columns=list(result.keys()), dtype=object)
    try:
        return pd.DataFrame({name: _typed(name, frame[name]) for name in RECORDED_COLUMNS})
    except (ValueError, TypeError, OverflowError) as error:
        raise LedgerError(
            f"{ledger.database.name}: holds what no record holds ({type(error).__name__}); run `capshift ledger verify`"
        ) from error


def first_calls(recorded: pd.DataFrame) -> pd.DataFrame:
    """Return the calls that count: the first recorded one of each market, pair, decision and horizon.

    Live and backfilled calls are told apart first: neither stands in for the other. A revision, and a later call from
    other data or another configuration, never takes the place of the first one.
    """
    first = recorded[recorded["revision"] == 0]
    return first.drop_duplicates(["market", "pair", "decision_date", "horizon_weeks", "backfilled"], keep="first")


def _typed(name: str, column: pd.Series) -> pd.Series:
    if name in _TIMES:
        # UTC without a zone, as everywhere in frames.
        plain = ["NaT" if text is None else str(text).removesuffix("Z") for text in column]
        try:
            return pd.Series(np.array(plain, dtype="datetime64[us]"), index=column.index)
        except ValueError as error:
            raise LedgerError(
                f"the ledger's column {name!r} holds no time ({error}); run `capshift ledger verify`"
            ) from error
    return pd.Series(column, dtype=_KINDS.get(name, "float64"))
