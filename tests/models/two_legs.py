"""Scenario sets written by hand, random terms, and a levered book led by hand: one path at a time, in plain Python."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from models.scenarios import ScenarioSet
from models.swap_terms import Basis, Delever, Pressure, SwapTerms

LONG, HEDGE = {"micro": 1.0}, {"mid": 1.0}
LEVERAGES = (1.0, 2.0, 3.0, 4.0, 5.0)


def two_legs(
    long: Sequence[Sequence[float]], hedge: Sequence[Sequence[float]], weights: Sequence[float] | None = None
) -> ScenarioSet:
    """Return a set from simple daily returns, one row a path; its only horizon, four weeks, is all of it."""
    returns = np.array([long, hedge], dtype=np.float64)
    logs = np.log1p(returns).cumsum(axis=2).transpose(2, 0, 1)
    steps, _, n = logs.shape
    return ScenarioSet(
        segments=("micro", "mid"),
        sessions=np.datetime64("2023-11-28", "us") + np.arange(steps) * np.timedelta64(1, "D"),
        exits={4: steps},
        paths=np.concatenate([np.zeros((1, 2, n)), logs]).astype(np.float32),
        weights=np.full(n, 1 / n) if weights is None else np.array(weights),
    )


def random_set(seed: int, n: int = 12, sigma: float = 0.04) -> ScenarioSet:
    """Return wild joint paths of four segments over 20 sessions: falls of a daily limit, calls and wipe-outs occur."""
    rng = np.random.default_rng(seed)
    daily = sigma * (rng.standard_t(4, (20, 4, n)) / 2 + 0.5 * rng.standard_normal((20, 1, n)))
    weights = rng.random(n) + 0.1
    return ScenarioSet(
        segments=("large", "mid", "small", "micro"),
        sessions=np.datetime64("2023-11-28", "us") + np.arange(20) * np.timedelta64(1, "D"),
        exits={1: 5, 4: 20},
        paths=np.concatenate([np.zeros((1, 4, n)), daily.cumsum(axis=0)]).astype(np.float32),
        weights=weights / weights.sum(),
    )


pressures = st.none() | st.builds(
    Pressure,
    crowd=st.floats(0, 500),
    adv=st.just(50.0),
    sigma=st.floats(0, 0.05),
    y=st.floats(0.5, 1.0),
    permanent=st.floats(0, 1),
)
bases = st.builds(
    Basis, discount=st.floats(-0.02, 0.3), convergence=st.floats(0, 1), stress_lag=st.sampled_from([0.02, 0.05, 0.2])
)
delevers = st.builds(Delever, below=st.floats(0.14, 0.2), to=st.none() | st.floats(1.5, 4.9))


def terms_with(delever: st.SearchStrategy[Delever | None]) -> st.SearchStrategy[SwapTerms]:
    """Draw terms of every kind."""
    return st.builds(
        SwapTerms,
        maintenance=st.floats(0.02, 0.13),
        close_on_call=st.booleans(),
        delever=delever,
        financing=st.floats(0, 0.2),
        basis=bases,
        limit_down=st.none() | st.floats(0.03, 0.12),
        long_pressure=pressures,
        hedge_pressure=pressures,
        day_count=st.sampled_from([242, 252]),
    )


@dataclass
class Close:
    """One close of one path, as the hand-led book sees it."""

    long: float
    short: float
    cash: float
    called: bool
    sold_units: float
    flow: float
    """What the day earned, added up from price moves and payments alone."""


def by_hand(
    held: ScenarioSet,
    baskets: tuple[Mapping[str, float], Mapping[str, float]],
    leverage: float,
    terms: SwapTerms,
    path: int,
) -> list[Close]:
    """Lead a book along one path by its units and the prices of both legs, both 1 at entry.

    Nothing is shared with the package but the terms: a price is the scenario's times all moves so far, every trade
    changes units and cash, and no notional is carried from day to day.
    """
    scenario = []
    for basket in baskets:
        logs = {name: [float(v) for v in held.paths[:, held.segments.index(name), path]] for name in basket}
        scenario.append(
            [sum(w * math.exp(logs[name][t]) for name, w in basket.items()) for t in range(len(held.paths))]
        )
    units, owed, cash = leverage, leverage, 1.0
    moved, later = [0.0, 0.0], [0.0, 0.0]
    price = [1.0, 1.0]
    close_out = sell = stressed = False
    closes = [Close(leverage, leverage, 1.0, False, 0.0, 0.0)]
    for t in range(1, len(held.paths)):
        returns = [leg[t] / leg[t - 1] - 1 for leg in scenario]
        before = list(price)
        moved = [old + new for old, new in zip(moved, later, strict=True)]
        later = [0.0, 0.0]
        price = [leg[t] * math.exp(move) for leg, move in zip(scenario, moved, strict=True)]

        last = closes[-1]
        borrowed = last.long - (last.long + last.cash - last.short)
        payment = terms.financing / terms.day_count * borrowed if borrowed > 0 else 0.0
        left = 1 - terms.basis.convergence if stressed else 1.0
        payment += left * terms.basis.discount / terms.day_count * last.short
        if not stressed and returns[0] - returns[1] <= -terms.basis.stress_lag:
            stressed = True
            payment += terms.basis.convergence * terms.basis.discount * terms.basis.contract_years * last.short
        cash -= payment
        flow = units * (price[0] - before[0]) - owed * (price[1] - before[1]) - payment

        matched = units * price[0] / price[1]
        cash += (matched - owed) * price[1]
        owed = matched
        equity = units * price[0] + cash - owed * price[1]
        ratio = equity / (units * price[0]) if units else math.inf
        called = ratio < terms.maintenance
        close_out = close_out or (called and terms.close_on_call)
        sell = sell or (terms.delever is not None and ratio < terms.delever.below)
        locked = terms.limit_down is not None and returns[0] <= -terms.limit_down
        sold = 0.0
        if units and not locked and (close_out or sell):
            share = 1.0
            if not close_out:
                assert terms.delever is not None
                to = terms.delever.to or leverage
                share = min(1.0, max(0.0, (units * price[0] - to * equity) / (units * price[0])))
            sell = False
            sold, bought = share * units, share * owed
            for leg, (rule, sign) in enumerate(((terms.long_pressure, -1), (terms.hedge_pressure, 1))):
                if rule is not None:
                    traded = (sold * price[0], bought * price[1])[leg] / leverage * rule.crowd
                    step = sign * rule.y * rule.sigma * math.sqrt(traded / rule.adv)
                    moved[leg] += step
                    later[leg] = -(1 - rule.permanent) * step
            pushed = [leg[t] * math.exp(move) for leg, move in zip(scenario, moved, strict=True)]
            flow += units * (pushed[0] - price[0]) - owed * (pushed[1] - price[1])
            price = pushed
            cash += sold * price[0] - bought * price[1]
            units = 0.0 if close_out else units - sold
            owed = 0.0 if close_out else owed - bought
            if units and (units * price[0] + cash - owed * price[1]) / (units * price[0]) < terms.maintenance:
                called = True
                close_out = terms.close_on_call
        closes.append(Close(units * price[0], owed * price[1], cash, called, sold, flow))
    return closes
