"""The step that turns a file of stocks into observations. Heavy imports wait until it runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from features.errors import DataContractError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from features.market import MarketSpec
    from features.sources.stocks import CrowdRead
    from features.store import Store


def named_stocks(spec: MarketSpec, stocks: Path | None, source: Path | None) -> Path | None:
    """Return the file of stocks that was named, else the definition's below the source; None where neither says."""
    if stocks is not None or source is None or spec.stocks is None or spec.stocks.file is None:
        return stocks
    return source / spec.stocks.file


def stock_file(spec: MarketSpec, stocks: Path | None, source: Path | None) -> Path | None:
    """Return the file of stocks that an ingestion reads: the one named, else the definition's where it exists.

    Raises
    ------
    DataContractError
        If a file is named and the market asks for no measure of stocks.
    """
    from features.sources.stocks import crowd_series

    wanted = crowd_series(spec)
    if stocks is not None and (not wanted or spec.simulated):
        raise DataContractError(f"`--stocks` says nothing to market {spec.name!r}, which declares no series of it")
    path = named_stocks(spec, stocks, source) if wanted else None
    return path if path is not None and (stocks is not None or path.exists()) else None


def crowd_observations(
    spec: MarketSpec, path: Path, store: Store, now: np.datetime64, *, strict: bool = False
) -> pd.DataFrame:
    """Measure the weeks that the store does not hold yet; says how many, and what is wrong with the file.

    Raises
    ------
    DataContractError
        As `features.sources.stocks.read_crowding`; in strict mode also if a cell is in quarantine.
    """
    from features.sources.stocks import read_crowding
    from serving.index_report import refuse_quarantine
    from serving.steps import progress_bars

    with progress_bars() as report:
        read = read_crowding(
            spec, path, now, store.newest(spec.name), progress=lambda done, total: report("crowding", done, total)
        )
    if strict:
        refuse_quarantine(read.findings)
    if read.decisions:
        _warn(read)
    note = " (survivors only)" if spec.stocks is not None and spec.stocks.survivors_only else ""
    typer.echo(f"{spec.name}: {read.weeks} new week(s) of crowding from {path}{note}")
    return read.observations


def _warn(read: CrowdRead) -> None:
    """Say on standard error what each check of the file found, with its first cell, and what is absent."""
    for check, rows in read.findings.groupby("check", sort=False):
        if rows["severity"].iloc[0] != "info":
            first = rows.iloc[0]
            where = f", the first {first['series']} {first['period']:%Y-%m-%d}" if first["series"] else ""
            typer.echo(f"warning: stocks: {check}: {len(rows)} finding(s){where}: {first['message']}", err=True)
    for name, reason in read.absent.items():
        typer.echo(f"warning: {name} is absent: {reason}", err=True)
