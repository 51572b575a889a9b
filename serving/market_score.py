"""Score one decision day of a market into an output folder: the batch job of the night. It never trains."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from serving.day_files import DayFiles, sweep
from serving.lock import output_lock
from serving.steps import market_spec

if TYPE_CHECKING:
    from serving.forecast import Call


def score_market(market: str, as_of: str | None, out: Path, artifacts: Path, *, ledger: str | None = None) -> int:
    """Check a day, forecast it with the bundle in force and write OUT/MARKET/DAY.json, .parquet and .sha256.

    The same inputs give the same bytes, whatever the clock, the time zone and the number of threads; files that are
    there already are left alone.

    Parameters
    ----------
    market : str
        Built-in market or path of a definition.
    as_of : str, optional
        Decision day YYYY-MM-DD; by default the newest with prices.
    out : Path
    artifacts : Path
        Holds store and bundles.
    ledger : str, optional
        Where to record the forecast; by default it is not recorded.

    Returns
    -------
    int
        0, or 5 where the headline pair abstains; that is written and recorded, too.

    Raises
    ------
    DataContractError
        If the preflight refuses the day, the bundle in force was not trained, or store or output cannot be used.
    StaleDataError
        If no close of the headline pair was known.
    LockedError
        If another job writes this market's folder, or holds the store.
    BundleError, LedgerError
        If bundle or ledger are damaged.

    Information set: rows with known_at <= the decision.
    """
    from models.schedule import day_text
    from serving.ledger_step import record_forecast
    from serving.opened_market import open_market
    from serving.preflight import preflight
    from serving.preflight_command import print_findings

    spec = market_spec(market)
    with output_lock(out / spec.name):
        sweep(out, spec.name)
        opened = open_market(spec, artifacts, as_of)
        found = preflight(opened, opened.last)
        print_findings(found, "error", "warning", err=True)
        typer.echo(found.line())
        found.require()
        call = opened.call(opened.last)
        files = DayFiles(out, spec.name, day_text(opened.last))
        what = files.write(call)
        typer.echo(f"{'SIMULATED ' if spec.simulated else ''}score: {files.path('json')} {what}")
        if ledger is not None:
            record_forecast(spec, call.rows, ledger, artifacts, files.path("parquet"))
    reasons = lead_reasons(call)
    if reasons is None:
        return 0
    typer.echo(f"abstained: {reasons}", err=True)
    return 5


def lead_reasons(call: Call) -> str | None:
    """Return why the headline pair abstains at four weeks; None where it does not."""
    lead = call.forecast.pair(call.forecast.headline, 4)
    return "; ".join(reason.text for reason in lead.reasons) if lead.validity.startswith("abstain") else None
