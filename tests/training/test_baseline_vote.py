"""The vote of eight signals: by hand, with the catalogue's signs, and blind to later rows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from features.contracts import Dataset, FeatureInfo
from features.market import load_market
from tests.training import tail_toy
from tests.training.tail_toy import DECISIONS
from training.baseline_vote import SIGNALS, votes


def panel(**features: float) -> Dataset:
    """Two pairs with noise under given names and the signs that a catalogue declares for them."""
    data = tail_toy.dataset()
    rng = np.random.default_rng(3)
    values = pd.DataFrame({name: rng.normal(size=len(data.rows)) for name in features}, index=data.rows.index)
    infos = tuple(FeatureInfo(name, "style", "pair", int(sign), 0, "", "real", "") for name, sign in features.items())
    rows = data.rows.assign(**{f"style_momentum_{weeks}w": rng.normal(size=len(values)) for weeks in (4, 13)})
    return replace(data, values=values, features=infos, rows=rows)


def test_the_list_is_eight_signals_with_reasons() -> None:
    assert len(SIGNALS) == len({signal.name for signal in SIGNALS}) == 8
    assert {signal.sign for signal in SIGNALS} == {-1, 1}
    assert all(signal.why and signal.features for signal in SIGNALS)


@pytest.mark.parametrize(("market", "fewest"), [("cn", 8), ("us", 5)])
def test_features_are_those_of_the_catalogues(market: str, fewest: int) -> None:
    """Relative momentum is made of states, all else is in a catalogue: eight signals in CN, five or more in US."""
    names = set(load_market(market).features) | {"relative_momentum_4w", "relative_momentum_13w"}
    assert sum(any(name in names for name in signal.features) for signal in SIGNALS) >= fewest


def test_votes_by_hand() -> None:
    """Above the median of what was there so far small wins momentum's vote, large wins that of a dear valuation."""
    data = panel(valuation_spread=0, pmi_trend=0)
    found = votes(data)
    for row in (26, 60, 179):
        own = data.values.loc["a-b", "valuation_spread"].to_numpy()[: row + 1]
        assert found.loc["a-b", "valuation spread"].iloc[row] == -np.sign(own[-1] - np.median(own))
        speed = (data.rows["style"] * data.rows["style_momentum_4w"]).loc["a-b"].to_numpy()[: row + 1]
        assert found.loc["a-b", "momentum, 20 days"].iloc[row] == np.sign(speed[-1] - np.median(speed))
    assert found["US 10y change"].isna().all()
    early = found.index.get_level_values("decision_date") < DECISIONS[25]
    assert found[early].isna().all(axis=None)
    assert found.loc[~early, "PMI trend"].notna().all()


def test_a_sign_of_the_catalogue_holds() -> None:
    one, other = votes(panel(pmi_trend=0)), votes(panel(pmi_trend=1))
    pd.testing.assert_series_equal(one["PMI trend"], -other["PMI trend"])


def test_the_first_feature_that_is_there_votes() -> None:
    both, second = panel(residual_share=0, small_share_residual=0), panel(small_share_residual=0)
    renamed = replace(both, values=both.values[["residual_share"]].rename(columns=lambda _: "small_share_residual"))
    name = "turnover share"
    pd.testing.assert_series_equal(votes(both)[name], votes(renamed)[name])
    assert votes(second)[name].notna().any()


def test_a_missing_cell_does_not_vote() -> None:
    data = panel(pmi_trend=0)
    data.values.loc[("a-c", DECISIONS[100]), "pmi_trend"] = np.nan
    found = votes(data)
    assert np.isnan(found.loc[("a-c", DECISIONS[100]), "PMI trend"])
    assert found.loc[("a-c", DECISIONS[101])].notna().sum() == 3


def shortened(data: Dataset, last: np.datetime64) -> Dataset:
    kept = data.rows.index.get_level_values("decision_date") <= last
    return replace(data, rows=data.rows[kept], values=data.values[kept])


def test_later_rows_change_no_vote() -> None:
    data = panel(valuation_spread=0, pmi_trend=0)
    full = votes(data)
    for last in DECISIONS[30:180:5]:
        cut = votes(shortened(data, last))
        pd.testing.assert_frame_equal(cut, full.loc[cut.index])


def test_control_a_median_of_all_rows_is_caught() -> None:
    """The leaking twin takes each feature's median off before, over the whole sample."""
    data = panel(valuation_spread=0)
    leak = lambda given: np.sign(given.values - given.values.median())  # noqa: E731
    moved = [
        not leak(shortened(data, last)).equals(leak(data).loc[shortened(data, last).values.index])
        for last in DECISIONS[30:180:5]
    ]
    assert any(moved)
