"""What a reader sees of a page and of a terminal."""

from __future__ import annotations

import html
import io
import re

from rich.console import Console

from serving.record import Forecast
from serving.report.figures import Lang
from serving.report.terminal import render_table

LANGS: tuple[Lang, ...] = ("zh", "en")


def terminal(forecast: Forecast, lang: Lang, width: int = 80) -> str:
    """Return the table as a terminal of that width shows it."""
    console = Console(width=width, record=True, file=io.StringIO(), color_system=None)
    console.print(render_table(forecast, lang))
    return console.export_text()


def visible(page: str) -> str:
    """Return the words of a page without its drawings."""
    body = re.sub(r"<(style|svg)\b.*?</\1>", " ", page, flags=re.DOTALL)
    return html.unescape(re.sub(r"<[^>]+>", " ", body))


def table_rows(page: str) -> set[tuple[str, ...]]:
    """Return the cells of every table row that holds plain cells only."""
    rows = re.findall(r"<tr[^>]*>((?:<td[^>]*>[^<]*</td>)+)</tr>", page)
    return {tuple(html.unescape(cell) for cell in re.findall(r"<td[^>]*>([^<]*)</td>", row)) for row in rows}


def joined(text: str) -> str:
    """Undo line breaks, with which a terminal and a page may break a sentence anywhere."""
    return re.sub(r"\s+", "", text)
