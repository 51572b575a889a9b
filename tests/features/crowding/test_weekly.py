"""The weekly run: truncation with a planted leak, increments, order of codes, and a naive twin in pandas."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from features.contracts import TimeArray
from features.crowding import weekly
from features.crowding.members import DecileArray, size_deciles
from features.crowding.settings import CrowdSettings
from features.crowding.weekly import MEASURES, crowd_measures
from features.errors import DataContractError
from features.stock_panel import StockPanel
from tests.features.crowding.naive_weekly import naive_measures
from tests.features.crowding.toy_stocks import QUICK, cut, fridays, shuffled, toy_panel


def run(panel: StockPanel, decisions: TimeArray | None = None, after: np.datetime64 | None = None) -> pd.DataFrame:
    return crowd_measures(panel, fridays(panel) if decisions is None else decisions, QUICK, after=after)


def test_every_measure_lives_once_its_window_is_full() -> None:
    panel = toy_panel(amount=True)
    frame = run(panel)
    assert tuple(frame.columns) == MEASURES
    assert frame.iloc[-10:].notna().all(axis=None)
    assert frame.iloc[:1].isna().all(axis=None)
    assert run(toy_panel())["turnover"].isna().all()


def test_equals_the_straightforward_run_in_pandas() -> None:
    panel = toy_panel(11, days=110, codes=80, amount=True)
    naive = naive_measures(panel, fridays(panel), QUICK, skip=12)
    assert len(naive) == 10
    assert_frame_equal(run(panel).iloc[12:], naive, rtol=1e-4, atol=1e-5)


def test_a_planted_crowd_shows() -> None:
    quiet, loud = (run(toy_panel(4, crowd=crowd)).iloc[-1] for crowd in (0.0, 0.02))
    for name in ("residual_correlation_excess", "absorption_excess", "comomentum"):
        assert loud[name] > quiet[name] + 0.1, name


def leaks(panel: StockPanel, cuts: list[int]) -> int:
    """Count weeks that differ, among the last three before each cut, from the run on all rows."""
    full, weeks = run(panel), fridays(panel)
    wrong = 0
    for row in cuts:
        # A listing still to come has no column yet; that may not matter either.
        held, seen = cut(panel, row), weeks[weeks <= panel.dates[row]]
        short = run(held, seen, after=seen[-4])
        same = np.isclose(short, full.loc[short.index], rtol=1e-6, atol=1e-9, equal_nan=True).all(axis=1)
        wrong += int((~same).sum())
    return wrong


CUTS = list(range(40, 130, 3))


def test_later_rows_change_no_earlier_week() -> None:
    panel = toy_panel(5, days=130, codes=80, amount=True)
    assert len(CUTS) == 30
    assert leaks(panel, CUTS) == 0


def ahead(panel: StockPanel, settings: CrowdSettings) -> DecileArray:
    """The leak to be caught: deciles of a week later."""
    decile = size_deciles(panel, settings)
    return np.concatenate([decile[5:], np.repeat(decile[-1:], 5, axis=0)])


def test_the_audit_sees_a_membership_that_looks_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weekly, "size_deciles", ahead)
    assert leaks(toy_panel(5, days=130, codes=80), CUTS) > 0


def moved_by_the_window(panel: StockPanel) -> list[str]:
    """Name the measures that change when market values and flags after the windows' starts do."""
    end = int(np.searchsorted(panel.dates, fridays(panel)[-1]))
    later = end - QUICK.short_window + 1
    cap, st = panel.cap.copy(), panel.st.copy()
    cap[later:], st[later:] = cap[later:][:, ::-1], ~panel.st[later:] & (np.arange(len(panel.codes)) % 3 == 0)
    one, other = run(panel).iloc[-1], run(replace(panel, cap=cap, st=st)).iloc[-1]
    return [name for name in MEASURES if one[name] != other[name]]


def test_members_are_those_of_the_close_before_the_window(monkeypatch: pytest.MonkeyPatch) -> None:
    """A truncation does not see it where a window takes its members from its own rows; this does."""
    panel = toy_panel(6, amount=True)
    # Daily deciles follow the values of each day before.
    daily = {"serial_correlation", "momentum_gap"}
    assert set(moved_by_the_window(panel)) == daily
    monkeypatch.setattr(weekly, "size_deciles", ahead)
    assert set(moved_by_the_window(panel)) > daily


@pytest.mark.parametrize("back", [1, 2, 9])
def test_new_weeks_alone_equal_the_full_run(back: int, monkeypatch: pytest.MonkeyPatch) -> None:
    panel = toy_panel(7, days=300, amount=True)
    full, weeks = run(panel), []
    last = full.index[-1 - back].to_datetime64()

    class Counting(weekly._Work):
        def week(self, end: int) -> list[float]:
            weeks.append(len(self.panel.dates))
            return super().week(end)

    monkeypatch.setattr(weekly, "_Work", Counting)
    added = run(panel, after=last)
    assert_frame_equal(added, full.iloc[-back:], rtol=1e-12)
    assert len(weeks) == back
    # And no more rows than a year of weeks, the close before and the seasoning need.
    assert max(weeks) <= 5 * (QUICK.weeks + back) + QUICK.seasoning + 2
    assert run(panel, after=full.index[-1].to_datetime64()).empty


def test_order_of_codes_means_nothing() -> None:
    panel = toy_panel(8, amount=True)
    order = np.random.default_rng(1).permutation(len(panel.codes))
    assert_frame_equal(run(shuffled(panel, order)), run(panel), rtol=1e-6)


def test_inputs_are_left_alone() -> None:
    panel = toy_panel(9, amount=True)
    for name in ("ret", "cap", "st", "traded", "amount"):
        getattr(panel, name).setflags(write=False)
    assert_frame_equal(run(panel), run(panel))


def test_decisions_outside_the_panel_have_no_row_and_must_ascend() -> None:
    panel = toy_panel(9)
    days = fridays(panel)
    far = np.append(days, days[-1] + np.timedelta64(700, "D"))
    assert_frame_equal(run(panel, far), run(panel, days))
    with pytest.raises(DataContractError, match="`decisions` must be ascending"):
        run(panel, days[::-1])


def test_progress_counts_weeks() -> None:
    panel, told = toy_panel(9), []
    crowd_measures(panel, fridays(panel), QUICK, progress=lambda done, total: told.append((done, total)))
    assert told[-1] == (len(fridays(panel)), len(fridays(panel)))


def test_a_panel_without_market_values_has_no_measure() -> None:
    panel = toy_panel(9, amount=True)
    assert run(replace(panel, cap=np.full_like(panel.cap, np.nan))).isna().all(axis=None)
