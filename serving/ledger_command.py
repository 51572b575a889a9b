"""`capshift ledger`: show, verify and resolve the record of what was published; heavy imports wait for a command."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from features.errors import CapshiftError, LedgerError
from serving.options import DEFAULT_ARTIFACTS, Artifacts, LedgerPlace, Market
from serving.steps import market_spec, stored_decision, training_plan

if TYPE_CHECKING:
    import pandas as pd

    from features.market import MarketSpec
    from serving.ledger import Ledger
    from serving.ledger_verify import Verification

ledger = typer.Typer(
    name="ledger", help="The record of every published forecast, and what became of it.", rich_markup_mode=None
)


@ledger.command()
def show(
    market: Market = "sample",
    artifacts: Artifacts = DEFAULT_ARTIFACTS,
    ledger: LedgerPlace = None,
    last: Annotated[int, typer.Option(min=1, help="How many decision days to list.")] = 4,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """List recent calls, and the record against climatology, persistence and momentum, live and backfilled apart.

    Reads LEDGER, which it verifies first, and ARTIFACTS/store.duckdb for persistence and momentum; writes nothing.
    """
    from serving.ledger_read import first_calls, recorded_forecasts
    from serving.ledger_view import ledger_json, render_ledger
    from training.live_record import live_record

    spec = market_spec(market)
    book = _ledger(ledger, artifacts)
    _verified(book)
    recorded = recorded_forecasts(book, spec.name)
    if recorded.empty:
        typer.echo(f"{book.database.name}: no forecast of market {spec.name!r} is recorded yet")
        return
    firsts = first_calls(recorded)
    record = live_record(firsts, {})
    if record["noise_floor"].notna().any():
        record = live_record(firsts, _baselines(spec, artifacts))
    days = sorted(recorded["decision_date"].unique())[-last:]
    calls = recorded[recorded["decision_date"].isin(days)].sort_values(
        ["decision_date", "pair", "horizon_weeks", "sequence"]
    )
    if as_json:
        typer.echo(json.dumps(ledger_json(spec.name, calls, record), ensure_ascii=False, indent=1, allow_nan=False))
        return
    from rich.console import Console

    Console(width=None if sys.stdout.isatty() else 120).print(render_ledger(spec.name, recorded, calls, record))


@ledger.command()
def verify(
    artifacts: Artifacts = DEFAULT_ARTIFACTS,
    ledger: LedgerPlace = None,
    head: Annotated[
        Path | None,
        typer.Option(help="A copy of the head file kept elsewhere; by default the one beside the ledger."),
    ] = None,
) -> None:
    """Recompute every record of all markets, follow every link and hold the end against the head file.

    Reads LEDGER and its head file; writes nothing. Exit code 4 names the first record that was edited, taken out, moved
    or put in. Records cut off the end are found as far as the head file, or a copy of it, knows them.
    """
    done = _verified(_ledger(ledger, artifacts), head)
    typer.echo(f"verified: {done.head.line()}; {done.backfilled} backfilled, {done.revisions} revision(s)")
    if done.head_state == "behind":
        typer.echo("the head is that of an earlier time: what was cut off after it could not be found")


@ledger.command()
def resolve(market: Market = "sample", artifacts: Artifacts = DEFAULT_ARTIFACTS, ledger: LedgerPlace = None) -> None:
    """Record the outcome of every forecast that has matured, each once.

    Reads LEDGER, which it verifies first, and ARTIFACTS/store.duckdb; writes outcomes to LEDGER.
    """
    from serving.forecast import dataset_for
    from serving.ledger_outcomes import matured_outcomes
    from serving.ledger_read import recorded_forecasts
    from serving.ledger_step import utc_now

    spec = market_spec(market)
    book = _ledger(ledger, artifacts)
    _verified(book)
    observations, day = stored_decision(spec, artifacts, None)
    recorded = recorded_forecasts(book, spec.name)
    done = book.resolve(matured_outcomes(spec, dataset_for(spec, observations, day), recorded), utc_now())
    left = int(recorded["matured_at"].isna().sum()) - done.added
    typer.echo(f"ledger: {done.added} outcome(s) recorded, {max(left, 0)} forecast(s) open; head: {done.head.line()}")


def _ledger(location: str | None, artifacts: Path) -> Ledger:
    from serving.ledger import Ledger

    return Ledger(location, artifacts)


def _verified(book: Ledger, head: Path | None = None) -> Verification:
    """Verify a ledger; a missing head file costs a warning.

    Raises
    ------
    LedgerError
        With the first bad record.
    """
    from serving.ledger_verify import verify as run_verify

    done = run_verify(book, head)
    if done.finding is not None:
        where = done.finding.chain if done.finding.chain != "head" else "end of the chains"
        raise LedgerError(
            f"{book.database.name}: {where}: {done.finding.message}; restore a backup that verifies and publish again"
        )
    if done.head_state == "missing":
        typer.echo(f"warning: {book.head_path} is not there: records cut off the end cannot be found", err=True)
    return done


def _baselines(spec: MarketSpec, artifacts: Path) -> dict[str, pd.DataFrame]:
    """Return persistence and momentum, walked forward over the store; without one a warning and neither."""
    from features.contracts import EVENTS
    from models.climatology import climatology
    from models.schedule import refit_cuts
    from serving.forecast import dataset_for
    from training.baselines import baseline_forecasts

    try:
        dataset = dataset_for(spec, *stored_decision(spec, artifacts, None))
        base = climatology(dataset)[list(EVENTS)].set_axis([f"p_{event}_base" for event in EVENTS], axis=1)
        cuts = refit_cuts(dataset, training_plan(spec))
        return baseline_forecasts(dataset, base, cuts, names=("persistence", "momentum"))
    except CapshiftError as error:
        typer.echo(f"warning: persistence and momentum are left out: {error}", err=True)
        return {}
