"""Scenario sets see nothing that came later; each planted leak is caught by the audit that the real code passes."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import pytest

from features.contracts import Dataset, History, TimeArray
from features.dataset import build_dataset
from models.volatility import Component, components
from tests.features.toy import last_decision, toy_market, toy_observations
from tests.leak.audit import spread_cuts
from tests.leak.scenario_audit import ScenarioPipeline, audit_scenarios, cut_short, implied, levels, volatility

CUTS = 31
WEEK = np.timedelta64(7, "D")


@pytest.fixture(scope="module")
def full() -> Dataset:
    return build_dataset(toy_observations(6), toy_market(), last_decision())


@pytest.fixture(scope="module")
def shorts(full: Dataset) -> list[Dataset]:
    # Before a third of the history the closes are too few for a set.
    return cut_short(toy_market(), toy_observations(6), spread_cuts(full, CUTS, after=0.3))


def one_close_later(dataset: Dataset, days: TimeArray) -> pd.DataFrame:
    """A scenario set whose volatility has seen the close of the entry day."""
    shifted = {}
    for name, close in dataset.closes.items():
        position = np.searchsorted(dataset.sessions, close.period)
        before = dataset.sessions[np.maximum(position - 1, 0)]
        shifted[name] = History.of(before, close.known_at - np.timedelta64(4, "D"), close.value)
    return implied(replace(dataset, closes=shifted), days)


def last_vintage(dataset: Dataset, days: TimeArray) -> pd.DataFrame:
    """A scenario set of closes as they were corrected weeks later."""
    latest = {}
    for name, close in dataset.closes.items():
        period, value = close.as_of(close.known_at.max()) if len(close) else (close.period, close.value)
        first = pd.Series(close.known_at).groupby(close.period).min()
        latest[name] = History.of(period, first.loc[period].to_numpy("datetime64[us]"), value)
    return implied(replace(dataset, closes=latest), days)


def fed_at_the_decision(dataset: Dataset, days: TimeArray) -> pd.DataFrame:
    """A conformal level that learns of an outcome at the end of its first week, whatever the horizon."""
    dates = dataset.outcomes.index.get_level_values("decision_date")
    soon = dataset.clock["decision_at"].reindex(dates).to_numpy("datetime64[us]") + WEEK
    outcomes = dataset.outcomes.assign(matured_at=np.minimum(dataset.outcomes["matured_at"].to_numpy(), soon))
    return levels(replace(dataset, outcomes=outcomes), days)


def fitted_at_the_end(dataset: Dataset, cut: np.datetime64) -> pd.DataFrame:
    """Volatility fitted once, on all closes that there are."""
    last = dataset.clock.index[-1].to_datetime64()
    found = volatility(dataset, last)
    dates = np.full(len(found), pd.Timestamp(cut))
    return found.set_axis(pd.MultiIndex.from_arrays([found.index.get_level_values(0), dates], names=found.index.names))


def held_to_the_end(dataset: Dataset, cut: np.datetime64) -> dict[str, Component]:
    """Changes up to the cut, of closes as they are known today."""
    now = dataset.clock["decision_at"].iloc[-1].to_datetime64()
    return components(dataset.closes, dataset.segments, now, cut)


@dataclass(frozen=True)
class Plant:
    """A leak: where it is planted and where the audit should see it."""

    part: str
    pipeline: ScenarioPipeline


PLANTS = {
    "volatility fitted on later data": Plant("volatility", ScenarioPipeline(volatility=fitted_at_the_end)),
    "volatility fitted on corrected closes": Plant("held", ScenarioPipeline(held=held_to_the_end)),
    "a scenario set that saw a later close": Plant("implied", ScenarioPipeline(implied=one_close_later)),
    "a scenario set of corrected closes": Plant("implied", ScenarioPipeline(implied=last_vintage)),
    "a conformal level fed before maturity": Plant("level", ScenarioPipeline(levels=fed_at_the_decision)),
}


def test_the_real_pipeline_is_clean(full: Dataset, shorts: list[Dataset]) -> None:
    assert len(shorts) == CUTS - 1
    assert audit_scenarios(full, shorts, ScenarioPipeline(), {"held", "volatility", "implied", "level"}) == []


def test_the_audit_is_of_something(full: Dataset, shorts: list[Dataset]) -> None:
    cuts = np.array([short.clock.index[-1].to_datetime64() for short in shorts])
    assert implied(full, cuts).index.get_level_values("decision_date").nunique() > 0.6 * CUTS
    assert volatility(full, cuts[-1]).notna().all().all()
    assert levels(full, cuts)["level_lower"].nunique() > 3


@pytest.mark.parametrize("name", list(PLANTS))
def test_every_planted_leak_is_caught(name: str, full: Dataset, shorts: list[Dataset]) -> None:
    plant = PLANTS[name]
    # Every other cut will do to be caught, but for the few that are fitted.
    cuts = shorts if plant.part == "volatility" else shorts[::2]
    leaks = audit_scenarios(full, cuts, plant.pipeline, {plant.part})
    # Not by one lucky cut: where a fit is compared there are three.
    assert len({leak.cut for leak in leaks}) >= (2 if plant.part == "volatility" else 5), leaks
    assert {leak.part for leak in leaks} == {plant.part}
