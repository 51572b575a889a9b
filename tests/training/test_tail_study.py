"""The backtest of the tail: the stages of the scenario set beside the comparison set, on the same rows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from features.contracts import TAIL_COLUMNS
from models.curve import QUANTILE_COLUMNS
from tests import small
from training.tail_models import MODELS
from training.tail_study import STAGES, crowding_instrument, scenario_frames, tail_study


def test_the_stages_are_those_of_the_walk_forward() -> None:
    walked = small.walked()
    frames = scenario_frames(walked.tails)
    assert list(frames) == list(STAGES.values())
    index = pd.MultiIndex.from_frame(walked.forecasts[["pair", "decision_date", "horizon_weeks"]])
    for frame in frames.values():
        assert tuple(frame.columns) == (*TAIL_COLUMNS, *QUANTILE_COLUMNS)
        assert (np.diff(frame[list(QUANTILE_COLUMNS)].to_numpy(np.float64), axis=1) >= 0).all()
    published = frames["scenarios"].reindex(index)[list(TAIL_COLUMNS)].to_numpy(np.float64)
    np.testing.assert_array_equal(published, walked.forecasts[list(TAIL_COLUMNS)].to_numpy(np.float64))
    # The tilt moves the tail, and the correction moves it again once outcomes have matured.
    assert (frames["scenarios_tilted"] != frames["scenarios_untilted"]).any(axis=None)
    assert (frames["scenarios"] != frames["scenarios_tilted"]).any(axis=None)


def test_the_instrument_is_the_first_crowding_feature_that_says_something_of_the_tail() -> None:
    dataset = small.dataset()
    found = crowding_instrument(dataset)
    assert found is not None
    info = next(info for info in dataset.features if info.name == found.name)
    assert (info.family, info.tail_sign != 0) == ("crowding", True)
    plain = tuple(replace(info, tail_sign=0) for info in dataset.features)
    assert crowding_instrument(replace(dataset, features=plain)) is None


@pytest.mark.slow
def test_a_study_scores_every_model_on_the_same_weeks(tmp_path: Path) -> None:
    until = np.datetime64("2010-06-25", "us")
    study = tail_study(small.dataset(), small.plan(), tmp_path, until=until, jobs=2)
    assert set(study.table["model"]) == {*MODELS, *STAGES.values()}
    assert "SIMULATED" in study.markdown
    own = study.table[study.table["model"].isin(STAGES.values())]
    assert own.groupby(["pair", "horizon_weeks", "level", "side"])["n"].nunique().eq(1).all()
