"""Membership by hand, and that ties, halts, listings and special treatment are told apart."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from features.crowding.members import counted_returns, size_deciles
from features.crowding.settings import CrowdSettings
from features.errors import DataContractError
from tests.features.crowding.toy_stocks import QUICK, shuffled, toy_panel


def test_twenty_stocks_fall_into_ten_pairs() -> None:
    panel = toy_panel(codes=20)
    cap = np.tile(np.arange(20, dtype=np.float32) + 1, (160, 1))
    plain = replace(panel, cap=cap, traded=np.ones_like(panel.traded), st=np.zeros_like(panel.st))
    decile = size_deciles(plain, QUICK)
    assert (decile[: QUICK.seasoning - 1] == -1).all()
    assert decile[QUICK.seasoning - 1].tolist() == np.repeat(np.arange(10), 2).tolist()


def test_ineligible_stocks_belong_to_no_decile_and_the_rest_move_up() -> None:
    panel = toy_panel(codes=40)
    traded, st, cap = panel.traded.copy(), panel.st.copy(), panel.cap.copy()
    traded[:], st[:], cap[:] = True, False, np.arange(40) + 1
    row = 50
    traded[row, 0], st[row, 1], cap[row, 2], traded[row - 8 : row, 3] = False, True, np.nan, False
    decile = size_deciles(replace(panel, cap=cap, traded=traded, st=st), QUICK)[row]
    assert decile[:4].tolist() == [-1] * 4
    assert decile[4:8].tolist() == [0] * 4


def test_equal_values_share_a_decile() -> None:
    panel = toy_panel(codes=40)
    cap = panel.cap.copy()
    cap[:] = np.repeat(np.arange(20), 2) // 3 + 1
    decile = size_deciles(replace(panel, cap=cap), QUICK)
    for row in range(QUICK.seasoning, 160, 7):
        for value in np.unique(cap):
            own = decile[row, cap[row] == value]
            assert len(set(own[own >= 0])) <= 1


def test_order_of_codes_means_nothing() -> None:
    panel = toy_panel(3)
    order = np.random.default_rng(0).permutation(len(panel.codes))
    assert np.array_equal(size_deciles(panel, QUICK)[:, order], size_deciles(shuffled(panel, order), QUICK))


def test_a_return_over_a_halt_does_not_count() -> None:
    panel = toy_panel(2)
    counted = counted_returns(panel)
    resumed = panel.traded[1:] & ~panel.traded[:-1]
    assert resumed.any()
    assert np.isnan(counted[1:][resumed]).all()
    assert np.isnan(counted[0]).all()
    plain = panel.traded[1:] & panel.traded[:-1]
    assert np.array_equal(counted[1:][plain], panel.ret[1:][plain])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"window": 9}, "`window` must be at least 10; got 9"),
        ({"coverage": 0.0}, r"`coverage` must be inside \(0, 1\]; got 0"),
        ({"least": 2}, "`least` must be at least 3"),
    ],
)
def test_settings_say_what_they_must_be(change: dict[str, float], said: str) -> None:
    with pytest.raises(DataContractError, match=said):
        CrowdSettings(**change)  # type: ignore[arg-type]
