"""The same three questions under other definitions: a conclusion must not hang on how the labels were drawn.

Every set keeps rows, columns and fixed maturity of `features.outcomes.outcome_frame`, so a dataset with one of them in
place of its outcomes runs through the whole walk-forward.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, NamedTuple, cast

import numpy as np
import pandas as pd

from features.calendar import TradingCalendar
from features.contracts import (
    CRASH_SIGMA,
    HORIZONS,
    STYLE_SMALL,
    SWITCH_SIGMA,
    Dataset,
    FloatArray,
    History,
    IntArray,
    TimeArray,
)
from features.errors import DataContractError
from features.outcomes import entry_paths
from features.pointintime import epochs
from features.states import SIGMA_HALFLIFE, weekly_sigma

_EVENTS = ("y_switch", "y_large", "y_crash")


@dataclass(frozen=True)
class LabelSet:
    """One definition of the events.

    Parameters
    ----------
    name, why : str
    switch_sigma, crash_sigma : float
        How far the spread must move, in sigma times the root of the horizon.
    read : str
        "path": at any weekly entry point; "end": at the last one only.
    halflife : float
        Of sigma, in weeks.
    raw : tuple of float, optional
        Moves at 1 and 4 weeks (log units, fractions) in place of multiples of sigma, for switch and crash alike.
    flip_weeks : tuple of int, optional
        The switch is a flip of the style in force at a decision within so many weeks, at 1 and 4 weeks' horizon;
        direction and crash stay, with the later maturity.
    """

    name: str
    why: str
    switch_sigma: float = SWITCH_SIGMA
    crash_sigma: float = CRASH_SIGMA
    read: Literal["path", "end"] = "path"
    halflife: float = SIGMA_HALFLIFE
    raw: tuple[float, float] | None = None
    flip_weeks: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        """Validate; a crash that needs less than a switch would break their nesting."""
        if not 0 < self.switch_sigma <= self.crash_sigma:
            raise DataContractError(
                f"`switch_sigma` must be above 0 and not above `crash_sigma`; got {self.switch_sigma} and "
                f"{self.crash_sigma}"
            )
        if self.read not in ("path", "end") or not self.halflife > 0:
            raise DataContractError(f"`read` must be path or end, `halflife` above 0; got {self.read}, {self.halflife}")
        for name, pair in (("raw", self.raw), ("flip_weeks", self.flip_weeks)):
            if pair is not None and not (len(pair) == len(HORIZONS) and min(pair) > 0):
                raise DataContractError(f"`{name}` must hold a positive number for each horizon; got {pair}")


LABEL_SETS: tuple[LabelSet, ...] = (
    LabelSet("base", "the published events"),
    LabelSet("nearer", "smaller moves, more of them", switch_sigma=0.75, crash_sigma=1.0),
    LabelSet("farther", "larger moves, fewer of them", switch_sigma=1.25, crash_sigma=1.5),
    LabelSet("end", "where the spread ends, not where it passed", read="end"),
    LabelSet("raw", "3% in a week, 5% in four, whatever the volatility", raw=(0.03, 0.05)),
    LabelSet("quick_sigma", "a yardstick that follows volatility within a quarter", halflife=13),
    LabelSet("slow_sigma", "a yardstick that remembers a year", halflife=52),
    LabelSet("flip", "the style in force itself changes, within 4 and 13 weeks", flip_weeks=(4, 13)),
)
"""Five definitions beside the base: multiple of sigma, end of horizon, raw move, memory of sigma, flip of the state."""


class Weeks(NamedTuple):
    """The calendar: decisions and their times, entry days and when their closes are known.

    Week i is decided at `decisions[i]` and entered at `entries[i]`. The entries go on beyond the last decision.
    """

    decisions: TimeArray
    decision_at: TimeArray
    entries: TimeArray
    entry_at: TimeArray


def label_outcomes(dataset: Dataset, labels: LabelSet) -> pd.DataFrame:
    """Return a dataset's outcomes under another definition.

    Parameters
    ----------
    dataset : Dataset
    labels : LabelSet

    Returns
    -------
    pandas.DataFrame, indexed by (pair, decision_date, horizon_weeks)
        The columns of `dataset.outcomes`; the base set returns equal numbers.

    Information set: of each outcome, what was known at its `matured_at`; sigma and style as known at the decision.
    """
    weeks = dataset_weeks(dataset)
    frames = {
        str(pair): label_frame(rows.droplevel("pair"), dataset.lines[str(pair)], weeks, labels)
        for pair, rows in dataset.rows.groupby(level="pair", sort=False)
    }
    return pd.concat(frames, names=["pair"]).reindex(dataset.outcomes.index)


def with_labels(dataset: Dataset, labels: LabelSet) -> Dataset:
    """Return the dataset with outcomes under another definition, ready for the walk-forward."""
    return replace(dataset, outcomes=label_outcomes(dataset, labels))


def dataset_weeks(dataset: Dataset) -> Weeks:
    """Read the calendar of a dataset.

    When the close of an entry day is known stands in the outcomes, as the maturity of those that end there; entries
    that end none are never asked for.
    """
    clock = dataset.clock
    calendar = TradingCalendar(dataset.market, dataset.sessions)
    entries = calendar.entries(calendar.decisions())
    exits = dataset.outcomes[["exit_date", "matured_at"]].dropna().drop_duplicates("exit_date").set_index("exit_date")
    known = exits["matured_at"].reindex(pd.DatetimeIndex(entries)).to_numpy("datetime64[us]")
    times = clock["decision_at"].to_numpy("datetime64[us]")
    return Weeks(clock.index.to_numpy("datetime64[us]"), times, entries, known)


def label_frame(rows: pd.DataFrame, line: History, weeks: Weeks, labels: LabelSet) -> pd.DataFrame:
    """Resolve one pair's outcomes under a definition.

    Parameters
    ----------
    rows : pandas.DataFrame, indexed by decision_date
        With `sigma` and `style` as known at the decision.
    line : History
        Every vintage of x_t on daily closes.
    weeks : Weeks
        The calendar; holds every decision date of `rows`.
    labels : LabelSet

    Returns
    -------
    pandas.DataFrame, indexed by (decision_date, horizon_weeks)
        As `features.outcomes.outcome_frame`.

    Raises
    ------
    DataContractError
        If a row is no decision of the calendar.

    Information set: of each outcome, what was known at its `matured_at`.
    """
    decided = rows.index.to_numpy("datetime64[us]")
    first = np.searchsorted(weeks.decisions, decided).astype(np.int64)
    if not np.isin(decided, weeks.decisions).all():
        raise DataContractError("rows must lie on decisions of the calendar", rows[~np.isin(decided, weeks.decisions)])
    style = rows["style"].to_numpy(np.int64)
    sigma = rows["sigma"].to_numpy(np.float64)
    if labels.halflife != SIGMA_HALFLIFE:
        sigma = sigma_at(line, weeks, labels.halflife)[first]
    frames = []
    for place, horizon in enumerate(HORIZONS):
        path, exit_date, matured_at = entry_paths(line, weeks.entries, first, weeks.entry_at, horizon)
        bars = tuple(multiple * sigma * np.sqrt(horizon) for multiple in (labels.switch_sigma, labels.crash_sigma))
        if labels.raw is not None:
            bars = (np.full(len(rows), labels.raw[place]),) * 2
        seen = path if labels.read == "path" else path[:, -1:]
        happened = _events(seen, bars, style)
        known = np.isfinite(path).all(axis=1) & np.isfinite(bars[0])
        if labels.flip_weeks is not None:
            flip, flip_at = _flips(rows, weeks, first, labels.flip_weeks[place])
            # A dataset has one maturity a row: the later of the two, never too early.
            late = np.isnan(flip) | np.isnat(matured_at)
            matured_at = np.where(late, np.datetime64("NaT"), np.maximum(matured_at, flip_at))
            happened["y_switch"], known = flip == 1, known & ~late
        frame = pd.DataFrame(
            {
                "decision_date": rows.index,
                "horizon_weeks": horizon,
                "entry_date": weeks.entries[first],
                "exit_date": exit_date,
                "matured_at": matured_at,
                "spread_realised": path[:, -1],
            }
        )
        for name in _EVENTS:
            frame[name] = np.where(known, happened[name].astype(np.float64), np.nan)
        frames.append(frame)
    return pd.concat(frames, ignore_index=True).set_index(["decision_date", "horizon_weeks"]).sort_index()


def sigma_at(line: History, weeks: Weeks, halflife: float) -> FloatArray:
    """Return the weekly sigma of a pair at every decision with another memory, weekly log units, shape (w,).

    Missing where the decision's own close was not known at its time, and before 26 changes.

    Information set: rows with known_at <= the decision.
    """
    sigma = np.full(len(weeks.decisions), np.nan)
    for index, period, value, length in epochs(line, weeks.decision_at):
        until = np.arange(index[-1] + 1)
        row = np.searchsorted(period, weeks.decisions[until])
        closed = (row < len(period)) & (period[np.minimum(row, len(period) - 1)] == weeks.decisions[until])
        own = np.full(len(until), np.nan)
        own[closed] = weekly_sigma(value[row[closed], 0], halflife)
        known = row[index] < length
        sigma[index[known]] = own[index[known]]
    return sigma


def _events(path: FloatArray, bars: tuple[FloatArray, ...], style: IntArray) -> dict[str, np.ndarray]:
    lowest, highest = path.min(axis=1), path.max(axis=1)
    adverse = np.where(style == STYLE_SMALL, -lowest, highest)
    return {"y_switch": adverse > bars[0], "y_large": path[:, -1] < 0, "y_crash": -lowest > bars[1]}


def _flips(rows: pd.DataFrame, weeks: Weeks, first: IntArray, within: int) -> tuple[FloatArray, TimeArray]:
    """Whether the style in force at one of the next decisions differs, and when the last of them is made.

    A decision without a row (its close came late) is passed over; the label waits for all of them, so that an early
    flip does not mature early.
    """
    style = np.zeros(len(weeks.decisions), dtype=np.int64)
    style[first] = rows["style"].to_numpy(np.int64)
    last = first + within
    inside = last < len(weeks.decisions)
    at = weeks.decision_at[np.minimum(last, len(weeks.decisions) - 1)]
    ahead = style[np.minimum(first[:, None] + np.arange(1, within + 1), len(weeks.decisions) - 1)]
    flipped = ((ahead != 0) & (ahead != style[first][:, None])).any(axis=1)
    result = np.where(inside, flipped.astype(np.float64), np.nan)
    return result, cast(TimeArray, np.where(inside, at, np.datetime64("NaT")))
