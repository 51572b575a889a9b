"""Figures of the evidence: that they say SIMULATED where they must, and show the numbers of the tables."""

from __future__ import annotations

import numpy as np
import pytest

from features.contracts import EVENTS
from tests.training.test_alarms import walk
from tests.training.test_corp import frame
from training.alarm_table import alarm_records
from training.alarms import AlarmRule
from training.corp import decompose
from training.evidence_plots import alarm_figure, corp_figure


@pytest.mark.parametrize("simulated", [True, False])
def test_titles(simulated: bool) -> None:
    records = alarm_records(walk(0), 4, AlarmRule(burn_in=52))
    for figure in (corp_figure(frame(), 4, simulated, draws=20), alarm_figure(records, 4, simulated)):
        assert figure.get_suptitle().startswith("SIMULATED") == simulated


def test_corp_figure_shows_the_pooled_decomposition() -> None:
    forecasts = frame(3)
    figure = corp_figure(forecasts, 1, False, draws=20)
    rows = forecasts[forecasts["horizon_weeks"] == 1]
    own = decompose(rows["p_switch"].to_numpy(), rows["y_switch"].to_numpy())
    assert f"log loss {own.loss:.4f} = {own.miscalibration:.4f}" in figure.axes[0].texts[0].get_text()
    curve = figure.axes[0].lines[1]
    assert (np.diff(np.asarray(curve.get_ydata(), dtype=float)) >= 0).all()


def test_nothing_matured_is_said() -> None:
    empty = frame().assign(**{f"y_{event}": np.nan for event in EVENTS})
    assert [axis.texts[0].get_text() for axis in corp_figure(empty, 4, False).axes] == ["no matured forecast"] * 3
    assert alarm_figure([], 4, True).axes[0].texts[0].get_text() == "no pair has enough weeks"


def test_alarm_figure_marks_the_weeks_under_alarm() -> None:
    records = alarm_records(walk(0, foresight=5.0), 1, AlarmRule(burn_in=52))
    figure = alarm_figure(records, 1, False)
    for axis, record in zip(figure.axes, records, strict=True):
        caught = int(record.falls["caught"].sum())
        assert f"{caught} of {len(record.falls)} falls, {int(record.weeks['spell'].max()) + 1}" in axis.get_title()
        assert len(axis.lines[1].get_xdata()) == record.weeks["alarm"].sum()
        assert len(axis.patches) == len(record.falls)
