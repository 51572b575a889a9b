"""Tails of forecast rows: simulate, tilt to the heads, read both sides, correct the level."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from features.contracts import EVENTS, HORIZONS, TAIL_COLUMNS, Dataset, FloatArray
from models.conformal import corrected_levels
from models.curve import ALPHA, GRID, QUANTILE_COLUMNS, read_curve, tail_curves
from models.implied import Refits, held_states, untilted
from models.memory import Key, Memory, settle
from models.scenarios import ScenarioSet, ordered_tail
from models.simulate import path_events, spread_returns
from models.tilt import Tilt, tilt
from models.volatility import ScenarioSettings

_SIDES = ("lower", "upper")
_MONTH_DAYS = 21


@dataclass(frozen=True, eq=False)
class RowTail:
    """The tail of one pair and horizon before the level correction.

    Parameters
    ----------
    curves, untilted : array, shape (2, 2, levels)
        As `models.curve.tail_curves`, read off the tilted and off the equally weighted paths; a row that has no
        target is read off the latter alone.
    quantiles : array, shape (2, len(GRID))
        The whole distribution, tilted and untilted, see `models.curve.GRID`.
    effective_size : float
        Of the whole set after the tilt, or before it where the row has no target.
    residual : array, shape (3,)
        What the tilt left open of each event's probability; missing where the row has no target.
    too_few : tuple of str
        Events that too few paths show.
    """

    curves: FloatArray
    untilted: FloatArray
    quantiles: FloatArray
    effective_size: float
    residual: FloatArray
    too_few: tuple[str, ...]


Targets = Mapping[Key, tuple[FloatArray, FloatArray]]
"""For each row the published probabilities of the three events and their standard errors; no entry if it abstains."""


def tilted(
    dataset: Dataset, volatility: Refits, day: np.datetime64, targets: Targets, settings: ScenarioSettings
) -> tuple[ScenarioSet, dict[Key, RowTail]] | None:
    """Return a day's tilted scenario set and the tail of every pair and horizon in it; None without a set.

    Information set: rows with known_at <= the decision; targets of that decision.
    """
    drawn = untilted(dataset, volatility, day, settings)
    if drawn is None:
        return None
    scenarios, when = drawn
    states = held_states(dataset, day, scenarios)
    keys = [(pair, pd.Timestamp(day), horizon) for pair in states for horizon in HORIZONS]
    aimed = [key for key in keys if key in targets]
    if aimed:
        columns = []
        for pair, _, horizon in aimed:
            happened = path_events(scenarios, states[pair], when.points, horizon)
            columns += [happened[event] for event in EVENTS]
        target, slack = (np.concatenate([targets[key][part] for key in aimed]) for part in (0, 1))
        found = tilt(np.column_stack(columns), target, slack, settings.window_days / _MONTH_DAYS)
    else:
        found = Tilt(scenarios.weights, np.array([]), np.array([], dtype=np.bool_))
    weighted = replace(scenarios, weights=found.weights)
    place = {key: slice(len(EVENTS) * number, len(EVENTS) * (number + 1)) for number, key in enumerate(aimed)}
    rows = {}
    for key in keys:
        values = spread_returns(scenarios, states[key[0]], key[2])
        order = np.argsort(values, kind="stable")
        equal = tail_curves(values[order], scenarios.weights)
        whole = ordered_tail(values[order], scenarios.weights, GRID)[0]
        own = place.get(key)
        if own is None:
            # What the heads say of other pairs must not stand in for what they do not say of this one.
            rows[key] = RowTail(
                equal, equal, np.stack([whole, whole]), scenarios.effective_size, np.full(len(EVENTS), np.nan), ()
            )
        else:
            few = tuple(event for event, used in zip(EVENTS, found.used[own], strict=True) if not used)
            curves = tail_curves(values[order], found.weights[order])
            quantiles = np.stack([ordered_tail(values[order], found.weights[order], GRID)[0], whole])
            rows[key] = RowTail(curves, equal, quantiles, weighted.effective_size, found.residual[own], few)
    return weighted, rows


def tail_frame(dataset: Dataset, memory: Memory, rows: Mapping[Key, RowTail]) -> pd.DataFrame:
    """Correct the level of rows and read their tails.

    Parameters
    ----------
    dataset : Dataset
    memory : Memory
        Of the bundle that forecast the rows.
    rows : mapping of key to RowTail
        Every week since the bundle's cut, so that their own matured errors count.

    Returns
    -------
    pandas.DataFrame, indexed by (pair, decision_date, horizon_weeks)
        `TAIL_COLUMNS` at the corrected level; `raw_` and `untilted_` before each of them for the tilted and the
        equally weighted paths at the nominal level, and before each of `QUANTILE_COLUMNS` for all of their
        distribution; `level_lower, level_upper` (the level in force at 5%), `effective_size`, `residual_EVENT` and
        `too_few`.

    Information set: of each row, outcomes with matured_at <= its decision.
    """
    names = ["pair", "decision_date", "horizon_weeks"]
    if not rows:
        blocks = (TAIL_COLUMNS, QUANTILE_COLUMNS)
        kinds = [f"{kind}_{name}" for block in blocks for kind in ("raw", "untilted") for name in block]
        empty = [*TAIL_COLUMNS, *kinds]
        empty += ["level_lower", "level_upper", "effective_size", *(f"residual_{event}" for event in EVENTS)]
        index = pd.MultiIndex.from_arrays([[], pd.DatetimeIndex([]), []], names=names)
        return pd.DataFrame(np.empty((0, len(empty))), columns=empty, index=index).assign(too_few="")
    levels = _levels(dataset, memory, rows)
    records = []
    for key, row in rows.items():
        record: dict[str, object] = dict(zip(names, key, strict=True))
        record |= _read(row.curves, levels[key])
        record |= {f"raw_{name}": value for name, value in _read(row.curves, (ALPHA, ALPHA)).items()}
        record |= {f"untilted_{name}": value for name, value in _read(row.untilted, (ALPHA, ALPHA)).items()}
        for kind, quantiles in zip(("raw", "untilted"), row.quantiles.tolist(), strict=True):
            record |= {f"{kind}_{name}": value for name, value in zip(QUANTILE_COLUMNS, quantiles, strict=True)}
        record |= dict(zip(("level_lower", "level_upper"), levels[key], strict=True))
        record["effective_size"] = row.effective_size
        record |= {f"residual_{event}": float(gap) for event, gap in zip(EVENTS, row.residual, strict=True)}
        record["too_few"] = ", ".join(row.too_few)
        records.append(record)
    frame = pd.DataFrame(records)
    frame["decision_date"] = frame["decision_date"].astype("datetime64[us]")
    return frame.set_index(names)


def _read(curves: FloatArray, levels: tuple[float, float]) -> dict[str, float]:
    """Both sides at 5% and 2.5%, each at its corrected multiple."""
    result = {}
    for side, (suffix, sign) in enumerate((("", 1.0), ("_up", -1.0))):
        for name, share in (("95", 1.0), ("975", 0.5)):
            var, es = read_curve(curves[side], levels[side] * share)
            result[f"var_{name}{suffix}"], result[f"es_{name}{suffix}"] = sign * var, sign * es
    return {name: result[name] for name in TAIL_COLUMNS}


def _levels(dataset: Dataset, memory: Memory, rows: Mapping[Key, RowTail]) -> dict[Key, tuple[float, float]]:
    """Corrected 5% level of both sides of every row."""
    open_rows = {**memory.pending, **{key: row.curves[:, 0] for key, row in rows.items()}}
    reached = {**memory.settled, **settle(open_rows, dataset)}
    keys = sorted({*memory.settled, *open_rows}, key=lambda key: (key[0], key[2], key[1]))
    index = pd.MultiIndex.from_tuples(keys, names=["pair", "decision_date", "horizon_weeks"])
    matured = dataset.outcomes["matured_at"].reindex(index).to_numpy("datetime64[us]")
    decided = dataset.clock["decision_at"].reindex(index.get_level_values("decision_date")).to_numpy("datetime64[us]")
    missing = (float("nan"), float("nan"))
    values = np.array([reached.get(key, missing) for key in keys])
    group = pd.factorize(pd.MultiIndex.from_arrays([index.get_level_values(0), index.get_level_values(2)]))[0]
    levels = np.empty((len(keys), len(_SIDES)))
    for code in range(group.max() + 1):
        mine = group == code
        horizon = int(index.get_level_values(2)[mine][0])
        for side in range(len(_SIDES)):
            levels[mine, side] = corrected_levels(values[mine, side], decided[mine], matured[mine], horizon)
    return {key: (float(levels[place, 0]), float(levels[place, 1])) for place, key in enumerate(keys)}
