"""Decile returns, serial correlation, dispersion and liquidity against pandas and by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from features.crowding.cross_section import dispersion
from features.crowding.flow import decile_returns, serial_correlation, small_less_middle
from features.crowding.liquidity import CrowdSize, days_to_liquidate, tier_turnover
from features.crowding.members import counted_returns, size_deciles
from features.crowding.settings import CrowdSettings
from features.errors import DataContractError
from tests.features.crowding.toy_stocks import QUICK, toy_panel


def test_decile_returns_are_means_by_the_deciles_of_the_day_before() -> None:
    panel = toy_panel(1)
    returns, decile = counted_returns(panel), size_deciles(panel, QUICK)
    out = decile_returns(returns, decile)
    for row in (QUICK.seasoning, 40, 159):
        held = pd.Series(returns[row].astype(np.float64)).groupby(decile[row - 1]).mean()
        assert_allclose(out[row], held.drop(-1).to_numpy(), rtol=1e-6)
    assert np.isnan(out[: QUICK.seasoning]).all()


def test_small_less_middle_by_hand() -> None:
    deciles = np.zeros((1, 10))
    deciles[0, 0], deciles[0, 4], deciles[0, 5] = 0.05, 0.01, 0.03
    assert_allclose(small_less_middle(deciles), np.log(1.05 / 1.02))


def test_serial_correlation() -> None:
    rng = np.random.default_rng(0)
    gap = rng.standard_normal(60)
    assert_allclose(serial_correlation(gap), pd.Series(gap).autocorr(1), rtol=1e-12)
    assert serial_correlation(np.array([1.0, 2.0, 3.0, 4.0])) == pytest.approx(1.0)
    assert np.isnan(serial_correlation(np.append(gap, np.nan)))
    assert np.isnan(serial_correlation(np.ones(10)))


def test_dispersion_by_hand() -> None:
    decile = np.repeat(np.arange(10), 3).astype(np.int8)
    returns = np.tile([-0.01, 0.0, 0.01], (2, 10))
    returns[1, :3] *= 3
    few = CrowdSettings(least=3)
    said = dispersion(returns, decile, few)
    # 1% and 3% on two days, against 1% elsewhere.
    assert_allclose(said, (0.02, np.log(2.0)))
    returns[0, 0] = np.nan
    assert np.isnan(dispersion(returns, decile, few)).all()


def test_days_to_liquidate() -> None:
    crowd = CrowdSize(notional=2e11, participation=0.25)
    days = days_to_liquidate(np.array([8e9, 16e9, 0.0, np.nan]), crowd)
    assert_allclose(days, [100.0, 50.0, np.nan, np.nan])
    amount = np.array([[1e8, np.nan, 9e9], [3e8, 2e8, 9e9]], dtype=np.float32)
    assert tier_turnover(amount, np.array([0, 0, 3], dtype=np.int8)) == pytest.approx(3e8)
    assert np.isnan(tier_turnover(amount, np.array([1, 1, 3], dtype=np.int8)))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"notional": -1.0}, "`notional` must be an amount of at least 0"),
        ({"participation": 0.0}, "`participation` must be inside"),
        ({"tier_share": 1.5}, "`tier_share` must be inside"),
    ],
)
def test_a_crowd_says_what_it_must_be(change: dict[str, float], said: str) -> None:
    with pytest.raises(DataContractError, match=said):
        CrowdSize(**change)
