"""Every stage against a second implementation (pandas, or a loop), its causality, its zeros, and the parser."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features import transforms
from features.contracts import FloatArray
from features.errors import DefinitionError
from features.transforms import evaluate, parse_formula

N = 90
Oracle = Callable[[pd.DataFrame], "pd.Series[float]"]


def table(seed: int, columns: int = 1, *, positive: bool = False, missing: float = 0.0) -> FloatArray:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((N, columns)).cumsum(axis=0)
    x = np.exp(0.1 * x) if positive else x - np.median(x, axis=0)
    return np.where(rng.random((N, columns)) < missing, np.nan, x)


def run(formula: str, x: FloatArray) -> FloatArray:
    return evaluate(parse_formula(formula, x.shape[1]), x)


def own_residual(frame: pd.DataFrame, window: int, least: int) -> pd.Series[float]:
    out = []
    for row in range(len(frame)):
        block = frame.iloc[max(0, row - window + 1) : row + 1].dropna()
        if len(block) < least or frame.iloc[row].isna().any():
            out.append(np.nan)
            continue
        slope, constant = np.polyfit(block[1], block[0], 1)
        out.append(frame.iloc[row, 0] - constant - slope * frame.iloc[row, 1])
    return pd.Series(out)


def own_rank(series: pd.Series[float], window: int, least: int) -> pd.Series[float]:
    out = []
    for row in range(len(series)):
        block = series.iloc[max(0, row - window + 1) : row + 1].dropna()
        here = series.iloc[row]
        share = sum((value < here) + 0.5 * (value == here) for value in block) / max(len(block), 1)
        out.append(share if len(block) >= least and np.isfinite(here) else np.nan)
    return pd.Series(out)


def pairwise(frame: pd.DataFrame, window: int) -> pd.Series[float]:
    columns = list(frame.columns)
    pairs = [(a, b) for place, a in enumerate(columns) for b in columns[place + 1 :]]
    return pd.concat([frame[a].rolling(window).corr(frame[b]) for a, b in pairs], axis=1).mean(axis=1, skipna=False)


UNARY: dict[str, Oracle] = {
    "log": lambda f: np.log(f[0].where(f[0] > 0)),
    "neg": lambda f: -f[0],
    "change(4)": lambda f: f[0].diff(4),
    "growth(3)": lambda f: np.log(f[0].where(f[0] > 0)).diff(3),
    "lag(2)": lambda f: f[0].shift(2),
    "mean(7)": lambda f: f[0].rolling(7).mean(),
    "total(7)": lambda f: f[0].rolling(7).sum(),
    "std(9)": lambda f: f[0].rolling(9).std(),
    "gap(6)": lambda f: f[0] - f[0].rolling(6).mean(),
    "drawdown(8)": lambda f: f[0] - f[0].rolling(8).max(),
    "autocorr(12)": lambda f: f[0].rolling(12).corr(f[0].shift(1)).where(f[0].shift(1).rolling(12).count() == 12),
    "ema(5)": lambda f: f[0].dropna().ewm(halflife=5).mean().reindex(f.index),
    "clip(-1, 1.5)": lambda f: f[0].clip(-1, 1.5),
    "z(20, 8)": lambda f: (f[0] - f[0].rolling(20, 8).mean()) / f[0].rolling(20, 8).std(),
    "rank(20, 8)": lambda f: own_rank(f[0], 20, 8),
}
JOIN: dict[str, Oracle] = {
    "diff": lambda f: f[0] - f[1],
    "ratio": lambda f: f[0] / f[1],
    "log_ratio": lambda f: np.log(f[0].where(f[0] > 0)) - np.log(f[1].where(f[1] > 0)),
    "share": lambda f: f[0] / (f[0] + f[1]),
    "corr(10)": lambda f: f[0].rolling(10).corr(f[1]),
    "residual(25, 10)": lambda f: own_residual(f, 25, 10),
    "sum": lambda f: f.sum(axis=1, skipna=False),
    "average": lambda f: f.mean(axis=1, skipna=False),
    "mean_corr(15)": lambda f: pairwise(f, 15),
}
STAGES = {**UNARY, **JOIN}
WIDTH = {"sum": 3, "average": 3, "mean_corr(15)": 4}


def width(formula: str) -> int:
    return WIDTH.get(formula, 2) if formula in JOIN else 1


def test_no_stage_is_left_out() -> None:
    named = {formula.split("(")[0] for formula in STAGES}
    assert named == set(transforms._UNARY) | set(transforms._JOIN)


@pytest.mark.parametrize("missing", [0.0, 0.015])
@pytest.mark.parametrize("positive", [True, False])
@pytest.mark.parametrize("formula", list(STAGES))
def test_stage_equals_its_oracle(formula: str, positive: bool, missing: float) -> None:
    x = table(8, width(formula), positive=positive, missing=missing)
    expected = STAGES[formula](pd.DataFrame(x)).to_numpy(np.float64)
    got = run(formula, x)
    assert np.isfinite(got).sum() == np.isfinite(expected).sum() > 5
    np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("formula", [*STAGES, "each: growth(1) | corr(10) | z(20, 8)", "log_ratio | mean(3) | gap(9)"])
@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1), st.integers(1, N))
def test_a_row_does_not_see_later_rows(formula: str, seed: int, rows: int) -> None:
    """Cut behind the row, or rewrite everything behind it: the row stays, to the last bit."""
    x = table(seed, 2 if formula not in STAGES else width(formula), positive=seed % 2 == 0, missing=0.03)
    full = run(formula, x)
    assert np.array_equal(full[:rows], run(formula, x[:rows].copy()), equal_nan=True)
    rewritten = np.concatenate([x[:rows], 100.0 * table(seed + 1, x.shape[1])[rows:]])
    assert np.array_equal(full[:rows], run(formula, rewritten)[:rows], equal_nan=True)


@pytest.mark.parametrize("formula", [*STAGES, "each: growth(1) | corr(10) | z(20, 8)", "log_ratio | mean(3) | gap(9)"])
def test_rows_that_are_wanted_are_those_of_the_whole(formula: str) -> None:
    x = table(5, 2 if formula not in STAGES else width(formula), positive=True, missing=0.03)
    stages = parse_formula(formula, x.shape[1])
    for rows in (np.arange(4, N, 5), np.array([N - 1, 30, 30]), np.array([], dtype=np.int64)):
        assert np.array_equal(evaluate(stages, x, rows), evaluate(stages, x)[rows], equal_nan=True)


@pytest.mark.parametrize("formula", list(STAGES))
def test_inputs_stay_as_they_are(formula: str) -> None:
    x = table(3, width(formula), missing=0.05)
    x.setflags(write=False)
    run(formula, x)


@pytest.mark.parametrize("formula", list(STAGES))
def test_short_and_empty_histories(formula: str) -> None:
    for rows in (0, 1, 2):
        assert run(formula, table(1, width(formula), positive=True)[:rows]).shape == (rows,)


@pytest.mark.parametrize("value", [0.0, 0.07, 0.3, 4.35, 13.37, 1e9 / 3])
def test_a_series_that_stands_still_has_no_scale(value: float) -> None:
    """A window mean of 4.35s misses 4.35 by rounding; that must not come out as a z-score of one."""
    still, moving = np.full((N, 1), value), table(5)
    assert np.isnan(run("z(60, 20)", still)).all()
    assert run("std(60)", still)[59:].tolist() == [0.0] * (N - 59)
    assert run("rank(60, 20)", still)[59:].tolist() == [0.5] * (N - 59)
    assert np.isnan(run("std(60) | log", still)).all()
    both = np.column_stack([moving, still])
    assert np.isnan(run("corr(60)", both)).all()
    assert np.isnan(run("residual(60, 20)", both)).all()
    assert np.isnan(run("mean_corr(60)", np.column_stack([both, table(6)]))).all()
    assert np.isnan(run("autocorr(60)", still)).all()


def test_what_cannot_be_divided_or_logged_is_missing() -> None:
    x = np.array([[1.0, 0.0], [-1.0, 1.0], [0.0, 2.0], [3.0, -3.0]])
    assert np.array_equal(run("ratio", x), [np.nan, -1.0, 0.0, -1.0], equal_nan=True)
    assert np.array_equal(run("share", x), [1.0, np.nan, 0.0, np.nan], equal_nan=True)
    assert np.array_equal(run("log_ratio", x), [np.nan, np.nan, np.nan, np.nan], equal_nan=True)
    assert np.array_equal(run("log", x[:, :1]), [0.0, np.nan, np.nan, np.log(3.0)], equal_nan=True)


def test_one_missing_row_empties_a_full_window_but_not_a_partial_one() -> None:
    x = np.arange(1.0, 13.0)[:, None]
    x[5] = np.nan
    assert np.flatnonzero(np.isnan(run("mean(3)", x))).tolist() == [0, 1, 5, 6, 7]
    assert np.flatnonzero(np.isnan(run("z(3, 2)", x))).tolist() == [0, 5]


def test_a_pipeline_by_hand() -> None:
    """ln(4/2) - ln(2/2) and so on, then the mean of two: worked out on paper."""
    x = np.array([[2.0, 2.0], [4.0, 2.0], [8.0, 1.0], [8.0, 8.0]])
    ratio = np.log([1.0, 2.0, 8.0, 1.0])
    expected = [np.nan, (ratio[0] + ratio[1]) / 2, (ratio[1] + ratio[2]) / 2, (ratio[2] + ratio[3]) / 2]
    np.testing.assert_allclose(run("log_ratio | mean(2)", x), expected)


@pytest.mark.parametrize(
    ("formula", "inputs", "says"),
    [
        ("", 1, "cannot read the stage"),
        ("mean(5", 1, "cannot read the stage"),
        ("mean(5) |", 1, "cannot read the stage"),
        ("Mean(5)", 1, "cannot read the stage"),
        ("smooth(5)", 1, "no stage that takes one input"),
        ("mean(5)", 2, "no stage that joins several inputs"),
        ("diff", 1, "no stage that takes one input"),
        ("each: diff", 2, "no stage that takes one input"),
        ("each: log", 2, "2 inputs are never joined"),
        ("mean", 1, "takes 1 argument"),
        ("mean()", 1, "takes 1 argument"),
        ("log(3)", 1, "takes 0 argument"),
        ("mean(five)", 1, "arguments of mean must be numbers"),
        ("mean(,)", 1, "arguments of mean must be numbers"),
        ("diff", 3, "diff joins two inputs; got 3"),
        ("corr(20)", 3, "corr joins two inputs; got 3"),
        ("lag(-1)", 1, "at least 1 row"),
        ("lag(0)", 1, "at least 1 row"),
        ("change(-5)", 1, "at least 1 row"),
        ("growth(0)", 1, "at least 1 row"),
        ("mean(2.5)", 1, "whole number"),
        ("mean(nan)", 1, "whole number"),
        ("mean(inf)", 1, "whole number"),
        ("total(0)", 1, "at least 1 row"),
        ("std(1)", 1, "at least 2 row"),
        ("corr(1)", 2, "at least 2 row"),
        ("z(20, 1)", 1, "at least 2 row"),
        ("z(20, 30)", 1, "at most the window of 20"),
        ("residual(20, 21)", 2, "at most the window of 20"),
        ("ema(0)", 1, "positive number of rows"),
        ("ema(-3)", 1, "positive number of rows"),
        ("ema(inf)", 1, "positive number of rows"),
        ("clip(1, -1)", 1, "finite bound above 1"),
        ("clip(-inf, 1)", 1, "finite bound"),
        ("clip(0, nan)", 1, "finite bound"),
    ],
)
def test_what_cannot_be_meant_is_refused(formula: str, inputs: int, says: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        parse_formula(formula, inputs)
    assert says in str(caught.value)
    assert f"{formula!r}" in str(caught.value)
