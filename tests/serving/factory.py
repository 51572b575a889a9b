"""A forecast that looks like a real one: fifteen years of weeks, four pairs, twenty drivers; no model behind it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np

from features.contracts import EVENTS, FAMILIES, HORIZONS, TAIL_COLUMNS, Event, Style
from serving.record import Driver, Forecast, HeadForecast, NextRelease, PairForecast, StyleHistory

DECISION = date(2023, 11, 24)
SHANGHAI = ZoneInfo("Asia/Shanghai")
NAMES = {
    "csi300-csi1000": ("CSI 300 / CSI 1000", "沪深300 / 中证1000"),
    "csi300-csi500": ("CSI 300 / CSI 500", "沪深300 / 中证500"),
    "csi300-cni2000": ("CSI 300 / CNI 2000", "沪深300 / 国证2000"),
    "csi300-micro400": ("CSI 300 / micro-cap 400", "沪深300 / 微盘400"),
}
CATALOGUE = (
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


def _logit(p: float) -> float:
    return float(np.log(p / (1.0 - p)))


def make_head(event: Event, base: float, gap: float, rng: np.random.Generator) -> HeadForecast:
    """Build one head whose drivers add up to its log-odds exactly."""
    entries = [*CATALOGUE, *((name, name, "", "real", "") for name in PSEUDO)]
    parts = rng.normal(size=len(entries)) * np.where([row[1] in PSEUDO for row in entries], 0.02, 0.09)
    parts += (gap - parts.sum()) / len(parts)
    start, end = _logit(base), _logit(base) + float(parts.sum())
    p = float(1.0 / (1.0 + np.exp(-end)))
    drivers = tuple(
        Driver(
            feature=name, family=family, why=why, unit=unit, vintage=vintage,
            value=None if family in PSEUDO else float(rng.normal() * (8 if unit.startswith("%") else 1)),
            percentile=None if family in PSEUDO else float(rng.uniform()),
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
    return PairForecast(
        pair=pair, large=pair.split("-")[0], small=pair.split("-")[1], horizon_weeks=horizon, decision_date=DECISION,
        entry_date=date(2023, 11, 27), exit_date=date(2023, 11, 27) + timedelta(weeks=horizon), style_in_force=style,
        style_since=date(2023, 3, 31), sigma=float(sigma), heads=heads,
        tail=dict(zip(TAIL_COLUMNS, map(float, levels), strict=True)), validity="validated", reasons=(),
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
        absent={"aa_spread_change": "aa_spread: not in the data", "dma_growth": "dma_balance: not in the data",
                "fund_issuance_trend": "fund_issuance: not in the data",
                "pair_valuation": "csi1000.pe: not in the data",
                "private_fund_growth": "private_fund_aum: not in the data"},
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


def abstain(forecast: Forecast, reason: str = "gov_10y: newest value 41 days old, limit 16") -> Forecast:
    """Return the same forecast without probabilities, tails and drivers."""

    def silent(head: HeadForecast) -> HeadForecast:
        return replace(head, probability=None, lo=None, hi=None, log_odds=None, drivers=(), families={})

    pairs = tuple(
        replace(row, heads={e: silent(h) for e, h in row.heads.items()}, tail=None, validity="abstain_stale")
        for row in forecast.pairs
    )
    pairs = tuple(replace(row, reasons=(reason,)) for row in pairs)
    return replace(forecast, pairs=pairs)


def crowded(forecast: Forecast) -> Forecast:
    """Return the forecast with every text as long as it may get: what one sheet must still hold."""
    why = "A sentence about the reason that is as long as the catalogue would ever let anybody write, and then more."

    def wordy(head: HeadForecast) -> HeadForecast:
        drivers = tuple(replace(d, why=why, vintage="current", unit=d.unit or "points") for d in head.drivers)
        return replace(head, drivers=drivers)

    reasons = tuple(f"input number {i} stands far outside of everything that was seen: {why}" for i in range(9))
    pairs = tuple(
        replace(row, heads={e: wordy(h) for e, h in row.heads.items()}, validity="stress_supported", reasons=reasons)
        for row in forecast.pairs
    )
    absent = {f"a_series_with_a_long_name_{i}": f"reason {i}: not in the data folder, nowhere" for i in range(40)}
    return replace(forecast, pairs=pairs, absent=absent, next_releases=forecast.next_releases * 4)
