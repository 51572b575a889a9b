"""The registered models of a market and their moves, as tables for the terminal and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import TYPE_CHECKING, Any

from features.market import Schedule
from serving.plain_table import plain_table
from serving.registry import CHAMPION, Version

if TYPE_CHECKING:
    from rich.table import Table


def models_table(
    market: str, versions: Sequence[Version], schedule: Schedule, today: date, *, simulated: bool
) -> Table:
    """Return one row per version, newest first; the age is in weeks from the cut to today."""
    heads = ["version", "alias", "cut", "weeks old", "configuration", "snapshot", "commit", "run", "registered"]
    rows = []
    for version in versions:
        tags, age = version.tags, weeks_old(version, today)
        late = CHAMPION in version.aliases and age is not None and age > schedule.age_limits[0]
        rows.append([
            str(version.number), ", ".join(version.aliases), tags.get("cut", ""),
            "" if age is None else f"{age}{' (old)' if late else ''}", tags.get("config_hash", "")[:10],
            tags.get("snapshot_id", "")[:12], tags.get("git_commit", "")[:7], version.run_id[:8],
            f"{version.created:%Y-%m-%d}",
        ])  # fmt: skip
    return plain_table(f"{'SIMULATED ' if simulated else ''}Models of {market}", heads, rows)


def record_table(moves: Sequence[dict[str, Any]]) -> Table:
    """Return the promotions and rollbacks, newest first."""
    rows = [
        [
            str(move.get("time", "")), str(move.get("action", "")),
            f"{'none' if move.get('from_version') is None else move.get('from_version')} -> {move.get('to_version')}",
            str(move.get("by", "")), str(move.get("reason", "")),
        ]
        for move in reversed(moves)
    ]  # fmt: skip
    return plain_table("Promotions and rollbacks", ["time (UTC)", "move", "versions", "by", "reason"], rows)


def models_json(
    market: str, versions: Sequence[Version], moves: Sequence[dict[str, Any]], unfinished: bool
) -> dict[str, Any]:
    """Return the same as plain JSON types."""
    return {
        "market": market,
        "versions": [
            {
                "version": version.number, "run_id": version.run_id, "aliases": list(version.aliases),
                "registered": version.created.isoformat(), "tags": dict(version.tags),
            }
            for version in versions
        ],
        "moves": list(moves),
        "unfinished_move": unfinished,
    }  # fmt: skip


def weeks_old(version: Version, today: date) -> int | None:
    """Return the whole weeks from a version's cut to today; None where it has no cut."""
    try:
        return (today - date.fromisoformat(version.tags["cut"])).days // 7
    except (KeyError, ValueError):
        return None
