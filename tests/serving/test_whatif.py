"""What-if on a published forecast: it starts from what was published and ends where a changed panel would end."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import timedelta
from functools import lru_cache

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from features.errors import BundleError, DataContractError, StaleDataError
from models.bundle import Bundle
from models.predict import head_scores
from serving.forecast import make_forecast
from serving.record import Forecast
from serving.whatif import what_if
from tests import small
from tests.serving.factory import abstain


@lru_cache(maxsize=1)
def published() -> Forecast:
    return make_forecast(small.market(), small.observations(), small.dataset(), bundle(), small.plan()).forecast


def bundle() -> Bundle:
    return small.walked().bundles[-1]


def moves() -> dict[str, float]:
    """Two inputs of the first pair, moved by a standard deviation each."""
    pair = published().pairs[0]
    values = {driver.feature: driver.value for driver in pair.heads["crash"].drivers}
    names = [name for name in bundle().scaler.mean if values.get(name) is not None][3:5]
    return {name: values[name] + bundle().scaler.std[name] for name in names}


class TestNumbers:
    def test_before_is_what_was_published(self) -> None:
        forecast = published()
        for pair in forecast.pair_names:
            asked = what_if(forecast, bundle(), pair, moves())
            for head in asked.heads:
                said = forecast.pair(pair, head.horizon_weeks).heads[head.event]
                assert head.before == pytest.approx(said.probability, abs=1e-12)
                assert head.log_odds_before == pytest.approx(said.log_odds, abs=1e-12)
                was = {driver.feature: driver.log_odds for driver in said.drivers}
                assert {shift.feature: shift.before for shift in head.contributions} == pytest.approx(was, abs=1e-12)

    def test_after_is_what_a_panel_with_these_inputs_gives(self) -> None:
        forecast, dataset, changes = published(), small.dataset(), moves()
        pair = forecast.pairs[0].pair
        values = dataset.values.copy()
        for name, value in changes.items():
            values.loc[(pair, pd.Timestamp(small.LAST)), name] = value
        rows = pd.MultiIndex.from_tuples([(pair, pd.Timestamp(small.LAST))], names=dataset.rows.index.names)
        asked = what_if(forecast, bundle(), pair, changes)
        for horizon in (1, 4):
            scores = head_scores(bundle(), replace(dataset, values=values), rows, small.base(), horizon)
            for head in [head for head in asked.heads if head.horizon_weeks == horizon]:
                assert head.log_odds_after == pytest.approx(scores[head.event].published[0], abs=1e-10)
        assert any(abs(head.after - head.before) > 1e-6 for head in asked.heads)

    def test_contributions_add_up_on_both_sides(self) -> None:
        asked = what_if(published(), bundle(), published().headline, moves())
        for head in asked.heads:
            before = head.base_log_odds + math.fsum(shift.before for shift in head.contributions)
            after = head.base_log_odds + math.fsum(shift.after for shift in head.contributions)
            assert (before, after) == pytest.approx((head.log_odds_before, head.log_odds_after), abs=1e-10)
            assert head.after == pytest.approx(expit(after), abs=1e-9)

    def test_moving_an_input_to_where_it_is_moves_nothing(self) -> None:
        drivers = published().pairs[0].heads["switch"].drivers
        still = {driver.feature: driver.value for driver in drivers if driver.feature in moves()}
        asked = what_if(published(), bundle(), published().pairs[0].pair, still)
        assert [head.after for head in asked.heads] == [head.before for head in asked.heads]
        assert asked.validity_after == asked.validity_before


class TestSupport:
    def test_an_input_beyond_training_is_flagged(self) -> None:
        name = next(iter(moves()))
        most = bundle().support.most[name]
        asked = what_if(published(), bundle(), published().headline, {name: most + abs(most) + 1.0})
        assert asked.out_of_support
        assert asked.moves[0].place.out_of_support
        assert asked.validity_after == "out_of_support"

    def test_an_input_within_it_is_not(self) -> None:
        name = next(iter(moves()))
        middle = 0.5 * (bundle().support.low[name] + bundle().support.high[name])
        asked = what_if(published(), bundle(), published().headline, {name: middle})
        assert not asked.out_of_support

    def test_what_was_published_stays_the_worst(self) -> None:
        pairs = tuple(replace(row, validity="out_of_support") for row in published().pairs)
        asked = what_if(replace(published(), pairs=pairs), bundle(), published().headline, moves())
        assert asked.validity_after == "out_of_support"


class TestRefusals:
    def test_unknown_pair_feature_and_number(self) -> None:
        forecast, head = published(), published().headline
        with pytest.raises(DataContractError, match="`pair` must be one of"):
            what_if(forecast, bundle(), "nope", moves())
        with pytest.raises(DataContractError, match="must name features"):
            what_if(forecast, bundle(), head, {"nope": 1.0})
        with pytest.raises(DataContractError, match="must be finite"):
            what_if(forecast, bundle(), head, dict.fromkeys(moves(), np.nan))

    def test_a_forecast_that_abstains(self) -> None:
        with pytest.raises(StaleDataError, match="abstains"):
            what_if(abstain(published()), bundle(), published().headline, moves())

    def test_the_bundle_of_another_cut(self) -> None:
        with pytest.raises(BundleError, match="is of bundle"):
            what_if(published(), small.walked().bundles[0], published().headline, moves())
        earlier = replace(published(), bundle_cut=published().bundle_cut - timedelta(days=7))
        with pytest.raises(BundleError, match="is of bundle"):
            what_if(earlier, bundle(), published().headline, moves())

    def test_a_bundle_that_does_not_repeat_the_published_number(self) -> None:
        heads = dict(bundle().heads)
        key = ("crash", 4)
        heads[key] = replace(heads[key], slope=heads[key].slope * 1.01 + 1e-3)
        with pytest.raises(BundleError, match="does not repeat what was published"):
            what_if(published(), replace(bundle(), heads=heads), published().headline, moves())
