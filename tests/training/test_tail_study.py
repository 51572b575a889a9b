"""The backtest of the tail: the stages of the scenario set beside the comparison set, on the same rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from features.contracts import TAIL_COLUMNS
from tests import small
from training.tail_models import MODELS
from training.tail_study import STAGES, scenario_frames, tail_study


def test_the_stages_are_those_of_the_walk_forward() -> None:
    walked = small.walked()
    frames = scenario_frames(walked.tails)
    assert list(frames) == list(STAGES.values())
    index = pd.MultiIndex.from_frame(walked.forecasts[["pair", "decision_date", "horizon_weeks"]])
    for frame in frames.values():
        assert tuple(frame.columns) == TAIL_COLUMNS
    published = frames["scenarios"].reindex(index).to_numpy(np.float64)
    np.testing.assert_array_equal(published, walked.forecasts[list(TAIL_COLUMNS)].to_numpy(np.float64))
    # The tilt moves the tail, and the correction moves it again once outcomes have matured.
    assert (frames["scenarios_tilted"] != frames["scenarios_untilted"]).any(axis=None)
    assert (frames["scenarios"] != frames["scenarios_tilted"]).any(axis=None)


@pytest.mark.slow
def test_a_study_scores_every_model_on_the_same_weeks(tmp_path: Path) -> None:
    until = np.datetime64("2010-06-25", "us")
    study = tail_study(small.dataset(), small.plan(), tmp_path, until=until, jobs=2)
    assert set(study.table["model"]) == {*MODELS, *STAGES.values()}
    assert "SIMULATED" in study.markdown
    own = study.table[study.table["model"].isin(STAGES.values())]
    assert own.groupby(["pair", "horizon_weeks", "level", "side"])["n"].nunique().eq(1).all()
