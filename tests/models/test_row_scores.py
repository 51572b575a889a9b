"""Scores of rows are the weekly forecast's numbers, whichever way they are computed."""

from __future__ import annotations

import re
from dataclasses import replace

import lightgbm as lgb
import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from features.contracts import EVENTS, HORIZONS
from models import row_scores
from models.explain import explain
from models.predict import draft
from models.row_parts import HEADS, ReferenceParts, TableParts
from models.row_plan import Summary, plan_drivers
from models.row_scores import (
    DRIVER_COLUMNS,
    FEW,
    GROUPS,
    NUMBER_COLUMNS,
    TOP,
    Method,
    RowScorer,
    all_columns,
    driver_columns,
    head_columns,
    scores_frame,
)
from tests import small
from tests.models import row_toy

METHODS: tuple[Method, ...] = ("tables", "reference")


def scored(frame: pd.DataFrame, method: Method) -> pd.DataFrame:
    scorer = RowScorer(row_toy.bundle(), method)
    rows, reasons = scorer.contract.read(frame)
    assert set(reasons) <= {""}
    return scores_frame(scorer.score(rows), frame.index)


@pytest.fixture(scope="module", params=METHODS)
def week(request: pytest.FixtureRequest) -> pd.DataFrame:
    """Return the rows of the small market, scored."""
    frame = row_toy.rows()
    return pd.concat([frame[["pair", "decision_date"]], scored(frame, request.param)], axis=1)


def test_equal_to_the_weekly_forecast(week: pd.DataFrame) -> None:
    drafted = draft(row_toy.bundle(), small.dataset(), row_toy.index(), small.base(), tails=False)
    for horizon in HORIZONS:
        mine = drafted.forecasts[drafted.forecasts["horizon_weeks"] == horizon].reset_index(drop=True)
        assert list(mine["pair"]) == list(week["pair"])
        for event in EVENTS:
            for end in ("", "_base", "_lo", "_hi"):
                assert_allclose(week[f"p_{event}_{horizon}w{end}"], mine[f"p_{event}{end}"], rtol=0, atol=1e-12)
        assert list(week["validity"]) == list(mine["validity"])
        # The weekly forecast says more of its tail.
        for ours, theirs in zip(week["reasons"], mine["reasons"], strict=True):
            assert theirs.startswith(ours)
    assert week["p_switch_1w"].notna().sum() > 50


def test_equal_to_the_weekly_explanation(week: pd.DataFrame) -> None:
    shown = week["p_switch_1w"].notna().to_numpy()
    for horizon in HORIZONS:
        explained = explain(row_toy.bundle(), small.dataset(), row_toy.index(), small.base(), horizon)
        for event in EVENTS:
            theirs, tag = explained[event], f"{event}_{horizon}w"
            families = pd.Series(theirs.families)
            for group in GROUPS:
                total = theirs.contributions[:, families == group].sum(axis=1)
                assert_allclose(week.loc[shown, f"log_odds_{tag}_{group}"], total[shown], rtol=0, atol=1e-12)
            plain = theirs.contributions[:, :-3]
            for rank, column in enumerate(driver_columns((event, horizon))):
                size = np.sort(np.abs(plain), axis=1)[:, -1 - rank]
                assert_allclose(week.loc[shown, f"{column}_log_odds"].abs(), size[shown], rtol=0, atol=1e-12)
                place = [theirs.names.index(name) for name in week.loc[shown, column]]
                named = plain[shown][np.arange(shown.sum()), place]
                assert_allclose(week.loc[shown, f"{column}_log_odds"], named, rtol=0, atol=1e-12)


def test_both_ways_agree_on_many_rows() -> None:
    frame = row_toy.many(3000)
    tables, reference = (scored(frame, method) for method in METHODS)
    assert_allclose(tables[list(NUMBER_COLUMNS)], reference[list(NUMBER_COLUMNS)], rtol=0, atol=1e-12)
    for column in ("validity", "reasons"):
        assert list(tables[column]) == list(reference[column])
    assert set(tables["validity"]) >= {"validated", "abstain_stale", "abstain_missing", "stress_supported"}
    same = [np.mean(tables[column].fillna("") == reference[column].fillna("")) for column in DRIVER_COLUMNS]
    assert min(same) > 0.999


def test_contributions_add_up(week: pd.DataFrame) -> None:
    for event, horizon in HEADS:
        tag = f"log_odds_{event}_{horizon}w"
        total = week[f"{tag}_base"] + week[[f"{tag}_{group}" for group in GROUPS]].sum(axis=1, skipna=False)
        assert_allclose(total, week[tag], rtol=0, atol=1e-12)
        assert_allclose(1 / (1 + np.exp(-week[tag])), week[f"p_{event}_{horizon}w"], rtol=0, atol=1e-12)


