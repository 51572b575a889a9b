"""The first tail: recursion against a plain loop and against arch, coverage, information set, round trip, bad input."""

from __future__ import annotations

import itertools
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from arch import arch_model
from threadpoolctl import threadpool_limits

from features.contracts import TAIL_COLUMNS, FloatArray, TimeArray
from features.errors import DataContractError, DefinitionError, LookAheadError
from models.curve import QUANTILE_COLUMNS
from training.tail_yardstick import (
    TailParams,
    TailRow,
    TailSettings,
    filter_variance,
    fit_tail,
    tail_forecast,
    tail_shortage,
)

ROOT = Path(__file__).resolve().parents[2]
SMALL = TailSettings(paths=500, window_days=400, min_days=300, seed=7)
STEPS = {1: 5, 4: 20}
TRUE = TailParams(
    omega=0.02, alpha=0.06, gamma=0.05, beta=0.90, eta=6.0, skew=0.0, scale=100.0, backcast_days=75,
    backcast_decay=0.94, fitted_through=0, converged=1, settings=TailSettings(paths=2000),
)  # fmt: skip


def loop_variance(params: TailParams, changes: FloatArray) -> list[float]:
    """The recursion as a textbook writes it."""
    shocks = [100 * change for change in changes]
    weights = [0.94**i for i in range(min(75, len(shocks)))]
    before = sum(w * e**2 for w, e in zip(weights, shocks, strict=False)) / sum(weights)
    variance = [params.omega + (params.alpha + params.gamma / 2 + params.beta) * before]
    for e in shocks:
        slope = params.alpha + (params.gamma if e < 0 else 0.0)
        variance.append(params.omega + slope * e**2 + params.beta * variance[-1])
    return [v / 100**2 for v in variance]


def gjr_line(n: int, seed: int, params: TailParams = TRUE) -> tuple[TimeArray, FloatArray]:
    """A line of n closes whose changes follow `params` with Student t (6) shocks."""
    rng = np.random.default_rng(seed)
    shocks = rng.standard_t(6, n) / np.sqrt(6 / 4)
    variance, x = params.omega / (1 - params.alpha - params.gamma / 2 - params.beta), [0.0]
    for z in shocks[1:]:
        e = np.sqrt(variance) * z
        variance = params.omega + (params.alpha + params.gamma * (e < 0)) * e**2 + params.beta * variance
        x.append(x[-1] + e / 100)
    return np.datetime64("2005-01-03", "us") + np.arange(n) * np.timedelta64(1, "D"), np.array(x)


def fitted(dates: TimeArray, x: FloatArray, settings: TailSettings = SMALL) -> TailParams:
    params = fit_tail(dates, x, settings)
    assert params is not None
    return params


@pytest.fixture(scope="module")
def line() -> tuple[TimeArray, FloatArray]:
    return gjr_line(1500, 11)


@pytest.fixture(scope="module")
def params(line: tuple[TimeArray, FloatArray]) -> TailParams:
    return fitted(line[0][:1200], line[1][:1200])


def test_variance_equals_a_plain_loop(line: tuple[TimeArray, FloatArray], params: TailParams) -> None:
    for each, n in itertools.product((params, TRUE, replace(TRUE, gamma=-0.06)), (1, 40, 1499)):
        changes = np.diff(line[1])[:n]
        np.testing.assert_allclose(filter_variance(each, changes), loop_variance(each, changes), rtol=1e-12)


def test_variance_equals_arch(line: tuple[TimeArray, FloatArray]) -> None:
    # arch 8.0.0: same model, same backcast, parameters held fixed
    changes = np.diff(line[1])
    model = arch_model(changes * 100, mean="Zero", vol="GARCH", p=1, o=1, q=1, dist="skewt", rescale=False)
    theirs = model.fix([TRUE.omega, TRUE.alpha, TRUE.gamma, TRUE.beta, 6.0, 0.0]).conditional_volatility
    np.testing.assert_allclose(np.sqrt(filter_variance(TRUE, changes)[:-1]) * 100, theirs, rtol=1e-12)


def test_fit_recovers_the_recursion() -> None:
    dates, x = gjr_line(6000, 3)
    got = fitted(dates, x, TailSettings(window_days=6000))
    assert got.converged == 1
    assert abs(got.alpha + got.gamma / 2 + got.beta - 0.985) < 0.02
    assert abs(got.beta - 0.90) < 0.05
    assert got.gamma > 0
    assert 4 < got.eta < 10
    assert np.datetime64(got.fitted_through, "D") == dates[-1]


