"""What an index out of a stock panel returned, what trading took of it, and how close it is to known series."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from features.contracts import latest_vintages
from features.errors import DataContractError
from features.stock_index import StockIndex
from serving.report.figures import NONE, clean, fixed, percent

if TYPE_CHECKING:
    from rich.console import Group

SURVIVORS = (
    "Survivors only: the file holds stocks that are still listed, which flatters every index of small ones. Cash "
    "dividends are left out where the source's returns are."
)
_DAYS_A_YEAR = 365.25
_FEWEST = 20
"""Common days below which a correlation is not shown."""


@dataclass(frozen=True)
class Likeness:
    """Correlation of daily returns with a series of the market over their common days; None for too few."""

    series: str
    correlation: float | None
    days: int


@dataclass(frozen=True, eq=False)
class IndexReport:
    """What `capshift index build` says.

    Parameters
    ----------
    market : str
    index : StockIndex
    survivors_only : bool
    likeness : tuple of Likeness
    checks : mapping of str to int
        How many findings each check made.
    """

    market: str
    index: StockIndex
    survivors_only: bool
    likeness: tuple[Likeness, ...]
    checks: Mapping[str, int]

    @property
    def years(self) -> float:
        """Length of the index in years."""
        date = self.index.frame["date"]
        return float((date.iloc[-1] - date.iloc[0]).days / _DAYS_A_YEAR)

    def figures(self) -> dict[str, float | None]:
        """Return the figures as fractions: total and yearly returns before and after costs, turnover, halted weight.

        Yearly figures are None for less than half a year; `turnover_a_year` is one-way, `cost_drag_a_year` the
        difference of the two yearly returns.
        """
        frame, years = self.index.frame, self.years
        gross, net = (float(np.prod(1.0 + frame[name].iloc[1:].to_numpy(np.float64))) for name in ("gross", "net"))
        long = years >= 0.5
        yearly = [value ** (1.0 / years) - 1.0 if long else None for value in (gross, net)]
        drag = yearly[0] - yearly[1] if yearly[0] is not None and yearly[1] is not None else None
        return {
            "total_return": net - 1.0,
            "total_return_gross": gross - 1.0,
            "return_a_year": yearly[1],
            "turnover_a_year": float(frame["turnover"].sum()) / years if long else None,
            "cost_drag_a_year": drag,
            "mean_members": float(frame["n_members"].iloc[1:].mean()),
            "most_halted": float(frame["halted"].max()),
        }

    def to_json(self) -> dict[str, Any]:
        """Return the same content as plain values; a missing number is None."""
        rule, date = self.index.rule, self.index.frame["date"]
        return {
            "market": self.market,
            "rule": str(rule.select),
            "rebalance": rule.rebalance,
            "weight": rule.weight,
            "cost_per_side": rule.cost,
            "limits": rule.limits,
            "first": f"{date.iloc[0]:%Y-%m-%d}",
            "last": f"{date.iloc[-1]:%Y-%m-%d}",
            "figures": self.figures(),
            "likeness": [vars(item) for item in self.likeness],
            "findings": dict(self.checks),
            "survivors_only": self.survivors_only,
        }


def likeness(index: StockIndex, observations: pd.DataFrame, names: Sequence[str]) -> tuple[Likeness, ...]:
    """Correlate an index with level series of the store.

    Parameters
    ----------
    index : StockIndex
    observations : pandas.DataFrame
        `series, period, known_at, value`, ordered by `known_at` within a series; the latest vintage counts.
    names : sequence of str
        Series; those that are not stored are left out.

    Information set: everything stored; a comparison, not an input of anything.
    """
    own = index.frame.set_index("date")["gross"]
    result = []
    for name in names:
        rows = observations[observations["series"] == name]
        if rows.empty:
            continue
        period, value = latest_vintages(
            rows["period"].to_numpy("datetime64[us]"), rows["value"].to_numpy(np.float64)[:, None]
        )
        known = pd.Series(value[:, 0], index=pd.DatetimeIndex(period)).pct_change()
        both = pd.concat([own, known], axis=1, join="inner").dropna()
        enough = len(both) >= _FEWEST and bool((both.std() > 0).all())
        result.append(Likeness(name, float(both.iloc[:, 0].corr(both.iloc[:, 1])) if enough else None, len(both)))
    return tuple(result)


def refuse_quarantine(findings: pd.DataFrame) -> None:
    """Raise if any cell is in quarantine.

    Raises
    ------
    DataContractError
        Carries the findings of these cells.
    """
    bad = findings[findings["quarantined"].astype(bool)]
    if len(bad):
        raise DataContractError(
            f"{len(bad)} cell(s) of the stock file are wrong and `--strict` was given; correct them, or leave "
            "`--strict` out to put them in quarantine",
            bad[["series", "check", "period", "value", "message"]],
        )


def render_index(report: IndexReport) -> Group:
    """Return the report for ``rich.console.Console.print``; 80 columns are enough."""
    from rich.console import Group
    from rich.text import Text

    from serving.plain_table import plain_table

    rule, figures, date = report.index.rule, report.figures(), report.index.frame["date"]
    frictions = "no trade at the price limit or in a halt" if rule.limits else "every trade done at the last price"
    head = (
        f"Index {rule.select} of market {clean(report.market)}, {rule.weight} weight, rebalanced {rule.rebalance}, "
        f"{date.iloc[0]:%Y-%m-%d} to {date.iloc[-1]:%Y-%m-%d}"
    )
    turnover = figures["turnover_a_year"]
    rows = [
        ("total return, before costs", percent(figures["total_return_gross"])),
        (f"total return, after {fixed(1e4 * rule.cost, 0)} bp a side",
         percent(figures["total_return"])),
        ("return a year, after costs", percent(figures["return_a_year"])),
        ("lost to costs a year", percent(figures["cost_drag_a_year"])),
        ("one-way turnover a year", NONE if turnover is None else f"{fixed(turnover, 2)} x"),
        ("members, average", fixed(figures["mean_members"] or 0.0, 0)),
        ("most weight suspended on a day", percent(figures["most_halted"])),
    ]  # fmt: skip
    rows += [
        (f"correlation with {clean(item.series)}, {item.days} days",
         NONE if item.correlation is None else fixed(item.correlation, 4))
        for item in report.likeness
    ]  # fmt: skip
    notes = [Text(f"Frictions: {frictions}.", style="dim")]
    if report.survivors_only:
        notes.insert(0, Text(SURVIVORS))
    return Group(Text(head, style="bold"), plain_table("", ("", "value"), rows), *notes)
