"""Outcomes: what a decision turned out to mean, each with the time it could first be known."""

from __future__ import annotations

import numpy as np
import pandas as pd

from features.contracts import HORIZONS, FloatArray, History, IntArray, TimeArray, read_events
from features.pointintime import epochs


def outcome_frame(
    rows: pd.DataFrame, line: History, entries: TimeArray, first: IntArray, clock: TimeArray
) -> pd.DataFrame:
    """Resolve the outcomes of one pair's rows at both horizons.

    Parameters
    ----------
    rows : pandas.DataFrame, indexed by decision_date
        With `sigma` and `style`.
    line : History
        Every vintage of x_t on daily closes.
    entries : array of datetime64[us], shape (w,)
        Entry day of every week of the calendar.
    first : array of int, shape (n,)
        For each row the index of its own entry in `entries`.
    clock : array of datetime64[us], shape (w,)
        UTC time at which the close of each entry day is known.

    Returns
    -------
    pandas.DataFrame, indexed by (decision_date, horizon_weeks)
        `entry_date, exit_date, matured_at, spread_realised, y_switch, y_large, y_crash`; the last four are missing
        where the calendar or the line ends before the exit.

    Information set: each outcome uses the line as known when it matured, so a later correction does not change it.
    """
    frames = []
    for horizon in HORIZONS:
        path, exit_date, matured_at = entry_paths(line, entries, first, clock, horizon)
        known = np.isfinite(path).all(axis=1)
        switch, large, crash = read_events(path, rows["sigma"].to_numpy(), rows["style"].to_numpy(), horizon)
        frame = pd.DataFrame(
            {
                "decision_date": rows.index,
                "horizon_weeks": horizon,
                "entry_date": entries[first],
                "exit_date": exit_date,
                "matured_at": matured_at,
                "spread_realised": path[:, -1],
            }
        )
        for name, happened in (("y_switch", switch), ("y_large", large), ("y_crash", crash)):
            frame[name] = np.where(known, happened.astype(np.float64), np.nan)
        frames.append(frame)
    return pd.concat(frames, ignore_index=True).set_index(["decision_date", "horizon_weeks"]).sort_index()


def entry_paths(
    line: History, entries: TimeArray, first: IntArray, clock: TimeArray, horizon: int
) -> tuple[FloatArray, TimeArray, TimeArray]:
    """Follow the spread from each row's entry over the weekly entry points of a horizon.

    Parameters
    ----------
    line, entries, first, clock
        As `outcome_frame`.
    horizon : int
        Weeks.

    Returns
    -------
    path : array, shape (n, horizon)
        Small-minus-large log return since entry; missing where a close is.
    exit_date, matured_at : array of datetime64[us], shape (n,)
        NaT where the calendar ends before.

    Information set: each path uses the line as known when it matured.
    """
    exit_week = first + horizon
    inside = exit_week < len(entries)
    exit_index = np.minimum(exit_week, len(entries) - 1)
    nat = np.datetime64("NaT")
    exit_date = np.where(inside, entries[exit_index], nat)
    matured_at = np.where(inside, clock[exit_index], nat)
    path = np.full((len(first), horizon), np.nan)
    chosen = np.flatnonzero(inside)
    for index, period, value, length in epochs(line, matured_at[chosen]):
        member = chosen[index]
        points = entries[first[member][:, None] + np.arange(horizon + 1)]
        found = np.searchsorted(period, points)
        # Only rows known when the outcome matured count; a missing close leaves the outcome missing.
        valid = found < length[:, None]
        valid &= period[np.minimum(found, len(period) - 1)] == points
        closes = np.where(valid, value[np.minimum(found, len(period) - 1), 0], np.nan)
        path[member] = closes[:, 1:] - closes[:, :1]
    return path, exit_date, matured_at
