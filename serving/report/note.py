"""The note: one self-contained HTML page of a forecast, for a phone and for one sheet of A4."""

from __future__ import annotations

import unicodedata
from itertools import accumulate
from typing import Any, Literal

from markupsafe import Markup

from features.contracts import EVENTS, FAMILIES, Event
from serving.record import Driver, Forecast, HeadForecast, PairForecast
from serving.report import view
from serving.report import wording as w
from serving.report.charts import line_chart, strip
from serving.report.fan_chart import fan_chart
from serving.report.figures import NONE, Lang, amount, clean, fixed, moment, percent, place
from serving.report.pages import page_template
from serving.report.risk_boxes import fan_box, leverage_box, tail_box

_MAX_REASONS, _MAX_RELEASES = 3, 6
_NAMES_WIDTH, _WHY_WIDTH = 140, 74
"""Characters of absent inputs, two printed lines, and of why they are absent, one; a Chinese one counts twice."""
_LINE = 70
"""Characters of the driver table's reason column that fit on one printed line; a Chinese one counts twice."""
_SPARE_LINES = 2.6
"""What the sheet holds beyond the usual text before the print gets smaller."""


def render_note(forecast: Forecast, lang: Literal["zh", "en"]) -> str:
    """Return the note as one HTML page without scripts or external resources.

    Parameters
    ----------
    forecast : Forecast
        The decision time must carry the exchange's zone: dates of knowledge are told in it.
    lang : {"zh", "en"}
        Language of the words; numbers are the same in both.

    Returns
    -------
    str
        The same bytes for the same forecast. Text from the forecast is escaped. Information set: the forecast alone.

    Raises
    ------
    DataContractError
        If `lang` is neither zh nor en, the headline pair has no four-week row, or the decision time has no zone.
    """
    context = _context(forecast, lang)
    return page_template("note.html.j2").render(context, dense=_dense(context))


def _context(forecast: Forecast, lang: Lang) -> dict[str, Any]:
    rows, row = view.headline_rows(forecast), view.main_row(forecast)
    stretches = view.runs(forecast.history)
    return {
        "say": lambda key, *values, **named: w.say(lang, key, *values, **named),
        "html_lang": "zh-CN" if lang == "zh" else "en",
        "forecast": forecast,
        "title": w.page_title(forecast, lang),
        "market": w.market_title(forecast, lang),
        "pair": w.pair_name(forecast, row.pair, lang),
        "headline": w.headline(forecast, lang),
        "call": w.call(forecast, lang),
        "flip_record": w.flip_record(forecast, lang),
        "abstains": row.heads["switch"].probability is None,
        "kpis": _kpis(row, lang),
        "events": [_event(event, rows, lang) for event in EVENTS],
        "columns": [(w.horizon(r.horizon_weeks, lang), str(r.entry_date), str(r.exit_date)) for r in rows],
        "strip_note": w.say(lang, "strip", percent(view.axis_top(rows)), percent(row.sigma)),
        "chart": Markup(line_chart(forecast.history)),  # our own drawing, numbers only
        "span": (str(stretches[0][0]), str(stretches[-1][1])) if stretches else ("", ""),
        "flip": str(stretches[-1][0]) if len(stretches) > 1 else "",
        "fan": fan_box(forecast, lang),
        "fan_chart": "" if forecast.fan is None else Markup(fan_chart(forecast.fan)),  # as above
        "tail": tail_box(rows, lang),
        "book": leverage_box(forecast, lang),
        "no_tail": w.no_tail((row,), lang),
        **_why(forecast, row, lang),
        "others": [_other(forecast, pair_rows, lang) for pair_rows in view.other_rows(forecast)],
        "validity_text": _validity_text(rows, lang),
        "validity": [(w.horizon(r.horizon_weeks, lang), w.word(lang, r.validity)) for r in rows],
        "same_validity": len({r.validity for r in rows}) == 1,
        "validity_class": "ok" if all(r.validity == "validated" for r in rows) else "warn",
        "reasons": _reasons(rows, lang),
        "reasons_for": w.word(lang, next((r.validity for r in rows if r.validity != "validated"), row.validity)),
        "absent": _absent(forecast, lang),
        "releases": [
            (str(r.expected), w.series_name(r.series, lang), w.word(lang, r.family), r.estimated)
            for r in view.upcoming(forecast)[:_MAX_RELEASES]
        ],
        "provenance": [
            (w.say(lang, "decided"), moment(forecast.decision_at)),
            (w.say(lang, "bundle"), str(forecast.bundle_cut)),
            (w.say(lang, "snapshot"), clean(forecast.snapshot_id, 24)),
            (w.say(lang, "config"), clean(forecast.config_hash, 24)),
            (w.say(lang, "code"), clean(forecast.code_version, 40)),
        ],
    }  # fmt: skip


