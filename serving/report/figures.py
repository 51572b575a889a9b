"""Numbers, times and foreign text as the note prints them."""

from __future__ import annotations

import math
import unicodedata
from datetime import datetime
from typing import Literal

Lang = Literal["zh", "en"]
NONE = "–"
_UNITS: dict[str, tuple[str, str]] = {
    **dict.fromkeys(("z", "z-score"), ("z", "标准分")),
    **dict.fromkeys(("points", "index points"), ("pts", "点")),
    **dict.fromkeys(("pp", "percentage points"), ("pp", "个百分点")),
    **dict.fromkeys(("sigma", "standard deviations"), ("σ", "σ")),
    **dict.fromkeys(("index", "fraction", "rank", "prior", "code"), ("", "")),
    **dict.fromkeys(("log", "log points", "log growth", "log change", "log return"), ("log", "对数")),
    **dict.fromkeys(("log return a day", "log points a day"), ("log/day", "对数/日")),
    "log weeks": ("log weeks", "对数周"),
    "weeks": ("weeks", "周"),
    "return": ("return", "收益"),
    "correlation": ("corr.", "相关"),
    "ratio": ("x", "倍"),
    "% a year": ("%/y", "%/年"),
    "% y/y": ("% y/y", "%同比"),
    "% m/m": ("% m/m", "%环比"),
    "% of float": ("% of float", "%流通市值"),
    "100m CNY": ("100m CNY", "亿元"),
    "100m CNY a day": ("100m CNY/d", "亿元/日"),
    "flip thresholds": ("of a flip", "翻转阈值"),
}


def percent(value: float | None, *, signed: bool = False) -> str:
    """Return a fraction as percent with one decimal; a dash for what is missing.

    Examples
    --------
    >>> percent(0.3124), percent(-0.0512, signed=True), percent(-0.0001), percent(None)
    ('31.2%', '−5.1%', '0.0%', '–')
    """
    return NONE if value is None or not math.isfinite(value) else fixed(100.0 * value, 1, signed=signed) + "%"


def place(percentile: float | None) -> str:
    """Return the place of a value in its own past, e.g. P91."""
    return NONE if percentile is None else f"P{100.0 * percentile:.0f}"


def fixed(value: float, decimals: int, *, signed: bool = False) -> str:
    """Return a number with a true minus sign and never a negative zero."""
    text = f"{value:+,.{decimals}f}" if signed else f"{value:,.{decimals}f}"
    return (text.lstrip("+-") if float(text.replace(",", "")) == 0 else text).replace("-", "−")


def amount(value: float | None, unit: str, lang: Lang) -> str:
    """Return a driver's value with its unit, three significant digits or so."""
    if value is None or not math.isfinite(value):
        return NONE
    size = abs(value)
    decimals = 0 if size >= 1000 else 1 if size >= 100 else 2 if size >= 0.1 or size == 0 else 4
    shown = clean(_UNITS[unit][lang == "zh"] if unit in _UNITS else unit, 14)
    return (fixed(value, decimals) + ("" if shown.startswith("%") else " ") + shown).rstrip()


def clean(text: str, limit: int = 10_000) -> str:
    """Return text without control characters (a terminal obeys them), cut with an ellipsis at `limit` characters."""
    plain = "".join(c if unicodedata.category(c)[0] != "C" else " " for c in text).strip()
    return plain if len(plain) <= limit else plain[: limit - 1].rstrip() + "…"


def moment(value: datetime) -> str:
    """Return a time with its zone, e.g. ``2023-11-24 15:30 Asia/Shanghai (UTC+08:00)``."""
    offset = value.strftime("%z")
    zone = getattr(value.tzinfo, "key", "")
    return f"{value:%Y-%m-%d %H:%M} {zone} (UTC{offset[:3]}:{offset[3:5]})".replace("  ", " ")
