"""What the page and the terminal show of a forecast: which rows, in which order. Numbers stay numbers here."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, tzinfo

import numpy as np

from features.contracts import FAMILIES, HORIZONS
from features.errors import DataContractError
from models.validity import Reason
from serving.record import (
    Driver,
    Fan,
    Forecast,
    HeadForecast,
    LeverageRow,
    LeverageView,
    NextRelease,
    PairForecast,
    StyleHistory,
)

MAIN_HORIZON = max(HORIZONS)
SHOWN_DRIVERS = 5
_PROBE = 1e-12
_SESSIONS_A_WEEK = 5


@dataclass(frozen=True)
class Step:
    """What one family adds to the way from the base rate to the probability."""

    family: str
    log_odds: float
    points: float


def headline_rows(forecast: Forecast) -> tuple[PairForecast, ...]:
    """Return the rows of the headline pair, shortest horizon first.

    Raises
    ------
    DataContractError
        If the headline pair has no row at the main horizon, which every sentence of the note is about.
    """
    rows = tuple(sorted((r for r in forecast.pairs if r.pair == forecast.headline), key=lambda r: r.horizon_weeks))
    if not any(row.horizon_weeks == MAIN_HORIZON for row in rows):
        held = sorted({f"{row.pair} at {row.horizon_weeks}w" for row in forecast.pairs})
        raise DataContractError(
            f"`forecast.pairs` must hold {forecast.headline} at {MAIN_HORIZON}w; got {', '.join(held) or 'no rows'}"
        )
    return rows


def main_row(forecast: Forecast) -> PairForecast:
    """Return the headline pair at the main horizon: the row the call is about."""
    return next(row for row in headline_rows(forecast) if row.horizon_weeks == MAIN_HORIZON)


def other_rows(forecast: Forecast) -> tuple[tuple[PairForecast, ...], ...]:
    """Return the rows of each further pair in the order of the forecast, shortest horizon first."""
    names = dict.fromkeys(row.pair for row in forecast.pairs if row.pair != forecast.headline)
    return tuple(
        tuple(sorted((r for r in forecast.pairs if r.pair == name), key=lambda r: r.horizon_weeks)) for name in names
    )


def top_drivers(head: HeadForecast, count: int = SHOWN_DRIVERS) -> tuple[tuple[Driver, ...], tuple[Driver, ...]]:
    """Return the features that raise and that lower a probability most; pseudo families are no features."""
    real = [driver for driver in head.drivers if driver.family in FAMILIES]
    up = sorted((d for d in real if d.log_odds > _PROBE), key=lambda d: (-d.log_odds, d.feature))
    down = sorted((d for d in real if d.log_odds < -_PROBE), key=lambda d: (d.log_odds, d.feature))
    return tuple(up[:count]), tuple(down[:count])


def bridge(head: HeadForecast) -> tuple[Step, ...]:
    """Return the family totals, real families first; their points add up to probability minus base.

    Points are (p - p0) c / (L - L0), with the limit p0 (1 - p0) c (DESIGN section 5). Empty when the head abstains.
    """
    if head.probability is None or head.log_odds is None:
        return ()
    start = 1.0 / (1.0 + np.exp(-head.base_log_odds))
    gap = head.log_odds - head.base_log_odds
    rate = (head.probability - start) / gap if abs(gap) > _PROBE else start * (1.0 - start)
    names = [f for f in FAMILIES if f in head.families] + [f for f in head.families if f not in FAMILIES]
    return tuple(Step(name, head.families[name], float(rate) * head.families[name]) for name in names)


def following_book(row: PairForecast) -> tuple[float, float] | None:
    """Return VaR and ES 95% as log returns of the book that follows the style in force; None without a tail.

    The book is long the leading segment and short the other one, so that losses are negative for either style.
    """
    if row.tail is None:
        return None
    if row.style_in_force == "small":
        return row.tail["var_95"], row.tail["es_95"]
    return -row.tail["var_95_up"], -row.tail["es_95_up"]


def verdict(head: HeadForecast) -> str:
    """Return ``above``, ``below`` or ``near``: where the 80% band stands against the base; ``none`` if abstained."""
    if head.probability is None:
        return "none"
    if head.base < (head.probability if head.lo is None else head.lo):
        return "above"
    return "below" if head.base > (head.probability if head.hi is None else head.hi) else "near"


def axis_top(rows: Iterable[PairForecast]) -> float:
    """Return the end of the common probability axis: the next tenth above everything drawn, at most 1."""
    heads = [head for row in rows for head in row.heads.values()]
    drawn = [x for head in heads for x in (head.probability, head.base, head.lo, head.hi) if x is not None]
    return float(min(1.0, np.ceil(10.0 * max(drawn, default=1.0) + _PROBE) / 10.0))


def reasons(rows: Iterable[PairForecast]) -> tuple[Reason, ...]:
    """Return the reasons of all rows, each once, in order."""
    return tuple(dict.fromkeys(reason for row in rows for reason in row.reasons))


def runs(history: StyleHistory) -> tuple[tuple[date, date, str], ...]:
    """Return first day, last day and style of every stretch in force; a stretch ends where the next begins."""
    starts = [i for i in range(len(history.style)) if i == 0 or history.style[i] != history.style[i - 1]]
    ends = [*starts[1:], len(history.style) - 1] if starts else []
    return tuple((history.dates[a], history.dates[b], history.style[a]) for a, b in zip(starts, ends, strict=True))


def weekly_points(fan: Fan) -> tuple[int, ...]:
    """Return the places of every fifth session after the entry, and of the last one."""
    last = len(fan.sessions) - 1
    return tuple(dict.fromkeys((*range(_SESSIONS_A_WEEK, last + 1, _SESSIONS_A_WEEK), last))) if last > 0 else ()


def leverage_rows(book: LeverageView) -> tuple[tuple[int, tuple[LeverageRow, ...]], ...]:
    """Return the rows of each horizon in weeks, shortest first, each by leverage."""
    weeks = sorted({row.horizon_weeks for row in book.rows})
    ordered = sorted(book.rows, key=lambda row: row.leverage)
    return tuple((week, tuple(row for row in ordered if row.horizon_weeks == week)) for week in weeks)


def upcoming(forecast: Forecast) -> tuple[NextRelease, ...]:
    """Return the next releases, earliest first."""
    return tuple(sorted(forecast.next_releases, key=lambda release: (release.expected, release.series)))


def exchange_zone(forecast: Forecast) -> tzinfo:
    """Return the zone of the decision time.

    Raises
    ------
    DataContractError
        If the decision time carries no zone: dates of knowledge could not be told.
    """
    if forecast.decision_at.tzinfo is None:
        raise DataContractError(f"`forecast.decision_at` must carry a time zone; got {forecast.decision_at}")
    return forecast.decision_at.tzinfo


def local_date(known_at: datetime, zone: tzinfo) -> date:
    """Return the exchange's date of a time in UTC; a time without zone is taken for UTC, as arrays hold it."""
    return (known_at if known_at.tzinfo else known_at.replace(tzinfo=UTC)).astimezone(zone).date()
