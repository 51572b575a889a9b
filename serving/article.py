"""The article of late 2023 against the data: each claim, its tolerance, the figure, and whether the two agree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd

from features.errors import CapshiftError
from serving.article_data import ArticleData
from serving.article_figures import figure_of
from serving.article_units import Figure, shown
from serving.claim_spec import Claim, ClaimSet, Near, NoFigure, Side

Verdict = Literal["agrees", "differs", "cannot be checked"]

RULE = (
    'Tolerances are those of the claims file, committed before any figure was computed. One rule sets them: "about X" '
    "holds within a quarter of X; more, less and an order hold as they stand; an influence holds if its interval lies "
    "wholly on the claimed side of zero, differs if wholly on the other, and cannot be told otherwise."
)
SURVIVORS = (
    "What comes from single stocks, and the micro-cap series of 400 stocks, knows only stocks that are still listed: "
    "survivors flatter micro-caps. Both leave out costs and stocks at their limit."
)


@dataclass(frozen=True)
class ArticleRow:
    """One claim and its answer.

    Parameters
    ----------
    claim : Claim
    verdict : str
    figure : Figure, optional
        None where none can be computed.
    why : str
        Why it cannot be checked; empty otherwise.
    sources : tuple of str
        Files the figure was read from, relative to the data root.
    """

    claim: Claim
    verdict: Verdict
    figure: Figure | None
    why: str
    sources: tuple[str, ...]

    @property
    def tolerance(self) -> str:
        """What the claim asks of its figure, in words."""
        expect, unit = self.claim.expect, self.claim.unit
        if expect is None:
            return ""
        if isinstance(expect, Side):
            return f"{expect.level:.0%} interval {'above' if expect.kind == 'positive' else 'below'} zero"
        if expect.kind == "about":
            return f"{shown(expect.value, unit)} ± {shown(expect.tolerance, unit)}"
        bound = expect.value + (expect.tolerance if expect.kind == "below" else -expect.tolerance)
        return f"{'above' if expect.kind == 'above' else 'below'} {shown(bound, unit)}"

    @property
    def number(self) -> str:
        """The figure with its interval, as printed; empty where there is none."""
        if self.figure is None:
            return ""
        unit = self.claim.unit
        signed = unit in ("points", "return", "log a month")
        text = shown(self.figure.value, unit, signed=signed)
        if self.figure.low is None or self.figure.high is None:
            return text
        low, high = (shown(end, unit, signed=signed) for end in (self.figure.low, self.figure.high))
        return f"{text} ({low} to {high})"

    def to_json(self) -> dict[str, Any]:
        """Return the same content as plain values; a missing number is None."""
        figure = self.figure
        return {
            "id": self.claim.id,
            "added": self.claim.added,
            "claim": self.claim.says,
            "expect": None if self.claim.expect is None else self.claim.expect.model_dump(mode="json"),
            "unit": self.claim.unit,
            "figure": None if figure is None else figure.value,
            "low": None if figure is None else figure.low,
            "high": None if figure is None else figure.high,
            "detail": "" if figure is None else figure.detail,
            "verdict": self.verdict,
            "why": self.why,
            "note": self.claim.note,
            "after": self.claim.after if self.verdict == "differs" else "",
            "sources": list(self.sources),
        }


@dataclass(frozen=True, eq=False)
class Article:
    """All claims of a market as of a day."""

    market: str
    day: pd.Timestamp
    source: str
    rows: tuple[ArticleRow, ...]

    @property
    def conclusion(self) -> str:
        """One sentence: how many claims agree, differ and cannot be checked; a second look does not count."""
        rows = [row for row in self.rows if not row.claim.added]
        count = {verdict: sum(row.verdict == verdict for row in rows) for verdict in ("agrees", "differs")}
        rest = len(rows) - sum(count.values())
        told = f"{count['agrees']} agree, {count['differs']} differ and {rest} cannot be checked"
        return f"Of {len(rows)} claims {told}."

    def to_json(self) -> dict[str, Any]:
        """Return the same content as plain values."""
        return {
            "market": self.market,
            "as_of": f"{self.day:%Y-%m-%d}",
            "source": self.source,
            "conclusion": self.conclusion,
            "rule": RULE,
            "survivors": SURVIVORS,
            "claims": [row.to_json() for row in self.rows],
        }


def verdict_of(expect: Near | Side, figure: Figure) -> tuple[Verdict, str]:
    """Compare a figure with what its claim expects.

    Parameters
    ----------
    expect : Near or Side
    figure : Figure

    Returns
    -------
    verdict : str
    why : str
        Why it cannot be checked; empty otherwise.
    """
    if isinstance(expect, Near):
        gap = figure.value - expect.value
        # A decimal such as 0.1 has no exact form: what equals the bound to the twelfth digit stands on it.
        slack = 1e-12
        holds = {
            "about": abs(gap) <= expect.tolerance + slack,
            "above": gap > slack - expect.tolerance,
            "below": gap < expect.tolerance - slack,
        }[expect.kind]
        return ("agrees" if holds else "differs"), ""
    if figure.low is None or figure.high is None:
        return "cannot be checked", "the figure has no interval"
    if figure.low <= 0 <= figure.high:
        return "cannot be checked", f"the {expect.level:.0%} interval holds zero: the data cannot tell"
    return ("agrees" if (figure.low > 0) == (expect.kind == "positive") else "differs"), ""


def check_claims(claims: ClaimSet, data: ArticleData) -> Article:
    """Compute the figure of every claim and compare.

    A figure that cannot be computed (a series or file is missing or too short) leaves its claim unchecked, with the
    reason; it does not stop the others.

    Parameters
    ----------
    claims : ClaimSet
    data : ArticleData

    Information set: that of `data`.
    """
    rows = tuple(_row(claim, data) for claim in claims.claims)
    return Article(data.market.name, pd.Timestamp(data.day), claims.source, rows)


def _row(claim: Claim, data: ArticleData) -> ArticleRow:
    if claim.expect is None or isinstance(claim.figure, NoFigure):
        why = claim.figure.why if isinstance(claim.figure, NoFigure) else ""
        return ArticleRow(claim, "cannot be checked", None, why, ())
    data.used.clear()
    level = claim.expect.level if isinstance(claim.expect, Side) else 0.95
    try:
        figure = figure_of(claim.figure, data, level)
    except CapshiftError as error:
        return ArticleRow(claim, "cannot be checked", None, str(error), tuple(sorted(data.used)))
    verdict, why = verdict_of(claim.expect, figure)
    return ArticleRow(claim, verdict, figure, why, tuple(sorted(data.used)))


def article_markdown(article: Article, command: str) -> str:
    """Return the article as a page of markdown.

    Parameters
    ----------
    article : Article
    command : str
        The command that writes this page again.
    """
    columns = ["| | claim | tolerance | figure | verdict |", "|---|---|---|---|---|"]
    rows = {
        added: [
            _cells([row.claim.id, row.claim.says, row.tolerance, row.number, f"**{row.verdict}**"])
            for row in article.rows
            if row.claim.added is added
        ]
        for added in (False, True)
    }
    again = ["", "Looked at once more because a figure differed; not counted:", "", *columns, *rows[True]]
    lines = [
        "# The claims of late 2023, beside the figures",
        "",
        f"{article.source}. Market `{article.market}`, all figures as of {article.day:%Y-%m-%d}; nothing later is "
        f"read. Written by `{command}`.",
        "",
        f"**{article.conclusion}**",
        "",
        RULE,
        "",
        SURVIVORS,
        "",
        *columns,
        *rows[False],
        *(again if rows[True] else []),
        "",
        "## What each figure is",
        "",
        *(_note(row) for row in article.rows),
    ]
    return "\n".join(lines) + "\n"


def _cells(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _note(row: ArticleRow) -> str:
    after = row.claim.after if row.verdict == "differs" else ""
    detail = "" if row.figure is None else f"Figure: {row.figure.detail}"
    why = "" if not row.why else f"Not checked: {row.why}"
    sources = "" if not row.sources else f"Sources: {', '.join(f'`{source}`' for source in row.sources)}"
    parts = [part for part in (row.claim.note, detail, why, after, sources) if part]
    return f"- **{row.claim.id}** {'. '.join(parts)}."
