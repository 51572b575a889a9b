"""What a published forecast would have said had some of its inputs been different. Writes nothing.

A stored forecast holds every input and where each head started, so neither store nor dataset is needed: the bundle is
asked again with the published inputs, has to repeat the published numbers, and then with the moved ones.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from features.contracts import EVENTS, HORIZONS, STYLE_LARGE, STYLE_SMALL, Event, Family, IntArray, Validity
from features.errors import BundleError, DataContractError, StaleDataError
from models.bundle import Bundle
from models.coherence import probabilities
from models.explain import SCENARIO_FEATURE, Explanation, explain_head
from models.schedule import day_text
from models.validity import judge_inputs
from models.whatif import Place, Start, place_of, rescored
from serving.record import Forecast, HeadForecast, PairForecast

TOLERANCE = 1e-9
"""Log-odds: how far a bundle may miss the published number before it is taken for another one."""
_ORDER: tuple[Validity, ...] = ("validated", "stress_supported", "out_of_support", "abstain_stale", "abstain_missing")


@dataclass(frozen=True)
class Move:
    """One input that was moved, and where its new value lies in the training rows."""

    feature: str
    family: Family
    unit: str
    before: float | None
    after: float
    place: Place


@dataclass(frozen=True)
class Shift:
    """What one feature contributes to one head's log-odds, with the published and with the moved inputs."""

    feature: str
    family: str
    before: float
    after: float


@dataclass(frozen=True)
class MovedHead:
    """One probability before and after; base log-odds plus all contributions make the log-odds, on both sides."""

    event: Event
    horizon_weeks: int
    base: float
    base_log_odds: float
    before: float
    after: float
    log_odds_before: float
    log_odds_after: float
    contributions: tuple[Shift, ...]


@dataclass(frozen=True)
class WhatIf:
    """A published forecast of one pair beside the same with moved inputs.

    `out_of_support` says that at least one moved input lies beyond everything that the bundle saw in training;
    `validity_after` is never better than what was published.
    """

    pair: str
    moves: tuple[Move, ...]
    out_of_support: bool
    validity_before: Validity
    validity_after: Validity
    heads: tuple[MovedHead, ...]


def what_if(forecast: Forecast, bundle: Bundle, pair: str, changes: Mapping[str, float]) -> WhatIf:
    """Ask a bundle what it would have published with other inputs.

    Parameters
    ----------
    forecast : Forecast
        As published.
    bundle : Bundle
        The one that made it.
    pair : str
    changes : mapping of feature to value
        In the feature's own unit. Everything else stays, what follows from a feature in the world included.

    Raises
    ------
    DataContractError
        If the pair or a feature is unknown, or a value is not finite.
    StaleDataError
        If the forecast abstains: there is nothing to move.
    BundleError
        If the bundle is not the one that made the forecast, or does not repeat its numbers.

    Information set: what the published forecast says; of the bundle, what matured before its cut.
    """
    rows = [row for row in forecast.pairs if row.pair == pair]
    if not rows:
        raise DataContractError(f"`pair` must be one of {', '.join(pair_names(forecast))}; got {pair!r}")
    infos = {info.name: info for info in bundle.features}
    if unknown := sorted(set(changes) - set(infos)):
        raise DataContractError(f"`changes` must name features of the bundle; got {unknown[0]!r}")
    if wrong := sorted(name for name, value in changes.items() if not math.isfinite(value)):
        raise DataContractError(f"`changes` must be finite numbers; got {changes[wrong[0]]} for {wrong[0]}")
    _same(forecast, bundle)
    if any(row.validity.startswith("abstain") for row in rows):
        raise StaleDataError(f"the forecast of {pair} on {forecast.decision_date} abstains; there is nothing to move")
    values, stale = _inputs(bundle, rows[0], changes)
    style = np.full(2, STYLE_SMALL if rows[0].style_in_force == "small" else STYLE_LARGE, dtype=np.int64)
    heads = [head for row in rows for head in _heads(bundle, row, values, style)]
    moves = tuple(
        Move(
            name, infos[name].family, infos[name].unit, _number(values[name].iloc[0]), value,
            place_of(bundle, name, value),
        )
        for name, value in changes.items()
    )  # fmt: skip
    outside = any(move.place.out_of_support for move in moves)
    judged = judge_inputs(bundle, values, stale)[1].validity
    before = _worst(*(row.validity for row in rows))
    after = _worst(before, judged, "out_of_support" if outside else "validated")
    return WhatIf(pair, moves, outside, before, after, tuple(heads))


def pair_names(forecast: Forecast) -> tuple[str, ...]:
    """Name the pairs that a forecast speaks of, each once."""
    return tuple(dict.fromkeys(row.pair for row in forecast.pairs))


def _worst(*validities: Validity) -> Validity:
    return _ORDER[max(_ORDER.index(validity) for validity in validities)]


def _same(forecast: Forecast, bundle: Bundle) -> None:
    said = (forecast.market, forecast.bundle_cut.isoformat(), forecast.config_hash, forecast.code_version)
    have = (bundle.market, day_text(bundle.cut), bundle.config_hash, bundle.code_version)
    if said != have:
        raise BundleError(f"the forecast is of bundle {'/'.join(said)}, this is {'/'.join(have)}; name another")


def _inputs(bundle: Bundle, row: PairForecast, changes: Mapping[str, float]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return published and moved inputs, two rows, and that none of them is stale: the forecast does not abstain."""
    drivers = {driver.feature: driver.value for driver in row.heads[EVENTS[0]].drivers}
    names = [info.name for info in bundle.features]
    if missing := [name for name in names if name not in drivers]:
        raise BundleError(f"the forecast says nothing of {missing[0]}; the bundle has another catalogue")
    published = {name: np.nan if drivers[name] is None else drivers[name] for name in names}
    values = pd.DataFrame([published, {**published, **changes}], columns=names, dtype=np.float64)
    return values, pd.DataFrame(False, index=values.index, columns=names)


def _heads(bundle: Bundle, row: PairForecast, values: pd.DataFrame, style: IntArray) -> list[MovedHead]:
    horizon = row.horizon_weeks
    if horizon not in HORIZONS:
        raise BundleError(f"the forecast has a horizon of {horizon} week(s), which the bundle does not know")
    scores = rescored(bundle, horizon, values, style, {event: _start(row.heads[event]) for event in EVENTS})
    chances = probabilities({event: score.published for event, score in scores.items()}, style, horizon)
    heads = []
    for event in EVENTS:
        said, score = row.heads[event], scores[event]
        if said.log_odds is None or abs(said.log_odds - score.published[0]) > TOLERANCE:
            raise BundleError(
                f"the bundle does not repeat what was published of {event} at {horizon} week(s); forecast it again"
            )
        explained = explain_head(bundle, score, event, horizon)
        before, after = (float(chance) for chance in chances[event])
        heads.append(
            MovedHead(
                event, horizon, said.base, said.base_log_odds, before, after,
                float(score.published[0]), float(score.published[1]), _shifts(explained),
            )
        )  # fmt: skip
    return heads


def _start(head: HeadForecast) -> Start:
    """Read off the published contributions where a head started."""
    parts = {driver.feature: driver.log_odds for driver in head.drivers}
    level = head.base_log_odds + parts["calibration"]
    return Start(head.base_log_odds, level, level + parts[SCENARIO_FEATURE])


def _shifts(explained: Explanation) -> tuple[Shift, ...]:
    before, after = explained.contributions
    return tuple(
        Shift(name, family, float(was), float(now))
        for name, family, was, now in zip(explained.names, explained.families, before, after, strict=True)
    )


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
