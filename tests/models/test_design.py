"""The design matrix: orientation, composites, missing inputs, and parts that add up."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.contracts import EVENTS, Event, FeatureInfo, FloatArray, IntArray
from features.errors import BundleError
from models.design import (
    STYLE_FEATURE,
    Design,
    Scaler,
    build_design,
    build_layout,
    live_features,
    training_weights,
)
from tests import small


def info(name: str, family: str = "macro", sign: int = 0, tail: int = 0) -> FeatureInfo:
    return FeatureInfo(name, family, "market", sign, tail, "z", "real", "why")  # type: ignore[arg-type]


CATALOGUE = (
    info("growth", "macro", sign=-1, tail=1),
    info("money", "macro", sign=1),
    info("strain", "crowding", tail=1),
    info("odd", "rates"),
    info("distance", "style"),
    info("vol_ratio", "style"),
    info("style_momentum_4w", "style"),
)
NAMES = [row.name for row in CATALOGUE]
IDENTITY = Scaler(dict.fromkeys(NAMES, 0.0), dict.fromkeys(NAMES, 1.0), 3.0)


def panel(n: int, seed: int = 0) -> pd.DataFrame:
    index = pd.MultiIndex.from_product(
        [["a-b"], pd.date_range("2001-01-05", periods=n, freq="7D", unit="us")], names=["pair", "decision_date"]
    )
    return pd.DataFrame(np.random.default_rng(seed).normal(size=(n, len(NAMES))), index=index, columns=NAMES)


def column(design: Design, name: str) -> FloatArray:
    return design.columns[:, design.layout.columns.index(name)]


def built(event: Event, values: pd.DataFrame, style: int | IntArray = 1, scaler: Scaler = IDENTITY) -> Design:
    return build_design(
        build_layout(event, CATALOGUE), scaler, values, np.broadcast_to(style, len(values)).astype(np.int64)
    )


# Columns speak for the event when positive; `growth` helps large caps, `money` helps small ones.
@pytest.mark.parametrize(
    ("event", "style", "growth", "money"),
    [
        ("large", 1, 1, -1), ("large", -1, 1, -1),
        ("crash", 1, 1, -1), ("crash", -1, 1, -1),
        ("switch", 1, 1, -1), ("switch", -1, -1, 1),
    ],
)  # fmt: skip
def test_direction_composites_speak_for_the_event(event: Event, style: int, growth: int, money: int) -> None:
    values = panel(5)
    expected = (growth * values["growth"] + money * values["money"]) / np.sqrt(2)
    np.testing.assert_allclose(column(built(event, values.clip(-3, 3), style), "macro_direction"), expected.clip(-9, 9))


@pytest.mark.parametrize("style", [1, -1])
@pytest.mark.parametrize("event", ["switch", "crash"])
def test_tail_composites_ignore_the_style(event: Event, style: int) -> None:
    values = panel(5).clip(-3, 3)
    np.testing.assert_allclose(column(built(event, values, style), "macro_tail"), values["growth"])
    np.testing.assert_allclose(column(built(event, values, style), "crowding_tail"), values["strain"])


def test_direction_head_has_no_tail_composite() -> None:
    layout = build_layout("large", CATALOGUE)
    assert not any(name.endswith("_tail") for name in layout.columns)
    assert "strain" in layout.columns[layout.signed :]


@pytest.mark.parametrize("style", [1, -1])
def test_states_of_the_style_in_force_are_turned_where_the_event_does_not_depend_on_it(style: int) -> None:
    values = panel(5).clip(-3, 3)
    for event, turned in (("switch", False), ("large", True), ("crash", True)):
        design = built(event, values, style)  # type: ignore[arg-type]
        factor = style if turned else 1
        for state in ("distance", "style_momentum_4w"):
            np.testing.assert_allclose(column(design, state), factor * values[state])
        np.testing.assert_allclose(column(design, STYLE_FEATURE), style)


def test_each_row_is_turned_by_its_own_style() -> None:
    values, style = panel(6).clip(-3, 3), np.array([1, -1, 1, -1, -1, 1])
    together = built("switch", values, style).columns
    for row in range(6):
        alone = built("switch", values.iloc[[row]], int(style[row])).columns[0]
        assert np.array_equal(together[row], alone)


def test_a_feature_of_conflicting_sign_is_left_to_the_trees() -> None:
    for event in EVENTS:
        layout = build_layout(event, CATALOGUE)
        assert layout.columns.index("odd") >= layout.signed
        assert all(layout.columns.index(name) < layout.signed for name in ("macro_direction", "distance"))


@pytest.mark.parametrize("event", EVENTS)
def test_every_feature_has_a_place_and_members_come_column_by_column(event: Event) -> None:
    for catalogue in (CATALOGUE, small.dataset().features):
        layout = build_layout(event, catalogue)
        used = {member.feature for member in layout.members}
        assert used == {row.name for row in catalogue} | {STYLE_FEATURE}
        order = [member.column for member in layout.members]
        assert order == sorted(order)
        assert set(order) == set(range(len(layout.columns)))
        assert len(set(layout.columns)) == len(layout.columns)


def test_a_composite_is_scaled_by_what_is_live() -> None:
    values = panel(3).clip(-3, 3)
    values.iloc[1, values.columns.get_loc("growth")] = np.nan  # type: ignore[index]
    values.iloc[2, [0, 1]] = np.nan
    design = built("large", values)
    both, one, none = column(design, "macro_direction")
    assert both == pytest.approx((values["growth"].iloc[0] - values["money"].iloc[0]) / np.sqrt(2))
    assert one == pytest.approx(-values["money"].iloc[1])
    assert np.isnan(none)


def test_an_absent_family_leaves_its_column_missing_not_zero() -> None:
    values = panel(4)
    values["strain"] = np.nan
    assert np.isnan(column(built("crash", values), "crowding_tail")).all()
    assert (
        built("crash", values).parts[:, [m.feature == "strain" for m in built("crash", values).layout.members]] == 0
    ).all()


def test_a_feature_without_a_scale_is_missing() -> None:
    scaler = Scaler({"money": 0.0}, {"money": 1.0}, 3.0)
    design = built("large", panel(3), scaler=scaler)
    assert np.isnan(column(design, "odd")).all()
    assert np.isfinite(column(design, "macro_direction")).all()


def test_values_are_standardised_and_winsorised() -> None:
    values = panel(3)
    values["odd"] = [10.0, 14.0, 400.0]
    scaler = Scaler({"odd": 10.0}, {"odd": 2.0}, 3.0)
    assert column(built("large", values, scaler=scaler), "odd").tolist() == [0.0, 2.0, 3.0]
    values["odd"] *= -1
    assert column(built("large", values, scaler=scaler), "odd").tolist() == [-3.0, -3.0, -3.0]


@given(
    seed=st.integers(0, 10_000), gone=st.lists(st.tuples(st.integers(0, 4), st.integers(0, 6)), max_size=20),
)  # fmt: skip
def test_parts_sum_to_columns(seed: int, gone: list[tuple[int, int]]) -> None:
    values = panel(5, seed)
    for row, place in gone:
        values.iloc[row, place] = np.nan
    for event in EVENTS:
        design = built(event, values, np.where(np.arange(5) % 2, 1, -1))
        for place in range(len(design.layout.columns)):
            members = [i for i, member in enumerate(design.layout.members) if member.column == place]
            total = design.parts[:, members].sum(axis=1)
            np.testing.assert_allclose(total, np.nan_to_num(design.columns[:, place], nan=0.0), atol=1e-12)
        assert np.isfinite(design.parts).all()


@pytest.mark.parametrize("event", EVENTS)
def test_column_order_of_the_panel_is_irrelevant_and_inputs_stay(event: Event) -> None:
    values = small.dataset().values.iloc[-50:]
    scaler = Scaler.fit(small.dataset().values, 3.0)
    layout = build_layout(event, small.dataset().features)
    style = np.where(np.arange(50) % 3, 1, -1)
    kept = values.copy()
    design = build_design(layout, scaler, values, style)
    shuffled = build_design(layout, scaler, values[values.columns[::-1]], style)
    np.testing.assert_array_equal(design.columns, shuffled.columns)
    np.testing.assert_array_equal(design.parts, shuffled.parts)
    pd.testing.assert_frame_equal(values, kept, check_exact=True)
    assert design.columns.shape == (50, len(layout.columns))


def test_a_panel_of_another_catalogue_is_refused() -> None:
    with pytest.raises(BundleError, match="lacks money, odd") as raised:
        built("large", panel(3).drop(columns=["money", "odd"]))
    assert raised.value.exit_code == 4


def test_a_catalogue_without_states_or_signs_still_has_a_design() -> None:
    catalogue = (info("odd", "rates"),)
    for event in EVENTS:
        layout = build_layout(event, catalogue)
        assert layout.columns == (STYLE_FEATURE, "odd")
        design = build_design(layout, Scaler({"odd": 0.0}, {"odd": 1.0}, 3.0), panel(2)[["odd"]], np.array([1, -1]))
        assert design.columns[:, 0].tolist() == [1.0, -1.0]


def test_the_scaler_learns_mean_and_deviation() -> None:
    values = panel(80)
    scaler = Scaler.fit(values, 3.0)
    for name in NAMES:
        assert scaler.mean[name] == pytest.approx(values[name].mean())
        assert scaler.std[name] == pytest.approx(values[name].std(ddof=1))


def test_the_scaler_leaves_out_what_is_young_or_never_moves() -> None:
    values = panel(80)
    values.iloc[:29, 0] = np.nan
    values.iloc[:28, 1] = np.nan
    values["odd"] = 3.0
    scaler = Scaler.fit(values, 3.0)
    assert set(NAMES) - set(scaler.mean) == {"growth", "odd"}
    assert set(scaler.mean) == set(scaler.std)


def test_a_week_counts_once_however_many_pairs_show_a_feature() -> None:
    one = panel(30)
    values = pd.concat([one.rename(index={"a-b": name}, level="pair") for name in "wxyz"])
    assert len(values) == 120
    assert live_features(values) == []
    later = one.copy()
    later.index = pd.MultiIndex.from_arrays(
        [["v"] * 30, one.index.get_level_values(1) + pd.Timedelta(weeks=22)], names=["pair", "decision_date"]
    )
    assert live_features(pd.concat([values, later])) == NAMES


def test_training_weights_by_overlap_pairs_and_age() -> None:
    days = np.array(["2020-01-03", "2020-01-03", "2020-01-03", "2020-01-03", "2012-01-03"], "datetime64[us]")
    cut = np.datetime64("2020-01-03", "us")
    weight = training_weights(days, 4, cut, 8.0)
    np.testing.assert_allclose(weight[:4], 1 / (4 * 2))
    assert weight[4] == pytest.approx(0.5 / 4, rel=1e-3)
    np.testing.assert_allclose(training_weights(days, 1, cut, 8.0), 4 * weight)
    assert np.all(np.diff(training_weights(np.sort(days), 1, cut, 1.0)[:2]) > 0)
