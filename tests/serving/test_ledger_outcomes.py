"""Outcomes of recorded calls: those of the dataset, for the sigma and the style that were published."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from features.contracts import Dataset, History
from features.dataset import build_dataset
from features.market import MarketSpec
from serving.ledger import OUTCOME_INPUT
from serving.ledger_outcomes import matured_outcomes
from serving.ledger_record import OUTCOME_COLUMNS
from tests.features import toy

LAST = np.datetime64("2016-06-24", "us")
NAMES = ["exit_date", "matured_at", *OUTCOME_COLUMNS]


@pytest.fixture(scope="module")
def spec() -> MarketSpec:
    return toy.toy_market()


@pytest.fixture(scope="module")
def observations() -> pd.DataFrame:
    return toy.toy_observations(5)


@pytest.fixture(scope="module")
def dataset(spec: MarketSpec, observations: pd.DataFrame) -> Dataset:
    return build_dataset(observations, spec, LAST)


def recorded_of(spec: MarketSpec, dataset: Dataset) -> pd.DataFrame:
    """Return the rows of a dataset as calls that were recorded with its own sigma and style, out of order."""
    rows = dataset.outcomes.reset_index()
    keys = pd.MultiIndex.from_frame(rows[["pair", "decision_date"]])
    states = dataset.rows.reindex(keys)
    rows = rows[["pair", "decision_date", "horizon_weeks"]].assign(
        market=spec.name,
        sigma=states["sigma"].to_numpy(),
        style_in_force=np.where(states["style"].to_numpy() > 0, "small", "large"),
        matured_at=pd.NaT,
        hash=[f"hash{number}" for number in range(len(rows))],
    )
    return rows.sample(frac=1, random_state=1).reset_index(drop=True)


def expected(dataset: Dataset, recorded: pd.DataFrame) -> pd.DataFrame:
    """Return the dataset's own outcomes of some calls."""
    return dataset.outcomes.reindex(pd.MultiIndex.from_frame(recorded[["pair", "decision_date", "horizon_weeks"]]))


def test_equal_those_of_the_dataset(spec: MarketSpec, dataset: Dataset) -> None:
    recorded = recorded_of(spec, dataset)
    found = matured_outcomes(spec, dataset, recorded)
    own = expected(dataset, recorded).set_axis(recorded.index)
    # A close that is missing on the way leaves a spread without events: such a call stays open.
    known = own[list(OUTCOME_COLUMNS)].notna().all(axis=1)
    assert known.sum() < own["spread_realised"].notna().sum()
    assert tuple(found.columns) == OUTCOME_INPUT
    assert 100 < known.sum() < len(recorded)
    assert found.index.equals(recorded.index[known])
    assert (found["forecast_hash"] == recorded.loc[known, "hash"]).all()
    pd.testing.assert_frame_equal(found[NAMES], own.loc[known, NAMES], check_exact=True)


def cut_at(dataset: Dataset, decision: pd.Timestamp) -> Dataset:
    """Return the dataset as it was at a decision: clock and lines."""
    clock = dataset.clock.loc[:decision]
    now = clock["decision_at"].iloc[-1].to_datetime64()
    lines = {}
    for name, line in dataset.lines.items():
        known = line.known_at <= now
        lines[name] = History(line.period[known], line.known_at[known], line.value[known])
    return replace(dataset, clock=clock, lines=lines)


def test_on_cut_data_are_what_they_stay_and_no_more(spec: MarketSpec, dataset: Dataset) -> None:
    recorded = recorded_of(spec, dataset)
    recorded = recorded[recorded["pair"] == recorded["pair"].iloc[0]]
    whole = matured_outcomes(spec, dataset, recorded)
    cuts = dataset.clock.index[30:-1:3]
    assert len(cuts) >= 30
    leaks = 0
    for number, decision in enumerate(cuts):
        early = cut_at(dataset, decision)
        now = early.clock["decision_at"].iloc[-1]
        weeks = recorded[recorded["decision_date"] <= decision]
        matured = whole.loc[whole.index.isin(weeks.index) & (whole["matured_at"] <= now), NAMES]
        found = matured_outcomes(spec, early, weeks)[NAMES]
        assert found.index.equals(matured.index)
        if len(found):
            pd.testing.assert_frame_equal(found, matured, check_exact=True)
        if number % 6 == 0:
            # The twin that reads later closes is caught by the same comparison.
            twin = matured_outcomes(spec, replace(early, lines=dataset.lines), weeks)[NAMES]
            leaks += not twin.equals(matured)
    assert leaks >= 5


def test_are_read_with_what_was_published(spec: MarketSpec, dataset: Dataset) -> None:
    recorded = recorded_of(spec, dataset)
    turned = recorded.assign(
        style_in_force=recorded["style_in_force"].map({"small": "large", "large": "small"}),
        sigma=recorded["sigma"] / 50,
    )
    mine, other = (matured_outcomes(spec, dataset, calls) for calls in (recorded, turned))
    pd.testing.assert_frame_equal(
        mine[["spread_realised", "y_large"]], other[["spread_realised", "y_large"]], check_exact=True
    )
    week = recorded.loc[mine.index, "horizon_weeks"] == 1
    # With next to no sigma any move against the style is a switch: at one week the other style's is the mirror image.
    small = turned.loc[mine.index, "style_in_force"] == "small"
    against = np.where(small, other["spread_realised"] < 0, other["spread_realised"] > 0)
    assert (other["y_switch"][week] == against[week]).mean() > 0.95
    assert (mine["y_switch"] != other["y_switch"]).any()


def test_calls_of_one_week_may_differ(spec: MarketSpec, dataset: Dataset) -> None:
    recorded = recorded_of(spec, dataset)
    twin = recorded.assign(sigma=recorded["sigma"] * 1e6, hash=recorded["hash"] + "twin")
    both = pd.concat([recorded, twin], ignore_index=True)
    found = matured_outcomes(spec, dataset, both)
    alone = matured_outcomes(spec, dataset, recorded)
    first = found.loc[found.index < len(recorded)]
    pd.testing.assert_frame_equal(first, alone, check_exact=True)
    second = found.loc[found.index >= len(recorded)]
    assert len(second) == len(first)
    assert (second["y_switch"] == 0).all()


def test_leave_out_what_has_its_outcome_another_market_and_unknown_weeks(spec: MarketSpec, dataset: Dataset) -> None:
    recorded = recorded_of(spec, dataset)
    for changes in (
        {"matured_at": pd.Timestamp("2016-01-01")}, {"market": "other"}, {"pair": "a-b"},
        {"decision_date": pd.Timestamp("2016-06-22")},
    ):  # fmt: skip
        found = matured_outcomes(spec, dataset, recorded.assign(**changes))
        assert found.empty
        assert tuple(found.columns) == OUTCOME_INPUT
