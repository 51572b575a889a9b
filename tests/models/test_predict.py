"""The forecast frame: its columns, validity, bands, nesting and what it refuses."""

from __future__ import annotations

import zlib
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from features.contracts import EVENTS, FORECAST_COLUMNS, HORIZONS, TAIL_COLUMNS, Dataset, History
from features.errors import BundleError, LookAheadError
from models.bundle import Bundle, Support
from models.predict import check_contract, head_scores, predict
from models.schedule import forecast_rows
from models.tail import tail_forecast
from tests import small


def last() -> tuple[Bundle, Dataset, pd.MultiIndex]:
    """Return the last bundle and the rows of its first weeks."""
    bundle, dataset = small.walked().bundles[-1], small.dataset()
    return bundle, dataset, forecast_rows(dataset, small.plan(), bundle.cut, bundle.cut + np.timedelta64(36, "D"))


def forecast(bundle: Bundle, dataset: Dataset, rows: pd.MultiIndex) -> pd.DataFrame:
    return predict(bundle, dataset, rows, small.base())


def edited(dataset: Dataset, rows: pd.MultiIndex, change: dict[str, float]) -> Dataset:
    values = dataset.values.copy()
    for name, value in change.items():
        values.loc[rows, name] = value
    return replace(dataset, values=values)


def family(bundle: Bundle, name: str) -> list[str]:
    return [info.name for info in bundle.features if info.family == name]


def test_exactly_the_declared_columns_one_row_a_pair_day_and_horizon() -> None:
    bundle, dataset, rows = last()
    frame = forecast(bundle, dataset, rows)
    assert tuple(frame.columns) == FORECAST_COLUMNS
    key = ["decision_date", "pair", "horizon_weeks"]
    assert not frame.duplicated(key).any()
    assert frame[key].equals(frame[key].sort_values(key, ignore_index=True))
    expected = {(pair, day, horizon) for pair, day in rows for horizon in HORIZONS}
    assert set(zip(frame["pair"], frame["decision_date"], frame["horizon_weeks"], strict=True)) == expected
    assert set(frame["market"]) == {"sample"}
    assert (frame["decision_date"] < frame["entry_date"]).all()
    assert (frame["entry_date"] < frame["exit_date"]).all()
    for name in ("bundle_cut", "config_hash", "code_version"):
        assert set(frame[name]) == {pd.Timestamp(bundle.cut) if name == "bundle_cut" else getattr(bundle, name)}
    snapshots = dataset.clock["snapshot_id"].to_dict()
    assert [snapshots[day] for day in frame["decision_date"]] == frame["snapshot_id"].tolist()


def test_no_rows_give_the_same_columns() -> None:
    bundle, dataset, rows = last()
    assert tuple(forecast(bundle, dataset, rows[:0]).columns) == FORECAST_COLUMNS


def test_every_published_row_is_nested() -> None:
    frame = small.walked().forecasts
    small_caps, week = frame["style_in_force"] == "small", frame["horizon_weeks"] == 1
    assert (small_caps & week).any()
    assert (~small_caps & week).any()
    assert (frame["p_crash"] <= frame["p_switch"])[small_caps].all()
    assert (frame["p_switch"] <= frame["p_large"])[small_caps & week].all()
    assert (frame["p_crash"] <= frame["p_large"])[~small_caps & week].all()
    assert (frame["p_switch"] <= 1 - frame["p_large"])[~small_caps & week].all()


def test_bands_hold_the_probability_and_stay_inside() -> None:
    frame = small.walked().forecasts
    for event in EVENTS:
        p, low, high, base = (frame[f"p_{event}{part}"] for part in ("", "_lo", "_hi", "_base"))
        assert ((low > 0) & (low <= p) & (p <= high) & (high < 1)).all()
        assert (high - low > 0.001).all()
        assert base.between(0, 1, inclusive="neither").all()


def test_bands_shrink_with_what_the_base_rests_on() -> None:
    bundle, dataset, rows = last()
    base = small.base().copy()
    few, many = base.copy(), base.copy()
    for event in EVENTS:
        few[f"{event}_n"], many[f"{event}_n"] = 10.0, 10_000.0
    narrow, wide = (predict(bundle, dataset, rows, each) for each in (many, few))
    for event in EVENTS:
        assert (wide[f"p_{event}_hi"] - wide[f"p_{event}_lo"] > narrow[f"p_{event}_hi"] - narrow[f"p_{event}_lo"]).all()


def test_outcomes_are_null_until_matured_and_then_those_of_the_dataset() -> None:
    frame = small.walked().forecasts
    now = small.dataset().clock["decision_at"].iloc[-1]
    outcomes = small.dataset().outcomes
    index = pd.MultiIndex.from_frame(frame[["pair", "decision_date", "horizon_weeks"]])
    matured = (outcomes["matured_at"].reindex(index) <= now).to_numpy()
    assert 0.9 < matured.mean() < 1.0
    for name in ("spread_realised", "y_switch", "y_large", "y_crash"):
        assert (frame[name].notna() == matured).all()
        pd.testing.assert_series_equal(frame[name], outcomes[name].reindex(index).reset_index(drop=True))


