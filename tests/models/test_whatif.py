"""Inputs moved by hand: the heads say what a dataset with those inputs would make them say."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.special import logit

from features.contracts import EVENTS, HORIZONS
from models.explain import explain_head
from models.predict import head_scores
from models.whatif import Start, place_of, rescored
from tests import small


@pytest.mark.parametrize("horizon", HORIZONS)
def test_the_same_inputs_and_starts_give_the_scores_of_the_dataset(horizon: int) -> None:
    bundle, dataset = small.walked().bundles[-1], small.dataset()
    dates = dataset.rows.index.get_level_values("decision_date")
    for row in dataset.rows.index[dates >= pd.Timestamp(bundle.cut)][::7]:
        rows = pd.MultiIndex.from_tuples([row], names=dataset.rows.index.names)
        expected = head_scores(bundle, dataset, rows, small.base(), horizon)
        starts = {
            event: Start(*(float(part[0]) for part in (score.base, score.level, score.start)))
            for event, score in expected.items()
        }
        style = dataset.rows.loc[rows, "style"].to_numpy(np.int64)
        got = rescored(bundle, horizon, dataset.values.loc[rows], style, starts)
        for event in EVENTS:
            np.testing.assert_array_equal(got[event].published, expected[event].published)
            explained = explain_head(bundle, got[event], event, horizon)
            total = explained.base + explained.contributions.sum(axis=1)
            np.testing.assert_allclose(total, got[event].published, rtol=0, atol=1e-10)


def test_rows_do_not_touch_each_other() -> None:
    bundle, dataset = small.walked().bundles[-1], small.dataset()
    pair = dataset.pairs[0].name
    values = dataset.values.loc[pair].iloc[-5:].reset_index(drop=True)
    style = dataset.rows.loc[pair]["style"].to_numpy(np.int64)[-5:]
    starts = {event: Start(*(float(logit(0.2)),) * 3) for event in EVENTS}
    together = rescored(bundle, 4, values, style, starts)
    for row in range(5):
        alone = rescored(bundle, 4, values.iloc[[row]], style[[row]], starts)
        for event in EVENTS:
            assert alone[event].published[0] == pytest.approx(together[event].published[row], abs=1e-14)


def test_places_follow_the_quantiles_and_ends_of_the_training_rows() -> None:
    bundle = small.walked().bundles[-1]
    name = next(name for name in bundle.scaler.mean if bundle.support.low[name] < bundle.support.high[name])
    support = bundle.support
    middle = 0.5 * (support.low[name] + support.high[name])
    inside = place_of(bundle, name, middle)
    assert (inside.trained, inside.unusual, inside.out_of_support) == (True, False, False)
    assert (inside.least, inside.low, inside.high, inside.most) == (
        support.least[name], support.low[name], support.high[name], support.most[name],
    )  # fmt: skip
    edge = place_of(bundle, name, support.most[name])
    assert not edge.out_of_support
    beyond = place_of(bundle, name, float(np.nextafter(support.most[name], np.inf)))
    assert beyond.unusual
    assert beyond.out_of_support
    assert place_of(bundle, name, 1e9).clipped
    assert not place_of(bundle, "nothing_of_the_kind", 0.0).trained
