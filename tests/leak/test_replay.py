"""Replay: any past week, rebuilt from raw observations, gives the very numbers that the walk-forward stored for it.

The rebuild reads a copy of the store into which later vintages have been ingested, builds the dataset of that one week,
trains the bundle in force again (early weeks) or loads it, and forecasts through serving.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from features.contracts import FORECAST_COLUMNS, TAIL_COLUMNS, TimeArray
from features.dataset import build_dataset, decision_times
from features.frames import OBSERVATION_COLUMNS
from features.ingest import ingest
from features.market import MarketSpec, load_market
from features.sources.folder import read_folder
from features.store import Store
from models.bundle import Bundle
from models.schedule import Plan, bundle_folder, last_cut, refit_cuts
from models.settings import HeadSettings, TreeSettings
from models.volatility import ScenarioSettings
from serving.forecast import dataset_for, make_forecast
from tests import small
from tests.features.real import READ_AT
from training.chain import train_chain
from training.fit import snapshot_of
from training.walkforward import WalkForward, walk_forward

OUTCOMES = ("spread_realised", "y_switch", "y_large", "y_crash")
KEY = ["pair", "horizon_weeks"]
SECOND = np.timedelta64(1, "s")


@dataclass(frozen=True, eq=False)
class Past:
    """What was stored: the observations at the time, the walk-forward over them and its bundles on disk."""

    market: MarketSpec
    plan: Plan
    store: Store
    walked: WalkForward
    root: Path

    @staticmethod
    def live(market: MarketSpec, plan: Plan, observations: pd.DataFrame, last: np.datetime64, folder: Path) -> Past:
        """Ingest, run the walk-forward up to `last`, keep its bundles."""
        store = Store(folder / "store.duckdb")
        ingest(store, market, observations, READ_AT)
        dataset = build_dataset(store.observations(market.name), market, last)
        root = folder / "bundles"
        return Past(market, plan, store, walk_forward(dataset, plan, root, jobs=1), root)

    def weeks(self, n: int) -> TimeArray:
        """Choose n stored weeks, the first and the last among them."""
        days = np.unique(self.walked.forecasts["decision_date"].to_numpy("datetime64[us]"))
        chosen: TimeArray = days[np.linspace(0, len(days) - 1, n).round().astype(int)]
        return chosen

    def at(self, day: np.datetime64) -> np.datetime64:
        """Return the UTC time of a day's decision."""
        time: np.datetime64 = decision_times(self.market, np.array([day]))[0]
        return time

    def copy(self, folder: Path) -> Store:
        """Copy the store's file."""
        folder.mkdir(parents=True, exist_ok=True)
        return Store(Path(shutil.copy(self.store.path, folder / "copy.duckdb")))

    def stored(self, day: np.datetime64) -> pd.DataFrame:
        """Return the rows that the walk-forward stored for a day."""
        frame = self.walked.forecasts
        return frame[frame["decision_date"] == pd.Timestamp(day)].reset_index(drop=True)


def revise(past: Past, store: Store, at: np.datetime64, seed: int = 0) -> pd.DataFrame:
    """Ingest another value of a third of all points, known one second after `at`; return what was added."""
    rows = store.observations(past.market.name, until=at)
    rng = np.random.default_rng(seed)
    rows = rows.drop_duplicates(["series", "period"], keep="last")
    rows = rows[rng.random(len(rows)) < 1 / 3]
    rows = rows.assign(value=rows["value"] * (1 + 0.004 * rng.standard_normal(len(rows))), revision=False)
    now = at + SECOND
    done = ingest(store, past.market, rows[list(OBSERVATION_COLUMNS)], now).appended
    after = store.observations(past.market.name)
    added = after[after["known_at"] == pd.Timestamp(now)]
    assert len(added) == done.added > 0.2 * len(rows)
    return added


def rebuild(past: Past, store: Store, day: np.datetime64, *, retrain: bool, until: bool) -> pd.DataFrame:
    """Forecast a past week from raw observations, as `capshift forecast --as-of` does."""
    observations = store.observations(past.market.name, until=past.at(day) if until else None)
    dataset = dataset_for(past.market, observations, day)
    cut = last_cut(dataset, past.plan, day)
    if retrain:
        cuts = refit_cuts(dataset, past.plan)
        bundle = train_chain(dataset, past.plan, cuts[cuts <= cut], None, jobs=1).bundles[-1]
    else:
        bundle = Bundle.load(bundle_folder(past.root, cut, snapshot_of(dataset, cut)))
    return make_forecast(past.market, observations, dataset, bundle, past.plan).rows


