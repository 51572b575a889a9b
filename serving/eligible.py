"""Whether a segment may sit on the long side of levered swaps against given hedges: the 0.80 rule as of a decision."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from features.errors import DataContractError, StaleDataError
from features.market import MarketSpec
from models.eligibility import Eligibility, EligibilityRule, eligibility
from serving.report.figures import clean, fixed
from serving.segments import closes_as_of
from serving.style import estimate_json

RULE_NOTE = (
    "The rule asks for the correlation of the legs' daily returns (log returns here). The correlation of their excess "
    "returns over a common index is not what it asks, however high it is."
)


@dataclass(frozen=True, eq=False)
class HedgeReport:
    """One hedge: its segment and name, the days behind the answer, and the answer."""

    segment: str
    name: str
    left_out: int
    result: Eligibility


@dataclass(frozen=True, eq=False)
class EligibleReport:
    """What `capshift eligible` says.

    Parameters
    ----------
    market : str
    simulated : bool
    decision_date : pandas.Timestamp
    long, long_name : str
        Segment of the long leg.
    rule : EligibilityRule
    hedges : tuple of HedgeReport
        In the order asked for.
    """

    market: str
    simulated: bool
    decision_date: pd.Timestamp
    long: str
    long_name: str
    rule: EligibilityRule
    hedges: tuple[HedgeReport, ...]

    @property
    def conclusion(self) -> str:
        """One sentence: against which hedges the long leg satisfies the rule now."""
        said = {
            answer: " and ".join(
                f"{clean(hedge.name)} ({fixed(hedge.result.correlation.value, 2)})"
                for hedge in self.hedges
                if hedge.result.eligible is answer
            )
            for answer in (True, False)
        }
        parts = [
            f"{word} against {said[answer]}"
            for answer, word in ((True, "eligible"), (False, "not eligible"))
            if said[answer]
        ]
        return (
            f"{clean(self.long_name)} is {', '.join(parts)}: the rule asks for a correlation of at least "
            f"{fixed(self.rule.threshold, 2)} over {self.rule.window} sessions."
        )

    def to_json(self) -> dict[str, Any]:
        """Return the same content as plain values; a missing number is None."""
        return {
            "market": self.market,
            "simulated": self.simulated,
            "decision_date": f"{self.decision_date:%Y-%m-%d}",
            "conclusion": self.conclusion,
            "long": self.long,
            "long_name": self.long_name,
            "threshold": self.rule.threshold,
            "window": self.rule.window,
            "level": self.rule.level,
            "hedges": [_hedge_json(hedge) for hedge in self.hedges],
            "note": RULE_NOTE,
        }


def eligible_report(
    market: MarketSpec,
    observations: pd.DataFrame,
    day: np.datetime64,
    long: str,
    hedges: Sequence[str],
    rule: EligibilityRule | None = None,
) -> EligibleReport:
    """Apply the rule to a long leg and each of its hedges.

    Parameters
    ----------
    market : MarketSpec
    observations : pandas.DataFrame
        As `Store.observations`.
    day : datetime64[us]
        The decision day.
    long : str
        A segment of the market.
    hedges : sequence of str
        Segments of the market, none twice and none the long leg.
    rule : EligibilityRule, optional

    Raises
    ------
    DataContractError
        If a segment is named twice, or both legs share fewer returns than the rule's window.
    StaleDataError
        If the close of a leg is not known on the decision day.

    Information set: closes with known_at <= the decision.
    """
    rule = rule or EligibilityRule()
    named = [long, *hedges]
    if twice := sorted({name for name in named if named.count(name) > 1}):
        raise DataContractError(f"`hedge` must name segments other than the long leg, each once; got {twice[0]} twice")
    closes = closes_as_of(market, observations, day, named)
    for name in named:
        newest = closes.index[closes[name].notna()][-1]
        if newest < pd.Timestamp(day):
            raise StaleDataError(
                f"no close of segment {name} was known at the decision of {day.astype('datetime64[D]')}; the newest is "
                f"of {newest:%Y-%m-%d}; ingest newer prices or name an earlier `--as-of`"
            )
    returns = closes.transform(np.log).diff()
    return EligibleReport(
        market=market.name,
        simulated=market.simulated,
        decision_date=pd.Timestamp(day),
        long=long,
        long_name=market.segments[long].name,
        rule=rule,
        hedges=tuple(_hedge(market, returns, long, hedge, rule) for hedge in hedges),
    )


def _hedge(market: MarketSpec, returns: pd.DataFrame, long: str, hedge: str, rule: EligibilityRule) -> HedgeReport:
    both = returns[[long, hedge]].dropna()
    if both.empty:
        raise DataContractError(f"segments {long} and {hedge} share no day with a return; ingest their prices")
    x, y = both.to_numpy(np.float64).T
    days = both.index.to_numpy().astype("datetime64[us]")
    since = int((returns.index >= both.index[0]).sum())
    return HedgeReport(hedge, market.segments[hedge].name, since - len(both), eligibility(x, y, days, rule))


def _hedge_json(hedge: HedgeReport) -> dict[str, Any]:
    result = hedge.result
    path = [
        {"date": f"{day:%Y-%m-%d}", "correlation": value if np.isfinite(value) else None}
        for day, value in zip(pd.DatetimeIndex(result.path.index), result.path.tolist(), strict=True)
    ]
    return {
        "segment": hedge.segment,
        "name": hedge.name,
        "correlation": estimate_json(result.correlation),
        "eligible": result.eligible,
        "since": f"{result.since:%Y-%m-%d}",
        "since_start_of_data": result.since_start,
        "share_eligible": result.share,
        "share_days": result.share_days,
        "sessions_left_out": hedge.left_out,
        "path": path,
    }
