"""`capshift score`: rows of features in bulk, or one market's forecast of a day; heavy imports wait."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from features.errors import DataContractError
from serving.job_log import LogKind
from serving.options import DEFAULT_ARTIFACTS, Artifacts, AsOf, Jobs, Market, RecordIn

Engine = Literal["local", "spark"]


def score(
    context: typer.Context,
    out: Annotated[Path, typer.Option(help="Parquet of scores; without FEATURES the folder of forecasts.")],
    features: Annotated[
        str | None,
        typer.Option(help="Parquet of rows, or a folder of them, as `capshift features` writes.", show_default=False),
    ] = None,
    market: Market = "sample",
    as_of: AsOf = None,
    artifacts: Artifacts = DEFAULT_ARTIFACTS,
    bundle: Annotated[
        str | None,
        typer.Option(
            help="Bundle folder, or `champion` for that of the registry; by default MARKET's newest on disk.",
            show_default=False,
        ),
    ] = None,
    engine: Annotated[Engine, typer.Option(help="Where rows are scored.")] = "local",
    master: Annotated[str, typer.Option(help="Master of the Spark engine.")] = "local[2]",
    log: Annotated[LogKind, typer.Option(help="JSON lines on standard error, or progress on a terminal.")] = "auto",
    reference: Annotated[
        bool, typer.Option("--reference", help="Let LightGBM itself score: slow, same numbers.")
    ] = False,
    jobs: Jobs = 2,
    ledger: RecordIn = None,
) -> None:
    """Score rows of features in bulk, or forecast MARKET's day AS_OF; it never trains, and same inputs give same bytes.

    With FEATURES: reads rows and bundle; writes OUT (probabilities, bands, validity, contributions by family, top
    drivers) and, for rows that break the contract, the file beside it that ends in .rejects.parquet. A job that was
    killed goes on where it stopped. Without: checks the day, reads ARTIFACTS/store.duckdb and ARTIFACTS/bundles; writes
    OUT/MARKET/DAY.json, .parquet and .sha256, and LEDGER where one is named. Exit code 5 if the headline pair abstains.
    """
    if features is None:
        if bundle is not None or engine != "local" or reference:
            raise DataContractError("`bundle`, `engine` and `reference` go with `features`; name the rows to score")
        from serving.market_score import score_market

        raise typer.Exit(score_market(market, as_of, out, artifacts, ledger=ledger))
    # The environment and capshift.toml speak to every command; only a flag means this one.
    sources = (context.get_parameter_source(name) for name in ("as_of", "ledger"))
    if any(source is not None and source.name == "COMMANDLINE" for source in sources):
        raise DataContractError("`as_of` and `ledger` do not go with `features`: rows carry their own dates")
    from serving.job_log import job_log
    from serving.score_rows import ScoreJob, rejects_path, score_rows

    folder = _bundle(bundle, market, artifacts)
    with job_log("score", log) as told:
        if engine == "spark":
            from serving.spark_engine import score_on_spark

            counts = score_on_spark(features, str(out), folder, master, told)
        else:
            counts = score_rows(ScoreJob(Path(features), out, folder, reference, jobs=jobs), told)
    label = "SIMULATED " if counts.simulated else ""
    typer.echo(f"{label}{counts.rows} rows: {counts.scored} scored in {out}, {counts.rejected} rejected")
    if counts.rejected:
        typer.echo(f"warning: rejected rows and their reasons are in {rejects_path(out)}", err=True)
    if not counts.scored:
        raise typer.Exit(2)


def _bundle(bundle: str | None, market: str, artifacts: Path) -> Path:
    """Return the folder of the bundle that scores."""
    if bundle == "champion":
        from serving.registry import champion_bundle, tracking_uri
        from serving.steps import market_spec

        return champion_bundle(market_spec(market).name, tracking_uri(artifacts))
    if bundle is not None:
        return Path(bundle)
    from models.schedule import bundle_root
    from serving.steps import market_spec, training_plan

    spec = market_spec(market)
    root = bundle_root(artifacts, spec.name, training_plan(spec))
    found = sorted(path for path in root.glob("[0-9]*") if path.is_dir())
    if not found:
        raise DataContractError(
            f"{root}: no bundle of market {spec.name!r} is there; run `capshift train --market {market}` or name one "
            "with `--bundle`"
        )
    # Of two snapshots with the same cut, the one trained last.
    newest = found[-1].name[:10]
    return max((path for path in found if path.name.startswith(newest)), key=lambda path: path.stat().st_mtime_ns)
