"""Two baselines on the A-share market to the end of 2018; later years stay closed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from features.contracts import EVENTS
from features.dataset import build_dataset
from features.market import load_market
from models.climatology import climatology
from tests.features.real import real_observations
from training.baselines import baseline_forecasts
from training.scores import log_loss, skill

LAST = np.datetime64("2018-12-28", "us")


@pytest.mark.real
def test_the_filtered_chain_knows_a_little_of_direction(real_data: Path) -> None:
    """METHODS 1 reports +1.1% for the filtered HMM on 300/1000, direction over four weeks, 2012 to 2023-11.

    To 2018 we measure +1.1% too, from daily changes; persistence loses, as it does there.
    """
    market = load_market("cn")
    dataset = build_dataset(real_observations("cn", real_data), market, LAST)
    base = climatology(dataset)[list(EVENTS)].set_axis([f"p_{event}_base" for event in EVENTS], axis=1)
    weeks = dataset.clock.index.to_numpy("datetime64[us]")
    first = np.datetime64(market.schedule.first_decision, "us")
    cuts = weeks[np.searchsorted(weeks, first) :: market.schedule.refit_weeks]
    found = baseline_forecasts(dataset, base, cuts, names=("persistence", "hmm_filtered"))

    def gain(name: str) -> float:
        key = (slice("csi300-csi1000", "csi300-csi1000"), slice(pd.Timestamp(first), None), slice(4, 4))
        y = dataset.outcomes.sort_index().loc[key, "y_large"].dropna()
        p, rate = (frame.loc[y.index, name] for frame, name in ((found[name], "p_large"), (base, "p_large_base")))
        assert len(y) > 330
        return skill(log_loss(p.to_numpy(), y.to_numpy()), log_loss(rate.to_numpy(), y.to_numpy()))

    assert 0 < gain("hmm_filtered") < 0.03
    assert gain("persistence") < 0