def _kpis(row: PairForecast, lang: Lang) -> list[tuple[str, str, str]]:
    head, weeks = row.heads["switch"], str(row.horizon_weeks)
    base = w.say(lang, "kpi_base", percent(head.base))
    if head.probability is None:
        base = w.say(lang, "kpi_only")
    kpis = [(percent(head.base if head.probability is None else head.probability), w.say(lang, "kpi_p", weeks), base)]
    if (book := view.following_book(row)) is not None:
        under = w.say(lang, f"kpi_book_{row.style_in_force}")
        kpis += [
            (percent(book[0], signed=True), w.say(lang, "kpi_var", weeks), under),
            (percent(book[1], signed=True), w.say(lang, "kpi_es"), under),
        ]
    return kpis


def _event(event: Event, rows: tuple[PairForecast, ...], lang: Lang) -> dict[str, Any]:
    short, long = w.event_name(event, lang)
    top = view.axis_top(rows)
    cells = []
    for row in rows:
        head = row.heads[event]
        move = w.threshold(row, event)
        cells.append({
            "horizon": w.horizon(row.horizon_weeks, lang),
            "p": percent(head.probability),
            "base": percent(head.base),
            "band": "" if head.lo is None or head.hi is None else f"{percent(head.lo)}–{percent(head.hi)}",
            "move": "" if move is None else percent(move, signed=True),
            "strip": strip(head, top),
            "main": event == "switch" and row.horizon_weeks == view.MAIN_HORIZON,
        })  # fmt: skip
    return {"short": short, "long": long, "cells": cells}


def _why(forecast: Forecast, row: PairForecast, lang: Lang) -> dict[str, Any]:
    head = row.heads["switch"]
    up, down = view.top_drivers(head)
    widest = max((abs(d.points) for d in (*up, *down)), default=1.0) or 1.0
    steps = view.bridge(head)
    tallest = max((abs(step.points) for step in steps), default=1.0) or 1.0
    return {
        "drivers": [
            ("up", [_driver(d, forecast, widest, lang) for d in up]),
            ("down", [_driver(d, forecast, widest, lang) for d in down]),
        ],
        "bridge_ends": _ends(head),
        "bridge": [
            {
                "family": w.word(lang, s.family), "real": s.family in FAMILIES,
                "points": fixed(100.0 * s.points, 1, signed=True), "log_odds": fixed(s.log_odds, 3, signed=True),
                "width": round(50.0 * abs(s.points) / tallest, 2), "up": s.points >= 0,
            }
            for s in steps
        ],
    }  # fmt: skip


def _ends(head: HeadForecast) -> tuple[str, str, str, str]:
    end = "" if head.log_odds is None else fixed(head.log_odds, 3, signed=True)
    return percent(head.base), fixed(head.base_log_odds, 3, signed=True), percent(head.probability), end


