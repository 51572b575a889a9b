"""Forecast every decision of a span as it would have been made then; what is finished is kept, so that it resumes.

Each process opens the store once, cuts each day's dataset out of the last one's, and writes each day as
`capshift score` does. Nothing is shared between days: a job that is killed anywhere goes on where it was.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from joblib.parallel import get_active_backend

from features.contracts import TimeArray
from features.errors import DataContractError, StaleDataError
from models.schedule import Plan, day_text, forecast_rows
from serving.backends import parallel_backend
from serving.day_files import PROVENANCE, DayFiles
from serving.market_score import lead_reasons
from serving.opened_market import OpenedMarket, open_market
from serving.preflight import preflight
from serving.steps import market_spec

_BATCH = 8
"""Days of each job in a batch, where a backend cannot hand back one result at a time."""
Outcome = Literal[
    "kept", "written", "unchanged", "replaced", "abstained", "refused", "no_close", "no_decision", "no_history"
]


@dataclass(frozen=True)
class BackfillJob:
    """What every process must know.

    Parameters
    ----------
    market : str
        Built-in market or absolute path of a definition.
    artifacts, out : Path
    last : str
        Last decision of the span, YYYY-MM-DD.
    snapshot : str
        Digest of what was known at it, so that no process works on other data.
    plan : Plan
        Says which bundles are used.
    """

    market: str
    artifacts: Path
    out: Path
    last: str
    snapshot: str
    plan: Plan

    @staticmethod
    def of(opened: OpenedMarket, market: str, out: Path) -> BackfillJob:
        """Describe the scoring of an opened market, `market` being what names it, for processes anywhere."""
        # What a path names must be found from every working folder.
        name = str(Path(market).resolve()) if market.endswith(".toml") else market
        last, snapshot = day_text(opened.last), opened.snapshot(opened.last)
        return BackfillJob(name, opened.artifacts.resolve(), out.resolve(), last, snapshot, opened.plan)


@dataclass(frozen=True)
class DayDone:
    """What became of a day: ``kept`` from an earlier run, written, or without a forecast and why."""

    day: str
    outcome: Outcome
    why: str = ""


def span_days(opened: OpenedMarket, first: np.datetime64) -> TimeArray:
    """Return the decisions from `first` to the last of an opened market.

    Raises
    ------
    DataContractError
        If there is none, or the market's forecasts begin later.
    """
    days = opened.dataset.clock.index.to_numpy("datetime64[us]")
    chosen: TimeArray = days[days >= first]
    if not len(chosen):
        raise DataContractError(f"`from` must not lie after `to`; no decision between {day_text(first)} and the end")
    # Refuses days before the first decision.
    opened.cut(chosen[0])
    return chosen


def run_backfill(opened: OpenedMarket, days: TimeArray, job: BackfillJob, jobs: int, backend: str) -> Iterator[DayDone]:
    """Score days, in order, and yield what became of each; hold the lock of the output.

    Parameters
    ----------
    opened : OpenedMarket
        Up to the last day; its bundles must be there.
    days : array of datetime64[us]
    job : BackfillJob
    jobs : int
        Processes.
    backend : str
        One of `serving.backends.BACKENDS`.

    Raises
    ------
    DataContractError, BundleError, LockedError
        Of the first day that cannot be scored for a reason that is not its own.

    Information set: of each day, rows with known_at <= its decision.
    """
    finished = {
        day for day in days if DayFiles(job.out, opened.spec.name, day_text(day)).finished(expected(opened, day))
    }
    open_days = [day_text(day) for day in days if day not in finished]
    with parallel_backend(backend, jobs):
        results = _in_order(job, open_days, jobs)
        for day in days:
            yield DayDone(day_text(day), "kept") if day in finished else next(results)


def _in_order(job: BackfillJob, days: list[str], jobs: int) -> Iterator[DayDone]:
    """Score days and yield them in order, each as soon as it and those before it are done."""
    if get_active_backend()[0].supports_return_generator:
        yield from Parallel(return_as="generator")(delayed(score_day)(job, day) for day in days)
        return
    # Elsewhere results come in batches, small enough to show progress and to lose little.
    batch = _BATCH * jobs
    for start in range(0, len(days), batch):
        yield from Parallel()(delayed(score_day)(job, day) for day in days[start : start + batch])


def expected(opened: OpenedMarket, day: np.datetime64) -> dict[str, str]:
    """Return what a day's forecast must have been made from to be that of this data, configuration and code."""
    plan = opened.plan
    values = (day_text(opened.cut(day)), opened.snapshot(day), plan.config_hash, plan.code_version)
    return dict(zip(PROVENANCE, values, strict=True))


def score_day(job: BackfillJob, day: str) -> DayDone:
    """Score one day in a process of its own.

    Raises
    ------
    DataContractError
        If the store changed since the job began.
    """
    opened = _opened(job)
    at = np.datetime64(day, "us")
    if not opened.was_decision(at):
        return DayDone(day, "no_decision", "the market was expected to open once more in its week")
    try:
        if why := _too_young(opened, at):
            return DayDone(day, "no_history", why)
        found = preflight(opened, at)
        if found.refusal:
            return DayDone(day, "refused", found.refusal)
        call = opened.call(at)
    except StaleDataError as error:
        return DayDone(day, "no_close", str(error))
    written = DayFiles(job.out, opened.spec.name, day).write(call)
    reasons = lead_reasons(call)
    return DayDone(day, written if reasons is None else "abstained", reasons or "")


def _too_young(opened: OpenedMarket, day: np.datetime64) -> str:
    """Return what to say where the headline pair, though its close was known, is too young to be forecast."""
    headline, plan = opened.spec.headline, opened.plan
    rows = opened.dataset.rows.index
    if (headline, pd.Timestamp(day)) not in rows or (headline, pd.Timestamp(day)) in forecast_rows(
        opened.dataset, plan, day, None
    ):
        return ""
    return f"pair {headline} has less than {plan.min_weeks} weeks of history"


@lru_cache(maxsize=1)
def _opened(job: BackfillJob) -> OpenedMarket:
    opened = open_market(market_spec(job.market), job.artifacts, job.last, job.plan)
    if opened.snapshot(opened.last) != job.snapshot:
        raise DataContractError(
            f"{job.artifacts}: the store changed while the backfill ran; run it again, finished days that still agree "
            "are kept"
        )
    return opened
