"""The crowding page: one self-contained HTML page, and the same figures as a terminal table."""

from __future__ import annotations

from datetime import date
from typing import Any

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.ticker import FixedFormatter, FixedLocator
from rich.console import Group
from rich.text import Text

from features.events import events_between, load_events
from serving.crowding import CrowdingReport, CrowdRow, UnwindScenes
from serving.plain_table import plain_table
from serving.report.charts import ACCENT, INK, SHADE, date_ticks, drawing, quiet_frame
from serving.report.crowding_words import measure_words, say
from serving.report.event_marks import Mark, draw_marks, event_marks
from serving.report.figures import NONE, Lang, amount, clean, fixed, percent, place
from serving.report.pages import page_template

EXTREME, HIGH, LOW = 0.9, 0.65, 0.35
"""From which percentile a measure is named; from which composites the headline says crowded, or less than usual."""
_CHART_WEEKS = 520
_SPARK = (60.0, 14.0)
_UNIT_BN = {"en": 1e9, "zh": 1e8}


def render_crowding(report: CrowdingReport, lang: Lang) -> str:
    """Return the page; the same bytes for the same report.

    Information set: the report alone, and dated events up to its decision day.
    """
    return page_template("crowding.html.j2").render(_context(report, lang))


def crowding_table(report: CrowdingReport, lang: Lang) -> Group:
    """Return the measures and the excess returns for the terminal."""
    label = "SIMULATED " if report.simulated else ""
    lines: list[Any] = [Text(f"{label}{_title(report, lang)} · {report.decision_date}", style="bold")]
    lines += [Text(headline(report, lang)), Text(_lead(report, lang))]
    if report.survivors_only:
        lines.append(Text(say(lang, "survivors"), style="dim"))
    rows = []
    for row in report.rows:
        told = (amount(row.level, row.unit, lang), place(row.percentile), amount(row.change, row.unit, lang))
        rows.append(
            (measure_words(row, lang)[0], _sign(row), *(told if not row.reason else (say(lang, row.reason), "", "")))
        )
    heads = [say(lang, f"head_{key}") for key in ("measure", "counts", "level", "place", "change")]
    lines.append(plain_table(say(lang, "measures"), heads, rows))
    parts = ("name", "excess", "volatility", "hit", "slope")
    heads = [say(lang, f"head_{key}") for key in ("step", *parts[1:])]
    steps = [[step[part] for part in parts] for step in _decay(report, lang)]
    lines.append(plain_table(say(lang, "decay"), heads, steps))
    if leaving := _leaving(report, lang):
        lines.append(Text(leaving))
    return Group(*lines)


def headline(report: CrowdingReport, lang: Lang) -> str:
    """Return the message in a few words."""
    value = report.composite
    key = "none" if value is None else "high" if value >= HIGH else "low" if value <= LOW else "usual"
    return say(lang, f"headline_{key}")


def _context(report: CrowdingReport, lang: Lang) -> dict[str, Any]:
    marks = _marks(report, lang)
    return {
        "say": lambda key, *values: say(lang, key, *values),
        "html_lang": "zh-CN" if lang == "zh" else "en",
        "report": report,
        "title": _title(report, lang),
        "headline": headline(report, lang),
        "lead": _lead(report, lang),
        "extremes": _extremes(report, lang),
        "kpis": _kpis(report, lang),
        "groups": [
            (say(lang, f"from_{origin}"), [_measure(row, lang) for row in report.rows if row.origin == origin])
            for origin in ("stocks", "catalogue")
            if any(row.origin == origin for row in report.rows)
        ],
        "chart": Markup(_chart(report, marks)),  # our own drawing, numbers only
        "marks": [(mark.number, str(mark.day), clean(mark.text, 90)) for mark in marks],
        "decay": _decay(report, lang),
        "leaving": _leaving(report, lang),
        "unwinds": [_scene(report, scene, lang) for scene in report.unwinds],
    }


def _title(report: CrowdingReport, lang: Lang) -> str:
    return f"{clean(report.title_zh if lang == 'zh' else report.title, 60)} · {say(lang, 'product')}"


def _lead(report: CrowdingReport, lang: Lang) -> str:
    if report.composite is None:
        return say(lang, "lead_none")
    before = NONE if report.composite_change is None else fixed(100 * (report.composite - report.composite_change), 0)
    return say(lang, "lead", fixed(100 * report.composite, 0), str(report.counted), before)


def _extremes(report: CrowdingReport, lang: Lang) -> str:
    names = []
    for row in report.rows:
        if row.sign and row.percentile is not None:
            crowded = row.percentile if row.sign > 0 else 1 - row.percentile
            if crowded >= EXTREME:
                names.append(measure_words(row, lang)[0])
    return say(lang, "extremes", say(lang, "list_comma").join(names)) if names else say(lang, "no_extremes")


def _kpis(report: CrowdingReport, lang: Lang) -> list[tuple[str, str, str]]:
    value = NONE if report.composite is None else fixed(100 * report.composite, 0)
    kpis = [(value, say(lang, "kpi_composite"), say(lang, "kpi_composite_under"))]
    if report.leaving is not None:
        held = report.leaving
        under = say(lang, "kpi_days_under", fixed(held.notional / _UNIT_BN[lang], 0), percent(held.participation))
        kpis.append((fixed(held.days, 0), say(lang, "kpi_days"), under))
    return kpis


