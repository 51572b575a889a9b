"""The crowding report: is the small-cap trade crowded, and is it breaking? The figures of one day."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any, Literal, cast

import numpy as np
import pandas as pd

from features.contracts import Dataset
from features.crowding.levels import CROWD_SIGNS, CrowdLevels, LevelSettings, crowd_levels
from features.crowding.liquidity import CrowdSize, days_to_liquidate
from features.errors import DataContractError
from features.market import CrowdingSpec, MarketSpec
from features.sources.stocks import PREFIX, crowd_series
from models.alpha_decay import ROLLING, DecayStep, alpha_decay
from serving.known_series import is_fresh, series_as_of
from serving.segments import closes_as_of, size_ladder
from serving.unwind_view import UnwindView, unwind_views

Origin = Literal["stocks", "catalogue"]
SETTINGS = LevelSettings()
_TURNOVER_WEEKS = 4


@dataclass(frozen=True)
class CrowdRow:
    """One measure.

    `sign` says how it counts in the composite (0: shown only); `level` is in `unit`, `percentile` its place in the last
    three years (0 to 1), `change` that over four weeks; `history` the levels of those three years, the newest last.
    `reason` says why there is no level.
    """

    name: str
    origin: Origin
    unit: str
    why: str
    sign: int
    level: float | None
    percentile: float | None
    change: float | None
    history: tuple[float | None, ...]
    reason: str


@dataclass(frozen=True)
class DecayRow:
    """Excess return of a tier over the next larger one: two-year figures a year, and the slope over five years.

    Pairs are (low, high) of a 95% interval; `verdict` is that of the slope.
    """

    larger: str
    smaller: str
    excess: float | None
    excess_interval: tuple[float | None, float | None]
    volatility: float | None
    hit_rate: float | None
    slope: float | None
    slope_interval: tuple[float | None, float | None]
    verdict: str


@dataclass(frozen=True)
class Leaving:
    """How many sessions a crowd needs to sell what it holds; `assumed` names what no data backs."""

    days: float
    turnover: float
    notional: float
    participation: float
    assumed: tuple[str, ...]


@dataclass(frozen=True)
class UnwindScenes:
    """One scene of the unwind simulator: the table of `models.unwind_grid` as rows, or why there is none."""

    tier: str
    hedge: str
    assumed: str
    rows: tuple[dict[str, float | str | bool], ...]
    reason: str


@dataclass(frozen=True)
class CrowdingReport:
    """One decision day; `composite` is the mean percentile of the measures with a sign, 0.5 is usual.

    Information set: rows with known_at <= the decision.
    """

    market: str
    title: str
    title_zh: str
    simulated: bool
    survivors_only: bool
    decision_date: date
    composite: float | None
    composite_change: float | None
    counted: int
    weeks: tuple[date, ...]
    composite_history: tuple[float | None, ...]
    rows: tuple[CrowdRow, ...]
    decay: tuple[DecayRow, ...]
    leaving: Leaving | None
    unwinds: tuple[UnwindScenes, ...]
    segment_names: dict[str, tuple[str, str]]

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON types; dates as ISO text, missing numbers as null."""
        return cast(dict[str, Any], _plain(asdict(self)))


def crowding_report(
    market: MarketSpec, observations: pd.DataFrame, dataset: Dataset, day: np.datetime64
) -> CrowdingReport:
    """Measure how crowded the small-cap trade is, and what it would take to leave it.

    Parameters
    ----------
    market : MarketSpec
    observations : pandas.DataFrame
        As `Store.observations`.
    dataset : Dataset
        Whose last decision is `day`.
    day : datetime64[us]

    Raises
    ------
    DataContractError
        If the market's definition has no table ``crowding`` and no measure of stocks.

    Information set: rows with known_at <= the decision.
    """
    spec = market.crowding
    stocks = crowd_series(market)
    if spec is None and not stocks:
        raise DataContractError(
            f"market {market.name!r} says nothing about crowding: its definition needs a table `crowding.features`, "
            "features and how they count"
        )
    spec = spec or CrowdingSpec(features={})
    frame, reasons = _measures(market, observations, dataset, day, spec)
    signs = {name: CROWD_SIGNS[name] for name in stocks} | dict(spec.features)
    levels = crowd_levels(frame, signs, SETTINGS)
    composite = _number(levels.composite.iloc[-1])
    before = levels.composite.iloc[-1 - SETTINGS.change] if len(levels.composite) > SETTINGS.change else math.nan
    return CrowdingReport(
        market=market.name,
        title=market.title,
        title_zh=market.title_zh,
        simulated=market.simulated,
        survivors_only=bool(market.stocks is not None and market.stocks.survivors_only),
        decision_date=cast(date, day.astype("datetime64[D]").item()),
        composite=composite,
        composite_change=None if composite is None else _number(composite - before),
        counted=int(levels.counted.iloc[-1]),
        weeks=tuple(stamp.date() for stamp in levels.composite.index),
        composite_history=tuple(_number(value) for value in levels.composite),
        rows=tuple(_row(market, levels, str(name), signs.get(str(name), 0), reasons) for name in frame),
        decay=_decay(market, observations, dataset, day),
        leaving=_leaving(market, observations, frame, day, spec),
        unwinds=tuple(_scene(view) for view in unwind_views(market, observations, day)),
        segment_names={
            name: (held.name or name, held.name_zh or held.name or name) for name, held in market.segments.items()
        },
    )


