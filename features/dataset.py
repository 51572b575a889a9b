"""From observations to everything the models see of one market."""

from __future__ import annotations

import numpy as np
import pandas as pd

from features.calendar import TradingCalendar, local_to_utc
from features.contracts import HORIZONS, Dataset, FloatArray, History, IntArray, PairInfo, TimeArray
from features.errors import DataContractError
from features.market import MarketSpec
from features.outcomes import outcome_frame
from features.panel import build_panel, feature_infos
from features.pointintime import align, epochs
from features.snapshot import snapshot_ids
from features.states import short_volatility, state_frame
from features.store import histories

_MARGIN = np.timedelta64(120, "D")
"""Calendar days after the last decision that the session calendar must reach: the longest horizon and its holidays."""


def market_calendar(market: MarketSpec, until: np.datetime64) -> TradingCalendar:
    """Return the market's sessions from its first price to some weeks after `until`."""
    end = until.astype("datetime64[D]") + _MARGIN
    # A calendar takes half a second to build: whole years are built once and cut.
    year_end = (end.astype("datetime64[Y]") + np.timedelta64(1, "Y")).astype("datetime64[D]") - np.timedelta64(1, "D")
    years = TradingCalendar.build(market.schedule.calendar, np.datetime64(market.schedule.history_start), year_end)
    return TradingCalendar(years.name, years.sessions[years.sessions <= end])


def decision_times(market: MarketSpec, decisions: TimeArray) -> TimeArray:
    """Return the UTC time of each decision day's decision."""
    clock = market.schedule.decision_time
    return local_to_utc(decisions, pd.Timedelta(hours=clock.hour, minutes=clock.minute), market.schedule.timezone)


def decision_day(market: MarketSpec, day: np.datetime64) -> np.datetime64:
    """Return `day` if it is a decision day.

    Raises
    ------
    DataContractError
        If it is not, with the previous decision day, if the history starts later, or if the exchange calendar ends
        before the longest outcome of that day matures.
    """
    day = day.astype("datetime64[us]")
    start = np.datetime64(market.schedule.history_start, "us")
    calendar = market_calendar(market, max(day, start))
    decisions = calendar.decisions()
    if day < decisions[0]:
        raise DataContractError(
            f"`as_of` {_day_text(day)} is before the history of market {market.name!r}; its first decision "
            f"day is {_day_text(decisions[0])}"
        )
    _check_reach(calendar, decisions, day)
    if day not in decisions:
        raise DataContractError(
            f"`as_of` must be a decision day, the last session of its week; {_day_text(day)} is none, "
            f"the previous one is {_day_text(calendar.previous_decision(day))}"
        )
    return day


def _check_reach(calendar: TradingCalendar, decisions: TimeArray, day: np.datetime64) -> None:
    """Refuse a day whose entry and exits the calendar does not know: holidays are published a year at a time."""
    if np.searchsorted(decisions, day) + max(HORIZONS) >= len(decisions):
        raise DataContractError(
            f"the {calendar.name} calendar ends {_day_text(calendar.sessions[-1])}, before the outcomes of "
            f"{_day_text(day)} mature; update the package exchange_calendars"
        )


def build_dataset(observations: pd.DataFrame, market: MarketSpec, last: np.datetime64) -> Dataset:
    """Build panel, states and outcomes of every decision up to `last`.

    Parameters
    ----------
    observations : pandas.DataFrame
        `series, period, known_at, value`; rows known after the last decision are not used.
    market : MarketSpec
    last : datetime64[us]
        The last decision day.

    Returns
    -------
    Dataset
        A pair whose segments have no prices yet has no rows.

        Information set of each cell: rows with known_at <= its decision; of each outcome: <= its maturity.

    Raises
    ------
    DataContractError
        If the headline pair has no prices, or if the exchange calendar ends before the last outcomes mature.
    """
    calendar = _sessions(market, observations, last)
    decisions = calendar.decisions()
    _check_reach(calendar, decisions, last)
    position = np.flatnonzero(decisions <= last)
    entries = calendar.entries(decisions)
    entry_clock = decision_times(market, entries)
    clock = pd.DataFrame(
        {"decision_at": decision_times(market, decisions[position]), "entry_date": entries[position]},
        index=pd.DatetimeIndex(decisions[position], name="decision_date"),
    )
    now = clock["decision_at"].to_numpy("datetime64[us]")[-1]
    observations = observations[observations["known_at"].to_numpy("datetime64[us]") <= now]
    series = histories(observations, market)
    clock["snapshot_id"] = snapshot_ids(observations, clock["decision_at"].to_numpy("datetime64[us]"))
    segments = tuple(sorted(market.segments, key=lambda name: market.segments[name].rank))
    closes = {name: _log_close(series.get(market.segments[name].price)) for name in segments}
    states, lines = {}, {}
    for name, pair in market.pairs.items():
        lines[name] = _line(closes[pair.small], closes[pair.large])
        if pair.headline and len(lines[name]) == 0:
            raise DataContractError(
                f"pair {name}: no prices known at {_day_text(last)} for "
                f"{market.segments[pair.small].price} or {market.segments[pair.large].price}"
            )
        states[name] = _states(lines[name], clock, entries)
    values, known_at, stale = build_panel(market, series, states, clock)
    rows = pd.concat(states, names=["pair", "decision_date"])
    outcomes = pd.concat(
        {
            name: outcome_frame(frame, lines[name], entries, np.searchsorted(decisions, frame.index), entry_clock)
            for name, frame in states.items()
        },
        names=["pair"],
    )
    return Dataset(
        market=market.name,
        simulated=market.simulated,
        pairs=tuple(PairInfo(name, pair.large, pair.small, pair.headline) for name, pair in market.pairs.items()),
        features=feature_infos(market),
        rows=rows,
        values=values,
        known_at=known_at,
        stale=stale,
        outcomes=outcomes,
        segments=segments,
        closes=closes,
        lines=lines,
        clock=clock,
        sessions=calendar.sessions,
    )


