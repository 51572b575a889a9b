"""The command `capshift preflight`. Heavy imports wait until it runs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from serving.options import DEFAULT_ARTIFACTS, Artifacts, AsOf, Market
from serving.steps import market_spec

if TYPE_CHECKING:
    from serving.preflight import Preflight


def preflight(
    market: Market = "sample",
    artifacts: Artifacts = DEFAULT_ARTIFACTS,
    as_of: AsOf = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of lines.")] = False,
) -> None:
    """Say whether a day may be scored: stale, missing, dead or redefined series, revisions, distance from training.

    Reads ARTIFACTS/store.duckdb and ARTIFACTS/bundles; writes nothing. Exit code 0 to go on, 5 to abstain, 2 to refuse.
    """
    from serving.opened_market import open_market
    from serving.preflight import preflight as run_preflight

    opened = open_market(market_spec(market), artifacts, as_of)
    found = run_preflight(opened, opened.last)
    if as_json:
        typer.echo(json.dumps(found.to_json(), ensure_ascii=False, indent=1))
    else:
        print_findings(found, "error", "warning", "info")
        typer.echo(found.line())
    if found.exit_code:
        raise typer.Exit(found.exit_code)


def print_findings(found: Preflight, *severities: str, err: bool = False) -> None:
    """Print the findings of some severities, one a line."""
    for severity in severities:
        for finding in found.of(severity):
            period = "" if finding.period is None else f" {finding.period:%Y-%m-%d}"
            typer.echo(f"{severity:<8} {finding.check:<17} {finding.series}{period}: {finding.message}", err=err)
