"""The record: nothing from few weeks, the score tables' own numbers from enough, live and backfilled apart."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from features.contracts import EVENTS
from features.errors import DataContractError
from training.live_record import RIVALS, live_record, needed_weeks
from training.score_tables import POOLED, score_table

FIRST = np.datetime64("2015-01-02", "us")


def calls(weeks: int, *, backfilled: bool = False, seed: int = 0, edge: float = 1.0) -> pd.DataFrame:
    """Two pairs, both horizons; the call knows the true probability as far as `edge` says."""
    rng = np.random.default_rng(seed)
    rows = pd.DataFrame(
        [
            {"pair": pair, "decision_date": FIRST + week * np.timedelta64(7, "D"), "horizon_weeks": horizon}
            for week in range(weeks)
            for pair in ("a-b", "a-c")
            for horizon in (1, 4)
        ]
    ).assign(backfilled=backfilled)
    for event in EVENTS:
        true = rng.uniform(0.1, 0.9, len(rows))
        rows[f"p_{event}"], rows[f"p_{event}_base"] = 0.5 + edge * (true - 0.5), 0.5
        rows[f"y_{event}"] = (rng.random(len(rows)) < true).astype(float)
    return rows


def baseline(rows: pd.DataFrame, p: float) -> pd.DataFrame:
    """A rival that always says the same."""
    index = pd.MultiIndex.from_frame(rows[["pair", "decision_date", "horizon_weeks"]])
    return pd.DataFrame({f"p_{event}": p for event in EVENTS}, index=index)


def picked(record: pd.DataFrame, kind: str, horizon: int, event: str) -> pd.Series:
    row = record[(record["kind"] == kind) & (record["horizon_weeks"] == horizon) & (record["event"] == event)]
    assert len(row) == 1
    return row.iloc[0]


def test_needs_a_year_and_outcomes_that_do_not_overlap() -> None:
    assert needed_weeks(1) == 52
    assert needed_weeks(4) == 104


@pytest.mark.parametrize(("weeks", "told"), [(0, set()), (51, set()), (52, {1}), (103, {1}), (104, {1, 4})])
def test_few_weeks_say_nothing(weeks: int, told: set[int]) -> None:
    rows = calls(max(weeks, 1)).head(4 * weeks)
    record = live_record(rows, {"persistence": baseline(rows, 0.5), "momentum": baseline(rows, 0.5)})
    assert len(record) == 12
    for _, row in record.iterrows():
        numbers = row[
            ["base_rate", "noise_floor", *(f"{rival}_{part}" for rival in RIVALS for part in ("skill", "low"))]
        ]
        expected = row["kind"] == "live" and row["horizon_weeks"] in told
        assert numbers.notna().all() == expected
        assert numbers.isna().all() == (not expected)
        assert row["n_weeks"] == (weeks if row["kind"] == "live" else 0)
        assert row["n"] == 2 * row["n_weeks"]


def test_against_climatology_it_is_the_score_table() -> None:
    rows = calls(120)
    record, table = live_record(rows, {}), score_table(rows)
    for horizon in (1, 4):
        for event in EVENTS:
            own = picked(record, "live", horizon, event)
            of_pool = (table["pair"] == POOLED) & (table["event"] == event) & (table["horizon_weeks"] == horizon)
            [scores] = table[of_pool].to_dict("records")
            for mine, theirs in (
                ("climatology_skill", "skill_log_loss"), ("climatology_low", "skill_low"),
                ("climatology_high", "skill_high"), ("noise_floor", "noise_floor"), ("base_rate", "base_rate"),
            ):  # fmt: skip
                assert own[mine] == scores[theirs]
            assert np.isnan(own["persistence_skill"])
            assert np.isnan(own["momentum_skill"])


def test_against_each_rival_on_its_rows() -> None:
    rows = calls(300)
    poor = baseline(rows, 0.9)
    # Momentum says what the call says, on half of the rows.
    same = baseline(rows, 0.5)
    same[:] = rows[[f"p_{event}" for event in EVENTS]].to_numpy()
    same.iloc[: len(same) // 2] = np.nan
    own = picked(live_record(rows, {"persistence": poor, "momentum": same}), "live", 1, "switch")
    assert own["persistence_skill"] > own["climatology_skill"] > 0
    assert own["persistence_low"] > 0
    assert own["momentum_skill"] == own["momentum_low"] == own["momentum_high"] == 0
    # A rival with too few rows is not compared with.
    same.iloc[:-40] = np.nan
    few = picked(live_record(rows, {"momentum": same}), "live", 1, "switch")
    assert np.isnan(few["momentum_skill"])
    assert few["climatology_skill"] == own["climatology_skill"]


def test_live_and_backfilled_never_mix() -> None:
    live, late = calls(60, edge=1.0), calls(60, backfilled=True, edge=-1.0, seed=1)
    record = live_record(pd.concat([late, live], ignore_index=True), {})
    assert picked(record, "live", 1, "large")["climatology_skill"] > 0
    assert picked(record, "backfilled", 1, "large")["climatology_skill"] < 0
    alone = picked(live_record(live, {}), "live", 1, "large")
    assert picked(record, "live", 1, "large").equals(alone)


def test_open_and_abstaining_calls_do_not_count() -> None:
    rows = calls(60)
    rows.loc[rows["decision_date"] == FIRST, "y_large"] = np.nan
    rows.loc[rows["decision_date"] == FIRST, "p_crash"] = np.nan
    record = live_record(rows, {})
    assert picked(record, "live", 1, "large")["n_weeks"] == 59
    assert picked(record, "live", 1, "crash")["n_weeks"] == 59
    assert picked(record, "live", 1, "switch")["n_weeks"] == 60


def test_a_call_that_is_there_twice() -> None:
    rows = calls(60)
    with pytest.raises(DataContractError, match="score the first ones only") as caught:
        live_record(pd.concat([rows, rows.head(1)], ignore_index=True), {})
    assert caught.value.rows is not None
    assert len(caught.value.rows) == 2
