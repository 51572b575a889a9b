"""The command `capshift compare`: two decision days, or two runs. Heavy imports wait until it runs."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from features.errors import DataContractError
from serving.options import DEFAULT_ARTIFACTS, Artifacts, Market, Pair
from serving.steps import market_spec, parse_day

if TYPE_CHECKING:
    pass

_RUN = "run:"


def compare(
    first: Annotated[str, typer.Argument(help="Decision day YYYY-MM-DD, or run:ID.", show_default=False)],
    second: Annotated[str, typer.Argument(help="A later decision day, or run:ID.", show_default=False)],
    market: Market = "sample",
    artifacts: Artifacts = DEFAULT_ARTIFACTS,
    pair: Pair = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """Say why probabilities moved between two days: data moved, revised, model retrained, recalibrated.

    The parts add up exactly, by step and by family of drivers. PAIR leads the tables. With run:A run:B two runs of the
    tracking server are compared instead. Reads ARTIFACTS/store.duckdb, bundles and stored forecasts; writes nothing.
    """
    runs = [text.startswith(_RUN) for text in (first, second)]
    if all(runs):
        from serving.run_compare import compare_runs

        typer.echo(compare_runs(first.removeprefix(_RUN), second.removeprefix(_RUN), artifacts))
        return
    if any(runs):
        raise DataContractError(f"compare two days or two runs, not one of each; got {first!r} and {second!r}")
    from rich.console import Console

    from features.dataset import decision_day
    from serving.compare import compare_days
    from serving.compare_tables import comparison_tables
    from serving.opened_market import open_market

    spec = market_spec(market)
    if pair is not None and pair not in spec.pairs:
        raise DataContractError(f"`pair` must be one of {', '.join(spec.pairs)}; got {pair!r}")
    day = decision_day(spec, parse_day(first, "first"))
    found = compare_days(open_market(spec, artifacts, second), day)
    for warning in found.warnings:
        typer.echo(f"warning: {warning}", err=True)
    if as_json:
        typer.echo(json.dumps(found.to_json(), ensure_ascii=False, indent=1, allow_nan=False))
        return
    console = Console(width=None if sys.stdout.isatty() else 120)
    for part in comparison_tables(found, pair or found.headline):
        console.print(part)
