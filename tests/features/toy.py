"""A small market with everything that bites: late and revised closes, gaps, a death, a break, releases out of order."""

from __future__ import annotations

import numpy as np
import pandas as pd

from features.calendar import TradingCalendar, local_to_utc
from features.contracts import IntArray, TimeArray
from features.dataset import market_calendar
from features.market import MarketSpec

START, END = "2014-01-06", "2016-12-30"
TIMEZONE = "Asia/Shanghai"
DIED = np.datetime64("2015-10-30", "us")
BREAK = np.datetime64("2015-03-02", "us")
OUTAGE = np.datetime64("2016-03-01", "us"), np.datetime64("2016-04-20", "us")

_CLOSE = {"kind": "sessions", "lag": 0, "time": "15:15"}


def _series(name: str, frequency: str = "daily", family: str = "macro", **other: object) -> dict[str, object]:
    return {
        "name": name, "unit": "points", "family": family, "frequency": frequency, "known": _CLOSE, "stale_days": 16,
        **other,
    }  # fmt: skip


def _feature(formula: str, *inputs: str, family: str = "macro") -> dict[str, object]:
    return {"family": family, "inputs": inputs, "formula": formula, "unit": "points", "sign": 0, "why": "a test"}


def toy_market() -> MarketSpec:
    """Return the definition: three segments, two pairs, twelve features."""
    segments = ("large", "small", "micro")
    series = [_series(f"{segment}.close", family="style") for segment in segments]
    series += [
        _series("us10y", family="rates"),
        _series("flow", family="flows", born="2014-03-03", died=str(DIED.astype("datetime64[D]"))),
        _series("rate", family="rates", stale_days=10, breaks=[{"date": "2015-03-02", "factor": 100.0}]),
        _series("pmi", "monthly", stale_days=50),
        _series("pmi_forecast", "monthly", stale_days=60),
        _series("credit", "monthly", stale_days=75),
        _series("survey", "weekly", stale_days=20),
        _series("unheard", optional=True),
    ]
    prices = ("{small}.close", "{large}.close")
    features = {
        "momentum": _feature("log_ratio | change(20)", *prices, family="style"),
        "comovement": _feature("each: growth(1) | corr(30)", *prices, family="crowding"),
        "us_change": _feature("change(5)", "us10y", family="rates"),
        "flow_level": _feature("ema(5) | z(60, 20)", "flow", family="flows"),
        "rate_level": _feature("mean(3)", "rate", family="rates"),
        "pmi_trend": _feature("gap(6)", "pmi"),
        "surprise": _feature("diff | mean(2)", "pmi", "pmi_forecast"),
        "credit_growth": _feature("growth(3)", "credit"),
        "survey_rank": _feature("rank(20, 8)", "survey"),
        "survey_price": _feature("ratio | change(1)", "survey", "large.close"),
        "unheard_level": _feature("log", "unheard"),
        "distance": _feature("state:distance", family="style"),
        "seasonal": _feature("state:seasonal", family="calendar"),
    }
    return MarketSpec.model_validate(
        {
            "name": "toy", "title": "Toy", "title_zh": "玩具",
            "schedule": {
                "calendar": "XSHG", "timezone": TIMEZONE, "decision_time": "15:30", "history_start": START,
                "first_decision": "2015-06-05",
            },
            "segments": {
                segment: {"name": segment, "name_zh": segment, "price": f"{segment}.close", "rank": rank}
                for rank, segment in enumerate(segments)
            },
            "pairs": {
                f"large-{small}": {"large": "large", "small": small, "headline": small == "small"}
                for small in segments[1:]
            },
            "series": {str(one["name"]): one for one in series},
            "features": features,
        }
    )  # fmt: skip


def later(days: TimeArray, by: int | IntArray) -> TimeArray:
    """Return days so many days later."""
    moved: TimeArray = days + np.asarray(by).astype("timedelta64[D]")
    return moved


def utc(days: TimeArray, clock: str) -> TimeArray:
    """Return local wall-clock times as UTC."""
    return local_to_utc(days, pd.Timedelta(f"{clock}:00"), TIMEZONE).copy()


