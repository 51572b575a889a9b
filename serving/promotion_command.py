"""`capshift models`, `promote` and `rollback`: what is registered, and who speaks for a market; imports wait."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from features.errors import PromotionError
from serving.options import DEFAULT_ARTIFACTS, Artifacts, Market, TrackingUri
from serving.steps import market_spec, open_store, progress_bars, stored_decision, training_plan

if TYPE_CHECKING:
    import pandas as pd

    from features.market import MarketSpec
    from serving.model_moves import Move
    from serving.registry import Registry, Version
    from training.promotion import Verdict

By = Annotated[
    str, typer.Option("--by", envvar="CAPSHIFT_BY", help="Who asks; the user's name by default.", show_default=False)
]
Reason = Annotated[str, typer.Option("--reason", help="Why, for the record.", show_default=False)]


def models(
    market: Market = "sample",
    artifacts: Artifacts = DEFAULT_ARTIFACTS,
    tracking_uri: TrackingUri = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """List the registered models of a market, newest first, and every promotion and rollback.

    Reads the registry and ARTIFACTS/MARKET/promotions.jsonl; writes nothing.
    """
    from serving.model_moves import read_record, record_path
    from serving.models_view import models_json, models_table, record_table

    spec = market_spec(market)
    registry = _registry(artifacts, tracking_uri)
    versions, moves = registry.versions(spec.name), read_record(record_path(artifacts, spec.name))
    unfinished = registry.intent(spec.name) is not None
    if as_json:
        typer.echo(json.dumps(models_json(spec.name, versions, moves, unfinished), ensure_ascii=False, indent=1))
        return
    if not versions:
        typer.echo(f"no model of market {spec.name!r} is registered; run `capshift backtest --market {spec.name}`")
        return
    import sys

    from rich.console import Console

    console = Console(width=None if sys.stdout.isatty() else 120)
    console.print(models_table(spec.name, versions, spec.schedule, _today(), simulated=spec.simulated))
    if moves:
        console.print(record_table(moves))
    if unfinished:
        typer.echo("a move was cut off: the next `capshift promote` or `rollback` completes it first", err=True)


def promote(
    challenger: Annotated[
        int | None, typer.Option(min=1, help="Version to promote; by default the one called `challenger`.")
    ] = None,
    market: Market = "sample",
    artifacts: Artifacts = DEFAULT_ARTIFACTS,
    tracking_uri: TrackingUri = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what the gate says and move nothing.")] = False,
    by: By = "",
    reason: Reason = "",
    searched: Annotated[
        str,
        typer.Option(
            help="What the search for a leak found, where the gate asks for one; goes into the record.",
            show_default=False,
        ),
    ] = "",
) -> None:
    """Make a challenger the champion if it passes the gate; exit code 4 with the failed rules if it does not.

    The gate (METHODS 4) compares challenger, champion and every baseline on the same weeks. Reads the registry and
    ARTIFACTS/store.duckdb; writes aliases and tags of the registry and ARTIFACTS/MARKET/promotions.jsonl. A promotion
    that was cut off is completed first.
    """
    from serving.champion_note import note_champion
    from serving.lock import output_lock
    from serving.model_moves import complete_move, make_move, new_move, record_path, utc_text
    from serving.registry import CHAMPION

    spec, registry = market_spec(market), _registry(artifacts, tracking_uri)
    record = record_path(artifacts, spec.name)
    with output_lock(record):
        done = None if dry_run else complete_move(registry, record, spec.name)
        if done is not None:
            note_champion(registry, artifacts, spec.name)
            _say(done, "completed, it had been cut off: ")
            if challenger is None:
                return
        versions = registry.versions(spec.name)
        champion, wanted = _of_alias(versions, CHAMPION), _wanted(spec.name, versions, challenger)
        if champion is not None and wanted.number == champion.number:
            typer.echo(f"version {wanted.number} of market {spec.name!r} is the champion already")
            return
        verdict = _gate(spec, artifacts, registry, (champion, wanted), searched)
        title = f"{'SIMULATED ' if spec.simulated else ''}{spec.name}: version {wanted.number} against "
        typer.echo(title + ("no champion" if champion is None else f"the champion, version {champion.number}"))
        typer.echo(verdict.text())
        if not verdict.passed:
            raise PromotionError(
                f"version {wanted.number} of market {spec.name!r} does not pass the gate: {', '.join(verdict.failed)}"
            )
        if dry_run:
            typer.echo(
                f"the gate is passed; nothing was moved: `capshift promote --challenger {wanted.number}` does it"
            )
            return
        facts = {"time": utc_text(datetime.now(UTC)), "gate": verdict.text(), "by": _who(by), "reason": reason}
        move = new_move("promote", spec.name, (champion, wanted), facts)
        make_move(registry, record, move)
        note_champion(registry, artifacts, spec.name)
        _say(move)


def rollback(
    market: Market = "sample",
    artifacts: Artifacts = DEFAULT_ARTIFACTS,
    tracking_uri: TrackingUri = None,
    by: By = "",
    reason: Reason = "",
) -> None:
    """Make the model that the last promotion replaced the champion again; a second rollback undoes the first.

    Reads and writes the registry and ARTIFACTS/MARKET/promotions.jsonl. A move that was cut off is completed first.
    """
    from serving.champion_note import note_champion
    from serving.lock import output_lock
    from serving.model_moves import complete_move, make_move, new_move, record_path, utc_text
    from serving.registry import CHAMPION, PREVIOUS

    spec, registry = market_spec(market), _registry(artifacts, tracking_uri)
    record = record_path(artifacts, spec.name)
    with output_lock(record):
        done = complete_move(registry, record, spec.name)
        if done is not None:
            note_champion(registry, artifacts, spec.name)
            _say(done, "completed, it had been cut off: ")
            if done.action == "rollback":
                return
        versions = registry.versions(spec.name)
        champion, previous = _of_alias(versions, CHAMPION), _of_alias(versions, PREVIOUS)
        if champion is None or previous is None:
            raise PromotionError(
                f"market {spec.name!r} has no earlier champion to go back to; `capshift models --market {spec.name}` "
                "lists what is registered"
            )
        facts = {"time": utc_text(datetime.now(UTC)), "gate": "", "by": _who(by), "reason": reason}
        move = new_move("rollback", spec.name, (champion, previous), facts)
        make_move(registry, record, move)
        note_champion(registry, artifacts, spec.name)
        _say(move)


def _gate(
    spec: MarketSpec,
    artifacts: Path,
    registry: Registry,
    ends: tuple[Version | None, Version],
    searched: str,
) -> Verdict:
    """Judge the second of two versions against the first and the baselines, on the weeks that may be looked at."""
    from models.bundle import Bundle
    from serving.forecast import dataset_for
    from serving.promotion_checks import data_check, replay_check
    from serving.registry import registered_bundle
    from training.experiment import rival_forecasts
    from training.promotion import Check, judge
    from training.study import shown_rows

    champion, challenger = ends
    observations, _ = stored_decision(spec, artifacts, None)
    plan, until = training_plan(spec), spec.schedule.scored_until
    whole, implied = _study_frames(registry, challenger)
    rows = shown_rows(whole, until)
    against = None if champion is None else shown_rows(_study_frames(registry, champion)[0], until)
    if rows.empty:
        raise PromotionError(f"version {challenger.number} has no forecast that may be scored; run `capshift backtest`")
    last = rows["decision_date"].max().to_datetime64().astype("datetime64[us]")
    with progress_bars() as progress:
        dataset = dataset_for(spec, observations, last)
        rivals = rival_forecasts(rows, dataset, plan, implied, progress=progress)
    folder = registered_bundle(spec.name, registry.uri, str(challenger.number))
    replay = replay_check(spec, observations, Bundle.load(folder), plan, whole)
    data = data_check(open_store(artifacts), spec)
    return judge(rows, against, rivals, replay=Check(*replay), data=Check(*data), searched=searched)


def _study_frames(registry: Registry, version: Version) -> tuple[pd.DataFrame, pd.DataFrame | None]:
    """Return the forecasts of a version's study and what the untilted scenario set said, where it was logged."""
    from serving.study_files import study_forecasts, study_table

    files = registry.files(version.run_id, (".parquet",))
    if "forecasts.parquet" not in files:
        raise PromotionError(f"run {version.run_id} of version {version.number} holds no forecasts.parquet")
    implied = files.get("implied.parquet")
    forecasts = study_forecasts(files["forecasts.parquet"], version.run_id)
    return forecasts, None if implied is None else study_table(implied, version.run_id)


