"""The leak audit: recompute on what was known at a cut, and require that nothing up to the cut is different.

One function, used on the real code (`test_truncation.py`) and on planted leaks (`test_planted.py`), to be caught.
A cut that changes nothing proves little by itself: noisy data and thirty cuts or more are the point.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

import numpy as np
import pandas as pd

from features.contracts import EVENTS, HORIZONS, Dataset, TimeArray
from features.dataset import build_dataset
from features.market import MarketSpec
from features.panel import resolve_inputs
from models.climatology import climatology
from training.fit import matured_rows

PANEL = ("rows", "values", "known_at", "stale")
LABELS = ["spread_realised", "y_switch", "y_large", "y_crash"]


@dataclass(frozen=True)
class Leak:
    """One number that would have been different, or should not have been there, when its decision was taken."""

    part: str
    column: str
    at: pd.Timestamp
    cut: pd.Timestamp
    what: str


def training_rows(dataset: Dataset, base: pd.DataFrame, cut: np.datetime64) -> pd.DataFrame:
    """Return every row that a head fitted at `cut` learns from, with its outcome and base log-odds."""
    dates = dataset.rows.index.get_level_values("decision_date").to_numpy("datetime64[us]")
    cut_at = dataset.rows["decision_at"].to_numpy("datetime64[us]")[dates == cut][0]
    frames = {}
    for event in EVENTS:
        for horizon in HORIZONS:
            rows, labels = matured_rows(dataset, base, event, horizon, cut_at)
            parts = {"y": labels.y, "offset": labels.level, "implied": labels.implied}
            frames[event, horizon] = pd.DataFrame(parts, index=rows)
    return pd.concat(frames, names=["event", "horizon_weeks"])


def base_rates(dataset: Dataset) -> pd.DataFrame:
    """Return the climatology without scenario sets: those have an audit of their own, `tests.leak.scenario_audit`."""
    return climatology(dataset).assign(**{f"{event}_implied": np.nan for event in EVENTS})


@dataclass(frozen=True)
class Pipeline:
    """What is audited: from observations to data set, base rates and training rows."""

    build: Callable[[pd.DataFrame, MarketSpec, np.datetime64], Dataset] = build_dataset
    base: Callable[[Dataset], pd.DataFrame] = base_rates
    training: Callable[[Dataset, pd.DataFrame, np.datetime64], pd.DataFrame] = training_rows


def audit(
    market: MarketSpec,
    observations: pd.DataFrame,
    cuts: TimeArray,
    pipeline: Pipeline | None = None,
    *,
    stop_at: Collection[str] = (),
) -> list[Leak]:
    """Compare a data set with its recomputation at every cut, and its cells with the inputs' clocks and lifetimes.

    Parameters
    ----------
    market : MarketSpec
        The declared definition: lifetimes and staleness limits are judged by it, whatever the pipeline does.
    observations : pandas.DataFrame
        `series, period, known_at, value`.
    cuts : array of datetime64[us]
        Decision days with a row; the data set is built to the last one.
    pipeline : Pipeline, optional
        The real one by default.
    stop_at : collection of str
        Return as soon as something is found in one of these parts.
    """
    pipeline = pipeline or Pipeline()
    full = pipeline.build(observations, market, cuts[-1])
    full_base = pipeline.base(full)
    leaks = clocks(full) + lifetimes(market, observations, full)
    for cut in cuts[:-1]:
        if any(leak.part in stop_at for leak in leaks):
            return leaks
        rows = full.rows[full.rows.index.get_level_values("decision_date") == pd.Timestamp(cut)]
        cut_at = rows["decision_at"].iloc[0]
        known = observations[observations["known_at"] <= cut_at]
        short = pipeline.build(known, market, cut)
        base = pipeline.base(short)
        pairs: list[tuple[str, pd.DataFrame, pd.DataFrame]] = [
            (part, _until(getattr(full, part), cut), getattr(short, part)) for part in PANEL
        ]
        pairs.append(("labels", *_labels(full, short, cut, cut_at)))
        pairs.append(("base", _until(full_base, cut), base))
        pairs.append(("training", pipeline.training(full, full_base, cut), pipeline.training(short, base, cut)))
        for part, expected, got in pairs:
            leaks += differences(part, expected, got, pd.Timestamp(cut))
    return leaks


def differences(part: str, full: pd.DataFrame, short: pd.DataFrame, cut: pd.Timestamp) -> list[Leak]:
    """Return one leak per column that differs, at its first row; equality is exact, missing equals missing."""
    if full.equals(short):
        return []
    dates = full.index.get_level_values("decision_date")
    if list(full.columns) != list(short.columns):
        return [Leak(part, "columns", cut, cut, f"{set(full.columns) ^ set(short.columns)} come or go")]
    if not full.index.equals(short.index):
        odd = full.index.symmetric_difference(short.index)
        return [Leak(part, "index", odd.get_level_values("decision_date").min(), cut, f"{len(odd)} rows come or go")]
    leaks = []
    for column in full.columns:
        one, other = full[column], short[column]
        same = (one == other) | (one.isna() & other.isna())
        if not same.all():
            first = int(np.flatnonzero(~same.to_numpy())[0])
            leaks.append(
                Leak(part, column, dates[first], cut, f"{one.iloc[first]} with later data, {other.iloc[first]} without")
            )
    return leaks


def clocks(dataset: Dataset) -> list[Leak]:
    """Return cells that were known after their decision, or that do not say when."""
    at = dataset.rows["decision_at"].to_numpy("datetime64[us]")
    dates = dataset.rows.index.get_level_values("decision_date")
    leaks = []
    for column in dataset.values.columns:
        known = dataset.known_at[column].to_numpy("datetime64[us]")
        late = dataset.values[column].notna().to_numpy() & ~(known <= at)
        if late.any():
            first = int(np.flatnonzero(late)[0])
            leaks.append(Leak("known_at", column, dates[first], dates[first], f"known {known[first]}"))
    return leaks


def lifetimes(market: MarketSpec, observations: pd.DataFrame, dataset: Dataset) -> list[Leak]:
    """Return cells that live while one of their inputs is dead, unborn or older than its staleness limit."""
    times = dataset.rows["decision_at"].to_numpy("datetime64[us]")
    dates = dataset.rows.index.get_level_values("decision_date").to_numpy("datetime64[us]")
    pairs = dataset.rows.index.get_level_values("pair").to_numpy()
    vintages = {str(name): rows for name, rows in observations.groupby("series")}
    leaks = []
    for column, spec in market.features.items():
        live = dataset.values[column].notna().to_numpy()
        for name, pair in market.pairs.items():
            for source in resolve_inputs(spec, pair):
                mine = live & (pairs == name)
                wrong = mine & ~_alive(market, vintages, source, dates, times)
                if wrong.any():
                    first = pd.Timestamp(dates[wrong][0])
                    leaks.append(Leak("lifetime", column, first, first, f"{source} is dead, unborn or stale"))
    return leaks


def _alive(
    market: MarketSpec, vintages: dict[str, pd.DataFrame], source: str, dates: TimeArray, times: TimeArray
) -> np.ndarray:
    spec = market.series.get(source)
    if spec is None or source not in vintages:
        return np.zeros(len(dates), dtype=bool)
    rows = vintages[source]
    if spec.born is not None:
        rows = rows[rows["period"] >= pd.Timestamp(spec.born)]
    if spec.died is not None:
        rows = rows[rows["period"] <= pd.Timestamp(spec.died)]
    rows = rows.sort_values("known_at", kind="stable")
    newest = np.append(np.datetime64("NaT", "us"), rows["period"].cummax().to_numpy("datetime64[us]"))
    position = np.searchsorted(rows["known_at"].to_numpy("datetime64[us]"), times, side="right")
    alive = dates - newest[position] <= np.timedelta64(spec.stale_days, "D")
    if spec.died is not None:
        alive &= dates <= np.datetime64(spec.died, "us")
    return np.asarray(alive)


def _until(frame: pd.DataFrame, cut: np.datetime64) -> pd.DataFrame:
    return frame[frame.index.get_level_values("decision_date") <= pd.Timestamp(cut)]


def _labels(
    full: Dataset, short: Dataset, cut: np.datetime64, cut_at: pd.Timestamp
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Outcomes up to the cut; what has not matured by then must be missing in the recomputation."""
    expected = _until(full.outcomes, cut).copy()
    expected.loc[expected["matured_at"] > cut_at, LABELS] = np.nan
    return expected, short.outcomes


def spread_cuts(dataset: Dataset, n: int, *, after: float = 0.1) -> TimeArray:
    """Return `n` decision days spread over a data set, the last one included, the first `after` left out."""
    dates = np.unique(dataset.rows.index.get_level_values("decision_date").to_numpy("datetime64[us]"))
    chosen = np.unique(np.linspace(int(after * len(dates)), len(dates) - 1, n).round().astype(np.int64))
    return dates[chosen]
