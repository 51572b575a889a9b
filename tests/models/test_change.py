"""The parts of a change: they add up, each step moves what it names and nothing else."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import lru_cache

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from features.contracts import EVENTS, HORIZONS
from features.errors import BundleError, LookAheadError
from models.change import BASE, STEPS, EventChange, State, decompose, recalibrated_as
from tests import small

PAIRS = ("s300-s1000", "s300-micro")
BEFORE, AFTER = np.datetime64("2010-07-16", "us"), np.datetime64("2010-07-30", "us")


@lru_cache(maxsize=1)
def states() -> tuple[State, ...]:
    """Return five states around the last refit of the small market, where calibration begins; nothing is revised."""
    old, new = small.walked().bundles[-2:]
    assert old.cut <= BEFORE < new.cut <= AFTER
    later = small.dataset(AFTER)
    moved = State(old, later)
    return State(old, small.dataset(BEFORE)), moved, moved, State(recalibrated_as(new, old), later), State(new, later)


@lru_cache(maxsize=1)
def changes() -> tuple[EventChange, ...]:
    return tuple(decompose(states(), PAIRS))


def test_every_pair_horizon_and_event_is_there_once() -> None:
    keys = [(change.pair, change.horizon_weeks, change.event) for change in changes()]
    assert sorted(keys) == sorted((p, h, e) for p in PAIRS for h in HORIZONS for e in EVENTS)


def test_steps_add_up_to_the_change_and_families_to_every_step() -> None:
    for change in changes():
        assert tuple(step.step for step in change.steps) == STEPS
        whole = change.log_odds_after - change.log_odds_before
        assert math.fsum(step.log_odds for step in change.steps) == pytest.approx(whole, abs=1e-12)
        assert math.fsum(s.points for s in change.steps) == pytest.approx(change.after - change.before, abs=1e-12)
        for step in change.steps:
            assert math.fsum(step.families.values()) == pytest.approx(step.log_odds, abs=1e-12)
            assert math.fsum(step.family_points.values()) == pytest.approx(step.points, abs=1e-9)
        total = change.families()
        assert math.fsum(total.values()) == pytest.approx(change.after - change.before, abs=1e-9)
        assert {BASE, "scenario", "calibration", "coherence"} <= set(total)


def test_the_ends_are_the_forecasts_of_the_two_weeks() -> None:
    stored = small.walked().forecasts.set_index(["pair", "decision_date", "horizon_weeks"])
    for change in changes():
        for day, p in ((BEFORE, change.before), (AFTER, change.after)):
            published = stored.loc[(change.pair, pd.Timestamp(day), change.horizon_weeks), f"p_{change.event}"]
            assert p == pytest.approx(published, abs=1e-12)
        assert expit(change.log_odds_after) == pytest.approx(change.after, abs=1e-15)


def test_each_step_moves_what_it_names() -> None:
    moved, revised, retrained, recalibrated = (
        np.array([[change.steps[place].log_odds for change in changes()]]) for place in range(4)
    )
    assert (revised == 0).all()
    assert (np.abs(moved) > 1e-6).all()
    assert (np.abs(retrained) > 1e-6).mean() > 0.5
    new, old = states()[-1].bundle, states()[0].bundle
    assert any(head.slope != old.heads[key].slope for key, head in new.heads.items())
    assert (np.abs(recalibrated) > 1e-9).any()
    # A recalibration scales what the heads say; it does not touch the base rate.
    assert all(change.steps[3].families[BASE] == 0 for change in changes())


def test_the_same_state_five_times_is_no_change() -> None:
    state = states()[-1]
    for change in decompose([state] * 5, PAIRS):
        assert change.before == change.after
        assert all(value == 0 for step in change.steps for value in (*step.families.values(), step.points))


def test_only_pool_and_slope_are_taken_from_the_older_bundle() -> None:
    new, old = states()[-1].bundle, states()[0].bundle
    mixed = recalibrated_as(new, old)
    for key, head in mixed.heads.items():
        assert (head.pool, head.slope) == (old.heads[key].pool, old.heads[key].slope)
        assert replace(head, pool=new.heads[key].pool, slope=new.heads[key].slope) == new.heads[key] or (
            head.linear is new.heads[key].linear and head.boosters is new.heads[key].boosters
        )
    assert mixed.volatility is new.volatility


def test_another_number_of_states_is_refused() -> None:
    with pytest.raises(BundleError, match="`states` must be 5, one more than the steps; got 2"):
        decompose(states()[:2], PAIRS)


def test_a_bundle_of_the_future_is_refused() -> None:
    new, first = states()[-1].bundle, states()[0]
    with pytest.raises(LookAheadError, match="must not forecast"):
        decompose([State(new, first.dataset), *states()[1:]], PAIRS)
