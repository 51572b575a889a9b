"""The forecast frame: its columns, validity, bands, nesting and what it refuses."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from features.contracts import EVENTS, FORECAST_COLUMNS, HORIZONS, TAIL_COLUMNS, Dataset, History
from features.errors import BundleError, LookAheadError
from models.bundle import Bundle, Support
from models.curve import LEVELS
from models.implied import pair_states
from models.predict import Draft, check_contract, draft, finish, head_scores, predict
from models.scenarios import weighted_tail
from models.schedule import forecast_rows
from models.simulate import path_events, timing
from models.validity import MIN_EFFECTIVE
from tests import small

KEY = ["pair", "decision_date", "horizon_weeks"]
OUTCOMES = ["spread_realised", "y_switch", "y_large", "y_crash"]


def last() -> tuple[Bundle, Dataset, pd.MultiIndex]:
    """Return the last bundle and the rows of its first weeks."""
    bundle, dataset = small.walked().bundles[-1], small.dataset()
    return bundle, dataset, forecast_rows(dataset, small.plan(), bundle.cut, bundle.cut + np.timedelta64(36, "D"))


def forecast(bundle: Bundle, dataset: Dataset, rows: pd.MultiIndex) -> pd.DataFrame:
    return predict(bundle, dataset, rows, small.base()).forecasts


def edited(dataset: Dataset, rows: pd.MultiIndex, change: dict[str, float], stale: tuple[str, ...] = ()) -> Dataset:
    """Return the dataset with other values at some rows, and features called stale there."""
    values, old = dataset.values.copy(), dataset.stale.copy()
    for name, value in change.items():
        values.loc[rows, name] = value
    for name in stale:
        old.loc[rows, name] = True
    return replace(dataset, values=values, stale=old)


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
    narrow, wide = (predict(bundle, dataset, rows, each).forecasts for each in (many, few))
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


def without_outcomes(dataset: Dataset, of: pd.Series[bool]) -> Dataset:
    """Return the dataset as if some outcomes had never been."""
    blank = dataset.outcomes.copy()
    blank.loc[of, OUTCOMES] = np.nan
    return replace(dataset, outcomes=blank)


def test_forecasts_do_not_read_outcomes_of_their_own_weeks() -> None:
    bundle, dataset, rows = last()
    later = dataset.outcomes.index.get_level_values("decision_date") >= pd.Timestamp(bundle.cut)
    blank = without_outcomes(dataset, pd.Series(later, dataset.outcomes.index))
    kept = [name for name in FORECAST_COLUMNS if name not in OUTCOMES + list(TAIL_COLUMNS)]
    one, two = forecast(bundle, dataset, rows), forecast(bundle, blank, rows)
    pd.testing.assert_frame_equal(one[kept], two[kept], check_exact=True)
    uncorrected = [predict(bundle, each, rows, small.base()).tails.filter(like="raw_") for each in (dataset, blank)]
    pd.testing.assert_frame_equal(*uncorrected, check_exact=True)


def test_tails_read_outcomes_once_they_have_matured_and_not_before() -> None:
    bundle, dataset, rows = last()
    day = rows.get_level_values("decision_date").max()
    at = dataset.clock["decision_at"].loc[day]
    one = forecast(bundle, dataset, rows)
    on_time, late = dataset.outcomes["matured_at"] <= at, dataset.outcomes["matured_at"] > at
    mine = dataset.outcomes.index.get_level_values("decision_date") >= pd.Timestamp(bundle.cut)
    for chosen, same in ((late, True), (on_time & mine, False)):
        other = forecast(bundle, without_outcomes(dataset, chosen), rows)
        last_day = [frame[frame["decision_date"] == day][list(TAIL_COLUMNS)] for frame in (one, other)]
        assert last_day[0].equals(last_day[1]) == same


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


def test_a_family_of_stale_inputs_abstains_as_stale() -> None:
    bundle, dataset, rows = last()
    names = family(bundle, "leverage")
    gone = dict.fromkeys(names, np.nan)
    # One stale input is enough: with it back the family could speak again.
    frame = forecast(bundle, edited(dataset, rows[:4], gone, stale=(names[0],)), rows)
    mine = pd.MultiIndex.from_frame(frame[["pair", "decision_date"]]).isin(rows[:4])
    assert set(frame.loc[mine, "validity"]) == {"abstain_stale"}
    why = "no live feature in leverage: inputs are stale; tail of the untilted scenario set"
    assert set(frame.loc[mine, "reasons"]) == {why}
    assert set(frame.loc[~mine, "validity"]) <= {"validated", "stress_supported"}
    for event in EVENTS:
        assert frame.loc[mine, [f"p_{event}", f"p_{event}_lo", f"p_{event}_hi"]].isna().all(axis=None)
        assert frame.loc[mine, f"p_{event}_base"].notna().all()


def test_one_live_feature_keeps_a_family_alive() -> None:
    bundle, dataset, rows = last()
    names = family(bundle, "leverage")[1:]
    one = edited(dataset, rows, dict.fromkeys(names, np.nan), stale=tuple(names))
    assert set(forecast(bundle, one, rows)["validity"]) <= {"validated", "stress_supported"}


def test_a_family_that_training_never_saw_is_not_asked_for() -> None:
    bundle, dataset, rows = last()
    without = replace(bundle, families=tuple(name for name in bundle.families if name != "leverage"))
    empty = edited(dataset, rows, dict.fromkeys(family(bundle, "leverage"), np.nan))
    assert not forecast(without, empty, rows)["validity"].str.startswith("abstain").any()


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


def test_a_row_alone_says_the_same_but_for_its_tail_and_a_day_alone_has_the_same_curves() -> None:
    # The tilt is joint over the pairs of a day, and the level counts the weeks since the cut.
    bundle, dataset, rows = last()
    block = draft(bundle, dataset, rows, small.base())
    days = rows.get_level_values("decision_date")
    shown = block.forecasts.set_index(KEY)
    for place in (0, len(rows) - 1):
        alone = draft(bundle, dataset, rows[[place]], small.base()).forecasts.set_index(KEY)
        pd.testing.assert_frame_equal(alone, shown.loc[alone.index], rtol=0, atol=1e-12)
        one_day = draft(bundle, dataset, rows[days == days[place]], small.base())
        for key, row in one_day.held.items():
            np.testing.assert_allclose(row.curves, block.held[key].curves, rtol=0, atol=1e-12)


def test_inputs_are_not_changed() -> None:
    bundle, dataset, rows = last()
    given = (dataset.values, dataset.stale, dataset.rows, dataset.outcomes, small.base())
    kept = [frame.copy() for frame in given]
    memory = bundle.memory.to_json()
    forecast(bundle, dataset, rows)
    for frame, old in zip(given, kept, strict=True):
        pd.testing.assert_frame_equal(frame, old, check_exact=True)
    assert bundle.memory.to_json() == memory


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


def test_the_tail_is_read_off_the_tilted_set_at_the_corrected_level() -> None:
    bundle, dataset, rows = last()
    drafted = draft(bundle, dataset, rows, small.base(), keep_scenarios=True)
    done = finish(drafted, dataset, bundle.memory)
    day = rows.get_level_values("decision_date").max()
    scenarios = drafted.scenarios
    assert scenarios is not None
    assert scenarios.weights.std() > 0
    for pair in [pair for pair in dataset.pairs if (pair.name, day) in rows]:
        for horizon in HORIZONS:
            key = (pair.name, day, horizon)
            raw, shown = done.tails.loc[key], done.forecasts.set_index(KEY).loc[key]
            spread = scenarios.spread(pair.large, pair.small)[scenarios.exits[horizon]]
            for sign, side, end in ((1.0, "lower", ""), (-1.0, "upper", "_up")):
                read = weighted_tail(sign * spread, scenarios.weights, [0.05, 0.025])
                for name, tail in zip(("95", "975"), read, strict=True):
                    assert raw[f"raw_var_{name}{end}"] == pytest.approx(sign * tail.var, abs=1e-12)
                    assert raw[f"raw_es_{name}{end}"] == pytest.approx(sign * tail.es, abs=1e-12)
                # Between grid points values are interpolated; they stay between those of the neighbours.
                level = raw[f"level_{side}"]
                low, high = weighted_tail(sign * spread, scenarios.weights, [level * 0.94, level * 1.06])
                assert low.var <= sign * shown[f"var_95{end}"] <= high.var
                assert low.es <= sign * shown[f"es_95{end}"] <= high.es


def test_the_set_says_what_the_heads_say_up_to_the_residual_that_is_reported() -> None:
    bundle, dataset, rows = last()
    drafted = draft(bundle, dataset, rows, small.base(), keep_scenarios=True)
    day = rows.get_level_values("decision_date").max()
    scenarios, shown = drafted.scenarios, drafted.forecasts.set_index(KEY)
    assert scenarios is not None
    when = timing(dataset.sessions, day.to_datetime64().astype("datetime64[us]"))
    gaps = []
    for pair, state in pair_states(dataset, when.day).items():
        for horizon in HORIZONS:
            happened = path_events(scenarios, state, when.points, horizon)
            key = (pair, day, horizon)
            for place, event in enumerate(EVENTS):
                p = shown[f"p_{event}"].loc[key]
                gap = float(scenarios.weights @ happened[event]) - p
                assert drafted.held[key].residual[place] == pytest.approx(gap, abs=1e-9)
                gaps.append((abs(gap), abs(happened[event].mean() - p)))
    left, before = np.array(gaps).mean(axis=0)
    assert left < before / 2


def test_the_scenario_set_is_kept_only_if_asked_for() -> None:
    bundle, dataset, rows = last()
    assert draft(bundle, dataset, rows[-2:], small.base()).scenarios is None


def test_later_vintages_of_the_closes_do_not_reach_the_tail() -> None:
    bundle, dataset, rows = last()
    until = dataset.rows["decision_at"].reindex(rows).max()
    one = forecast(bundle, dataset, rows)
    for delay, same in ((pd.Timedelta(microseconds=1), True), (pd.Timedelta(0), False)):
        closes = {}
        for segment, close in dataset.closes.items():
            late = np.full(len(close), (until + delay).to_datetime64(), "datetime64[us]")
            closes[segment] = History.of(
                np.concatenate([close.period, close.period]),
                np.concatenate([close.known_at, late]),
                np.concatenate([close.value[:, 0], close.value[:, 0] * (3 if segment == dataset.segments[0] else 2)]),
            )
        assert one.equals(forecast(bundle, replace(dataset, closes=closes), rows)) == same


def test_a_pair_without_a_tail_says_so() -> None:
    bundle, dataset, rows = last()
    pair = next(each for each in dataset.pairs if each.name == rows[0][0])
    frame = forecast(replace(bundle, volatility={**bundle.volatility, pair.small: None}), dataset, rows)
    mine = frame["pair"] == pair.name
    assert frame.loc[mine, list(TAIL_COLUMNS)].isna().all().all()
    assert frame.loc[mine, "reasons"].str.contains("no tail").all()
    assert frame.loc[mine, [f"p_{event}" for event in EVENTS]].notna().all().all()
    assert frame.loc[~mine, list(TAIL_COLUMNS)].notna().all().all()
    assert not frame.loc[~mine, "reasons"].str.contains("no tail").any()


def test_without_the_largest_segment_no_pair_has_a_tail() -> None:
    bundle, dataset, rows = last()
    done = predict(
        replace(bundle, volatility={**bundle.volatility, dataset.segments[0]: None}), dataset, rows, small.base()
    )
    assert done.forecasts[list(TAIL_COLUMNS)].isna().all().all()
    assert done.forecasts["reasons"].str.contains("no tail").all()
    assert len(done.tails) == 0


def test_a_row_that_abstains_keeps_the_tail_of_the_untilted_set() -> None:
    bundle, dataset, rows = last()
    gone = edited(dataset, rows[[0]], dict.fromkeys(family(bundle, "leverage"), np.nan))
    pair, day = rows[0]
    done = predict(bundle, gone, rows, small.base())
    for horizon in HORIZONS:
        key = (str(pair), day, horizon)
        tail, shown = done.tails.loc[key], done.forecasts.set_index(KEY).loc[key]
        assert "tail of the untilted scenario set" in shown["reasons"]
        assert np.isnan(shown["p_crash"])
        for name in TAIL_COLUMNS:
            assert tail[f"raw_{name}"] == tail[f"untilted_{name}"]
    others = done.forecasts[done.forecasts["pair"] != pair]
    assert not others["reasons"].str.contains("untilted").any()
    moved = done.tails.drop(index=[(str(pair), day, horizon) for horizon in HORIZONS])
    assert (moved["raw_var_95"] != moved["untilted_var_95"]).any()


@pytest.mark.parametrize(("validity", "expected"), [("validated", "out_of_support"), ("abstain", "abstain_missing")])
def test_a_stretched_scenario_set_is_out_of_support(validity: str, expected: str) -> None:
    # So few paths that no tilt leaves enough of them.
    bundle, dataset, rows = last()
    few = replace(bundle.settings, scenarios=replace(bundle.settings.scenarios, paths=MIN_EFFECTIVE - 1))
    if validity == "abstain":
        dataset = edited(dataset, rows, dict.fromkeys(family(bundle, "leverage"), np.nan))
    frame = forecast(replace(bundle, settings=few), dataset, rows)
    assert set(frame["validity"]) == {expected}
    assert frame["reasons"].str.contains("scenario set stretched").all()


def test_a_draft_hands_both_quantile_curves_of_every_row_to_the_memory() -> None:
    bundle, dataset, rows = last()
    drafted: Draft = draft(bundle, dataset, rows, small.base())
    assert set(drafted.quantiles) == {(str(pair), day, horizon) for pair, day in rows for horizon in HORIZONS}
    for key, curve in drafted.quantiles.items():
        assert curve.shape == (2, len(LEVELS))
        assert np.array_equal(curve, drafted.held[key].curves[:, 0])
        assert (np.diff(curve) >= 0).all()


def test_the_later_tail_columns_are_in_order() -> None:
    frame = small.walked().forecasts
    assert (frame["es_95"] <= frame["var_95"]).all()
    assert (frame["var_975"] <= frame["var_95"]).all()
    assert (frame["es_975_up"] >= frame["var_975_up"]).all()
    assert (frame["var_95"] < 0).all()
