"""Alarms: thresholds and falls against loops, the budget, causality, and catches by chance."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.contracts import FloatArray
from features.errors import DataContractError
from training.alarm_table import alarm_records, alarm_table
from training.alarms import (
    AlarmRule,
    alarm_threshold,
    caught_falls,
    largest_falls,
    raise_alarms,
    shifted_catches,
)

QUICK = AlarmRule(burn_in=20)


def spells_and_weeks(crossed: list[int], hold: int) -> tuple[int, int]:
    """Alarms and weeks under alarm that these crossings make, week by week."""
    standing = sorted({week + ahead for week in crossed for ahead in range(hold)})
    return sum(week - 1 not in standing for week in standing), len(standing)


def threshold_by_loop(past: FloatArray, hold: int, rule: AlarmRule) -> float:
    budget = max(rule.per_year * len(past) / 52, 1.0)
    order = sorted((week for week in range(len(past)) if np.isfinite(past[week])), key=lambda week: (-past[week], week))
    for count in range(1, len(order) + 1):
        spells, weeks = spells_and_weeks(order[:count], hold)
        if spells > budget or weeks > rule.max_share * len(past):
            return float(past[order[count - 1]])
    return float(past[order[-1]]) if order else np.inf


@settings(max_examples=80)
@given(
    st.lists(st.one_of(st.sampled_from([0.1, 0.2, 0.3]), st.floats(0, 1), st.just(np.nan)), min_size=0, max_size=60),
    st.integers(1, 5), st.integers(1, 6), st.floats(0.05, 1.0),
)  # fmt: skip
def test_threshold_equals_a_loop(past: list[float], hold: int, per_year: int, share: float) -> None:
    rule = AlarmRule(per_year=per_year, max_share=share)
    score = np.array(past, dtype=np.float64)
    assert alarm_threshold(score, hold, rule) == threshold_by_loop(score, hold, rule)


def scores(seed: int, n: int = 300, persistence: float = 0.8) -> FloatArray:
    rng = np.random.default_rng(seed)
    out = np.zeros(n)
    for week in range(1, n):
        out[week] = persistence * out[week - 1] + rng.normal()
    return 1 / (1 + np.exp(2 - 0.4 * out))


@pytest.mark.parametrize("hold", [1, 4])
def test_never_more_alarms_than_the_budget(hold: int) -> None:
    withheld = 0
    for seed in range(8):
        alarms = raise_alarms(scores(seed, persistence=0.5), hold, QUICK)
        starts = np.flatnonzero(alarms["spell"].diff().fillna(0).gt(0) & alarms["alarm"] | (alarms.index == 0))
        first = alarms[alarms["alarm"]].groupby("spell").apply(lambda rows: rows.index[0]).to_numpy()
        assert set(first) <= set(starts)
        for week in first:
            assert ((first > week - 52) & (first <= week)).sum() <= 2
        lengths = alarms[alarms["alarm"]].groupby("spell").size()
        assert lengths.max() <= 13
        assert not alarms["alarm"].iloc[:20].any()
        withheld += int(alarms["withheld"].sum())
    assert withheld > 0


def test_an_alarm_by_hand() -> None:
    """Threshold 0.5 learned on a quiet past with one alarm; hold 2 weeks."""
    past = np.full(20, 0.1)
    past[5], past[15] = 0.9, 0.5
    score = np.concatenate([past, [0.3, 0.6, 0.3, 0.3, 0.7, 0.75, 0.2, 0.2, 0.8, 0.85]])
    alarms = raise_alarms(score, 2, AlarmRule(burn_in=20, max_share=1.0)).iloc[20:]
    # The past may hold one alarm: the second highest score so far that is not next to the highest is too low.
    assert alarms["threshold"].tolist() == [0.5, 0.5, 0.6, 0.6, 0.6, 0.7, 0.75, 0.75, 0.75, 0.8]
    # Week 21 stands through 22; week 24 starts the second; week 28 would start a third and is withheld.
    assert alarms["alarm"].tolist() == [False, True, True, False, True, True, True, False, False, False]
    assert alarms["spell"].tolist() == [-1, 0, 0, -1, 1, 1, 1, -1, -1, -1]
    assert alarms["withheld"].tolist()[-2:] == [True, True]


def test_a_lasting_alarm_lapses() -> None:
    score = np.concatenate([np.tile([0.1, 0.2], 30), np.full(40, 0.9)])
    alarms = raise_alarms(score, 4, AlarmRule(burn_in=60, max_share=1.0))
    assert alarms["spell"].iloc[60:86].tolist() == [0] * 13 + [1] * 13
    assert not alarms["alarm"].iloc[86:].any()


@pytest.mark.parametrize("hold", [1, 4])
def test_alarms_do_not_know_later_scores(hold: int) -> None:
    score = scores(3)
    full = raise_alarms(score, hold, QUICK)
    for cut in range(10, 300, 9):
        pd.testing.assert_frame_equal(raise_alarms(score[:cut], hold, QUICK), full.iloc[:cut])
    # Positive control: a threshold learned on all scores is told apart.
    leaking = [alarm_threshold(score, hold, QUICK)] * 300
    assert not np.allclose(full["threshold"].iloc[20:], leaking[20:])


def test_a_missing_score_raises_nothing() -> None:
    score = scores(4)
    score[150:160] = np.nan
    alarms = raise_alarms(score, 1, QUICK)
    assert not alarms["alarm"].iloc[150:160].any()
    assert not raise_alarms(np.full(100, np.nan), 1, QUICK)["alarm"].any()


def falls_by_loop(x: FloatArray, count: int, longest: int) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    while len(found) < count:
        best, depth = None, 0.0
        for peak in range(len(x)):
            for trough in range(peak + 1, min(peak + longest, len(x) - 1) + 1):
                free = all(trough <= other[0] or peak >= other[1] for other in found)
                if free and x[peak] - x[trough] > depth:
                    best, depth = (peak, trough), x[peak] - x[trough]
        if best is None:
            break
        found.append(best)
    return found


@settings(max_examples=60)
@given(st.lists(st.floats(-1, 1), min_size=1, max_size=25), st.integers(1, 4), st.integers(1, 8))
def test_falls_equal_a_loop(x: list[float], count: int, longest: int) -> None:
    line = np.array(x)
    found = largest_falls(line, count, longest)
    assert list(zip(found["peak"], found["trough"], strict=True)) == falls_by_loop(line, count, longest)
    np.testing.assert_allclose(found["depth"], line[found["peak"]] - line[found["trough"]])
    assert found["depth"].is_monotonic_decreasing


def test_falls_by_hand() -> None:
    line = np.array([0.0, 0.1, -0.2, 0.0, 0.05, -0.05, 0.2, 0.3])
    found = largest_falls(line, 10, 13)
    assert found[["peak", "trough"]].to_numpy().tolist() == [[1, 2], [4, 5]]
    np.testing.assert_allclose(found["depth"], [0.3, 0.1])
    assert largest_falls(np.arange(5.0)).empty
    with pytest.raises(DataContractError, match="gaps"):
        largest_falls(np.array([0.0, np.nan]))


def test_catches_by_hand() -> None:
    line = np.array([0.0, 0.0, 0.1, 0.05, -0.1, 0.0, 0.0, -0.3, -0.3])
    falls = pd.DataFrame({"peak": [2, 6], "trough": [4, 7], "depth": [0.2, 0.3]})
    spell = np.array([-1, 0, 0, 0, -1, -1, -1, 1])
    alarms = pd.DataFrame({"alarm": spell >= 0, "spell": spell})
    found = caught_falls(falls, alarms, line)
    assert found["caught"].tolist() == [True, False]
    # The alarm began a week before the peak and stood at it; week 7 is the trough itself, too late.
    assert found.loc[0, "lead_weeks"] == 1.0
    assert found["saved"].tolist() == [pytest.approx(1.0), 0.0]
    late = caught_falls(falls, alarms.assign(alarm=alarms.index == 3, spell=np.where(alarms.index == 3, 0, -1)), line)
    assert late.loc[0, "lead_weeks"] == -1.0
    assert late.loc[0, "saved"] == pytest.approx(0.75)


@given(st.lists(st.booleans(), min_size=3, max_size=30), st.integers(0, 2**31))
def test_shifts_equal_rolled_alarms(standing: list[bool], seed: int) -> None:
    rng = np.random.default_rng(seed)
    n = len(standing)
    peak = rng.integers(0, n - 1, 3)
    falls = pd.DataFrame({"peak": peak, "trough": [int(rng.integers(one + 1, n + 1)) for one in peak]})
    expected = [
        sum(np.roll(standing, k)[a:b].any() for a, b in falls.itertuples(index=False, name=None)) for k in range(n)
    ]
    np.testing.assert_array_equal(shifted_catches(falls, np.array(standing)), expected)


def walk(seed: int, n: int = 260, pairs: tuple[str, ...] = ("a-b", "a-c"), foresight: float = 0.0) -> pd.DataFrame:
    """Forecasts whose crash probability rises `foresight` before a fall."""
    dates = np.datetime64("2012-01-06", "us") + np.timedelta64(7, "D") * np.arange(n)
    frames = []
    for number, pair in enumerate(pairs):
        rng = np.random.default_rng([seed, number])
        spread = rng.normal(0, 0.01, n)
        crash = np.zeros(n, dtype=bool)
        # Not evenly apart: a shift by the distance would catch them all again.
        at = np.cumsum(rng.integers(15, 45, 7))
        crash[at[at < n]] = True
        spread[crash] = -0.15
        p = 1 / (1 + np.exp(2 - rng.normal(0, 0.5, n) - foresight * crash))
        for horizon in (1, 4):
            frames.append(
                pd.DataFrame(
                    {
                        "pair": pair,
                        "decision_date": dates,
                        "horizon_weeks": horizon,
                        "p_crash": p,
                        "y_crash": crash.astype(float),
                        "spread_realised": spread * (1 if horizon == 1 else np.nan),
                    }
                )
            )
    return pd.concat(frames, ignore_index=True)


def test_foresight_is_found() -> None:
    rule = AlarmRule(per_year=3, burn_in=52)

    def pooled(foresight: float) -> pd.DataFrame:
        tables = [alarm_table(alarm_records(walk(seed, foresight=foresight), 1, rule, falls=4)) for seed in range(4)]
        assert all(list(table["pair"]) == ["a-b", "a-c", "pooled"] for table in tables)
        return pd.concat(table.iloc[2:] for table in tables)

    known, blind = pooled(5.0), pooled(0.0)
    assert known["recall"].mean() > 0.8
    assert known["p_value"].mean() < 0.05
    assert blind["p_value"].mean() > 0.2
    assert known["saved"].mean() > 2 * blind["saved"].mean()
    assert known["crash_share"].mean() > 3 * blind["crash_share"].mean()
    assert known["false_a_year"].mean() < blind["false_a_year"].mean()
    assert (pd.concat([known, blind])["alarms_a_year"] <= 3.2).all()


def test_table_adds_up() -> None:
    records = alarm_records(walk(1, foresight=1.0), 4, AlarmRule(burn_in=52))
    table = alarm_table(records).set_index("pair")
    for name in ("weeks", "alarms", "falls", "caught", "withheld"):
        assert table.loc["pooled", name] == table[name].iloc[:2].sum()
    assert table.loc["pooled", "recall"] == table.loc["pooled", "caught"] / table.loc["pooled", "falls"]
    for record in records:
        assert len(record.weeks) == 260 - 52
        assert record.weeks["threshold"].notna().all()
        inside = record.falls["peak_date"] < record.falls["trough_date"]
        assert inside.all()
        spread = walk(1, foresight=1.0).query("pair == @record.pair and horizon_weeks == 1")["spread_realised"]
        np.testing.assert_allclose(np.diff(record.weeks["x"]), spread.iloc[52:-1], atol=1e-12)


def test_a_short_pair_has_no_record() -> None:
    assert alarm_records(walk(0, n=80), 4) == []
    assert alarm_table([]).empty
    only = alarm_table(alarm_records(walk(0, pairs=("a-b",)), 4))
    assert list(only["pair"]) == ["a-b"]
    with pytest.raises(DataContractError, match="lack y_crash"):
        alarm_records(walk(0).drop(columns="y_crash"), 4)


@pytest.mark.parametrize("bad", [{"per_year": 0}, {"burn_in": 0}, {"max_share": 0.0}, {"max_weeks": 0}])
def test_rule_refuses(bad: dict[str, float]) -> None:
    with pytest.raises(DataContractError, match=next(iter(bad))):
        AlarmRule(**bad)  # type: ignore[arg-type]
    with pytest.raises(DataContractError, match="hold"):
        raise_alarms(np.zeros(5), 0)