def _sessions(market: MarketSpec, observations: pd.DataFrame, last: np.datetime64) -> TradingCalendar:
    """Return the market's sessions; where the definition says so, as realised by the decision of the last day."""
    calendar = market_calendar(market, last)
    if market.schedule.sessions is None:
        return calendar
    seen = observations["series"] == market.schedule.sessions
    seen &= observations["known_at"] <= pd.Timestamp(decision_times(market, np.array([last]))[0])
    return calendar.realised(observations.loc[seen, "period"].to_numpy("datetime64[us]"))


def _log_close(price: History | None) -> History:
    if price is None:
        nothing = np.array([], dtype="datetime64[us]")
        return History.of(nothing, nothing, np.array([]))
    return History(price.period, price.known_at, np.log(price.value))


def _line(small: History, large: History) -> History:
    """Return small minus large, every vintage."""
    joined = align([small, large])
    return History(joined.period, joined.known_at, joined.value[:, :1] - joined.value[:, 1:])


def _states(line: History, clock: pd.DataFrame, entries: TimeArray) -> pd.DataFrame:
    """States of one pair on the decisions at which a style is in force and the day's close is known."""
    decisions = clock.index.to_numpy("datetime64[us]")
    times = clock["decision_at"].to_numpy("datetime64[us]")
    # Entry weeks of all calendar decisions; the first decisions of the calendar are those of `clock`.
    entry = entries[: len(decisions)]
    month = entry.astype("datetime64[M]").astype(np.int64) % 12 + 1
    frames = []
    for index, period, value, length in epochs(line, times):
        x, vol = value[:, 0], short_volatility(value[:, 0])
        until = np.arange(index[-1] + 1)
        row = np.searchsorted(period, decisions[until])
        closed = (row < len(period)) & (period[np.minimum(row, len(period) - 1)] == decisions[until])
        kept = until[closed]
        frame = state_frame(x[row[closed]], vol[row[closed]], month[kept], _matured_weeks(period, x, entry, kept))
        frame.index = kept
        # A member whose own close was not known at its decision time has no row.
        known = closed[index] & (row[index] < length)
        frames.append(frame.loc[index[known]])
    if not frames:
        nothing = np.array([])
        frames.append(state_frame(nothing, nothing, nothing.astype(np.int64), nothing))
    states: pd.DataFrame = pd.concat(frames)
    states.index = pd.DatetimeIndex(decisions[states.index], name="decision_date")
    ruled: pd.DataFrame = states.loc[states["style"] != 0].join(clock)
    counts = np.searchsorted(line.known_at, ruled["decision_at"].to_numpy("datetime64[us]"), side="right")
    ruled["price_known_at"] = line.known_at[counts - 1]
    return ruled


def _matured_weeks(period: TimeArray, x: FloatArray, entry: TimeArray, kept: IntArray) -> FloatArray:
    """Spread of the week entered two decisions ago, log units, on the rows `kept`."""
    row = np.searchsorted(period, entry[kept])
    found = (row < len(period)) & (period[np.minimum(row, len(period) - 1)] == entry[kept])
    close = np.where(found, x[np.minimum(row, len(period) - 1)], np.nan)
    matured = np.full(len(kept), np.nan)
    matured[2:] = close[1:-1] - close[:-2]
    return matured


def _day_text(time: np.datetime64) -> str:
    return str(time.astype("datetime64[D]"))
