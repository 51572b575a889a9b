"""The steps that commands share. Heavy imports wait until a step needs them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import typer

from features.errors import DataContractError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from features.market import MarketSpec
    from features.store import Store
    from models.schedule import Plan
    from serving.opened_market import OpenedMarket
    from serving.record import Forecast

Language = Literal["zh", "en"]


def market_spec(name: str) -> MarketSpec:
    """Load a market definition."""
    from features.market import load_market

    return load_market(name)


def open_store(artifacts: Path) -> Store:
    """Return the store of an artefacts folder."""
    from features.store import Store
    from serving.output import store_path

    return Store(store_path(artifacts))


def parse_day(text: str, option: str = "as_of") -> np.datetime64:
    """Read a date; an error names the option that it came from.

    Raises
    ------
    DataContractError
        If the text is none; NumPy alone would take "", "NaT", "today" and "2023" for one.
    """
    from datetime import date

    import numpy as np

    try:
        day = date.fromisoformat(text)
    except ValueError:
        day = None
    if day is None or day.isoformat() != text:
        raise DataContractError(f"`{option}` must be a date YYYY-MM-DD; got {text!r}")
    return np.datetime64(day, "us")


def decision_of(spec: MarketSpec, observations: pd.DataFrame, text: str | None) -> np.datetime64:
    """Return the decision day that a text names, or the newest one with prices.

    Raises
    ------
    DataContractError
        If the store is empty or the day is no decision day.
    """
    from features.dataset import decision_day
    from serving.forecast import latest_decision

    if observations.empty:
        raise DataContractError(
            f"the store holds no data of market {spec.name!r}; run `capshift ingest --market {spec.name}`"
        )
    return latest_decision(spec, observations) if text is None else decision_day(spec, parse_day(text))


def stored_decision(spec: MarketSpec, artifacts: Path, as_of: str | None) -> tuple[pd.DataFrame, np.datetime64]:
    """Read a market's observations from the store of an artefacts folder, and the decision day they are read for.

    Raises
    ------
    DataContractError
        As `decision_of`.
    """
    observations = open_store(artifacts).observations(spec.name)
    return observations, decision_of(spec, observations, as_of)


def ingest_source(
    spec: MarketSpec,
    source: Path | None,
    artifacts: Path,
    seed: int,
    *,
    strict: bool = False,
    vintages: bool = False,
    stocks: Path | None = None,
) -> None:
    """Read a market's source, check it and append it to the store; says what was new.

    A file of stocks, the one named or the definition's below the source, adds the weeks of crowding that are new.
    """
    from datetime import UTC, datetime

    import numpy as np
    import pandas as pd

    from features.ingest import ingest as run_ingest
    from serving.stock_step import crowd_observations, stock_file

    stock_path, store = stock_file(spec, stocks, source), open_store(artifacts)
    now = np.datetime64(datetime.now(UTC).replace(tzinfo=None), "us")
    if spec.simulated:
        from features.sources.simulated import simulate

        observations = simulate(spec, seed).observations
    elif source is None:
        raise DataContractError(f"market {spec.name!r} needs `--source`, the data root that its definition describes")
    else:
        from features.sources.folder import read_folder

        observations = read_folder(spec, source, now, vintages=vintages).observations
    if stock_path is not None:
        crowd = crowd_observations(spec, stock_path, store, now, strict=strict)
        observations = pd.concat([observations, crowd], ignore_index=True) if len(crowd) else observations
    report = run_ingest(store, spec, observations, now, strict=strict)
    done = report.appended
    label = "SIMULATED " if spec.simulated else ""
    typer.echo(
        f"{label}{spec.name}: {done.added} new observation(s), {done.unchanged} unchanged, "
        f"{done.quarantined} newly in quarantine"
    )
    for finding in report.findings:
        if not finding.quarantined:
            typer.echo(f"warning: {finding.series} {finding.period}: {finding.message}", err=True)


def training_plan(spec: MarketSpec) -> Plan:
    """Return the plan of a market with the default settings."""
    from importlib.metadata import version

    import numpy as np

    from models.schedule import Plan
    from models.settings import HeadSettings

    schedule = spec.schedule
    return Plan(
        settings=HeadSettings(),
        first_decision=np.datetime64(schedule.first_decision, "us"),
        refit_weeks=schedule.refit_weeks,
        min_weeks=schedule.min_weeks,
        market_hash=spec.config_hash,
        code_version=version("capshift"),
    )


@dataclass(frozen=True)
class Choice:
    """What a user may choose of a forecast: the pair that leads the note, its language, a bundle folder, the ledger."""

    lang: Language
    pair: str | None = None
    bundle: Path | None = None
    ledger: str | None = None


def publish(opened: OpenedMarket, choice: Choice, train_first: Callable[[], object] | None = None) -> None:
    """Check and forecast the last day, write JSON, parquet and note, print the table and record the rows in the ledger.

    A day that the preflight refuses is not published. Where the bundle of the day is missing, `train_first` makes it;
    without it that is an error. A forecast that the ledger does not take stays written, and the failure is an error;
    run again to record it. Exit code 5 if the headline abstains; that is recorded too.
    """
    from models.bundle import Bundle
    from models.schedule import day_text
    from serving.champion_note import champion_warning
    from serving.forecast import make_forecast
    from serving.ledger_step import record_forecast
    from serving.model_age import age_warning
    from serving.output import (
        forecast_path,
        forecast_text,
        note_path,
        scenario_path,
        write_atomic,
        write_parquet,
        write_text,
    )  # fmt: skip
    from serving.preflight import preflight
    from serving.preflight_command import print_findings
    from serving.report.note import render_note

    spec, artifacts, day, lang = opened.spec, opened.artifacts, opened.last, choice.lang
    if choice.pair is not None and choice.pair not in spec.pairs:
        raise DataContractError(f"`pair` must be one of {', '.join(spec.pairs)}; got {choice.pair!r}")
    if choice.bundle is None and train_first is not None and not opened.folder(opened.cut(day)).exists():
        train_first()
    loaded = opened.bundle(day) if choice.bundle is None else Bundle.load(choice.bundle)
    if old := age_warning(spec, opened.dataset, loaded.cut, day):
        typer.echo(f"warning: {old}", err=True)
    if other := champion_warning(artifacts, spec.name, loaded.config_hash):
        typer.echo(f"warning: {other}", err=True)
    found = preflight(opened, day, loaded)
    print_findings(found, "error", "warning", err=True)
    found.require()
    call = make_forecast(spec, opened.observations, opened.dataset, loaded, opened.plan, choice.pair)
    result = call.forecast
    text = day_text(day)
    write_text(forecast_path(artifacts, spec.name, text, "json"), forecast_text(result))
    written = write_parquet(forecast_path(artifacts, spec.name, text, "parquet"), call.rows)
    if call.scenarios is not None:
        write_atomic(scenario_path(artifacts, spec.name, text), call.scenarios.save)
    note = write_text(note_path(artifacts, spec.name, text, lang), render_note(result, lang))
    print_forecast(result, lang)
    typer.echo(f"note: {note}")
    record_forecast(spec, call.rows, choice.ledger, artifacts, written)
    lead = result.pair(result.headline, 4)
    if lead.validity.startswith("abstain"):
        typer.echo(f"abstained: {'; '.join(reason.text for reason in lead.reasons)}", err=True)
        raise typer.Exit(5)


def print_forecast(result: Forecast, lang: Language) -> None:
    """Print a forecast as a table."""
    from rich.console import Console

    from serving.report.terminal import render_table

    Console(width=None if sys.stdout.isatty() else 120).print(render_table(result, lang))


@contextmanager
def progress_bars() -> Iterator[Callable[[str, int, int], None]]:
    """Show one bar per stage on standard error."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as bars:
        tasks: dict[str, Any] = {}

        def report(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage, total=total)
            bars.update(tasks[stage], completed=done, total=total)

        yield report
