"""The command line. Heavy imports wait until a command needs them, so that ``--help`` answers at once."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from features.errors import CapshiftError, DataContractError
from serving.article_command import article
from serving.backfill_command import backfill
from serving.compare_command import compare
from serving.crowding_command import crowding
from serving.evaluate_command import evaluate
from serving.features_command import features
from serving.freeze_command import freeze
from serving.index_command import index
from serving.ledger_command import ledger as ledger_group
from serving.options import (
    DEFAULT_ARTIFACTS,
    Artifacts,
    AsOf,
    Jobs,
    Lang,
    LedgerPlace,
    Market,
    Pair,
    Seed,
    Source,
    Stocks,
    Strict,
    TrackingUri,
    Vintages,
)  # fmt: skip
from serving.preflight_command import preflight
from serving.promotion_command import models, promote, rollback
from serving.replay_command import replay
from serving.risk_command import risk
from serving.score_command import score
from serving.sealed_command import sealed
from serving.serve_command import serve
from serving.steps import (
    Choice,
    ingest_source,
    market_spec,
    open_store,
    parse_day,
    print_forecast,
    progress_bars,
    publish,
)
from serving.style_command import ManyValues, eligible, style
from serving.upload_command import log_or_keep, upload

if TYPE_CHECKING:
    import pandas as pd

    from serving.opened_market import OpenedMarket
    from training.study import Study

app = typer.Typer(
    name="capshift",
    help="How likely the size style in force is to break, how bad that would be, and why.",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    epilog="Exit codes: 0 ok, 1 unexpected, 2 data or usage, 3 leak, 4 contract, 5 abstained, 6 locked. "
    "Precedence of options: flag, CAPSHIFT_* environment, capshift.toml, default.",
)


@app.callback()
def _configure(context: typer.Context) -> None:
    """Read defaults from capshift.toml in the working folder."""
    path = Path("capshift.toml")
    if path.is_file():
        try:
            table = tomllib.loads(path.read_text(encoding="utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise DataContractError(f"{path}: not valid TOML: {error}") from error
        known = {"artifacts", "as_of", "jobs", "lang", "ledger", "market", "pair", "seed", "source", "stocks"}
        known |= {"tracking_uri"}
        if unknown := sorted(set(table) - known):
            raise DataContractError(f"{path}: unknown key {unknown[0]!r}; known: {', '.join(sorted(known))}")
        context.default_map = _defaults(cast(Any, context.command), table)


def _defaults(group: Any, table: dict[str, Any]) -> dict[str, Any]:
    """Return what the table says for the options of every command below a group."""
    return {
        name: _defaults(command, table)
        if hasattr(command, "commands")
        else {key: table[key] for key in table if key in {option.name for option in command.params}}
        for name, command in group.commands.items()
    }


evaluate.command()(freeze)
evaluate.command()(sealed)
app.add_typer(evaluate)
app.add_typer(index)
app.add_typer(ledger_group)


@app.command()
def ingest(
    market: Market = "sample",
    source: Source = None,
    artifacts: Artifacts = DEFAULT_ARTIFACTS,
    seed: Seed = 0,
    strict: Strict = False,
    vintages: Vintages = False,
    stocks: Stocks = None,
) -> None:
    """Read a market's series from a data root, check them and append what is new to the store.

    Reads the files that the market definition names, and computes from STOCKS the weeks of crowding that the store
    lacks; writes ARTIFACTS/store.duckdb.
    """
    spec = market_spec(market)
    ingest_source(spec, source, artifacts, seed, strict=strict, vintages=vintages, stocks=stocks)


@app.command()
def audit(market: Market = "sample", artifacts: Artifacts = DEFAULT_ARTIFACTS, as_of: AsOf = None) -> None:
    """List everything known to be wrong with the stored data of a market; exit code 2 on an unquarantined error.

    Reads ARTIFACTS/store.duckdb; writes nothing.
    """
    import numpy as np

    from features.dataset import decision_day, decision_times
    from features.ingest import audit as run_audit

    spec = market_spec(market)
    at = None if as_of is None else decision_times(spec, np.array([decision_day(spec, parse_day(as_of))]))[0]
    findings = run_audit(open_store(artifacts), spec, at)
    for finding in findings:
        period = "" if finding.period is None else f" {finding.period:%Y-%m-%d}"
        value = "" if finding.value is None else f" = {finding.value:g}"
        mark = "quarantined" if finding.quarantined else finding.severity
        typer.echo(f"{mark:<12} {finding.check:<18} {finding.series}{period}{value}: {finding.message}")
    open_errors = [finding for finding in findings if finding.severity == "error" and not finding.quarantined]
    typer.echo(f"{len(findings)} finding(s), {len(open_errors)} error(s) not in quarantine")
    if open_errors:
        raise typer.Exit(2)


@app.command()
def train(
    market: Market = "sample",
    artifacts: Artifacts = DEFAULT_ARTIFACTS,
    as_of: AsOf = None,
    jobs: Jobs = 2,
    tracking_uri: TrackingUri = None,
) -> None:
    """Train every bundle of the refit schedule up to a day, score the walk-forward and log the study to MLflow.

    Reads ARTIFACTS/store.duckdb; writes ARTIFACTS/bundles and the MLflow run; finished bundles are reused.
    """
    from serving.opened_market import open_market

    _study(open_market(market_spec(market), artifacts, as_of), jobs, tracking_uri)


@app.command()
def backtest(
    market: Market = "sample",
    source: Source = None,
    artifacts: Artifacts = DEFAULT_ARTIFACTS,
    as_of: AsOf = None,
    out: Annotated[Path | None, typer.Option(help="Parquet; ARTIFACTS/MARKET/forecasts.parquet by default.")] = None,
    jobs: Jobs = 2,
    seed: Seed = 0,
    tracking_uri: TrackingUri = None,
) -> None:
    """Forecast every past week with the bundle in force then, and compare with the baselines.

    Reads the store, after ingesting SOURCE where one is named; writes OUT, ARTIFACTS/MARKET/scores.csv, the bundles and
    the MLflow run.
    """
    from serving.opened_market import open_market
    from serving.output import write_atomic, write_parquet, write_text
    from training.experiment import results_markdown

    spec = market_spec(market)
    if source is not None or spec.simulated:
        ingest_source(spec, source, artifacts, seed)
    study, table = _study(open_market(spec, artifacts, as_of), jobs, tracking_uri, baselines=True)
    target = write_parquet(out or artifacts / spec.name / "forecasts.parquet", study.forecasts)
    scores = write_atomic(artifacts / spec.name / "scores.csv", lambda path: table.to_csv(path, index=False))
    results = results_markdown(table, spec.simulated, spec.schedule.scored_until)
    write_text(scores.with_suffix(".md"), results)
    typer.echo(results)
    typer.echo(f"{len(study.forecasts)} forecasts in {target}, scores in {scores}")


@app.command()
def forecast(
    market: Market = "sample",
    artifacts: Artifacts = DEFAULT_ARTIFACTS,
    as_of: AsOf = None,
    bundle: Annotated[Path | None, typer.Option(help="Bundle folder; by default that of the schedule.")] = None,
    pair: Pair = None,
    lang: Lang = "en",
    ledger: LedgerPlace = None,
) -> None:
    """Check and forecast one decision day from the store and a trained bundle, write the note, record the forecast.

    Reads ARTIFACTS/store.duckdb and ARTIFACTS/bundles; writes ARTIFACTS/MARKET/forecasts and notes, and LEDGER.
    """
    from serving.opened_market import open_market

    publish(open_market(market_spec(market), artifacts, as_of), Choice(lang, pair, bundle, ledger))


@app.command()
def weekly(
    market: Market = "sample",
    source: Source = None,
    artifacts: Artifacts = DEFAULT_ARTIFACTS,
    as_of: AsOf = None,
    pair: Pair = None,
    lang: Lang = "en",
    jobs: Jobs = 2,
    seed: Seed = 0,
    tracking_uri: TrackingUri = None,
    stocks: Stocks = None,
    ledger: LedgerPlace = None,
) -> None:
    """Ingest, train the bundle of the week if due, check, forecast, record, write the note: the whole week at once.

    Reads SOURCE and STOCKS; writes the store, bundles and MLflow run (if it trained), ARTIFACTS/MARKET/forecasts and
    notes, and LEDGER.
    """
    from serving.opened_market import open_market

    spec = market_spec(market)
    ingest_source(spec, source, artifacts, seed, stocks=stocks)
    opened = open_market(spec, artifacts, as_of)

    def train_first() -> None:
        _study(opened, jobs, tracking_uri)

    publish(opened, Choice(lang, pair, ledger=ledger), train_first)


@app.command()
def show(
    market: Market = "sample",
    artifacts: Artifacts = DEFAULT_ARTIFACTS,
    as_of: AsOf = None,
    lang: Lang = "en",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Show a stored forecast, the newest by default.

    Reads ARTIFACTS/MARKET/forecasts; writes nothing.
    """
    from serving.output import read_forecast

    spec = market_spec(market)
    stored = read_forecast(artifacts, spec.name, as_of)
    if as_json:
        import json

        typer.echo(json.dumps(stored.to_json(), ensure_ascii=False, indent=1))
    else:
        print_forecast(stored, lang)


