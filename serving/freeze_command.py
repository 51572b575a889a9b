"""`capshift evaluate freeze`: the present configuration of a market, written down before sealed data are opened."""

from __future__ import annotations

from typing import Annotated

import typer

from serving.options import DEFAULT_ARTIFACTS, Artifacts, FrozenFile, Market, TrackingUri
from serving.steps import market_spec, training_plan


def freeze(
    market: Market = "sample",
    artifacts: Artifacts = DEFAULT_ARTIFACTS,
    frozen: FrozenFile = None,
    rival: Annotated[list[str] | None, typer.Option(help="Baseline to be held against; may be repeated.")] = None,
    again: Annotated[bool, typer.Option("--again", help="Add an entry to a market that has one.")] = False,
    tracking_uri: TrackingUri = None,
) -> None:
    """Write the present configuration of a market down as the one that sealed data will examine.

    Reads settings, definition, code, the rules of configs/targets.toml and the logged looks; writes FROZEN.
    """
    from datetime import UTC, datetime

    from serving.output import write_text
    from serving.registry import tracking_uri as place
    from training.freeze import Declared
    from training.freeze import freeze as frozen_entry
    from training.frozen import FROZEN, frozen_text, load_frozen
    from training.tracking_evaluation import earlier_looks

    spec = market_spec(market)
    path = frozen or FROZEN
    entries = load_frozen(path)
    looks = earlier_looks(spec.name, tracking_uri or place(artifacts))
    declared = Declared(datetime.now(UTC).date(), looks, tuple(rival or ()))
    entry = frozen_entry(spec, training_plan(spec), declared, entries, again=again)
    write_text(path, frozen_text([*entries, entry]))
    typer.echo(f"{spec.name}: entry {entry.number}, {entry.hash}, {entry.window} sealed; written to {path}")
    if len(looks) > 1:
        typer.echo(f"warning: {len(looks)} looks beyond the design years are logged; one was meant", err=True)
