"""Two studies on common rows: the differences by hand, and what must not enter them."""

from __future__ import annotations

from datetime import date

import numpy as np
import pandas as pd
import pytest

from features.contracts import EVENTS
from tests.training.gate_toy import told, world
from training.compare import diebold_mariano
from training.run_differences import loss_differences
from training.score_tables import POOLED
from training.scores import log_loss


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    return world(3, 0.4, weeks=200)


def line(table: pd.DataFrame, event: str, horizon: int, pair: str = POOLED) -> pd.Series:
    chosen = table[(table["event"] == event) & (table["horizon_weeks"] == horizon) & (table["pair"] == pair)]
    return chosen.iloc[0]


def test_by_hand(rows: pd.DataFrame) -> None:
    first, second = told(rows, 0.3, 0.1), told(rows, 0.9)
    found = line(loss_differences(first, second, None), "crash", 4, "a-c")
    kept = (rows["pair"] == "a-c") & (rows["horizon_weeks"] == 4)
    y, dates = rows.loc[kept, "y_crash"].to_numpy(), rows.loc[kept, "decision_date"].to_numpy("datetime64[us]")
    ours, theirs = (log_loss(one.loc[kept, "p_crash"].to_numpy(), y) for one in (first, second))
    dm = diebold_mariano(theirs, ours, dates, 4)
    assert found["difference"] == pytest.approx(float((theirs - ours).mean()))
    assert (found["low"], found["high"], found["p_value"]) == pytest.approx((dm.low, dm.high, dm.p_value))
    assert (found["n"], found["n_dates"], found["n_revised"]) == (200, 200, 0)


def test_swapping_turns_the_sign(rows: pd.DataFrame) -> None:
    first, second = told(rows, 0.3, 0.1), told(rows, 0.9)
    one, other = loss_differences(first, second, None), loss_differences(second, first, None)
    np.testing.assert_allclose(one["difference"], -other["difference"], atol=1e-15)
    np.testing.assert_allclose(one["low"], -other["high"], atol=1e-15)
    np.testing.assert_allclose(one["p_value"], other["p_value"])


def test_only_common_rows_that_may_be_looked_at(rows: pd.DataFrame) -> None:
    first, second = told(rows, 0.3), told(rows, 0.9)
    until = date(2009, 6, 26)
    shown = rows["decision_date"] <= pd.Timestamp(until)
    spoiled = second.copy()
    spoiled.loc[~shown, [f"p_{event}" for event in EVENTS]] = 1e-6
    pd.testing.assert_frame_equal(loss_differences(first, spoiled, until), loss_differences(first, second, until))
    assert line(loss_differences(first, second, until), "switch", 1)["n"] == int(
        (shown & (rows["horizon_weeks"] == 1)).sum()
    )
    # Rows that one of them lacks, or abstains from, are no common rows.
    fewer = second[second["pair"] == "a-b"].copy()
    fewer.loc[fewer.index[:5], "p_large"] = np.nan
    table = loss_differences(first, fewer, None)
    assert line(table, "large", 1)["n"] == 195
    assert line(table, "crash", 1)["n"] == 200
    assert line(table, "crash", 1, "a-c")["n"] == 0


def test_revised_outcomes_are_left_out_and_counted(rows: pd.DataFrame) -> None:
    first, second = told(rows, 0.3), told(rows, 0.9)
    week = (second["pair"] == "a-b") & (second["horizon_weeks"] == 4)
    revised = second.index[week][10:17]
    second.loc[revised, "y_switch"] = 1 - second.loc[revised, "y_switch"]
    found = line(loss_differences(first, second, None), "switch", 4)
    assert (found["n"], found["n_revised"]) == (393, 7)


def test_equal_forecasts_differ_by_nothing(rows: pd.DataFrame) -> None:
    table = loss_differences(told(rows), told(rows), None)
    assert (table["difference"] == 0).all()
    assert (table["p_value"] == 1).all()
