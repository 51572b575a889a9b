"""The weekly panel: every feature of the catalogue at every decision, as it was knowable."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd

from features.contracts import BoolArray, FeatureInfo, FloatArray, History, TimeArray
from features.errors import DefinitionError
from features.market import FeatureSpec, MarketSpec, PairSpec
from features.pointintime import align, evaluate_at, newest_periods
from features.states import STATE_FEATURES
from features.transforms import evaluate, parse_formula

_STATE = "state:"


class Cells(NamedTuple):
    """One feature at every decision, each array of shape (m,).

    Parameters
    ----------
    value : array of float
        Missing where an input does not exist yet, is stale, or is dead.
    known_at : array of datetime64[us]
        When the newest input became known; NaT where the value is missing.
    stale : array of bool
        Whether the value is missing only because an input is older than its limit. A feature of which an input has
        died is not stale: it is gone.
    """

    value: FloatArray
    known_at: TimeArray
    stale: BoolArray


def feature_infos(market: MarketSpec) -> tuple[FeatureInfo, ...]:
    """Return what models need to know of each feature, in catalogue order."""
    infos = []
    for name, spec in market.features.items():
        kinds = {market.series[source].vintage for source in spec.inputs if source in market.series}
        vintage = next((kind for kind in ("current", "computed", "first_print") if kind in kinds), "real")
        infos.append(
            FeatureInfo(name, spec.family, spec.scope, spec.sign, spec.tail, spec.unit, vintage, spec.why)  # type: ignore[arg-type]
        )
    return tuple(infos)


def state_name(spec: FeatureSpec) -> str | None:
    """Return the causal state that a ``state:NAME`` formula reads, or None.

    Raises
    ------
    DefinitionError
        If there is no such state.
    """
    if not spec.formula.startswith(_STATE):
        return None
    name = spec.formula.removeprefix(_STATE)
    if name not in STATE_FEATURES:
        raise DefinitionError(f"formula {spec.formula!r}: the states are {', '.join(STATE_FEATURES)}")
    return name


def resolve_inputs(spec: FeatureSpec, pair: PairSpec | None) -> tuple[str, ...]:
    """Return the series a feature reads, placeholders filled with the pair's segments."""
    if pair is None:
        return spec.inputs
    return tuple(source.format(small=pair.small, large=pair.large) for source in spec.inputs)


def feature_cells(
    spec: FeatureSpec, inputs: tuple[str, ...], series: Mapping[str, History], market: MarketSpec, clock: pd.DataFrame
) -> Cells:
    """Evaluate one feature at every decision.

    Parameters
    ----------
    spec : FeatureSpec
    inputs : tuple of str
        Resolved series names.
    series : mapping of str to History
    market : MarketSpec
    clock : pandas.DataFrame, indexed by decision_date, ascending
        `decision_at` in UTC.

    Returns
    -------
    Cells

    Information set: rows with known_at <= the decision.
    """
    times = clock["decision_at"].to_numpy("datetime64[us]")
    nothing = np.full(len(times), np.datetime64("NaT"), dtype="datetime64[us]")
    if any(source not in series or len(series[source]) == 0 for source in inputs):
        return Cells(np.full(len(times), np.nan), nothing, np.zeros(len(times), dtype=np.bool_))
    stages = parse_formula(spec.formula, len(inputs))
    value, newest, known_at = evaluate_at(
        align([series[source] for source in inputs]), times, lambda rows, wanted: evaluate(stages, rows, wanted)
    )
    decision = clock.index.to_numpy("datetime64[us]")
    limits = [np.timedelta64(market.series[source].stale_days, "D") for source in inputs]
    # Comparisons with NaT are false: what has no newest period is not fresh.
    alive = np.isfinite(value)
    fresh = decision - newest <= max(limits)
    for source, limit in zip(inputs, limits, strict=True):
        fresh &= decision - newest_periods(series[source], times) <= limit
        died = market.series[source].died
        if died is not None:
            alive &= decision <= np.datetime64(died, "us")
    usable = alive & fresh
    return Cells(np.where(usable, value, np.nan), np.where(usable, known_at, nothing), alive & ~fresh)


def build_panel(
    market: MarketSpec,
    series: Mapping[str, History],
    states: Mapping[str, pd.DataFrame],
    clock: pd.DataFrame,
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Build the panel of every pair.

    Parameters
    ----------
    market : MarketSpec
    series : mapping of str to History
    states : mapping of pair to frame, each indexed by decision_date
        Causal states and `price_known_at`.
    clock : pandas.DataFrame, indexed by decision_date, ascending

    Returns
    -------
    values, known_at, stale : pandas.DataFrame, indexed by (pair, decision_date)
        The parts of `Cells`, one column per feature of the catalogue; rows are those of `states`. A state is never
        stale: where the day's close is not known there is no row.

    Information set: each cell uses rows with known_at <= its decision.
    """
    columns: dict[str, dict[str, Cells]] = {pair: {} for pair in market.pairs}
    for name, spec in market.features.items():
        state = state_name(spec)
        shared = feature_cells(spec, spec.inputs, series, market, clock) if spec.scope == "market" else None
        for pair, pair_spec in market.pairs.items():
            frame = states[pair]
            if state is not None:
                value = frame[state].to_numpy(np.float64)
                known = np.where(
                    np.isfinite(value), frame["price_known_at"].to_numpy("datetime64[us]"), np.datetime64("NaT")
                )
                columns[pair][name] = Cells(value, known, np.zeros(len(frame), dtype=np.bool_))
            else:
                cells = shared or feature_cells(spec, resolve_inputs(spec, pair_spec), series, market, clock)
                position = clock.index.get_indexer(frame.index)
                value, known, stale = cells
                columns[pair][name] = Cells(value[position], known[position], stale[position])
    names = list(market.features)
    frames = []
    for part in range(len(Cells._fields)):
        pieces = {
            pair: pd.DataFrame({name: cells[name][part] for name in names}, index=states[pair].index)
            for pair, cells in columns.items()
        }
        frames.append(pd.concat(pieces, names=["pair", "decision_date"]))
    return frames[0], frames[1], frames[2]
