"""The comparison of two runs as markdown and as one self-contained page."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from serving.report.pages import page_template


@dataclass(frozen=True)
class Section:
    """One part of the comparison: a title, a table and a note below it."""

    title: str
    heads: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""


def render_markdown(title: str, verdict: str, sections: Sequence[Section], *, simulated: bool) -> str:
    """Return the comparison as markdown."""
    parts = [f"# {'SIMULATED ' if simulated else ''}{title}", verdict]
    for section in sections:
        parts.append(f"## {section.title}")
        if section.rows:
            lines = [section.heads, ["---"] * len(section.heads), *section.rows]
            parts.append("\n".join(f"| {' | '.join(_cell(cell) for cell in line)} |" for line in lines))
        if section.note:
            parts.append(section.note)
    return "\n\n".join(parts) + "\n"


def render_page(
    title: str,
    verdict: str,
    sections: Sequence[Section],
    figures: Sequence[tuple[str, Path | None, Path | None]],
    *,
    simulated: bool,
) -> str:
    """Return the comparison as a page that needs no other file.

    Parameters
    ----------
    title, verdict : str
    sections : sequence of Section
    figures : sequence of (name, PNG of A or None, PNG of B or None)
        Put into the page.
    simulated : bool
        Puts SIMULATED on it.
    """
    embedded = [(name, _embedded(first), _embedded(second)) for name, first, second in figures]
    return page_template("run_compare.html.j2").render(
        title=title, verdict=verdict, sections=sections, figures=embedded, simulated=simulated
    )


def _embedded(path: Path | None) -> str:
    return "" if path is None else f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