def last_decision() -> np.datetime64:
    """Return the last decision day of the history."""
    decisions = market_calendar(toy_market(), np.datetime64(END, "us")).decisions()
    last: np.datetime64 = decisions[decisions <= np.datetime64(END, "us")][-1]
    return last


def toy_observations(seed: int) -> pd.DataFrame:
    """Return noisy observations, `series, period, known_at, value`, with every kind of late row."""
    rng = np.random.default_rng(seed)
    sessions = TradingCalendar.build("XSHG", START, END).sessions
    market = 0.012 * rng.standard_normal(len(sessions))
    frames = []
    for segment, loading in (("large", 0.0), ("small", 1.0), ("micro", 1.6)):
        days = sessions if segment != "micro" else sessions[sessions >= np.datetime64("2014-09-01")]
        shocks = market + 0.008 * (0.3 + loading) * rng.standard_normal(len(sessions))
        close = 1000.0 * np.exp(np.cumsum(shocks))[-len(days) :]
        frames.append(_prices(f"{segment}.close", days, close, rng))
    walk = np.cumsum(rng.standard_normal((3, len(sessions))), axis=1)
    frames.append(_frame("us10y", sessions, utc(later(sessions, 1), "07:00"), 3.0 + 0.05 * walk[0]))
    frames.append(_frame("flow", sessions, utc(sessions, "15:15"), walk[1]))
    quiet = (sessions >= OUTAGE[0]) & (sessions < OUTAGE[1])
    rate = np.where(sessions < BREAK, 0.01, 1.0) * (3.0 + 0.05 * walk[2])
    frames.append(_frame("rate", sessions[~quiet], utc(sessions, "18:00")[~quiet], rate[~quiet]))
    frames.extend(_monthly(sessions, rng))
    weeks = (np.datetime64(END) - np.datetime64("2014-01-10")).astype(np.int64) // 7
    fridays = later(np.full(weeks, np.datetime64("2014-01-10", "us")), 7 * np.arange(weeks))
    frames.append(_frame("survey", fridays, utc(later(fridays, 5), "08:30"), rng.standard_normal(len(fridays))))
    return pd.concat(frames, ignore_index=True).sample(frac=1.0, random_state=seed, ignore_index=True)


def _prices(name: str, days: TimeArray, close: np.ndarray, rng: np.random.Generator) -> pd.DataFrame:
    """Daily closes: some arrive a day or three late, some are corrected weeks later, a few never come."""
    known = utc(days, "15:15")
    lot = rng.random(len(days))
    known = np.where(lot < 0.02, known + np.timedelta64(18, "h"), known)
    known = np.where((lot >= 0.02) & (lot < 0.03), known + np.timedelta64(3, "D"), known)
    kept = lot < 0.99
    first = _frame(name, days[kept], known[kept], close[kept])
    wrong = np.flatnonzero(kept & (rng.random(len(days)) < 0.02))
    corrected = later(known[wrong], rng.integers(1, 60, len(wrong)))
    noise = np.exp(0.01 * rng.standard_normal(len(wrong)))
    return pd.concat([first, _frame(name, days[wrong], corrected, close[wrong] * noise)])


def _monthly(sessions: TimeArray, rng: np.random.Generator) -> list[pd.DataFrame]:
    months = np.unique(sessions.astype("datetime64[M]"))
    ends = later((months + np.timedelta64(1, "M")).astype("datetime64[us]"), -1)
    n = len(ends)
    # A survey that may precede its month's end by a day and is restated a month later.
    known = utc(later(ends, rng.integers(-1, 3, n)), "09:30")
    pmi = 50.0 + rng.standard_normal(n)
    restated = pmi[:-1] + 0.3 * rng.standard_normal(n - 1)
    # One bank report comes after the next one.
    bank = utc(later(ends, rng.integers(10, 20, n)), "17:00")
    bank[14] = bank[15] + np.timedelta64(3, "D")
    return [
        _frame("pmi", ends, known, pmi),
        _frame("pmi", ends[:-1], known[1:], restated),
        _frame("pmi_forecast", ends, known, pmi + rng.standard_normal(n)),
        _frame("credit", ends, bank, np.exp(0.05 * np.cumsum(rng.standard_normal(n)))),
    ]


def _frame(series: str, period: TimeArray, known_at: TimeArray, value: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame({"series": series, "period": period, "known_at": known_at, "value": value})
