"""Noise floors: closed forms, the AUC of a climatology that knows nothing, and figures that chance does not make."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit, logit
from sklearn.metrics import roc_auc_score

from tests.training.test_corp import frame
from training.corp import decompose
from training.noise import auc, auc_null, noise_floors, noise_table
from training.scores import Sample, brier, log_loss, noise_floor, skill

WEEK = np.timedelta64(7, "D")


def sample(seed: int = 0, n: int = 300, pairs: int = 1, sd: float = 0.5, known: bool = True) -> Sample:
    """Forecasts around a base rate of 0.3, with outcomes that follow them or do not."""
    rng = np.random.default_rng(seed)
    base = np.full(n * pairs, 0.3)
    p = expit(logit(base) + sd * rng.normal(size=n * pairs))
    y = (rng.random(n * pairs) < (p if known else base)).astype(float)
    dates = np.tile(np.datetime64("2012-01-06", "us") + WEEK * np.arange(n), pairs)
    return Sample(p, base, y, dates, np.repeat(np.arange(pairs), n))


@given(st.lists(st.tuples(st.sampled_from([0.1, 0.3, 0.3, 0.6]), st.booleans()), min_size=2, max_size=40))
def test_auc_agrees_with_scikit_learn(rows: list[tuple[float, bool]]) -> None:
    p, y = np.array([row[0] for row in rows]), np.array([float(row[1]) for row in rows])
    if np.ptp(y) == 0:
        assert np.isnan(auc(p, y))
    else:
        assert auc(p, y) == pytest.approx(roc_auc_score(y, p))


def test_auc_null_is_that_of_mann_and_whitney() -> None:
    """Independent rows: mean 1/2, variance (m + n + 1) / (12 m n)."""
    rows = sample(known=False)
    null = auc_null(rows, 1, draws=2000)
    m = 0.3 * 300
    assert null.mean() == pytest.approx(0.5, abs=0.003)
    assert null.std() == pytest.approx(np.sqrt(301 / (12 * m * (300 - m))), rel=0.06)


def test_overlap_and_copies_widen_the_null() -> None:
    rows = sample(known=False)
    twice = Sample(*(np.tile(column, 2) for column in rows[:4]), np.repeat([0, 1], 300))
    single = auc_null(rows, 1, draws=1000).std()
    assert auc_null(twice, 1, draws=1000).std() == pytest.approx(single, rel=0.05)
    # A forecast that lasts as long as its outcomes overlap.
    slow = rows._replace(p=np.repeat(rows.p[::6], 6))
    assert auc_null(slow, 4, draws=1000).std() > 1.5 * single


def expanding(y: np.ndarray, horizon: int, prior: float, rate: float) -> np.ndarray:
    """Base rate before each decision, by loop."""
    seen = [y[: max(i - horizon, 0)] for i in range(len(y))]
    return np.array([(part.sum() + prior * rate) / (len(part) + prior) for part in seen])


def test_climatology_on_noise_ranks_below_a_coin() -> None:
    """METHODS 1: the pooled AUC of an expanding climatology is 0.44 to 0.47 on pure noise."""
    n, pairs = 600, 4
    dates = np.tile(np.datetime64("2012-01-06", "us") + WEEK * np.arange(n), pairs)
    flat = np.full(n * pairs, 0.3)
    rng = np.random.default_rng(3)
    common, own = rng.random(n) < 0.3, rng.random((pairs, n)) < 0.3
    y = np.where(rng.random((pairs, n)) < 0.8, common, own).ravel().astype(float)
    rows = Sample(flat, flat, y, dates, np.repeat(np.arange(pairs), n))
    # Overlap makes it worse: 0.480 and 0.446 here.
    for horizon, low, high in ((1, 0.47, 0.49), (4, 0.44, 0.47)):
        rebuilt = auc_null(rows, horizon, rebuilt=True, draws=300)
        assert low <= rebuilt.mean() <= high
        # Kept as it is, the same constant is a coin.
        np.testing.assert_allclose(auc_null(rows, horizon, draws=20), 0.5)
    # The reaction by itself, against an independent loop on independent draws.
    found = []
    for _ in range(200):
        y = (rng.random(n) < 0.3).astype(float)
        found.append(auc(expanding(y, 1, 104, 0.3), y))
    single = Sample(flat[:n], flat[:n], rows.y[:n], dates[:n], np.zeros(n, int))
    assert np.mean(found) == pytest.approx(auc_null(single, 1, rebuilt=True, draws=400).mean(), abs=0.01)


def test_values_are_those_of_the_scores() -> None:
    rows = sample()
    table = noise_floors(rows, 1, draws=50).set_index("figure")["value"]
    assert table["skill_log_loss"] == pytest.approx(skill(log_loss(rows.p, rows.y), log_loss(rows.base, rows.y)))
    assert table["skill_brier"] == pytest.approx(skill(brier(rows.p, rows.y), brier(rows.base, rows.y)))
    for score in ("log_loss", "brier"):
        parts = decompose(rows.p, rows.y, score)  # type: ignore[arg-type]
        assert table[f"miscalibration_{score}"] == pytest.approx(parts.miscalibration, abs=1e-9)
        assert table[f"discrimination_{score}"] == pytest.approx(parts.discrimination, abs=1e-9)
    assert table["auc"] == table["auc_rebuilt"] == pytest.approx(roc_auc_score(rows.y, rows.p))
    top = np.argsort(-rows.p)[:30]
    assert table["precision_top"] == pytest.approx(rows.y[top].mean())
    bins = np.array_split(np.argsort(rows.p), 10)
    assert table["ece"] == pytest.approx(np.mean([abs((rows.y - rows.p)[one].mean()) for one in bins]))


def test_skill_under_climatology_has_its_closed_form() -> None:
    """Mean: minus the divergence of base from p over the base's entropy. Spread: that of the scores' noise floor."""
    rows = sample(n=400)
    table = noise_floors(rows, 1, draws=600).set_index("figure")
    b, p = rows.base, rows.p
    divergence = b * np.log(b / p) + (1 - b) * np.log((1 - b) / (1 - p))
    entropy = -(b * np.log(b) + (1 - b) * np.log(1 - b))
    assert table.loc["skill_log_loss", "null_mean"] == pytest.approx(-divergence.mean() / entropy.mean(), abs=0.002)
    floor = noise_floor(rows, 1)
    assert table.loc["skill_log_loss", "null_sd"] == pytest.approx(floor, rel=0.15)


def test_calibration_error_of_a_calibrated_forecast_is_as_large_as_measured() -> None:
    """METHODS 1: a perfectly calibrated model shows a 10-bin ECE of 0.093 on 104 weeks and 0.041 on 520."""
    for n, floor in ((104, 0.093), (520, 0.041)):
        rows = sample(n=n, sd=0.3)._replace(p=np.linspace(0.2, 0.8, n))
        null = noise_floors(rows, 1, draws=300).set_index("figure").loc["ece", "null_mean"]
        assert null == pytest.approx(floor, rel=0.25)


def test_skill_is_found_and_its_absence_is_not() -> None:
    skilled = noise_floors(sample(n=500, sd=0.9), 1, draws=199).set_index("figure")["p_value"]
    assert (skilled[["skill_log_loss", "discrimination_brier", "auc", "auc_rebuilt", "precision_top"]] < 0.02).all()
    # Bold by a factor of three: miscalibration shows.
    true = sample(n=500, sd=0.7)
    bold = true._replace(p=expit(logit(0.3) + 3 * (logit(true.p) - logit(0.3))))
    wrong = noise_floors(bold, 1, draws=199).set_index("figure")["p_value"]
    assert (wrong[["miscalibration_log_loss", "miscalibration_brier", "ece"]] < 0.02).all()


def test_table_has_every_group_and_the_same_seed_the_same_numbers() -> None:
    forecasts = frame()
    table = noise_table(forecasts, draws=19)
    assert len(table) == 3 * 2 * 3 * 10
    assert list(table.columns[:4]) == ["event", "horizon_weeks", "pair", "figure"]
    again = noise_table(forecasts.sample(frac=1, random_state=0), draws=19)
    pd.testing.assert_frame_equal(table, again)
    empty = forecasts.assign(y_crash=np.nan)
    assert set(noise_table(empty, draws=19)["event"]) == {"switch", "large"}


def test_one_class_has_no_auc() -> None:
    rows = sample(n=40)._replace(y=np.zeros(40))
    table = noise_floors(rows, 1, draws=20).set_index("figure")
    assert np.isnan(table.loc["auc", "value"])
    assert np.isnan(table.loc["auc", "p_value"])
