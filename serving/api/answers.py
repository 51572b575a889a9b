"""What the service answers, as the contract (/openapi.json) tells it."""

from __future__ import annotations

import dataclasses
from datetime import date, datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from features.contracts import Event, Style, Validity
from serving.api.parameters import NAME_PATTERN
from serving.record import Driver, Forecast
from serving.whatif import WhatIf

Notice = Annotated[str | None, Field(description="Says SIMULATED where the data are simulated; null elsewhere.")]


@dataclasses.dataclass(frozen=True, kw_only=True)
class PublishedForecast(Forecast):
    """A forecast as it is stored, and a notice where its data are simulated."""

    notice: Notice


class _Answer(BaseModel):
    model_config = ConfigDict(extra="forbid")


class MarketEntry(_Answer):
    """One market that has forecasts; what is null cannot be read, and `problem` says so."""

    market: str
    title: str | None
    title_zh: str | None
    simulated: bool | None
    notice: Notice
    headline: str | None
    pairs: list[str]
    newest: date = Field(description="Newest decision day that is stored.")
    forecasts: int = Field(description="Number of decision days that are stored.")
    age_days: float | None = Field(description="Days since the newest decision.")
    problem: str | None


class Markets(_Answer):
    """Every market that has forecasts."""

    markets: list[MarketEntry]


class HeadDrivers(_Answer):
    """One probability and what each feature contributes; base log-odds plus all contributions make the log-odds."""

    pair: str
    horizon_weeks: int
    event: Event
    validity: Validity
    probability: float | None
    base: float
    base_log_odds: float
    log_odds: float | None
    drivers: list[Driver] = Field(description="Empty where the forecast abstains.")


class Drivers(_Answer):
    """Drivers of a forecast: contribution, value, percentile and when the number became known."""

    market: str
    simulated: bool
    notice: Notice
    decision_date: date
    heads: list[HeadDrivers]


class WhatIfRequest(BaseModel):
    """Inputs to move, each in the feature's own unit."""

    model_config = ConfigDict(extra="forbid", strict=True)

    pair: Annotated[str, Field(pattern=NAME_PATTERN)]
    changes: dict[
        Annotated[str, Field(pattern=NAME_PATTERN)], Annotated[float, Field(ge=-1e9, le=1e9, allow_inf_nan=False)]
    ] = Field(min_length=1, max_length=100, description="Feature and new value; `drivers` names the features.")


class WhatIfAnswer(_Answer):
    """A published forecast of one pair beside the same with moved inputs. Nothing is stored."""

    market: str
    simulated: bool
    notice: Notice
    decision_date: date
    bundle_cut: date
    what_if: WhatIf


class LedgerEntry(_Answer):
    """One recorded forecast, with its outcome where there is one."""

    sequence: int
    hash: str
    market: str
    pair: str
    decision_date: date
    entry_date: date
    exit_date: date
    horizon_weeks: int
    style_in_force: Style
    p_switch: float | None
    p_switch_base: float | None
    p_large: float | None
    p_large_base: float | None
    p_crash: float | None
    p_crash_base: float | None
    validity: Validity
    simulated: bool
    revision: int
    backfilled: bool
    recorded_at: datetime
    matured_at: datetime | None
    spread_realised: float | None
    y_switch: float | None
    y_large: float | None
    y_crash: float | None


class LedgerPage(_Answer):
    """A page of the ledger in the order of recording; not verified, `capshift ledger verify` does that."""

    market: str
    simulated: bool
    notice: Notice
    entries: list[LedgerEntry]
    next: int | None = Field(description="What to send as `after` for the next page; null on the last one.")


class Health(_Answer):
    """The process is alive."""

    status: str


class Check(_Answer):
    """One thing that must hold before the service is ready."""

    check: str
    market: str | None
    ok: bool
    detail: str


class Readiness(_Answer):
    """Whether forecasts can be served as they should be."""

    ready: bool
    checks: list[Check]
