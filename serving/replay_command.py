"""The command `capshift replay`. Heavy imports wait until it runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from serving.options import DEFAULT_ARTIFACTS, Artifacts, LedgerPlace, Market
from serving.steps import market_spec, parse_day

if TYPE_CHECKING:
    from serving.replay import Check
    from serving.replay_diff import Difference

_SHOWN = 20


def replay(
    as_of: Annotated[str, typer.Option(envvar="CAPSHIFT_AS_OF", help="Decision day YYYY-MM-DD.", show_default=False)],
    market: Market = "sample",
    artifacts: Artifacts = DEFAULT_ARTIFACTS,
    ledger: LedgerPlace = None,
    forecasts: Annotated[
        Path | None,
        typer.Option(help="Folder of DAY.json and .parquet; by default those of `forecast` and `backfill`."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, with every difference.")] = False,
) -> None:
    """Rebuild a published forecast from raw observations and its bundle, and say whether it is the same to the byte.

    Reads the forecast's files, LEDGER, ARTIFACTS/store.duckdb and bundles; writes nothing. Exit code 0 if identical, 4
    with what differs, old and new, and why.
    """
    from features.dataset import decision_day
    from serving.replay import replay as run_replay

    spec = market_spec(market)
    day = decision_day(spec, parse_day(as_of))
    found = run_replay(spec, artifacts, day, ledger, forecasts)
    if as_json:
        typer.echo(json.dumps(found.to_json(), ensure_ascii=False, indent=1, default=str))
    else:
        for check in found.checks:
            _print_check(check)
        verdict = "identical" if found.identical else "NOT identical"
        typer.echo(f"{'SIMULATED ' if spec.simulated else ''}replay {spec.name} {found.day}: {verdict}")
    if not found.identical:
        raise typer.Exit(4)


def _print_check(check: Check) -> None:
    if not check.differences:
        typer.echo(f"identical  {check.origin}")
        return
    typer.echo(f"differs    {check.origin}: {len(check.differences)} field(s)")
    for difference in check.differences[:_SHOWN]:
        typer.echo(f"  {_where(difference)}{difference.field}: {difference.old} -> {difference.new}")
    if len(check.differences) > _SHOWN:
        typer.echo(f"  ... and {len(check.differences) - _SHOWN} more; `--json` lists all")
    for cause in check.causes:
        typer.echo(f"  cause: {cause}")


def _where(difference: Difference) -> str:
    return "" if difference.pair is None else f"{difference.pair} {difference.horizon_weeks}w "