def test_forecasts_do_not_read_outcomes_of_their_own_weeks() -> None:
    bundle, dataset, rows = last()
    blank = dataset.outcomes.copy()
    later = blank.index.get_level_values("decision_date") >= pd.Timestamp(bundle.cut)
    blank.loc[later, ["spread_realised", "y_switch", "y_large", "y_crash"]] = np.nan
    kept = [name for name in FORECAST_COLUMNS if name not in ("spread_realised", "y_switch", "y_large", "y_crash")]
    one, two = forecast(bundle, dataset, rows), forecast(bundle, replace(dataset, outcomes=blank), rows)
    pd.testing.assert_frame_equal(one[kept], two[kept], check_exact=True)


def test_a_family_without_a_live_feature_abstains() -> None:
    bundle, dataset, rows = last()
    frame = forecast(bundle, edited(dataset, rows[:4], dict.fromkeys(family(bundle, "leverage"), np.nan)), rows)
    gone = pd.MultiIndex.from_frame(frame[["pair", "decision_date"]]).isin(rows[:4])
    assert gone.sum() == 8
    assert set(frame.loc[gone, "validity"]) == {"abstain_missing"}
    assert frame.loc[gone, "reasons"].str.contains("no live feature in leverage").all()
    for event in EVENTS:
        assert frame.loc[gone, [f"p_{event}", f"p_{event}_lo", f"p_{event}_hi"]].isna().all().all()
        assert frame.loc[gone, f"p_{event}_base"].notna().all()
        assert frame.loc[~gone, f"p_{event}"].notna().all()


def test_one_live_feature_keeps_a_family_alive() -> None:
    bundle, dataset, rows = last()
    gone = dict.fromkeys(family(bundle, "leverage")[1:], np.nan)
    assert set(forecast(bundle, edited(dataset, rows, gone), rows)["validity"]) <= {"validated", "stress_supported"}


def test_a_family_that_training_never_saw_is_not_asked_for() -> None:
    bundle, dataset, rows = last()
    without = replace(bundle, families=tuple(name for name in bundle.families if name != "leverage"))
    empty = edited(dataset, rows, dict.fromkeys(family(bundle, "leverage"), np.nan))
    assert "abstain_missing" not in set(forecast(without, empty, rows)["validity"])


@pytest.mark.parametrize(
    ("inside", "outer", "unseen", "expected"),
    [
        (20, 0, 0, "validated"),
        (17, 3, 0, "validated"),
        (16, 4, 0, "stress_supported"),
        (19, 0, 1, "validated"),
        (18, 0, 2, "out_of_support"),
        (10, 8, 2, "out_of_support"),
    ],
)
def test_validity_by_distance_from_training(inside: int, outer: int, unseen: int, expected: str) -> None:
    # Of 20 live features more than 15% in the outer 2% is stress, more than 5% beyond all that was seen is no support.
    bundle, dataset, rows = last()
    names = [info.name for info in bundle.features][:20]
    bound = {"low": -1.0, "high": 1.0, "least": -2.0, "most": 2.0}
    support = Support(**{part: dict.fromkeys(names, value) for part, value in bound.items()})
    changed = dict(zip(names, [0.0] * inside + [1.5] * outer + [2.5] * unseen, strict=True))
    known = replace(bundle, support=support, families=())
    frame = forecast(known, edited(dataset, rows[[0]], changed), rows[[0]])
    assert set(frame["validity"]) == {expected}
    reason = frame["reasons"].iloc[0]
    if expected == "out_of_support":
        assert all(name in reason for name in names[inside + outer :])
    elif expected == "stress_supported":
        assert "4 of 20" in reason
    else:
        assert reason == ""


def test_the_border_of_the_seen_has_a_margin_of_a_tenth() -> None:
    bundle, dataset, rows = last()
    names = [info.name for info in bundle.features][:5]
    bound = {"low": -1.0, "high": 1.0, "least": -2.0, "most": 2.0}
    support = Support(**{part: dict.fromkeys(names, value) for part, value in bound.items()})
    known = replace(bundle, support=support, families=())
    for value, expected in ((2.39, "stress_supported"), (2.41, "out_of_support"), (-2.41, "out_of_support")):
        frame = forecast(known, edited(dataset, rows[[0]], dict.fromkeys(names, value)), rows[[0]])
        assert set(frame["validity"]) == {expected}


def test_a_row_alone_equals_the_row_in_its_block() -> None:
    bundle, dataset, rows = last()
    block = forecast(bundle, dataset, rows).set_index(["pair", "decision_date", "horizon_weeks"])
    for place in (0, len(rows) - 1):
        alone = forecast(bundle, dataset, rows[[place]]).set_index(["pair", "decision_date", "horizon_weeks"])
        pd.testing.assert_frame_equal(alone, block.loc[alone.index], rtol=0, atol=1e-12)


