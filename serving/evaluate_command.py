"""`capshift evaluate`: backtests that a sceptical researcher can rerun; heavy imports wait until a command runs."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from serving.options import DEFAULT_ARTIFACTS, Artifacts, Jobs, Market, Seed, Source, TrackingUri
from serving.steps import ingest_source, market_spec, parse_day, progress_bars, stored_decision, training_plan

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from features.contracts import Dataset
    from features.market import MarketSpec

evaluate = typer.Typer(
    name="evaluate", help="Backtests of what capshift says, beside every rival.", rich_markup_mode=None
)


Until = Annotated[
    str | None, typer.Option(help="Last decision that is scored; by default the definition's `scored_until`.")
]


@evaluate.command()
def heads(
    market: Market = "sample",
    source: Source = None,
    artifacts: Artifacts = DEFAULT_ARTIFACTS,
    until: Until = None,
    seeds: Annotated[
        int | None, typer.Option(min=1, help="Seeds of the trees; by default those of the settings.")
    ] = None,
    results: Annotated[Path | None, typer.Option(help="Also write the page here, e.g. docs/results.md.")] = None,
    jobs: Jobs = 2,
    seed: Seed = 0,
    tracking_uri: TrackingUri = None,
) -> None:
    """Evaluate the heads and every baseline on the same weeks: tables, tests, plots, verdicts.

    Reads the store, after ingesting SOURCE where one is named; writes ARTIFACTS/MARKET/heads and RESULTS, logs one
    MLflow run. Finished parts are kept in ARTIFACTS/MARKET/evidence: an interrupted run goes on.
    """
    from serving.output import write_text
    from serving.registry import tracking_uri as place
    from training.evidence_study import evidence_study, write_evidence
    from training.tracking_evaluation import earlier_looks, log_evaluation
    from training.tracking_server import TrackingError

    spec, dataset, last = _opened(market, source, artifacts, until, seed)
    plan = training_plan(spec)
    if seeds is not None:
        plan = replace(plan, settings=replace(plan.settings, trees=replace(plan.settings.trees, seeds=seeds)))
    uri = tracking_uri or place(artifacts)
    looks = earlier_looks(spec.name, uri)
    look = _beyond(spec, last)
    if look:
        typer.echo(f"This is look {len(looks) + 1} at outcomes after {spec.schedule.scored_until}.", err=True)
    with progress_bars() as progress:
        study = evidence_study(dataset, plan, artifacts, until=last, looks=looks, jobs=jobs, progress=progress)
    folder = artifacts / spec.name / "heads"
    write_evidence(study, folder)
    if results is not None:
        write_text(results, study.page)
    typer.echo(study.page)
    origin = study.source
    tags = {"market": spec.name, "simulated": str(dataset.simulated).lower(), "look": look, "cut": origin.span}
    tags |= {"snapshot_id": origin.snapshot_id, "config_hash": origin.config_hash, "git_commit": origin.git_commit}
    name = f"{'SIMULATED ' if dataset.simulated else ''}{spec.name} heads to {origin.span.rpartition(' ')[2]}"
    try:
        run = log_evaluation(spec.name, folder, uri, tags=tags, metrics=study.metrics, name=name)
        typer.echo(f"page, tables and figures in {folder}; MLflow run {run}")
    except TrackingError as error:
        typer.echo(f"page, tables and figures in {folder}; warning: {error}", err=True)


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
    from training.tail_study import tail_study

    spec, dataset, last = _opened(market, source, artifacts, until, seed)
    _count_look(spec, last, artifacts, "tail")
    with progress_bars() as progress:
        study = tail_study(dataset, training_plan(spec), artifacts, until=last, jobs=jobs, progress=progress)
    _told(artifacts / spec.name / "tail_scores.csv", study.table, study.markdown)


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
    from training.ablation import ablation as run_ablation

    spec, dataset, last = _opened(market, source, artifacts, until, seed)
    _count_look(spec, last, artifacts, "ablation")
    with progress_bars() as progress:
        found = run_ablation(dataset, training_plan(spec), until=last, seeds=seeds, jobs=jobs, progress=progress)
    _told(artifacts / spec.name / "ablation.csv", found.table, found.markdown)


@evaluate.command()
def labels(
    market: Market = "sample",
    source: Source = None,
    artifacts: Artifacts = DEFAULT_ARTIFACTS,
    until: Until = None,
    seeds: Annotated[int, typer.Option(min=1, help="Seeds of the trees under every definition.")] = 3,
    jobs: Jobs = 2,
    seed: Seed = 0,
) -> None:
    """Run the heads under other definitions of the events, to see whether the conclusion hangs on the labels.

    Reads the store, after ingesting SOURCE where one is named; writes ARTIFACTS/MARKET/labels.csv and labels.md.
    Finished definitions are kept in ARTIFACTS/MARKET/evidence: an interrupted run goes on.
    """
    from training.label_study import label_study

    spec, dataset, last = _opened(market, source, artifacts, until, seed)
    _count_look(spec, last, artifacts, "labels")
    with progress_bars() as progress:
        study = label_study(
            dataset, training_plan(spec), artifacts, until=last, seeds=seeds, jobs=jobs, progress=progress
        )
    _told(artifacts / spec.name / "labels.csv", study.table, study.markdown)


@evaluate.command()
def alarms(
    market: Market = "sample",
    source: Source = None,
    artifacts: Artifacts = DEFAULT_ARTIFACTS,
    until: Until = None,
    jobs: Jobs = 2,
    seed: Seed = 0,
) -> None:
    """Raise crash alarms with the heads and with rivals: episodes, lead time, false alarms, and the same by chance.

    Reads the store, after ingesting SOURCE where one is named, and the parts of `evaluate heads` where they are there;
    writes ARTIFACTS/MARKET/alarms.csv, alarm_episodes.csv, alarms.md and alarms_1w.png, alarms_4w.png.
    """
    import numpy as np

    from serving.output import write_atomic
    from training.alarm_study import alarm_study
    from training.evidence_plots import alarm_figure
    from training.evidence_run import evidence_run

    spec, dataset, last = _opened(market, source, artifacts, until, seed)
    _count_look(spec, last, artifacts, "alarms")
    with progress_bars() as progress:
        run = evidence_run(dataset, training_plan(spec), artifacts, until=last, jobs=jobs, progress=progress)
    days = run.heads["decision_date"].to_numpy("datetime64[D]")
    study = alarm_study(run.models, dataset, f"{np.min(days)} to {np.max(days)}")
    folder = artifacts / spec.name
    write_atomic(folder / "alarm_episodes.csv", lambda path: study.episodes.to_csv(path, index=False))
    for weeks, records in study.records.items():
        draw = partial(alarm_figure(records, weeks, dataset.simulated).savefig, format="png")
        write_atomic(folder / f"alarms_{weeks}w.png", draw)
    _told(folder / "alarms.csv", study.table, study.markdown)


def _told(place: Path, table: pd.DataFrame, markdown: str) -> None:
    """Write a table and, beside it, its page, and print the page."""
    from serving.output import write_atomic, write_text

    write_atomic(place, lambda path: table.to_csv(path, index=False))
    write_text(place.with_suffix(".md"), markdown)
    typer.echo(markdown)
    typer.echo(f"{len(table)} rows in {place}")


def _count_look(spec: MarketSpec, last: np.datetime64 | None, artifacts: Path, what: str) -> None:
    """Log a look beyond the design years before it is taken; without a tracking server a warning says so."""
    look = _beyond(spec, last)
    if not look:
        return
    from serving.registry import tracking_uri
    from training.tracking_evaluation import earlier_looks, log_evaluation
    from training.tracking_server import TrackingError

    uri, name = tracking_uri(artifacts), f"{spec.name} {what} to {look}"
    try:
        number = len(earlier_looks(spec.name, uri)) + 1
        log_evaluation(spec.name, None, uri, tags={"market": spec.name, "look": look}, metrics={}, name=name)
    except TrackingError as error:
        typer.echo(f"warning: this look is not counted: {error}", err=True)
    else:
        typer.echo(f"This is look {number} at outcomes after {spec.schedule.scored_until}.", err=True)


def _beyond(spec: MarketSpec, last: np.datetime64 | None) -> str:
    """Return the last decision where it lies beyond the design years, else nothing."""
    import numpy as np

    closed = spec.schedule.scored_until
    if closed is None or (last is not None and last <= np.datetime64(closed, "us")):
        return ""
    return "the last" if last is None else str(last.astype("datetime64[D]"))


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
