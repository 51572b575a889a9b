"""One figure for each claim of the article, out of series; those out of single stocks are in `article_tiers`."""

from __future__ import annotations

import numpy as np
import pandas as pd

from features.contracts import STYLE_SMALL
from features.errors import DataContractError
from features.states import style_in_force, weekly_sigma
from models.correlation import correlation
from models.mean_gap import mean_gap
from serving.article_data import ArticleData, gains
from serving.article_tiers import fund_correlation, fund_exposure, overlap, rebalance_gap, value_gap
from serving.article_units import Figure
from serving.claim_spec import (
    BestWeek,
    CorrelationOf,
    FigureSpec,
    FundCorrelation,
    FundExposure,
    Gain,
    GainChange,
    Mean,
    MeanChange,
    NoFigure,
    Order,
    Overlap,
    RebalanceGap,
    StateGap,
    StyleInForce,
    ValueGap,
    WorstWindow,
)
from serving.report.figures import percent


def figure_of(spec: FigureSpec, data: ArticleData, level: float = 0.95) -> Figure:
    """Compute the figure that a claim asks for.

    Parameters
    ----------
    spec : FigureSpec
    data : ArticleData
    level : float
        Coverage of the interval of figures that have one, a fraction.

    Raises
    ------
    DataContractError
        If the figure cannot be computed; the message says why.

    Information set: that of `data`.
    """
    match spec:
        case Gain():
            return _gain(spec, data)
        case GainChange():
            return _gain_change(spec, data)
        case Order():
            return _order(spec, data)
        case CorrelationOf():
            return _correlation(spec, data, level)
        case Mean():
            value, span = _mean(data, spec.series, spec.window)
            return Figure(spec.scale * value, span)
        case MeanChange():
            before, then = _mean(data, spec.series, spec.before)
            after, now = _mean(data, spec.series, spec.after)
            parts = [f"{percent(spec.scale * value)} ({span})" for value, span in ((before, then), (after, now))]
            return Figure(spec.scale * (after - before), f"from {parts[0]} to {parts[1]}")
        case BestWeek():
            return _best_week(spec, data)
        case WorstWindow():
            return _worst_window(spec, data)
        case StateGap():
            return _state_gap(spec, data, level)
        case StyleInForce():
            return _style_in_force(data)
        case RebalanceGap():
            return rebalance_gap(spec, data)
        case Overlap():
            return overlap(spec, data)
        case ValueGap():
            return value_gap(spec, data)
        case FundCorrelation():
            return fund_correlation(spec, data, level)
        case FundExposure():
            return fund_exposure(spec, data, level)
        case NoFigure():
            raise DataContractError(spec.why)


def _gain(spec: Gain, data: ArticleData) -> Figure:
    closes = data.closes([spec.series, spec.less])
    found = gains(closes, data.start(spec.since), closes.index[-1])
    return Figure(float(found[spec.series] - found[spec.less]), _listed(found))


def _gain_change(spec: GainChange, data: ArticleData) -> Figure:
    closes = data.closes([spec.series, spec.less])
    yearly = []
    last = pd.Timestamp(data.day)
    for _ in range(spec.before_years + 1):
        first = data.start(spec.recent, last)
        found = gains(closes, first, last)
        yearly.append(float(found[spec.series] - found[spec.less]))
        last = first
    before = float(np.mean(yearly[1:]))
    detail = (
        f"{percent(yearly[0], signed=True)} in the last year, {percent(before, signed=True)} a year in the "
        f"{spec.before_years} years before"
    )
    return Figure(yearly[0] - before, detail)


def _order(spec: Order, data: ArticleData) -> Figure:
    closes = data.closes(spec.series)
    found = gains(closes, data.start(spec.since), closes.index[-1])[list(spec.series)]
    return Figure(float(np.diff(found.to_numpy(np.float64)).min()), _listed(found))


def _correlation(spec: CorrelationOf, data: ArticleData, level: float) -> Figure:
    names = [spec.a, spec.b] + ([] if spec.less is None else [spec.less])
    moves = data.closes(names).transform(np.log).diff().dropna()
    moves = moves[moves.index > data.start(spec.since)]
    if spec.less is not None:
        moves = moves.sub(moves[spec.less], axis=0)
    found = correlation(moves[spec.a].to_numpy(np.float64), moves[spec.b].to_numpy(np.float64), level)
    return Figure(found.value, f"{len(moves)} days", found.low, found.high)


