"""Positive controls: every planted leak is caught by the very audit that the real code passes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from features.contracts import EVENTS, HORIZONS, Dataset, History
from features.dataset import build_dataset
from features.market import MarketSpec, load_market
from features.outcomes import outcome_frame
from features.sources.simulated import simulate
from tests.features.real import real_observations
from tests.features.toy import last_decision, toy_market, toy_observations
from tests.leak.audit import Leak, Pipeline, audit, base_rates, differences, spread_cuts, training_rows

Build = Callable[[pd.DataFrame, MarketSpec, np.datetime64], Dataset]
CUTS = 31
WINDOW = pd.Timestamp("2016-01-04"), np.datetime64("2020-06-24", "us")
"""Four and a half years around the death of `northbound_flow` in August 2019."""
DAY = np.timedelta64(1, "D")


@pytest.fixture(scope="module")
def sample() -> MarketSpec:
    """The simulated market with its headline pair alone: the leaks are planted in series and states."""
    market = load_market("sample")
    return market.model_copy(update={"pairs": {market.headline: market.pairs[market.headline]}})


@pytest.fixture(scope="module")
def observations(sample: MarketSpec) -> pd.DataFrame:
    rows = simulate(sample, 61).observations
    return rows.loc[rows["period"].between(*WINDOW), ["series", "period", "known_at", "value"]]


@pytest.fixture(scope="module")
def cuts(sample: MarketSpec, observations: pd.DataFrame) -> np.ndarray:
    return spread_cuts(build_dataset(observations, sample, WINDOW[1]), CUTS)


def known_earlier(
    of: Callable[[pd.DataFrame], pd.Series[bool]], when: Callable[[pd.DataFrame], pd.Series[pd.Timestamp]]
) -> Build:
    """Return a build that believes some rows to have been known earlier than they were."""

    def build(rows: pd.DataFrame, market: MarketSpec, last: np.datetime64) -> Dataset:
        chosen = of(rows)
        return build_dataset(rows.assign(known_at=rows["known_at"].where(~chosen, when(rows))), market, last)

    return build


def after(change: Callable[[Dataset], Dataset]) -> Build:
    """Return a build that does something to the finished data set."""
    return lambda rows, market, last: change(build_dataset(rows, market, last))


def scaled_on_everything(dataset: Dataset) -> Dataset:
    return replace(dataset, values=(dataset.values - dataset.values.mean()) / dataset.values.std())


def median_filled(dataset: Dataset) -> Dataset:
    """Missing cells filled with a number of the whole sample, as an imputer fitted once would."""
    return replace(dataset, values=dataset.values.fillna(dataset.values.median()))


def centred(dataset: Dataset) -> Dataset:
    """A state smoothed with a centred window, as a two-sided filter would."""
    smooth = dataset.rows.groupby(level="pair")["distance"].transform(
        lambda s: s.rolling(5, center=True, min_periods=1).mean()
    )
    return replace(dataset, rows=dataset.rows.assign(distance=smooth))


def smoothed_backward(dataset: Dataset) -> Dataset:
    """A style decoded over the whole path: a spell shorter than four weeks is undone by what follows it."""
    style = dataset.rows["style"].copy()
    for _, path in dataset.rows["style"].groupby(level="pair"):
        spell = (path != path.shift()).cumsum()
        short = path.groupby(spell).transform("size") < 4
        style[path.index[short]] = -path[short]
    return replace(dataset, rows=dataset.rows.assign(style=style))


def percentile_of_everything(dataset: Dataset) -> Dataset:
    return replace(dataset, rows=dataset.rows.assign(sigma_percentile=dataset.rows["sigma"].rank(pct=True)))


def next_week_as_feature(dataset: Dataset) -> Dataset:
    """The spread of the week just decided about, among the features."""
    realised = dataset.outcomes["spread_realised"].xs(1, level="horizon_weeks").reindex(dataset.values.index)
    return replace(dataset, values=dataset.values.assign(**{dataset.values.columns[0]: realised}))


def without_purge(dataset: Dataset, base: pd.DataFrame, cut: np.datetime64) -> pd.DataFrame:
    """The twin of `training_rows` that asks when a row was decided and not when its label matured."""
    frames = {}
    for event in EVENTS:
        for horizon in HORIZONS:
            y = dataset.outcomes[f"y_{event}"].xs(horizon, level="horizon_weeks").dropna()
            y = y[y.index.get_level_values("decision_date") < pd.Timestamp(cut)]
            frames[event, horizon] = y.to_frame("y")
    return pd.concat(frames, names=["event", "horizon_weeks"])


def base_of_everything(dataset: Dataset) -> pd.DataFrame:
    """A base rate over all labels, matured or not."""
    base = base_rates(dataset)
    for event in EVENTS:
        base[event] = dataset.outcomes.groupby(level=["pair", "horizon_weeks"])[f"y_{event}"].transform("mean")
    return base


def base_by_decision(dataset: Dataset) -> pd.DataFrame:
    """An expanding mean that counts a label from its decision on, four weeks before it matures."""
    base = base_rates(dataset)
    for event in EVENTS:
        grouped = dataset.outcomes.groupby(level=["pair", "horizon_weeks"])[f"y_{event}"]
        base[event] = grouped.transform(lambda y: y.expanding().mean().shift().ffill())
    return base


def undead(market: MarketSpec) -> Build:
    """A build that has forgotten when series die and how old a number may be."""
    immortal = {
        name: spec.model_copy(update={"died": None, "stale_days": 10_000}) for name, spec in market.series.items()
    }
    return lambda rows, _, last: build_dataset(rows, market.model_copy(update={"series": immortal}), last)


def month_of_reference(rows: pd.DataFrame, market: MarketSpec) -> pd.Series[bool]:
    monthly = [name for name, spec in market.series.items() if spec.frequency == "monthly"]
    return rows["series"].isin(monthly)


@dataclass(frozen=True)
class Plant:
    """A leak: how it is built and where the audit should see it."""

    part: str
    pipeline: Callable[[MarketSpec], Pipeline]
    columns: set[str] = field(default_factory=set)


def built(build: Build) -> Callable[[MarketSpec], Pipeline]:
    return lambda market: Pipeline(build=build)


PLANTS: dict[str, Plant] = {
    "macro joined by its reference month": Plant(
        "values",
        lambda market: Pipeline(
            build=known_earlier(lambda rows: month_of_reference(rows, market), lambda rows: rows["period"])
        ),
    ),
    "US close of the same date": Plant(
        "values",
        built(
            known_earlier(
                lambda rows: rows["series"] == "us_gov_10y", lambda rows: rows["period"] + pd.Timedelta(hours=6)
            )
        ),
        {"us_yield_change"},
    ),
    "first prints replaced by their revision": Plant(
        "values",
        built(
            lambda rows, market, last: build_dataset(
                rows.assign(
                    value=rows.sort_values("known_at").groupby(["series", "period"])["value"].transform("last")
                ),
                market,
                last,
            )
        ),
    ),
    "scaling on the full sample": Plant("values", built(after(scaled_on_everything))),
    "missing cells filled from the full sample": Plant("values", built(after(median_filled))),
    "a percentile over the full sample": Plant("rows", built(after(percentile_of_everything)), {"sigma_percentile"}),
    "a state smoothed with a centred window": Plant("rows", built(after(centred)), {"distance"}),
    "a style decoded backwards": Plant("rows", built(after(smoothed_backward)), {"style"}),
    "next week's spread among the features": Plant("values", built(after(next_week_as_feature))),
    "a label used before its maturity": Plant("training", lambda _: Pipeline(training=without_purge)),
    "a base rate over all labels": Plant("base", lambda _: Pipeline(base=base_of_everything)),
    "a base rate that counts unmatured labels": Plant("base", lambda _: Pipeline(base=base_by_decision)),
    "a series after its death": Plant("lifetime", lambda market: Pipeline(build=undead(market)), {"northbound_buying"}),
}


@pytest.mark.parametrize("name", list(PLANTS))
def test_every_planted_leak_is_caught(
    name: str, sample: MarketSpec, observations: pd.DataFrame, cuts: np.ndarray
) -> None:
    plant = PLANTS[name]
    leaks = audit(sample, observations, cuts, plant.pipeline(sample), stop_at={plant.part})
    caught = {leak.column for leak in leaks if leak.part == plant.part}
    assert caught, leaks
    if plant.columns:
        assert caught == plant.columns


def test_the_real_pipeline_passes_the_same_audit(
    sample: MarketSpec, observations: pd.DataFrame, cuts: np.ndarray
) -> None:
    assert audit(sample, observations, cuts[::6]) == []


def labels_of_the_last_vintage(rows: pd.DataFrame, market: MarketSpec, last: np.datetime64) -> Dataset:
    """Outcomes computed from today's prices: a correction that came after maturity rewrites the label."""
    dataset = build_dataset(rows, market, last)
    frames = {}
    for pair, line in dataset.lines.items():
        outcomes = dataset.outcomes[dataset.outcomes.index.get_level_values("pair") == pair].droplevel("pair")
        week = np.unique(dataset.outcomes["entry_date"].to_numpy("datetime64[us]"))
        states = dataset.rows[dataset.rows.index.get_level_values("pair") == pair].droplevel("pair")
        first = np.searchsorted(week, states["entry_date"].to_numpy("datetime64[us]"))
        latest = History.of(line.period, line.period, line.value)
        frames[pair] = outcome_frame(states, latest, week, first, week).reindex(outcomes.index)
        frames[pair]["matured_at"] = outcomes["matured_at"]
        frames[pair]["exit_date"] = outcomes["exit_date"]
    return replace(dataset, outcomes=pd.concat(frames, names=["pair"]))


