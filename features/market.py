"""Market definitions: one TOML file says everything that is particular to a market.

``cn``, ``us``, ``europe``, ``japan`` and ``sample`` ship with the package; any path to a file of the same form is
accepted. Unknown keys are errors, and the resolved definition has a hash that goes into every artefact.
"""

from __future__ import annotations

import hashlib
import tomllib
from datetime import date
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, model_validator

from features.contracts import Family
from features.errors import DefinitionError
from features.series import Break, Clock, Frozen, Rule, SeriesSpec, Zone
from features.states import STATE_FEATURES
from features.stock_rules import StockRules
from features.transforms import parse_formula

__all__ = [
    "Break", "FeatureSpec", "LeverageSpec", "MarketSpec", "PairSpec", "Rule", "Schedule", "SegmentSpec", "SeriesSpec",
    "VintageFiles", "builtin_markets", "load_market",
]  # fmt: skip

Sign = Literal[-1, 0, 1]


class SegmentSpec(Frozen):
    """A size segment: its price series in the store."""

    name: str
    name_zh: str
    price: str
    rank: int = Field(ge=0)


class PairSpec(Frozen):
    """Large and small segment; `large` is the one with the smaller rank."""

    large: str
    small: str
    headline: bool = False
    name: str = ""
    name_zh: str = ""


class FeatureSpec(Frozen):
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


class Schedule(Frozen):
    """Decision clock and refit schedule.

    Tables and plots stop at `scored_until`, so that nobody tunes on the years after it; forecasts run to the end. A
    `scored_until` before `first_decision` shows nothing: the whole market is sealed. `calendar` is a name of
    `exchange_calendars`, or several joined by ``+`` for a market that is open when any of them is; `sessions` then
    names the price series whose days are the sessions as realised: a day of the calendar that it passes over is none. A
    bundle is said to be old more than `warn_after_weeks` weeks after its cut (by default one refit and four weeks) and
    refused after `refuse_after_weeks` (two refits); the two change no number and stay out of the definition's digest.
    """

    calendar: str
    timezone: Zone
    decision_time: Clock
    history_start: date
    first_decision: date
    refit_weeks: int = 26
    min_weeks: int = 104
    scored_until: date | None = None
    sessions: str | None = Field(default=None, exclude_if=lambda value: value is None)
    warn_after_weeks: int | None = Field(default=None, ge=1, exclude=True)
    refuse_after_weeks: int | None = Field(default=None, ge=1, exclude=True)

    @property
    def age_limits(self) -> tuple[int, int]:
        """Weeks after its cut from which a bundle is said to be old, and from which it is refused."""
        warn = self.refit_weeks + 4 if self.warn_after_weeks is None else self.warn_after_weeks
        return warn, max(2 * self.refit_weeks, warn) if self.refuse_after_weeks is None else self.refuse_after_weeks

    @model_validator(mode="after")
    def _warns_first(self) -> Schedule:
        warn, refuse = self.age_limits
        if not self.refit_weeks <= warn <= refuse:
            raise ValueError(
                "`refit_weeks`, `warn_after_weeks` and `refuse_after_weeks` must not fall; "
                f"got {self.refit_weeks}, {warn} and {refuse}"
            )
        return self


class LeverageSpec(Frozen):
    """The levered neutral book that the note follows: long one segment, short futures on another.

    `financing` is a rate a year on what is borrowed, a fraction; `discount` names a series with the annualised basis of
    the futures in percent a year, negative below the index; `maintenance` is the equity over long notional at which the
    book is called; on a day on which the long leg falls by `limit_down` or more nothing can be sold.
    """

    long: str
    hedge: str
    financing: float = Field(default=0.0, ge=0, lt=1)
    discount: str | None = None
    maintenance: float = Field(default=0.12, gt=0, lt=1)
    limit_down: float | None = Field(default=None, gt=0, lt=1)
    sessions_a_year: int = Field(default=252, ge=200, le=366)


class CrowdingSpec(Frozen):
    """What the crowding page shows beside the measures of single stocks.

    `features` names features of the catalogue and how each counts: 1 where a high value says that the trade is
    crowded, -1 where a low one does, 0 where it is only shown. `notional` and `participation` are the crowd that is
    asked how many days it needs to leave, both assumed; `turnover` names the series of the whole market's turnover, in
    `turnover_unit` of money, of which `tier_share` is taken for the smallest tier's (assumed) where the stock file has
    no amounts.
    """

    features: dict[str, Literal[-1, 0, 1]]
    notional: float | None = Field(default=None, gt=0)
    participation: float = Field(default=0.2, gt=0, le=1)
    turnover: str | None = None
    turnover_unit: float = Field(default=1.0, gt=0)
    tier_share: float = Field(default=0.0075, gt=0, le=1)


class VintageFiles(Frozen):
    """Files that hold an old vintage of many series: the file's month says when it was current."""

    files: tuple[str, ...]
    date_column: str
    columns: dict[str, str]
    known: Rule


