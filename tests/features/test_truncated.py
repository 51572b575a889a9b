"""A dataset cut at a decision is the dataset built up to it, on data with every kind of late row."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from features.contracts import Dataset
from features.dataset import build_dataset
from features.errors import DataContractError
from features.market import MarketSpec
from features.truncated import dataset_until
from tests.features.toy import last_decision, toy_market, toy_observations

FRAMES = ("rows", "values", "known_at", "stale", "outcomes", "clock")


@pytest.fixture(scope="module")
def market() -> MarketSpec:
    return toy_market()


@pytest.fixture(scope="module")
def observations() -> pd.DataFrame:
    return toy_observations(5)


@pytest.fixture(scope="module")
def whole(market: MarketSpec, observations: pd.DataFrame) -> Dataset:
    return build_dataset(observations, market, last_decision())


def assert_same(cut: Dataset, built: Dataset) -> None:
    """Equal to the last bit, types and order too."""
    for name in FRAMES:
        pd.testing.assert_frame_equal(getattr(cut, name), getattr(built, name), check_exact=True)
    for name in ("closes", "lines"):
        held, wanted = getattr(cut, name), getattr(built, name)
        assert list(held) == list(wanted)
        for key, history in wanted.items():
            for part in ("period", "known_at", "value"):
                np.testing.assert_array_equal(getattr(held[key], part), getattr(history, part))
    np.testing.assert_array_equal(cut.sessions, built.sessions)
    assert (cut.market, cut.pairs, cut.features, cut.segments) == (
        built.market,
        built.pairs,
        built.features,
        built.segments,
    )


def some_days(whole: Dataset, n: int) -> list[np.datetime64]:
    days = whole.clock.index.to_numpy("datetime64[us]")
    # From the first week in which a pair has rows to the last.
    first = int(np.flatnonzero(days >= whole.rows.index.get_level_values("decision_date").min())[0])
    return list(days[np.linspace(first, len(days) - 1, n).round().astype(int)])


@pytest.mark.parametrize("days", [6, pytest.param(40, marks=pytest.mark.slow)])
def test_it_is_what_is_built_up_to_the_day(
    market: MarketSpec, observations: pd.DataFrame, whole: Dataset, days: int
) -> None:
    for day in some_days(whole, days):
        assert_same(dataset_until(whole, market, day), build_dataset(observations, market, day))


def test_a_cut_that_keeps_outcomes_of_the_future_is_caught(
    market: MarketSpec, observations: pd.DataFrame, whole: Dataset
) -> None:
    # The leaking twin: rows are cut, outcomes that mature later stay.
    day = some_days(whole, 9)[5]
    cut = dataset_until(whole, market, day)
    leaked = whole.outcomes[whole.outcomes.index.get_level_values("decision_date") <= pd.Timestamp(day)]
    with pytest.raises(AssertionError):
        assert_same(replace(cut, outcomes=leaked), build_dataset(observations, market, day))


def test_a_cut_that_keeps_late_closes_is_caught(market: MarketSpec, observations: pd.DataFrame, whole: Dataset) -> None:
    day = some_days(whole, 9)[5]
    cut = dataset_until(whole, market, day)
    with pytest.raises(AssertionError):
        assert_same(replace(cut, closes=whole.closes), build_dataset(observations, market, day))


def test_the_whole_is_left_alone(market: MarketSpec, observations: pd.DataFrame) -> None:
    whole = build_dataset(observations, market, last_decision())
    cut = dataset_until(whole, market, some_days(whole, 3)[1])
    cut.values.iloc[:, :] = np.nan
    cut.outcomes.iloc[:, 3:] = np.nan
    assert_same(whole, build_dataset(observations, market, last_decision()))


def test_a_day_that_is_no_decision_is_refused(market: MarketSpec, whole: Dataset) -> None:
    with pytest.raises(DataContractError, match="must be a decision of the dataset; got 2015-06-03"):
        dataset_until(whole, market, np.datetime64("2015-06-03", "us"))


def test_sessions_as_realised_are_refused(market: MarketSpec, whole: Dataset) -> None:
    """A later dataset knows of closed days that the earlier one could not know of."""
    schedule = market.schedule.model_copy(update={"sessions": next(iter(market.series))})
    with pytest.raises(DataContractError, match="sessions as realised"):
        dataset_until(whole, market.model_copy(update={"schedule": schedule}), last_decision())
