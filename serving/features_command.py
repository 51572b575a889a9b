"""`capshift features`: rows of features as `capshift score` reads them; heavy imports wait."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from features.errors import DataContractError
from serving.options import DEFAULT_ARTIFACTS, Artifacts, Market
from serving.steps import market_spec, parse_day, progress_bars


def features(
    out: Annotated[Path, typer.Option(help="Parquet.")],
    market: Market = "sample",
    first: Annotated[str | None, typer.Option("--from", help="First decision day; by default the newest only.")] = None,
    last: Annotated[str | None, typer.Option("--to", help="Last decision day; the newest by default.")] = None,
    artifacts: Artifacts = DEFAULT_ARTIFACTS,
) -> None:
    """Write the rows of features of a market's pairs, one a pair and decision day, as `capshift score` reads them.

    Reads ARTIFACTS/store.duckdb and ARTIFACTS/bundles, whose volatility says what the scenario sets imply; writes OUT.
    """
    import numpy as np

    from models.schedule import forecast_rows
    from serving.feature_table import feature_table
    from serving.opened_market import open_market
    from serving.output import write_parquet

    spec = market_spec(market)
    opened = open_market(spec, artifacts, last)
    start = opened.last if first is None else parse_day(first, "from")
    if start > opened.last:
        raise DataContractError(f"`from` must not be later than `to`; got {first} and {last or 'the newest decision'}")
    rows = forecast_rows(opened.dataset, opened.plan, start, None)
    with progress_bars() as progress:
        table = feature_table(opened, rows, progress)
    write_parquet(out, table)
    label = "SIMULATED " if spec.simulated else ""
    days = len(np.unique(table["decision_date"]))
    typer.echo(f"{label}{len(table)} rows of {days} decision(s) in {out}")
