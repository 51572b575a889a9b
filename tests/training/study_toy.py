"""A study with everything that is logged, made up in milliseconds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from features.contracts import EVENTS
from tests.models import row_toy
from training.plots import Contributions
from training.score_tables import score_table, yearly_table
from training.study import Study


def study(folder: Path, simulated: bool = True) -> Study:
    """Two pairs, 60 weeks, one head's contributions and a small bundle."""
    rng = np.random.default_rng(0)
    weeks = np.datetime64("2012-10-05", "us") + np.timedelta64(7, "D") * np.arange(60)
    frames = []
    for pair in ("a-b", "a-c"):
        for horizon in (1, 4):
            frame = pd.DataFrame({"market": "sample", "pair": pair, "decision_date": weeks, "horizon_weeks": horizon})
            for event in EVENTS:
                frame[f"p_{event}_base"] = 0.3
                frame[f"p_{event}"] = rng.uniform(0.2, 0.4, len(weeks))
                frame[f"y_{event}"] = (rng.random(len(weeks)) < 0.3).astype(np.float64)
            frames.append(frame)
    forecasts = pd.concat(frames, ignore_index=True)
    bundle = row_toy.bundle().save(folder / "2013-10-04-abc")
    folds = pd.DataFrame(
        {"cut": weeks[[0, 26]], "n_train": [100, 152], "log_loss_in": [0.51, 0.5], "log_loss_out": [0.61, np.nan]}
    )
    names = tuple(f"feature_{number}" for number in range(4))
    return Study(
        market="sample",
        simulated=simulated,
        config={"ridge_penalty": 20.0, "trees": {"rounds": 80, "grid": [1, 2]}, "note": "x" * 7000},
        config_hash="c0ffee",
        snapshot_id="5eed",
        git_commit="0123abc",
        cut="2023-06-30",
        forecasts=forecasts,
        tails=pd.DataFrame({"effective_size": 900.0}, index=forecasts.index),
        scores=score_table(forecasts),
        yearly=yearly_table(forecasts),
        folds=folds,
        bundle_dir=bundle,
        contributions={"crash": Contributions(names, rng.normal(size=(50, 4)), 0.1 * rng.normal(size=(50, 4)))},
    )
