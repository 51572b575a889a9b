"""Drawn outcomes: rates, overlap, pairs that move together, and the correlation behind them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import ndtri
from scipy.stats import multivariate_normal

from features.contracts import FloatArray
from features.errors import DataContractError
from training.null_outcomes import draw_outcomes, latent_correlation
from training.scores import Sample, pair_correlation

WEEK = np.timedelta64(7, "D")


def sample(n: int = 200, pairs: int = 2, common: bool = True, seed: int = 0) -> Sample:
    rng = np.random.default_rng(seed)
    base = np.full(n * pairs, 0.3)
    one = (rng.random(n) < 0.3).astype(float)
    y = np.tile(one, pairs) if common else (rng.random(n * pairs) < 0.3).astype(float)
    dates = np.tile(np.datetime64("2012-01-06", "us") + WEEK * np.arange(n), pairs)
    return Sample(rng.uniform(0.1, 0.5, n * pairs), base, y, dates, np.repeat(np.arange(pairs), n))


@settings(max_examples=25, deadline=None)
@given(st.floats(-0.95, 0.95).map(lambda r: abs(r)), st.floats(0.05, 0.95))
def test_latent_correlation_inverts_the_bivariate_normal(r: float, rate: float) -> None:
    c = ndtri(rate)
    both = multivariate_normal([0, 0], [[1, r], [r, 1]]).cdf([c, c])
    phi = (both - rate**2) / (rate * (1 - rate))
    assert latent_correlation(phi, rate) == pytest.approx(r, abs=2e-3)


def test_no_correlation_and_certain_rates() -> None:
    assert latent_correlation(0.0, 0.3) == latent_correlation(0.5, 0.0) == latent_correlation(0.5, 1.0) == 0.0
    assert latent_correlation(1.0, 0.4) == pytest.approx(1.0, abs=1e-3)


def test_pairs_of_a_date_correlate_as_observed() -> None:
    assert pair_correlation(sample(common=True)) == 1.0
    assert pair_correlation(sample(common=False)) < 0.15
    assert pair_correlation(sample(pairs=1)) == 0.0


def lag_correlation(drawn: FloatArray, lag: int) -> float:
    return float(np.corrcoef(drawn[:, lag:].ravel(), drawn[:, :-lag].ravel())[0, 1])


def test_each_row_keeps_its_probability_and_the_weeks_overlap() -> None:
    given_sample = sample(n=120, pairs=1)
    drawn = draw_outcomes(given_sample, given_sample.p, 4, draws=8000).astype(float)
    np.testing.assert_allclose(drawn.mean(axis=0), given_sample.p, atol=0.025)
    assert lag_correlation(drawn, 1) > 0.35
    assert abs(lag_correlation(draw_outcomes(given_sample, given_sample.base, 4, draws=4000).astype(float), 4)) < 0.02
    single = draw_outcomes(given_sample, given_sample.base, 1, draws=4000).astype(float)
    assert abs(lag_correlation(single, 1)) < 0.02


def test_copies_of_a_pair_are_copies_in_every_draw() -> None:
    both = sample(n=80, common=True)
    drawn = draw_outcomes(both, both.base, 1, draws=50)
    np.testing.assert_array_equal(drawn[:, :80], drawn[:, 80:])
    apart = draw_outcomes(sample(n=80, common=False), both.base, 1, draws=50)
    assert (apart[:, :80] != apart[:, 80:]).mean() > 0.2


def test_rows_in_any_order() -> None:
    rows = sample(n=60, common=False)
    shuffled = np.random.default_rng(1).permutation(120)
    moved = Sample(*(column[shuffled] for column in rows))
    np.testing.assert_array_equal(draw_outcomes(rows, rows.p, 4)[:, shuffled], draw_outcomes(moved, moved.p, 4))


def test_refuses_what_is_no_probability() -> None:
    rows = sample(n=20)
    with pytest.raises(DataContractError, match="40 fractions"):
        draw_outcomes(rows, rows.p[:-1], 1)
    with pytest.raises(DataContractError, match="fractions"):
        draw_outcomes(rows, rows.p + 1, 1)
    nothing = Sample(*(column[:0] for column in rows))
    assert draw_outcomes(nothing, nothing.p, 1, draws=3).shape == (3, 0)
