"""States that a model infers online: later closes change none, parameters stem from before the cut."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from features.contracts import Dataset, FloatArray, History
from models.gaussian_hmm import filter_hmm, fit_hmm
from tests.training import tail_toy
from tests.training.tail_toy import CLOSE, DAY, DECISIONS, disturbed
from training.baseline_states import HMM, JUMP, LEADS, STORM, SWITCHING, Online, StateModel, states_at

CUT = DECISIONS[120]
MODELS = {"hmm": HMM, "jump": JUMP, "switching": SWITCHING}


@pytest.fixture(scope="module")
def data() -> Dataset:
    return tail_toy.dataset()


def until(states: pd.DataFrame, data: Dataset, time: np.datetime64) -> pd.DataFrame:
    return states[data.rows["decision_at"].to_numpy("datetime64[us]") <= time]


def assert_causal(data: Dataset, model: StateModel) -> None:
    """Another market after each of 31 times: no state of a row before it may move.

    Parameters are fitted once, so that what is tried is the filter; of what they are learned another test makes sure.
    """
    line = data.lines["a-b"]
    closes = line.period[line.known_at < CUT]
    weekly = np.isin(closes, DECISIONS)
    online = model.fit(np.diff(line.value[: len(closes), 0][weekly if model.weekly else slice(None)]))
    model = replace(model, fit=lambda past: online)
    full = states_at(data, model, CUT)
    for time in DECISIONS[120:151] + CLOSE:
        again = states_at(disturbed(data, time), model, CUT)
        np.testing.assert_allclose(until(again, data, time), until(full, data, time), rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", MODELS)
def test_later_closes_change_no_state(data: Dataset, name: str) -> None:
    assert_causal(data, MODELS[name])


def test_control_a_planted_smoothed_state_is_caught(data: Dataset) -> None:
    """The twin filters from both ends and multiplies: each row knows the rows after it."""

    def smoothed(past: FloatArray) -> Online:
        params = fit_hmm(past)

        def both(changes: FloatArray) -> FloatArray:
            there, back = filter_hmm(changes, params), filter_hmm(changes[::-1], params)[::-1]
            return (there * back)[:, None]

        return both

    with pytest.raises(AssertionError, match="Mismatch"):
        assert_causal(data, replace(HMM, fit=smoothed, states=(LEADS,)))


@pytest.mark.parametrize("name", MODELS)
def test_parameters_stem_from_before_the_cut(data: Dataset, name: str) -> None:
    """Closes on the day of the cut and later teach nothing, even to the rows before."""
    model = MODELS[name]
    before = states_at(data, model, CUT)
    again = states_at(disturbed(data, CUT - DAY + CLOSE), model, CUT)
    np.testing.assert_array_equal(until(again, data, CUT - DAY), until(before, data, CUT - DAY))
    # The control: parameters of a later cut move them.
    later = states_at(disturbed(data, CUT - DAY + CLOSE), model, CUT + 28 * DAY)
    assert (until(later, data, CUT - DAY) != until(before, data, CUT - DAY)).any(axis=None)


def test_a_revised_close_is_news_from_its_revision_on(data: Dataset) -> None:
    line = data.lines["a-b"]
    day = int(np.searchsorted(line.period, DECISIONS[150]))
    revised_at = DECISIONS[150] + DAY
    known_at = np.append(line.known_at, revised_at)
    value = np.append(line.value[:, 0], line.value[day, 0] + 0.2)
    revised = History.of(np.append(line.period, line.period[day]), known_at, value)
    again = states_at(replace(data, lines={**data.lines, "a-b": revised}), HMM, CUT)
    full = states_at(data, HMM, CUT)
    pd.testing.assert_frame_equal(until(again, data, revised_at), until(full, data, revised_at))
    assert not again.loc[("a-b", DECISIONS[151])].equals(full.loc[("a-b", DECISIONS[151])])


def test_a_daily_model_reads_every_close_a_weekly_one_those_of_decisions(data: Dataset) -> None:
    """A close in mid-week is nothing to the weekly model."""
    line = data.lines["a-b"]
    value = line.value.copy()
    value[line.period == DECISIONS[110] - 2 * DAY] += 0.02
    moved = replace(data, lines={**data.lines, "a-b": replace(line, value=value)})
    assert states_at(moved, SWITCHING, CUT).equals(states_at(data, SWITCHING, CUT))
    assert not states_at(moved, HMM, CUT).equals(states_at(data, HMM, CUT))


def test_states_by_hand(data: Dataset) -> None:
    line = data.lines["a-c"]
    past = line.value[line.known_at < CUT, 0]
    params = fit_hmm(np.diff(past))
    row = ("a-c", DECISIONS[130])
    known = line.value[line.known_at <= data.rows.loc[row, "decision_at"], 0]
    states = states_at(data, HMM, CUT).loc[row]
    assert states[LEADS] == pytest.approx(filter_hmm(np.diff(known), params)[-1])
    assert np.log(params.std.min() / 0.02) - 0.01 <= states[STORM] <= np.log(params.std.max() / 0.02) + 0.01


def test_a_short_line_has_no_state(data: Dataset) -> None:
    short = states_at(data, HMM, DECISIONS[90])
    assert short.isna().all(axis=None)
    assert states_at(data, SWITCHING, DECISIONS[110]).notna().all(axis=1).groupby(level="pair").sum().min() > 170
    pd.testing.assert_index_equal(short.index, data.rows.index)
