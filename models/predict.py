"""From a bundle and dataset rows to the forecast frame: probabilities, bands, tail and validity."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import expit, logit

from features.contracts import (
    EVENTS,
    FORECAST_COLUMNS,
    HORIZONS,
    STYLE_SMALL,
    TAIL_COLUMNS,
    Dataset,
    Event,
    FloatArray,
    Validity,
)
from features.errors import BundleError, LookAheadError
from models.bundle import Bundle
from models.coherence import probabilities, project
from models.design import Design, build_design, build_layout
from models.heads import RawScores, raw_scores
from models.schedule import day_text
from models.tail import tail_forecast

_STRESS_SHARE = 0.15
"""Share of live features outside the training quantiles from which a forecast is called a stress forecast."""
_OUTSIDE_SHARE = 0.05
"""Share of live features outside everything seen in training from which a forecast is out of support."""


@dataclass(frozen=True, eq=False)
class HeadScores:
    """One head at some rows: its design, raw parts, and the log-odds of base, start, calibrated and published."""

    design: Design
    raw: RawScores
    base: FloatArray
    level: FloatArray
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
        Climatology, as `models.climatology.climatology` returns it.
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
        parts[event] = (design, raw, rate, level, level + head.deviation(raw.linear, raw.trees))
    published = project({event: part[4] for event, part in parts.items()}, style, horizon)
    return {event: HeadScores(*part, published[event]) for event, part in parts.items()}


def predict(bundle: Bundle, dataset: Dataset, rows: pd.MultiIndex, base: pd.DataFrame) -> pd.DataFrame:
    """Forecast rows with one bundle.

    Returns
    -------
    pandas.DataFrame
        Columns `FORECAST_COLUMNS`, one row per (pair, decision_date) and horizon. A row that abstains has null
        probabilities; outcomes are null until matured.

    Raises
    ------
    LookAheadError, BundleError
        As `check_contract`.

    Information set: of each row, what was known at its decision; of the bundle, what matured before its cut.
    """
    check_contract(bundle, dataset, rows)
    tails = _tails(bundle, dataset, rows)
    validity, reasons = _validity(bundle, dataset.values.loc[rows])
    abstains = np.array([name.startswith("abstain") for name in validity])
    chosen = dataset.rows.loc[rows]
    style = chosen["style"].to_numpy(np.int64)
    frames = []
    for horizon in HORIZONS:
        scores = head_scores(bundle, dataset, rows, base, horizon)
        outcome = dataset.outcomes.reindex(_with_horizon(rows, horizon))
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
                "validity": validity,
                "bundle_cut": bundle.cut,
                "snapshot_id": chosen["snapshot_id"].to_numpy(),
                "config_hash": bundle.config_hash,
                "code_version": bundle.code_version,
            }
        )
        p = probabilities({event: score.published for event, score in scores.items()}, style, horizon)
        for event in EVENTS:
            score = scores[event]
            head = bundle.heads[event, horizon]
            n = np.maximum(base[f"{event}_n"].reindex(_with_horizon(rows, horizon)).to_numpy(np.float64) / horizon, 1.0)
            rate = expit(score.base)
            variance = 1 / (n * rate * (1 - rate))
            variance += head.slope**2 * (score.raw.linear_error**2 + (head.pool * score.raw.trees_error) ** 2)
            half = bundle.settings.band * np.sqrt(variance)
            frame[f"p_{event}"] = np.where(abstains, np.nan, p[event])
            frame[f"p_{event}_base"] = rate
            frame[f"p_{event}_lo"] = np.where(abstains, np.nan, np.minimum(expit(score.published - half), p[event]))
            frame[f"p_{event}_hi"] = np.where(abstains, np.nan, np.maximum(expit(score.published + half), p[event]))
            frame[f"y_{event}"] = outcome[f"y_{event}"].to_numpy()
        frame["spread_realised"] = outcome["spread_realised"].to_numpy()
        for column in TAIL_COLUMNS:
            frame[column] = [tail[horizon][column] if tail else np.nan for tail in tails]
        frame["reasons"] = [
            "; ".join(([why] if why else []) + ([] if tail else ["no tail: too few daily closes"]))
            for why, tail in zip(reasons, tails, strict=True)
        ]
        frames.append(frame)
    result = pd.concat(frames, ignore_index=True)[list(FORECAST_COLUMNS)]
    return result.sort_values(["decision_date", "pair", "horizon_weeks"], ignore_index=True)


def _with_horizon(rows: pd.MultiIndex, horizon: int) -> pd.MultiIndex:
    return pd.MultiIndex.from_arrays(
        [rows.get_level_values(0), rows.get_level_values(1), np.full(len(rows), horizon)],
        names=["pair", "decision_date", "horizon_weeks"],
    )


def _tails(bundle: Bundle, dataset: Dataset, rows: pd.MultiIndex) -> list[Mapping[int, Mapping[str, float]] | None]:
    """Tail of each row, None where the pair has too short a history."""
    at = dataset.rows["decision_at"].reindex(rows).to_numpy("datetime64[us]")
    entry = dataset.rows["entry_date"].reindex(rows).to_numpy("datetime64[us]")
    exits = {
        horizon: dataset.outcomes["exit_date"].reindex(_with_horizon(rows, horizon)).to_numpy("datetime64[us]")
        for horizon in HORIZONS
    }
    result: list[Mapping[int, Mapping[str, float]] | None] = []
    for place, (pair, date) in enumerate(rows):
        params = bundle.tails.get(pair)
        if params is None:
            result.append(None)
            continue
        dates, line = dataset.lines[pair].as_of(at[place])
        day = np.datetime64(date, "us")
        inside = dates <= day
        first = np.searchsorted(dataset.sessions, entry[place], side="right")
        steps = {
            horizon: int(np.searchsorted(dataset.sessions, exits[horizon][place], side="right") - first)
            for horizon in HORIZONS
        }
        gap = int(first - np.searchsorted(dataset.sessions, day, side="right"))
        key = zlib.crc32(f"{pair}|{day_text(day)}".encode())
        tail = tail_forecast(params, dates[inside], line[inside, 0], gap, steps, key)
        result.append({horizon: vars(row) for horizon, row in tail.items()})
    return result


def _validity(bundle: Bundle, values: pd.DataFrame) -> tuple[list[Validity], list[str]]:
    """Judge each row by what is missing and by its distance from what training saw."""
    known = [info for info in bundle.features if info.name in bundle.support.low]
    x = values[[info.name for info in known]]
    live = x.notna().to_numpy()
    low, high, least, most = (
        np.array([bound[info.name] for info in known])
        for bound in (bundle.support.low, bundle.support.high, bundle.support.least, bundle.support.most)
    )
    raw = x.to_numpy(np.float64)
    margin = 0.1 * (most - least)
    unusual = live & ((raw < low) | (raw > high))
    unseen = live & ((raw < least - margin) | (raw > most + margin))
    count = np.maximum(live.sum(axis=1), 1)
    validity: list[Validity] = []
    reasons = []
    for row in range(len(values)):
        alive = {info.family for info, lives in zip(known, live[row], strict=True) if lives}
        gone = [family for family in bundle.families if family not in alive]
        names = [info.name for info, outside in zip(known, unseen[row], strict=True) if outside]
        if gone:
            validity.append("abstain_missing")
            reasons.append(f"no live feature in {', '.join(gone)}")
        elif unseen[row].sum() / count[row] > _OUTSIDE_SHARE:
            validity.append("out_of_support")
            reasons.append(f"beyond everything seen in training: {', '.join(names)}")
        elif unusual[row].sum() / count[row] > _STRESS_SHARE:
            validity.append("stress_supported")
            reasons.append(f"{int(unusual[row].sum())} of {count[row]} features in their outer 2%")
        else:
            validity.append("validated")
            reasons.append("")
    return validity, reasons
