"""Where the heads start: the climatology beside what the scenario set implies, row by row."""

from __future__ import annotations

import numpy as np
import pandas as pd

from features.contracts import EVENTS
from models.base import base_frame
from models.climatology import climatology
from models.implied import implied_probabilities
from models.volatility import ScenarioSettings
from tests.models.closes import PARAMS, toy_dataset, toy_days

NAMES = [f"{event}_implied" for event in EVENTS]


def test_every_row_has_its_climatology_and_its_implied_probability_if_there_is_one() -> None:
    dataset = toy_dataset()
    days = toy_days(dataset)
    refits = {days[0]: dict.fromkeys(dataset.segments, PARAMS)}
    implied = implied_probabilities(dataset, refits, days[-8:], ScenarioSettings(paths=100, min_days=150))
    assert 0 < len(implied) < len(dataset.outcomes)
    kept = implied.copy()
    # Neither the order of rows nor further columns matter.
    base = base_frame(dataset, implied.sample(frac=1.0, random_state=0).assign(other=1.0))
    pd.testing.assert_frame_equal(base.drop(columns=NAMES), climatology(dataset), check_exact=True)
    assert base.index.equals(dataset.outcomes.index)
    assert list(base.columns) == [*climatology(dataset).columns, *NAMES]
    for name in NAMES:
        assert base[name].notna().sum() == len(implied)
        assert (base.loc[implied.index, name] == implied[name]).all()
    pd.testing.assert_frame_equal(implied, kept, check_exact=True)


def test_without_any_set_the_columns_are_there_and_empty() -> None:
    dataset = toy_dataset()
    nothing = implied_probabilities(dataset, {}, toy_days(dataset), ScenarioSettings())
    base = base_frame(dataset, nothing)
    assert base.index.equals(dataset.outcomes.index)
    assert base[NAMES].isna().all().all()
    assert base[NAMES].dtypes.eq(np.float64).all()
