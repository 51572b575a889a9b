"""Contributions add up to what is published, through seeds, pool, calibration and coherence, feature by feature."""

from __future__ import annotations

from dataclasses import replace

import lightgbm as lgb
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit, logit

from features.contracts import EVENTS, FAMILIES, HORIZONS, Dataset, Event, FloatArray
from models.bundle import Bundle
from models.design import STYLE_FEATURE
from models.explain import SCENARIO_FEATURE, Explanation, explain, probability_points
from models.predict import head_scores, predict
from models.schedule import forecast_rows
from tests import small

PSEUDO = ("intercept", "calibration", "coherence")


def rough(bundle: Bundle) -> Bundle:
    """Return the bundle with uneven pools, slopes and intercepts: no part drops out and coherence has to act."""
    rng = np.random.default_rng(3)
    level = {"switch": 1.2, "large": -1.2, "crash": 1.2}
    heads = {
        key: replace(
            head,
            linear=replace(head.linear, intercept=level[key[0]], coef=4 * head.linear.coef),
            pool=float(rng.uniform(0.2, 0.9)), slope=float(rng.uniform(0.5, 1.6)),
        )
        for key, head in bundle.heads.items()
    }  # fmt: skip
    return replace(bundle, heads=heads)


def setting() -> tuple[Bundle, Dataset, pd.MultiIndex]:
    dataset, bundle = small.dataset(), rough(small.walked().bundles[-1])
    return bundle, dataset, forecast_rows(dataset, small.plan(), bundle.cut, None)


def explained(horizon: int) -> dict[Event, Explanation]:
    bundle, dataset, rows = setting()
    return explain(bundle, dataset, rows, small.base(), horizon)


@pytest.mark.parametrize("horizon", HORIZONS)
@pytest.mark.parametrize("event", EVENTS)
def test_contributions_add_up_to_the_published_probability(event: Event, horizon: int) -> None:
    bundle, dataset, rows = setting()
    frame = predict(bundle, dataset, rows, small.base()).forecasts
    mine = explained(horizon)[event]
    shown = frame[frame["horizon_weeks"] == horizon].set_index(["pair", "decision_date"]).loc[rows]
    total = mine.base + mine.contributions.sum(axis=1)
    np.testing.assert_allclose(mine.base, logit(shown[f"p_{event}_base"]), atol=1e-9)
    np.testing.assert_allclose(total, logit(shown[f"p_{event}"]), atol=1e-9)
    np.testing.assert_allclose(total, mine.published, atol=1e-9)
    points = probability_points(mine.base, mine.published, mine.contributions)
    np.testing.assert_allclose(points.sum(axis=1), shown[f"p_{event}"] - shown[f"p_{event}_base"], atol=1e-9)


def test_the_test_exercises_coherence_and_every_part() -> None:
    # A positive control: were one of the parts nought everywhere, the sums above would prove less than they say.
    for horizon in HORIZONS:
        parts = explained(horizon)
        moved = {
            event: np.abs(parts[event].contributions[:, parts[event].names.index("coherence")]) for event in EVENTS
        }
        # Nothing nests `large` within four weeks; within one, at least crash and one more event have to give way.
        assert sum((size > 1e-3).any() for size in moved.values()) >= (2 if horizon == 1 else 0)
        assert horizon == 1 or (moved["large"] == 0).all()
        for explanation in parts.values():
            assert (np.abs(explanation.contributions).max(axis=0) > 0).mean() > 0.6
            for name in ("calibration", SCENARIO_FEATURE):
                assert (explanation.contributions[:, explanation.names.index(name)] != 0).all()


