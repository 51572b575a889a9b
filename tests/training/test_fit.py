"""Fitting: nothing later than the cut reaches a bundle, and interrupted or not, the bytes are the same."""

from __future__ import annotations

import shutil
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import lightgbm as lgb
import numpy as np
import pandas as pd
import pytest

from features.contracts import EVENTS, HORIZONS, Dataset
from features.dataset import build_dataset
from features.errors import DataContractError
from models.bundle import Bundle
from models.heads import Labels, calibrate
from models.predict import head_scores
from models.schedule import Plan, bundle_folder, forecast_rows, refit_cuts
from models.volatility import components, fit_volatility
from tests import small
from training.chain import train_chain
from training.fit import cut_time, fit_uncalibrated, matured_rows, snapshot_of

LABELS = [f"y_{event}" for event in EVENTS]


@pytest.fixture(scope="module")
def bundles() -> tuple[Bundle, ...]:
    return small.walked().bundles


def contents(bundle: Bundle, folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in bundle.save(folder).iterdir()}


def same(one: Bundle, other: Bundle, folder: Path) -> bool:
    return contents(one, folder / "one") == contents(other, folder / "other")


def planted(dataset: Dataset, later: pd.Series[bool]) -> Dataset:
    """Turn the chosen outcomes into their opposite."""
    outcomes = dataset.outcomes.copy()
    for name in LABELS:
        outcomes[name] = outcomes[name].where(~later, 1.0 - outcomes[name])
    outcomes["spread_realised"] = outcomes["spread_realised"].where(~later, -9.0)
    return replace(dataset, outcomes=outcomes)


def fitted(dataset: Dataset, cut: np.datetime64) -> Bundle:
    return fit_uncalibrated(dataset, small.base(dataset), small.volatility(cut), cut, small.plan())


def early() -> Dataset:
    """Return the dataset up to the second cut: what is trained is the same, and there is half a year to forecast."""
    return small.dataset(small.walked().bundles[1].cut)


def chain(dataset: Dataset, cuts: int, root: Path | None = None, plan: Plan | None = None) -> tuple[Bundle, ...]:
    plan = plan or small.plan()
    return train_chain(dataset, plan, refit_cuts(dataset, plan)[:cuts], root, jobs=1).bundles


def test_outcomes_that_mature_at_the_cut_or_later_change_nothing(bundles: tuple[Bundle, ...], tmp_path: Path) -> None:
    dataset = small.dataset()
    at = pd.Timestamp(cut_time(dataset, small.MIDDLE))
    later = dataset.outcomes["matured_at"] >= at
    assert (later & dataset.outcomes["y_large"].notna()).sum() > 100
    twin = planted(dataset, later)
    assert same(fitted(twin, small.MIDDLE), fitted(dataset, small.MIDDLE), tmp_path)
    assert same(chain(twin, 3)[-1], bundles[2], tmp_path)


def test_a_calibration_reads_no_outcome_that_matures_at_the_cut_or_later(
    bundles: tuple[Bundle, ...], tmp_path: Path
) -> None:
    dataset, last = small.dataset(), bundles[-1]
    assert {head.slope for head in last.heads.values()} != {1.0}
    later = dataset.outcomes["matured_at"] >= pd.Timestamp(cut_time(dataset, last.cut))
    assert same(chain(planted(dataset, later), 4)[-1], last, tmp_path)


def test_a_calibration_learns_from_each_week_as_the_bundle_in_force_scored_it(bundles: tuple[Bundle, ...]) -> None:
    dataset, plan, last = small.dataset(), small.plan(), bundles[-1]
    for event, horizon in last.heads:
        rows, labels = matured_rows(dataset, small.base(), event, horizon, cut_time(dataset, last.cut))
        known = dict(zip(rows, labels.y, strict=True))
        seen: list[tuple[float, ...]] = []
        days = []
        for bundle, after in pairwise(bundles):
            block = forecast_rows(dataset, plan, bundle.cut, after.cut)
            score = head_scores(bundle, dataset, block, small.base(), horizon)[event]
            for row, linear, trees, start in zip(block, score.raw.linear, score.raw.trees, score.start, strict=True):
                if row in known:
                    seen.append((linear, trees, known[row], start))
                    days.append(np.datetime64(row[1], "us"))
        parts = np.array(seen).T
        start = replace(last.heads[event, horizon], pool=0.5, slope=1.0)
        past = Labels(parts[2], parts[3], np.full(len(days), np.nan), np.array(days))
        expected = calibrate(start, (parts[0], parts[1]), past, last.cut, plan.settings)
        mine = last.heads[event, horizon]
        assert (mine.pool, mine.slope) == pytest.approx((expected.pool, expected.slope), abs=1e-9)


