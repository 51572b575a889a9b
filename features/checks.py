"""Data checks: they return findings, and the caller decides."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from features.contracts import BoolArray, FloatArray, TimeArray
from features.errors import DataContractError
from features.market import MarketSpec, SeriesSpec
from features.series import in_current_unit, within_lifetime

Severity = Literal["error", "warning", "info"]
FINDING_COLUMNS = ("series", "check", "severity", "period", "value", "quarantined", "message")
_GAP_DAYS = {"daily": 30, "weekly": 60, "monthly": 100}
"""Calendar days between neighbouring periods that make a gap (or the staleness limit, where that is longer): the
Spring Festival closes the exchange for 10 to 12, and January figures are often folded into February's. Announcements
and consensus forecasts come when they come."""


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong with one series, with the remedy in `message`."""

    series: str
    check: str
    severity: Severity
    period: pd.Timestamp | None
    value: float | None
    quarantined: bool
    message: str


def findings_frame(findings: list[Finding]) -> pd.DataFrame:
    """Return findings as a frame with the columns `FINDING_COLUMNS`."""
    return pd.DataFrame([vars(finding) for finding in findings], columns=list(FINDING_COLUMNS))


def check_batch(observations: pd.DataFrame, market: MarketSpec) -> tuple[list[Finding], BoolArray]:
    """Check the points of a batch before it is stored.

    Parameters
    ----------
    observations : pandas.DataFrame
        `series, period, known_at, value`.
    market : MarketSpec

    Returns
    -------
    findings : list of Finding
    bad : array of bool, shape (len(observations),)
        Rows to quarantine.

    Raises
    ------
    DataContractError
        If the definition does not declare a series.

    Information set: a point is judged by itself and by earlier points of its series only.
    """
    findings: list[Finding] = []
    bad = np.zeros(len(observations), dtype=np.bool_)
    for name, positions in observations.groupby("series", sort=True).indices.items():
        spec = market.series.get(str(name))
        if spec is None:
            rows = observations.iloc[positions]
            raise DataContractError(f"series {name!r} is not declared in market {market.name!r}; declare it", rows)
        period = observations["period"].to_numpy("datetime64[us]")[positions]
        order = np.argsort(period, kind="stable")
        at = np.asarray(positions, dtype=np.int64)[order]
        value = in_current_unit(spec, period[order], observations["value"].to_numpy(np.float64)[at])
        known_at = observations["known_at"].to_numpy("datetime64[us]")[at]
        wrong, found = _check_series(spec, period[order], known_at, value, market.schedule.timezone)
        bad[at] = wrong
        findings += found
    return findings, bad


def _check_series(
    spec: SeriesSpec, period: TimeArray, known_at: TimeArray, value: FloatArray, timezone: str
) -> tuple[BoolArray, list[Finding]]:
    """Check one series, rows by period and values in today's unit; return its bad rows and what was found.

    Rows outside the series' lifetime are never served and not judged.
    """
    low, high = spec.range
    lived = within_lifetime(spec, period)
    outside = lived & ~(np.isfinite(value) & (value >= low) & (value <= high))
    early = lived & _early(spec, period, known_at, timezone)
    days = spec.early_release_days
    results = [
        (outside, "out_of_range", f"outside the plausible range [{low:g}, {high:g}] {spec.unit}"),
        (early, "known_before_period", f"published more than {days} day(s) before its period ended"),
    ]
    findings = []
    if spec.max_jump is not None:
        limit = f"{spec.max_jump:g} {spec.unit}"
        spike, shift = jumps(np.where(lived & ~outside, value, np.nan), spec.max_jump)
        results.append((spike, "jump", f"differs from the last good value by more than {limit}"))
        findings = [
            Finding(
                spec.name, "unit_jump", "error", pd.Timestamp(period[row]), float(value[row]), False,
                f"the level moved by more than {limit} and stayed there; if the definition changed, declare it under "
                "`breaks`",
            )
            for row in np.flatnonzero(shift)
        ]  # fmt: skip
    bad = np.zeros(len(value), dtype=np.bool_)
    for mask, check, message in results:
        bad |= mask
        findings += [
            Finding(spec.name, check, "error", pd.Timestamp(period[row]), float(value[row]), True, message)
            for row in np.flatnonzero(mask)
        ]
    return bad, findings


