"""Scaler, heads, pool, Platt, tails and validity: what is fitted at a cut is the same without the years after it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from features.contracts import EVENTS, Dataset
from features.dataset import build_dataset
from models.bundle import Bundle
from models.climatology import climatology
from models.predict import predict
from models.schedule import Plan, forecast_rows, refit_cuts
from models.settings import HeadSettings, TreeSettings
from models.tail import TailSettings
from tests.features.toy import last_decision, toy_market, toy_observations
from training.fit import bundle_chain

PLAN = Plan(
    settings=HeadSettings(
        calibration_dates=12,
        trees=TreeSettings(rounds=8, seeds=2, min_data_in_leaf=8, lambda_l2=1.0, path_smooth=0.0),
        tail=TailSettings(paths=200, window_days=400, min_days=150),
    ),
    first_decision=np.datetime64("2015-09-18", "us"),
    refit_weeks=13,
    min_weeks=30,
    market_hash="toy",
    code_version="test",
)
OUTCOMES = ["spread_realised", *(f"y_{event}" for event in EVENTS)]


def chain(dataset: Dataset) -> list[Bundle]:
    return bundle_chain(dataset, PLAN, refit_cuts(dataset, PLAN), None, jobs=1)


@pytest.fixture(scope="module")
def observations() -> pd.DataFrame:
    return toy_observations(4)


@pytest.fixture(scope="module")
def dataset(observations: pd.DataFrame) -> Dataset:
    return build_dataset(observations, toy_market(), last_decision())


@pytest.fixture(scope="module")
def bundles(dataset: Dataset) -> list[Bundle]:
    return chain(dataset)


def texts(bundle: Bundle, folder: Path) -> dict[str, str]:
    saved = bundle.save(folder)
    return {path.name: path.read_text() for path in sorted(saved.iterdir())}


def known_at(dataset: Dataset, day: np.datetime64, observations: pd.DataFrame) -> pd.DataFrame:
    at = dataset.clock["decision_at"].loc[pd.Timestamp(day)]
    known: pd.DataFrame = observations[observations["known_at"] <= at]
    return known


@pytest.mark.parametrize("place", [1, 3, -1])
def test_a_bundle_equals_its_refit_on_what_was_known(
    place: int, observations: pd.DataFrame, dataset: Dataset, bundles: list[Bundle], tmp_path: Path
) -> None:
    cut = bundles[place].cut
    short = build_dataset(known_at(dataset, cut, observations), toy_market(), cut)
    again = chain(short)[-1]
    assert again.cut == cut
    assert texts(again, tmp_path / "again") == texts(bundles[place], tmp_path / "full")
    # The comparison means something only if every part was fitted.
    assert any(tail is not None for tail in again.tails.values())
    if place != 1:
        assert {head.slope for head in again.heads.values()} != {1.0}


@pytest.mark.parametrize("weeks_on", [0, 5, 12])
def test_a_forecast_equals_its_replay(
    weeks_on: int, observations: pd.DataFrame, dataset: Dataset, bundles: list[Bundle]
) -> None:
    bundle = bundles[2]
    days = np.unique(dataset.rows.index.get_level_values("decision_date").to_numpy("datetime64[us]"))
    day = days[np.searchsorted(days, bundle.cut) + weeks_on]
    short = build_dataset(known_at(dataset, day, observations), toy_market(), day)
    stop = day + np.timedelta64(1, "D")
    frames = [
        predict(bundle, data, forecast_rows(data, PLAN, day, stop), climatology(data)).drop(columns=OUTCOMES)
        for data in (dataset, short)
    ]
    assert len(frames[0]) >= 2
    pd.testing.assert_frame_equal(frames[0], frames[1], check_exact=True)


def test_a_bundle_that_saw_later_rows_is_caught(
    observations: pd.DataFrame, dataset: Dataset, bundles: list[Bundle], tmp_path: Path
) -> None:
    """The positive control: labels that count from their decision on change the heads, a later line the tails."""
    cut = bundles[1].cut
    early = replace(
        dataset,
        outcomes=dataset.outcomes.assign(
            matured_at=dataset.outcomes.index.get_level_values("decision_date").to_numpy("datetime64[us]")
        ),
        lines={
            name: replace(line, known_at=np.minimum(line.known_at, dataset.sessions[0]))
            for name, line in dataset.lines.items()
        },
    )
    full = texts(bundles[1], tmp_path / "full")
    leaky = texts(chain(early)[1], tmp_path / "leaky")
    assert str(bundles[1].cut) == str(cut)
    model = next(name for name in full if name.startswith("model") and name.endswith(".json"))
    leaked = next(name for name in leaky if name.startswith("model") and name.endswith(".json"))
    one, other = json.loads(full[model]), json.loads(leaky[leaked])
    assert one["tails"] != other["tails"]
    assert one["heads"] != other["heads"]
