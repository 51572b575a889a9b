"""The ledger for the terminal and as JSON: recent calls with their outcomes, and the record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from features.contracts import EVENTS
from serving.plain_table import plain_table

if TYPE_CHECKING:
    from rich.console import Group, RenderableType

_SHOWN = (
    "market", "pair", "decision_date", "entry_date", "exit_date", "horizon_weeks", "style_in_force",
    *(f"p_{event}{suffix}" for event in EVENTS for suffix in ("", "_base")),
    "validity", "simulated", "revision", "backfilled", "recorded_at", "matured_at", "spread_realised",
    *(f"y_{event}" for event in EVENTS), "sequence", "hash",
)  # fmt: skip


def ledger_json(market: str, calls: pd.DataFrame, record: pd.DataFrame) -> dict[str, Any]:
    """Return recent calls and record for ``json.dumps``; what is missing is null."""
    return {
        "market": market,
        "simulated": bool(calls["simulated"].any()),
        "calls": [_plain(row) for row in calls[list(_SHOWN)].to_dict("records")],
        "record": [_plain(row) for row in record.to_dict("records")],
    }


def render_ledger(market: str, recorded: pd.DataFrame, calls: pd.DataFrame, record: pd.DataFrame) -> Group:
    """Return everything for ``rich.console.Console.print``.

    Parameters
    ----------
    market : str
    recorded : pandas.DataFrame
        Every recorded forecast of the market (`serving.ledger_read.recorded_forecasts`).
    calls : pandas.DataFrame
        Those of it to be listed.
    record : pandas.DataFrame
        As `training.live_record.live_record`.
    """
    from rich.console import Group
    from rich.text import Text

    label = "SIMULATED " if recorded["simulated"].any() else ""
    live, resolved = int((~recorded["backfilled"]).sum()), int(recorded["matured_at"].notna().sum())
    counts = (
        f"{len(recorded)} call(s): {live} live, {len(recorded) - live} backfilled (recorded after the close of the "
        f"entry day), {int((recorded['revision'] > 0).sum())} revision(s); {resolved} resolved, "
        f"{len(recorded) - resolved} open."
    )
    names = ["pair", "decision", "weeks", "in force", "switch", "large wins", "crash", "recorded", "outcome"]
    table = plain_table(f"{label}Ledger, market {market}: recent calls", names, [_call(row) for row in _rows(calls)])
    key = (
        "Probability in percent (base rate). Recorded: live or backfilled, r1 the first revision. Outcome: what "
        "happened of switch, large wins, crash, and the size spread in percent."
    )
    return Group(table, Text(key, style="dim"), Text(counts), *_record(label, record))


def _record(label: str, record: pd.DataFrame) -> list[RenderableType]:
    """Return one table or one sentence for each kind of call."""
    from rich.text import Text

    parts: list[RenderableType] = []
    for kind, rows in record.groupby("kind", sort=False):
        told = [row for row in _rows(rows) if np.isfinite(row["noise_floor"])]
        if told:
            names = ["event", "weeks", "n", "base rate", "noise", "climatology", "persistence", "momentum"]
            title = f"{label}Record of {kind} calls: log-loss skill in percent against each, 90% interval"
            parts.append(plain_table(title, names, [_scored(row) for row in told]))
        short = {
            int(row["horizon_weeks"]): f"{row['horizon_weeks']}-week calls: {row['n_weeks']} of {row['needed_weeks']}"
            for row in _rows(rows)
            if not np.isfinite(row["noise_floor"])
        }
        if short:
            parts.append(
                Text(
                    f"{label}{str(kind).capitalize()} calls: nothing can be said yet of the skill of "
                    f"{'; '.join(short.values())} decision weeks matured."
                )
            )
    return parts


def _call(row: Mapping[str, Any]) -> Sequence[str]:
    kind = "backfilled" if row["backfilled"] else "live"
    if row["revision"]:
        kind += f" r{row['revision']}"
    chances = [_percent(row[f"p_{event}"], row[f"p_{event}_base"]) for event in EVENTS]
    outcome = "open"
    if not pd.isna(row["matured_at"]):
        happened = [event for event in EVENTS if row[f"y_{event}"] == 1]
        outcome = f"{', '.join(happened) or 'none'} {100 * row['spread_realised']:+.1f}"
    day = f"{row['decision_date']:%Y-%m-%d}"
    return [row["pair"], day, str(row["horizon_weeks"]), row["style_in_force"], *chances, kind, outcome]


def _percent(chance: float, base: float) -> str:
    return f"{'abstains' if np.isnan(chance) else f'{100 * chance:.0f}'} ({100 * base:.0f})"


def _scored(row: Mapping[str, Any]) -> Sequence[str]:
    cells = [str(row["event"]), str(row["horizon_weeks"]), str(row["n"])]
    cells += [f"{100 * row['base_rate']:.1f}", f"{100 * row['noise_floor']:.1f}"]
    for rival in ("climatology", "persistence", "momentum"):
        low, middle, high = (100 * row[f"{rival}_{part}"] for part in ("low", "skill", "high"))
        cells.append(f"{middle:+.1f} [{low:+.1f}, {high:+.1f}]" if np.isfinite(middle) else "not known")
    return cells


def _rows(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(name): value for name, value in row.items()} for row in frame.to_dict("records")]


def _plain(row: Mapping[Any, Any]) -> dict[str, Any]:
    """Return a row of plain values: times as ISO text in UTC, days as days."""
    plain: dict[str, Any] = {}
    for name, value in row.items():
        if pd.isna(value):
            plain[str(name)] = None
        elif isinstance(value, pd.Timestamp):
            plain[str(name)] = f"{value:%Y-%m-%d}" if str(name).endswith("_date") else f"{value.isoformat()}Z"
        else:
            plain[str(name)] = value
    return plain
