"""The command `capshift crowding`. Heavy imports wait until it runs."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer

from serving.options import DEFAULT_ARTIFACTS, Artifacts, AsOf, Lang, Market
from serving.steps import market_spec, stored_decision


def crowding(
    market: Market = "sample",
    artifacts: Artifacts = DEFAULT_ARTIFACTS,
    as_of: AsOf = None,
    lang: Lang = "en",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Say how crowded the small-cap trade is, and what an unwind would cost: page, JSON and terminal table.

    Reads ARTIFACTS/store.duckdb; writes ARTIFACTS/MARKET/crowding/DAY.LANG.html and DAY.json. Measures of single stocks
    are there once `capshift ingest` has read a stock file (`--stocks`, or the file that the definition names).
    """
    from rich.console import Console

    from serving.crowding import crowding_report
    from serving.forecast import dataset_for
    from serving.output import crowding_path, write_text
    from serving.report.crowding_page import crowding_table, render_crowding

    spec = market_spec(market)
    observations, day = stored_decision(spec, artifacts, as_of)
    report = crowding_report(spec, observations, dataset_for(spec, observations, day), day)
    name = str(report.decision_date)
    text = json.dumps(report.to_json(), ensure_ascii=False, indent=1, allow_nan=False)
    write_text(crowding_path(artifacts, spec.name, f"{name}.json"), text + "\n")
    page = write_text(crowding_path(artifacts, spec.name, f"{name}.{lang}.html"), render_crowding(report, lang))
    if as_json:
        typer.echo(text)
        return
    Console(width=None if sys.stdout.isatty() else 120).print(crowding_table(report, lang))
    typer.echo(f"page: {page}")
