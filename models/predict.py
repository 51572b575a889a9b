"""From a bundle and dataset rows to the forecast frame: probabilities, bands, tail and validity."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import expit, logit
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from features.contracts import (
    EVENTS,
    FORECAST_COLUMNS,
    HORIZONS,
    STYLE_SMALL,
    TAIL_COLUMNS,
    Dataset,
    Event,
    FloatArray,
)
from features.errors import BundleError, LookAheadError
from models.bundle import Bundle
from models.coherence import probabilities, project
from models.design import Design, build_design, build_layout
from models.heads import RawScores, raw_scores, variance
from models.memory import Key, Memory
from models.scenarios import ScenarioSet
from models.schedule import day_text
from models.tails import RowTail, Targets, tail_frame, tilted
from models.validity import Judgement, judge, with_tail

_KEY = ("pair", "decision_date", "horizon_weeks")


@dataclass(frozen=True, eq=False)
class HeadScores:
    """One head at some rows: its design, raw parts, and log-odds from the base rate to the published number.

    In order: `base`, the shared `level`, `start` (with the scenario set), `calibrated`, `published`; `start_error` is
    the standard error that the scenario set's calibration adds.
    """

    design: Design
    raw: RawScores
    base: FloatArray
    level: FloatArray
    start: FloatArray
    start_error: FloatArray
    calibrated: FloatArray
    published: FloatArray


def check_contract(bundle: Bundle, dataset: Dataset, rows: pd.MultiIndex) -> None:
    """Refuse a bundle that must not forecast the rows.

    Raises
    ------
    LookAheadError
        If a row lies before the bundle's cut.
    BundleError
        If the bundle is of another market or another feature catalogue.
    """
    if bundle.market != dataset.market:
        raise BundleError(
            f"the bundle is of market {bundle.market!r}, the data are of {dataset.market!r}; name another"
        )
    if bundle.features != dataset.features:
        raise BundleError("the feature catalogue differs from the bundle's; train it again")
    dates = rows.get_level_values("decision_date").to_numpy("datetime64[us]")
    if len(dates) and dates.min() < bundle.cut:
        raise LookAheadError(
            f"bundle of cut {day_text(bundle.cut)} must not forecast {day_text(dates.min())}; "
            "use a bundle whose cut is not later"
        )


def head_scores(
    bundle: Bundle, dataset: Dataset, rows: pd.MultiIndex, base: pd.DataFrame, horizon: int
) -> dict[Event, HeadScores]:
    """Score every event at one horizon.

    Parameters
    ----------
    bundle : Bundle
    dataset : Dataset
    rows : pandas.MultiIndex of (pair, decision_date)
    base : pandas.DataFrame
        As `models.base.base_frame` returns it.
    horizon : int

    Raises
    ------
    LookAheadError, BundleError
        As `check_contract`.
    """
    check_contract(bundle, dataset, rows)
    values = dataset.values.loc[rows]
    style = dataset.rows.loc[rows, "style"].to_numpy(np.int64)
    keyed = _with_horizon(rows, horizon)
    parts = {}
    for event in EVENTS:
        head = bundle.heads[event, horizon]
        design = build_design(build_layout(event, bundle.features), bundle.scaler, values, style)
        raw = raw_scores(head, design)
        rate = logit(base[event].reindex(keyed).to_numpy(np.float64))
        level = logit(base[f"{event}_shared"].reindex(keyed).to_numpy(np.float64))
        implied = logit(base[f"{event}_implied"].reindex(keyed).to_numpy(np.float64))
        start = head.start(level, implied)
        error = head.start_error(level, implied)
        parts[event] = (design, raw, rate, level, start, error, start + head.deviation(raw.linear, raw.trees))
    published = project({event: part[6] for event, part in parts.items()}, style, horizon)
    return {event: HeadScores(*part, published[event]) for event, part in parts.items()}


@dataclass(frozen=True, eq=False)
class Draft:
    """Forecasts of some rows before the level correction.

    Parameters
    ----------
    forecasts : pandas.DataFrame
        Columns `FORECAST_COLUMNS` but the tails.
    held : mapping of key to RowTail
        Tail curves of the rows that have a scenario set.
    judgements : mapping of key to Judgement
        Validity of every row and its reasons.
    scenarios : ScenarioSet, optional
        Tilted set of the last decision of the rows.
    """

    forecasts: pd.DataFrame
    held: Mapping[Key, RowTail]
    judgements: Mapping[Key, Judgement]
    scenarios: ScenarioSet | None

    @property
    def quantiles(self) -> dict[Key, FloatArray]:
        """Both sides' quantiles of every row, for the memory of the next bundle."""
        return {key: row.curves[:, 0] for key, row in self.held.items()}