app.command()(features)
app.command()(score)
app.command()(crowding)
app.command()(risk)
app.command()(style)
app.command(cls=ManyValues)(eligible)
app.command()(article)
app.command()(models)
app.command()(promote)
app.command()(rollback)
app.command()(upload)
app.command()(preflight)
app.command()(backfill)
app.command()(compare)
app.command()(replay)
app.command()(serve)


def main() -> None:
    """Run the command line; every error is one sentence and an exit code."""
    try:
        code = app(sys.argv[1:] or ["--help"], standalone_mode=False)
    except CapshiftError as error:
        typer.echo(f"error: {error}", err=True)
        rows = getattr(error, "rows", None)
        if rows is not None and len(rows):
            typer.echo(rows.head(5).to_string(), err=True)
            if len(rows) > 5:
                typer.echo(f"... and {len(rows) - 5} more row(s)", err=True)
        sys.exit(error.exit_code)
    except typer.TyperException as error:
        typer.echo(f"error: {error.format_message()}; see `capshift --help`", err=True)
        sys.exit(2)
    except (KeyboardInterrupt, typer.Abort):
        typer.echo("interrupted; finished parts are kept, run the command again to go on", err=True)
        sys.exit(130)
    except Exception as error:
        if sys.flags.dev_mode:
            raise
        typer.echo(
            f"unexpected error: {type(error).__name__}: {error}; `python -X dev -m serving.cli` with the same options "
            "shows where",
            err=True,
        )
        sys.exit(1)
    # Outside of standalone mode `typer.Exit` does not raise: its code is what the application returns.
    if code:
        sys.exit(code)


def _study(
    opened: OpenedMarket, jobs: int, tracking_uri: str | None, *, baselines: bool = False
) -> tuple[Study, pd.DataFrame]:
    """Run the study of a market up to its last day and log it; a tracking server that is down costs a warning.

    Returns the study and the score table of the heads and, where wanted, of every baseline.
    """
    from dataclasses import replace

    from training.experiment import baseline_table, run_study

    dataset, plan, artifacts = opened.dataset, opened.plan, opened.artifacts
    scored_until = opened.spec.schedule.scored_until
    with progress_bars() as progress:
        study = run_study(dataset, plan, artifacts, scored_until=scored_until, jobs=jobs, progress=progress)
        table = study.scores
        if baselines:
            table = baseline_table(study.shown, dataset, plan, study.implied, progress=progress)
            study = replace(study, baselines=table)
    log_or_keep(study, artifacts, tracking_uri)
    return study, table


if __name__ == "__main__":
    main()
