"""Price limits and the checks that rest on them."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import numpy as np
import pytest

from features.errors import DefinitionError
from features.market import load_market
from features.stock_checks import check_stocks
from features.stock_limits import at_limit, limits_of
from features.stock_panel import StockPanel
from features.stock_rules import PriceLimit, StockRules
from tests.features.stocks_toy import RULES, days, panel_of

CN = load_market("cn").stocks
assert CN is not None


def one_move(move: float, code: str = "600000", day: str = "2021-01-04", **other: np.ndarray) -> StockPanel:
    """A stock that moves once, on the third day."""
    ret = np.array([[np.nan], [0.0], [move], [0.0]])
    return panel_of(ret, np.ones(1), codes=np.array([code]), dates=days(4, day), **other)


def checks(panel: StockPanel, rules: StockRules = CN) -> list[tuple[str, str]]:
    found = check_stocks(panel, rules).findings
    return [(row.check, f"{row.period:%m-%d}") for row in found.itertuples() if row.check != "ends_early"]


ST = np.ones((4, 1), dtype=np.bool_)


@pytest.mark.parametrize(
    ("move", "code", "day", "st", "check"),
    [
        (0.10, "600000", "2021-01-04", None, None),
        (-0.1055, "600000", "2021-01-04", None, None),  # limit down on the day a dividend goes off
        (0.12, "600000", "2021-01-04", None, "beyond_limit"),
        (-0.12, "000001", "2021-01-04", None, "beyond_limit"),
        (0.12, "300001", "2020-08-03", None, "beyond_limit"),
        (0.20, "300001", "2020-08-24", None, None),
        (0.22, "300001", "2020-08-24", None, "beyond_limit"),
        (0.20, "688001", "2019-08-05", None, None),
        (0.29, "830001", "2022-08-01", None, None),
        (0.05, "600000", "2021-01-04", ST, None),
        (0.08, "600000", "2021-01-04", ST, "beyond_st_limit"),
        (0.12, "600000", "2021-01-04", ST, "beyond_limit"),
        (0.20, "300001", "2020-08-24", ST, None),
        (0.50, "600000", "2021-01-04", None, "impossible_return"),
        (-1.00, "600000", "2021-01-04", None, "impossible_return"),
        (0.30, "999999", "2021-01-04", None, None),  # a board that the rules do not know
    ],
)
def test_a_return_is_held_against_its_board(
    move: float, code: str, day: str, st: np.ndarray | None, check: str | None
) -> None:
    panel = one_move(move, code, day, **({} if st is None else {"st": st}))
    found = checks(panel)
    assert [name for name, _ in found] == ([] if check is None else [check])
    got = check_stocks(panel, CN).ret[2, 0]
    gone = check in ("beyond_limit", "impossible_return")
    assert np.isnan(got) if gone else got == np.float32(move)
    assert panel.ret[2, 0] == np.float32(move), "the panel that came in stays as it was"


def test_a_new_stock_has_no_limit_until_the_rules_say() -> None:
    new = {"earlier": np.array([0], dtype=np.int32)}
    free_day = panel_of(np.array([[np.nan], [0.44], [0.44]]), np.ones(1), **new)
    # The first row is the listing: the second one is bound on the main board of 2021, and not by registration.
    assert [name for name, _ in checks(free_day)] == ["beyond_limit", "beyond_limit"]
    registered = panel_of(np.array([[np.nan], [0.44], [0.9]]), np.ones(1), dates=days(3, "2023-05-08"), **new)
    assert checks(registered) == []
    lost = panel_of(np.array([[np.nan], [-1.2]]), np.ones(1), dates=days(2, "2023-05-08"), **new)
    assert [name for name, _ in checks(lost)] == ["impossible_return"]


def test_a_return_out_of_a_suspension_spans_it() -> None:
    ret = np.array([[np.nan], [0.01], [np.nan], [0.60], [0.60]])
    assert checks(panel_of(ret, np.ones(1))) == [("impossible_return", "01-08")]


def test_a_row_without_a_return_is_said_and_stays() -> None:
    panel = panel_of(np.array([[np.nan], [np.nan], [0.0]]), np.ones(1), traded=np.ones((3, 1), dtype=np.bool_))
    assert checks(panel) == [("missing_return", "01-05")]


def test_sessions_that_are_none_and_those_that_are_not_there() -> None:
    dates = np.array(["2021-02-09", "2021-02-10", "2021-02-15", "2021-02-19"], "datetime64[us]")
    panel = panel_of(np.zeros((4, 1)), np.ones(1), dates=dates)
    found = check_stocks(panel, CN, "XSHG").findings
    assert [(row.check, f"{row.period:%m-%d}") for row in found.itertuples()] == [
        ("no_session", "02-15"), ("missing_session", "02-18"),
    ]  # fmt: skip


def test_codes_that_vanish_and_sources_in_which_none_does() -> None:
    ret = np.zeros((600, 50))
    full = check_stocks(panel_of(ret, np.ones(50)), RULES).findings
    assert full["check"].tolist() == ["survivors_only"]
    ret[300:, :5] = np.nan
    ret[599:, 7] = np.nan
    some = check_stocks(panel_of(ret, np.ones(50)), RULES).findings
    assert some["check"].tolist() == ["ends_early"] * 6
    assert some["series"].tolist() == ["600000", "600001", "600002", "600003", "600004", "600007"]
    assert some["value"].tolist() == [300.0] * 5 + [1.0]
    assert str(some["period"].iloc[0])[:10] == str(days(600)[299])[:10]


@pytest.mark.parametrize(
    ("last", "close", "st", "up", "down"),
    [
        (2.03, 2.23, False, True, False),  # 2.233 rounds to 2.23
        (2.03, 2.22, False, False, False),
        (2.03, 1.83, False, False, True),  # 1.827 rounds to 1.83
        (2.03, 1.84, False, False, False),
        (10.00, 10.50, True, True, False),
        (10.00, 10.50, False, False, False),
        (10.00, 9.50, True, False, True),
        (0.04, 0.04, False, False, False),  # the limit is less than a tick
        (1543.21, 1697.53, False, True, False),
    ],
)
def test_a_close_at_the_limit_price(last: float, close: float, st: bool, up: bool, down: bool) -> None:
    move = np.round(close / last - 1, 5)
    panel = panel_of(
        np.array([[np.nan], [move]]), np.ones(1), close=np.array([[last], [close]], np.float32), st=np.full((2, 1), st)
    )
    rows = np.array([1])
    got = at_limit(panel, RULES, rows, panel.age()[rows])
    assert (bool(got[0][0, 0]), bool(got[1][0, 0])) == (up, down)


def test_nobody_is_locked_on_the_first_day() -> None:
    panel = panel_of(np.array([[0.0], [0.10]]), np.ones(1))
    rows = np.array([1])
    assert at_limit(panel, RULES, rows, np.array([[2]], np.int32))[0].all()
    assert not at_limit(panel, RULES, rows, np.array([[1]], np.int32))[0].any()


def test_the_last_entry_in_force_counts() -> None:
    panel = panel_of(np.zeros((3, 2)), np.ones(2), codes=np.array(["300001", "600001"]))
    rules = StockRules(
        limits=(
            PriceLimit(limit=0.1),
            PriceLimit(codes=("30",), since=days(3)[1].astype("datetime64[D]").item(), limit=0.2, free_rows=5),
        )
    )
    limit, free = limits_of(panel, rules, *np.nonzero(np.ones((3, 2))))
    np.testing.assert_allclose(limit, [0.1, 0.1, 0.2, 0.1, 0.2, 0.1])
    assert free.tolist() == [0, 0, 5, 0, 5, 0]


def test_a_definition_that_makes_no_sense_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="must not lie below a price limit"):
        StockRules(limits=(PriceLimit(limit=0.3),), impossible=0.2)
    text = (resources.files("features") / "markets" / "cn.toml").read_text(encoding="utf-8")
    path = tmp_path / "other.toml"
    path.write_text(text.replace('"microcap_ths.close"]', '"nothing.close"]'), encoding="utf-8")
    with pytest.raises(DefinitionError, match="stocks names the unknown series"):
        load_market(str(path))
