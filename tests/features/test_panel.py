"""The panel against a rebuild of every cell from what was known at its decision, and its edges one by one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from features.contracts import Dataset
from features.dataset import build_dataset
from features.errors import DefinitionError
from features.market import MarketSpec, load_market
from features.panel import feature_infos, resolve_inputs, state_name
from tests.features import naive
from tests.features.real import LAST_DECISION, real_observations
from tests.features.toy import DIED, OUTAGE, last_decision, toy_market, toy_observations

DAY = np.timedelta64(1, "D")


@pytest.fixture(scope="module")
def market() -> MarketSpec:
    return toy_market()


@pytest.fixture(scope="module")
def observations() -> pd.DataFrame:
    return toy_observations(1)


@pytest.fixture(scope="module")
def dataset(market: MarketSpec, observations: pd.DataFrame) -> Dataset:
    return build_dataset(observations, market, last_decision())


def compare_with_rebuild(market: MarketSpec, observations: pd.DataFrame, dataset: Dataset, keys: pd.MultiIndex) -> int:
    """Rebuild every cell that is no state from scratch; return how many live cells were compared."""
    by_series = {str(name): rows for name, rows in observations.groupby("series")}
    live = 0
    for name, spec in market.features.items():
        if state_name(spec) is not None:
            continue
        rebuilt: dict[object, tuple[float, bool]] = {}
        for pair, date in keys:
            inputs = resolve_inputs(spec, market.pairs[pair])
            if (inputs, date) not in rebuilt:
                at = dataset.rows.loc[(pair, date), "decision_at"]
                value = naive.cell(by_series, market, spec, inputs, date, at)
                without = naive.cell(by_series, market, spec, inputs, date, at, limits=False)
                rebuilt[inputs, date] = value, bool(np.isnan(value) and np.isfinite(without))
            expected, stale = rebuilt[inputs, date]
            got = dataset.values.loc[(pair, date), name]
            assert got == pytest.approx(expected, rel=1e-12, abs=1e-14, nan_ok=True), (name, pair, date)
            assert dataset.stale.loc[(pair, date), name] == stale, (name, pair, date)
            live += np.isfinite(expected)
    return live


def test_every_cell_equals_its_rebuild(market: MarketSpec, observations: pd.DataFrame, dataset: Dataset) -> None:
    keys = dataset.values.index[::8]
    assert isinstance(keys, pd.MultiIndex)
    assert compare_with_rebuild(market, observations, dataset, keys) > 150


@pytest.mark.real
@pytest.mark.parametrize("name", ["cn", "us"])
def test_real_cells_equal_their_rebuild(name: str, real_data: Path) -> None:
    """Decisions in the middle of things: a crash, the eve of Spring Festival, the last week."""
    market = load_market(name)
    observations = real_observations(name, real_data)
    dataset = build_dataset(observations, market, LAST_DECISION)
    dates = pd.to_datetime(["2015-07-10", "2020-01-23", "2023-11-24"])
    keys = dataset.values.index[dataset.values.index.get_level_values("decision_date").isin(dates)]
    assert isinstance(keys, pd.MultiIndex)
    assert compare_with_rebuild(market, observations, dataset, keys) > 80


def test_a_live_cell_says_when_its_newest_input_was_known(
    market: MarketSpec, observations: pd.DataFrame, dataset: Dataset
) -> None:
    at = dataset.rows["decision_at"].to_numpy("datetime64[us]")
    for name, spec in market.features.items():
        value, known = dataset.values[name], dataset.known_at[name].to_numpy("datetime64[us]")
        assert np.array_equal(value.isna().to_numpy(), np.isnat(known)), name
        live = ~np.isnat(known)
        assert (known[live] <= at[live]).all(), name
        sources = [source for pair in market.pairs.values() for source in resolve_inputs(spec, pair)]
        if sources:
            times = observations.loc[observations["series"].isin(sources), "known_at"].to_numpy("datetime64[us]")
            assert np.isin(known[live], times).all(), name


def test_nothing_of_a_series_after_its_death(dataset: Dataset) -> None:
    dates = dataset.values.index.get_level_values("decision_date").to_numpy("datetime64[us]")
    flow = dataset.values["flow_level"].notna().to_numpy()
    assert flow[(dates > DIED - 60 * DAY) & (dates <= DIED)].all()
    assert not flow[dates > DIED].any()


def test_a_dead_series_is_missing_and_not_stale(
    market: MarketSpec, observations: pd.DataFrame, dataset: Dataset
) -> None:
    """The same silence without a declared death is staleness, from the limit on."""
    dates = dataset.values.index.get_level_values("decision_date").to_numpy("datetime64[us]")
    assert not dataset.stale["flow_level"].any()
    endless = market.series["flow"].model_copy(update={"died": None})
    silent = market.model_copy(update={"series": {**market.series, "flow": endless}})
    ended = observations[(observations["series"] != "flow") | (observations["period"] <= pd.Timestamp(DIED))]
    stale = build_dataset(ended, silent, last_decision()).stale["flow_level"].to_numpy()
    assert np.array_equal(stale, dates - DIED > endless.stale_days * DAY)
    assert stale.any()


def test_an_outage_empties_the_cells_when_the_limit_has_passed(dataset: Dataset) -> None:
    dates = dataset.values.index.get_level_values("decision_date").to_numpy("datetime64[us]")
    rate = dataset.values["rate_level"].notna().to_numpy()
    last = np.datetime64("2016-02-29", "us")
    out = (dates > last) & (dates < OUTAGE[1])
    assert np.array_equal(rate[out], (dates[out] - last) <= 10 * DAY)
    assert rate[out].any()
    assert not rate[out].all()
    # Before its first value the feature does not exist; afterwards it is live or stale.
    assert np.array_equal(dataset.stale["rate_level"].to_numpy(), ~rate & (dates > dates[rate].min()))


def test_a_break_leaves_no_step(dataset: Dataset) -> None:
    assert dataset.values["rate_level"].diff().abs().max() < 1.0


def test_an_input_that_does_not_exist_leaves_the_cell_missing(dataset: Dataset) -> None:
    assert dataset.values["unheard_level"].isna().all()
    assert dataset.known_at["unheard_level"].isna().all()
    assert not dataset.stale["unheard_level"].any()


def test_states_are_never_stale(market: MarketSpec, dataset: Dataset) -> None:
    states = [name for name, spec in market.features.items() if state_name(spec) is not None]
    assert states
    assert not dataset.stale[states].any(axis=None)


def test_each_input_must_be_fresh_by_its_own_limit(market: MarketSpec, observations: pd.DataFrame) -> None:
    """`pmi` lasts 50 days, its consensus 60: when the survey stops, the surprise goes with it, not ten days later."""
    stopped = observations[(observations["series"] != "pmi") | (observations["period"] <= "2016-05-31")]
    dataset = build_dataset(stopped, market, last_decision())
    values = dataset.values.xs("large-small", level="pair").loc["2016-06-03":]
    fresh = values.index <= pd.Timestamp("2016-05-31") + pd.Timedelta(days=50)
    assert np.array_equal(values["pmi_trend"].notna(), fresh)
    assert np.array_equal(values["surprise"].notna(), fresh)
    stale = dataset.stale.xs("large-small", level="pair").loc["2016-06-03":]
    assert np.array_equal(stale["pmi_trend"], ~fresh)
    assert np.array_equal(stale["surprise"], ~fresh)


def test_inputs_are_those_of_the_pair() -> None:
    market = toy_market()
    spec = market.features["momentum"]
    assert resolve_inputs(spec, market.pairs["large-micro"]) == ("micro.close", "large.close")
    assert resolve_inputs(market.features["surprise"], None) == ("pmi", "pmi_forecast")


def test_an_unknown_state_is_refused() -> None:
    spec = toy_market().features["distance"].model_copy(update={"formula": "state:mood"})
    with pytest.raises(DefinitionError, match=r"state:mood.*the states are age, distance"):
        state_name(spec)


def test_the_catalogue_travels_with_the_panel(market: MarketSpec, dataset: Dataset) -> None:
    infos = feature_infos(market)
    for frame in (dataset.values, dataset.known_at, dataset.stale):
        assert list(frame.columns) == [info.name for info in infos]
        assert frame.index.equals(dataset.rows.index)
    assert (dataset.stale.dtypes == np.bool_).all()
    assert {info.name: info.scope for info in infos}["momentum"] == "pair"
    assert {info.name: info.scope for info in infos}["pmi_trend"] == "market"
