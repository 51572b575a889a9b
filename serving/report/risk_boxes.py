"""Tail, fan and levered book in words and figures: what the page and the terminal both print of the scenario set."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from serving.record import Fan, Forecast, LeverageRow, LeverageView, PairForecast, TailDetail
from serving.report import view
from serving.report import wording as w
from serving.report.figures import Lang, clean, fixed, percent

_COUNTS = (("one", "一"), ("two", "两"), ("three", "三"), ("four", "四"), ("five", "五"))
_UNTILTED_ROWS = ("var_95", "es_95")


@dataclass(frozen=True)
class Line:
    """One line of a table, its figures printed; `minor` marks a line that only compares."""

    name: str
    cells: tuple[str, ...]
    minor: bool = False


@dataclass(frozen=True)
class TailBox:
    """The tail table: the lower and the upper side of each horizon, and how to read it."""

    horizons: tuple[str, ...]
    lines: tuple[Line, ...]
    note: str


@dataclass(frozen=True)
class FanBox:
    """The fan in words, for those who do not see it, and its quantiles after each week with `heads` as columns."""

    alt: str
    heads: tuple[str, ...]
    weeks: tuple[Line, ...]


@dataclass(frozen=True)
class LeverageBox:
    """The levered book: one sentence, its terms, and a table for each horizon with `heads` as columns."""

    book: str
    sentence: str
    terms: str
    heads: tuple[str, ...]
    tables: tuple[tuple[str, tuple[Line, ...]], ...]


def tail_box(rows: Iterable[PairForecast], lang: Lang) -> TailBox | None:
    """Return the tail of the rows that have one, 95% beside its untilted twin where that is known; None without any."""
    held = [row for row in rows if row.tail is not None]
    if not held:
        return None
    detailed = [row.tail_detail for row in held if row.tail_detail is not None]
    lines = []
    for key in w.TAIL_ROWS:
        lines.append(Line(w.say(lang, key), tuple(w.tail_cells(held, key))))
        if detailed and key in _UNTILTED_ROWS:
            lines.append(Line(w.say(lang, "untilted"), _untilted(held, key), minor=True))
    last = held[-1]
    told = "" if last.tail_detail is None else _tail_words(last.tail_detail, w.horizon(last.horizon_weeks, lang), lang)
    gap = "" if lang == "zh" else " "
    note = gap.join(filter(None, (w.say(lang, "tail_key") + w.say(lang, "stop"), told)))
    return TailBox(tuple(w.horizon(row.horizon_weeks, lang) for row in held), tuple(lines), note)


def _untilted(rows: Iterable[PairForecast], key: str) -> tuple[str, ...]:
    details = [{} if row.tail_detail is None else row.tail_detail.untilted for row in rows]
    return tuple(percent(known.get(name), signed=True) for known in details for name in (key, f"{key}_up"))


def _tail_words(detail: TailDetail, horizon: str, lang: Lang) -> str:
    paths = fixed(detail.effective_size, 0)
    return w.say(lang, "tail_detail", horizon, percent(detail.level_lower), percent(detail.level_upper), paths)


def fan_box(forecast: Forecast, lang: Lang) -> FanBox | None:
    """Return the fan in words and figures; None without one, or where it ends as it begins."""
    fan = forecast.fan
    if fan is None or len(fan.sessions) < 2:
        return None
    outer, inner, median, upper, top = (percent(value, signed=True) for value in fan.tilted[-1])
    low, high = (percent(value, signed=True) for value in fan.untilted[-1])
    ends = (str(fan.sessions[0]), str(fan.sessions[-1]), outer, top, inner, upper, median, low, high)
    untilted = w.say(lang, "untilted")
    return FanBox(
        alt=w.say(lang, "fan_alt", *ends),
        heads=("5%", "25%", w.say(lang, "median"), "75%", "95%", f"{untilted} 5%", f"{untilted} 95%"),
        weeks=tuple(_fan_line(fan, at) for at in view.weekly_points(fan)),
    )


def _fan_line(fan: Fan, at: int) -> Line:
    values = (*fan.tilted[at], *fan.untilted[at])
    return Line(str(fan.sessions[at]), tuple(percent(value, signed=True) for value in values))


def leverage_box(forecast: Forecast, lang: Lang) -> LeverageBox | None:
    """Return what leverage does to the market's neutral book; None without such a view."""
    book = forecast.leverage
    if book is None:
        return None
    chinese = lang == "zh"
    legs = clean(book.long_name[chinese] or book.long, 40), clean(book.hedge_name[chinese] or book.hedge, 40)
    discount = w.say(lang, "discount_unknown")
    if book.discount is not None:
        discount = w.say(lang, "discount", percent(book.discount))
    return LeverageBox(
        book=w.say(lang, "book", *legs),
        sentence=_sentence(book, legs, lang),
        terms=w.say(lang, "terms", percent(book.financing), discount, percent(book.maintenance)),
        heads=tuple(w.say(lang, key) for key in ("var_95", "es_95", "called", "sold")),
        tables=tuple(
            (w.horizon(weeks, lang), tuple(_leverage_line(row, lang) for row in rows))
            for weeks, rows in view.leverage_rows(book)
        ),
    )


def _leverage_line(row: LeverageRow, lang: Lang) -> Line:
    losses = (percent(row.var_95, signed=True), percent(row.es_95, signed=True))
    return Line(
        w.say(lang, "times", f"{row.leverage:g}"), (*losses, percent(row.p_margin_call), percent(row.share_force_sold))
    )


def _sentence(book: LeverageView, legs: tuple[str, str], lang: Lang) -> str:
    weeks = w.say(lang, "in_week" if book.told_weeks == 1 else "in_weeks", _count(book.told_weeks, lang))
    return w.say(
        lang, "told", times=_count(book.told_leverage, lang), long=legs[0], hedge=legs[1],
        loss=f"{100.0 * book.told_loss:g}%", weeks=weeks, p=percent(book.p_loss),
    )  # fmt: skip


def _count(number: float, lang: Lang) -> str:
    """Return a small whole number as a word, any other one in figures."""
    if number in range(1, len(_COUNTS) + 1):
        return _COUNTS[int(number) - 1][lang == "zh"]
    return f"{number:g}"
