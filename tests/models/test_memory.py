"""What the level correction remembers: settled at maturity, the same in one step or many, and exact through JSON."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from features.contracts import HORIZONS, Dataset, FloatArray
from features.errors import BundleError
from models.curve import LEVELS, reached_level
from models.memory import Key, Memory, settle
from tests.models.closes import toy_dataset, toy_days


def rows(dataset: Dataset, last: int = 40) -> dict[Key, FloatArray]:
    """Return made-up quantile curves of the last weeks' rows: rising, each of its own width."""
    days = toy_days(dataset)[-last:]
    found = {}
    for pair, day in dataset.rows.index[dataset.rows.index.get_level_values("decision_date") >= pd.Timestamp(days[0])]:
        width = float(dataset.rows.loc[(pair, day), "sigma"])
        for horizon in HORIZONS:
            curve = width * np.sqrt(horizon) * (LEVELS**0.4 - 1.2)
            found[str(pair), day, horizon] = np.stack([curve, 1.1 * curve])
    return found


def decided(dataset: Dataset, place: int) -> np.datetime64:
    time: np.datetime64 = dataset.clock["decision_at"].to_numpy("datetime64[us]")[place]
    return time


def same(one: Memory, other: Memory) -> bool:
    return (
        one.settled == other.settled
        and set(one.pending) == set(other.pending)
        and all(np.array_equal(curve, other.pending[key]) for key, curve in one.pending.items())
    )


def test_a_row_is_settled_once_its_outcome_has_matured_and_waits_until_then() -> None:
    dataset = toy_dataset()
    held, until = rows(dataset), decided(dataset, -10)
    memory = Memory.empty().extended(held, dataset, until)
    assert set(memory.settled).isdisjoint(memory.pending)
    assert set(memory.settled) | set(memory.pending) == set(held)
    assert min(len(memory.settled), len(memory.pending)) > 10
    for key, curve in held.items():
        outcome = dataset.outcomes.loc[key]
        if outcome["matured_at"] <= pd.Timestamp(until) and np.isfinite(outcome["spread_realised"]):
            realised = outcome["spread_realised"]
            expected = reached_level(curve[0], realised), reached_level(curve[1], -realised)
            assert memory.settled[key] == expected
        else:
            assert np.array_equal(memory.pending[key], curve)
    reached = np.array(list(memory.settled.values()))
    assert (reached == 1.0).any()
    assert (reached < 1.0).any()


def test_the_very_time_of_maturity_counts() -> None:
    dataset = toy_dataset()
    held = rows(dataset)
    key = next(iter(held))
    at = dataset.outcomes["matured_at"].loc[key].to_datetime64()
    just_before = at - np.timedelta64(1, "us")
    assert set(settle({key: held[key]}, dataset, at)) == {key}
    assert settle({key: held[key]}, dataset, just_before) == {}
    assert settle({}, dataset, at) == {}


def test_without_a_time_everything_that_the_dataset_has_is_settled() -> None:
    dataset = toy_dataset()
    held = rows(dataset)
    known = dataset.outcomes["spread_realised"].reindex(pd.MultiIndex.from_tuples(list(held))).notna()
    assert 0 < known.sum() < len(held)
    assert list(settle(held, dataset)) == [key for key, there in zip(held, known, strict=True) if there]


@pytest.mark.parametrize("steps", [1, 2, 5, 13])
def test_many_steps_are_one_step(steps: int) -> None:
    dataset = toy_dataset()
    held = rows(dataset)
    whole = Memory.empty().extended(held, dataset, decided(dataset, -3))
    days = sorted({day for _, day, _ in held})
    memory = Memory.empty()
    for block in np.array_split(np.arange(len(days)), steps):
        fresh = {key: curve for key, curve in held.items() if key[1] in [days[place] for place in block]}
        at = dataset.clock["decision_at"].loc[days[block[-1]]].to_datetime64()
        memory = memory.extended(fresh, dataset, min(at, decided(dataset, -3)))
    assert same(memory.extended({}, dataset, decided(dataset, -3)), whole)


def test_later_outcomes_change_nothing_and_the_past_is_not_rewritten() -> None:
    dataset = toy_dataset()
    held, until = rows(dataset), decided(dataset, -12)
    memory = Memory.empty().extended(held, dataset, until)
    later = dataset.outcomes["matured_at"] > pd.Timestamp(until)
    outcomes = dataset.outcomes.copy()
    outcomes.loc[later, "spread_realised"] = -9.0
    assert same(Memory.empty().extended(held, replace(dataset, outcomes=outcomes), until), memory)
    # What has been settled stays, whatever the outcomes say afterwards.
    outcomes = dataset.outcomes.assign(spread_realised=-9.0)
    grown = memory.extended({}, replace(dataset, outcomes=outcomes), decided(dataset, -1))
    assert memory.settled.items() <= grown.settled.items()
    assert all(grown.settled[key] == (0.0, 1.0) for key in memory.pending if key in grown.settled)


def test_json_and_back_is_exact() -> None:
    dataset = toy_dataset()
    memory = Memory.empty().extended(rows(dataset), dataset, decided(dataset, -5))
    missing = Memory({**memory.settled, ("large-small", pd.Timestamp("2016-01-08"), 1): (0.25, 1 / 3)}, memory.pending)
    for each in (memory, missing, Memory.empty()):
        text = json.dumps(each.to_json(), allow_nan=False)
        again = Memory.from_json(json.loads(text))
        assert same(again, each)
        assert json.dumps(again.to_json()) == text
    extended = [each.extended({}, dataset, decided(dataset, -1)) for each in (memory, again_of(memory))]
    assert same(*extended)


def again_of(memory: Memory) -> Memory:
    return Memory.from_json(json.loads(json.dumps(memory.to_json())))


def test_a_level_that_does_not_exist_is_null() -> None:
    memory = Memory({("a-b", pd.Timestamp("2020-01-03"), 4): (float("nan"), 0.5)}, {})
    document = memory.to_json()
    assert document["settled"][0]["lower"] == [None]
    (levels,) = Memory.from_json(document).settled.values()
    assert np.isnan(levels[0])
    assert levels[1] == 0.5


@pytest.mark.parametrize("side", ["lower", "upper"])
def test_quantiles_on_another_grid_are_refused(side: str) -> None:
    memory = Memory({}, {("a-b", pd.Timestamp("2020-01-03"), 4): np.zeros((2, len(LEVELS)))})
    document: dict[str, Any] = memory.to_json()
    for each in ("lower", "upper"):
        document["pending"][0][each] = document["pending"][0][each][:-1]
    with pytest.raises(BundleError, match="another grid; retrain"):
        Memory.from_json(document)
    document = memory.to_json()
    document["pending"][0][side].pop()
    with pytest.raises((BundleError, ValueError)):
        Memory.from_json(document)
