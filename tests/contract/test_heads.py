"""The contract of every head: what it leaves alone, what it repeats, and what it does where an input is missing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, logit

from features.contracts import EVENTS, HORIZONS, Dataset, Event
from models.bundle import Bundle
from models.design import Design, Scaler, build_design, build_layout
from models.heads import Head, Labels, fit_head, raw_scores
from models.predict import HeadScores, head_scores
from models.schedule import forecast_rows
from tests import small
from training.fit import cut_time, matured_rows

HEADS = [(event, horizon) for event in EVENTS for horizon in HORIZONS]
every_head = pytest.mark.parametrize(
    ("event", "horizon"), HEADS, ids=[f"{event}-{horizon}w" for event, horizon in HEADS]
)


def training(event: Event, horizon: int) -> tuple[Design, Labels]:
    """Return design and labels as the first refit learns from them."""
    dataset, cut = small.dataset(), small.FIRST
    rows, labels = matured_rows(dataset, small.base(), event, horizon, cut_time(dataset, cut))
    before = dataset.rows.index.get_level_values("decision_date") < pd.Timestamp(cut)
    scaler = Scaler.fit(dataset.values[before], 3.0)
    style = dataset.rows.loc[rows, "style"].to_numpy(np.int64)
    design = build_design(build_layout(event, dataset.features), scaler, dataset.values.loc[rows], style)
    return design, labels


def fitted(event: Event, horizon: int) -> Head:
    design, labels = training(event, horizon)
    return fit_head(design, labels, horizon, small.FIRST, small.plan().settings)


def last_rows() -> tuple[Bundle, Dataset, pd.MultiIndex]:
    bundle, dataset = small.walked().bundles[-1], small.dataset()
    return bundle, dataset, forecast_rows(dataset, small.plan(), bundle.cut, None)


def scored(bundle: Bundle, dataset: Dataset, rows: pd.MultiIndex, event: Event, horizon: int) -> HeadScores:
    return head_scores(bundle, dataset, rows, small.base(), horizon)[event]


@every_head
def test_fitting_and_scoring_leave_inputs_alone(event: Event, horizon: int) -> None:
    design, labels = training(event, horizon)
    kept = design.columns.copy(), design.parts.copy(), {name: part.copy() for name, part in vars(labels).items()}
    head = fit_head(design, labels, horizon, small.FIRST, small.plan().settings)
    raw_scores(head, design)
    np.testing.assert_array_equal(design.columns, kept[0])
    np.testing.assert_array_equal(design.parts, kept[1])
    for name, part in kept[2].items():
        np.testing.assert_array_equal(getattr(labels, name), part)


@every_head
def test_same_seed_same_bytes(event: Event, horizon: int) -> None:
    one, two = fitted(event, horizon), fitted(event, horizon)
    assert [b.model_to_string() for b in one.boosters] == [b.model_to_string() for b in two.boosters]
    for mine, other in ((one.linear, two.linear), (one.scenario, two.scenario)):
        assert np.array_equal(mine.coef, other.coef)
        assert np.array_equal(mine.covariance, other.covariance)
        assert mine.intercept == other.intercept


@every_head
def test_seeds_differ_and_are_averaged(event: Event, horizon: int) -> None:
    design, _ = training(event, horizon)
    head = fitted(event, horizon)
    assert head.boosters[0].model_to_string() != head.boosters[1].model_to_string()
    alone = [raw_scores(replace(head, boosters=(booster,)), design) for booster in head.boosters]
    np.testing.assert_allclose(
        raw_scores(head, design).trees, np.mean([part.trees for part in alone], axis=0), atol=1e-15
    )
    assert (alone[0].trees_error == 0).all()
    spread = np.std([part.trees for part in alone], axis=0, ddof=1) / np.sqrt(2)
    np.testing.assert_allclose(raw_scores(head, design).trees_error, spread, atol=1e-15)


@every_head
def test_the_level_is_left_to_the_climatology(event: Event, horizon: int) -> None:
    head = fitted(event, horizon)
    assert abs(head.linear.intercept) < 1e-6
    assert (head.pool, head.slope) == (0.5, 1.0)


@every_head
def test_row_order_of_scoring_is_irrelevant(event: Event, horizon: int) -> None:
    bundle, dataset, rows = last_rows()
    score = scored(bundle, dataset, rows, event, horizon)
    shuffled = rows[np.random.default_rng(0).permutation(len(rows))]
    other = scored(bundle, dataset, shuffled, event, horizon)
    back = shuffled.get_indexer(rows)
    np.testing.assert_allclose(score.published, other.published[back], atol=1e-13)


@every_head
def test_a_row_alone_scores_as_in_the_block(event: Event, horizon: int) -> None:
    bundle, dataset, rows = last_rows()
    score = scored(bundle, dataset, rows, event, horizon)
    for place in (0, len(rows) // 2, len(rows) - 1):
        alone = scored(bundle, dataset, rows[[place]], event, horizon)
        np.testing.assert_allclose(alone.published[0], score.published[place], atol=1e-13)


@every_head
def test_saved_and_loaded_scores_equal_to_the_bit(event: Event, horizon: int, tmp_path: Path) -> None:
    bundle, dataset, rows = last_rows()
    loaded = Bundle.load(bundle.save(tmp_path / "bundle"))
    one, two = (scored(each, dataset, rows, event, horizon) for each in (bundle, loaded))
    for part in ("base", "level", "start", "start_error", "calibrated", "published"):
        assert np.array_equal(getattr(one, part), getattr(two, part))
    for part in ("linear", "linear_error", "trees", "trees_error"):
        assert np.array_equal(getattr(one.raw, part), getattr(two.raw, part))


@every_head
def test_column_order_of_the_panel_is_irrelevant(event: Event, horizon: int) -> None:
    bundle, dataset, rows = last_rows()
    turned = replace(dataset, values=dataset.values[dataset.values.columns[::-1]])
    one, two = (scored(bundle, each, rows, event, horizon) for each in (dataset, turned))
    assert np.array_equal(one.published, two.published)


@every_head
def test_without_any_input_only_the_style_in_force_speaks(event: Event, horizon: int) -> None:
    # All features gone: the linear part says only what the style in force says, the trees what they learned of gaps.
    bundle, dataset, rows = last_rows()
    empty = replace(dataset, values=dataset.values * np.nan)
    score = scored(bundle, empty, rows, event, horizon)
    assert np.isfinite(score.published).all()
    head = bundle.heads[event, horizon]
    place = build_layout(event, bundle.features).columns.index("style_in_force")
    style = dataset.rows.loc[rows, "style"].to_numpy(np.float64)
    np.testing.assert_allclose(score.raw.linear, head.linear.intercept + head.linear.coef[place] * style, atol=1e-12)


@every_head
def test_one_missing_feature_moves_only_rows_that_lack_it(event: Event, horizon: int) -> None:
    bundle, dataset, rows = last_rows()
    values = dataset.values.copy()
    name = "vol_ratio"
    values.loc[rows[:10], name] = np.nan
    one = scored(bundle, dataset, rows, event, horizon).calibrated
    two = scored(bundle, replace(dataset, values=values), rows, event, horizon).calibrated
    assert np.array_equal(one[10:], two[10:])
    assert (one[:10] != two[:10]).any()


@every_head
def test_calibrated_is_the_start_plus_the_scaled_parts(event: Event, horizon: int) -> None:
    bundle, dataset, rows = last_rows()
    score, head = scored(bundle, dataset, rows, event, horizon), bundle.heads[event, horizon]
    keys = pd.MultiIndex.from_tuples([(*row, horizon) for row in rows])
    gap = logit(small.base()[f"{event}_implied"].reindex(keys).to_numpy()) - score.level
    start = score.level + head.scenario.intercept + (head.prior + head.scenario.coef[0]) * gap
    np.testing.assert_allclose(score.start, start, atol=1e-12)
    assert (np.abs(score.start - score.level) > 1e-6).all()
    expected = start + head.slope * (score.raw.linear + head.pool * score.raw.trees)
    np.testing.assert_allclose(score.calibrated, expected, atol=1e-12)
    for part, column in ((score.base, event), (score.level, f"{event}_shared")):
        np.testing.assert_allclose(expit(part), small.base()[column].reindex(keys), atol=1e-12)
    assert score.published.shape == (len(rows),)


@every_head
def test_without_a_scenario_set_a_head_starts_at_the_climatology(event: Event, horizon: int) -> None:
    bundle, dataset, rows = last_rows()
    bare = small.base().assign(**{f"{event}_implied": np.nan})
    with_set, without = (head_scores(bundle, dataset, rows, base, horizon)[event] for base in (small.base(), bare))
    assert np.array_equal(without.start, without.level)
    assert (without.start_error == 0).all()
    assert (with_set.start_error > 0).all()
    # Linear part and trees read the same features whatever the head starts from.
    assert np.array_equal(without.raw.linear, with_set.raw.linear)
    assert np.array_equal(without.raw.trees, with_set.raw.trees)
