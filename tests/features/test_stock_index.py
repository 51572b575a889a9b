"""Indices by hand, against groupby and apply, and that nothing of the day itself decides what is held over it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.errors import DataContractError
from features.stock_index import IndexRule, Rebalance, StockIndex, build_index
from features.stock_limits import at_limit
from features.stock_panel import StockPanel, read_stocks
from features.stock_selection import Selection
from tests.bench.stocks import naive_index
from tests.features.stocks_toy import RULES, days, panel_of, rows_of, save

NAN = np.nan
SMALLEST_2 = Selection.parse("smallest:2")
Build = Callable[[StockPanel], StockIndex]


def held(result: StockIndex) -> list[tuple[str, list[str], list[float]]]:
    """Date, codes (last digit) and weights of each rebalance."""
    return [
        (f"{date:%m-%d}", [code[-1] for code in rows["code"]], [round(w, 6) for w in rows["weight"]])
        for date, rows in result.members.groupby("date")
    ]


class TestSelection:
    @pytest.mark.parametrize(
        ("text", "chosen"),
        [("smallest:2", "bd"), ("largest:2", "ac"), ("band:2-3", "ad"), ("band:4-4", "b"), ("largest:9", "abcd")],
    )
    def test_ranks(self, text: str, chosen: str) -> None:
        cap = np.array([3, 1, 9, 2, NAN], dtype=np.float32)
        got = Selection.parse(text).of(cap, np.isfinite(cap))
        assert "".join(np.array(list("abcde"))[got]) == chosen
        assert str(Selection.parse(text)) == text.replace("band:4-4", "band:4-4")

    def test_of_equal_stocks_the_first_code_is_the_smaller(self) -> None:
        cap = np.array([2, 2, 1, 2], dtype=np.float32)
        assert Selection.parse("smallest:2").of(cap, np.ones(4, np.bool_)).tolist() == [True, False, True, False]
        assert Selection.parse("band:1-2").of(cap, np.ones(4, np.bool_)).tolist() == [False, True, False, True]

    @given(st.lists(st.integers(0, 9), min_size=1, max_size=30), st.integers(1, 30), st.integers(1, 30))
    def test_bands_are_slices_of_the_order(self, values: list[int], one: int, other: int) -> None:
        first, last = sorted((one, other))
        cap = np.array(values, dtype=np.float32)
        order = np.argsort(cap, kind="stable")[::-1]
        got = Selection(first, last).of(cap, np.ones(len(cap), np.bool_))
        assert sorted(np.flatnonzero(got)) == sorted(order[first - 1 : last])

    @pytest.mark.parametrize("text", ["smallest", "smallest:0", "band:5-2", "band:0-2", "tiny:4", "smallest:-1"])
    def test_what_is_no_rule(self, text: str) -> None:
        with pytest.raises(DataContractError, match="must be"):
            Selection.parse(text)


class TestByHand:
    def test_weights_drift_and_the_return_is_theirs(self) -> None:
        panel = panel_of(np.array([[NAN] * 3, [0.1, 0.0, 0.0], [0.1, 0.0, 0.0]]), np.array([1, 2, 3]))
        frame = build_index(panel, RULES, IndexRule(SMALLEST_2)).frame
        np.testing.assert_allclose(frame["gross"][1:], [0.05, 0.1 * 0.55 / 1.05], rtol=1e-6)
        np.testing.assert_allclose(frame["level"], [1000.0, 1050.0, 1105.0], rtol=1e-6)
        assert frame["turnover"].tolist() == [0.0, 0.0, 0.0]

    def test_a_rebalance_pays_for_what_it_trades(self) -> None:
        ret = np.array([[NAN] * 3, [0.08, 0.0, 0.0], [0.0, 0.0, 0.0]])
        panel = panel_of(ret, np.array([[1, 2, 3], [4, 2, 3], [4, 2, 3]]))
        result = build_index(panel, RULES, IndexRule(SMALLEST_2, "daily", cost=0.01), members=True)
        assert held(result) == [("01-05", ["0", "1"], [0.5, 0.5]), ("01-06", ["1", "2"], [0.5, 0.5])]
        # Held 0.54/1.04 and 0.50/1.04: all of the first is sold, the second is topped up.
        sold = 0.54 / 1.04
        assert result.frame["turnover"].iloc[2] == pytest.approx(sold)
        assert result.frame["net"].iloc[2] == pytest.approx(-2 * sold * 0.01)
        assert result.frame["gross"].iloc[2] == 0.0

    def test_market_value_weights(self) -> None:
        panel = panel_of(np.array([[NAN] * 3, [0.1, 0.0, 0.0]]), np.array([1, 3, 9]))
        result = build_index(panel, RULES, IndexRule(SMALLEST_2, weight="cap"), members=True)
        assert held(result) == [("01-05", ["0", "1"], [0.25, 0.75])]

    def test_a_suspended_stock_waits_and_its_return_spans_the_halt(self) -> None:
        ret = np.array([[NAN] * 3, [0.0, NAN, 0.0], [0.02, NAN, 0.0], [0.0, 0.3, 0.0]])
        panel = panel_of(ret, np.array([1, 2, 3]))
        frame = build_index(panel, RULES, IndexRule(SMALLEST_2)).frame
        np.testing.assert_allclose(frame["gross"][1:], [0.0, 0.01, 0.15 / 1.01], rtol=1e-6)
        np.testing.assert_allclose(frame["halted"], [0.0, 0.5, 0.5 / 1.0, 0.0])

    def test_a_suspended_stock_is_neither_bought_nor_sold(self) -> None:
        ret = np.array([[NAN] * 3, [0.0, NAN, 0.0], [0.0, NAN, 0.0], [0.0, 0.2, 0.0]])
        panel = panel_of(ret, np.array([1, 2, 3]))
        free = build_index(panel, RULES, IndexRule(SMALLEST_2, "daily", limits=False), members=True)
        assert [codes for _, codes, _ in held(free)] == [["0", "1"], ["0", "2"], ["0", "2"]]
        stuck = build_index(panel, RULES, IndexRule(SMALLEST_2, "daily"), members=True)
        assert held(stuck)[1] == ("01-06", ["0", "1", "2"], [0.25, 0.5, 0.25])
        assert stuck.frame["gross"].iloc[3] == pytest.approx(0.1)

    def test_limit_up_is_not_bought_and_limit_down_is_not_sold(self) -> None:
        # Stock 0 grows out of the tier on a limit-down day; stock 2 falls into it on a limit-up day.
        ret = np.array([[NAN] * 4, [-0.1, 0.0, 0.1, 0.0], [0.0, 0.0, 0.0, 0.0]])
        cap = np.array([[1, 2, 8, 9], [7, 2, 1, 9], [7, 2, 1, 9]])
        panel = panel_of(ret, cap)
        free = build_index(panel, RULES, IndexRule(SMALLEST_2, "daily", limits=False), members=True)
        assert held(free)[1] == ("01-06", ["1", "2"], [0.5, 0.5])
        bound = build_index(panel, RULES, IndexRule(SMALLEST_2, "daily"), members=True)
        stays = 0.45 / 0.95
        assert held(bound)[1] == ("01-06", ["0", "1"], [round(stays, 6), round(1 - stays, 6)])

    def test_where_nothing_can_be_bought_the_rest_is_cash(self) -> None:
        ret = np.array([[0.1, 0.1, 0.0], [0.1, 0.0, 0.0]])
        result = build_index(panel_of(ret, np.array([1, 2, 3])), RULES, IndexRule(SMALLEST_2), members=True)
        assert result.members.empty
        assert result.frame["gross"].iloc[1] == 0.0

    def test_special_treatment_and_new_stocks_stay_out(self) -> None:
        panel = panel_of(np.zeros((4, 4)), np.array([1, 2, 3, 4]), earlier=np.array([9, 9, 0, 9], np.int32))
        panel.st[:2, 0] = True
        rules = RULES.model_copy(update={"seasoning": 3})
        result = build_index(panel, rules, IndexRule(SMALLEST_2, "daily", limits=False), members=True)
        assert [codes for _, codes, _ in held(result)] == [["1", "3"], ["1", "3"], ["0", "1"]]

    def test_it_starts_when_the_band_is_full(self) -> None:
        ret = np.zeros((4, 3))
        ret[:2, 2] = NAN
        traded = np.ones((4, 3), np.bool_)
        traded[:2, 2] = False
        panel = panel_of(ret, np.array([1, 2, 3]), traded=traded)
        frame = build_index(panel, RULES, IndexRule(Selection.parse("band:2-3"), "daily")).frame
        assert frame["date"].iloc[0] == pd.Timestamp(days(4)[2])

    def test_a_rebalance_that_finds_nobody_is_left_out(self) -> None:
        panel = panel_of(np.full((4, 3), 0.01), np.array([1, 2, 3]))
        panel.st[1] = True
        result = build_index(panel, RULES, IndexRule(SMALLEST_2, "daily"), members=True)
        np.testing.assert_allclose(result.frame["gross"][1:], 0.01, rtol=1e-6)
        assert result.frame["turnover"].sum() == pytest.approx(0.0, abs=1e-12)

    @pytest.mark.parametrize(
        ("rebalance", "starts"),
        [
            ("daily", 519), ("monthly", 24), ("quarterly", 8), ("half-yearly", 4), ("yearly", 2),
        ],
    )  # fmt: skip
    def test_when_members_change(self, rebalance: Rebalance, starts: int) -> None:
        panel = panel_of(np.zeros((520, 3)), np.array([1, 2, 3]))
        dates = build_index(panel, RULES, IndexRule(SMALLEST_2, rebalance), members=True).members["date"].unique()
        assert len(dates) == starts
        if rebalance == "half-yearly":
            assert {date.month for date in dates} == {1, 7}


class TestRefuses:
    def test_bad_rules(self) -> None:
        for other, words in (
            ({"rebalance": "hourly"}, "`rebalance` must be one of daily"),
            ({"weight": "price"}, "`weight` must be one of equal, cap"),
            ({"cost": 0.7}, "`cost` must be a fraction"),
            ({"cost": NAN}, "`cost` must be a fraction"),
        ):
            with pytest.raises(DataContractError, match=words):
                IndexRule(SMALLEST_2, **other)

    def test_no_shares_and_too_few_stocks(self) -> None:
        panel = panel_of(np.zeros((3, 3)), np.array([1, 2, 3]))
        with pytest.raises(DataContractError, match="needs 9 stocks; at most 3"):
            build_index(panel, RULES, IndexRule(Selection.parse("smallest:9")))
        with pytest.raises(DataContractError, match="needs shares"):
            build_index(replace(panel, cap=np.full_like(panel.cap, NAN)), RULES, IndexRule(SMALLEST_2))

    def test_returns_in_quarantine_that_it_cannot_do_without(self) -> None:
        ret = np.zeros((3, 40))
        ret[1, 3] = NAN
        traded = np.ones((3, 40), np.bool_)
        few = build_index(panel_of(ret, np.arange(40) + 1, traded=traded), RULES, IndexRule(Selection(1, 40)))
        assert few.frame["unknown"].tolist() == [0.0, 1 / 40, 0.0]
        ret[1, 3:7] = NAN
        with pytest.raises(DataContractError, match=r"10% of the index .* 2021-01-05") as caught:
            build_index(panel_of(ret, np.arange(40) + 1, traded=traded), RULES, IndexRule(Selection(1, 40)))
        assert caught.value.rows is not None
        assert caught.value.rows["code"].tolist() == ["600003", "600004", "600005", "600006"]


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> StockPanel:
    return read_stocks(save(rows_of(3, 105, 40), tmp_path_factory.mktemp("stocks")))


@pytest.mark.parametrize("rebalance", ["daily", "monthly", "half-yearly"])
@pytest.mark.parametrize("seasoning", [1, 12])
def test_it_is_what_groupby_and_apply_give(tmp_path: Path, rebalance: Rebalance, seasoning: int) -> None:
    # Two years' ends lie in the longer one; the peer needs long for every day.
    rows = rows_of(5, 40 if rebalance == "daily" else 290, 30)
    expected = naive_index(rows, 8, rebalance, seasoning)
    rules = RULES.model_copy(update={"seasoning": seasoning})
    got = build_index(
        read_stocks(save(rows, tmp_path)), rules, IndexRule(Selection(1, 8, True), rebalance, limits=False)
    )
    frame = got.frame.set_index("date")["gross"].iloc[1:]
    np.testing.assert_allclose(frame, expected.reindex(frame.index), atol=1e-6)


@pytest.mark.parametrize("weight", ["equal", "cap"])
def test_nothing_is_traded_that_cannot_be(drawn: StockPanel, weight: str) -> None:
    rule = IndexRule(Selection(1, 15, True), "daily", weight)  # type: ignore[arg-type]
    result = build_index(drawn, RULES, rule, members=True)
    after = result.members.pivot_table(index="date", columns="code", values="weight").reindex(columns=drawn.codes)
    after = after.fillna(0.0).to_numpy(np.float64)
    assert np.abs(after.sum(axis=1) - 1.0).max() < 1e-12
    rows = np.arange(len(drawn.dates))
    up, down = at_limit(drawn, RULES, rows, drawn.age())
    assert up.sum() > 30
    moves = np.nan_to_num(drawn.ret.astype(np.float64))
    first = len(drawn.dates) - len(after) - 1
    sticky = 0
    for number in range(1, len(after)):
        close = first + number
        drifted = after[number - 1] * (1 + moves[close])
        drifted /= drifted.sum()
        change = after[number] - drifted
        halted = ~drawn.traded[close]
        assert change[up[close] | halted].max(initial=0.0) < 1e-12
        assert change[down[close] | halted].min(initial=0.0) > -1e-12
        turnover = result.frame["turnover"].iloc[number + 1]
        assert turnover == pytest.approx(np.abs(change).sum() / 2, abs=1e-12)
        sticky += int((after[number] > 0).sum() > 15)
    assert sticky > 20, "the limits must bind somewhere"


@settings(max_examples=10)
@given(seed=st.integers(0, 10**6), count=st.integers(1, 20), limits=st.booleans())
def test_the_order_of_codes_does_not_matter(drawn: StockPanel, seed: int, count: int, limits: bool) -> None:
    # Market values are made distinct: ties go by position.
    cap = drawn.cap * np.linspace(1, 1.01, len(drawn.codes), dtype=np.float32)
    order = np.random.default_rng(seed).permutation(len(drawn.codes))
    one = replace(drawn, cap=cap)
    columns = {name: getattr(one, name)[:, order] for name in ("ret", "cap", "st", "traded", "close")}
    earlier = None if one.earlier is None else one.earlier[order]
    other = replace(one, codes=one.codes[order], listed=one.listed[order], earlier=earlier, **columns)
    rule = IndexRule(Selection(1, count, True), "monthly", limits=limits)
    levels = [build_index(panel, RULES, rule).frame["level"] for panel in (one, other)]
    np.testing.assert_allclose(*levels, rtol=1e-10)


def test_costs_only_ever_cost_and_nothing_comes_in_changed(drawn: StockPanel) -> None:
    copy = {name: getattr(drawn, name).copy() for name in ("ret", "cap", "st", "traded", "close")}
    levels = [
        build_index(drawn, RULES, IndexRule(Selection(1, 15, True), cost=cost)).frame["level"] for cost in (0, 0.01)
    ]
    assert (levels[1] <= levels[0]).all()
    assert levels[1].iloc[-1] < levels[0].iloc[-1]
    for name, before in copy.items():
        np.testing.assert_array_equal(getattr(drawn, name), before)


# ----------------------------------------------------------------------------------------------------------- look-ahead
def clean(rebalance: Rebalance) -> Build:
    return lambda panel: build_index(panel, RULES, IndexRule(Selection(1, 15, True), rebalance))


def todays(name: str, rebalance: Rebalance = "daily") -> Build:
    """A leak: what is held over a day is chosen with that day's market value or flag."""

    def build(panel: StockPanel) -> StockIndex:
        values = getattr(panel, name)
        return clean(rebalance)(replace(panel, **{name: np.vstack([values[1:], values[-1:]])}))

    return build


