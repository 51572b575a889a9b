"""What is fitted at a cut, from the scaler to the memory of the tails, is the same without the years after it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from features.contracts import EVENTS, TAIL_COLUMNS, Dataset
from features.dataset import build_dataset
from models.base import base_frame
from models.bundle import Bundle
from models.implied import Refits
from models.predict import predict
from models.schedule import Plan, forecast_rows, refit_cuts
from models.settings import HeadSettings, TreeSettings
from models.volatility import ScenarioSettings
from tests.features.toy import last_decision, toy_market, toy_observations
from training.chain import train_chain
from training.volatility import implied_history

PLAN = Plan(
    settings=HeadSettings(
        calibration_dates=12,
        trees=TreeSettings(rounds=8, seeds=2, min_data_in_leaf=8, lambda_l2=1.0, path_smooth=0.0),
        scenarios=ScenarioSettings(paths=500, window_days=400, min_days=250),
    ),
    first_decision=np.datetime64("2015-09-18", "us"),
    refit_weeks=13,
    min_weeks=30,
    market_hash="toy",
    code_version="test",
)
OUTCOMES = ["spread_realised", *(f"y_{event}" for event in EVENTS)]


def chain(dataset: Dataset) -> Sequence[Bundle]:
    return train_chain(dataset, PLAN, refit_cuts(dataset, PLAN), None, jobs=1).bundles


@pytest.fixture(scope="module")
def observations() -> pd.DataFrame:
    return toy_observations(4)


@pytest.fixture(scope="module")
def dataset(observations: pd.DataFrame) -> Dataset:
    return build_dataset(observations, toy_market(), last_decision())


@pytest.fixture(scope="module")
def bundles(dataset: Dataset) -> Sequence[Bundle]:
    return chain(dataset)


def texts(bundle: Bundle, folder: Path) -> dict[str, str]:
    saved = bundle.save(folder)
    return {path.name: path.read_text() for path in sorted(saved.iterdir())}


def known_at(dataset: Dataset, day: np.datetime64, observations: pd.DataFrame) -> pd.DataFrame:
    at = dataset.clock["decision_at"].loc[pd.Timestamp(day)]
    known: pd.DataFrame = observations[observations["known_at"] <= at]
    return known


@pytest.mark.parametrize("place", [1, *(pytest.param(place, marks=pytest.mark.deep) for place in (3, -1))])
def test_a_bundle_equals_its_refit_on_what_was_known(
    place: int, observations: pd.DataFrame, dataset: Dataset, bundles: Sequence[Bundle], tmp_path: Path
) -> None:
    cut = bundles[place].cut
    short = build_dataset(known_at(dataset, cut, observations), toy_market(), cut)
    again = chain(short)[-1]
    assert again.cut == cut
    assert texts(again, tmp_path / "again") == texts(bundles[place], tmp_path / "full")
    # The comparison means something only if every part was fitted.
    assert all(params is not None for params in again.volatility.values())
    assert place == 0 or again.memory.settled
    if place != 1:
        assert {head.slope for head in again.heads.values()} != {1.0}


@pytest.mark.parametrize("weeks_on", [0, 5, 12])
def test_a_forecast_equals_its_replay(
    weeks_on: int, observations: pd.DataFrame, dataset: Dataset, bundles: Sequence[Bundle]
) -> None:
    bundle = bundles[2]
    days = np.unique(dataset.rows.index.get_level_values("decision_date").to_numpy("datetime64[us]"))
    day = days[np.searchsorted(days, bundle.cut) + weeks_on]
    short = build_dataset(known_at(dataset, day, observations), toy_market(), day)
    stop = day + np.timedelta64(1, "D")
    refits: Refits = {each.cut: each.volatility for each in bundles}
    done = []
    for data in (dataset, short):
        base = base_frame(data, implied_history(data, refits, PLAN.settings.scenarios, jobs=1))
        # Every week since the cut: their matured errors move the level.
        done.append(predict(bundle, data, forecast_rows(data, PLAN, bundle.cut, stop), base))
    one, other = (part.forecasts.drop(columns=OUTCOMES) for part in done)
    assert len(one) >= 2 * (weeks_on + 1)
    assert one[list(TAIL_COLUMNS)].notna().all().all()
    pd.testing.assert_frame_equal(one, other, check_exact=True)
    pd.testing.assert_frame_equal(done[0].tails, done[1].tails, check_exact=True)


def test_a_bundle_that_saw_later_rows_is_caught(
    observations: pd.DataFrame, dataset: Dataset, bundles: Sequence[Bundle], tmp_path: Path
) -> None:
    """The positive control: labels that count too early change heads and memory, later closes the volatility."""
    cut = bundles[1].cut
    early = replace(
        dataset,
        outcomes=dataset.outcomes.assign(
            matured_at=dataset.outcomes.index.get_level_values("decision_date").to_numpy("datetime64[us]")
        ),
        closes={
            name: replace(
                close, period=close.period - np.timedelta64(7, "D"), known_at=close.known_at - np.timedelta64(7, "D")
            )
            for name, close in dataset.closes.items()
        },
    )
    full = texts(bundles[1], tmp_path / "full")
    leaky = texts(chain(early)[1], tmp_path / "leaky")
    assert str(bundles[1].cut) == str(cut)
    model = next(name for name in full if name.startswith("model") and name.endswith(".json"))
    leaked = next(name for name in leaky if name.startswith("model") and name.endswith(".json"))
    one, other = json.loads(full[model]), json.loads(leaky[leaked])
    assert one["volatility"] != other["volatility"]
    assert one["memory"] != other["memory"]
    assert one["heads"] != other["heads"]
