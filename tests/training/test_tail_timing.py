"""Timing of a tail: rank against scikit-learn, the null's width, alerts without the future, overshoot by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from features.contracts import FloatArray
from training.tail_timing import PAST_WEEKS, auc, auc_null, causal_alerts, overshoot, spells


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=4, max_size=40))
def test_auc_of_one_pair_equals_scikit_learn(rows: list[tuple[int, bool]]) -> None:
    score, bad = np.array([[float(s)] for s, _ in rows]), np.array([[float(b)] for _, b in rows])
    if 0 < bad.sum() < len(bad):
        assert auc(score, bad) == pytest.approx(roc_auc_score(bad[:, 0], score[:, 0]))
    else:
        assert np.isnan(auc(score, bad))


def test_pairs_are_ranked_each_for_itself() -> None:
    # the second pair is riskier and worse throughout; within each pair the score is a coin
    score = np.array([[1.0, 11.0], [2.0, 12.0], [1.0, 11.0], [2.0, 12.0]])
    bad = np.array([[0.0, 1.0], [0.0, 1.0], [1.0, 1.0], [0.0, 0.0]])
    assert roc_auc_score(bad.ravel(), score.ravel()) > 0.6
    # pair one: the bad week scores 1 of 1, 2, 2: 0.5 / 3; pair two: 11, 12, 11 against 12: 0.5 / 3
    assert auc(score, bad) == pytest.approx((0.5 + 0.5) / 6)
    score[2, 0] = np.nan
    assert auc(score, bad) == pytest.approx(0.5 / 3)


def test_null_is_wide_for_slow_scores_and_holds_a_coin() -> None:
    rng = np.random.default_rng(2)
    bad = np.repeat(rng.random(60) < 0.2, 6).astype(float)[:, None]
    slow, quick = np.cumsum(rng.normal(size=360))[:, None], rng.normal(size=360)[:, None]
    wide, narrow = auc_null(slow, bad), auc_null(quick, bad)
    assert wide[1] - wide[0] > 1.5 * (narrow[1] - narrow[0])
    assert narrow[0] < 0.5 < narrow[1]
    assert np.isnan(auc_null(slow[:40], bad[:40])).all()
    assert np.isnan(auc_null(slow, np.zeros((360, 1)))).all()


def noisy(seed: int = 3, n: int = 200) -> FloatArray:
    return -np.exp(np.random.default_rng(seed).normal(size=(n, 2)))


def test_alerts_by_plain_loop() -> None:
    es = noisy()
    es[50, 0] = np.nan
    found = causal_alerts(es)
    for column in range(2):
        past: list[float] = []
        for week, value in enumerate(es[:, column]):
            if np.isnan(value):
                continue
            expected = float(value < np.quantile(past, 0.2)) if len(past) >= PAST_WEEKS else np.nan
            np.testing.assert_equal(found[week, column], expected)
            past.append(float(value))
    assert np.nanmean(found) == pytest.approx(0.2, abs=0.06)


def test_alerts_do_not_see_the_future() -> None:
    es, whole = noisy(), causal_alerts(noisy())
    leaking = es < np.quantile(es, 0.2, axis=0)
    caught = 0
    for cut in range(110, 200, 3):
        other = es.copy()
        other[cut:] *= 3
        np.testing.assert_array_equal(causal_alerts(other)[:cut], whole[:cut])
        caught += not np.array_equal((other < np.quantile(other, 0.2, axis=0))[:cut], leaking[:cut])
    assert caught >= 25  # positive control: a threshold from the whole sample


def test_spells_and_overshoot() -> None:
    assert spells(np.array([[True, False], [True, True], [False, False], [True, True]])) == 4
    es = np.array([[-0.10], [-0.30], [-0.20], [np.nan]])
    worst = np.array([[np.nan], [-0.20], [-0.05], [-0.01]])
    assert overshoot(es, worst) == pytest.approx(4.0)
    assert np.isnan(overshoot(es, np.full((4, 1), np.nan)))
    assert np.isnan(overshoot(es, np.full((4, 1), 0.02)))  # no loss yet
