"""Frames at the border, checked with pandera: an error carries the failing rows."""

from __future__ import annotations

import pandas as pd
import pandera.pandas as pa
from pandera.errors import SchemaErrors

from features.contracts import EVENTS, FORECAST_COLUMNS, TAIL_COLUMNS
from features.errors import DataContractError

_VALIDITY = ["validated", "stress_supported", "out_of_support", "abstain_stale", "abstain_missing"]
_KEY = ["market", "pair", "decision_date", "horizon_weeks"]


def _nested(frame: pd.DataFrame) -> pd.Series:
    """Probabilities of nested events; a row that abstains has none."""
    switch, large, crash = (frame[f"p_{event}"] for event in EVENTS)
    small, week = frame["style_in_force"] == "small", frame["horizon_weeks"] == 1
    fits = ~small | (crash <= switch)
    fits &= ~(week & small) | (switch <= large)
    fits &= ~(week & ~small) | ((crash <= large) & (switch <= 1 - large))
    return fits | frame["p_switch"].isna()


def _ordered(frame: pd.DataFrame) -> pd.Series:
    """Each probability inside its band, expected shortfall beyond value at risk."""
    fits = pd.Series(True, index=frame.index)
    for event in EVENTS:
        p, lo, hi = (frame[f"p_{event}{suffix}"] for suffix in ("", "_lo", "_hi"))
        fits &= p.isna() | ((lo <= p) & (p <= hi))
    tail = frame["var_95"].isna() | (
        (frame["es_95"] <= frame["var_95"])
        & (frame["var_975"] <= frame["var_95"])
        & (frame["es_95_up"] >= frame["var_95_up"])
        & (frame["var_95"] <= frame["var_95_up"])
    )
    return fits & tail


def _probability(*, nullable: bool) -> pa.Column:
    return pa.Column(float, pa.Check.in_range(0.0, 1.0), nullable=nullable)


def _forecast_schema() -> pa.DataFrameSchema:
    columns: dict[str, pa.Column] = {
        "market": pa.Column(str),
        "pair": pa.Column(str),
        "decision_date": pa.Column("datetime64[us]"),
        "entry_date": pa.Column("datetime64[us]"),
        "exit_date": pa.Column("datetime64[us]"),
        "horizon_weeks": pa.Column("int64", pa.Check.isin([1, 4])),
        "style_in_force": pa.Column(str, pa.Check.isin(["small", "large"])),
        "sigma": pa.Column(float, pa.Check.gt(0)),
        "spread_realised": pa.Column(float, nullable=True),
        "validity": pa.Column(str, pa.Check.isin(_VALIDITY)),
        "reasons": pa.Column(str),
        "bundle_cut": pa.Column("datetime64[us]"),
    }
    for name in ("snapshot_id", "config_hash", "code_version"):
        columns[name] = pa.Column(str)
    for event in EVENTS:
        columns[f"p_{event}_base"] = _probability(nullable=False)
        for suffix in ("", "_lo", "_hi"):
            columns[f"p_{event}{suffix}"] = _probability(nullable=True)
        columns[f"y_{event}"] = pa.Column(float, pa.Check.isin([0.0, 1.0]), nullable=True)
    for name in TAIL_COLUMNS:
        columns[name] = pa.Column(float, nullable=True)
    return pa.DataFrameSchema(
        {name: columns[name] for name in FORECAST_COLUMNS},
        checks=[
            pa.Check(_nested, name="nested events"),
            pa.Check(_ordered, name="bands and tails in order"),
            pa.Check(lambda frame: frame["decision_date"] < frame["entry_date"], name="entry after decision"),
            pa.Check(lambda frame: frame["bundle_cut"] <= frame["decision_date"], name="no later bundle"),
        ],
        strict=True,
        ordered=True,
        unique=_KEY,
    )


def checked_forecasts(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a forecast frame after checking columns, ranges, nesting of events and order of the tails.

    Raises
    ------
    DataContractError
        With the failing rows.
    """
    try:
        return _forecast_schema().validate(frame, lazy=True)
    except SchemaErrors as error:
        failed = error.failure_cases
        first = failed.iloc[0]
        index = failed["index"].dropna().astype(int).unique() if "index" in failed else []
        rows = frame.iloc[list(index)] if len(index) else None
        raise DataContractError(
            f"forecasts break their contract: {first['check']} ({first['column']}), {len(index)} row(s)", rows
        ) from error
