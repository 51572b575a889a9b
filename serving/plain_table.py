"""A table for the terminal without a frame."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table


def plain_table(title: str, names: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """Return a table without a frame; the first column takes the squeeze."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(
        title=Text(title, style="bold"), title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0)
    )  # fmt: skip
    for at, name in enumerate(names):
        # The first column takes the squeeze: a number is never broken.
        table.add_column(Text(name), justify="right" if at else "left", overflow="fold", no_wrap=bool(at))
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    return table
