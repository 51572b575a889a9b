"""`capshift evaluate`: backtests that a sceptical researcher can rerun; heavy imports wait until a command runs."""

from __future__ import annotations

from typing import Annotated

import typer

from serving.options import DEFAULT_ARTIFACTS, Artifacts, Jobs, Market, Seed, Source
from serving.steps import ingest_source, market_spec, parse_day, progress_bars, stored_decision, training_plan

evaluate = typer.Typer(
    name="evaluate", help="Backtests of what capshift says, beside every rival.", rich_markup_mode=None
)


@evaluate.command()
def tail(
    market: Market = "sample",
    source: Source = None,
    artifacts: Artifacts = DEFAULT_ARTIFACTS,
    until: Annotated[
        str | None, typer.Option(help="Last decision that is scored; by default the definition's `scored_until`.")
    ] = None,
    jobs: Jobs = 2,
    seed: Seed = 0,
) -> None:
    """Backtest the tail of the scenario set beside every tail model, on the same weeks.

    Reads the store, after ingesting SOURCE where one is named; trains what is missing; writes
    ARTIFACTS/MARKET/tail_scores.csv and tail_scores.md.
    """
    import numpy as np

    from serving.forecast import dataset_for
    from serving.output import write_atomic, write_text
    from training.tail_study import tail_study

    spec = market_spec(market)
    closed = spec.schedule.scored_until
    last = parse_day(until) if until else None if closed is None else np.datetime64(closed, "us")
    if source is not None or spec.simulated:
        ingest_source(spec, source, artifacts, seed)
    observations, day = stored_decision(spec, artifacts, None)
    dataset = dataset_for(spec, observations, day)
    with progress_bars() as progress:
        study = tail_study(dataset, training_plan(spec), artifacts, until=last, jobs=jobs, progress=progress)
    scores = write_atomic(artifacts / spec.name / "tail_scores.csv", lambda path: study.table.to_csv(path, index=False))
    write_text(scores.with_suffix(".md"), study.markdown)
    typer.echo(study.markdown)
    typer.echo(f"{len(study.table)} rows in {scores}")
