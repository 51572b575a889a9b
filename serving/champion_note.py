"""What the registry last said of a market's champion, noted beside the products: scoring asks no registry."""

from __future__ import annotations

import json
from pathlib import Path

from serving.registry import CHAMPION, Registry


def champion_path(artifacts: Path, market: str) -> Path:
    """Return the file of the note."""
    return artifacts / market / "champion.json"


def note_champion(registry: Registry, artifacts: Path, market: str) -> None:
    """Write down which version is the champion now, its configuration and its cut.

    Raises
    ------
    DataContractError
        If the registry does not answer or the file cannot be written.
    """
    from serving.output import write_text

    for version in registry.versions(market):
        if CHAMPION in version.aliases:
            facts = {"version": version.number, **{key: version.tags.get(key, "") for key in ("config_hash", "cut")}}
            write_text(champion_path(artifacts, market), json.dumps(facts, indent=1))


def champion_warning(artifacts: Path, market: str, config_hash: str) -> str:
    """Return what to say of a forecast whose configuration is not the noted champion's; empty where it is."""
    try:
        noted = json.loads(champion_path(artifacts, market).read_text(encoding="utf-8"))
        champion, version = str(noted["config_hash"]), int(noted["version"])
    except (OSError, ValueError, KeyError, TypeError):
        # No note, no warning: nothing here may stop a forecast.
        return ""
    if champion == config_hash:
        return ""
    return (
        f"this forecast is made by configuration {config_hash}, not by the champion's, {champion} (version {version}): "
        f"`capshift promote --market {market}` holds it to the gate"
    )
