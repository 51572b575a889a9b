"""The unwind scenes of a market: depth as known at the decision, absent inputs, nothing later."""

import numpy as np
import pandas as pd
import pytest

from features.errors import DataContractError
from features.market import load_market
from models.unwind_grid import unwind_grid
from serving.known_series import is_fresh, series_as_of
from serving.unwind_view import load_unwind_plan, unwind_views

DAY = np.datetime64("2023-11-24", "us")
MARKET = load_market("cn")
SESSIONS = pd.bdate_range("2023-06-01", "2023-11-30")


def _observations(**scaled: float) -> pd.DataFrame:
    rng = np.random.default_rng(7)
    plan = load_unwind_plan("cn")
    assert plan is not None
    scene = plan.scenes[0]
    closes = {"micro400.close": 0.012, scene.futures.close: 0.009}
    levels = {scene.amount: 6e9, scene.futures.volume: 40_000.0, scene.futures.discount: -4.0}
    frames = []
    for name in (*closes, *levels):
        if name in closes:
            value = 1000 * np.exp(np.cumsum(rng.normal(0, closes[name], len(SESSIONS))))
        else:
            value = np.full(len(SESSIONS), levels[name])
        known = SESSIONS + pd.Timedelta(hours=7, minutes=15)
        frames.append(
            pd.DataFrame(
                {
                    "series": name,
                    "period": SESSIONS.astype("datetime64[us]"),
                    "known_at": known.astype("datetime64[us]"),
                    "value": value * scaled.get(name, 1.0),
                }
            )
        )
    return pd.concat(frames, ignore_index=True)


def test_depth_is_measured_over_the_last_sessions() -> None:
    observations = _observations()
    view = unwind_views(MARKET, observations, DAY)[0]
    now = view.settings["now"]
    closes = observations[observations["series"] == "ic_main.close"].set_index("period")["value"].loc[:"2023-11-24"]
    assert now.tier.adv == pytest.approx(6e9)
    assert now.hedge.adv == pytest.approx(40_000 * 200 * closes.iloc[-20:].mean())
    assert now.hedge.sigma == pytest.approx(np.log(closes).diff().iloc[-60:].std())
    assert now.discount == pytest.approx(0.04)
    assert view.settings["storm"].tier.sigma >= now.tier.sigma
    assert view.table is not None
    expected = unwind_grid(view.scene.sizes, (2.0, 3.0, 4.0), (-0.05, -0.08, -0.125), now)
    shown = view.table[view.table["depth"] == "now"].drop(columns="depth")
    pd.testing.assert_frame_equal(shown, expected)
    assert len(view.table) == 2 * len(expected)


def test_nothing_later_is_read() -> None:
    observations = _observations()
    later = observations["known_at"] > pd.Timestamp("2023-11-24 07:30")
    assert later.any()
    shaken = observations.assign(value=observations["value"].where(~later, 12345.0))
    one, two = (unwind_views(MARKET, each, DAY)[0] for each in (observations, shaken))
    assert one.settings == two.settings
    # Positive control: the day itself counts.
    same = observations["period"] == pd.Timestamp(DAY)
    other = unwind_views(MARKET, observations.assign(value=observations["value"].where(~same, 5000.0)), DAY)[0]
    assert other.settings != one.settings


def test_a_scene_without_its_inputs_says_which() -> None:
    views = unwind_views(MARKET, _observations(), DAY)
    assert views[1].table is None
    assert "cni2000.close must be known on 61 session(s)" in views[1].reason


def test_a_stale_input_is_no_input() -> None:
    observations = _observations()
    old = observations[(observations["series"] != "basis_ic") | (observations["period"] < pd.Timestamp("2023-11-01"))]
    (view, _) = unwind_views(MARKET, old, DAY)
    assert view.table is None
    assert "basis_ic" in view.reason


def test_a_market_without_a_plan_has_no_views() -> None:
    assert unwind_views(load_market("us"), _observations(), np.datetime64("2023-11-24", "us")) == ()


def test_unknown_series_are_refused() -> None:
    with pytest.raises(DataContractError, match="`series` must be declared"):
        series_as_of(MARKET, _observations(), DAY, ["nothing"])


def test_a_dead_series_is_not_fresh() -> None:
    values = pd.Series([1.0], index=pd.DatetimeIndex(["2024-08-16"]), name="northbound_net_flow")
    assert is_fresh(MARKET, values, np.datetime64("2024-08-16", "us"))
    assert not is_fresh(MARKET, values, np.datetime64("2024-08-20", "us"))
