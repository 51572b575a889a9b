"""The reports of `capshift style` and `capshift eligible` as tables for the terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from models.correlation import Estimate
from models.style_analysis import StyleFit
from serving.eligible import RULE_NOTE, EligibleReport
from serving.plain_table import plain_table
from serving.report.figures import NONE, clean, fixed
from serving.style import StyleReport, share, share_range

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text


def render_style(report: StyleReport) -> Group:
    """Return the report for ``rich.console.Console.print``; 80 columns are enough."""
    from rich.console import Group
    from rich.text import Text

    analysis, smallest = report.analysis, clean(report.names[-1])
    path = analysis.rolling["exposure"]
    above = float((analysis.rolling["low"] > 0).mean())
    rolling = (
        f"Rolling {report.settings.window} days, {len(path)} window(s), exposure to {smallest}: lowest "
        f"{share(path.min())}, median {share(path.median())}, highest {share(path.max())}; interval above zero in "
        f"{share(above)} of them."
    )
    key = (
        f"Exposure: joint regression; the last row is {smallest} beyond the other tiers, the rows above are those "
        "without it. Weight: long-only style weights (bootstrap), the rest is cash. Correlation: plain; it misleads, "
        f"because small caps share one factor. In brackets: {share(report.settings.level)} intervals."
    )
    head = f"Style of the fund, market {report.market}, as of {report.decision_date:%Y-%m-%d}"
    return Group(
        *_head(head, report.conclusion, report.simulated),
        _fit_table(f"Last {analysis.window.days} days", analysis.window, report.names),
        _fit_table(f"All {analysis.whole.days} days", analysis.whole, report.names),
        Text(rolling),
        *(Text(note) for note in report.notes),
        Text(key, style="dim"),
    )


def render_eligible(report: EligibleReport) -> Group:
    """Return the report for ``rich.console.Console.print``; 80 columns are enough."""
    from rich.console import Group
    from rich.text import Text

    rows = []
    for hedge in report.hedges:
        result = hedge.result
        since = f"{result.since:%Y-%m-%d}{' or before' if result.since_start else ''}"
        rows.append((
            clean(hedge.name), _digits(result.correlation), "yes" if result.eligible else "no", since,
            f"{share(result.share)} of {result.share_days}",
        ))  # fmt: skip
    names = ("hedge", "correlation", "eligible", "since", "eligible days")
    head = f"Eligibility for levered swaps, market {report.market}, as of {report.decision_date:%Y-%m-%d}"
    left_out = [
        Text(f"{hedge.left_out} session(s) are left out against {clean(hedge.name)}: a close is missing.")
        for hedge in report.hedges
        if hedge.left_out
    ]
    key = (
        f"Correlation over the last {report.rule.window} sessions, in brackets its {share(report.rule.level)} "
        f"interval; the rule looks at the number alone. {RULE_NOTE}"
    )
    return Group(
        *_head(head, report.conclusion, report.simulated),
        plain_table(f"Long leg: {clean(report.long_name)}", names, rows),
        *left_out,
        Text(key, style="dim"),
    )


def _head(title: str, conclusion: str, simulated: bool) -> Sequence[Text]:
    from rich.text import Text

    mark = [Text(" SIMULATED ", style="bold reverse")] if simulated else []
    return [*mark, Text(title, style="bold"), Text(conclusion, style="bold cyan")]


def _fit_table(title: str, fit: StyleFit, names: tuple[str, ...]) -> Table:
    rows = []
    for place, name in enumerate(names):
        exposure, weight, plain = fit.exposure[place], fit.weights[place], fit.correlations[place]
        rows.append((
            f"{clean(name)}{', beyond' if place == len(names) - 1 else ''}",
            f"{share(exposure.value)} ({share_range(exposure)})",
            f"{share(weight.value)} ({share_range(weight)})",
            _digits(plain),
        ))  # fmt: skip
    rows += [
        ("partial correlation", _digits(fit.partial), "", ""),
        ("R2, of it beyond", f"{fixed(fit.r_squared, 3)}, {fixed(fit.incremental_r_squared, 4)}", "", ""),
    ]
    heading = f"{title}: {fit.first:%Y-%m-%d} to {fit.last:%Y-%m-%d}"
    return plain_table(heading, ("", "exposure", "weight", "correlation"), rows)


def _digits(estimate: Estimate) -> str:
    if math.isnan(estimate.value):
        return NONE
    return f"{fixed(estimate.value, 2)} ({fixed(estimate.low, 2)} to {fixed(estimate.high, 2)})"