def _wanted(market: str, versions: list[Version], number: int | None) -> Version:
    """Return the version to promote."""
    from serving.registry import CHALLENGER

    if number is None:
        found = _of_alias(versions, CHALLENGER)
    else:
        found = next((version for version in versions if version.number == number), None)
    if found is None:
        known = ", ".join(str(version.number) for version in versions) or "none"
        what = "version called `challenger`" if number is None else f"version {number}"
        raise PromotionError(
            f"market {market!r} has no {what} (registered: {known}); `capshift models --market {market}` lists them"
        )
    return found


def _of_alias(versions: list[Version], alias: str) -> Version | None:
    from serving.model_moves import named

    return named(versions, alias)


def _registry(artifacts: Path, uri: str | None) -> Registry:
    from serving.registry import Registry, tracking_uri

    return Registry(uri or tracking_uri(artifacts))


def _say(move: Move, before: str = "") -> None:
    origin = "" if move.from_version is None else f" in place of version {move.from_version}"
    words: dict[Any, str] = {"promote": "promoted", "rollback": "rolled back to"}
    typer.echo(f"{before}{words[move.action]} version {move.to_version} of {move.market}{origin}, by {move.by}")


def _who(by: str) -> str:
    import getpass

    if by:
        return by
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"


def _today() -> date:
    return datetime.now(UTC).date()
