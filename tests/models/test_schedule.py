"""The refit schedule: fixed by the calendar, never by what the data hold."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from features.errors import DataContractError
from models.schedule import Plan, bundle_folder, bundle_root, day_text, forecast_rows, last_cut, refit_cuts
from models.settings import HeadSettings, TreeSettings
from tests import small


def test_refits_every_26_decisions_from_the_first() -> None:
    decisions = small.dataset().clock.index.to_numpy("datetime64[us]")
    first = int(np.flatnonzero(decisions == small.FIRST)[0])
    assert refit_cuts(small.dataset(), small.plan()).tolist() == decisions[first::26].tolist()
    assert len(refit_cuts(small.dataset(), small.plan(refit_weeks=13))) == 8


def test_a_first_decision_that_is_none_moves_to_the_next() -> None:
    cuts = refit_cuts(small.dataset(), small.plan(first_decision=small.FIRST - np.timedelta64(2, "D")))
    assert cuts[0] == small.FIRST


def test_a_week_without_rows_does_not_move_the_schedule() -> None:
    dataset = small.dataset()
    gone = dataset.rows.index.get_level_values("decision_date") == pd.Timestamp("2009-03-06")
    assert gone.any()
    thinner = replace(dataset, rows=dataset.rows[~gone])
    assert np.array_equal(refit_cuts(thinner, small.plan()), refit_cuts(dataset, small.plan()))


def test_the_schedule_up_to_a_day_does_not_depend_on_later_data() -> None:
    whole, short = refit_cuts(small.dataset(), small.plan()), refit_cuts(small.dataset(small.MIDDLE), small.plan())
    assert np.array_equal(short, whole[whole <= small.MIDDLE])


def test_the_bundle_in_force_is_the_newest_that_is_not_later() -> None:
    dataset, plan = small.dataset(), small.plan()
    cuts = refit_cuts(dataset, plan)
    for day in dataset.clock.index.to_numpy("datetime64[us]")[-60:]:
        assert last_cut(dataset, plan, day) == max(cut for cut in cuts if cut <= day)
    assert last_cut(dataset, plan, cuts[1]) == cuts[1]
    with pytest.raises(
        DataContractError, match="2009-01-02 is before the first decision of market 'sample', 2009-01-09"
    ):
        last_cut(dataset, plan, np.datetime64("2009-01-02", "us"))


def test_data_that_end_before_the_first_decision_are_refused() -> None:
    with pytest.raises(DataContractError, match="end before the first decision, 2031-01-03"):
        refit_cuts(small.dataset(), small.plan(first_decision=np.datetime64("2031-01-03", "us")))


@pytest.mark.parametrize("min_weeks", [0, 104, 520])
def test_rows_of_a_block_and_the_age_of_a_pair(min_weeks: int) -> None:
    dataset, plan = small.dataset(), small.plan(min_weeks=min_weeks)
    start, stop = small.MIDDLE, small.MIDDLE + np.timedelta64(70, "D")
    expected = []
    for pair in dataset.rows.index.unique("pair"):
        for age, day in enumerate(dataset.rows.loc[pair].index):
            if age >= min_weeks and start <= day.to_datetime64() < stop:
                expected.append((pair, day))
    rows = forecast_rows(dataset, plan, start, stop)
    assert list(rows) == expected
    assert rows.names == ["pair", "decision_date"]
    assert len(forecast_rows(dataset, plan, start, None)) > len(rows) > 0


def test_no_rows_before_the_first_decision_and_an_empty_block_is_no_error() -> None:
    dataset, plan = small.dataset(), small.plan()
    early = np.datetime64("2005-01-01", "us")
    assert min(forecast_rows(dataset, plan, early, None).get_level_values("decision_date")) == pd.Timestamp(small.FIRST)
    assert len(forecast_rows(dataset, plan, early, small.FIRST)) == 0
    assert len(forecast_rows(dataset, small.plan(min_weeks=9999), early, None)) == 0


@pytest.mark.parametrize(
    "change",
    [
        {"market_hash": "other"},
        {"first_decision": small.MIDDLE},
        {"refit_weeks": 13},
        {"min_weeks": 52},
        {"settings": HeadSettings()},
        {"settings": replace(small.plan().settings, winsor=4.0)},
        {"settings": replace(small.plan().settings, trees=TreeSettings(rounds=6, seeds=3))},
        {"settings": replace(small.plan().settings, scenarios=replace(small.plan().settings.scenarios, paths=1501))},
        {"settings": replace(small.plan().settings, scenarios=replace(small.plan().settings.scenarios, seed=1))},
    ],
)
def test_whatever_decides_the_numbers_is_in_the_hash(change: dict[str, object]) -> None:
    assert small.plan(**change).config_hash != small.plan().config_hash
    assert small.plan().config_hash == small.plan().config_hash


def test_folders_are_named_after_configuration_code_cut_and_snapshot() -> None:
    plan: Plan = small.plan()
    root = bundle_root(Path("artifacts"), "sample", plan)
    assert root == Path("artifacts/bundles/sample") / f"{plan.config_hash}-test"
    assert bundle_root(Path("artifacts"), "sample", small.plan(code_version="2.0")) != root
    assert bundle_folder(root, small.FIRST, "abc").name == "2009-01-09-abc"
    assert day_text(small.FIRST) == "2009-01-09"