def test_the_same_planting_is_caught_where_maturity_is_ignored(tmp_path: Path) -> None:
    # The positive control: were an outcome known at its own decision, the planted labels would reach the bundle.
    dataset = small.dataset()
    at = pd.Timestamp(cut_time(dataset, small.MIDDLE))
    later = dataset.outcomes["matured_at"] >= at
    decided = dataset.clock["decision_at"].reindex(dataset.outcomes.index.get_level_values("decision_date")).to_numpy()
    one, other = (
        fitted(replace(each, outcomes=each.outcomes.assign(matured_at=decided)), small.MIDDLE)
        for each in (dataset, planted(dataset, later))
    )
    assert not same(one, other, tmp_path)


def test_the_last_matured_outcomes_do_count(tmp_path: Path) -> None:
    dataset = small.dataset()
    at = pd.Timestamp(cut_time(dataset, small.MIDDLE))
    matured = dataset.outcomes["matured_at"]
    newest = (matured < at) & (matured >= at - pd.Timedelta(days=7))
    assert newest.any()
    assert not same(fitted(planted(dataset, newest), small.MIDDLE), fitted(dataset, small.MIDDLE), tmp_path)


@pytest.mark.parametrize("horizon", HORIZONS)
def test_matured_rows_are_those_before_the_time(horizon: int) -> None:
    dataset, base = small.dataset(), small.base()
    at = cut_time(dataset, small.MIDDLE)
    rows, labels = matured_rows(dataset, base, "switch", horizon, at)
    outcomes = dataset.outcomes.xs(horizon, level="horizon_weeks")
    expected = outcomes[(outcomes["matured_at"] < pd.Timestamp(at)) & outcomes["y_switch"].notna()]
    assert list(rows) == list(expected.index)
    assert np.array_equal(labels.y, expected["y_switch"])
    assert np.array_equal(labels.dates, rows.get_level_values("decision_date").to_numpy("datetime64[us]"))
    for found, name in ((labels.level, "switch_shared"), (labels.implied, "switch_implied")):
        rate = base[name].xs(horizon, level="horizon_weeks").loc[rows]
        np.testing.assert_allclose(found, np.log(rate / (1 - rate)), atol=1e-12)
    assert 0.05 < np.isfinite(labels.implied).mean() < 0.95
    # At the very time of its maturity an outcome is not yet used.
    on_time = outcomes["matured_at"].drop_duplicates().sort_values().iloc[500].to_datetime64()
    assert (outcomes.loc[matured_rows(dataset, base, "switch", horizon, on_time)[0], "matured_at"] < on_time).all()


def test_rows_from_the_cut_on_change_nothing(tmp_path: Path) -> None:
    dataset = small.dataset()
    late = dataset.values.index.get_level_values("decision_date") >= pd.Timestamp(small.MIDDLE)
    values = dataset.values.copy()
    values[late] = 77.0
    assert same(fitted(replace(dataset, values=values), small.MIDDLE), fitted(dataset, small.MIDDLE), tmp_path)
    before = dataset.values.copy()
    before[np.roll(late, -1)] = 77.0
    assert not same(fitted(replace(dataset, values=before), small.MIDDLE), fitted(dataset, small.MIDDLE), tmp_path)