def assert_replayed(rebuilt: pd.DataFrame, stored: pd.DataFrame) -> None:
    """Every column but the outcomes: numbers to 1e-9, all else exactly."""
    columns = [name for name in FORECAST_COLUMNS if name not in OUTCOMES]
    assert len(stored) > 0
    pd.testing.assert_frame_equal(
        rebuilt[columns].sort_values(KEY, ignore_index=True),
        stored[columns].sort_values(KEY, ignore_index=True),
        rtol=0, atol=1e-9,
    )  # fmt: skip
    # An outcome of the week itself had not matured then.
    assert rebuilt[list(OUTCOMES)].isna().all().all()


def replay(past: Past, store: Store, days: Iterable[np.datetime64], early: int) -> None:
    assert past.walked.forecasts[list(TAIL_COLUMNS)].notna().any().all()
    for place, day in enumerate(days):
        rebuilt = rebuild(past, store, day, retrain=place < early, until=place % 2 == 0)
        assert_replayed(rebuilt, past.stored(day))


def quick(market: MarketSpec, first: str) -> Plan:
    """Return a plan with few seeds, rounds and paths."""
    settings = HeadSettings(
        calibration_dates=60,
        trees=TreeSettings(rounds=10, seeds=2),
        scenarios=ScenarioSettings(paths=500, min_days=750, window_days=750),
    )
    return Plan(settings, np.datetime64(first, "us"), 52, 104, market.config_hash, "test")


def full(market: MarketSpec) -> Plan:
    """Return the plan that `capshift backtest` runs."""
    schedule = market.schedule
    first = np.datetime64(schedule.first_decision, "us")
    return Plan(
        HeadSettings(), first, schedule.refit_weeks, schedule.min_weeks, market.config_hash, version("capshift")
    )


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Past:
    folder = tmp_path_factory.mktemp("simulated")
    store = Store(folder / "store.duckdb")
    ingest(store, small.market(), small.observations(), READ_AT)
    for bundle in small.walked().bundles:
        bundle.save(bundle_folder(folder / "bundles", bundle.cut, bundle.snapshot_id))
    return Past(small.market(), small.plan(), store, small.walked(), folder / "bundles")


@pytest.mark.parametrize(
    "place", [0, pytest.param(1, marks=pytest.mark.deep), 2, pytest.param(3, marks=pytest.mark.deep), 4]
)
def test_simulated_weeks_replay_from_a_store_that_was_revised_a_second_later(
    simulated: Past, tmp_path: Path, place: int
) -> None:
    day = simulated.weeks(5)[place]
    copy = simulated.copy(tmp_path)
    added = revise(simulated, copy, simulated.at(day), seed=place)
    assert added["series"].nunique() > 20
    assert {"s300.close", "micro.close", "pmi"} <= set(added["series"])
    replay(simulated, copy, [day], early=int(place in (0, 1)))


@pytest.mark.deep
def test_simulated_weeks_replay_after_many_revisions(simulated: Past, tmp_path: Path) -> None:
    copy = simulated.copy(tmp_path)
    days = simulated.weeks(10)
    for seed in range(3):
        revise(simulated, copy, simulated.at(days[-1]) + seed * SECOND, seed)
    replay(simulated, copy, days[[1, 4, 6, 7, 9]], early=1)


def test_a_revision_that_was_known_in_time_does_change_the_week(simulated: Past, tmp_path: Path) -> None:
    # The positive control: the same revisions, one second before the decision.
    day = simulated.weeks(6)[3]
    copy = simulated.copy(tmp_path)
    revise(simulated, copy, simulated.at(day) - 2 * SECOND)
    rows = copy.observations(simulated.market.name, until=simulated.at(day))
    dataset = dataset_for(simulated.market, rows, day)
    bundle = next(b for b in reversed(simulated.walked.bundles) if b.cut <= day)
    frame = make_forecast(simulated.market, rows, dataset, bundle, simulated.plan).rows
    with pytest.raises(AssertionError):
        assert_replayed(frame, simulated.stored(day))
    moved = np.abs(frame["p_switch"].to_numpy() - simulated.stored(day)["p_switch"].to_numpy())
    assert (moved > 1e-6).all()
    assert (frame["sigma"].to_numpy() != simulated.stored(day)["sigma"].to_numpy()).all()