def test_simulation_equals_a_loop_over_paths(line: tuple[TimeArray, FloatArray]) -> None:
    dates, x = line
    params = replace(TRUE, settings=TailSettings(paths=20_000))
    changes, rng, gap, n = np.diff(x), np.random.default_rng(5), 3, 4000
    variance = np.array(loop_variance(params, changes))
    pool = changes / np.sqrt(variance[:-1])
    ends: dict[int, list[float]] = {1: [], 4: []}
    for _ in range(n):
        h, total, at = variance[-1], 0.0, 0
        for day in range(gap + 20):
            at = int(rng.integers(len(pool))) if day % 5 == 0 else (at + 1) % len(pool)
            e = np.sqrt(h) * pool[at]
            total += e if day >= gap else 0.0
            h = params.omega / 1e4 + (params.alpha + params.gamma * (e < 0)) * e**2 + params.beta * h
            if day - gap + 1 in (5, 20):
                ends[1 if day - gap + 1 == 5 else 4].append(total)
    rows = tail_forecast(params, dates, x, gap, STEPS, 1)
    for horizon, row in rows.items():
        sample = np.sort(ends[horizon])
        assert row.var_95 == pytest.approx(sample[n // 20 - 1], rel=0.08)
        assert row.es_95 == pytest.approx(sample[: n // 20].mean(), rel=0.08)
        assert row.var_975_up == pytest.approx(sample[-n // 40], rel=0.10)
        assert row.es_975_up == pytest.approx(sample[-n // 40 :].mean(), rel=0.12)


@pytest.mark.parametrize("seed", range(5))
def test_order_of_the_numbers(seed: int) -> None:
    dates, x = gjr_line(800, seed)
    for row in tail_forecast(fitted(dates, x), dates, x, 1, STEPS, seed).values():
        assert row.es_975 < row.es_95 < row.var_95 < 0 < row.var_95_up < row.es_95_up < row.es_975_up
        assert row.es_975 < row.var_975 < row.var_95
        assert row.var_95_up < row.var_975_up < row.es_975_up
    assert tuple(row.columns()) == (*TAIL_COLUMNS, *QUANTILE_COLUMNS)
    assert row.quantiles[2] == pytest.approx(row.var_975)


def test_mirrored_line_mirrors_the_tail(line: tuple[TimeArray, FloatArray]) -> None:
    symmetric = replace(TRUE, gamma=0.0)
    row, mirror = (tail_forecast(symmetric, line[0], sign * line[1], 1, {1: 5}, 3)[1] for sign in (1.0, -1.0))
    for name in TAIL_COLUMNS[:4]:
        assert getattr(row, name) == -getattr(mirror, f"{name}_up")


@pytest.mark.parametrize("settings", [TailSettings(paths=5000), TailSettings(paths=5000, window_days=1000)])
def test_breach_rate_on_simulated_lines(settings: TailSettings) -> None:
    dates, x = gjr_line(4300, 17)
    params = fitted(dates[:1500], x[:1500], settings)
    decisions = range(1500, 4278, 5)
    breaches = {"var_95": 0, "var_975": 0, "var_95_up": 0, "var_975_up": 0}
    for t in decisions:
        row = tail_forecast(params, dates[: t + 1], x[: t + 1], 1, {1: 5}, t)[1]
        outcome = x[t + 6] - x[t + 1]
        for name in breaches:
            breaches[name] += outcome > getattr(row, name) if name.endswith("up") else outcome < getattr(row, name)
    rates = {name: count / len(decisions) for name, count in breaches.items()}
    assert all(0.025 < rates[name] < 0.08 for name in ("var_95", "var_95_up")), rates
    assert all(0.008 < rates[name] < 0.05 for name in ("var_975", "var_975_up")), rates


def test_gap_moves_the_variance_and_carries_no_return() -> None:
    # constant variance and changes of +-1%: one session after entry is worth exactly 1%, however long the gap
    rng = np.random.default_rng(0)
    x = np.append(0.0, np.cumsum(rng.choice([-0.01, 0.01], 500)))
    dates = np.datetime64("2010-01-01", "us") + np.arange(501) * np.timedelta64(1, "D")
    flat = replace(TRUE, omega=1.0, alpha=0.0, gamma=0.0, beta=0.0, settings=SMALL)
    for gap in (0, 1, 4, 20):
        row = tail_forecast(flat, dates, x, gap, {1: 1}, gap)[1]
        np.testing.assert_allclose([row.columns()[name] for name in TAIL_COLUMNS], [-0.01] * 4 + [0.01] * 4, rtol=1e-9)
    # positive control: two sessions of return are seen
    assert tail_forecast(flat, dates, x, 1, {1: 2}, 0)[1].var_95 == pytest.approx(-0.02)

    x[-1] = x[-2] - 0.08  # a shock on the decision day
    moving = replace(TRUE, settings=replace(SMALL, paths=5000))
    near, far = (tail_forecast(moving, dates, x, gap, {1: 1}, 0)[1].var_95 for gap in (0, 20))
    assert near < far < 0


def test_later_data_change_nothing(line: tuple[TimeArray, FloatArray]) -> None:
    dates, x = line
    rng = np.random.default_rng(23)
    leaks = 0
    for t in range(900, 1395, 16):
        other = x.copy()
        other[t + 1 :] += np.cumsum(rng.normal(0, 0.02, len(x) - t - 1))
        honest, leaking = [], []
        for path in (x, other):
            params = fitted(dates[: t + 1], path[: t + 1])
            honest.append((params, tail_forecast(params, dates[: t + 1], path[: t + 1], 1, STEPS, t)))
            leaking.append(tail_forecast(params, dates[: t + 2], path[: t + 2], 1, STEPS, t))
        assert honest[0] == honest[1]
        leaks += leaking[0] != leaking[1]
    assert leaks == 31  # positive control: one later close is caught at every cut


def test_filter_ignores_later_changes(line: tuple[TimeArray, FloatArray]) -> None:
    changes = np.diff(line[1])
    whole, centred = filter_variance(TRUE, changes), filter_variance(TRUE, changes - changes.mean())
    caught = 0
    for n in range(75, 1499, 45):
        cut = changes[:n]
        np.testing.assert_array_equal(filter_variance(TRUE, cut), whole[: n + 1])
        caught += not np.array_equal(filter_variance(TRUE, cut - cut.mean()), centred[: n + 1])
    assert caught == 32  # positive control: a mean over all rows is a leak


def test_closes_before_the_window_change_nothing(line: tuple[TimeArray, FloatArray], params: TailParams) -> None:
    dates, x = line
    keep = SMALL.window_days + 1
    assert fit_tail(dates[-keep:], x[-keep:], SMALL) == fit_tail(dates, x, SMALL)
    assert tail_forecast(params, dates[-keep:], x[-keep:], 1, STEPS, 1) == tail_forecast(params, dates, x, 1, STEPS, 1)


def test_parameters_of_the_future_are_refused(line: tuple[TimeArray, FloatArray], params: TailParams) -> None:
    dates, x = line
    tail_forecast(params, dates[:1200], x[:1200], 1, STEPS, 0)
    with pytest.raises(LookAheadError, match="after the decision on"):
        tail_forecast(params, dates[:1199], x[:1199], 1, STEPS, 0)


def test_short_history_has_no_tail_and_a_reason(line: tuple[TimeArray, FloatArray]) -> None:
    dates, x = line
    assert fit_tail(dates[:300], x[:300], SMALL) is None
    assert tail_shortage(x[:300], SMALL) == "no tail: 300 closes known, 301 needed"
    assert tail_shortage(x[:301], SMALL) is None
    assert fit_tail(dates[:301], x[:301], SMALL) is not None
    with pytest.raises(DataContractError, match="300 closes known"):
        tail_forecast(replace(TRUE, settings=SMALL), dates[:300], x[:300], 1, STEPS, 0)


def test_seed_and_key_fix_the_draws(line: tuple[TimeArray, FloatArray], params: TailParams) -> None:
    first = tail_forecast(params, *line, 1, STEPS, 9)
    assert first == tail_forecast(params, *line, 1, STEPS, 9)
    assert first != tail_forecast(params, *line, 1, STEPS, 10)
    assert first != tail_forecast(replace(params, settings=replace(SMALL, seed=8)), *line, 1, STEPS, 9)


def test_a_horizon_does_not_depend_on_the_others(line: tuple[TimeArray, FloatArray], params: TailParams) -> None:
    both = tail_forecast(params, *line, 1, STEPS, 9)
    assert both[1] == tail_forecast(params, *line, 1, {1: 5}, 9)[1]
    assert both[4] == tail_forecast(params, *line, 1, {4: 20}, 9)[4]


def test_another_process_gives_the_same_bytes() -> None:
    code = (
        "import numpy as np\n"
        "from training.tail_yardstick import TailSettings, fit_tail, tail_forecast\n"
        "x = np.cumsum(np.random.default_rng(1).standard_t(5, 800) * 0.01)\n"
        "d = np.datetime64('2010-01-01', 'us') + np.arange(800) * np.timedelta64(1, 'D')\n"
        "p = fit_tail(d, x, TailSettings())\n"
        "text = repr((p, tail_forecast(p, d, x, 1, {1: 5, 4: 20}, 3)))\n"
    )
    here: dict[str, str] = {}
    with threadpool_limits(2):
        exec(code, here)
    there = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, sys.argv[1])\n{code}print(text)", str(ROOT)],
        capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": "3", "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert there.stdout.strip() == here["text"]
    assert "var_95=-0.0" in here["text"]


def test_inputs_are_left_alone(line: tuple[TimeArray, FloatArray]) -> None:
    dates, x = line[0].copy(), line[1].copy()
    dates.flags.writeable = x.flags.writeable = False
    tail_forecast(fitted(dates, x), dates, x, 1, STEPS, 0)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_missing_closes_are_shown(line: tuple[TimeArray, FloatArray], params: TailParams, value: float) -> None:
    dates, x = line[0], line[1].copy()
    x[[40, 1400]] = value
    for call in (lambda: fit_tail(dates, x, SMALL), lambda: tail_forecast(params, dates, x, 1, STEPS, 0)):
        with pytest.raises(DataContractError, match=r"`x` must be finite.*got 2 bad rows") as caught:
            call()
        assert caught.value.rows is not None
        assert list(caught.value.rows["date"]) == list(pd.to_datetime(dates[[40, 1400]]))


def test_unordered_or_missing_days_are_shown(line: tuple[TimeArray, FloatArray], params: TailParams) -> None:
    for value in (line[0][699], np.datetime64("NaT")):
        dates = line[0].copy()
        dates[700] = value
        with pytest.raises(DataContractError, match="strictly increasing"):
            tail_forecast(params, dates, line[1], 1, STEPS, 0)
    with pytest.raises(DataContractError, match="equally long"):
        fit_tail(line[0][:-1], line[1], SMALL)
    with pytest.raises(DataContractError, match="does not move"):
        fit_tail(line[0], np.zeros(1500), SMALL)


@pytest.mark.parametrize(
    ("gap", "steps", "key"), [(-1, {1: 5}, 0), (1, {}, 0), (1, {1: 0}, 0), (7, {4: 20}, 0), (1, {1: 5}, -1)]
)
def test_impossible_sessions_are_refused(
    line: tuple[TimeArray, FloatArray], params: TailParams, gap: int, steps: dict[int, int], key: int
) -> None:
    with pytest.raises(DataContractError, match="must be 0 or more"):
        tail_forecast(params, *line, gap, steps, key)


@pytest.mark.parametrize("change", [{"paths": 10}, {"block": 0}, {"window_days": 749}, {"min_days": 1}, {"seed": -1}])
def test_settings_out_of_range_are_refused(change: dict[str, int]) -> None:
    with pytest.raises(DefinitionError, match=f"`{next(iter(change))}` must be at least"):
        TailSettings(**change)


@pytest.mark.slow
@pytest.mark.real
def test_real_weekly_breach_rate(real_data: Path) -> None:
    """CSI 1000 against CSI 300: acceptance band of METHODS 5, refit every 26 weeks on what was known."""
    large, small = (
        pd.read_csv(real_data / "cn" / "bars" / f"{name}.csv", parse_dates=["date"]).set_index("date")["close"]
        for name in ("csi300", "csi1000")
    )
    line = np.log(small / large).dropna()
    dates, x = line.index.to_numpy().astype("datetime64[us]"), line.to_numpy()
    iso = pd.DatetimeIndex(line.index).isocalendar()
    week = (iso["year"] * 100 + iso["week"]).to_numpy()
    ends = [int(i) for i in np.flatnonzero(week[1:] != week[:-1]) if dates[i] >= np.datetime64("2012-01-01")]
    breaches: list[bool] = []
    params: TailParams | None = None
    for k, (t, following) in enumerate(itertools.pairwise(ends)):
        if k % 26 == 0:
            params = fitted(dates[: t + 1], x[: t + 1], TailSettings())
        assert params is not None
        row: TailRow = tail_forecast(params, dates[: t + 1], x[: t + 1], 1, {1: following - t}, t)[1]
        breaches.append(bool(x[following + 1] - x[t + 1] < row.var_95))
    assert len(breaches) > 500
    assert 0.033 <= np.mean(breaches) <= 0.069