def _measure(row: CrowdRow, lang: Lang) -> dict[str, Any]:
    name, why = measure_words(row, lang)
    return {
        "name": name,
        "why": say(lang, row.reason) if row.reason else why,
        "sign": _sign(row),
        "counts": row.sign != 0,
        "level": amount(row.level, row.unit, lang),
        "place": place(row.percentile),
        "dot": None if row.percentile is None else round(100 * row.percentile, 1),
        "change": NONE if row.change is None else _signed(amount(row.change, row.unit, lang), row.change),
        "spark": _spark(row.history),
    }


def _sign(row: CrowdRow) -> str:
    return {1: "+", -1: "−", 0: ""}[row.sign]


def _signed(text: str, value: float) -> str:
    return f"+{text}" if value > 0 else text


def _spark(history: tuple[float | None, ...]) -> str:
    """Return the points of a small line, in a box of `_SPARK`; empty with fewer than two values."""
    known = [(at, value) for at, value in enumerate(history) if value is not None]
    if len(known) < 2:
        return ""
    low, high = min(value for _, value in known), max(value for _, value in known)
    width, height = _SPARK
    span = (high - low) or 1.0
    return " ".join(
        f"{width * at / (len(history) - 1):.1f},{height - 1 - (height - 2) * (value - low) / span:.1f}"
        for at, value in known
    )


def _decay(report: CrowdingReport, lang: Lang) -> list[dict[str, str]]:
    names = {key: clean(pair[lang == "zh"], 40) for key, pair in report.segment_names.items()}

    def interval(low: float | None, high: float | None) -> str:
        return f" [{percent(low, signed=True)}, {percent(high, signed=True)}]" if low is not None else ""

    return [
        {
            "name": f"{names[row.smaller]} / {names[row.larger]}",
            "excess": percent(row.excess, signed=True) + interval(*row.excess_interval),
            "volatility": percent(row.volatility),
            "hit": percent(row.hit_rate),
            "slope": percent(row.slope, signed=True) + interval(*row.slope_interval),
            "verdict": say(lang, row.verdict) if row.slope is not None else "",
        }
        for row in report.decay
    ]


def _leaving(report: CrowdingReport, lang: Lang) -> str:
    held = report.leaving
    if held is None:
        return ""
    unit = _UNIT_BN[lang]
    assumed = say(lang, "list_comma").join(say(lang, name) for name in held.assumed)
    numbers = (fixed(held.days, 0), fixed(held.notional / unit, 0), percent(held.participation))
    return say(lang, "leaving", *numbers, fixed(held.turnover / unit, 1), assumed)


def _scene(report: CrowdingReport, scene: UnwindScenes, lang: Lang) -> dict[str, Any]:
    names = {key: clean(pair[lang == "zh"], 40) for key, pair in report.segment_names.items()}
    rows = []
    leverage = max((float(row["leverage"]) for row in scene.rows), default=0.0)
    shocks = sorted({float(row["shock"]) for row in scene.rows})
    shock = shocks[len(shocks) // 2] if shocks else 0.0
    for row in scene.rows:
        if (row["leverage"], row["shock"]) != (leverage, shock):
            continue
        converged = bool(row["converged"])
        rows.append([
            fixed(float(row["size"]) / _UNIT_BN[lang], 0), say(lang, str(row["depth"])),
            percent(float(row["tier_return"]), signed=True), percent(float(row["squeeze"]), signed=True),
            percent(float(row["share_liquidated"])), percent(float(row["equity_low"])), f"{row['days']}",
            percent(float(row["rebound"]), signed=True) if converged else say(lang, "not_converged"),
        ])  # fmt: skip
    return {
        "sub": say(
            lang, "unwind_sub", names[scene.tier], names[scene.hedge], f"{leverage:g}", percent(shock, signed=True)
        ),
        "rows": rows,
        "assumed": say(lang, "assumed", clean(scene.assumed, 300)),
        "reason": clean(scene.reason, 200),
    }


def _marks(report: CrowdingReport, lang: Lang) -> tuple[Mark, ...]:
    weeks = report.weeks[-_CHART_WEEKS:]
    first, last = (np.datetime64(day, "us") for day in (weeks[0], report.decision_date))
    return event_marks(events_between(load_events(report.market), first, last), lang)


def _chart(report: CrowdingReport, marks: tuple[Mark, ...]) -> str:
    weeks, values = report.weeks[-_CHART_WEEKS:], report.composite_history[-_CHART_WEEKS:]
    known = [(day, value) for day, value in zip(weeks, values, strict=True) if value is not None]
    if len(known) < 2:
        return ""

    def draw(axes: Axes) -> None:
        days: list[date] = [day for day, _ in known]
        at = np.array([day.toordinal() for day in days], dtype=np.float64)
        line = 100 * np.array([value for _, value in known])
        axes.axhspan(100 * LOW, 100 * HIGH, color=SHADE, linewidth=0, alpha=0.5, zorder=0)
        axes.plot(at, line, color=INK, linewidth=1.0, solid_joinstyle="round", zorder=3)
        axes.plot(at[-1:], line[-1:], "o", color=ACCENT, markersize=4, zorder=4)
        axes.set_ylim(0, 100)
        axes.yaxis.set_major_locator(FixedLocator([0, 25, 50, 75, 100]))
        axes.set_xlim(at[0], at[-1] + 0.012 * (at[-1] - at[0]))
        draw_marks(axes, marks)
        ticks = date_ticks(days[0], days[-1])
        axes.xaxis.set_major_locator(FixedLocator([day.toordinal() for day, _ in ticks]))
        axes.xaxis.set_major_formatter(FixedFormatter([label for _, label in ticks]))
        quiet_frame(axes)

    return drawing(draw)