def _mean(data: ArticleData, series: str, window: str) -> tuple[float, str]:
    values = data.series(series)
    if window == "previous_year":
        year = pd.Timestamp(data.day).year - 1
        values = values[pd.DatetimeIndex(values.index).year == year]
        span = str(year)
    else:
        values = values.iloc[-int(window.removesuffix("_sessions")) :]
        span = f"last {len(values)} sessions"
    if values.empty:
        raise DataContractError(f"{series} must have values in the window {window}; it has none")
    return float(values.mean()), span


def _best_week(spec: BestWeek, data: ArticleData) -> Figure:
    closes = data.closes([spec.long, spec.hedge])
    weekly = closes.reindex(data.decisions()).dropna()
    moves = (weekly / weekly.shift(1) - 1.0).dropna()
    gained = spec.leverage * (moves[spec.long] - moves[spec.hedge])
    gained = gained[gained.index > data.start(spec.since)]
    best = int(np.argmax(gained.to_numpy(np.float64)))
    after = f", {percent(float(gained.iloc[best + 1]), signed=True)} the week after" if best + 1 < len(gained) else ""
    return Figure(float(gained.iloc[best]), f"week to {gained.index[best]:%Y-%m-%d}{after}")


def _worst_window(spec: WorstWindow, data: ArticleData) -> Figure:
    closes, discount = data.closes([spec.long, spec.hedge]), data.series(spec.discount) / -100.0
    moves = closes / closes.shift(spec.sessions) - 1.0
    spread = moves[spec.long] - moves[spec.hedge]
    # What the discount was at the close at which each window begins.
    known = discount.reindex(closes.index).ffill(limit=5).shift(spec.sessions)
    both = pd.DataFrame({"spread": spread, "discount": known}).dropna()
    worst = int(np.argmin(both["spread"].to_numpy(np.float64)))
    lagged, quoted = (float(both[name].iloc[worst]) for name in ("spread", "discount"))
    years = spec.sessions / (252 if data.market.leverage is None else data.market.leverage.sessions_a_year)
    parts = {
        "negative excess": spec.leverage * lagged,
        "hedging cost": -spec.leverage * quoted * years,
        "funding cost": -(spec.leverage - 1) * spec.financing * years,
    }
    told = ", ".join(f"{name} {percent(value, signed=True)}" for name, value in parts.items())
    return Figure(max(parts.values()), f"{spec.sessions} sessions to {both.index[worst]:%Y-%m-%d}: {told}")


def _state_gap(spec: StateGap, data: ArticleData, level: float) -> Figure:
    closes = data.closes([spec.long, spec.less]).transform(np.log)
    state = data.series(spec.state)
    current = pd.Timestamp(data.day).to_period("M")
    # The month of the day is not over; the first month of the closes has no close before it.
    months = closes.groupby(_months(closes)).last().diff().dropna()
    months = months[months.index < current]
    excess = months[spec.long] - months[spec.less]
    grouped = state.groupby(_months(state))
    reduced = grouped.sum() if spec.reduce == "sum" else grouped.last()
    if spec.reduce == "change":
        reduced = reduced.diff()
    both = pd.DataFrame({"excess": excess, "state": reduced}).dropna()
    bound = float(both["state"].median()) if spec.threshold is None else spec.threshold
    inside = both["state"] > bound if spec.when == "above" else both["state"] < bound
    found = mean_gap(both["excess"].to_numpy(np.float64), inside.to_numpy(np.bool_), level)
    detail = f"{int(inside.sum())} of {len(both)} months from {both.index[0]} to {both.index[-1]}"
    return Figure(found.value, detail, found.low, found.high)


def _style_in_force(data: ArticleData) -> Figure:
    small = {}
    for name, pair in data.market.pairs.items():
        prices = [data.market.segments[segment].price for segment in (pair.small, pair.large)]
        weekly = data.closes(prices).reindex(data.decisions()).dropna().transform(np.log)
        line = (weekly[prices[0]] - weekly[prices[1]]).to_numpy(np.float64)
        style, _, _ = style_in_force(line, weekly_sigma(line))
        if not len(style) or style[-1] == 0:
            raise DataContractError(f"pair {name} must have a style in force; its history is too short")
        small[name] = bool(style[-1] == STYLE_SMALL)
    told = ", ".join(f"{name} {'small' if leads else 'large'}" for name, leads in small.items())
    return Figure(float(np.mean(list(small.values()))), told)


def _months(rows: pd.DataFrame | pd.Series) -> pd.PeriodIndex:
    return pd.DatetimeIndex(rows.index).to_period("M")


def _listed(found: pd.Series) -> str:
    return ", ".join(
        f"{str(name).removesuffix('.close')} {percent(float(value), signed=True)}" for name, value in found.items()
    )
