"""What must be known before a day is scored: are the inputs there, fresh, of the old definition and within support.

Every check returns findings; the decision follows from them. A day with an *error* is refused: its data contradict
their definition, or the store lacks what the bundle learned from. A day on which the headline pair has no live input of
a trained family *abstains*: its forecast says so and holds no probability. Nothing is replaced by another value.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pandas as pd

from features.checks import Finding
from features.contracts import Dataset
from features.errors import DataContractError
from features.ingest import audit_rows
from features.market import MarketSpec
from features.panel import resolve_inputs
from models.bundle import Bundle
from models.schedule import day_text, forecast_rows
from models.validity import judge
from serving.opened_market import OpenedMarket
from serving.revision_report import revision_findings
from serving.support_report import support_findings

Decision = Literal["go", "abstain", "refuse"]
EXIT_CODES: dict[Decision, int] = {"go": 0, "abstain": 5, "refuse": 2}
_BAD_POINTS = frozenset({"out_of_range", "jump", "unit_jump", "known_before_period"})
_PASSING = frozenset({"definition_break", "gap"})
"""What is news in the week in which it happens, and a note ever after."""
ABSTAINS = "abstains"


@dataclass(frozen=True)
class Preflight:
    """The findings before a day is scored, the gravest first, and what follows from them.

    Parameters
    ----------
    market, day : str
    decision : {"go", "abstain", "refuse"}
    findings : tuple of Finding
        `series` is a series, a feature (check ``support``) or a pair (``no_close``, ``validity``, ``abstains``).
    """

    market: str
    day: str
    decision: Decision
    findings: tuple[Finding, ...]

    @property
    def exit_code(self) -> int:
        """0 to go on, 5 to abstain, 2 to refuse."""
        return EXIT_CODES[self.decision]

    def of(self, severity: str) -> list[Finding]:
        """Return the findings of one severity."""
        return [finding for finding in self.findings if finding.severity == severity]

    def line(self) -> str:
        """Say the decision and the number of findings in one line."""
        count = Counter(finding.severity for finding in self.findings)
        numbers = f"{count['error']} error(s), {count['warning']} warning(s), {count['info']} note(s)"
        return f"preflight {self.market} {self.day}: {self.decision}; {numbers}"

    @property
    def refusal(self) -> str:
        """Why the day is refused, in one sentence; empty where it is not."""
        if self.decision != "refuse":
            return ""
        errors = _against(self)
        first = errors[0]
        return (
            f"{self.market} {self.day} is refused for {len(errors)} error(s), the first in {first.series}: "
            f"{first.message}; `capshift preflight` lists all"
        )

    def require(self) -> None:
        """Refuse where the decision says so.

        Raises
        ------
        DataContractError
            With the findings that speak against the day.
        """
        if self.refusal:
            rows = [
                {"series": found.series, "check": found.check, "message": found.message} for found in _against(self)
            ]
            raise DataContractError(self.refusal, pd.DataFrame(rows))

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON types."""
        rows = [
            {**vars(found), "period": None if found.period is None else f"{found.period:%Y-%m-%d}"}
            for found in self.findings
        ]
        return {"market": self.market, "day": self.day, "decision": self.decision, "findings": rows}


def _against(found: Preflight) -> list[Finding]:
    return [finding for finding in found.of("error") if finding.check != ABSTAINS]


def preflight(opened: OpenedMarket, day: np.datetime64, bundle: Bundle | None = None) -> Preflight:
    """Check a decision day before it is scored, by default with the bundle in force.

    Raises
    ------
    StaleDataError
        If the close of the headline pair was not known: there is nothing to check then.
    DataContractError, BundleError
        If the bundle in force is missing or damaged.

    Information set: rows with known_at <= the decision.
    """
    market, dataset = opened.spec, opened.until(day)
    bundle = bundle or opened.bundle(day)
    at, before = opened.at(day), opened.at(opened.before(day))
    read = series_read(bundle, market)
    findings = [_weighed(found, read, (before, at)) for found in audit_rows(
        opened.observations, opened.quarantined, market, at
    )]  # fmt: skip
    findings += revision_findings(market, opened.observations, before, at)
    findings += _closes(market, dataset, day)
    rows = forecast_rows(dataset, opened.plan, day, None)
    findings += support_findings(bundle, dataset, rows)
    findings += _validity(bundle, dataset, rows)
    order = {"error": 0, "warning": 1, "info": 2}
    findings.sort(key=lambda found: order[found.severity])
    headline = (ABSTAINS, market.headline)
    if any(found.severity == "error" and found.check != ABSTAINS for found in findings):
        decision: Decision = "refuse"
    else:
        decision = "abstain" if any((found.check, found.series) == headline for found in findings) else "go"
    return Preflight(market.name, day_text(day), decision, tuple(findings))


def series_read(bundle: Bundle, market: MarketSpec) -> set[str]:
    """Return the prices of the market and every series that a feature which the bundle learned from reads."""
    learned = [market.features[name] for name in bundle.support.low if name in market.features]
    read = {source for spec in learned for pair in market.pairs.values() for source in resolve_inputs(spec, pair)}
    return read | {segment.price for segment in market.segments.values()}


def _weighed(found: Finding, read: set[str], week: tuple[np.datetime64, np.datetime64]) -> Finding:
    """Give a finding of the audit the weight it has for the forecast at the end of a week."""
    used = found.series in read
    if found.quarantined:
        return replace(found, severity="info", message=f"in quarantine, not served: {found.message}")
    if found.check in _BAD_POINTS:
        return replace(found, severity="error" if used else "warning")
    if found.check == "missing":
        if used:
            return replace(found, message="the bundle learned from it, and the store holds nothing; ingest it")
        return replace(found, severity="info", message=f"{found.message}; the bundle does not know it")
    if found.check in _PASSING and found.period is not None:
        fresh = pd.Timestamp(week[0]) <= found.period <= pd.Timestamp(week[1])
        return replace(found, severity="warning" if fresh and used else "info")
    return found if used or found.severity == "info" else replace(found, severity="info")


def _closes(market: MarketSpec, dataset: Dataset, day: np.datetime64) -> list[Finding]:
    """Name the pairs that cannot be forecast because a close of the day was not known."""
    past = dataset.rows.index.get_level_values("pair")
    return [
        Finding(pair, "no_close", "warning", pd.Timestamp(day), None, False, "no close was known, and so no forecast")
        for pair in market.pairs
        if pair in past and (pair, pd.Timestamp(day)) not in dataset.rows.index
    ]


def _validity(bundle: Bundle, dataset: Dataset, rows: pd.MultiIndex) -> list[Finding]:
    """Turn the judgement of each pair into a finding; a validated one needs none."""
    findings = []
    for (pair, day), judged in zip(rows, judge(bundle, dataset, rows), strict=True):
        if judged.validity == "validated":
            continue
        abstains = judged.validity.startswith("abstain")
        findings.append(
            Finding(
                str(pair), ABSTAINS if abstains else "validity", "error" if abstains else "warning", day, None, False,
                f"{judged.validity}: {judged.text}",
            )
        )  # fmt: skip
    return findings
