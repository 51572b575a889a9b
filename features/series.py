"""One observation stream: its unit, lifetime and breaks, and the rule that says when its numbers could be read."""

from __future__ import annotations

from datetime import date, time
from itertools import pairwise
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

import numpy as np
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from features.contracts import BoolArray, Family, FloatArray, TimeArray

Frequency = Literal["daily", "weekly", "monthly"]
Shape = Literal["bars", "daily", "monthly", "wide", "releases", "dated", "factor", "factor_index"]
Weekday = Literal["mon", "tue", "wed", "thu", "fri"]


def _clock(value: object) -> object:
    return time.fromisoformat(value) if isinstance(value, str) else value


def _zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (KeyError, ValueError, OSError) as error:
        raise ValueError(f"no time zone is called {value!r}; an example is Asia/Shanghai") from error
    return value


Clock = Annotated[time, BeforeValidator(_clock)]
Zone = Annotated[str, AfterValidator(_zone)]


class Frozen(BaseModel):
    """A part of a definition: immutable, an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Rule(Frozen):
    """When the value of a period can first be read.

    `kind` is ``sessions`` (`lag` exchange sessions after the reference date), ``days`` (calendar days),
    ``business_days`` (Monday to Friday, holidays of the exchange ignored) or ``month`` (a day of the month that lies
    `offset` months after the period's: `day`, where -1 is the last, or the `nth` `weekday`, or the `nth` session when
    `weekday` is absent). Rules of kind ``month`` are estimates: the day moves past weekends and exchange holidays,
    then three sessions are added, and the clock is 18:00, unless `exact` says that the publisher keeps the date.
    """

    kind: Literal["sessions", "days", "business_days", "month"]
    lag: int = Field(default=0, ge=0)
    offset: int = Field(default=1, ge=0)
    day: int | None = Field(default=None, ge=-1, le=31)
    weekday: Weekday | None = None
    nth: int | None = Field(default=None, ge=1)
    time: Clock = time(18, 0)
    tz: Zone | None = None
    exact: bool = False
    january_with_february: bool = False

    @model_validator(mode="after")
    def _month_names_a_day(self) -> Rule:
        if self.kind == "month" and ((self.day is None) == (self.nth is None) or self.day == 0):
            raise ValueError("a `month` rule needs either `day` (1 to 31, or -1 for the last) or `nth`")
        return self

    @property
    def estimated(self) -> bool:
        """Whether the rule only guesses the date."""
        return self.kind == "month" and not self.exact


class Break(Frozen):
    """A change of definition: values before `date` are multiplied by `factor` to today's unit."""

    date: date
    factor: float = Field(gt=0, allow_inf_nan=False)


class SeriesSpec(Frozen):
    """One observation stream and everything that decides when and whether it may be used.

    `also` names other places of the file, tried in their order. The shapes ``factor`` and ``factor_index`` read a file
    of daily factor returns, see `features.sources.factors`: `column` is a factor, or the legs whose returns make up an
    index.
    """

    name: str
    unit: str
    family: Family
    frequency: Frequency
    known: Rule
    file: str | None = None
    also: tuple[str, ...] = Field(default=(), exclude_if=lambda value: not value)
    shape: Shape = "daily"
    column: str = "value"
    key: str | None = None
    release_time: Clock = time(18, 0)
    early_release_days: int = Field(default=0, ge=0)
    born: date | None = None
    died: date | None = None
    launched: date | None = None
    breaks: tuple[Break, ...] = ()
    range: tuple[float, float] = (float("-inf"), float("inf"))
    max_jump: float | None = Field(default=None, gt=0)
    stale_days: int = Field(gt=0)
    vintage: Literal["real", "first_print", "current", "computed"] = "real"
    optional: bool = False
    label_only: bool = False
    why: str = ""

    @model_validator(mode="after")
    def _makes_sense(self) -> SeriesSpec:
        if not self.range[0] < self.range[1]:
            raise ValueError(f"`range` must be [low, high]; got [{self.range[0]:g}, {self.range[1]:g}]")
        if self.born is not None and self.died is not None and self.born > self.died:
            raise ValueError(f"`died` {self.died} lies before `born` {self.born}")
        if any(later.date <= earlier.date for earlier, later in pairwise(self.breaks)):
            raise ValueError("`breaks` must be in the order of their dates, each date once")
        if self.shape == "releases" and self.key is None:
            raise ValueError("the shape `releases` needs a `key`, the name of the series in the file")
        return self


def within_lifetime(spec: SeriesSpec, period: TimeArray) -> BoolArray:
    """Return which periods lie between a series' birth and its death."""
    lived = np.ones(len(period), dtype=np.bool_)
    if spec.born is not None:
        lived &= period >= np.datetime64(spec.born, "us")
    if spec.died is not None:
        lived &= period <= np.datetime64(spec.died, "us")
    return lived


def in_current_unit(spec: SeriesSpec, period: TimeArray, value: FloatArray) -> FloatArray:
    """Return values with the definition breaks of a series undone."""
    value = value.copy()
    for change in spec.breaks:
        value[period < np.datetime64(change.date, "us")] *= change.factor
    return value
