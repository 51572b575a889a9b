"""The forecast object: complete, equal to the frame, honest about what is absent, and blind to what came later."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from datetime import date
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, logit

from features.contracts import EVENTS, FORECAST_COLUMNS, HORIZONS, TAIL_COLUMNS
from features.dataset import decision_times
from features.errors import BundleError, DataContractError, LookAheadError, StaleDataError
from models.bundle import Bundle
from models.scenarios import weighted_tail
from models.validity import Reason
from serving.forecast import dataset_for, latest_decision, make_forecast
from serving.output import forecast_path, read_forecast, write_text
from serving.record import Forecast
from tests import small


def bundle() -> Bundle:
    return small.walked().bundles[-1]


@lru_cache(maxsize=1)
def made() -> tuple[Forecast, pd.DataFrame]:
    call = make_forecast(small.market(), small.observations(), small.dataset(), bundle(), small.plan())
    return call.forecast, call.rows


def store(forecast: Forecast, artifacts: Path) -> Path:
    day = forecast.decision_date.isoformat()
    return write_text(forecast_path(artifacts, forecast.market, day, "json"), json.dumps(forecast.to_json()))


def test_it_says_what_the_walk_forward_says() -> None:
    forecast, frame = made()
    stored = small.walked().forecasts
    stored = stored[stored["decision_date"] == pd.Timestamp(small.LAST)].reset_index(drop=True)
    pd.testing.assert_frame_equal(frame, stored, rtol=0, atol=1e-12)
    assert tuple(frame.columns) == FORECAST_COLUMNS
    for _, row in frame.iterrows():
        pair = forecast.pair(row["pair"], row["horizon_weeks"])
        assert pair.decision_date == row["decision_date"].date() == forecast.decision_date
        assert (pair.entry_date, pair.exit_date) == (row["entry_date"].date(), row["exit_date"].date())
        assert (pair.style_in_force, pair.sigma, pair.validity) == (
            row["style_in_force"],
            row["sigma"],
            row["validity"],
        )
        assert "; ".join(reason.text for reason in pair.reasons) == row["reasons"]
        assert pair.tail == {name: row[name] for name in TAIL_COLUMNS}
        for event, head in pair.heads.items():
            assert head.event == event
            names = ("", "_base", "_lo", "_hi")
            assert [row[f"p_{event}{name}"] for name in names] == [head.probability, head.base, head.lo, head.hi]


def test_the_scenario_set_is_the_tilted_one_of_the_day() -> None:
    call = make_forecast(small.market(), small.observations(), small.dataset(), bundle(), small.plan())
    scenarios = call.scenarios
    assert scenarios is not None
    assert scenarios.segments == small.dataset().segments
    held = {(level.pair, level.horizon): (level.lower, level.upper) for level in scenarios.levels}
    details = {(row.pair, row.horizon_weeks): row.tail_detail for row in call.forecast.pairs}
    assert held == {key: (detail.level_lower, detail.level_upper) for key, detail in details.items() if detail}
    assert scenarios.sessions[0] > call.rows["entry_date"].max().to_datetime64()
    tails = small.walked().tails.xs(pd.Timestamp(small.LAST), level="decision_date")
    assert scenarios.effective_size == pytest.approx(tails["effective_size"].iloc[0], abs=1e-6)
    for pair in small.market().pairs.values():
        for horizon, step in scenarios.exits.items():
            exits = call.rows.loc[call.rows["horizon_weeks"] == horizon, "exit_date"]
            assert scenarios.sessions[step - 1] == exits.max().to_datetime64()
            [tail] = weighted_tail(scenarios.spread(pair.large, pair.small)[step], scenarios.weights, [0.05])
            raw = tails.loc[(f"{pair.large}-{pair.small}", horizon)]
            assert (raw["raw_var_95"], raw["raw_es_95"]) == pytest.approx(tail, abs=1e-9)


def test_identity_and_provenance() -> None:
    forecast, frame = made()
    assert (forecast.market, forecast.simulated) == ("sample", True)
    assert "SIMULATED" in forecast.title
    assert forecast.decision_date == small.LAST.astype("datetime64[D]").item()
    assert forecast.decision_at.utcoffset() is not None
    at = decision_times(small.market(), np.array([small.LAST]))[0]
    assert pd.Timestamp(forecast.decision_at) == pd.Timestamp(at, tz="UTC")
    assert forecast.bundle_cut == bundle().cut.astype("datetime64[D]").item()
    assert {forecast.snapshot_id} == set(frame["snapshot_id"])
    assert (forecast.config_hash, forecast.code_version) == (bundle().config_hash, "test")
    assert forecast.headline == "s300-s1000"
    assert len(forecast.pairs) == len(small.market().pairs) * len(HORIZONS)


def test_drivers_add_up_and_families_sum_them() -> None:
    forecast, _ = made()
    for pair in forecast.pairs:
        for head in pair.heads.values():
            assert head.log_odds is not None
            assert head.probability is not None
            total = math.fsum(driver.log_odds for driver in head.drivers)
            assert head.base_log_odds + total == pytest.approx(head.log_odds, abs=1e-9)
            assert head.base_log_odds == pytest.approx(logit(head.base), abs=1e-9)
            assert head.log_odds == pytest.approx(logit(head.probability), abs=1e-9)
            assert math.fsum(d.points for d in head.drivers) == pytest.approx(head.probability - head.base, abs=1e-9)
            for family, value in head.families.items():
                assert value == pytest.approx(
                    math.fsum(d.log_odds for d in head.drivers if d.family == family), abs=1e-12
                )
            assert math.fsum(head.families.values()) == pytest.approx(total, abs=1e-9)


def test_drivers_show_value_percentile_and_when_it_became_known() -> None:
    forecast, _ = made()
    dataset = small.dataset()
    pair = forecast.pair("s300-micro", 4)
    past = dataset.values.loc["s300-micro"]
    for driver in pair.heads["crash"].drivers:
        if driver.feature not in past.columns:
            continue
        here = past[driver.feature].iloc[-1]
        if np.isnan(here):
            assert (driver.value, driver.percentile, driver.known_at) == (None, None, None)
            continue
        seen = [value for value in past[driver.feature] if not np.isnan(value)]
        below = sum(value < here for value in seen) + 0.5 * sum(value == here for value in seen)
        assert driver.value == here
        assert driver.percentile == pytest.approx(below / len(seen))
        known = dataset.known_at.loc["s300-micro"][driver.feature].iloc[-1]
        assert driver.known_at is not None
        assert driver.known_at.utcoffset() is not None
        assert pd.Timestamp(driver.known_at).tz_convert("UTC").tz_localize(None) == known
        assert driver.known_at <= forecast.decision_at
        assert driver.why
        assert driver.unit
    style = next(driver for driver in pair.heads["crash"].drivers if driver.feature == "style_in_force")
    assert style.value == (1.0 if pair.style_in_force == "small" else -1.0)
    assert style.known_at is not None


def test_style_since_is_the_last_flip() -> None:
    forecast, _ = made()
    for pair in forecast.pairs:
        style = small.dataset().rows.loc[pair.pair]["style"]
        code = 1 if pair.style_in_force == "small" else -1
        since = style.index[-1]
        for day, value in reversed(list(style.items())):
            if value != code:
                break
            since = day
        assert pair.style_since == since.date()


def test_json_round_trip(tmp_path: Path) -> None:
    forecast, _ = made()
    store(forecast, tmp_path)
    again = read_forecast(tmp_path, "sample", forecast.decision_date.isoformat())
    assert again == forecast
    assert again.to_json() == forecast.to_json()
    assert read_forecast(tmp_path, "sample", None) == forecast
    text = json.dumps(forecast.to_json(), allow_nan=False)
    assert "SIMULATED" in text


@pytest.mark.parametrize("kind", ["abstain_missing", "abstain_stale"])
def test_an_abstaining_forecast_round_trips_too(tmp_path: Path, kind: str) -> None:
    names = [info.name for info in bundle().features if info.family == "macro"]
    dataset = replace(small.dataset(), values=small.dataset().values.assign(**dict.fromkeys(names, np.nan)))
    if kind == "abstain_stale":
        dataset = replace(dataset, stale=dataset.stale.assign(**dict.fromkeys(names, True)))
    call = make_forecast(small.market(), small.observations(), dataset, bundle(), small.plan())
    forecast, frame = call.forecast, call.rows
    assert set(frame["validity"]) == {kind}
    # The tail does not hang on the features; without probabilities it is that of the untilted set, and says so.
    assert call.scenarios is not None
    assert (call.scenarios.weights == 1 / len(call.scenarios.weights)).all()
    assert frame["reasons"].str.contains("tail of the untilted scenario set").all()
    for pair in forecast.pairs:
        assert pair.validity == kind
        assert pair.reasons == (Reason(kind.removeprefix("abstain_"), ("macro",)), Reason("untilted"))
        for head in pair.heads.values():
            assert (head.probability, head.lo, head.hi, head.log_odds) == (None, None, None, None)
            assert (head.drivers, head.families) == ((), {})
            assert 0 < head.base < 1
    store(forecast, tmp_path)
    assert read_forecast(tmp_path, "sample", None) == forecast


def test_a_missing_or_damaged_forecast_is_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(DataContractError, match=r"none is stored.*capshift forecast --market sample"):
        read_forecast(tmp_path, "sample", None)
    forecast, _ = made()
    path = store(forecast, tmp_path)
    with pytest.raises(DataContractError, match=f"no forecast of 2001-01-05 .stored: {path.stem}"):
        read_forecast(tmp_path, "sample", "2001-01-05")
    document = json.loads(path.read_text())
    for text in ("", "{", "[]", json.dumps({**document, "pairs": None}), json.dumps({"market": "sample"}), "\x00"):
        path.write_text(text)
        with pytest.raises(DataContractError, match="not a forecast of this version") as raised:
            read_forecast(tmp_path, "sample", None)
        assert raised.value.exit_code == 2
    path.write_bytes(b"\xff\xfe{}")
    with pytest.raises(DataContractError, match="not a forecast of this version"):
        read_forecast(tmp_path, "sample", None)


def test_a_missing_close_of_the_day_is_stale() -> None:
    observations = small.observations()
    gone = (observations["series"] == "s1000.close") & (observations["period"] == pd.Timestamp(small.LAST))
    assert gone.sum() == 1
    with pytest.raises(
        StaleDataError, match=r"no close of pair s300-s1000.*newest decision with both is 2010-11-19"
    ) as raised:
        dataset_for(small.market(), observations[~gone], small.LAST)
    assert raised.value.exit_code == 5
    late = observations.copy()
    late.loc[gone, "known_at"] += pd.Timedelta(days=1)
    with pytest.raises(StaleDataError):
        dataset_for(small.market(), late, small.LAST)


def test_a_close_missing_in_another_pair_leaves_only_that_pair_out() -> None:
    observations = small.observations()
    gone = (observations["series"] == "micro.close") & (observations["period"] == pd.Timestamp(small.LAST))
    dataset = dataset_for(small.market(), observations[~gone], small.LAST)
    call = make_forecast(small.market(), observations[~gone], dataset, bundle(), small.plan())
    forecast, frame = call.forecast, call.rows
    assert call.scenarios is not None
    assert call.scenarios.segments == ("s300", "s500", "s1000", "s2000")
    assert set(frame["pair"]) == {"s300-s500", "s300-s1000", "s300-s2000"}
    with pytest.raises(DataContractError, match=r"pair s300-micro .* or no close, on 2010-11-26"):
        make_forecast(small.market(), observations[~gone], dataset, bundle(), small.plan(), headline="s300-micro")
    assert forecast.decision_date == date(2010, 11, 26)


def test_an_unknown_pair_and_one_too_young_are_refused_in_words() -> None:
    arguments = (small.market(), small.observations(), small.dataset(), bundle())
    with pytest.raises(DataContractError, match=r"`pair` must be one of s300-s500, s300-s1000.*; got 'csi300'"):
        make_forecast(*arguments, small.plan(), headline="csi300")
    with pytest.raises(DataContractError, match="less than 9999 weeks"):
        make_forecast(*arguments, small.plan(min_weeks=9999))


def test_another_headline_leads() -> None:
    forecast = make_forecast(
        small.market(), small.observations(), small.dataset(), bundle(), small.plan(), headline="s300-micro"
    ).forecast
    assert forecast.headline == forecast.history.pair == "s300-micro"
    assert forecast.pairs == made()[0].pairs


def test_a_bundle_that_is_later_or_of_other_data_is_refused() -> None:
    early = dataset_for(small.market(), small.observations(), small.MIDDLE)
    with pytest.raises(LookAheadError) as raised:
        make_forecast(small.market(), small.observations(), early, bundle(), small.plan())
    assert raised.value.exit_code == 3
    other = replace(bundle(), features=bundle().features[:-1])
    with pytest.raises(BundleError) as refused:
        make_forecast(small.market(), small.observations(), small.dataset(), other, small.plan())
    assert refused.value.exit_code == 4


def test_nothing_published_later_is_in_the_forecast() -> None:
    observations = small.observations()
    at = decision_times(small.market(), np.array([small.LAST]))[0]
    known = observations[observations["known_at"] <= pd.Timestamp(at)]
    assert len(known) < len(observations)
    planted = known.assign(
        known_at=pd.Timestamp(at) + pd.Timedelta(microseconds=1), value=known["value"] * 1.5 + 1, estimated=False
    )
    far = observations[observations["known_at"] > pd.Timestamp(at)]
    for rows in (known, pd.concat([known, planted], ignore_index=True), pd.concat([far, known], ignore_index=True)):
        dataset = dataset_for(small.market(), rows, small.LAST)
        call = make_forecast(small.market(), rows, dataset, bundle(), small.plan())
        assert call.forecast == made()[0]
        pd.testing.assert_frame_equal(call.rows, made()[1], check_exact=True)


def test_the_latest_decision_is_the_newest_with_both_prices() -> None:
    market, observations = small.market(), small.observations()
    assert latest_decision(market, observations) == np.datetime64("2011-05-27")
    micro = observations["series"] == "micro.close"
    assert latest_decision(market, observations[~micro]) == np.datetime64("2011-05-27")
    short = (observations["series"] == "s1000.close") & (observations["period"] >= pd.Timestamp("2011-05-27"))
    assert latest_decision(market, observations[~short]) == np.datetime64("2011-05-20")
    without = observations["series"] == "s1000.close"
    with pytest.raises(DataContractError, match=r"no day has prices of both s300.close and s1000.close"):
        latest_decision(market, observations[~without])
    with pytest.raises(DataContractError, match="no day has prices"):
        latest_decision(market, observations[:0])
    tuesday = observations[observations["period"] == pd.Timestamp("2011-05-24")]
    with pytest.raises(DataContractError, match="no decision day has prices"):
        latest_decision(market, tuesday)


def test_points_are_probability_points() -> None:
    forecast, _ = made()
    for event in EVENTS:
        head = forecast.pair(forecast.headline, 4).heads[event]
        assert head.log_odds is not None
        rate = (expit(head.log_odds) - expit(head.base_log_odds)) / (head.log_odds - head.base_log_odds)
        for driver in head.drivers:
            assert driver.points == pytest.approx(driver.log_odds * rate, abs=1e-12)