@dataclass(frozen=True, eq=False)
class Prediction:
    """Forecasts of some rows.

    Parameters
    ----------
    forecasts : pandas.DataFrame
        Columns `FORECAST_COLUMNS`, one row per (pair, decision_date) and horizon. A row that abstains has null
        probabilities; outcomes are null until matured.
    tails : pandas.DataFrame
        As `models.tails.tail_frame`: what the tails were before tilt and level correction.
    """

    forecasts: pd.DataFrame
    tails: pd.DataFrame


def predict(bundle: Bundle, dataset: Dataset, rows: pd.MultiIndex, base: pd.DataFrame) -> Prediction:
    """Forecast rows with one bundle: `draft`, then `finish` with the bundle's own memory."""
    return finish(draft(bundle, dataset, rows, base), dataset, bundle.memory)


def draft(
    bundle: Bundle,
    dataset: Dataset,
    rows: pd.MultiIndex,
    base: pd.DataFrame,
    *,
    keep_scenarios: bool = False,
    tails: bool = True,
) -> Draft:
    """Forecast rows with one bundle, up to the level correction.

    Parameters
    ----------
    bundle : Bundle
    dataset : Dataset
    rows : pandas.MultiIndex of (pair, decision_date)
        Every row since the bundle's cut: the level correction counts their matured errors.
    base : pandas.DataFrame
        As `models.base.base_frame`.
    keep_scenarios : bool
        Whether to keep the last day's set; it is large.
    tails : bool
        Whether to draw the scenario sets; without them the probabilities are the same, and most of the time is saved.

    Raises
    ------
    LookAheadError, BundleError
        As `check_contract`.

    Information set: of each row, what was known at its decision; of the bundle, what matured before its cut.
    """
    check_contract(bundle, dataset, rows)
    judged = judge(bundle, dataset, rows)
    abstains = np.array([row.validity.startswith("abstain") for row in judged], dtype=np.bool_)
    frames, targets = [], {}
    for horizon in HORIZONS:
        frame, errors = _probabilities(bundle, dataset, rows, base, horizon)
        keys = [(str(pair), day, horizon) for pair, day in rows]
        published = frame[[f"p_{event}" for event in EVENTS]].to_numpy(np.float64)
        for place in np.flatnonzero(~abstains):
            targets[keys[place]] = published[place], errors[place]
        frame.loc[abstains, [f"p_{event}{end}" for event in EVENTS for end in ("", "_lo", "_hi")]] = np.nan
        frames.append(frame)
    held, scenarios = _tails(bundle, dataset, rows, targets) if tails else ({}, None)
    judgements: dict[Key, Judgement] = {}
    for horizon, frame in zip(HORIZONS, frames, strict=True):
        keys = [(str(pair), day, horizon) for pair, day in rows]
        final = [with_tail(row, held.get(key)) for row, key in zip(judged, keys, strict=True)]
        judgements |= dict(zip(keys, final, strict=True))
        frame["validity"], frame["reasons"] = [row.validity for row in final], [row.text for row in final]
    return Draft(pd.concat(frames, ignore_index=True), held, judgements, scenarios if keep_scenarios else None)


