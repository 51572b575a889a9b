"""Marks of events on a chart: thin vertical lines, numbered where there is room, told beside the chart."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Literal

from matplotlib.axes import Axes

from features.events import MarketEvent

_COLOUR = "#8a5a0b"
_ROWS, _CLEAR = 3, 0.018


@dataclass(frozen=True)
class Mark:
    """One mark: its number on the chart, the day, and what the legend says."""

    number: int
    day: date
    text: str


def event_marks(events: Sequence[MarketEvent], lang: Literal["zh", "en"]) -> tuple[Mark, ...]:
    """Return one mark a day, numbered from 1 in order of time; events of one day share it."""
    days = sorted({event.date for event in events})
    marks = []
    for number, day in enumerate(days, start=1):
        titles = [event.title_zh if lang == "zh" else event.title for event in events if event.date == day]
        marks.append(Mark(number, day, ("；" if lang == "zh" else "; ").join(titles)))
    return tuple(marks)


def draw_marks(axes: Axes, marks: Sequence[Mark]) -> None:
    """Draw marks on axes whose x is the ordinal of the day, as the note's are; numbers on top, no words."""
    low, high = axes.get_xlim()
    before, row = -math.inf, 0
    for mark in marks:
        at = mark.day.toordinal()
        # Numbers that would touch take turns on three lines.
        row = (row + 1) % _ROWS if at - before < _CLEAR * (high - low) else 0
        before = at
        axes.axvline(at, color=_COLOUR, linewidth=0.5, linestyle=(0, (2, 2)), zorder=0.5)
        axes.annotate(
            str(mark.number), (at, 1.0), xycoords=("data", "axes fraction"), xytext=(0, 1 + 5 * row),
            textcoords="offset points", fontsize=5, color=_COLOUR, ha="center", va="bottom", annotation_clip=False,
        )  # fmt: skip
