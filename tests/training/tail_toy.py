"""Two pairs of daily lines with weekly decisions, small enough to refit many times."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from features.contracts import HORIZONS, Dataset, FloatArray, History, PairInfo, TimeArray
from models.schedule import Plan
from models.settings import HeadSettings, TreeSettings
from training.tail_scale import STATES
from training.tail_yardstick import TailSettings

WEEKS = 180
DAY = np.timedelta64(1, "D")
DECISIONS: TimeArray = np.datetime64("2010-01-08", "us") + 7 * DAY * np.arange(WEEKS)
FIRST = DECISIONS[120]
CLOSE = np.timedelta64(7, "h")
SETTINGS = TailSettings(paths=200, min_days=250, window_days=500)


def plan() -> Plan:
    """Two refits a year on few paths."""
    settings = HeadSettings(trees=TreeSettings(rounds=8, seeds=1, min_data_in_leaf=20))
    return Plan(settings, FIRST, 26, 0, "toy", "test")


def dataset(seed: int = 0, pairs: tuple[str, ...] = ("a-b", "a-c")) -> Dataset:
    """Lines with volatility in spells, a day a session from Monday to Friday, entry on Monday."""
    days = np.arange(DECISIONS[0] - 4 * DAY, DECISIONS[-1] + 45 * DAY, DAY)
    sessions = days[np.is_busday(days.astype("datetime64[D]"))].astype("datetime64[us]")
    prices = sessions[sessions <= DECISIONS[-1]]
    lines, rows, outcomes = {}, [], []
    for number, pair in enumerate(pairs):
        rng = np.random.default_rng([seed, number])
        level = np.repeat(np.exp(0.4 * rng.standard_normal(len(prices) // 20 + 1)), 20)[: len(prices)]
        x = np.cumsum(0.006 * level * rng.standard_t(5, len(prices)))
        lines[pair] = History.of(prices, prices + CLOSE, x)
        entry = DECISIONS + 3 * DAY
        states = pd.DataFrame(rng.normal(size=(WEEKS, len(STATES))), columns=list(STATES))
        frame = states.assign(pair=pair, decision_date=DECISIONS, decision_at=DECISIONS + CLOSE, entry_date=entry)
        rows.append(frame.assign(sigma=0.02, style=1.0))
        closes = pd.Series(x, index=prices)
        for horizon in HORIZONS:
            leave = entry + 7 * horizon * DAY
            spread = closes.reindex(leave).to_numpy() - closes.reindex(entry).to_numpy()
            matured = np.where(np.isfinite(spread), leave + CLOSE, np.datetime64("NaT"))
            keys = {"pair": pair, "decision_date": DECISIONS, "horizon_weeks": horizon}
            outcomes.append(
                pd.DataFrame({**keys, "exit_date": leave, "matured_at": matured, "spread_realised": spread})
            )
    table = pd.concat(rows).set_index(["pair", "decision_date"]).sort_index()
    return Dataset(
        market="toy",
        simulated=True,
        pairs=tuple(PairInfo(pair, "a", pair[-1], number == 0) for number, pair in enumerate(pairs)),
        features=(),
        rows=table,
        values=table[[]],
        known_at=table[[]],
        stale=table[[]],
        outcomes=pd.concat(outcomes).set_index(["pair", "decision_date", "horizon_weeks"]).sort_index(),
        segments=(),
        closes={},
        lines=lines,
        clock=pd.DataFrame({"decision_at": DECISIONS + CLOSE}, index=pd.DatetimeIndex(DECISIONS, name="decision_date")),
        sessions=sessions,
    )


def disturbed(data: Dataset, time: np.datetime64, seed: int = 1) -> Dataset:
    """The same market until `time` (UTC), another one after it: closes, states and outcomes."""
    rng = np.random.default_rng(seed)
    lines = {}
    for pair, line in data.lines.items():
        value = line.value.copy()
        later = line.known_at > time
        value[later] += np.cumsum(rng.normal(0, 0.03, (int(later.sum()), 1)), axis=0)
        lines[pair] = replace(line, value=value)
    rows, outcomes = data.rows.copy(), data.outcomes.copy()
    late = rows["decision_at"].to_numpy("datetime64[us]") > time
    states: FloatArray = rng.normal(size=(int(late.sum()), len(STATES)))
    rows.loc[late, list(STATES)] = states
    rows.loc[late, "sigma"] = 0.05
    ahead = outcomes["matured_at"].to_numpy("datetime64[us]") > time
    outcomes.loc[ahead, "spread_realised"] += rng.normal(0, 0.1, int(ahead.sum()))
    return replace(data, lines=lines, rows=rows, outcomes=outcomes)
