"""`capshift article`: the claims of late 2023 beside the figures; heavy imports wait until the command runs."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from features.errors import DataContractError
from serving.options import DEFAULT_ARTIFACTS, Artifacts, Market, Source, Stocks
from serving.steps import decision_of, market_spec, open_store
from serving.stock_step import named_stocks

if TYPE_CHECKING:
    import pandas as pd

    from features.market import MarketSpec


def article(
    market: Market = "cn",
    source: Source = None,
    artifacts: Artifacts = DEFAULT_ARTIFACTS,
    as_of: Annotated[
        str | None,
        typer.Option(envvar="CAPSHIFT_AS_OF", help="Decision day YYYY-MM-DD; the day of the claims by default."),
    ] = None,
    stocks: Stocks = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    out: Annotated[Path | None, typer.Option(help="Also write the page, markdown.", show_default=False)] = None,
) -> None:
    """Check the claims of late 2023: each with its tolerance, the figure from data, and whether the two agree.

    Reads SOURCE and STOCKS, or ARTIFACTS/store.duckdb where no source is named; without `--as-of` the day of the
    claims. Writes OUT, where one is named. A figure that lacks its data says so and leaves its claim unchecked.
    """
    from serving.article import article_markdown, check_claims
    from serving.article_data import ArticleData
    from serving.article_table import render_article
    from serving.claim_spec import load_claims
    from serving.output import write_text

    spec = market_spec(market)
    claims = load_claims(spec.name)
    if out is not None and out.is_dir():
        raise DataContractError(f"`--out` must be a file; {out} is a folder")
    observations = _observations(spec, source, artifacts)
    day = decision_of(spec, observations, as_of or claims.as_of.isoformat())
    path = named_stocks(spec, stocks, source)
    held = path if path is not None and (stocks is not None or path.is_file()) else None
    found = check_claims(claims, ArticleData(spec, observations, day, held))
    if out is not None:
        given = {"source": source, "stocks": stocks, "as-of": as_of, "out": out}
        options = " ".join(f"--{name} {value}" for name, value in given.items() if value is not None)
        write_text(out, article_markdown(found, f"capshift article --market {market} {options}"))
    if as_json:
        typer.echo(json.dumps(found.to_json(), ensure_ascii=False, indent=1, allow_nan=False))
        return
    from rich.console import Console

    Console(width=None if sys.stdout.isatty() else 120).print(render_article(found))


def _observations(spec: MarketSpec, source: Path | None, artifacts: Path) -> pd.DataFrame:
    """Read a data root as it lies there, or the store."""
    if source is None:
        return open_store(artifacts).observations(spec.name)
    from datetime import UTC, datetime

    import numpy as np

    from features.sources.folder import read_folder

    now = np.datetime64(datetime.now(UTC).replace(tzinfo=None), "us")
    return read_folder(spec, source, now).observations
