"""Volatility filter, fit and components: against a slow loop, against arch, and blind to what came later."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import numpy as np
import pandas as pd
import pytest
from arch import arch_model
from hypothesis import given
from hypothesis import strategies as st

from features.contracts import FloatArray, History
from features.errors import BundleError, DataContractError, DefinitionError
from models.volatility import (
    Component,
    ScenarioSettings,
    VolatilityParams,
    components,
    filter_volatility,
    fit_volatility,
)
from tests.models.closes import PARAMS, SEGMENTS, changes, filtered, history, weekdays

SHORT = ScenarioSettings(min_days=250, window_days=300)


def component(moves: FloatArray) -> Component:
    return Component(weekdays(len(moves)), moves)


@given(
    st.lists(st.floats(-0.1, 0.1), min_size=1, max_size=120),
    st.floats(0.001, 1.0), st.floats(0.0, 0.3), st.floats(0.0, 0.3), st.floats(0.0, 0.95),
)  # fmt: skip
def test_the_filter_is_the_recursion(moves: list[float], omega: float, alpha: float, gamma: float, beta: float) -> None:
    params = replace(PARAMS, omega=omega, alpha=alpha, gamma=gamma, beta=beta)
    expected = filtered(params, 100 * np.array(moves)) / 100
    np.testing.assert_allclose(filter_volatility(params, np.array(moves)), expected, rtol=1e-10)


@pytest.mark.parametrize("seed", range(3))
def test_the_filter_is_that_of_arch(seed: int) -> None:
    # Oracle: arch 8, conditional volatility of the same model at fixed parameters, and its forecast of the next day.
    moves = changes(seed, 900)
    model = arch_model(100 * moves, mean="Zero", vol="GARCH", p=1, o=1, q=1, power=1.0, dist="skewt", rescale=False)
    names = ("omega", "alpha", "gamma", "beta", "eta", "skew")
    fixed = model.fix([getattr(PARAMS, name) for name in names])
    mine = 100 * filter_volatility(PARAMS, moves)
    np.testing.assert_allclose(mine[:-1], fixed.conditional_volatility, rtol=1e-10)
    np.testing.assert_allclose(mine[-1] ** 2, fixed.forecast(horizon=1).variance.to_numpy()[-1, 0], rtol=1e-10)


def test_the_filter_does_not_look_ahead() -> None:
    moves = changes(4, 400)
    whole = filter_volatility(PARAMS, moves)
    # The positive control: a filter that reads the change of the day itself.
    leaky = filter_volatility(PARAMS, np.append(moves[1:], 0.0))
    for cut in range(75, 400, 10):
        np.testing.assert_allclose(filter_volatility(PARAMS, moves[:cut]), whole[: cut + 1], rtol=1e-12)
        twin = filter_volatility(PARAMS, np.append(moves[1:cut], 0.0))
        assert not np.allclose(twin, leaky[: cut + 1], rtol=1e-12, atol=0)


def test_the_fit_finds_the_parameters_that_made_the_changes() -> None:
    found = fit_volatility(component(changes(5, 4000)), ScenarioSettings(min_days=1000, window_days=4000))
    assert found is not None
    assert found.converged == 1
    assert found.beta == pytest.approx(PARAMS.beta, abs=0.06)
    assert found.gamma > 0.02
    # E|z| of a normal shock is root of 2 / pi.
    level = [
        params.omega / (1 - params.beta - (params.alpha + params.gamma / 2) * np.sqrt(2 / np.pi))
        for params in (found, PARAMS)
    ]
    assert level[0] == pytest.approx(level[1], rel=0.1)


def test_the_fit_reads_the_window_and_nothing_before() -> None:
    moves = changes(6, 300)
    alone = fit_volatility(component(moves), SHORT)
    assert alone == fit_volatility(component(np.append(np.full(500, 0.5), moves)), SHORT)
    assert alone != fit_volatility(component(np.append(moves[:-1], 0.1)), SHORT)


def test_too_short_is_none_and_unmoved_an_error() -> None:
    assert fit_volatility(component(changes(7, 249)), SHORT) is None
    with pytest.raises(DataContractError, match="does not move against the largest one"):
        fit_volatility(component(np.zeros(300)), SHORT)


def test_parameters_survive_json() -> None:
    text = json.dumps(asdict(PARAMS))
    assert VolatilityParams.from_json(json.loads(text)) == PARAMS


@pytest.mark.parametrize(
    "change",
    [{"omega": 0.0}, {"alpha": -0.1}, {"beta": -0.1}, {"gamma": -0.05}, {"eta": float("nan")}, {"beta": float("inf")}],
)
def test_parameters_keep_volatility_positive_and_finite(change: dict[str, float]) -> None:
    with pytest.raises(DataContractError, match="keep volatility positive"):
        replace(PARAMS, **change)
    with pytest.raises(BundleError, match="retrain the bundle"):
        VolatilityParams.from_json({**asdict(PARAMS), **change})


@pytest.mark.parametrize("change", [{"omega": "much"}, {"nu": 4.0}, {"beta": None}])
def test_a_document_of_other_parameters_is_refused(change: dict[str, float]) -> None:
    with pytest.raises(BundleError, match="volatility parameters must be the numbers"):
        VolatilityParams.from_json({**asdict(PARAMS), **change})
    with pytest.raises(BundleError):
        VolatilityParams.from_json({"omega": 0.1})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"paths": 99}, "`paths` must be at least 100; got 99"),
        ({"block": 0}, "`block` must be at least 1"),
        ({"min_days": 99}, "`min_days` must be at least 100"),
        ({"window_days": 200, "min_days": 250}, "`window_days` must be at least 250; got 200"),
        ({"max_steps": 0}, "`max_steps` must be at least 1"),
        ({"seed": -1}, "`seed` must be at least 0"),
    ],
)
def test_settings_are_checked_where_they_are_made(change: dict[str, int], words: str) -> None:
    with pytest.raises(DefinitionError, match=words):
        ScenarioSettings(**change)


def market(seed: int = 8, n: int = 60) -> tuple[dict[str, History], pd.DataFrame]:
    """Return closes of three segments, the smaller two with holes and one a young one, and the same as a table."""
    rng = np.random.default_rng(seed)
    dates = weekdays(n)
    table = pd.DataFrame(np.cumsum(0.01 * rng.standard_normal((n, 3)), axis=0), index=dates, columns=SEGMENTS)
    table.loc[rng.random(n) < 0.1, "mid"] = np.nan
    table.loc[table.index[: n // 3], "small"] = np.nan
    kept = {name: table[name].dropna() for name in SEGMENTS}
    closes = {name: history(line.index.to_numpy("datetime64[us]"), line.to_numpy()) for name, line in kept.items()}
    return closes, table


def evening(day: pd.Timestamp) -> np.datetime64:
    time: np.datetime64 = (day + pd.Timedelta(hours=8)).to_datetime64()
    return time


def test_components_are_changes_of_the_largest_and_of_spreads_to_it() -> None:
    closes, table = market()
    day = table.index[-3]
    found = components(closes, SEGMENTS, evening(table.index[-1]), day.to_datetime64())
    assert list(found) == list(SEGMENTS)
    for name in SEGMENTS:
        line = table.loc[:day, name] - (table["large"] if name != "large" else 0.0)
        expected = line.dropna().diff().dropna()
        np.testing.assert_array_equal(found[name].dates, expected.index.to_numpy("datetime64[us]"))
        np.testing.assert_allclose(found[name].changes, expected, atol=1e-12)


def test_components_see_what_was_known_and_the_latest_vintage_of_it() -> None:
    closes, table = market()
    days = table.index[table.notna().all(axis=1)][5:]
    # Corrections of every close, known ten days later.
    revised = {
        name: History.of(
            np.append(close.period, close.period),
            np.append(close.known_at, close.known_at + np.timedelta64(10, "D")),
            np.append(close.value[:, 0], 1.1 * close.value[:, 0]),
        )
        for name, close in closes.items()
    }
    moved = 0
    for day in days:
        at = evening(day)
        early = {
            name: History.of(close.period[known], close.known_at[known], close.value[known])
            for name, close in revised.items()
            for known in (close.known_at <= at,)
        }
        one, other, plain = (components(each, SEGMENTS, at, day.to_datetime64()) for each in (revised, early, closes))
        for name in one:
            np.testing.assert_array_equal(one[name].changes, other[name].changes)
            moved += not np.array_equal(one[name].changes, plain[name].changes)
        # The positive control: read a fortnight later, the same days say something else.
        leaky = components(revised, SEGMENTS, at + np.timedelta64(14, "D"), day.to_datetime64())
        assert not np.array_equal(leaky["large"].changes, one["large"].changes)
    assert moved > 20


def test_without_the_largest_segment_there_are_no_components_and_without_another_it_alone_is_missing() -> None:
    closes, table = market()
    at, day = evening(table.index[-1]), table.index[-1].to_datetime64()
    nothing = history(weekdays(0), np.empty(0))
    assert components({**closes, "large": nothing}, SEGMENTS, at, day) == {}
    assert list(components({**closes, "mid": nothing}, SEGMENTS, at, day)) == ["large", "small"]
    # Before the young one's second close it has no change.
    early = table.index[len(table) // 3]
    assert list(components(closes, SEGMENTS, evening(early), early.to_datetime64())) == ["large", "mid"]