def test_labels_of_the_last_vintage_are_caught() -> None:
    """The toy market corrects closes for two months."""
    market, observations = toy_market(), toy_observations(3)
    market = market.model_copy(update={"pairs": {market.headline: market.pairs[market.headline]}})
    cuts = spread_cuts(build_dataset(observations, market, last_decision()), CUTS)
    leaks = audit(market, observations, cuts, Pipeline(build=labels_of_the_last_vintage), stop_at={"labels"})
    assert "spread_realised" in {leak.column for leak in leaks if leak.part == "labels"}


def stale_by_hindsight(rows: pd.DataFrame, market: MarketSpec, last: np.datetime64) -> Dataset:
    """A cell called stale because the feature came back later, and gone because it did not."""
    dataset = build_dataset(rows, market, last)
    lives = dataset.values.notna()
    returns = lives[::-1].groupby(level="pair").cummax()[::-1]
    return replace(dataset, stale=~lives & returns)


def test_staleness_by_hindsight_is_caught() -> None:
    """`rate` of the toy market falls silent for seven weeks; the real pipeline knows it as stale all the while."""
    market, observations = toy_market(), toy_observations(3)
    market = market.model_copy(update={"pairs": {market.headline: market.pairs[market.headline]}})
    cuts = spread_cuts(build_dataset(observations, market, last_decision()), CUTS)
    leaks = audit(market, observations, cuts, Pipeline(build=stale_by_hindsight), stop_at={"stale"})
    assert "rate_level" in {leak.column for leak in leaks if leak.part == "stale"}
    assert "stale" not in {leak.part for leak in audit(market, observations, cuts[::6])}