def test_inputs_are_not_changed() -> None:
    bundle, dataset, rows = last()
    kept = [frame.copy() for frame in (dataset.values, dataset.rows, dataset.outcomes, small.base())]
    forecast(bundle, dataset, rows)
    for frame, old in zip((dataset.values, dataset.rows, dataset.outcomes, small.base()), kept, strict=True):
        pd.testing.assert_frame_equal(frame, old, check_exact=True)


def test_a_later_bundle_is_refused() -> None:
    bundle, dataset, _ = last()
    early = forecast_rows(dataset, small.plan(), bundle.cut - np.timedelta64(7, "D"), bundle.cut)
    assert len(early)
    for call in (lambda: forecast(bundle, dataset, early), lambda: check_contract(bundle, dataset, early)):
        with pytest.raises(LookAheadError, match="must not forecast 2010-07-1") as raised:
            call()
        assert raised.value.exit_code == 3
    with pytest.raises(LookAheadError):
        head_scores(bundle, dataset, early, small.base(), 1)
    # On the very day of its cut a bundle may speak.
    same_day = forecast_rows(dataset, small.plan(), bundle.cut, bundle.cut + np.timedelta64(1, "D"))
    assert len(forecast(bundle, dataset, same_day)) == 2 * len(same_day) > 0


@pytest.mark.parametrize("kind", ["market", "fewer", "renamed", "sign"])
def test_a_bundle_of_other_data_is_refused(kind: str) -> None:
    bundle, dataset, rows = last()
    features = bundle.features
    other = {
        "market": replace(bundle, market="cn"),
        "fewer": replace(bundle, features=features[1:]),
        "renamed": replace(bundle, features=(replace(features[0], name="other"), *features[1:])),
        "sign": replace(bundle, features=(replace(features[0], sign=-features[0].sign), *features[1:])),
    }[kind]
    with pytest.raises(BundleError) as raised:
        forecast(other, dataset, rows)
    assert raised.value.exit_code == 4


def test_the_tail_is_that_of_the_line_up_to_the_day() -> None:
    bundle, dataset, rows = last()
    frame = forecast(bundle, dataset, rows)
    for pair, day in [(str(pair), pd.Timestamp(str(day))) for pair, day in (rows[0], rows[-1])]:
        at = dataset.rows["decision_at"].to_dict()[pair, day]
        dates, line = dataset.lines[pair].as_of(np.datetime64(at, "us"))
        shown = frame[(frame["pair"] == pair) & (frame["decision_date"] == day)].set_index("horizon_weeks")
        sessions = pd.DatetimeIndex(dataset.sessions)
        entry = shown["entry_date"].iloc[0]
        steps = {h: int(((sessions > entry) & (sessions <= shown["exit_date"].loc[h])).sum()) for h in HORIZONS}
        gap = int(((sessions > day) & (sessions <= entry)).sum())
        assert gap >= 1
        key = zlib.crc32(f"{pair}|{day:%Y-%m-%d}".encode())
        params = bundle.tails[pair]
        assert params is not None
        expected = tail_forecast(params, dates, line[:, 0], gap, steps, key)
        for horizon in HORIZONS:
            for column in TAIL_COLUMNS:
                assert shown[column].loc[horizon] == vars(expected[horizon])[column]


def test_later_vintages_of_the_line_do_not_reach_the_tail() -> None:
    bundle, dataset, rows = last()
    until = dataset.rows["decision_at"].reindex(rows).max() + pd.Timedelta(microseconds=1)
    lines = {}
    for pair, line in dataset.lines.items():
        late = np.full(len(line), until.to_datetime64(), "datetime64[us]")
        lines[pair] = History.of(
            np.concatenate([line.period, line.period]),
            np.concatenate([line.known_at, late]),
            np.concatenate([line.value[:, 0], line.value[:, 0] * 3]),
        )
    one, two = forecast(bundle, dataset, rows), forecast(bundle, replace(dataset, lines=lines), rows)
    pd.testing.assert_frame_equal(one, two, check_exact=True)


def test_a_pair_without_a_tail_says_so() -> None:
    bundle, dataset, rows = last()
    pair = str(rows[0][0])
    frame = forecast(replace(bundle, tails={**bundle.tails, pair: None}), dataset, rows)
    mine = frame["pair"] == pair
    assert frame.loc[mine, list(TAIL_COLUMNS)].isna().all().all()
    assert frame.loc[mine, "reasons"].str.contains("no tail").all()
    assert frame.loc[~mine, list(TAIL_COLUMNS)].notna().all().all()
    assert not frame.loc[~mine, "reasons"].str.contains("no tail").any()


def test_the_later_tail_columns_are_in_order() -> None:
    frame = small.walked().forecasts
    assert (frame["es_95"] <= frame["var_95"]).all()
    assert (frame["var_975"] <= frame["var_95"]).all()
    assert (frame["es_975_up"] >= frame["var_975_up"]).all()
    assert (frame["var_95"] < 0).all()
