"""A forecast that looks like a real one: fifteen years of weeks, four pairs, drivers, fan, leverage; no model."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np

from features.contracts import EVENTS, FAMILIES, HORIZONS, TAIL_COLUMNS, Event, Style
from models.validity import Reason
from serving.record import (
    AbsentInput,
    Driver,
    Fan,
    Forecast,
    HeadForecast,
    LeverageRow,
    LeverageView,
    NextRelease,
    PairForecast,
    StyleHistory,
    TailDetail,
)

DECISION = date(2023, 11, 24)
SHANGHAI = ZoneInfo("Asia/Shanghai")
NAMES = {
    "csi300-csi1000": ("CSI 300 / CSI 1000", "沪深300 / 中证1000"),
    "csi300-csi500": ("CSI 300 / CSI 500", "沪深300 / 中证500"),
    "csi300-cni2000": ("CSI 300 / CNI 2000", "沪深300 / 国证2000"),
    "csi300-micro400": ("CSI 300 / micro-cap 400", "沪深300 / 微盘400"),
}
CATALOGUE = (
    ("scenario_implied", "scenario", "", "computed", "What volatility and the path alone imply, before any driver"),
    ("pmi_surprise", "macro", "points", "first_print", "A recovery brings incremental money to large caps."),
    ("m1_m2_scissors", "macro", "% y/y", "current", "Cash that turns over quickly looks for risk."),
    ("ppi_impulse", "macro", "% y/y", "real", "Prices at the factory gate lead large-cap earnings."),
    ("credit_impulse", "macro", "% y/y", "current", "Credit reaches small firms last."),
    ("etf_buying_20d", "flows", "z", "real", "State buying through broad ETFs lifts large caps."),
    ("northbound_flow_20d", "flows", "z", "real", "Northbound money buys large caps."),
    ("fund_issuance_trend", "flows", "z", "real", "New active funds buy large caps."),
    ("us_yield_change", "rates", "%", "real", "Dear dollars pull money out of large caps."),
    ("term_slope", "rates", "%", "real", "A steeper curve speaks for recovery."),
    ("residual_share", "turnover", "log", "real", "Small-cap turnover beyond what large-cap turnover explains."),
    ("turnover_inflow", "flows", "log", "real",
     "Turnover grows as money comes to the market; small caps thrive when it only rotates"),
    ("turnover_level", "turnover", "z", "real", "When turnover dries up nobody takes the other side of an unwinding."),
    ("small_correlation_60d", "crowding", "correlation", "computed", "Small caps that move as one are held as one."),
    ("decile_dispersion", "crowding", "z", "computed", "Dispersion between size deciles pays stock pickers."),
    ("valuation_spread", "crowding", "z", "real", "Dear small caps have far to fall."),
    ("ic_less_if", "leverage", "% a year", "real", "Extra yearly cost of hedging small rather than large caps"),
    ("margin_growth", "leverage", "z-score", "real", "Borrowed money leaves first."),
    ("momentum_13w", "style", "log", "real", "Relative momentum carries on, then exhausts itself."),
    ("vol_ratio", "style", "ratio", "real", "A spread that wakes up tends to break."),
    ("seasonal", "calendar", "log", "real", "Small caps are strong in February, March, May and August."),
)  # fmt: skip
PSEUDO = ("intercept", "calibration", "coherence")
WITHOUT_VALUE = ("scenario", *PSEUDO)


def _logit(p: float) -> float:
    return float(np.log(p / (1.0 - p)))


def make_head(event: Event, base: float, gap: float, rng: np.random.Generator) -> HeadForecast:
    """Build one head whose drivers add up to its log-odds exactly."""
    entries = [*CATALOGUE, *((name, name, "", "real", "") for name in PSEUDO)]
    parts = rng.normal(size=len(entries)) * np.where([row[1] in PSEUDO for row in entries], 0.02, 0.09)
    parts[0] = 0.31
    parts[1:] += (gap - parts.sum()) / (len(parts) - 1)
    start, end = _logit(base), _logit(base) + float(parts.sum())
    p = float(1.0 / (1.0 + np.exp(-end)))
    drivers = tuple(
        Driver(
            feature=name, family=family, why=why, unit=unit, vintage=vintage,
            value=None if family in WITHOUT_VALUE else float(rng.normal() * (8 if unit.startswith("%") else 1)),
            percentile=None if family in WITHOUT_VALUE else float(rng.uniform()),
            known_at=None if family in PSEUDO
            else datetime(2023, 11, 24, 7, 15, tzinfo=UTC) - timedelta(days=int(rng.integers(0, 30)), hours=5),
            log_odds=float(part), points=float((p - base) / (end - start) * part),
        )
        for (name, family, unit, vintage, why), part in zip(entries, parts, strict=True)
    )  # fmt: skip
    families = {name: float(sum(d.log_odds for d in drivers if d.family == name)) for name in (*FAMILIES, *PSEUDO)}
    return HeadForecast(event, p, base, max(p - 0.07, 0.0), min(p + 0.09, 1.0), start, end, drivers, families)


def make_pair(pair: str, horizon: int, style: Style, rng: np.random.Generator) -> PairForecast:
    """Build one pair at one horizon."""
    base = {"switch": 0.23 if horizon == 4 else 0.15, "large": 0.46, "crash": 0.09}
    gap = {"switch": 0.42, "large": 0.12, "crash": 0.35}
    heads = {e: make_head(e, base[e] + rng.uniform(-0.02, 0.02), gap[e] * rng.uniform(0.6, 1.3), rng) for e in EVENTS}
    sigma = 0.0197 + 0.004 * rng.uniform()
    levels = np.array([-1.64, -2.2, -1.96, -2.6, 1.5, 2.0, 1.8, 2.35]) * sigma * np.sqrt(horizon)
    tail = dict(zip(TAIL_COLUMNS, map(float, levels), strict=True))
    detail = TailDetail(
        level_lower=0.0631, level_upper=0.0417,
        uncorrected={name: 1.07 * value for name, value in tail.items()},
        untilted={name: 0.93 * value for name, value in tail.items()},
        residual={"switch": -1e-5, "large": None, "crash": 9e-4}, effective_size=13266.2,
    )  # fmt: skip
    return PairForecast(
        pair=pair, large=pair.split("-")[0], small=pair.split("-")[1], horizon_weeks=horizon, decision_date=DECISION,
        entry_date=date(2023, 11, 27), exit_date=date(2023, 11, 27) + timedelta(weeks=horizon), style_in_force=style,
        style_since=date(2023, 3, 31), sigma=float(sigma), heads=heads,
        tail=tail, tail_detail=detail, validity="validated", reasons=(),
    )  # fmt: skip


def make_history(pair: str, weeks: int, rng: np.random.Generator) -> StyleHistory:
    """Build a random weekly line and run the flip rule over it."""
    x = np.cumsum(rng.normal(0.0008, 0.021, weeks)) + 0.12 * np.sin(np.arange(weeks) / 45)
    styles: list[Style] = []
    style: Style = "large"
    extreme = x[0]
    for level in x:
        extreme = min(extreme, level) if style == "large" else max(extreme, level)
        if abs(level - extreme) > 0.021 * np.sqrt(13):
            style, extreme = ("small" if style == "large" else "large"), level
        styles.append(style)
    dates = tuple(DECISION - timedelta(weeks=weeks - 1 - i) for i in range(weeks))
    return StyleHistory(pair, dates, tuple(float(v) for v in np.exp(x - x[0])), tuple(styles), 43, 17)


def make_fan(pair: str, sessions: int = 20) -> Fan:
    """Build a fan that widens with root time, its tilted side lower than the untilted one."""
    days = [date(2023, 11, 27)]
    while len(days) <= sessions:
        days.append(days[-1] + timedelta(days=3 if days[-1].weekday() == 4 else 1))
    scale = 0.0112 * np.sqrt(np.arange(sessions + 1))
    tilted = np.outer(scale, (-1.71, -0.72, -0.11, 0.52, 1.33))
    untilted = np.outer(scale, (-1.58, 1.54))
    low_high = tuple((float(low), float(high)) for low, high in untilted)
    return Fan(pair, tuple(days), tuple(tuple(map(float, row)) for row in tilted), low_high)


def make_leverage() -> LeverageView:
    """Build a levered book whose losses grow with leverage and root time."""
    rows = tuple(
        LeverageRow(
            leverage=float(times), horizon_weeks=weeks, level=0.04, raw_var_95=-0.0248 * times * weeks**0.5,
            raw_es_95=-0.0351 * times * weeks**0.5, raw_var_975=-0.0311 * times * weeks**0.5,
            raw_es_975=-0.0415 * times * weeks**0.5, var_95=-0.0269 * times * weeks**0.5,
            es_95=-0.0373 * times * weeks**0.5, var_975=-0.033 * times * weeks**0.5,
            es_975=-0.0437 * times * weeks**0.5, p_margin_call=7.3e-5 * weeks * times**3,
            share_force_sold=6.1e-5 * weeks * times**3, p_wipe_out=0.0,
        )
        for times in range(1, 6) for weeks in HORIZONS
    )  # fmt: skip
    return LeverageView(
        long="micro400", hedge="csi500", long_name=("Micro-cap 400", "微盘400"), hedge_name=("CSI 500", "中证500"),
        financing=0.045, discount=0.0316, maintenance=0.12, rows=rows, told_leverage=4.0, told_weeks=4, told_loss=0.2,
        p_loss=0.0597,
    )  # fmt: skip


def make_forecast(*, simulated: bool = False, seed: int = 33) -> Forecast:
    """Build the forecast of one decision day; the line of seed 33 ends with small caps, of seed 12 with large."""
    rng = np.random.default_rng(seed)
    history = make_history("csi300-csi1000", 15 * 52, np.random.default_rng(seed))
    pairs = tuple(make_pair(pair, h, history.style[-1], rng) for pair in NAMES for h in HORIZONS)
    since = max(d for d, s, p in zip(history.dates[1:], history.style[1:], history.style, strict=False) if s != p)
    pairs = tuple(replace(row, style_since=since) if row.pair == "csi300-csi1000" else row for row in pairs)
    return Forecast(
        market="sample" if simulated else "cn",
        title="SIMULATED sample market" if simulated else "China A-shares",
        title_zh="模拟样本市场（SIMULATED）" if simulated else "中国A股",
        simulated=simulated, decision_date=DECISION, decision_at=datetime(2023, 11, 24, 15, 30, tzinfo=SHANGHAI),
        headline="csi300-csi1000", pair_names=NAMES, pairs=pairs, history=history,
        fan=make_fan("csi300-csi1000"), leverage=make_leverage(),
        absent={"aa_spread_change": (AbsentInput("not_in_data", "aa_spread"),),
                "dma_growth": (AbsentInput("stale", "dma_balance", date(2023, 6, 30)),),
                "northbound_flow": (AbsentInput("ended", "northbound_net_flow", date(2023, 8, 18)),),
                "pair_valuation": (AbsentInput("not_in_data", "csi1000.pe"), AbsentInput("not_in_data", "csi300.pe")),
                "private_fund_growth": (AbsentInput("too_short"),)},
        next_releases=(
            NextRelease("cn_pmi_mfg", "macro", date(2023, 11, 30), date(2023, 11, 30), False),
            NextRelease("cn_caixin_pmi_mfg_incl_flash", "macro", date(2023, 11, 30), date(2023, 12, 1), False),
            NextRelease("cn_fx_reserves", "flows", date(2023, 11, 30), date(2023, 12, 7), True),
            NextRelease("cn_exports_usd_yoy", "macro", date(2023, 11, 30), date(2023, 12, 7), True),
            NextRelease("cpi_yoy", "macro", date(2023, 11, 30), date(2023, 12, 9), True),
            NextRelease("m2_yoy", "macro", date(2023, 11, 30), date(2023, 12, 13), True),
            NextRelease("social_financing", "macro", date(2023, 11, 30), date(2023, 12, 13), True),
        ),
        bundle_cut=date(2023, 9, 1), snapshot_id="9f31c2a07be4", config_hash="5d1e88a0c3f2",
        code_version="0.1.0+g3f2a91c",
    )  # fmt: skip


def abstain(forecast: Forecast) -> Forecast:
    """Return the same forecast without probabilities, tails and drivers: two families are stale."""

    def silent(head: HeadForecast) -> HeadForecast:
        return replace(head, probability=None, lo=None, hi=None, log_odds=None, drivers=(), families={})

    pairs = tuple(
        replace(row, heads={e: silent(h) for e, h in row.heads.items()}, tail=None, validity="abstain_stale")
        for row in forecast.pairs
    )
    pairs = tuple(replace(row, reasons=(Reason("stale", ("rates", "flows")),)) for row in pairs)
    return replace(forecast, pairs=pairs)


def without_scenarios(forecast: Forecast) -> Forecast:
    """Return the forecast as a day without scenario paths has it: no fan, no levered book, no detail of a tail."""
    pairs = tuple(replace(row, tail_detail=None) for row in forecast.pairs)
    return replace(forecast, fan=None, leverage=None, pairs=pairs)


def crowded(forecast: Forecast) -> Forecast:
    """Return the forecast with every text as long as it may get: what one sheet must still hold."""
    why = "A sentence about the reason that is as long as the catalogue would ever let anybody write, and then more."

    def wordy(head: HeadForecast) -> HeadForecast:
        drivers = tuple(replace(d, why=why, vintage="current", unit=d.unit or "points") for d in head.drivers)
        return replace(head, drivers=drivers)

    reasons = tuple(Reason("unseen", (f"input_number_{i}", why)) for i in range(9))
    pairs = tuple(
        replace(row, heads={e: wordy(h) for e, h in row.heads.items()}, validity="stress_supported", reasons=reasons)
        for row in forecast.pairs
    )
    absent = {
        f"a_feature_with_a_long_name_{i}": (AbsentInput("stale", f"a_series_with_a_long_name_{i}", DECISION),)
        for i in range(40)
    }
    return replace(forecast, pairs=pairs, absent=absent, next_releases=forecast.next_releases * 4)