def test_the_comparison_itself() -> None:
    """One unit in the last place, a missing value on one side, a row or a column too many: each is a difference."""
    index = pd.MultiIndex.from_product(
        [["a"], pd.date_range("2020-01-03", periods=3, freq="W-FRI")], names=["pair", "decision_date"]
    )
    frame = pd.DataFrame({"x": [1.0, np.nan, 3.0], "y": ["a", "b", "c"]}, index=index)
    cut = pd.Timestamp("2020-01-17")
    assert differences("values", frame, frame.copy(), cut) == []
    touched = frame.assign(x=[np.nextafter(1.0, 2.0), np.nan, 3.0])
    assert [leak.at for leak in differences("values", frame, touched, cut)] == [pd.Timestamp("2020-01-03")]
    assert len(differences("values", frame, frame.assign(x=[1.0, 2.0, 3.0]), cut)) == 1
    assert differences("values", frame, frame.iloc[:2], cut)[0].column == "index"
    assert differences("values", frame, frame[["x"]], cut)[0] == Leak("values", "columns", cut, cut, "{'y'} come or go")


def test_training_rows_are_what_the_heads_learn_from(
    sample: MarketSpec, observations: pd.DataFrame, cuts: np.ndarray
) -> None:
    """At h = 4 the newest label stems from five weeks before the cut: four to run and one to enter."""
    dataset = build_dataset(observations, sample, cuts[-1])
    rows = training_rows(dataset, base_rates(dataset), cuts[15])
    newest = rows.reset_index().groupby("horizon_weeks")["decision_date"].max()
    weeks = np.unique(dataset.rows.index.get_level_values("decision_date"))
    place = int(np.searchsorted(weeks, cuts[15]))
    assert newest[1] == weeks[place - 2]
    assert newest[4] == weeks[place - 5]


@pytest.mark.real
@pytest.mark.parametrize(
    ("name", "columns"),
    [
        ("macro joined by its reference month", set()),
        ("US close of the same date", {"us_cn_gap", "us10y_change"}),
        ("scaling on the full sample", set()),
        ("a state smoothed with a centred window", {"distance"}),
        ("a label used before its maturity", set()),
    ],
)
def test_planted_leaks_are_caught_in_real_data(name: str, columns: set[str], real_data: Path) -> None:
    market = load_market("cn")
    market = market.model_copy(update={"pairs": {market.headline: market.pairs[market.headline]}})
    observations = real_observations("cn", real_data)
    observations = observations[observations["period"].between("2017-01-03", "2019-12-27")]
    cuts = spread_cuts(build_dataset(observations, market, np.datetime64("2019-12-27", "us")), CUTS, after=0.3)
    part = PLANTS[name].part
    leaks = audit(market, observations, cuts, PLANTS[name].pipeline(market), stop_at={part})
    caught = {leak.column for leak in leaks if leak.part == part}
    assert caught
    assert not columns or caught <= columns