def finish(drafted: Draft, dataset: Dataset, memory: Memory) -> Prediction:
    """Read the tails of drafted rows at the corrected level.

    Information set: of each row, outcomes with matured_at <= its decision.
    """
    result = drafted.forecasts.copy()
    tails = tail_frame(dataset, memory, drafted.held)
    aligned = tails.reindex(pd.MultiIndex.from_frame(result[list(_KEY)]))
    for column in TAIL_COLUMNS:
        result[column] = aligned[column].to_numpy(np.float64)
    result = result[list(FORECAST_COLUMNS)].sort_values(["decision_date", "pair", "horizon_weeks"], ignore_index=True)
    return Prediction(result, tails)


def _probabilities(
    bundle: Bundle, dataset: Dataset, rows: pd.MultiIndex, base: pd.DataFrame, horizon: int
) -> tuple[pd.DataFrame, FloatArray]:
    """Everything of the forecast frame but tails and validity, and the standard error of each probability, (n, 3)."""
    scores = head_scores(bundle, dataset, rows, base, horizon)
    keyed = _with_horizon(rows, horizon)
    outcome = dataset.outcomes.reindex(keyed)
    chosen = dataset.rows.loc[rows]
    style = chosen["style"].to_numpy(np.int64)
    frame = pd.DataFrame(
        {
            "market": dataset.market,
            "pair": rows.get_level_values("pair"),
            "decision_date": rows.get_level_values("decision_date"),
            "entry_date": outcome["entry_date"].to_numpy(),
            "exit_date": outcome["exit_date"].to_numpy(),
            "horizon_weeks": horizon,
            "style_in_force": np.where(style == STYLE_SMALL, "small", "large"),
            "sigma": chosen["sigma"].to_numpy(),
            "spread_realised": outcome["spread_realised"].to_numpy(),
            "bundle_cut": bundle.cut,
            "snapshot_id": chosen["snapshot_id"].to_numpy(),
            "config_hash": bundle.config_hash,
            "code_version": bundle.code_version,
        }
    )
    p = probabilities({event: score.published for event, score in scores.items()}, style, horizon)
    errors = np.empty((len(rows), len(EVENTS)))
    for place, event in enumerate(EVENTS):
        score, head = scores[event], bundle.heads[event, horizon]
        n = np.maximum(base[f"{event}_n"].reindex(keyed).to_numpy(np.float64) / horizon, 1.0)
        rate = expit(score.base)
        error = np.sqrt(variance(head, rate, n, score.start_error, score.raw))
        half = bundle.settings.band * error
        frame[f"p_{event}"] = p[event]
        frame[f"p_{event}_base"] = rate
        frame[f"p_{event}_lo"] = np.minimum(expit(score.published - half), p[event])
        frame[f"p_{event}_hi"] = np.maximum(expit(score.published + half), p[event])
        frame[f"y_{event}"] = outcome[f"y_{event}"].to_numpy()
        errors[:, place] = error * p[event] * (1 - p[event])
    return frame, errors


def _tails(
    bundle: Bundle, dataset: Dataset, rows: pd.MultiIndex, targets: Targets
) -> tuple[dict[Key, RowTail], ScenarioSet | None]:
    """Tail of each row whose segments have a scenario set, and the set of the last day."""
    held: dict[Key, RowTail] = {}
    scenarios = None
    wanted = {(str(pair), day) for pair, day in rows}
    with threadpool_limits(1, "blas"):  # the products are small: threads only get in each other's way
        for day in np.unique(rows.get_level_values("decision_date").to_numpy("datetime64[us]")):
            found = tilted(dataset, {bundle.cut: bundle.volatility}, day, targets, bundle.settings.scenarios)
            scenarios = None
            if found is not None:
                scenarios, tails = found
                held |= {key: row for key, row in tails.items() if key[:2] in wanted}
    return held, scenarios


def _with_horizon(rows: pd.MultiIndex, horizon: int) -> pd.MultiIndex:
    return pd.MultiIndex.from_arrays(
        [rows.get_level_values(0), rows.get_level_values(1), np.full(len(rows), horizon)],
        names=["pair", "decision_date", "horizon_weeks"],
    )