@pytest.mark.parametrize("place", [0, pytest.param(3, marks=pytest.mark.deep)])
def test_a_bundle_equals_one_trained_on_what_was_known_at_its_cut(
    place: int, bundles: tuple[Bundle, ...], tmp_path: Path
) -> None:
    cut = bundles[place].cut
    observations = small.observations()
    known = observations[observations["known_at"] <= pd.Timestamp(cut_time(small.dataset(), cut))]
    short = build_dataset(known, small.market(), cut)
    assert same(chain(short, place + 1)[-1], bundles[place], tmp_path)


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Count the boosters that LightGBM trains."""
    calls: list[object] = []
    train = lgb.train

    def counted(*args: Any, **kwargs: Any) -> lgb.Booster:
        # The check of a booster's text trains one, too, to learn what this LightGBM writes.
        if "num_boost_round" in kwargs:
            calls.append(kwargs)
        return train(*args, **kwargs)

    monkeypatch.setattr(lgb, "train", counted)
    return calls


def written(root: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in root.rglob("*") if path.is_file()}


@pytest.mark.deep
def test_an_interrupted_chain_resumes_with_the_same_bytes(
    bundles: tuple[Bundle, ...], trained: list[object], tmp_path: Path
) -> None:
    dataset, plan, root = small.dataset(), small.plan(), tmp_path / "root"
    one_bundle = len(EVENTS) * len(HORIZONS) * plan.settings.trees.seeds

    def interrupted(stage: str, at: int) -> None:
        def stop(now: str, done: int, total: int) -> None:
            if (now, done) == (stage, at):
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            train_chain(dataset, plan, refit_cuts(dataset, plan), root, jobs=1, progress=stop)

    # Once among the refits, once among the forecasts: two bundles are finished, two wait for their memory.
    interrupted("train", 2)
    assert len({path.parent for path in written(root / "unfinished")}) == 2
    assert [path.name for path in root.iterdir()] == ["unfinished"]
    assert len(trained) == 2 * one_bundle
    interrupted("forecast", 2)
    finished = {path: at for path, at in written(root).items() if "unfinished" not in path.parts}
    assert len({path.parent for path in finished}) == len({path.parent for path in written(root / "unfinished")}) == 2
    resumed = chain(dataset, 4, root)
    assert finished.items() <= written(root).items()
    assert len(trained) == 4 * one_bundle
    assert len(list(root.iterdir())) == 4
    for mine, other in zip(resumed, bundles, strict=True):
        assert same(mine, other, tmp_path)
        folder = bundle_folder(root, mine.cut, snapshot_of(dataset, mine.cut))
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == contents(other, tmp_path / "one")
    # Once all are there, nothing is trained or written.
    all_of_it = written(root)
    again = chain(dataset, 4, root)
    assert written(root) == all_of_it
    assert len(trained) == 4 * one_bundle
    assert same(again[-1], bundles[-1], tmp_path)


@pytest.mark.deep
def test_a_damaged_bundle_is_trained_again_and_others_are_kept(bundles: tuple[Bundle, ...], tmp_path: Path) -> None:
    dataset, root = early(), tmp_path / "root"
    chain(dataset, 2, root)
    first, second = sorted(root.iterdir())
    kept = {path: path.stat().st_mtime_ns for path in first.iterdir()}
    next(second.glob("model*.json")).write_text("{}")
    again = chain(dataset, 2, root)
    assert same(again[1], bundles[1], tmp_path)
    assert Bundle.load(second).cut == bundles[1].cut
    assert {path: path.stat().st_mtime_ns for path in first.iterdir()} == kept


@pytest.mark.deep
def test_a_bundle_of_another_configuration_or_catalogue_is_not_used(tmp_path: Path) -> None:
    dataset, root = early(), tmp_path / "root"
    (ours,) = chain(dataset, 1, root)
    other = small.plan(settings=replace(small.plan().settings, ridge_penalty=5.0))
    [theirs] = chain(dataset, 1, root, other)
    assert (theirs.config_hash, theirs.settings) == (other.config_hash, other.settings)
    assert not np.array_equal(theirs.heads["large", 4].linear.coef, ours.heads["large", 4].linear.coef)
    folder = bundle_folder(root, ours.cut, ours.snapshot_id)
    fewer = replace(ours, features=tuple(replace(info, why="another reason") for info in ours.features))
    shutil.rmtree(folder)
    fewer.save(folder)
    [retrained] = chain(dataset, 1, root)
    assert retrained.features == dataset.features


def test_what_a_bundle_says_of_itself(bundles: tuple[Bundle, ...]) -> None:
    dataset, plan = small.dataset(), small.plan()
    for bundle in bundles:
        assert bundle.snapshot_id == dataset.clock["snapshot_id"].to_dict()[pd.Timestamp(bundle.cut)]
        assert (bundle.config_hash, bundle.code_version) == (plan.config_hash, "test")
        assert (bundle.market, bundle.simulated) == ("sample", True)
        assert set(bundle.families) <= {info.family for info in dataset.features}
        assert tuple(bundle.volatility) == dataset.segments
        held = components(dataset.closes, dataset.segments, cut_time(dataset, bundle.cut), bundle.cut)
        assert held[dataset.segments[1]].dates[-1] == bundle.cut
        # One of the five, to save time; `tests/training/test_volatility.py` fits them all.
        expected = fit_volatility(held[dataset.segments[1]], plan.settings.scenarios)
        assert bundle.volatility[dataset.segments[1]] == expected


def test_families_are_those_that_lived_in_the_last_year() -> None:
    dataset = small.dataset()
    dates = dataset.values.index.get_level_values("decision_date")
    names = [info.name for info in dataset.features if info.family == "leverage"]
    values = dataset.values.copy()
    values.loc[dates >= pd.Timestamp(small.MIDDLE) - pd.Timedelta(weeks=53), names] = np.nan
    assert "leverage" in fitted(dataset, small.MIDDLE).families
    assert "leverage" not in fitted(replace(dataset, values=values), small.MIDDLE).families


def test_too_little_history_and_a_wrong_cut_are_refused_in_words() -> None:
    dataset = small.dataset()
    with pytest.raises(DataContractError, match="`cut` must be a decision day of market 'sample'; got 2010-01-13"):
        fitted(dataset, np.datetime64("2010-01-13", "us"))
    early = dataset.clock.index[40].to_datetime64().astype("datetime64[us]")
    with pytest.raises(DataContractError, match=r"only [0-9]+ outcomes had matured by"):
        fitted(dataset, early)


def test_closes_too_short_for_a_scenario_set_train_all_the_same() -> None:
    scenarios = replace(small.plan().settings.scenarios, min_days=90_000, window_days=90_000)
    plan = small.plan(settings=replace(small.plan().settings, scenarios=scenarios))
    [bundle] = chain(early(), 1, plan=plan)
    assert set(bundle.volatility.values()) == {None}
    for head in bundle.heads.values():
        assert (head.scenario.coef == 0).all()
        assert np.abs(head.linear.coef).max() > 0
