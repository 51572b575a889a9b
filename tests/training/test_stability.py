"""Stability of explanations: signs by hand, ranks against scipy, shares that add up."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import spearmanr

from features.contracts import FeatureInfo, FloatArray
from features.errors import DataContractError
from models.design import build_layout
from training.plots import Contributions
from training.stability import (
    declared_signs,
    family_shares,
    importance,
    rank_over_refits,
    rank_over_seeds,
    sign_agreement,
)


def feature(name: str, sign: int, tail: int) -> FeatureInfo:
    return FeatureInfo(name, "macro", "market", sign, tail, "points", "real", "a test")


FEATURES = (feature("up", 1, 0), feature("risk", 0, 1), feature("both", -1, 1), feature("torn", 1, 1),
            feature("open", 0, 0))  # fmt: skip


def test_declared_signs_by_hand() -> None:
    style = np.array([1, -1])
    np.testing.assert_array_equal(declared_signs(FEATURES, "large", style), [[-1, 0, 1, -1, 0]] * 2)
    # Speaks for small caps: against a crash. Where the two declarations disagree there is none.
    np.testing.assert_array_equal(declared_signs(FEATURES, "crash", style), [[-1, 1, 1, 0, 0]] * 2)
    # The switch is against the style in force: small caps falling where they lead, rising where they do not.
    np.testing.assert_array_equal(declared_signs(FEATURES, "switch", style), [[-1, 1, 1, 0, 0], [1, 1, 0, 1, 0]])


@pytest.mark.parametrize("event", ["switch", "large", "crash"])
def test_declared_signs_are_those_of_the_design(event: str) -> None:
    layout = build_layout(event, FEATURES)  # type: ignore[arg-type]
    for style in (1, -1):
        signs = declared_signs(FEATURES, event, np.array([style]))[0]  # type: ignore[arg-type]
        for place, info in enumerate(FEATURES):
            used = {
                member.sign * (style if member.times_style else 1)
                for member in layout.members
                if member.feature == info.name and member.column < layout.signed
            }
            assert signs[place] == (used.pop() if len(used) == 1 else 0)


def test_agreement_by_hand() -> None:
    """Feature a: means 0; three of four with a contribution agree. Feature b has no declared sign."""
    values = np.array([[1.0, 1.0], [-1.0, 0.0], [2.0, 1.0], [-2.0, 3.0], [np.nan, 1.0], [0.0, 0.0]])
    amounts = np.array([[0.1, 1.0], [-0.2, 1.0], [-0.3, 1.0], [-0.4, 1.0], [0.5, 1.0], [0.6, 1.0]])
    table = sign_agreement(Contributions(("a", "b"), values, amounts), np.array([1, 0]))
    assert list(table.index) == ["a"]
    row = table.loc["a"]
    assert (row["n"], row["agreement"]) == (4, 0.75)
    assert row["agreement_size"] == pytest.approx(0.7 / 1.0)
    assert row["size"] == pytest.approx(2.1 / 6)
    turned = sign_agreement(Contributions(("a", "b"), values, amounts), np.array([-1, 0])).loc["a"]
    assert turned["agreement"] == 0.25
    shifted = sign_agreement(Contributions(("a", "b"), values, amounts), np.array([1, 0]), np.array([1.5, 0.0])).loc[
        "a"
    ]
    # Now 1, 0 and -1 lie below the centre, 2 above it.
    assert (shifted["n"], shifted["agreement"]) == (5, 2 / 5)


@given(
    arrays(np.float64, (20, 3), elements=st.floats(-3, 3)), arrays(np.int64, (20, 3), elements=st.sampled_from([-1, 1]))
)
def test_a_head_that_obeys_its_signs_agrees_everywhere(values: FloatArray, signs: np.ndarray) -> None:
    centre = values.mean(axis=0)
    amounts = signs * np.sign(values - centre) * np.abs(values - centre) ** 0.5
    table = sign_agreement(Contributions(("a", "b", "c"), values, amounts), signs)
    assert (table["agreement"] == 1).all()
    reverse = sign_agreement(Contributions(("a", "b", "c"), values, -amounts), signs)
    assert (reverse["agreement"] == 0).all()


def test_agreement_refuses_what_does_not_fit() -> None:
    good = Contributions(("a",), np.ones((3, 1)), np.ones((3, 1)))
    with pytest.raises(DataContractError, match="`signs` must have shape"):
        sign_agreement(good, np.ones(2, dtype=np.int64))
    with pytest.raises(DataContractError, match="need 1 columns"):
        sign_agreement(good._replace(values=np.ones((3, 2))), np.ones(1, dtype=np.int64))


@given(arrays(np.float64, (4, 6), elements=st.floats(0, 1).map(lambda x: round(x, 2))))
def test_ranks_agree_with_scipy(sizes: FloatArray) -> None:
    sizes = sizes + np.eye(4, 6)
    every = [spearmanr(sizes[i], sizes[j]).statistic for i in range(4) for j in range(i)]
    seeds = rank_over_seeds(sizes)
    assert seeds.mean == pytest.approx(np.mean(every))
    assert seeds.lowest == pytest.approx(min(every))
    assert seeds.compared == 6
    refits = rank_over_refits(sizes)
    assert refits.mean == pytest.approx(np.mean([spearmanr(sizes[i], sizes[i - 1]).statistic for i in (1, 2, 3)]))
    assert refits.compared == 3


def test_ranks_without_an_order() -> None:
    assert rank_over_seeds(np.ones((3, 4))).compared == 0
    assert np.isnan(rank_over_seeds(np.arange(4.0)[None, :]).mean)
    flat = np.vstack([np.arange(4.0), np.ones(4), np.arange(4.0)])
    assert rank_over_seeds(flat) == pytest.approx((1.0, 1.0, 1))
    assert rank_over_refits(flat).compared == 0
    with pytest.raises(DataContractError, match="finite"):
        rank_over_seeds(np.array([[1.0, np.nan]]))


def test_family_shares() -> None:
    dates = np.array(["2012-01-06", "2012-06-01", "2013-01-04", "2014-01-03"], "datetime64[us]")
    amounts = np.array([[0.3, -0.3, 0.2], [0.1, 0.1, -0.2], [0.0, 0.0, 0.5], [0.0, 0.0, 0.0]])
    table = family_shares(("macro", "macro", "style"), amounts, dates)
    # 2012: macro |0| and |0.2|, style 0.2 and 0.2: what cancels within a family moved nothing.
    np.testing.assert_allclose(table.loc[2012], [0.1 / 0.3, 0.2 / 0.3])
    np.testing.assert_allclose(table.loc[2013], [0.0, 1.0])
    assert table.loc[2014].isna().all()
    with pytest.raises(DataContractError, match="shape"):
        family_shares(("macro",), amounts, dates)


def test_importance() -> None:
    np.testing.assert_allclose(importance(np.array([[1.0, -2.0], [-3.0, 0.0]])), [2.0, 1.0])
    with pytest.raises(DataContractError, match="contributions"):
        importance(np.empty((0, 2)))
