"""The claims and their figures as a table for the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from serving.article import RULE, SURVIVORS, Article
from serving.report.figures import clean

if TYPE_CHECKING:
    from rich.console import Group

_STYLES = {"agrees": "green", "differs": "red", "cannot be checked": "dim"}


def render_article(article: Article) -> Group:
    """Return the article for ``rich.console.Console.print``."""
    from rich import box
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for name in ("", "claim", "tolerance", "figure", "verdict"):
        table.add_column(Text(name), overflow="fold")
    for row in article.rows:
        table.add_row(
            Text(row.claim.id),
            Text(clean(row.claim.says)),
            Text(row.tolerance),
            Text(row.number or clean(row.why)),
            Text(row.verdict, style=_STYLES[row.verdict]),
        )
    return Group(
        Text(f"Claims of late 2023, market {article.market}, as of {article.day:%Y-%m-%d}", style="bold"),
        Text(article.conclusion, style="bold cyan"),
        table,
        Text(RULE, style="dim"),
        Text(SURVIVORS, style="dim"),
    )
