"""What a client may put into path and query: bounded, and nothing that is not known."""

from __future__ import annotations

from datetime import date
from enum import IntEnum
from typing import Annotated

from fastapi import Path
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from features.contracts import Event
from serving.api.forecasts import MARKET_PATTERN

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
MAX_SEQUENCE = 2**53
"""Places in the ledger that JSON readers still tell apart."""


class Horizon(IntEnum):
    """Weeks."""

    ONE = 1
    FOUR = 4


def _day(text: str) -> str:
    try:
        date.fromisoformat(text)
    except ValueError:
        raise ValueError(f"must be a date YYYY-MM-DD; got {text}") from None
    return text


Market = Annotated[str, Path(pattern=MARKET_PATTERN, description="Name of a market; /v1/markets lists them.")]
Day = Annotated[
    str,
    Field(
        pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$",
        json_schema_extra={"format": "date"},
        description="Decision day YYYY-MM-DD; the newest stored one by default.",
    ),
    AfterValidator(_day),
]
PairName = Annotated[str, Field(pattern=NAME_PATTERN, description="Name of a pair; all by default.")]


class ForecastQuery(BaseModel):
    """Which part of a forecast."""

    model_config = ConfigDict(extra="forbid")

    as_of: Day | None = None
    pair: PairName | None = None
    horizon: Horizon | None = Field(None, description="Weeks; all by default.")


class DriversQuery(ForecastQuery):
    """Which drivers."""

    event: Event | None = Field(None, description="Which probability; all three by default.")


class WhatIfQuery(BaseModel):
    """Which forecast to ask again."""

    model_config = ConfigDict(extra="forbid")

    as_of: Day | None = None


class LedgerQuery(BaseModel):
    """Which page of the ledger."""

    model_config = ConfigDict(extra="forbid")

    after: int | None = Field(
        None, ge=0, le=MAX_SEQUENCE, description="Entries after this one: `next` of the page before."
    )
    limit: int = Field(100, ge=1, le=500, description="Entries on one page.")