def first_change(panel: StockPanel, build: Build) -> str | None:
    """Say how an index reacts to what it cannot know: None if it does not.

    At each of many cuts, rows after the cut are taken away, then everything but the returns of the day after it is
    drawn anew: what was held over that day, and hence its return, must stay.
    """
    whole = build(panel).frame.set_index("date")
    start = int(np.searchsorted(panel.dates, whole.index[0].to_datetime64()))
    rng = np.random.default_rng(0)
    for row in range(start + 5, len(panel.dates) - 1, 3):
        part = build(panel.between(until=panel.dates[row])).frame.set_index("date")
        if not part.equals(whole.loc[: part.index[-1]]):
            return f"rows after {row} change the index up to it"
        later = slice(row + 1, None)
        changed = {name: getattr(panel, name).copy() for name in ("cap", "st", "close")}
        changed["cap"][later] = rng.permuted(changed["cap"][later], axis=1)
        changed["st"][later] = rng.random(changed["st"][later].shape) < 0.3
        changed["close"][later] *= rng.uniform(0.5, 2.0, changed["close"][later].shape).astype(np.float32)
        scrambled = build(replace(panel, **changed)).frame.set_index("date")
        day = pd.Timestamp(panel.dates[row + 1])
        if not scrambled.loc[:day].equals(whole.loc[:day]):
            return f"market values or flags of {row + 1} decide what is held over it"
    return None


@pytest.mark.parametrize("rebalance", ["daily", "monthly"])
def test_members_are_those_of_the_close_before(drawn: StockPanel, rebalance: Rebalance) -> None:
    assert (len(drawn.dates) - 6) // 3 >= 30, "the number of cuts"
    assert first_change(drawn, clean(rebalance)) is None


@pytest.mark.parametrize("name", ["cap", "st"])
def test_a_planted_leak_is_caught(drawn: StockPanel, name: str) -> None:
    assert first_change(drawn, todays(name)) is not None