def _driver(driver: Driver, forecast: Forecast, widest: float, lang: Lang) -> dict[str, Any]:
    name, why = w.driver_words(driver, lang)
    known = view.local_date(driver.known_at, view.exchange_zone(forecast)) if driver.known_at else None
    share = round(50.0 * abs(driver.points) / widest, 2)
    return {
        "name": name, "family": w.word(lang, driver.family),
        "why": why,
        "value": amount(driver.value, driver.unit, lang), "has_value": driver.value is not None,
        "percentile": place(driver.percentile),
        "known": NONE if known is None else str(known),
        "vintage": w.vintage_note(driver, lang),
        "points": fixed(100.0 * driver.points, 1, signed=True),
        "log_odds": fixed(driver.log_odds, 3, signed=True),
        "width": share, "x": 50.0 if driver.points >= 0 else round(50.0 - share, 2),
    }  # fmt: skip


def _other(forecast: Forecast, rows: tuple[PairForecast, ...], lang: Lang) -> dict[str, Any]:
    last = rows[-1]
    weeks = {row.horizon_weeks: row for row in rows}
    return {
        "name": w.pair_name(forecast, last.pair, lang),
        "events": [w.event_name(event, lang)[0] for event in EVENTS],
        "horizons": [w.horizon(h, lang) for h in sorted(weeks)],
        "leads": w.say(lang, last.style_in_force), "since": str(last.style_since),
        "cells": [
            (w.event_name(event, lang)[0], w.horizon(h, lang), percent(weeks[h].heads[event].probability),
             percent(weeks[h].heads[event].base))
            for event in EVENTS for h in sorted(weeks)
        ],
        "tail": tuple(w.tail_cells((last,), key)[0] for key in ("var_95", "es_95")),
        "validity": w.word(lang, last.validity), "ok": last.validity == "validated",
    }  # fmt: skip


def _reasons(rows: tuple[PairForecast, ...], lang: Lang) -> list[str]:
    given = view.reasons(rows)
    more = [w.say(lang, "more", str(len(given) - _MAX_REASONS))] if len(given) > _MAX_REASONS else []
    return [clean(w.reason_words(reason, lang), 110) for reason in given[:_MAX_REASONS]] + more


def _validity_text(rows: tuple[PairForecast, ...], lang: Lang) -> str:
    words = dict.fromkeys(w.word(lang, row.validity) for row in rows)
    if len(words) > 1:
        words = dict.fromkeys(f"{w.horizon(r.horizon_weeks, lang)}: {w.word(lang, r.validity)}" for r in rows)
    stop, gap = w.say(lang, "stop"), "" if lang == "zh" else " "
    remark = w.say(lang, "see_top" if view.reasons(rows) else "all_good")
    return gap.join([*(f"{word}{stop}" for word in words), remark, w.say(lang, "basis")])


def _absent(forecast: Forecast, lang: Lang) -> dict[str, Any]:
    names = [w.series_name(name, lang) for name in sorted(forecast.absent)]
    shown = _fitting(names, _NAMES_WIDTH)
    told = dict.fromkeys(reason for name in sorted(forecast.absent) for reason in forecast.absent[name])
    reasons = [w.absent_words(reason, lang) for reason in told]
    given = _fitting(reasons, _WHY_WIDTH)
    return {
        "count": str(len(names)), "names": shown,
        "reasons": w.say(lang, "semicolon").join(given + ["…"] * (len(given) < len(reasons))),
        "more": w.say(lang, "more", str(len(names) - len(shown))) if len(names) > len(shown) else "",
    }  # fmt: skip


def _fitting(texts: list[str], width: int) -> list[str]:
    """Return the first texts, at least one, that the column of absent inputs holds: a name cut short is another one."""
    ends = accumulate(_width(text) + 2 for text in texts)
    return texts[: max(1, sum(end <= width for end in ends))]


def _dense(context: dict[str, Any]) -> bool:
    """Return whether long texts ask for smaller print, so that the page stays one sheet: a count of extra lines."""
    drivers = [driver for _, side in context["drivers"] for driver in side]
    wrapped = sum(_width(driver["why"] + driver["vintage"]) > _LINE for driver in drivers)
    told = context["say"]("semicolon").join(context["reasons"])
    box = 1.2 + _width(told) / 124.0 if told else 0.0
    return 0.6 * wrapped + box + (2.5 if context["forecast"].simulated else 0.0) > _SPARE_LINES


def _width(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)
