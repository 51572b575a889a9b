"""A comparison of two decision days as tables for the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from features.contracts import EVENTS, HORIZONS
from models.change import STEPS
from serving.plain_table import plain_table

if TYPE_CHECKING:
    from rich.table import Table

    from models.change import EventChange
    from serving.compare import Comparison

_MAIN_HORIZON = 4


def comparison_tables(found: Comparison, pair: str) -> list[Table | str]:
    """Return head, the steps of every probability, and the families behind those of one pair, for ``Console.print``.

    Parameters
    ----------
    found : Comparison
    pair : str
        The pair that comes first, and whose families are shown.
    """
    parts: list[Table | str] = [_head(found)]
    order = sorted({change.pair for change in found.changes}, key=lambda name: name != pair)
    for name in order:
        own = [change for change in found.changes if change.pair == name]
        parts.append(_steps(found, name, own))
        if name == pair:
            parts += [
                _families(change)
                for event in EVENTS
                for change in own
                if change.event == event and change.horizon_weeks == _MAIN_HORIZON
            ]
    parts += [f"left out: {why}" for why in found.left_out.values()]
    return parts


def _head(found: Comparison) -> str:
    label = "SIMULATED " if found.simulated else ""
    same = found.cuts[0] == found.cuts[1]
    model = f"the bundle of {found.cuts[0]} on both" if same else f"bundles of {found.cuts[0]} and {found.cuts[1]}"
    named = f" in {', '.join(found.revised_series)}" if found.revised_series else ""
    return (
        f"{label}{found.market}: {found.first} to {found.second}; {found.new} new observation(s), {found.revised} "
        f"revised value(s){named}; {model}; probability points, +1.0 is one percent more likely\n"
    )


def _steps(found: Comparison, pair: str, changes: list[EventChange]) -> Table:
    before, after = found.styles[pair]
    style = f"style {before}" if before == after else f"style {before} -> {after}"
    of = {(change.horizon_weeks, change.event): change for change in changes}
    ordered = [of[horizon, event] for horizon in HORIZONS for event in EVENTS]
    rows = [
        (
            f"{change.event} {change.horizon_weeks}w", f"{100 * change.before:.1f}%",
            *(_points(step.points) for step in change.steps),
            f"{100 * change.after:.1f}%", _points(change.after - change.before),
        )
        for change in ordered
    ]  # fmt: skip
    return plain_table(f"{pair}, {style}", ("", found.first, *STEPS, found.second, "change"), rows)


def _families(change: EventChange) -> Table:
    total = change.families()
    shown = [name for name, points in total.items() if any(abs(s.family_points[name]) > 0 for s in change.steps)]
    shown.sort(key=lambda name: -abs(total[name]))
    rows = [
        (name, *(_points(step.family_points[name]) for step in change.steps), _points(total[name])) for name in shown
    ]
    rows.append(("sum", *(_points(step.points) for step in change.steps), _points(change.after - change.before)))
    return plain_table(f"{change.pair} {change.event} {change.horizon_weeks}w by family", ("", *STEPS, "change"), rows)


def _points(value: float) -> str:
    text = f"{100 * value:+.2f}"
    return "0" if float(text) == 0 else text