def _measures(
    market: MarketSpec, observations: pd.DataFrame, dataset: Dataset, day: np.datetime64, spec: CrowdingSpec
) -> tuple[pd.DataFrame, dict[str, str]]:
    """Return all measures on decision days, and why the newest of some is missing."""
    weeks = pd.DatetimeIndex(dataset.clock.index, name="decision_date")
    series = crowd_series(market)
    known = series_as_of(market, observations, day, list(series.values()))
    columns, reasons = {}, {}
    for name, key in series.items():
        values = known[key]
        columns[name] = values.reindex(weeks)
        if len(values) == 0:
            reasons[name] = "no_amount" if any(len(other) for other in known.values()) else "no_stocks"
        elif not is_fresh(market, values, day):
            reasons[name] = "stale"
            columns[name].iloc[-1] = np.nan
    # On the headline pair, which is where features of a pair differ.
    panel = dataset.values.xs(market.headline, level="pair").reindex(weeks)
    for name in spec.features:
        columns[name] = panel[name] if name in panel else pd.Series(np.nan, index=weeks)
        if not np.isfinite(columns[name].iloc[-1]):
            reasons[name] = "no_value"
    return pd.DataFrame(columns, index=weeks), reasons


def _row(market: MarketSpec, levels: CrowdLevels, name: str, sign: int, reasons: Mapping[str, str]) -> CrowdRow:
    declared = market.series.get(f"{PREFIX}{name}")
    feature = None if declared else market.features.get(name)
    history = levels.level[name].iloc[-SETTINGS.window :]
    return CrowdRow(
        name=name,
        origin="catalogue" if declared is None else "stocks",
        unit=declared.unit if declared else feature.unit if feature else "",
        why=feature.why if feature else "",
        sign=sign,
        level=_number(levels.level[name].iloc[-1]),
        percentile=_number(levels.percentile[name].iloc[-1]),
        change=_number(levels.change[name].iloc[-1]),
        history=tuple(_number(value) for value in history),
        reason=reasons.get(name, ""),
    )


def _decay(
    market: MarketSpec, observations: pd.DataFrame, dataset: Dataset, day: np.datetime64
) -> tuple[DecayRow, ...]:
    ladder = size_ladder(market)
    if len(ladder) < 2:
        return ()
    weeks = pd.DatetimeIndex(dataset.clock.index)
    closes = closes_as_of(market, observations, day, ladder).reindex(weeks)
    steps = alpha_decay(np.log(closes.to_numpy(np.float64)), weeks.to_numpy("datetime64[us]"), ladder)
    return tuple(_decay_row(step) for step in steps)


def _decay_row(step: DecayStep) -> DecayRow:
    rolling = step.rolling
    now = {} if rolling.empty else {name: float(rolling[name].iloc[-1]) for name in ROLLING}
    return DecayRow(
        larger=step.larger,
        smaller=step.smaller,
        excess=_number(now.get("excess")),
        excess_interval=(_number(now.get("excess_low")), _number(now.get("excess_high"))),
        volatility=_number(now.get("volatility")),
        hit_rate=_number(now.get("hit_rate")),
        slope=_number(step.slope.value),
        slope_interval=(_number(step.slope.low), _number(step.slope.high)),
        verdict=step.verdict,
    )


def _leaving(
    market: MarketSpec, observations: pd.DataFrame, frame: pd.DataFrame, day: np.datetime64, spec: CrowdingSpec
) -> Leaving | None:
    """Days to liquidate on the tier's own turnover where it is measured, else on a share of the market's."""
    if spec.notional is None:
        return None
    crowd = CrowdSize(spec.notional, spec.participation, spec.tier_share)
    assumed = ["notional", "participation"]
    turnover = float(frame["turnover"].iloc[-1]) if "turnover" in frame else math.nan
    if not math.isfinite(turnover) and spec.turnover is not None:
        values = series_as_of(market, observations, day, [spec.turnover])[spec.turnover]
        if is_fresh(market, values, day):
            turnover = float(values.iloc[-5 * _TURNOVER_WEEKS :].mean()) * spec.turnover_unit * spec.tier_share
            assumed.append("tier_share")
    days = float(days_to_liquidate(np.array([turnover]), crowd)[0])
    if not math.isfinite(days):
        return None
    return Leaving(days, turnover, spec.notional, spec.participation, tuple(assumed))


def _scene(view: UnwindView) -> UnwindScenes:
    rows = [] if view.table is None else view.table.to_dict("records")
    plain = tuple({str(key): _item(value) for key, value in row.items()} for row in rows)
    return UnwindScenes(view.scene.tier, view.scene.hedge, view.assumed, plain, view.reason)


def _item(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _number(value: Any) -> float | None:
    return float(value) if value is not None and math.isfinite(value) else None


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, date):
        return value.isoformat()
    return None if isinstance(value, float) and not math.isfinite(value) else value
