"""Crash alarms: the weeks in which the head's crash probability is unusually high, and what they were worth.

The threshold is learned on past scores only: the level that would have raised at most so many alarms a year. An alarm
stands for the horizon it speaks of, and weeks in a row are one alarm.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from dataclasses import dataclass

import numpy as np
import pandas as pd

from features.contracts import BoolArray, FloatArray, IntArray
from features.errors import DataContractError

WEEKS_A_YEAR = 52


@dataclass(frozen=True)
class AlarmRule:
    """How alarms are raised.

    Parameters
    ----------
    per_year : int
        Most alarms to start within 52 weeks, for learning the threshold and when it is applied.
    burn_in : int
        Weeks of scores before the first threshold.
    max_share : float
        Most of the past weeks that the threshold may have put under alarm, a fraction: a score that drifts could
        otherwise stay inside one endless alarm. Two alarms of four weeks are 15% of a year.
    max_weeks : int
        An alarm lapses after so many weeks; should the score still be above the threshold, the next one counts anew.
    """

    per_year: int = 2
    burn_in: int = 104
    max_share: float = 0.15
    max_weeks: int = 13

    def __post_init__(self) -> None:
        """Validate."""
        counts = (self.per_year, self.burn_in, self.max_weeks)
        if min(counts) < 1 or not 0 < self.max_share <= 1:
            raise DataContractError(
                f"`per_year`, `burn_in` and `max_weeks` must be 1 or more and `max_share` in (0, 1]; got {counts} "
                f"and {self.max_share}"
            )


def alarm_threshold(past: FloatArray, hold: int, rule: AlarmRule) -> float:
    """Return the score above which an alarm is raised, from past scores alone.

    Walking down from the highest score, the first one that would bring the past alarms above the budget: `per_year`
    times the years, or `max_share` of the weeks.

    Parameters
    ----------
    past : array, shape (n,)
        Earlier scores in order of time, missing where there was none.
    hold : int
        Weeks an alarm stands after the score was last above the threshold.

    Information set: the scores given.

    Examples
    --------
    >>> alarm_threshold(np.array([0.1, 0.2, 0.6, 0.1, 0.1, 0.5, 0.1, 0.3]), 1, AlarmRule(per_year=2, max_share=1.0))
    0.5
    """
    budget = max(rule.per_year * len(past) / WEEKS_A_YEAR, 1.0)
    crossed: list[int] = []
    starts, standing = 0, 0
    order = np.argsort(-past, kind="stable")
    for week in order[: int(np.isfinite(past).sum())]:
        place = bisect_left(crossed, week)
        before = week - crossed[place - 1] if place else hold + 1
        after = crossed[place] - week if place < len(crossed) else hold + 1
        # A new week may join the alarm before it, the one after it, or both.
        starts += int(before > hold) + int(after > hold) - int(before + after > hold)
        standing += min(before, hold) + min(after, hold) - min(before + after, hold)
        insort(crossed, int(week))
        if starts > budget or standing > rule.max_share * len(past):
            return float(past[week])
    return float(past[order[len(crossed) - 1]]) if crossed else float("inf")


def raise_alarms(score: FloatArray, hold: int, rule: AlarmRule | None = None) -> pd.DataFrame:
    """Raise alarms week by week.

    Parameters
    ----------
    score : array, shape (n,)
        Crash probability of consecutive weeks, a fraction; a missing one raises nothing.
    hold : int
        Weeks an alarm stands after the score was last above the threshold: the horizon of the probability.
    rule : AlarmRule, optional

    Returns
    -------
    pandas.DataFrame, n rows
        `score`, `threshold` (missing during the burn-in), `alarm` (whether one stands), `spell` (its number from 0, -1
        where none stands) and `withheld` (a score above the threshold that would have started one alarm too many).

    Raises
    ------
    DataContractError
        If `hold` is below 1.

    Information set: row i uses scores up to i, its threshold those before i; no outcome.
    """
    if hold < 1:
        raise DataContractError(f"`hold` must be 1 or more weeks; got {hold}")
    rule = rule or AlarmRule()
    n = len(score)
    threshold, spell, withheld = np.full(n, np.nan), np.full(n, -1, dtype=np.int64), np.zeros(n, dtype=np.bool_)
    starts: list[int] = []
    until = -1
    for week in range(n):
        if week >= rule.burn_in:
            threshold[week] = alarm_threshold(score[:week], hold, rule)
        if score[week] > threshold[week]:
            if not starts or week > until + 1 or week - starts[-1] >= rule.max_weeks:
                recent = sum(start > week - WEEKS_A_YEAR for start in starts)
                withheld[week] = recent >= rule.per_year
                if not withheld[week]:
                    starts.append(week)
            if not withheld[week]:
                until = min(week + hold, starts[-1] + rule.max_weeks) - 1
        if week <= until:
            spell[week] = len(starts) - 1
    return pd.DataFrame(
        {"score": score, "threshold": threshold, "alarm": spell >= 0, "spell": spell, "withheld": withheld}
    )


def largest_falls(x: FloatArray, count: int = 10, max_weeks: int = 13) -> pd.DataFrame:
    """Find the largest falls of a line that do not overlap, the largest first.

    Parameters
    ----------
    x : array, shape (n,)
        The line at entry points, small minus large, log units.
    count : int
        How many; fewer where the line does not fall so often.
    max_weeks : int
        Longest fall: without a limit one slow decline of years would hold every crash in it.

    Returns
    -------
    pandas.DataFrame
        `peak` and `trough` (positions in `x`; one fall's trough may be the next one's peak) and `depth` (log units,
        positive). Of equal falls the earliest, then the shortest. Information set: the whole line; for evaluation only.

    Raises
    ------
    DataContractError
        If the line has gaps.
    """
    if not np.isfinite(x).all():
        raise DataContractError("`x` must have no gaps; leave out the weeks that have not matured")
    n = len(x)
    fall = np.full((n, max_weeks), -np.inf)
    for weeks in range(1, min(max_weeks, n - 1) + 1):
        fall[: n - weeks, weeks - 1] = x[:-weeks] - x[weeks:]
    start = np.arange(n)[:, None]
    stop = start + np.arange(1, max_weeks + 1)
    found: list[tuple[int, int, float]] = []
    while len(found) < count and fall.size and float(fall.max()) > 0:
        peak, column = np.unravel_index(int(np.argmax(fall)), fall.shape)
        trough = int(peak + column + 1)
        found.append((int(peak), trough, float(fall[peak, column])))
        fall[(start < trough) & (stop > peak)] = -np.inf
    return pd.DataFrame(found, columns=["peak", "trough", "depth"]).astype(
        {"peak": np.int64, "trough": np.int64, "depth": np.float64}
    )


def caught_falls(falls: pd.DataFrame, alarms: pd.DataFrame, x: FloatArray) -> pd.DataFrame:
    """Say of each fall whether an alarm stood in it, how early, and what was still to come.

    Parameters
    ----------
    falls : pandas.DataFrame
        As `largest_falls` returns them.
    alarms : pandas.DataFrame
        As `raise_alarms` returns them; week i is acted upon at point i of `x`.
    x : array, shape (n + 1,)

    Returns
    -------
    pandas.DataFrame
        The falls with `caught` (an alarm stood at an entry from the peak to the week before the trough), `lead_weeks`
        (peak minus the start of that alarm: below zero it came after the peak) and `saved` (share of the fall after
        the first such entry; 0 where none stood).
    """
    standing = alarms["alarm"].to_numpy(np.bool_)
    spell = alarms["spell"].to_numpy(np.int64)
    rows = []
    for peak, trough, depth in falls.itertuples(index=False):
        inside = np.flatnonzero(standing[peak:trough])
        if len(inside) == 0:
            rows.append((False, np.nan, 0.0))
            continue
        first = int(peak + inside[0])
        began = int(np.argmax(spell == spell[first]))
        rows.append((True, float(peak - began), float((x[first] - x[trough]) / depth)))
    found = pd.DataFrame(rows, columns=["caught", "lead_weeks", "saved"], index=falls.index)
    return falls.join(found.astype({"caught": bool, "lead_weeks": np.float64, "saved": np.float64}))


def shifted_catches(falls: pd.DataFrame, standing: BoolArray) -> IntArray:
    """Count the falls caught by every circular shift of the alarms, shape (n,); the first is no shift."""
    n = len(standing)
    # Alarm weeks up to each position of two turns of the circle, so that a window never wraps.
    total = np.concatenate([[0], np.cumsum(np.tile(standing, 2))])
    back = (-np.arange(n)) % n
    counts = np.zeros(n, dtype=np.int64)
    for peak, trough in falls[["peak", "trough"]].itertuples(index=False):
        counts += total[back + trough] > total[back + peak]
    return counts
