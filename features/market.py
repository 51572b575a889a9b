"""Market definitions: one TOML file says everything that is particular to a market.

``cn``, ``us`` and ``sample`` ship with the package; any path to a file of the same form is accepted. Unknown keys are
errors, and the resolved definition has a hash that goes into every artefact.
"""

from __future__ import annotations

import hashlib
import tomllib
from datetime import date, time
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from features.contracts import Family
from features.errors import DefinitionError

Sign = Literal[-1, 0, 1]
Frequency = Literal["daily", "weekly", "monthly"]
Shape = Literal["bars", "daily", "monthly", "wide", "releases", "dated"]
Weekday = Literal["mon", "tue", "wed", "thu", "fri"]


def _clock(value: object) -> object:
    return time.fromisoformat(value) if isinstance(value, str) else value


Clock = Annotated[time, BeforeValidator(_clock)]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Rule(_Frozen):
    """When the value of a period can first be read.

    `kind` is ``sessions`` (`lag` exchange sessions after the reference date), ``days`` (calendar days),
    ``business_days`` (Monday to Friday, holidays of the exchange ignored) or ``month`` (a day of the month that lies
    `offset` months after the period's: `day`, where -1 is the last, or the `nth` `weekday`, or the `nth` business day
    when `weekday` is absent). Rules of kind ``month`` are estimates: the day moves past weekends and exchange holidays,
    then three sessions are added, and the clock is 18:00, unless `exact` says that the publisher keeps the date.
    """

    kind: Literal["sessions", "days", "business_days", "month"]
    lag: int = 0
    offset: int = 1
    day: int | None = None
    weekday: Weekday | None = None
    nth: int | None = None
    time: Clock = time(18, 0)
    tz: str | None = None
    exact: bool = False
    january_with_february: bool = False

    @model_validator(mode="after")
    def _month_names_a_day(self) -> Rule:
        if self.kind == "month" and (self.day is None) == (self.nth is None):
            raise ValueError("a `month` rule needs either `day` or `nth`")
        return self

    @property
    def estimated(self) -> bool:
        """Whether the rule only guesses the date."""
        return self.kind == "month" and not self.exact


class Break(_Frozen):
    """A change of definition: values before `date` are multiplied by `factor` to today's unit."""

    date: date
    factor: float


class SeriesSpec(_Frozen):
    """One observation stream and everything that decides when and whether it may be used."""

    name: str
    unit: str
    family: Family
    frequency: Frequency
    known: Rule
    file: str | None = None
    shape: Shape = "daily"
    column: str = "value"
    key: str | None = None
    release_time: Clock = time(18, 0)
    early_release_days: int = 0
    born: date | None = None
    died: date | None = None
    launched: date | None = None
    breaks: tuple[Break, ...] = ()
    range: tuple[float, float] = (float("-inf"), float("inf"))
    max_jump: float | None = None
    stale_days: int = Field(gt=0)
    vintage: Literal["real", "first_print", "current", "computed"] = "real"
    optional: bool = False
    label_only: bool = False
    why: str = ""


class SegmentSpec(_Frozen):
    """A size segment: its price series in the store."""

    name: str
    name_zh: str
    price: str
    rank: int = Field(ge=0)


class PairSpec(_Frozen):
    """Large and small segment; `large` is the one with the smaller rank."""

    large: str
    small: str
    headline: bool = False
    name: str = ""
    name_zh: str = ""


class FeatureSpec(_Frozen):
    """One row of the catalogue.

    `formula` is a pipeline over `inputs`, e.g. ``log_ratio | change(20)``; ``{small}`` and ``{large}`` in an input
    stand for the pair's segments and make the feature one of the pair. A formula ``state`` names a column of the causal
    states. `sign` is the expected effect on small beating large, `tail` that on the chance of a small-cap crash.
    """

    family: Family
    inputs: tuple[str, ...] = ()
    formula: str
    unit: str
    sign: Sign
    tail: Sign = 0
    why: str

    @property
    def scope(self) -> Literal["market", "pair"]:
        """Whether the value differs between pairs."""
        return "pair" if not self.inputs or any("{" in name for name in self.inputs) else "market"


