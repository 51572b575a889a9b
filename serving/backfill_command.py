"""The command `capshift backfill`. Heavy imports wait until it runs."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from serving.options import DEFAULT_ARTIFACTS, Artifacts, Jobs, Market, RecordIn
from serving.steps import market_spec, open_store, parse_day, progress_bars

if TYPE_CHECKING:
    import numpy as np

    from features.contracts import TimeArray
    from serving.opened_market import OpenedMarket

_MISSING = {"refused": 2, "no_close": 5, "no_decision": 5, "no_history": 5}
"""Exit codes of days that have no forecast, the graver first."""


def backfill(
    start: Annotated[str, typer.Option("--from", help="First day, YYYY-MM-DD.", show_default=False)],
    market: Market = "sample",
    artifacts: Artifacts = DEFAULT_ARTIFACTS,
    end: Annotated[
        str | None, typer.Option("--to", help="Last day, YYYY-MM-DD; the newest decision by default.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder; ARTIFACTS/backfill by default.")] = None,
    jobs: Jobs = 2,
    backend: Annotated[str, typer.Option(help="loky, threading, multiprocessing, spark, dask or ray.")] = "loky",
    ledger: RecordIn = None,
) -> None:
    """Forecast every decision day of a span with the bundle in force at that day; run again to go on after a kill.

    Reads ARTIFACTS/store.duckdb; writes OUT/MARKET/DAY.json, .parquet and .sha256 as `capshift score` does, bundles
    that are missing, and LEDGER where one is named, flagged as backfilled. Days that are there already, made from the
    same data, bundle, settings and code, are kept. Exit code 2 if a day was refused, 5 if one has no forecast: it had
    no close, was no decision day as far as was known then, or came before the headline pair was old enough.
    """
    from models.schedule import day_text
    from serving.backends import check_backend
    from serving.backfill import BackfillJob, run_backfill, span_days
    from serving.day_files import DayFiles, sweep
    from serving.ledger_step import record_backfilled
    from serving.lock import output_lock
    from serving.output import backfill_folder

    check_backend(backend)
    spec = market_spec(market)
    first, target = parse_day(start, "from"), out or backfill_folder(artifacts)
    with output_lock(target / spec.name):
        sweep(target, spec.name)
        opened = open_span(market, artifacts, first, end)
        days = span_days(opened, first)
        _train_missing(opened, days, jobs)
        job = BackfillJob.of(opened, market, target)
        count: Counter[str] = Counter()
        without, recorded = [], Counter[str]()
        with progress_bars() as progress:
            for number, done in enumerate(run_backfill(opened, days, job, jobs, backend), start=1):
                count[done.outcome] += 1
                if done.outcome in _MISSING:
                    without.append(done)
                elif ledger is not None:
                    rows = DayFiles(target, spec.name, done.day).rows()
                    recorded.update(record_backfilled(spec, rows, ledger, artifacts))
                progress("backfill", number, len(days))
    label = "SIMULATED " if spec.simulated else ""
    typer.echo(
        f"{label}backfill {spec.name}: {len(days)} day(s) from {day_text(days[0])} to {day_text(days[-1])}: "
        + ", ".join(f"{number} {outcome}" for outcome, number in sorted(count.items()))
    )
    if ledger is not None:
        typer.echo(f"ledger: {', '.join(f'{number} {what}' for what, number in recorded.items())}")
    for done in without:
        typer.echo(f"{done.day}: {done.outcome}: {done.why}", err=True)
    for outcome, code in _MISSING.items():
        if count[outcome]:
            raise typer.Exit(code)


def open_span(market: str, artifacts: Path, first: np.datetime64, end: str | None) -> OpenedMarket:
    """Open a market up to the last decision of a span.

    Raises
    ------
    DataContractError, StaleDataError, LockedError
        As `serving.opened_market.open_market`; also if the span holds no decision.
    """
    import numpy as np

    from features.dataset import market_calendar
    from features.errors import DataContractError
    from models.schedule import day_text
    from serving.opened_market import open_market

    spec = market_spec(market)
    if end is None:
        return open_market(spec, artifacts)
    last = parse_day(end, "to")
    calendar = market_calendar(spec, last)
    decisions = calendar.decisions()
    inside = decisions[(decisions >= first) & (decisions <= last)]
    if spec.schedule.sessions is not None:
        # A decision of the calendar on which the market turned out to be closed has no forecast, and ends no span.
        stored = open_store(artifacts).observations(spec.name)
        periods = stored.loc[stored["series"] == spec.schedule.sessions, "period"].to_numpy("datetime64[us]")
        newest = periods.max() if len(periods) else first
        inside = inside[np.isin(inside, periods) | (inside > newest)]
    if not len(inside):
        raise DataContractError(
            f"`from` and `to` must span a decision day; there is none from {day_text(first)} to {end}"
        )
    return open_market(spec, artifacts, day_text(inside[-1]))


def _train_missing(opened: OpenedMarket, days: TimeArray, jobs: int) -> None:
    """Train the bundles in force on some days that are not there, and all before them that they learn from."""
    from models.schedule import bundle_root, refit_cuts
    from serving.opened_market import missing_bundles

    missing = missing_bundles(opened, days)
    if not missing:
        return
    from training.chain import train_chain

    typer.echo(f"training: {len(missing)} bundle(s) in force are not there yet", err=True)
    cuts = refit_cuts(opened.dataset, opened.plan)
    root = bundle_root(opened.artifacts, opened.spec.name, opened.plan)
    with progress_bars() as progress:
        train_chain(opened.dataset, opened.plan, cuts[cuts <= max(missing)], root, jobs=jobs, progress=progress)
