"""`capshift evaluate`: backtests that a sceptical researcher can rerun; heavy imports wait until a command runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from serving.options import DEFAULT_ARTIFACTS, Artifacts, Jobs, Market, Seed, Source
from serving.steps import ingest_source, market_spec, parse_day, progress_bars, stored_decision, training_plan

if TYPE_CHECKING:
    import numpy as np

    from features.contracts import Dataset
    from features.market import MarketSpec

evaluate = typer.Typer(
    name="evaluate", help="Backtests of what capshift says, beside every rival.", rich_markup_mode=None
)


Until = Annotated[
    str | None, typer.Option(help="Last decision that is scored; by default the definition's `scored_until`.")
]


@evaluate.command()
def tail(
    market: Market = "sample",
    source: Source = None,
    artifacts: Artifacts = DEFAULT_ARTIFACTS,
    until: Until = None,
    jobs: Jobs = 2,
    seed: Seed = 0,
) -> None:
    """Backtest the tail of the scenario set beside every tail model, on the same weeks.

    Reads the store, after ingesting SOURCE where one is named; trains what is missing; writes
    ARTIFACTS/MARKET/tail_scores.csv and tail_scores.md.
    """
    from serving.output import write_atomic, write_text
    from training.tail_study import tail_study

    spec, dataset, last = _opened(market, source, artifacts, until, seed)
    with progress_bars() as progress:
        study = tail_study(dataset, training_plan(spec), artifacts, until=last, jobs=jobs, progress=progress)
    scores = write_atomic(artifacts / spec.name / "tail_scores.csv", lambda path: study.table.to_csv(path, index=False))
    write_text(scores.with_suffix(".md"), study.markdown)
    typer.echo(study.markdown)
    typer.echo(f"{len(study.table)} rows in {scores}")


@evaluate.command()
def ablation(
    market: Market = "sample",
    source: Source = None,
    artifacts: Artifacts = DEFAULT_ARTIFACTS,
    until: Until = None,
    seeds: Annotated[int, typer.Option(min=1, help="Seeds of the trees in every variant.")] = 5,
    jobs: Jobs = 2,
    seed: Seed = 0,
) -> None:
    """Run the heads without each family of drivers in turn, on the same weeks.

    Reads the store, after ingesting SOURCE where one is named; writes ARTIFACTS/MARKET/ablation.csv and ablation.md.
    """
    from serving.output import write_atomic, write_text
    from training.ablation import ablation as run_ablation

    spec, dataset, last = _opened(market, source, artifacts, until, seed)
    with progress_bars() as progress:
        found = run_ablation(dataset, training_plan(spec), until=last, seeds=seeds, jobs=jobs, progress=progress)
    table = write_atomic(artifacts / spec.name / "ablation.csv", lambda path: found.table.to_csv(path, index=False))
    write_text(table.with_suffix(".md"), found.markdown)
    typer.echo(found.markdown)
    typer.echo(f"{len(found.table)} rows in {table}")


def _opened(
    market: str, source: Path | None, artifacts: Path, until: str | None, seed: int
) -> tuple[MarketSpec, Dataset, np.datetime64 | None]:
    """Return market, dataset and the last decision that may be scored."""
    import numpy as np

    from serving.forecast import dataset_for

    spec = market_spec(market)
    closed = spec.schedule.scored_until
    last = parse_day(until) if until else None if closed is None else np.datetime64(closed, "us")
    if source is not None or spec.simulated:
        ingest_source(spec, source, artifacts, seed)
    observations, day = stored_decision(spec, artifacts, None)
    return spec, dataset_for(spec, observations, day), last
