"""The contract of every feature of every built-in market, on made-up numbers for every series the market declares.

The series that the shared data lack (fund issuance, private funds, DMA balance ...) are made up as well: users have
them, and their features must work. The numbers are nonsense within the declared ranges; their clocks are not.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache

import numpy as np
import pandas as pd
import pytest

from features.calendar import TradingCalendar
from features.contracts import FloatArray, History, TimeArray
from features.dataset import decision_times, market_calendar
from features.market import MarketSpec, SeriesSpec, builtin_markets, load_market
from features.panel import Cells, build_panel, feature_cells, feature_infos, resolve_inputs, state_name
from features.publication import known_times
from features.states import STATE_FEATURES
from features.store import histories
from features.transforms import parse_formula

DAY = np.timedelta64(1, "D")
START, END = np.datetime64("2011-01-04", "us"), np.datetime64("2018-12-28", "us")
"""Eight years in which every input of a feature lives for long enough."""
MARKETS = {name: load_market(name) for name in builtin_markets()}
NAMES = [
    (market, name) for market, spec in MARKETS.items() for name, one in spec.features.items() if state_name(one) is None
]
every_feature = pytest.mark.parametrize(("market", "name"), NAMES, ids=[f"{market}-{name}" for market, name in NAMES])
every_market = pytest.mark.parametrize("market", list(MARKETS))


def periods(spec: SeriesSpec, calendar: TradingCalendar) -> TimeArray:
    sessions = calendar.sessions[(calendar.sessions >= START) & (calendar.sessions <= END)]
    if spec.frequency == "daily":
        return sessions
    if spec.frequency == "weekly":
        weeks = np.arange((END - START) // (7 * DAY))
        return np.full(len(weeks), START) + weeks * (7 * DAY)
    months = np.unique(sessions.astype("datetime64[M]"))
    return np.asarray(np.add(months, np.timedelta64(1, "M")).astype("datetime64[us]") - DAY)


def numbers(spec: SeriesSpec, n: int, rng: np.random.Generator) -> FloatArray:
    """A slow and noisy walk inside the declared range, on a log scale where the range is wide and positive."""
    low, high = max(spec.range[0], -1e3), min(spec.range[1], 1e6)
    wide = low > 0 and high / low > 50
    bounds = np.log([low, high]) if wide else np.array([low, high])
    walk = np.cumsum(rng.standard_normal(n)) / np.sqrt(max(n, 1)) + 0.3 * rng.standard_normal(n)
    position = 0.5 + 0.4 * np.tanh(walk)
    value = bounds[0] + position * (bounds[1] - bounds[0])
    return np.asarray(np.exp(value) if wide else value)


def made_up(market: MarketSpec) -> pd.DataFrame:
    """Return observations of every declared series; each series has random numbers of its own."""
    calendar = TradingCalendar.build(market.schedule.calendar, START - 400 * DAY, END + 800 * DAY)
    frames = []
    for name, spec in market.series.items():
        rng = np.random.default_rng(zlib.crc32(name.encode()))
        period = periods(spec, calendar)
        known, _ = known_times(spec, period, None, calendar, market.schedule.timezone)
        value = numbers(spec, len(period), rng)
        again = rng.random(len(period)) < (0.02 if spec.frequency == "monthly" else 0.001)
        late = known[again] + rng.integers(1, 40, int(again.sum())).astype("timedelta64[D]")
        frames.append(pd.DataFrame({"series": name, "period": period, "known_at": known, "value": value}))
        frames.append(
            pd.DataFrame({"series": name, "period": period[again], "known_at": late, "value": value[again] * 1.01})
        )
    return pd.concat(frames, ignore_index=True)


@lru_cache(maxsize=len(MARKETS))
def material(market: str) -> tuple[MarketSpec, pd.DataFrame, dict[str, History], pd.DataFrame]:
    """Return definition, observations, histories (read-only) and the decision clock."""
    spec = MARKETS[market]
    observations = made_up(spec)
    series = histories(observations, spec)
    for history in series.values():
        for array in (history.period, history.known_at, history.value):
            array.setflags(write=False)
    decisions = market_calendar(spec, END).decisions()
    decisions = decisions[(decisions >= START) & (decisions <= END)]
    clock = pd.DataFrame(
        {"decision_at": decision_times(spec, decisions)}, index=pd.DatetimeIndex(decisions, name="decision_date")
    )
    return spec, observations, series, clock


def inputs_of(market: str, name: str) -> tuple[str, ...]:
    """Return the series a feature reads, for the pair that declares most of them."""
    spec = MARKETS[market]
    choices = [resolve_inputs(spec.features[name], pair) for pair in spec.pairs.values()]
    return max(choices, key=lambda inputs: sum(source in spec.series for source in inputs))


def cells(market: str, name: str, series: Mapping[str, History] | None = None) -> Cells:
    """Return value, clock and staleness of a feature at every decision."""
    spec, _, held, clock = material(market)
    return feature_cells(spec.features[name], inputs_of(market, name), series or held, spec, clock)


@every_feature
def test_every_feature_lives_when_its_inputs_do(market: str, name: str) -> None:
    """At each of the last 52 decisions, and never infinite: no window is longer than six years."""
    value = cells(market, name).value
    assert np.isfinite(value[-52:]).all()
    assert not np.isinf(value).any()


@every_feature
def test_inputs_are_left_alone_and_runs_repeat(market: str, name: str) -> None:
    """The arrays are read-only, so that a write raises; the second run has the same bytes."""
    for part, again in zip(cells(market, name), cells(market, name), strict=True):
        assert part.tobytes() == again.tobytes()


@every_feature
def test_a_cell_is_not_known_after_its_decision(market: str, name: str) -> None:
    value, known, stale = cells(market, name)
    _, _, series, clock = material(market)
    at = clock["decision_at"].to_numpy("datetime64[us]")
    live = np.isfinite(value)
    assert not stale[live].any()
    assert np.array_equal(live, ~np.isnat(known))
    assert (known[live] <= at[live]).all()
    assert np.isin(known[live], np.concatenate([series[source].known_at for source in inputs_of(market, name)])).all()


@every_feature
def test_a_missing_input_is_a_missing_cell(market: str, name: str) -> None:
    """Absent, empty or not yet published: each input in turn, and never a zero instead."""
    _, _, series, clock = material(market)
    nothing = np.array([], dtype="datetime64[us]")
    for source in inputs_of(market, name):
        without = {key: history for key, history in series.items() if key != source}
        empty = {**series, source: History.of(nothing, nothing, np.array([]))}
        later = clock["decision_at"].to_numpy("datetime64[us]")[-1] + DAY
        unpublished = {**series, source: replace(series[source], known_at=np.full(len(series[source]), later))}
        for held in (without, empty, unpublished):
            value, known, stale = cells(market, name, held)
            assert np.isnan(value).all(), source
            assert np.isnat(known).all(), source
            assert not stale.any(), source


@every_feature
def test_a_stale_input_empties_the_cell(market: str, name: str) -> None:
    """Each input in turn stops in the seventh year; its limit later the feature is gone, and says why."""
    spec, _, series, clock = material(market)
    stop = START + 2400 * DAY
    dates = clock.index.to_numpy("datetime64[us]")
    for source in inputs_of(market, name):
        history = series[source]
        kept = history.period <= stop
        stopped = History(history.period[kept], history.known_at[kept], history.value[kept])
        value, _, stale = cells(market, name, {**series, source: stopped})
        old = dates - history.period[kept].max() > np.timedelta64(spec.series[source].stale_days, "D")
        assert np.isnan(value[old]).all(), source
        assert stale[old].all(), source


@every_feature
def test_a_cell_does_not_see_what_is_known_later(market: str, name: str) -> None:
    value, known, stale = cells(market, name)
    _, _, series, clock = material(market)
    at = clock["decision_at"].to_numpy("datetime64[us]")
    for row in (len(at) // 2, len(at) - 40):
        held = {}
        for source in inputs_of(market, name):
            seen = series[source].known_at <= at[row]
            held[source] = History(
                series[source].period[seen], series[source].known_at[seen], series[source].value[seen]
            )
        short, short_known, short_stale = cells(market, name, held)
        assert np.array_equal(stale[: row + 1], short_stale[: row + 1])
        assert np.array_equal(value[: row + 1], short[: row + 1], equal_nan=True)
        assert np.array_equal(known[: row + 1].view(np.int64), short_known[: row + 1].view(np.int64))


@every_market
def test_catalogue(market: str) -> None:
    """What a reader and a model need is there, and every formula can be read."""
    spec = MARKETS[market]
    infos = feature_infos(spec)
    assert [info.name for info in infos] == list(spec.features)
    assert (30 if market in ("europe", "japan") else 40) <= len(infos) <= 60
    for info in infos:
        assert info.why
        assert info.unit
        assert info.sign in (-1, 0, 1)
        assert info.tail_sign in (-1, 0, 1)
    for one in spec.features.values():
        state = state_name(one)
        if state is None:
            assert one.inputs
            parse_formula(one.formula, len(one.inputs))
        else:
            assert state in STATE_FEATURES
            assert not one.inputs
    names = {
        source for one in spec.features.values() for pair in spec.pairs.values() for source in resolve_inputs(one, pair)
    }
    assert not {name for name in names & set(spec.series) if spec.series[name].label_only}


@every_market
def test_placeholders_name_series_of_some_pair(market: str) -> None:
    """A misspelt ``{small}.clse`` would silently be absent everywhere."""
    spec = MARKETS[market]
    for name in spec.features:
        assert set(inputs_of(market, name)) <= set(spec.series), name


@every_market
def test_the_panel_keeps_index_and_does_not_care_for_order(market: str) -> None:
    """Columns, rows of observations and pairs in another order: the same cell for the same name."""
    spec, observations, series, clock = material(market)
    rng = np.random.default_rng(3)
    states = {}
    for place, pair in enumerate(spec.pairs):
        frame = clock.iloc[40 + place :: 2].copy()
        for state in STATE_FEATURES:
            frame[state] = np.where(rng.random(len(frame)) < 0.1, np.nan, rng.standard_normal(len(frame)))
        frame["price_known_at"] = frame["decision_at"] - pd.Timedelta(minutes=15)
        states[pair] = frame
    values, known, stale = build_panel(spec, series, states, clock)
    expected = pd.concat(states, names=["pair", "decision_date"]).index
    assert values.index.equals(expected)
    assert known.index.equals(expected)
    assert stale.index.equals(expected)
    assert list(values.columns) == list(known.columns) == list(stale.columns) == list(spec.features)
    turned = spec.model_copy(
        update={"features": dict(reversed(spec.features.items())), "pairs": dict(reversed(spec.pairs.items()))}
    )
    shuffled = histories(observations.sample(frac=1.0, random_state=1), spec)
    other_values, other_known, other_stale = build_panel(turned, dict(reversed(shuffled.items())), states, clock)
    pd.testing.assert_frame_equal(other_values.loc[expected, values.columns], values, check_exact=True)
    pd.testing.assert_frame_equal(other_known.loc[expected, known.columns], known, check_exact=True)
    pd.testing.assert_frame_equal(other_stale.loc[expected, stale.columns], stale)
    # A state that is missing stays missing, and says no time.
    for name, one in spec.features.items():
        read = state_name(one)
        if read is not None:
            joined = pd.concat(states)[read].to_numpy(np.float64)
            assert np.array_equal(values[name].to_numpy(), joined, equal_nan=True)
            assert np.array_equal(known[name].isna().to_numpy(), np.isnan(joined))
