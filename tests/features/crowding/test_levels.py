"""Percentile, change and composite by hand; the composite is monotone and causal."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from pandas.testing import assert_frame_equal, assert_series_equal

from features.crowding.levels import CROWD_SIGNS, CrowdLevels, LevelSettings, Sign, crowd_levels
from features.crowding.weekly import MEASURES
from features.errors import DataContractError

SHORT = LevelSettings(window=5, least=3, change=2)
SIGNS: dict[str, Sign] = {"up": 1, "down": -1, "shown": 0}


def frame(**columns: object) -> pd.DataFrame:
    some = pd.DataFrame(columns, dtype=np.float64)
    some.index = pd.DatetimeIndex(pd.date_range("2020-01-03", periods=len(some), freq="7D"), name="decision_date")
    return some


def noise(seed: int, weeks: int = 60) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return frame(**{name: rng.standard_normal(weeks).cumsum() for name in SIGNS})


def test_by_hand() -> None:
    said = crowd_levels(frame(up=[1, 2, 3, 4, 2, 5], down=[0, 0, 0, 1, 1, 2], shown=[1] * 6), SIGNS, SHORT)
    # Of 2 3 4 2 5 the last is the highest: four below, itself half; of 1 2 3 4 2 one is below, two are equal.
    assert_allclose(said.percentile["up"], [np.nan, np.nan, 2.5 / 3, 3.5 / 4, 2 / 5, 4.5 / 5])
    assert_allclose(said.percentile["down"].iloc[-1], 4.5 / 5)
    assert_allclose(said.change["up"], [np.nan, np.nan, 2, 2, -1, 1])
    assert_allclose(said.composite.iloc[-1], (0.9 + 0.1) / 2)
    assert said.counted.tolist() == [0, 0, 2, 2, 2, 2]
    assert said.composite.iloc[:2].isna().all()


def test_every_stock_level_measure_has_a_sign() -> None:
    assert set(CROWD_SIGNS) == set(MEASURES)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000), st.sampled_from(["up", "down", "shown"]), st.floats(0, 50))
def test_the_composite_is_monotone_in_every_measure(seed: int, name: str, more: float) -> None:
    measures = noise(seed)
    raised = measures.copy()
    raised.loc[raised.index[-1], name] += SIGNS[name] * more if SIGNS[name] else more
    before, after = (crowd_levels(one, SIGNS).composite.iloc[-1] for one in (measures, raised))
    assert after == before if name == "shown" else after >= before


def test_an_extreme_of_every_measure_is_an_extreme_of_the_composite() -> None:
    measures = noise(1, 200)
    measures.iloc[-1] = [1e3, -1e3, 0]
    said = crowd_levels(measures, SIGNS)
    assert said.composite.iloc[-1] == pytest.approx(1 - 0.5 / 156)


def same_up_to(said: CrowdLevels, full: CrowdLevels) -> bool:
    weeks = said.composite.index
    try:
        assert_series_equal(said.composite, full.composite.loc[weeks], check_exact=True)
        for part in ("level", "percentile", "change"):
            assert_frame_equal(getattr(said, part), getattr(full, part).loc[weeks], check_exact=True)
    except AssertionError:
        return False
    return True


def test_later_weeks_change_no_earlier_one() -> None:
    measures = noise(2, 230)
    measures.loc[measures.index[:120], "down"] = np.nan
    full = crowd_levels(measures, SIGNS)
    cuts = range(60, 230, 5)
    assert len(cuts) >= 30
    assert all(same_up_to(crowd_levels(measures.iloc[:cut], SIGNS), full) for cut in cuts)
    # Positive control: ranks over all weeks.
    leaking = CrowdLevels(full.level, full.level.rank(pct=True), full.change, full.composite, full.counted)
    assert not all(same_up_to(crowd_levels(measures.iloc[:cut], SIGNS), leaking) for cut in cuts)


def test_a_measure_that_lapses_is_missed_and_one_never_born_is_not() -> None:
    measures = noise(3, 120).assign(other=lambda frame: -frame["up"], never=np.nan)
    signs: dict[str, Sign] = {**SIGNS, "other": 1, "never": 1}
    assert crowd_levels(measures, signs, LevelSettings(quorum=1.0)).composite.notna().iloc[-1]
    lapsed = measures.copy()
    lapsed.loc[lapsed.index[-1], ["up", "other"]] = np.nan
    said = crowd_levels(lapsed, signs)
    assert said.counted.iloc[-1] == 1
    assert np.isnan(said.composite.iloc[-1])


@pytest.mark.parametrize(
    ("measures", "signs", "said"),
    [
        (noise(1).iloc[::-1], SIGNS, "`measures` must have ascending weeks"),
        (noise(1), {"up": 2}, "the sign of 'up' must be -1, 0 or 1; got 2"),
        (noise(1), {"shown": 0}, "no measure has a sign"),
    ],
)
def test_bad_input(measures: pd.DataFrame, signs: dict[str, Sign], said: str) -> None:
    with pytest.raises(DataContractError, match=said):
        crowd_levels(measures, signs)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"least": 200}, "`least` must be between 2 and `window` 156; got 200"),
        ({"change": 0}, "`change` must be at least 1 week"),
        ({"quorum": 0}, "`quorum` must be inside"),
    ],
)
def test_settings_say_what_they_must_be(change: dict[str, int], said: str) -> None:
    with pytest.raises(DataContractError, match=said):
        LevelSettings(**change)