def test_a_rebuild_from_the_last_vintages_is_caught(simulated: Past, tmp_path: Path) -> None:
    # The leaking twin: the newest value of each point, dated as the first.
    day = simulated.weeks(6)[3]
    copy = simulated.copy(tmp_path)
    revise(simulated, copy, simulated.at(simulated.weeks(2)[-1]))
    rows = copy.observations(simulated.market.name)
    first = rows.groupby(["series", "period"])["known_at"].transform("min")
    leaked = rows.assign(known_at=first).drop_duplicates(["series", "period"], keep="last")
    dataset = dataset_for(simulated.market, leaked, day)
    bundle = next(b for b in reversed(simulated.walked.bundles) if b.cut <= day)
    frame = make_forecast(simulated.market, leaked, dataset, bundle, simulated.plan).rows
    with pytest.raises(AssertionError):
        assert_replayed(frame, simulated.stored(day))
    assert not np.allclose(frame["p_large"], simulated.stored(day)["p_large"], rtol=0, atol=1e-9)
    assert not np.allclose(frame[list(TAIL_COLUMNS)], simulated.stored(day)[list(TAIL_COLUMNS)], rtol=0, atol=1e-9)


def a_shares(plan: Plan, folder: Path, root: Path, early: int) -> None:
    market = load_market("cn")
    last = np.datetime64("2023-11-24", "us")
    past = Past.live(market, plan, read_folder(market, root, READ_AT).observations, last, folder)
    copy, days = past.copy(folder / "copy"), past.weeks(10)
    added = revise(past, copy, past.at(days[-1]))
    assert {market.series[str(name)].frequency for name in added["series"].unique()} >= {"daily", "monthly"}
    assert {"csi300.close", "csi1000.close", "m2_yoy"} <= set(added["series"])
    replay(past, copy, days, early)


def united_states(plan: Plan, folder: Path, root: Path, early: int) -> None:
    market = load_market("us")
    # The first of the three FRED-MD vintages became known on 2019-09-30.
    last = np.datetime64("2019-09-27", "us")
    past = Past.live(market, plan, read_folder(market, root, READ_AT).observations, last, folder)
    copy = past.copy(folder / "copy")
    ingest(copy, market, read_folder(market, root, READ_AT, vintages=True).observations, READ_AT)
    before, after = (store.observations(market.name) for store in (past.store, copy))
    fresh = after.merge(before, how="left", on=["series", "period", "known_at", "value"], indicator=True)
    fresh = fresh[fresh["_merge"] == "left_only"]
    assert fresh["known_at"].dt.strftime("%Y-%m").value_counts().index.sort_values().tolist() == [
        "2019-09",
        "2021-12",
        "2023-06",
    ]
    assert fresh["known_at"].min() > pd.Timestamp(past.at(last))
    assert (fresh["period"] < pd.Timestamp("2015-01-01")).sum() > 500
    replay(past, copy, past.weeks(10), early)


@pytest.mark.real
def test_a_share_weeks_replay_with_few_seeds(real_data: Path, tmp_path: Path) -> None:
    a_shares(quick(load_market("cn"), "2018-01-05"), tmp_path, real_data, early=2)


@pytest.mark.real
def test_us_weeks_replay_with_few_seeds(real_data: Path, tmp_path: Path) -> None:
    united_states(quick(load_market("us"), "2015-01-02"), tmp_path, real_data, early=2)


@pytest.mark.slow
@pytest.mark.real
def test_a_share_weeks_replay_in_full(real_data: Path, tmp_path: Path) -> None:
    a_shares(full(load_market("cn")), tmp_path, real_data, early=3)


@pytest.mark.slow
@pytest.mark.real
def test_us_weeks_replay_in_full(real_data: Path, tmp_path: Path) -> None:
    united_states(full(load_market("us")), tmp_path, real_data, early=3)
