"""Figures of the evidence: CORP reliability with its consistency band, and crash alarms on the line they speak of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

import numpy as np
import pandas as pd

from features.contracts import EVENTS
from training.alarm_table import AlarmRecord
from training.corp import consistency_band, decompose
from training.null_outcomes import DRAWS
from training.plots import BLUE, EVENT_TITLES, GREY, ORANGE, panel_figure, weeks_text
from training.score_tables import matured_sample

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def corp_figure(forecasts: pd.DataFrame, horizon_weeks: int, simulated: bool, *, draws: int = DRAWS) -> Figure:
    """Draw the CORP reliability curve of every event, all pairs pooled, with the band of a calibrated forecast.

    Parameters
    ----------
    forecasts : pandas.DataFrame
        Rows of the walk-forward that may be shown.
    horizon_weeks : int
    simulated : bool
        Puts SIMULATED on the figure.
    draws : int
        Draws of the band.

    Information set: matured outcomes.
    """
    title = f"CORP reliability, {weeks_text(horizon_weeks)}, all pairs"
    figure, axes = panel_figure(len(EVENTS), 4.4, title, simulated)
    for axis, event in zip(axes, EVENTS, strict=True):
        axis.set_title(EVENT_TITLES[event], fontsize=10)
        axis.set_xlabel("forecast probability")
        sample = matured_sample(forecasts[forecasts["horizon_weeks"] == horizon_weeks], event)
        if len(sample.p) == 0:
            axis.text(0.5, 0.5, "no matured forecast", ha="center", transform=axis.transAxes, color=GREY)
            continue
        band = consistency_band(sample, horizon_weeks, draws=draws)
        low, high = float(band["p"].min()), float(band["p"].max())
        axis.fill_between(band["p"], band["low"], band["high"], color=GREY, alpha=0.25, linewidth=0)
        axis.plot([low, high], [low, high], color=GREY, linewidth=1)
        axis.plot(band["p"], band["recalibrated"], color=BLUE, linewidth=1.6)
        axis.plot(sample.p, np.zeros(len(sample.p)), "|", color=BLUE, alpha=0.15, markersize=7)
        own, base = decompose(sample.p, sample.y), decompose(sample.base, sample.y)
        text = (
            f"log loss {own.loss:.4f} = {own.miscalibration:.4f} - {own.discrimination:.4f} + {own.uncertainty:.4f}\n"
            f"base rate {base.loss:.4f} = {base.miscalibration:.4f} - {base.discrimination:.4f} + "
            f"{base.uncertainty:.4f}"
        )
        axis.text(0.02, 0.98, text, ha="left", va="top", fontsize=7.5, transform=axis.transAxes)
        axis.set_ylim(bottom=-0.02, top=1.25 * max(float(band["high"].max()), float(band["recalibrated"].max()), 0.1))
    axes[0].set_ylabel("recalibrated probability")
    note = (
        "Line: isotonic recalibration. Grey: where it would lie in 90% of samples were the forecast calibrated, "
        "overlap and pairs that move together included.\nLoss = miscalibration - discrimination + uncertainty."
    )
    figure.supxlabel(note, fontsize=7, color=GREY)
    return figure


def alarm_figure(records: Sequence[AlarmRecord], horizon_weeks: int, simulated: bool) -> Figure:
    """Draw every pair's line from the first possible alarm on, its largest falls and the weeks under alarm.

    Parameters
    ----------
    records : sequence of AlarmRecord
        As `training.alarm_table.alarm_records` returns them; none gives an empty figure that says so.
    horizon_weeks : int
        Of the probability that raised the alarms.
    simulated : bool
        Puts SIMULATED on the figure.
    """
    title = f"Crash alarms, {weeks_text(horizon_weeks)}"
    figure, axes = panel_figure(max(len(records), 1), 3.6, title, simulated)
    if not records:
        axes[0].text(0.5, 0.5, "no pair has enough weeks", ha="center", transform=axes[0].transAxes, color=GREY)
    for axis, record in zip(axes, records, strict=False):
        weeks, falls = record.weeks, record.falls
        dates = weeks["decision_date"].to_numpy("datetime64[us]")
        x = weeks["x"].to_numpy(np.float64)
        edges = (falls[name].to_numpy("datetime64[us]") for name in ("peak_date", "trough_date"))
        for peak, trough, caught in zip(*edges, falls["caught"], strict=True):
            # The axis converts dates; matplotlib's types know of numbers only.
            axis.axvspan(
                cast(float, peak), cast(float, trough), color=GREY, alpha=0.35 if caught else 0.12, linewidth=0
            )
        axis.plot(dates, x, color=BLUE, linewidth=1.1)
        standing = weeks["alarm"].to_numpy(np.bool_)
        axis.plot(dates[standing], x[standing], "o", color=ORANGE, markersize=3)
        alarms = int(weeks["spell"].max()) - int(weeks.loc[standing, "spell"].min()) + 1 if standing.any() else 0
        axis.set_title(
            f"{record.pair}: {int(falls['caught'].sum())} of {len(falls)} falls, {alarms} alarms", fontsize=10
        )
        axis.tick_params(axis="x", labelsize=7, rotation=30)
    axes[0].set_ylabel("small minus large, log")
    note = (
        "Dots: weeks under alarm. Grey: the largest falls of small against large, darker where an alarm stood in them."
    )
    figure.supxlabel(note, fontsize=7, color=GREY)
    return figure