class MarketSpec(Frozen):
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
    leverage: LeverageSpec | None = None
    stocks: StockRules | None = None
    crowding: CrowdingSpec | None = None
    vintage_files: tuple[VintageFiles, ...] = ()

    @model_validator(mode="after")
    def _references_exist(self) -> MarketSpec:
        problems = [
            f"segment {name} names the unknown series {segment.price}"
            for name, segment in self.segments.items()
            if segment.price not in self.series
        ]
        for name, pair in self.pairs.items():
            if pair.large not in self.segments or pair.small not in self.segments:
                problems.append(f"pair {name} names an unknown segment")
            elif self.segments[pair.large].rank >= self.segments[pair.small].rank:
                problems.append(f"pair {name}: the rank of `large` must be smaller than that of `small`")
        if self.schedule.sessions is not None and self.schedule.sessions not in self.series:
            problems.append(f"schedule names the unknown series {self.schedule.sessions}")
        if sum(pair.headline for pair in self.pairs.values()) != 1:
            problems.append("exactly one pair must be the headline")
        if self.leverage is not None:
            for leg in (self.leverage.long, self.leverage.hedge):
                if leg not in self.segments:
                    problems.append(f"leverage names the unknown segment {leg}")
            if self.leverage.discount is not None and self.leverage.discount not in self.series:
                problems.append(f"leverage names the unknown series {self.leverage.discount}")
        if self.stocks is not None:
            unknown = sorted(set(self.stocks.references) - set(self.series))
            problems += [f"stocks names the unknown series {name}" for name in unknown]
        if self.crowding is not None:
            unknown = sorted(set(self.crowding.features) - set(self.features))
            problems += [f"crowding names the unknown feature {name}" for name in unknown]
            if self.crowding.turnover is not None and self.crowding.turnover not in self.series:
                problems.append(f"crowding names the unknown series {self.crowding.turnover}")
        for name, feature in self.features.items():
            if feature.family == "scenario":
                problems.append(f"feature {name} is of family scenario, which is the scenario set's own")
            problems += [f"feature {name} {problem}" for problem in self._complaints(name, feature)]
        for group in self.vintage_files:
            unknown = sorted(set(group.columns.values()) - set(self.series))
            problems += [f"vintage file {', '.join(group.files)} names the unknown series {name}" for name in unknown]
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def _complaints(self, name: str, feature: FeatureSpec) -> list[str]:
        problems = []
        for source in feature.inputs:
            filled = self._filled(source)
            if not any(series in self.series for series in filled):
                problems.append(f"names the unknown series {source}")
            problems += [
                f"uses {series}, which is for labels and plots only"
                for series in filled
                if series in self.series and self.series[series].label_only
            ]
        if feature.formula.startswith("state:"):
            state = feature.formula.removeprefix("state:")
            if state not in STATE_FEATURES:
                problems.append(f"reads the unknown state {feature.formula!r}; known: {', '.join(STATE_FEATURES)}")
            elif name != state:
                # The design matrix finds states by name.
                problems.append(f"reads the state {state!r} and must be called so")
        elif not feature.inputs:
            problems.append("has no `inputs`")
        else:
            try:
                parse_formula(feature.formula, len(feature.inputs))
            except DefinitionError as error:
                problems.append(f"has a bad {error}")
        return problems

    def _filled(self, source: str) -> list[str]:
        """Return the series an input stands for: itself, or one for each pair where it has a placeholder."""
        if "{" not in source:
            return [source]
        filled = {source.replace("{small}", p.small).replace("{large}", p.large) for p in self.pairs.values()}
        return sorted(filled)

    def used_series(self) -> set[str]:
        """Return the declared series that some feature reads, placeholders filled with every pair's segments."""
        sources = {source for feature in self.features.values() for source in feature.inputs}
        return {name for source in sources for name in self._filled(source)} & set(self.series)

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
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise DefinitionError(f"{path}: not UTF-8 text: {error}; save it as UTF-8") from error
    except tomllib.TOMLDecodeError as error:
        raise DefinitionError(f"{path}: not valid TOML: {error}") from error
    try:
        return MarketSpec.model_validate(_expand(raw))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        message = first["msg"].removeprefix("Value error, ")
        more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
        raise DefinitionError(f"{path}: {f'`{where}`: ' if where else ''}{message}{more}") from error
    except DefinitionError as error:
        raise DefinitionError(f"{path}: {error}") from error


def _expand(raw: dict[str, Any]) -> dict[str, Any]:
    """Expand named rules and instruments: ``[bars.X]`` becomes one series ``X.column`` for each listed column."""
    rules, bars, series, pairs = (_tables(raw, key) for key in ("rules", "bars", "series", "pairs"))
    for name, table in rules.items():
        try:
            Rule.model_validate(table)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in ("rules", name, *first["loc"]))
            raise DefinitionError(f"`{where}`: {first['msg'].removeprefix('Value error, ')}") from error
    for instrument, table in bars.items():
        common = {key: value for key, value in table.items() if key != "columns"}
        for column, extra in _tables(table, "columns", f"bars.{instrument}.columns").items():
            name = f"{instrument}.{column}"
            if name in series:
                raise DefinitionError(f"`bars.{instrument}`: the series {name} is declared twice")
            series[name] = {"shape": "bars", "frequency": "daily", **common, "column": column} | extra
    resolved = {}
    for name, table in series.items():
        known = table.get("known")
        if isinstance(known, str):
            if known not in rules:
                raise DefinitionError(f"`series.{name}.known`: names the unknown rule {known!r}")
            known = rules[known]
        resolved[name] = {**table, "known": known, "name": name}
    return {
        **{key: value for key, value in raw.items() if key not in ("rules", "bars")},
        "pairs": {name: {"name": name, **table} for name, table in pairs.items()},
        "series": resolved,
    }


def _tables(raw: dict[str, Any], key: str, where: str | None = None) -> dict[str, dict[str, Any]]:
    """Return a copy of a table of tables; an absent one is empty."""
    tables = raw.get(key, {})
    if not isinstance(tables, dict) or not all(isinstance(table, dict) for table in tables.values()):
        raise DefinitionError(f"`{where or key}`: must be a table of tables")
    return dict(tables)
