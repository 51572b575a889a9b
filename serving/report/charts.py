"""Drawings of the note as inline SVG: same forecast, same bytes; no words in them, so that they suit any language."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import FixedFormatter, FixedLocator, FuncFormatter, NullLocator

from features.contracts import FloatArray
from serving.record import HeadForecast, StyleHistory
from serving.report.view import runs

INK = "#17202b"
ACCENT = "#0b4f8a"
SHADE = "#d5dae1"
MUTED = "#5d6875"
_SIZE_INCHES = (4.4, 1.45)
_TICKS = (
    (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0),
    (0.2, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0, 5.0, 7.0, 10.0),
    tuple(round(0.1 * i, 1) for i in range(2, 40, 2)),
    tuple(round(0.1 * i, 1) for i in range(2, 40)),
    tuple(round(0.05 * i, 2) for i in range(4, 80)),
)  # fmt: skip


@dataclass(frozen=True)
class Strip:
    """Positions of one probability on its axis, in percent of the width; None for what is missing."""

    base: float
    dot: float | None
    lo: float | None
    hi: float | None


def strip(head: HeadForecast, top: float) -> Strip:
    """Return where base, dot and band of a probability lie on an axis from 0 to `top` (a fraction)."""

    def at(value: float | None) -> float | None:
        return None if value is None else round(100.0 * min(max(value / top, 0.0), 1.0), 2)

    lo, hi = (at(head.lo), at(head.hi)) if head.lo is not None and head.hi is not None else (None, None)
    return Strip(at(head.base) or 0.0, at(head.probability), lo, hi)


def line_chart(history: StyleHistory) -> str:
    """Return the relative-strength line with the weeks of large-cap leadership shaded and the last flip marked.

    Parameters
    ----------
    history : StyleHistory
        Small over large on decision closes, with the causal style of each week.

    Returns
    -------
    str
        As `drawing`; empty when there are fewer than two weeks.
    """
    return "" if len(history.dates) < 2 else drawing(lambda axes: _draw(axes, history))


def drawing(draw: Callable[[Axes], None]) -> str:
    """Return what `draw` puts on an empty pair of axes as an ``<svg>`` element; the note's charts share size and type.

    Parameters
    ----------
    draw : callable
        Gets the axes; the right margin is left for the labels of a right axis.

    Returns
    -------
    str
        Without prologue or metadata. Text stays text, for the page's own fonts. Deterministic: ids are salted with a
        constant and no date is written.
    """
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update({
            "svg.hashsalt": "capshift", "svg.fonttype": "none", "font.size": 9.0, "font.family": "sans-serif",
            "axes.linewidth": 0.6, "xtick.major.width": 0.6, "path.simplify_threshold": 0.2,
        })  # fmt: skip
        figure = Figure(figsize=_SIZE_INCHES, facecolor="none")
        FigureCanvasSVG(figure)
        axes = figure.add_axes((0.003, 0.12, 0.9, 0.85), facecolor="none")
        draw(axes)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    return _inline(buffer.getvalue())


def _draw(axes: Axes, history: StyleHistory) -> None:
    days = np.array([day.toordinal() for day in history.dates], dtype=np.float64)
    line = np.array(history.line, dtype=np.float64)
    stretches = runs(history)
    for first, last, style in stretches:
        if style == "large":
            axes.axvspan(first.toordinal(), last.toordinal(), color=SHADE, linewidth=0, zorder=0)
    axes.plot(days, line, color=INK, linewidth=1.1, solid_joinstyle="round", zorder=3)
    if len(stretches) > 1:
        flip = stretches[-1][0]
        axes.axvline(flip.toordinal(), color=ACCENT, linewidth=1.2, dashes=(3, 2), zorder=2)
        axes.plot([flip.toordinal()], [line[history.dates.index(flip)]], "o", color=ACCENT, markersize=4.5, zorder=4)
    axes.plot(days[-1:], line[-1:], "o", color=INK, markersize=4, zorder=4)
    span = float(days[-1] - days[0])
    axes.set_xlim(days[0], days[-1] + 0.012 * span)
    _axes_style(axes, history.dates, line)


def _axes_style(axes: Axes, dates: tuple[date, ...], line: FloatArray) -> None:
    low, high = float(np.nanmin(line)) * 0.96, float(np.nanmax(line)) * 1.04
    axes.set_yscale("log")
    axes.set_ylim(low, high)
    axes.yaxis.set_major_locator(FixedLocator(_ticks(low, high)))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.2f}".removesuffix("0")))
    labelled = date_ticks(dates[0], dates[-1])
    axes.xaxis.set_major_locator(FixedLocator([day.toordinal() for day, _ in labelled]))
    axes.xaxis.set_major_formatter(FixedFormatter([label for _, label in labelled]))
    quiet_frame(axes)


def quiet_frame(axes: Axes) -> None:
    """Give the axes the note's look: values on the right, a hairline for each, no frame but the time axis."""
    axes.yaxis.tick_right()
    axes.tick_params(axis="both", colors=MUTED, length=2.5, pad=2.5)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="y", color="#b9c0c9", linewidth=0.5)
    for side in ("top", "left", "right"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color("#9aa3ae")
    axes.set_axisbelow(True)


def _ticks(low: float, high: float) -> list[float]:
    """Return round numbers for the axis, the coarsest ladder that has three of them; else the two ends."""
    for ladder in _TICKS:
        inside = [tick for tick in ladder if low <= tick <= high]
        if 3 <= len(inside) <= 7:
            return inside
    return [low, high]


def date_ticks(first: date, last: date) -> list[tuple[date, str]]:
    """Return at most eight first days of a year, or of a month where the years are too few, with their labels."""
    years = list(range(first.year + 1, last.year + 1))
    if len(years) >= 3:
        step = -(-len(years) // 8)
        ticks = [(date(year, 1, 1), str(year)) for year in years if (last.year - year) % step == 0]
        clear = 0.035 * (last - first).days  # a label at the very edge would be cut
        return [(day, label) for day, label in ticks if (day - first).days >= clear]
    count = (last.year - first.year) * 12 + last.month - first.month
    step = max(1, -(-count // 6))
    months = [divmod(first.year * 12 + first.month + i, 12) for i in range(0, count, step)]
    return [(date(year, month + 1, 1), f"{year}-{month + 1:02d}") for year, month in months]


def _inline(text: str) -> str:
    svg = text[text.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r'^<svg ([^>]*?)width="[^"]*" height="[^"]*"', r'<svg \1aria-hidden="true"', svg)
    svg = svg.replace("*{stroke", "svg *{stroke")  # a style element inside a page is the whole page's
    return re.sub(r"\n\s*", "\n", svg).strip()