@pytest.mark.parametrize("event", EVENTS)
def test_columns_are_handed_down_to_their_features(event: Event) -> None:
    bundle, dataset, rows = setting()
    mine = explained(4)[event]
    score, head = head_scores(bundle, dataset, rows, small.base(), 4)[event], bundle.heads[event, 4]
    layout = score.design.layout
    contrib = [np.asarray(booster.predict(score.design.columns, pred_contrib=True)) for booster in head.boosters]
    shap = np.mean(contrib, axis=0)
    for row in (0, len(rows) // 2, len(rows) - 1):
        expected = dict.fromkeys(mine.names, 0.0)
        for place in range(len(layout.columns)):
            members = [i for i, member in enumerate(layout.members) if member.column == place]
            parts = {i: score.design.parts[row, i] for i in members}
            size = sum(abs(part) for part in parts.values())
            for i in members:
                share = abs(parts[i]) / size if size else 1 / len(members)
                tree = head.slope * head.pool * shap[row, place] * share
                line = head.slope * head.linear.coef[place] * parts[i] if place < layout.signed else 0.0
                expected[layout.members[i].feature] += tree + line
        for name in set(mine.names) - {SCENARIO_FEATURE, *PSEUDO}:
            assert mine.contributions[row, mine.names.index(name)] == pytest.approx(expected[name], abs=1e-12)
        intercept = head.slope * (head.linear.intercept + head.pool * shap[row, -1])
        assert mine.contributions[row, mine.names.index("intercept")] == pytest.approx(intercept, abs=1e-12)
        # From the pair's base rate to the level of all pairs is nobody's step but the calibration's; from there to
        # where the head starts it is the scenario set's.
        step = score.level[row] - score.base[row]
        assert mine.contributions[row, mine.names.index("calibration")] == pytest.approx(step, abs=1e-12)
        moved = score.start[row] - score.level[row]
        assert mine.contributions[row, mine.names.index(SCENARIO_FEATURE)] == pytest.approx(moved, abs=1e-12)


def test_an_absent_feature_says_nothing_beside_live_ones_of_its_family() -> None:
    bundle, dataset, rows = setting()
    values = dataset.values.copy()
    family = [info.name for info in dataset.features if info.family == "macro" and info.sign]
    values.loc[rows, family[0]] = np.nan
    mine = explain(bundle, replace(dataset, values=values), rows, small.base(), 4)["large"]
    assert (mine.contributions[:, mine.names.index(family[0])] == 0).all()
    np.testing.assert_allclose(mine.base + mine.contributions.sum(axis=1), mine.published, atol=1e-9)


def test_every_row_of_missing_values_still_adds_up() -> None:
    bundle, dataset, rows = setting()
    empty = replace(dataset, values=dataset.values * np.nan)
    for horizon in HORIZONS:
        for mine in explain(bundle, empty, rows, small.base(), horizon).values():
            np.testing.assert_allclose(mine.base + mine.contributions.sum(axis=1), mine.published, atol=1e-9)
            assert np.isfinite(mine.contributions).all()


def test_a_row_without_a_scenario_set_says_that_it_adds_nothing() -> None:
    bundle, dataset, rows = setting()
    bare = small.base().assign(**{f"{event}_implied": np.nan for event in EVENTS})
    for event, mine in explain(bundle, dataset, rows, bare, 4).items():
        assert (mine.contributions[:, mine.names.index(SCENARIO_FEATURE)] == 0).all(), event
        np.testing.assert_allclose(mine.base + mine.contributions.sum(axis=1), mine.published, atol=1e-9)


def test_names_and_families() -> None:
    bundle, _, rows = setting()
    for mine in explained(1).values():
        assert mine.names[-3:] == PSEUDO
        assert mine.families[-3:] == PSEUDO
        assert set(mine.names[:-3]) == {info.name for info in bundle.features} | {STYLE_FEATURE, SCENARIO_FEATURE}
        assert len(set(mine.names)) == len(mine.names) == len(mine.families)
        assert set(mine.families[:-3]) <= set(FAMILIES)
        assert mine.families[mine.names.index(STYLE_FEATURE)] == "style"
        assert mine.families[mine.names.index(SCENARIO_FEATURE)] == "scenario"
        assert mine.families.count("scenario") == 1
        assert mine.contributions.shape == (len(rows), len(mine.names))


def test_tree_contributions_equal_the_raw_score_to_rounding() -> None:
    # LightGBM's TreeSHAP is the one number here that is not ours; it must add up to the raw score.
    bundle, dataset, rows = setting()
    for horizon in HORIZONS:
        for event, score in head_scores(bundle, dataset, rows, small.base(), horizon).items():
            booster: lgb.Booster = bundle.heads[event, horizon].boosters[0]
            raw = np.asarray(booster.predict(score.design.columns, raw_score=True))
            parts = np.asarray(booster.predict(score.design.columns, pred_contrib=True))
            np.testing.assert_allclose(parts.sum(axis=1), raw, atol=1e-12)


@given(
    base=st.floats(-6, 6),
    parts=st.lists(st.floats(-2, 2), min_size=1, max_size=8),
    size=st.sampled_from([1.0, 1e-3, 1e-7, 1e-10, 0.0]),
)
def test_probability_points_add_up_even_in_the_limit(base: float, parts: list[float], size: float) -> None:
    contributions: FloatArray = size * np.array([parts])
    published = np.array([base + contributions.sum()])
    points = probability_points(np.array([base]), published, contributions)
    assert np.isfinite(points).all()
    np.testing.assert_allclose(points.sum(), expit(published[0]) - expit(base), atol=1e-12)
    # Every driver keeps its direction, and equal drivers get equal points.
    assert (np.sign(points[0]) * np.sign(contributions[0]) >= 0).all()


def test_cancelling_contributions_get_the_limit() -> None:
    points = probability_points(np.array([0.4]), np.array([0.4]), np.array([[1.0, -1.0, 0.0]]))
    rate = expit(0.4) * (1 - expit(0.4))
    np.testing.assert_allclose(points, [[rate, -rate, 0.0]])