def check_stored(observations: pd.DataFrame, market: MarketSpec, as_of: np.datetime64) -> list[Finding]:
    """Check what a store holds against cadence and lifetime at a decision time.

    Parameters
    ----------
    observations : pandas.DataFrame
        `series, period, known_at, value` with known_at <= as_of.
    market : MarketSpec
    as_of : datetime64[us]
        UTC.
    """
    findings: list[Finding] = []
    present = {str(name): rows for name, rows in observations.groupby("series", sort=True)}
    used = market.used_series()
    today = as_of.astype("datetime64[D]")
    for name, spec in market.series.items():
        dead = spec.died is not None and np.datetime64(spec.died, "D") < today
        if dead and name in used:
            findings.append(
                Finding(name, "dead", "warning", pd.Timestamp(str(spec.died)), None, False,
                        "the series has ended; features that ask for it are absent")
            )  # fmt: skip
        for change in spec.breaks:
            if name in present:
                findings.append(
                    Finding(name, "definition_break", "info", pd.Timestamp(change.date), None, False,
                            f"earlier values are multiplied by {change.factor:g} to today's unit")
                )  # fmt: skip
        if name not in present:
            if not spec.optional:
                findings.append(Finding(name, "missing", "error", None, None, False, "no observation is stored"))
            continue
        period = np.unique(present[name]["period"].to_numpy("datetime64[us]"))
        period = period[within_lifetime(spec, period)]
        if not len(period):
            findings.append(Finding(name, "missing", "error", None, None, False, "nothing is stored of its lifetime"))
            continue
        findings += _gaps(spec, period)
        age = int((today - period[-1].astype("datetime64[D]")).astype(np.int64))
        if not dead and age > spec.stale_days:
            findings.append(
                Finding(name, "stale", "warning", pd.Timestamp(period[-1]), None, False,
                        f"the newest period is {age} days old; at most {spec.stale_days} are usual")
            )  # fmt: skip
    return findings


def jumps(value: FloatArray, limit: float) -> tuple[BoolArray, BoolArray]:
    """Separate single bad points from lasting changes of level, judging each point by earlier ones only.

    A point further than `limit` from the last good one is a spike; when the next point confirms its level, that next
    point marks a shift and the level is accepted.

    Parameters
    ----------
    value : array, shape (n,)
        By period; missing rows are passed over.
    limit : float
        Largest usual difference, in the unit of `value`.

    Returns
    -------
    spike, shift : arrays of bool, shape (n,)

    Information set: row i is judged by rows up to i.
    """
    spike = np.zeros(len(value), dtype=np.bool_)
    shift = np.zeros(len(value), dtype=np.bool_)
    # Only points next to a large change need the sequential rule.
    present = np.flatnonzero(np.isfinite(value))
    if len(present) < 2 or np.abs(np.diff(value[present])).max() <= limit:
        return spike, shift
    good, suspect = value[present[0]], np.nan
    for row in present[1:]:
        if abs(value[row] - good) <= limit:
            good, suspect = value[row], np.nan
        elif abs(value[row] - suspect) <= limit:
            shift[row] = True
            good, suspect = value[row], np.nan
        else:
            spike[row] = True
            suspect = value[row]
    return spike, shift


def _early(spec: SeriesSpec, period: TimeArray, known_at: TimeArray, timezone: str) -> BoolArray:
    zone = spec.known.tz or timezone
    local = pd.DatetimeIndex(known_at).tz_localize("UTC").tz_convert(zone).tz_localize(None)
    day = local.to_numpy("datetime64[us]").astype("datetime64[D]")
    early: BoolArray = day < period.astype("datetime64[D]") - np.timedelta64(spec.early_release_days, "D")
    return early


def _gaps(spec: SeriesSpec, period: TimeArray) -> list[Finding]:
    if spec.shape == "dated" or spec.column == "forecast":
        return []
    days = np.diff(period).astype("timedelta64[D]").astype(np.int64)
    limit = max(_GAP_DAYS[spec.frequency], spec.stale_days)
    return [
        Finding(
            spec.name, "gap", "warning", pd.Timestamp(period[at + 1]), None, False,
            f"{days[at]} days without a value since {np.datetime64(period[at], 'D')}",
        )
        for at in np.flatnonzero(days > limit)
    ]  # fmt: skip