class Schedule(_Frozen):
    """Decision clock and refit schedule.

    Tables and plots stop at `scored_until`, so that nobody tunes on the years after it; forecasts run to the end.
    """

    calendar: str
    timezone: str
    decision_time: Clock
    history_start: date
    first_decision: date
    refit_weeks: int = 26
    min_weeks: int = 104
    scored_until: date | None = None


class VintageFiles(_Frozen):
    """Files that hold an old vintage of many series: the file's month says when it was current."""

    files: tuple[str, ...]
    date_column: str
    columns: dict[str, str]
    known: Rule


class MarketSpec(_Frozen):
    """A market definition, validated."""

    name: str
    title: str
    title_zh: str
    simulated: bool = False
    schedule: Schedule
    segments: dict[str, SegmentSpec]
    pairs: dict[str, PairSpec]
    series: dict[str, SeriesSpec]
    features: dict[str, FeatureSpec]
    vintage_files: tuple[VintageFiles, ...] = ()

    @model_validator(mode="after")
    def _references_exist(self) -> MarketSpec:
        problems = [
            f"pair {name} names an unknown segment"
            for name, pair in self.pairs.items()
            if pair.large not in self.segments or pair.small not in self.segments
        ]
        problems += [
            f"segment {name} names the unknown series {segment.price}"
            for name, segment in self.segments.items()
            if segment.price not in self.series
        ]
        for name, feature in self.features.items():
            for source in feature.inputs:
                if "{" not in source and source not in self.series:
                    problems.append(f"feature {name} names the unknown series {source}")
                elif source in self.series and self.series[source].label_only:
                    problems.append(f"feature {name} uses {source}, which is for labels and plots only")
        if sum(pair.headline for pair in self.pairs.values()) != 1:
            problems.append("exactly one pair must be the headline")
        if problems:
            raise ValueError("; ".join(problems))
        return self

    @property
    def headline(self) -> str:
        """The pair that leads the note."""
        return next(name for name, pair in self.pairs.items() if pair.headline)

    @cached_property
    def config_hash(self) -> str:
        """Digest of the resolved definition."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:16]


def builtin_markets() -> list[str]:
    """Return the names of the definitions that ship with capshift."""
    folder = resources.files("features") / "markets"
    return sorted(entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml"))


def load_market(name: str) -> MarketSpec:
    """Read a market definition.

    Parameters
    ----------
    name : str
        A built-in name or the path of a TOML file.

    Raises
    ------
    DefinitionError
        If the file is missing, is not TOML or does not validate; the message names file and key.
    """
    if name in builtin_markets():
        path = Path(str(resources.files("features") / "markets" / f"{name}.toml"))
    else:
        path = Path(name)
        if path.suffix != ".toml" or not path.is_file():
            raise DefinitionError(
                f"`market` must be one of {', '.join(builtin_markets())} or the path of a .toml file; got {name!r}"
            )
    try:
        with path.open("rb") as handle:
            raw = tomllib.load(handle)
    except tomllib.TOMLDecodeError as error:
        raise DefinitionError(f"{path}: not valid TOML: {error}") from error
    try:
        return MarketSpec.model_validate(_expand(raw))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise DefinitionError(f"{path}: `{where}`: {first['msg']} ({error.error_count()} problem(s))") from error


def _expand(raw: dict[str, object]) -> dict[str, object]:
    """Expand named rules and instruments: ``[bars.X]`` becomes one series ``X.column`` for each listed column."""
    rules = raw.pop("rules", {})
    bars = raw.pop("bars", {})
    series = dict(raw.pop("series", {}))  # type: ignore[call-overload]
    for instrument, table in bars.items():  # type: ignore[attr-defined]
        common = {key: value for key, value in table.items() if key != "columns"}
        for column, extra in table["columns"].items():
            series[f"{instrument}.{column}"] = {"shape": "bars", "frequency": "daily", **common, "column": column} | extra
    resolved = {}
    for name, table in series.items():
        known = table.get("known")
        if isinstance(known, str):
            if known not in rules:  # type: ignore[operator]
                raise DefinitionError(f"series.{name}: `known` names the unknown rule {known!r}")
            known = rules[known]  # type: ignore[index]
        resolved[name] = {**table, "known": known, "name": name}
    pairs = {name: {"name": name, **table} for name, table in raw.get("pairs", {}).items()}  # type: ignore[attr-defined]
    return {**raw, "pairs": pairs, "series": resolved}
