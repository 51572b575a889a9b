"""Claims as written down before their figures: what is said, what checks it, and how close is close enough."""

from __future__ import annotations

import tomllib
from datetime import date
from importlib import resources
from typing import Annotated, Literal

from pydantic import Field, ValidationError, model_validator

from features.errors import DataContractError, DefinitionError
from features.series import Frozen

Since = Annotated[str, Field(pattern=r"^(year|[1-9]y)$")]
"""``year`` is the last close of the year before; ``2y`` two years before the day."""
Window = Annotated[str, Field(pattern=r"^(previous_year|[1-9][0-9]*_sessions)$")]
Unit = Literal["points", "return", "correlation", "share", "ratio", "a year", "log a month", "state"]


class Gain(Frozen):
    """Return of a series, less that of another."""

    kind: Literal["gain"]
    series: str
    less: str
    since: Since


class GainChange(Frozen):
    """Return of a series less that of another over the last year, less the yearly mean of the years before."""

    kind: Literal["gain_change"]
    series: str
    less: str
    recent: Since
    before_years: int = Field(ge=1, le=9)


class Order(Frozen):
    """Smallest step of returns from one series to the next."""

    kind: Literal["order"]
    series: tuple[str, ...] = Field(min_length=2)
    since: Since


class CorrelationOf(Frozen):
    """Correlation of daily log returns, of excess returns where `less` is named."""

    kind: Literal["correlation"]
    a: str
    b: str
    less: str | None = None
    since: Since


class Mean(Frozen):
    """Mean of a series over a window, times `scale`."""

    kind: Literal["mean"]
    series: str
    window: Window
    scale: float


class MeanChange(Frozen):
    """Mean over a window less the mean over another."""

    kind: Literal["mean_change"]
    series: str
    before: Window
    after: Window
    scale: float


class BestWeek(Frozen):
    """Best week of a levered book of two series, before costs."""

    kind: Literal["best_week"]
    long: str
    hedge: str
    leverage: float = Field(gt=0)
    since: Since


class WorstWindow(Frozen):
    """The least harmful of spread, hedging cost and funding cost of a levered book in its worst window."""

    kind: Literal["worst_window"]
    long: str
    hedge: str
    discount: str
    leverage: float = Field(gt=1)
    sessions: int = Field(ge=1)
    financing: float


class StateGap(Frozen):
    """Mean monthly excess in months of a state less that of other months; without `threshold` the median divides."""

    kind: Literal["state_gap"]
    long: str
    less: str
    state: str
    reduce: Literal["last", "sum", "change"]
    when: Literal["above", "below"]
    threshold: float | None = None


class StyleInForce(Frozen):
    """Share of the market's pairs in which small caps lead by the causal state."""

    kind: Literal["style_in_force"]


class RebalanceGap(Frozen):
    """Return of a tier rebalanced often less that of the same tier rebalanced seldom."""

    kind: Literal["rebalance_gap"]
    rule: str
    often: Literal["daily", "monthly"]
    seldom: Literal["quarterly", "half-yearly", "yearly"]
    since: Since


class Overlap(Frozen):
    """Share of a small tier's members that belong to a larger one as of its last review."""

    kind: Literal["overlap"]
    small: str
    large: str
    review: Literal["monthly", "quarterly", "half-yearly", "yearly"]


class ValueGap(Frozen):
    """Gap in average market value of one pair of tiers over that of another."""

    kind: Literal["value_gap"]
    pair: tuple[str, str]
    against: tuple[str, str]
    gap: Literal["multiple", "difference"] = Field(alias="as")


class FundCorrelation(Frozen):
    """Correlation of daily returns of a fund that holds a tier with a series."""

    kind: Literal["fund_correlation"]
    fund: str
    rebalance: Literal["monthly", "quarterly", "half-yearly", "yearly"]
    other: str = Field(alias="with")
    since: Since


class FundExposure(Frozen):
    """Exposure of a fund that holds a tier to the smallest segment beyond the others."""

    kind: Literal["fund_exposure"]
    fund: str
    rebalance: Literal["monthly", "quarterly", "half-yearly", "yearly"]
    since: Since


class NoFigure(Frozen):
    """No figure of ours can check the claim; `why` says so."""

    kind: Literal["none"]
    why: str = Field(min_length=1)


FigureSpec = Annotated[
    Gain | GainChange | Order | CorrelationOf | Mean | MeanChange | BestWeek | WorstWindow | StateGap | StyleInForce
    | RebalanceGap | Overlap | ValueGap | FundCorrelation | FundExposure | NoFigure,
    Field(discriminator="kind"),
]  # fmt: skip


class Near(Frozen):
    """The figure lies within `tolerance` of `value`, or beyond `value` less the tolerance."""

    kind: Literal["about", "above", "below"]
    value: float
    tolerance: float = Field(ge=0)


class Side(Frozen):
    """The interval of the figure lies wholly on one side of zero."""

    kind: Literal["positive", "negative"]
    level: float = Field(gt=0, lt=1)


class Claim(Frozen):
    """One checkable sentence.

    `after` says why it may differ, written after the figure and shown only if it does; an `added` entry looks once more
    at a claim that differed, and does not count.
    """

    id: str
    says: str
    figure: FigureSpec
    expect: Annotated[Near | Side, Field(discriminator="kind")] | None = None
    unit: Unit
    note: str = ""
    after: str = ""
    added: bool = False

    @model_validator(mode="after")
    def _figure_and_expectation_fit(self) -> Claim:
        if isinstance(self.figure, NoFigure) != (self.expect is None):
            raise ValueError(f"claim {self.id}: a figure needs `expect`, and `expect` needs a figure")
        if isinstance(self.figure, StateGap) != isinstance(self.expect, Side):
            raise ValueError(f"claim {self.id}: a gap of states is checked by the side of its interval, others are not")
        return self


class ClaimSet(Frozen):
    """The claims of a market and the day they were made for."""

    as_of: date
    source: str
    claims: tuple[Claim, ...]

    @model_validator(mode="after")
    def _ids_are_unique(self) -> ClaimSet:
        ids = [claim.id for claim in self.claims]
        if twice := sorted({name for name in ids if ids.count(name) > 1}):
            raise ValueError(f"the claim {twice[0]} stands there twice")
        return self


def load_claims(market: str) -> ClaimSet:
    """Return the claims of a market from ``serving/claims``.

    Raises
    ------
    DataContractError
        If the market has none.
    DefinitionError
        If they do not validate.
    """
    folder = resources.files("serving") / "claims"
    known = sorted(entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml"))
    if market not in known:
        raise DataContractError(f"`market` must be one with claims: {', '.join(known)}; got {market!r}")
    text = (folder / f"{market}.toml").read_text(encoding="utf-8")
    try:
        return ClaimSet.model_validate(tomllib.loads(text))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise DefinitionError(f"serving/claims/{market}.toml: `{where}`: {first['msg']}") from error
