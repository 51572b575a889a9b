"""The command `capshift score`: one decision day of a market, as a job that nobody watches. Heavy imports wait."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from serving.options import DEFAULT_ARTIFACTS, Artifacts, AsOf, Market

Out = Annotated[Path, typer.Option(help="Folder of the forecasts.")]
RecordIn = Annotated[
    str | None,
    typer.Option(help="Ledger to record the forecast in; by default it is not recorded.", envvar="CAPSHIFT_LEDGER"),
]


def score(
    market: Market = "sample",
    as_of: AsOf = None,
    out: Out = Path("forecasts"),
    artifacts: Artifacts = DEFAULT_ARTIFACTS,
    ledger: RecordIn = None,
) -> None:
    """Check a decision day and forecast it with the bundle in force; it never trains, and same inputs give same bytes.

    Reads ARTIFACTS/store.duckdb and ARTIFACTS/bundles; writes OUT/MARKET/DAY.json, .parquet and .sha256, and LEDGER
    where one is named. Exit code 5 if the headline pair abstains.
    """
    from serving.market_score import score_market

    if code := score_market(market, as_of, out, artifacts, ledger=ledger):
        raise typer.Exit(code)
