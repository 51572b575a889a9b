"""Drawing of where small minus large may go from entry on, in the look of the note's other chart."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedFormatter, FixedLocator, FuncFormatter

from serving.record import Fan
from serving.report.charts import ACCENT, INK, drawing, quiet_frame
from serving.report.figures import fixed
from serving.report.view import weekly_points

OUTER, INNER = "#dde6ef", "#a9c2d9"
_STEPS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0)
_MOST_TICKS = 6


def fan_chart(fan: Fan) -> str:
    """Return the fan: bands of the tilted paths, their median, and the outer quantiles of the untilted paths dashed.

    Parameters
    ----------
    fan : Fan
        Quantiles of the log return after each session, the entry first.

    Returns
    -------
    str
        As `drawing`; sessions lie at equal distances. Empty when there is none after the entry.
    """
    return "" if len(fan.sessions) < 2 else drawing(lambda axes: _draw(axes, fan))


def _draw(axes: Axes, fan: Fan) -> None:
    tilted, untilted = np.array(fan.tilted, dtype=np.float64).T, np.array(fan.untilted, dtype=np.float64).T
    at = np.arange(len(fan.sessions))
    axes.fill_between(at, tilted[0], tilted[4], color=OUTER, linewidth=0, zorder=1)
    axes.fill_between(at, tilted[1], tilted[3], color=INNER, linewidth=0, zorder=1.1)
    axes.axhline(0.0, color="#7b8794", linewidth=0.7, zorder=2)
    for line in untilted:
        axes.plot(at, line, color=ACCENT, linewidth=1.1, dashes=(3, 2), zorder=3)
    axes.plot(at, tilted[2], color=INK, linewidth=1.4, solid_joinstyle="round", zorder=4)
    axes.plot([0], [0.0], "o", color=INK, markersize=4, zorder=5)

    low, high = float(min(tilted.min(), untilted.min())), float(max(tilted.max(), untilted.max()))
    room = 0.04 * max(high - low, 1e-6)
    axes.set_ylim(low - room, high + room)
    step = next((s for s in _STEPS if (high - low) / s < _MOST_TICKS), _STEPS[-1])
    decimals = 1 if step < 0.01 else 0
    axes.yaxis.set_major_locator(FixedLocator(list(step * np.arange(np.ceil(low / step), np.floor(high / step) + 1))))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: fixed(100.0 * value, decimals, signed=True) + "%"))
    ticks = [0, *weekly_points(fan)]
    axes.set_xlim(-0.035 * at[-1], at[-1] * 1.012)
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_major_formatter(FixedFormatter([f"{fan.sessions[tick]:%m-%d}" for tick in ticks]))
    quiet_frame(axes)
