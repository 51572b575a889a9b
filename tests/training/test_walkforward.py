"""The walk-forward: each week by the bundle in force, one training path, and the same rows however it is run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from features.contracts import FORECAST_COLUMNS, HORIZONS, TAIL_COLUMNS
from features.errors import DataContractError
from models.bundle import Bundle
from models.predict import predict
from models.schedule import forecast_rows, refit_cuts
from tests import small
from training.chain import train_chain
from training.walkforward import walk_forward

OUTCOMES = ["spread_realised", "y_switch", "y_large", "y_crash"]
KEY = ["pair", "decision_date", "horizon_weeks"]


def contents(bundle: Bundle, folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in bundle.save(folder).iterdir()}


def test_every_row_comes_from_the_newest_bundle_that_is_not_later() -> None:
    frame, cuts = small.walked().forecasts, refit_cuts(small.dataset(), small.plan())
    assert [bundle.cut for bundle in small.walked().bundles] == cuts.tolist()
    for day, cut in frame[["decision_date", "bundle_cut"]].drop_duplicates().itertuples(index=False):
        assert cut == max(pd.Timestamp(each) for each in cuts if each <= day)


def test_all_rows_of_all_pairs_from_the_first_decision_to_the_end() -> None:
    frame, dataset = small.walked().forecasts, small.dataset()
    assert tuple(frame.columns) == FORECAST_COLUMNS
    rows = forecast_rows(dataset, small.plan(), small.FIRST, None)
    expected = {(pair, day, horizon) for pair, day in rows for horizon in HORIZONS}
    assert set(frame[KEY].itertuples(index=False, name=None)) == expected
    assert len(frame) == len(expected)
    assert frame["decision_date"].max() == pd.Timestamp(small.LAST)


def test_each_block_is_what_its_bundle_predicts() -> None:
    bundle = small.walked().bundles[1]
    rows = forecast_rows(small.dataset(), small.plan(), bundle.cut, small.walked().bundles[2].cut)
    again = predict(bundle, small.dataset(), rows, small.base()).forecasts
    stored = small.walked().forecasts
    stored = stored[stored["bundle_cut"] == pd.Timestamp(bundle.cut)].reset_index(drop=True)
    pd.testing.assert_frame_equal(again, stored, check_exact=True)


def test_the_final_model_is_the_last_refit(tmp_path: Path) -> None:
    last = refit_cuts(small.dataset(), small.plan())[-1]
    cuts = refit_cuts(small.dataset(last), small.plan())
    assert cuts[-1] == last
    final = train_chain(small.dataset(last), small.plan(), cuts, None, jobs=1).bundles[-1]
    assert contents(final, tmp_path / "one") == contents(small.walked().bundles[-1], tmp_path / "other")


def test_the_years_after_a_day_do_not_change_the_rows_up_to_it() -> None:
    walked = walk_forward(small.dataset(small.MIDDLE), small.plan(), None, jobs=1)
    short, whole = walked.forecasts, small.walked().forecasts
    whole = whole[whole["decision_date"] <= pd.Timestamp(small.MIDDLE)].reset_index(drop=True)
    assert len(short) == len(whole) > 300
    assert short[list(TAIL_COLUMNS)].notna().all().all()
    pd.testing.assert_frame_equal(short.drop(columns=OUTCOMES), whole.drop(columns=OUTCOMES), rtol=0, atol=1e-12)
    pd.testing.assert_frame_equal(walked.tails, small.walked().tails.loc[walked.tails.index], rtol=0, atol=1e-12)
    pd.testing.assert_frame_equal(walked.base, small.base().loc[walked.base.index], rtol=0, atol=1e-12)
    # Outcomes are filled in as they mature, and never change.
    known = short["y_large"].notna()
    assert 0 < (~known).sum() <= 2 * 4 * 6
    pd.testing.assert_frame_equal(short.loc[known, OUTCOMES], whole.loc[known, OUTCOMES], check_exact=True)


def test_interrupted_and_resumed_on_two_processes_it_gives_the_same_rows(tmp_path: Path) -> None:
    def stop(stage: str, done: int, total: int) -> None:
        if stage == "train" and done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        walk_forward(small.dataset(), small.plan(), tmp_path, jobs=1, progress=stop)
    seen: list[tuple[str, int, int]] = []
    resumed = walk_forward(small.dataset(), small.plan(), tmp_path, jobs=2, progress=lambda *at: seen.append(at))
    pd.testing.assert_frame_equal(resumed.forecasts, small.walked().forecasts, rtol=0, atol=1e-12)
    pd.testing.assert_frame_equal(resumed.tails, small.walked().tails, rtol=0, atol=1e-12)
    stages = list(dict.fromkeys(stage for stage, _, _ in seen))
    assert stages == ["volatility", "scenarios", "train", "forecast"]
    for stage in stages:
        steps = [(done, total) for name, done, total in seen if name == stage]
        assert steps == [(done, len(steps)) for done in range(1, len(steps) + 1)]
        assert stage not in ("train", "forecast") or len(steps) == 4
    assert len(list(tmp_path.iterdir())) == 4
    for folder, bundle in zip(sorted(tmp_path.iterdir()), small.walked().bundles, strict=True):
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == contents(bundle, tmp_path / "x")


def test_a_pair_enters_after_its_minimum_of_weeks() -> None:
    # 540 weeks after its first features no pair is old enough at the first cuts; their bundles still train.
    dataset, plan = small.dataset(), small.plan(min_weeks=540)
    frame = walk_forward(dataset, plan, None, jobs=1).forecasts
    ages = {pair: {day: age for age, day in enumerate(dataset.rows.loc[pair].index)} for pair in set(frame["pair"])}
    assert len(ages) == len(dataset.pairs)
    assert min(ages[pair][day] for pair, day in frame[["pair", "decision_date"]].itertuples(index=False)) == 540
    assert frame["decision_date"].min() > pd.Timestamp(small.FIRST)


def test_no_decision_to_forecast_is_an_error_in_words() -> None:
    with pytest.raises(DataContractError, match="end before the first decision"):
        walk_forward(small.dataset(), small.plan(first_decision=np.datetime64("2030-01-04", "us")), None, jobs=1)
    with pytest.raises(DataContractError, match="no pair"):
        walk_forward(small.dataset(small.MIDDLE), small.plan(min_weeks=9999), None, jobs=1)
