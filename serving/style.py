"""Is a fund micro-cap or only small-cap: the analysis of a returns file against a market's size segments."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from features.errors import DataContractError
from features.market import MarketSpec
from models.correlation import Estimate
from models.style_analysis import StyleAnalysis, StyleFit, StyleSettings, analyse_style
from models.style_regression import MIN_DAYS
from serving.report.figures import clean, fixed
from serving.segments import closes_as_of, size_ladder


@dataclass(frozen=True, eq=False)
class StyleReport:
    """What `capshift style` says.

    Parameters
    ----------
    market : str
    simulated : bool
    decision_date : pandas.Timestamp
    names : tuple of str
        Names of the segments from large to micro, in the market definition's words.
    settings : StyleSettings
    analysis : StyleAnalysis
    notes : tuple of str
        What was left out, and why.
    """

    market: str
    simulated: bool
    decision_date: pd.Timestamp
    names: tuple[str, ...]
    settings: StyleSettings
    analysis: StyleAnalysis
    notes: tuple[str, ...]

    @property
    def conclusion(self) -> str:
        """One sentence: the verdict on the last window and the numbers it rests on."""
        fit, smallest = self.analysis.window, clean(self.names[-1])
        own, plain, material = fit.exposure[-1], fixed(fit.correlations[-1].value, 2), share(self.settings.material)
        inside = f"{share(self.settings.level)} interval {share_range(own)}"
        if fit.verdict in ("micro", "some"):
            word = "Micro-cap" if fit.verdict == "micro" else f"Some micro-caps, less than {material}"
            return (
                f"{word}: over the last {fit.days} days the fund carries {share(own.value)} of what only {smallest} "
                f"does ({inside}), beyond what the larger tiers explain."
            )
        start = (
            f"over the last {fit.days} days its exposure to what only {smallest} does is {share(own.value)} "
            f"({inside}), which {_where(own)}"
        )
        if fit.verdict == "no_micro":
            return (
                f"No micro-caps seen: {start} and rules out {material}; the fund's plain correlation of {plain} with "
                f"{smallest} comes through the larger tiers."
            )
        return (
            f"Undecided: {start} but does not rule out {material}; take a longer window (the fund's plain correlation "
            f"of {plain} with {smallest} does not decide it)."
        )

    def to_json(self) -> dict[str, Any]:
        """Return the same content as plain values; a missing number is None."""
        rolling = self.analysis.rolling
        return {
            "market": self.market,
            "simulated": self.simulated,
            "decision_date": f"{self.decision_date:%Y-%m-%d}",
            "conclusion": self.conclusion,
            "verdict": self.analysis.window.verdict,
            "level": self.settings.level,
            "material": self.settings.material,
            "window": _fit_json(self.analysis.window, self.names),
            "whole": _fit_json(self.analysis.whole, self.names),
            "rolling": [
                {"date": f"{day:%Y-%m-%d}", **{name: _number(float(value)) for name, value in row.items()}}
                for day, row in zip(rolling.index, rolling.to_dict("records"), strict=True)
            ],
            "notes": list(self.notes),
        }


def style_report(
    market: MarketSpec,
    observations: pd.DataFrame,
    day: np.datetime64,
    fund: pd.Series,
    settings: StyleSettings | None = None,
) -> StyleReport:
    """Analyse a fund against all size segments of a market.

    Parameters
    ----------
    market : MarketSpec
    observations : pandas.DataFrame
        As `Store.observations`.
    day : datetime64[us]
        The decision day.
    fund : pandas.Series, indexed by session
        Simple daily returns, fractions, as `read_fund_returns` returns them.
    settings : StyleSettings, optional

    Raises
    ------
    DataContractError
        If fund and market share fewer than 60 days, or fewer than the window.

    Information set: closes with known_at <= the decision; rows of the fund dated up to that day, as the file has them.
    """
    settings = settings or StyleSettings()
    ladder = size_ladder(market)
    closes = closes_as_of(market, observations, day, ladder)
    returns = closes / closes.shift(1) - 1
    past = fund[fund.index <= pd.Timestamp(day)]
    tiers = returns.reindex(past.index).dropna()
    if len(tiers) < MIN_DAYS:
        have, at = returns.dropna().index, day.astype("datetime64[D]")
        market_span = f"{have[0]:%Y-%m-%d} to {have[-1]:%Y-%m-%d}" if len(have) else "no common day"
        raise DataContractError(
            f"the fund ({fund.index[0]:%Y-%m-%d} to {fund.index[-1]:%Y-%m-%d}) and the segments of market "
            f"{market.name!r} ({market_span}) share {len(tiers)} day(s) up to the decision of {at}; "
            f"at least {MIN_DAYS} are needed: name another `--as-of`, other returns, or ingest more prices"
        )
    notes = []
    if later := len(fund) - len(past):
        notes.append(f"{later} return(s) after the decision of {day.astype('datetime64[D]')} are not used.")
    if lacking := len(past) - len(tiers):
        notes.append(f"{lacking} day(s) of the fund are left out: a segment has no return there.")
    return StyleReport(
        market=market.name,
        simulated=market.simulated,
        decision_date=pd.Timestamp(day),
        names=tuple(market.segments[name].name for name in ladder),
        settings=settings,
        analysis=analyse_style(past[tiers.index].to_numpy(np.float64), tiers, settings),
        notes=tuple(notes),
    )


def share(value: float) -> str:
    """Return a fraction as whole percent."""
    return f"{fixed(100 * value, 0)}%"


def share_range(estimate: Estimate) -> str:
    """Return an interval of fractions in whole percent."""
    return f"{share(estimate.low)} to {share(estimate.high)}"


def _where(exposure: Estimate) -> str:
    if exposure.low > 0:
        return "is a trace below one percent"
    return "covers zero" if exposure.high >= 0 else "lies below zero"


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


def estimate_json(estimate: Estimate) -> dict[str, float | None]:
    """Return an estimate as plain values; a missing number is None."""
    return {name: _number(value) for name, value in estimate._asdict().items()}


def _fit_json(fit: StyleFit, names: tuple[str, ...]) -> dict[str, Any]:
    columns = zip(fit.tiers, names, fit.exposure, fit.weights, fit.correlations, strict=True)
    return {
        "first": f"{fit.first:%Y-%m-%d}",
        "last": f"{fit.last:%Y-%m-%d}",
        "days": fit.days,
        "verdict": fit.verdict,
        "tiers": [
            {
                "segment": segment,
                "name": name,
                "exposure": estimate_json(exposure),
                "weight": estimate_json(weight),
                "correlation": estimate_json(plain),
            }
            for segment, name, exposure, weight, plain in columns
        ],
        "cash": 1 - math.fsum(weight.value for weight in fit.weights),
        "partial": estimate_json(fit.partial),
        "r_squared": fit.r_squared,
        "incremental_r_squared": fit.incremental_r_squared,
    }
