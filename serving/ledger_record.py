"""Records of the ledger: their fields, their canonical bytes, and the hash that chains each to the one before.

What is hashed is what is stored: times are text in ISO form (UTC, with a Z), days are text, numbers are 64-bit floats
written as hexadecimal, flags are 0 or 1. So a record has the same bytes on every database and every machine.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from typing import Literal

import numpy as np

from features.contracts import FORECAST_COLUMNS
from features.errors import DataContractError

Chain = Literal["forecast", "outcome"]
Value = str | int | float | None
Record = dict[str, Value]

SCHEMA_VERSION = 1
"""Version of tables, fields and hash; one number for all markets."""
OUTCOME_COLUMNS: tuple[str, ...] = ("spread_realised", "y_switch", "y_large", "y_crash")
FORECAST_FIELDS: tuple[str, ...] = tuple(name for name in FORECAST_COLUMNS if name not in OUTCOME_COLUMNS)
"""The published part of `features.contracts.FORECAST_COLUMNS`: all but the outcomes."""
KEY_FIELDS: tuple[str, ...] = (
    "market", "pair", "decision_date", "horizon_weeks", "config_hash", "bundle_cut", "snapshot_id",
)  # fmt: skip
"""What a call is about and what it was made from; a second call with the same key is a revision."""
FIELDS: dict[Chain, tuple[str, ...]] = {
    "forecast": (
        "sequence", "revision", *FORECAST_FIELDS, "simulated", "decision_at", "live_until", "recorded_at", "backfilled",
        "previous_hash",
    ),
    "outcome": (
        "sequence", "forecast_hash", "exit_date", "matured_at", *OUTCOME_COLUMNS, "snapshot_id", "code_version",
        "recorded_at", "previous_hash",
    ),
}  # fmt: skip
"""Hashed fields of each chain, in the order in which they are hashed."""


def canonical_bytes(fields: Mapping[str, object]) -> bytes:
    """Return the bytes of some fields, in their order: JSON rows of name, kind and text, ASCII, no spaces.

    A value of a type that no record holds (a database may be edited to hold one) gets a kind of its own, so that it
    never has the bytes of a proper one.

    Examples
    --------
    >>> canonical_bytes({"horizon_weeks": 4, "sigma": 0.5, "p_switch": None})
    b'[["horizon_weeks","int","4"],["sigma","float","0x1.0000000000000p-1"],["p_switch","none",""]]'
    """
    return json.dumps([[name, *_kind(value)] for name, value in fields.items()], separators=(",", ":")).encode("ascii")


def record_hash(chain: Chain, record: Mapping[str, object]) -> str:
    """Return the SHA-256 of a record's canonical bytes, the hash of the record before it among them."""
    return hashlib.sha256(canonical_bytes({name: record[name] for name in FIELDS[chain]})).hexdigest()


def genesis_hash(chain: Chain, schema_version: int, ledger_id: str, created_at: str) -> str:
    """Return what the first record of a chain names as the one before it: the ledger's own row."""
    named = {
        "genesis": f"capshift ledger, {chain}",
        "schema_version": schema_version,
        "ledger_id": ledger_id,
        "created_at": created_at,
    }
    return hashlib.sha256(canonical_bytes(named)).hexdigest()


def time_text(time: np.datetime64) -> str:
    """Return a UTC time as it is stored; texts sort like times.

    Examples
    --------
    >>> time_text(np.datetime64("2023-11-24T07:30"))
    '2023-11-24T07:30:00.000000Z'
    """
    if np.isnat(time):
        raise DataContractError("a record of the ledger must have all its times; got a missing one")
    return f"{time.astype('datetime64[us]')}Z"


def date_text(day: np.datetime64) -> str:
    """Return a day as it is stored.

    Raises
    ------
    DataContractError
        If it is missing or not a midnight.
    """
    if np.isnat(day) or day != day.astype("datetime64[D]"):
        raise DataContractError(f"a record of the ledger must have its days at midnight; got {day}")
    return str(day.astype("datetime64[D]"))


def stored_number(name: str, value: float) -> float | None:
    """Return a number as it is stored: None for a missing one, zero without a sign.

    Raises
    ------
    DataContractError
        If it is infinite.
    """
    if math.isnan(value):
        return None
    if math.isinf(value):
        raise DataContractError(f"`{name}` must be finite or missing to be recorded; got {value}")
    # SQLite forgets the sign of a zero.
    return float(value) + 0.0


def _kind(value: object) -> tuple[str, str]:
    if value is None:
        return "none", ""
    if isinstance(value, str):
        return "text", value
    if isinstance(value, float):
        return "float", value.hex()
    if isinstance(value, int) and not isinstance(value, bool):
        return "int", str(value)
    return f"foreign {type(value).__name__}", repr(value)
