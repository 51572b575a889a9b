"""CORP: against scikit-learn's estimator, a min-max formula by loop, and what the parts must obey."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, logit
from sklearn.isotonic import IsotonicRegression

from features.contracts import EVENTS, FloatArray
from features.errors import DataContractError
from training.corp import SCORES, consistency_band, corp_table, decompose, recalibrate
from training.scores import Sample, brier, log_loss

WEEK = np.timedelta64(7, "D")


@st.composite
def rows(draw: st.DrawFn) -> tuple[FloatArray, FloatArray]:
    """Forecasts with many ties, and outcomes."""
    n = draw(st.integers(1, 30))
    p = np.array(draw(st.lists(st.sampled_from([0.05, 0.2, 0.25, 0.5, 0.8]), min_size=n, max_size=n)))
    return p, np.array(draw(st.lists(st.sampled_from([0.0, 1.0]), min_size=n, max_size=n)))


def test_by_hand() -> None:
    """Levels 0.1 and 0.2 violate and pool to 1/2. Brier: said (0.81 + 0.04 + 0.01) / 3, best 1/6, constant 2/9."""
    p, y = np.array([0.1, 0.2, 0.9]), np.array([1.0, 0.0, 1.0])
    np.testing.assert_allclose(recalibrate(p, y), [0.5, 0.5, 1.0])
    parts = decompose(p, y, "brier")
    np.testing.assert_allclose(parts, [0.86 / 3, 0.86 / 3 - 1 / 6, 2 / 9 - 1 / 6, 2 / 9])
    logs = decompose(p, y)
    said, best, rate = -np.log(0.1 * 0.8 * 0.9) / 3, 2 * np.log(2) / 3, -(2 * np.log(2 / 3) + np.log(1 / 3)) / 3
    np.testing.assert_allclose(logs, [said, said - best, rate - best, rate], atol=1e-10)


@given(rows())
def test_recalibration_agrees_with_the_estimator_and_the_min_max_formula(case: tuple[FloatArray, FloatArray]) -> None:
    p, y = case
    found = recalibrate(p, y)
    np.testing.assert_allclose(found, IsotonicRegression().fit(p, y).predict(p), atol=1e-12)
    # Robertson, Wright and Dykstra (1988): max over lower ends of min over upper ends of the mean between.
    levels = np.unique(p)
    for value, got in zip(p, found, strict=True):
        means = [[y[(p >= a) & (p <= b)].mean() for b in levels[levels >= value]] for a in levels[levels <= value]]
        assert got == pytest.approx(max(min(row) for row in means))


@given(rows(), st.sampled_from(SCORES))
def test_parts_add_up_and_are_not_negative(case: tuple[FloatArray, FloatArray], score: str) -> None:
    p, y = case
    parts = decompose(p, y, score)  # type: ignore[arg-type]
    assert parts.miscalibration >= 0
    assert parts.discrimination >= 0
    total = parts.uncertainty - parts.discrimination + parts.miscalibration
    assert parts.loss == pytest.approx(total, abs=1e-9)
    loss = {"brier": brier, "log_loss": log_loss}[score]
    assert parts.loss == pytest.approx(loss(p, y).mean())


@given(rows())
def test_a_monotone_distortion_moves_miscalibration_only(case: tuple[FloatArray, FloatArray]) -> None:
    p, y = case
    one, other = decompose(p, y), decompose(expit(2 * logit(p) + 1), y)
    assert one.discrimination == pytest.approx(other.discrimination, abs=1e-9)
    assert one.uncertainty == other.uncertainty
    again = decompose(recalibrate(p, y), y)
    assert again.miscalibration == pytest.approx(0, abs=1e-9)


def drawn(seed: int, n: int = 300, slope: float = 1.0) -> Sample:
    rng = np.random.default_rng(seed)
    p = expit(rng.normal(-0.5, 0.8, n))
    y = (rng.random(n) < p).astype(float)
    said = expit(slope * logit(p))
    return Sample(said, np.full(n, 0.4), y, np.datetime64("2012-01-06", "us") + WEEK * np.arange(n), np.zeros(n, int))


def test_band_holds_a_calibrated_curve_and_not_a_bold_one() -> None:
    inside = []
    for seed in range(6):
        band = consistency_band(drawn(seed), 1, draws=200)
        inside.append(((band["recalibrated"] >= band["low"]) & (band["recalibrated"] <= band["high"])).mean())
    assert np.mean(inside) > 0.8
    bold = consistency_band(drawn(0, slope=4.0), 1, draws=200)
    assert ((bold["recalibrated"] < bold["low"]) | (bold["recalibrated"] > bold["high"])).mean() > 0.4


def test_band_widens_with_the_overlap_and_the_level() -> None:
    # Isotonic pooling gathers rows from all years; overlap tells where forecasts last as long as it does.
    one = drawn(1)
    one = one._replace(p=np.repeat(one.p[::30], 30))
    width = {}
    for horizon, level in ((1, 0.9), (4, 0.9), (1, 0.5)):
        band = consistency_band(one, horizon, level=level, draws=200)
        assert (band["n"].sum(), band["p"].is_monotonic_increasing) == (300, True)
        width[horizon, level] = (band["high"] - band["low"]).mean()
    assert width[1, 0.5] < width[1, 0.9] < 0.75 * width[4, 0.9]
    with pytest.raises(DataContractError, match="level"):
        consistency_band(one, 1, level=1.0)


def test_nothing_to_decompose() -> None:
    nothing = np.empty(0)
    assert np.isnan(decompose(nothing, nothing)).all()
    assert recalibrate(nothing, nothing).shape == (0,)
    with pytest.raises(DataContractError, match="`score` must be one of"):
        decompose(nothing, nothing, "crps")  # type: ignore[arg-type]
    with pytest.raises(DataContractError, match="pair up"):
        decompose(np.ones(2), np.ones(3))
    sample = Sample(*(column[:0] for column in drawn(0)))
    assert consistency_band(sample, 1).empty


def frame(seed: int = 0, n: int = 60) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    weeks = np.datetime64("2012-01-06", "us") + WEEK * np.arange(n)
    frames = []
    for pair in ("a-b", "a-c"):
        for horizon in (1, 4):
            part = pd.DataFrame({"pair": pair, "decision_date": weeks, "horizon_weeks": horizon})
            for event in EVENTS:
                part[f"p_{event}_base"], part[f"p_{event}"] = 0.3, rng.uniform(0.1, 0.5, n)
                part[f"y_{event}"] = (rng.random(n) < part[f"p_{event}"]).astype(float)
            frames.append(part)
    return pd.concat(frames, ignore_index=True)


@settings(max_examples=5, deadline=None)
@given(st.integers(0, 100))
def test_table_is_the_decomposition_of_each_group(seed: int) -> None:
    forecasts = frame(seed)
    table = corp_table(forecasts)
    assert len(table) == 3 * 2 * 3 * 2
    row = table[(table["event"] == "crash") & (table["horizon_weeks"] == 4) & (table["pair"] == "a-c")].iloc[1]
    chosen = forecasts[(forecasts["pair"] == "a-c") & (forecasts["horizon_weeks"] == 4)]
    own = decompose(chosen["p_crash"].to_numpy(), chosen["y_crash"].to_numpy(), "brier")
    assert tuple(row[list(own._fields)]) == own
    # A constant has nothing to discriminate with.
    np.testing.assert_allclose(table["discrimination_base"].astype(float), 0, atol=1e-12)
