"""The note as tables for the terminal: the same numbers as the page, rounded the same."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from features.contracts import EVENTS
from serving.record import Driver, Forecast, HeadForecast, PairForecast
from serving.report import view
from serving.report import wording as w
from serving.report.figures import NONE, Lang, amount, clean, fixed, moment, percent, place
from serving.report.risk_boxes import fan_box, leverage_box, tail_box

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

_SHOWN = 12


def render_table(forecast: Forecast, lang: Literal["zh", "en"]) -> Group:
    """Return the note for ``rich.console.Console.print``; 80 columns are enough.

    Parameters
    ----------
    forecast : Forecast
        The decision time must carry the exchange's zone.
    lang : {"zh", "en"}
        Language of the words.

    Returns
    -------
    rich.console.Group
        Text from the forecast is shown literally: neither markup nor control characters in it have an effect.
        Information set: the forecast alone.

    Raises
    ------
    DataContractError
        If `lang` is neither zh nor en, the headline pair has no four-week row, or the decision time has no zone.
    """
    from rich.console import Group
    from rich.text import Text

    rows, row = view.headline_rows(forecast), view.main_row(forecast)
    parts: list[Text | Table] = []
    if forecast.simulated:
        parts.append(Text(f" {w.say(lang, 'simulated')} ", style="bold reverse"))
        parts.append(Text(w.say(lang, "simulated_why")))
    parts += [
        Text(w.page_title(forecast, lang), style="bold"),
        Text(w.headline(forecast, lang), style="bold cyan"),
        Text(w.call(forecast, lang)),
        Text(w.flip_record(forecast, lang), style="dim"),
        *(Text(f"! {clean(w.reason_words(r, lang), 110)}", style="bold") for r in view.reasons(rows)[:_SHOWN]),
        _probabilities(forecast, rows, lang),
        *_tail(rows, lang),
        *_fan(forecast, lang),
        *_leverage(forecast, lang),
        _drivers(forecast, row, lang),
        _bridge(row.heads["switch"], lang),
        *_others(forecast, lang),
        Text(_foot(forecast, rows, lang)),
    ]
    return Group(*parts)


def _table(title: str, names: Sequence[str], rows: Sequence[Sequence[str]], strong: Sequence[int] = ()) -> Table:
    """Build a table whose first column takes the squeeze: a number is never broken, so that 80 columns are enough."""
    from rich import box
    from rich.cells import cell_len
    from rich.table import Table
    from rich.text import Text

    table = Table(
        title=Text(title, style="bold"), title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0)
    )  # fmt: skip
    for at, name in enumerate(names):
        widest = max((cell_len(word) for row in rows for word in row[at].split()), default=1)
        table.add_column(
            Text(name), justify="right" if at else "left", overflow="fold", min_width=min(widest, 12) if at else 14
        )  # fmt: skip
    for at, row in enumerate(rows):
        table.add_row(*(Text(cell) for cell in row), style="bold" if at in strong else None)
    return table


def _band(head: HeadForecast) -> str:
    return NONE if head.lo is None or head.hi is None else f"{percent(head.lo)}–{percent(head.hi)}"


def _probabilities(forecast: Forecast, rows: tuple[PairForecast, ...], lang: Lang) -> Table:
    names = ("", "", *(w.say(lang, key) for key in ("end", "base", "band_80", "trigger")))
    lines: list[tuple[str, ...]] = []
    strong = []
    for event in EVENTS:
        for row in rows:
            head, move = row.heads[event], w.threshold(row, event)
            if event == "switch" and row.horizon_weeks == view.MAIN_HORIZON:
                strong.append(len(lines))
            lines.append((
                w.say(lang, "comma").join(w.event_name(event, lang)), w.horizon(row.horizon_weeks, lang),
                percent(head.probability), percent(head.base), _band(head), percent(move, signed=True),
            ))  # fmt: skip
    return _table(f"{w.say(lang, 'probabilities')} {w.pair_name(forecast, rows[0].pair, lang)}", names, lines, strong)


def _tail(rows: tuple[PairForecast, ...], lang: Lang) -> list[Table | Text]:
    from rich.text import Text

    box = tail_box(rows, lang)
    if box is None:
        return [Text(w.no_tail(rows, lang))]
    sides = [w.say(lang, "tail_down"), w.say(lang, "tail_up")]
    names = ["", *(f"{horizon} {side}" for horizon in box.horizons for side in sides)]
    lines = [("  " * line.minor + line.name, *line.cells) for line in box.lines]
    return [_table(w.say(lang, "tail"), names, lines), Text(box.note + "\n", style="dim")]


def _fan(forecast: Forecast, lang: Lang) -> list[Table | Text]:
    box = fan_box(forecast, lang)
    if box is None:
        return []
    key = w.say(lang, "fan_key", w.pair_name(forecast, forecast.headline, lang))
    lines = [(line.name, *line.cells) for line in box.weeks]
    return [_table(f"{w.say(lang, 'fan')} ({key})", ("", *box.heads), lines)]


def _leverage(forecast: Forecast, lang: Lang) -> list[Table | Text]:
    from rich.text import Text

    box = leverage_box(forecast, lang)
    if box is None:
        return []
    lines: list[tuple[str, ...]] = []
    strong = []
    for horizon, rows in box.tables:
        strong.append(len(lines))
        lines += [(horizon, *("" for _ in box.heads)), *(("  " + row.name, *row.cells) for row in rows)]
    names = (w.say(lang, "times_head"), *box.heads)
    title = f"{w.say(lang, 'levered')} ({box.book})"
    return [Text(box.sentence, style="bold"), _table(title, names, lines, strong), Text(box.terms + "\n", style="dim")]


def _drivers(forecast: Forecast, row: PairForecast, lang: Lang) -> Table | Text:
    from rich.text import Text

    head = row.heads["switch"]
    if head.probability is None:
        return Text(w.say(lang, "no_drivers"))
    names = [w.say(lang, key) for key in ("driver", "value", "percentile", "known", "points", "log_odds")]
    lines: list[tuple[str, ...]] = []
    strong = []
    for key, drivers in zip(("up", "down"), view.top_drivers(head), strict=True):
        strong.append(len(lines))
        lines += [(w.say(lang, key), *[""] * 5), *(_driver(driver, forecast, lang) for driver in drivers)]
    return _table(w.say(lang, "drivers", w.horizon(row.horizon_weeks, lang)), names, lines, strong)


def _driver(driver: Driver, forecast: Forecast, lang: Lang) -> tuple[str, ...]:
    known = view.local_date(driver.known_at, view.exchange_zone(forecast)) if driver.known_at else NONE
    vintage = w.vintage_note(driver, lang)
    flag = f" †{vintage}" if vintage else ""
    return (
        f"{w.driver_words(driver, lang)[0]} ({w.word(lang, driver.family)}){flag}",
        amount(driver.value, driver.unit, lang), place(driver.percentile), str(known),
        fixed(100.0 * driver.points, 1, signed=True), fixed(driver.log_odds, 3, signed=True),
    )  # fmt: skip


def _bridge(head: HeadForecast, lang: Lang) -> Text:
    from rich.text import Text

    steps = [f"{w.word(lang, s.family)} {fixed(100.0 * s.points, 1, signed=True)}" for s in view.bridge(head)]
    ends = f"{w.say(lang, 'start')} {percent(head.base)}", f"{w.say(lang, 'end')} {percent(head.probability)}"
    return Text(" | ".join((ends[0], *steps, ends[1])) + "\n" if steps else "")


def _others(forecast: Forecast, lang: Lang) -> list[Table | Text]:
    from rich.text import Text

    pairs = view.other_rows(forecast)
    parts: list[Table | Text] = [Text(f"{w.say(lang, 'others')} ({w.say(lang, 'others_key')})", style="bold")]
    names = ["", *(w.event_name(event, lang)[0] for event in EVENTS), w.say(lang, "var_95"), w.say(lang, "es_95")]
    for rows in pairs:
        lines = [
            (
                w.horizon(row.horizon_weeks, lang),
                *(f"{percent(row.heads[e].probability)} ({percent(row.heads[e].base)})" for e in EVENTS),
                *(w.tail_cells((row,), key)[0] for key in ("var_95", "es_95")),
            )
            for row in rows
        ]
        facts = (
            w.pair_name(forecast, rows[0].pair, lang), f"{w.say(lang, rows[0].style_in_force)} {rows[0].style_since}",
            *dict.fromkeys(w.word(lang, row.validity) for row in rows),
        )  # fmt: skip
        parts.append(_table(w.say(lang, "comma").join(facts), names, lines))
    return parts if pairs else []


def _why_absent(forecast: Forecast, feature: str, lang: Lang) -> str:
    return w.say(lang, "semicolon").join(w.absent_words(reason, lang) for reason in forecast.absent[feature])


def _foot(forecast: Forecast, rows: tuple[PairForecast, ...], lang: Lang) -> str:
    validity = "; ".join(f"{w.horizon(r.horizon_weeks, lang)}: {w.word(lang, r.validity)}" for r in rows)
    releases = [
        f"  {r.expected} {w.series_name(r.series, lang)} ({w.word(lang, r.family)}"
        f"{', ' + w.say(lang, 'estimated') if r.estimated else ''})"
        for r in view.upcoming(forecast)[:_SHOWN]
    ]
    names = sorted(forecast.absent)
    absent = [
        f"{w.series_name(name, lang)} ({clean(_why_absent(forecast, name, lang), 60)})" for name in names[:_SHOWN]
    ]
    if len(names) > _SHOWN:
        absent.append(w.say(lang, "more", str(len(names) - _SHOWN)))
    provenance = (
        f"{w.say(lang, 'decided')} {moment(forecast.decision_at)}", f"{w.say(lang, 'bundle')} {forecast.bundle_cut}",
        f"{w.say(lang, 'snapshot')} {clean(forecast.snapshot_id, 24)}",
        f"{w.say(lang, 'config')} {clean(forecast.config_hash, 24)}",
        f"{w.say(lang, 'code')} {clean(forecast.code_version, 40)}",
    )  # fmt: skip
    return "\n".join([
        f"{w.say(lang, 'validity')}: {validity}", f"{w.say(lang, 'next')}:", *(releases or [w.say(lang, "none_next")]),
        f"{w.say(lang, 'absent', str(len(names)))}: {', '.join(absent) or w.say(lang, 'nothing_absent')}",
        f"{w.say(lang, 'provenance')}: {' | '.join(provenance)}",
    ])  # fmt: skip