def test_a_row_depends_on_itself_only() -> None:
    frame = row_toy.many(300, seed=3)
    whole = scored(frame, "tables")
    part = scored(frame.iloc[[7, 250, 40]], "tables")
    assert_allclose(part[list(NUMBER_COLUMNS)], whole.loc[[7, 250, 40], list(NUMBER_COLUMNS)], rtol=0, atol=1e-13)


def test_a_row_that_abstains_keeps_its_base_rates_only() -> None:
    frame = row_toy.rows().iloc[:4].copy()
    gone = [info.name for info in row_toy.bundle().features if info.family == "macro"]
    frame.loc[frame.index[1:], gone] = np.nan
    frame.loc[frame.index[2], "stale"] = gone[0]
    found = scored(frame, "reference")
    assert list(found["validity"].iloc[1:]) == ["abstain_missing", "abstain_stale", "abstain_missing"]
    assert "macro" in found["reasons"].iloc[1]
    silent = found.iloc[1:]
    assert silent[[name for name in NUMBER_COLUMNS if not name.endswith("_base")]].isna().all().all()
    assert silent[[name for name in NUMBER_COLUMNS if name.endswith("_base")]].notna().all().all()
    assert (silent[list(DRIVER_COLUMNS)] == "").all().all()


def test_few_rows_wait_for_no_compiler() -> None:
    scorer = RowScorer(row_toy.bundle())
    rows, _ = scorer.contract.read(row_toy.many(5))
    scorer.score(rows)
    assert scorer._tables is None
    rows, _ = scorer.contract.read(row_toy.many(FEW))
    scorer.score(rows)
    assert scorer._tables is not None
    assert scorer._tables.slow == ""


def test_no_rows() -> None:
    found = scored(row_toy.many(5).iloc[:0], "tables")
    assert list(found.columns) == list(all_columns())
    assert len(found) == 0


def test_columns_have_their_names_once() -> None:
    assert len(set(all_columns())) == len(all_columns())
    assert head_columns(("large", 4))[4:7] == (
        "log_odds_large_4w",
        "log_odds_large_4w_base",
        "log_odds_large_4w_scenario",
    )


def test_threads_leave_no_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_scores, "_SLICE", 50)
    frame = row_toy.many(730, seed=6)
    frame.loc[frame.index[::90], frame.columns[5:20]] = np.nan
    scorer = RowScorer(row_toy.bundle(), "tables")
    rows, _ = scorer.contract.read(frame)
    one, three = scorer.score(rows), scorer.score(rows, threads=3)
    assert one.numbers.tobytes() == three.numbers.tobytes()
    assert one.drivers.tobytes() == three.drivers.tobytes()
    assert one.which.tobytes() == three.which.tobytes()
    assert one.judgements == three.judgements


def test_control_another_tree_is_found() -> None:
    """The comparison with the reference would show a wrong leaf."""
    bundle = row_toy.bundle()
    head = bundle.heads["switch", 1]
    text = head.boosters[0].model_to_string()
    # The text keeps its length, which it says of itself: one leading digit of a leaf is another.
    leaf = re.search(r"^leaf_value=-?[0.]*([1-9])", text, re.MULTILINE)
    assert leaf is not None
    other = text[: leaf.start(1)] + ("9" if leaf[1] < "5" else "1") + text[leaf.end(1) :]
    heads = {**bundle.heads, ("switch", 1): replace(head, boosters=(lgb.Booster(model_str=other), *head.boosters[1:]))}
    frame = row_toy.many(200)
    scorer = RowScorer(replace(bundle, heads=heads), "tables")
    rows, _ = scorer.contract.read(frame)
    found = scores_frame(scorer.score(rows))
    gap = (found["log_odds_switch_1w"] - scored(frame, "reference")["log_odds_switch_1w"]).abs().max()
    assert gap > 1e-6


def test_of_equal_contributions_the_first_driver_stands_first() -> None:
    """In both ways, on more rows than a block holds."""
    bundle, event, n = row_toy.bundle(), EVENTS[0], 700
    for parts in (TableParts(bundle), ReferenceParts(bundle)):
        found = parts.designs(np.full((n, len(bundle.features)), np.nan), np.ones(n, dtype=np.int64))[event]
        plan = plan_drivers(found.layout, {info.name: info.family for info in bundle.features}, GROUPS)
        trees = np.zeros((n, found.columns.shape[1] + 1), order="F")
        scenario = np.resize(np.array([1.0, -1.0, 0.0]), n)
        out = Summary(plan.family, np.empty((len(GROUPS), n)), np.empty((TOP, n), np.int64), np.empty((TOP, n)))
        found.parts[:] = 0.0
        parts.summarise((event, 1), found, trees, scenario, out)
        last = len(plan.names) - 1
        assert out.top.T.tolist() == [[last, 0, 1] if value else [0, 1, 2] for value in scenario]
        assert (out.size[0] == scenario).all()
        assert (out.families[GROUPS.index("scenario")] == scenario).all()
