"""Fan, levered book, untilted tail and the scenario driver: page and terminal say what the record holds."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from serving.record import Forecast
from serving.report import view
from serving.report.fan_chart import fan_chart
from serving.report.figures import Lang, percent
from serving.report.note import render_note
from serving.report.risk_boxes import leverage_box
from tests.serving.factory import make_fan, make_forecast, make_leverage, without_scenarios
from tests.serving.rendered import LANGS, joined, table_rows, terminal, visible

SENTENCES = {
    "en": "At four times leverage a book long Micro-cap 400 against CSI 500 futures loses more than 20% of its equity "
    "in four weeks with probability 6.0%.",
    "zh": "四倍杠杆下，做多微盘400、做空中证500期货的组合四周内亏损超过权益20%的概率为6.0%。",
}
TERMS = {
    "en": (
        "Financing 4.5% a year",
        "futures discount 3.2% a year",
        "below 12.0%",
        "futures discount not known, not counted",
    ),
    "zh": ("融资年利率4.5%", "期货贴水每年3.2%", "低于多头市值12.0%", "期货贴水未知，未计入"),
}


@pytest.fixture(scope="module")
def forecast() -> Forecast:
    return make_forecast()


@pytest.mark.parametrize("lang", LANGS)
def test_the_levered_book_is_told_in_a_sentence_with_its_terms(forecast: Forecast, lang: Lang) -> None:
    book = make_leverage()
    unknown = replace(forecast, leverage=replace(book, discount=None))
    financing, discount, call_below, not_counted = TERMS[lang]
    for show in (lambda f: visible(render_note(f, lang)), lambda f: terminal(f, lang)):
        text, other = joined(show(forecast)), joined(show(unknown))
        for words in (SENTENCES[lang], financing, discount, call_below):
            assert joined(words) in text
        assert joined(not_counted) not in text
        assert joined(not_counted) in other
        assert joined(discount) not in other
    odd = replace(book, told_leverage=2.5, told_weeks=1, told_loss=0.125, p_loss=0.0312)
    box = leverage_box(replace(forecast, leverage=odd), lang)
    assert box is not None
    for words in {"en": ("At 2.5 times", "12.5% of its equity in one week", "3.1%"),
                  "zh": ("2.5倍杠杆下", "一周内亏损超过权益12.5%", "3.1%")}[lang]:  # fmt: skip
        assert words in box.sentence


@pytest.mark.parametrize("lang", LANGS)
def test_leverage_table_and_untilted_tail_are_those_of_the_record(forecast: Forecast, lang: Lang) -> None:
    cells = table_rows(render_note(forecast, lang))
    shown = [line for line in terminal(forecast, lang, width=160).splitlines() if line.strip()]
    assert forecast.leverage is not None
    assert len(forecast.leverage.rows) == 10
    for row in forecast.leverage.rows:
        values = (percent(row.var_95, signed=True), percent(row.es_95, signed=True), percent(row.p_margin_call),
                  percent(row.share_force_sold))  # fmt: skip
        name = f"{row.leverage:g}" + {"en": "×", "zh": "倍"}[lang]
        assert (name, *values) in cells
        assert any(tuple(line.split()) == (name, *values) for line in shown)
    box = leverage_box(forecast, lang)
    assert box is not None
    assert [horizon for horizon, _ in box.tables] == {"en": ["1 week", "4 weeks"], "zh": ["1周", "4周"]}[lang]
    for (_, lines), weeks in zip(box.tables, (1, 4), strict=True):
        losses = [percent(row.var_95, signed=True) for row in forecast.leverage.rows if row.horizon_weeks == weeks]
        assert [line.cells[0] for line in lines] == losses
    rows = view.headline_rows(forecast)
    for key in ("var_95", "es_95"):
        known = [row.tail_detail.untilted for row in rows if row.tail_detail is not None]
        line = tuple(percent(tail[name], signed=True) for tail in known for name in (key, f"{key}_up"))
        assert ({"en": "untilted", "zh": "未调权"}[lang], *line) in cells
        assert any(tuple(text.split())[1:] == line for text in shown)
    for fact in ("13,266", "6.3%", "4.2%"):
        assert fact in visible(render_note(forecast, lang))


@pytest.mark.parametrize("lang", LANGS)
def test_the_fan_is_told_in_words_and_weekly_figures(forecast: Forecast, lang: Lang) -> None:
    fan = make_fan(forecast.headline)
    assert forecast.fan == fan
    page, shown = render_note(forecast, lang), terminal(forecast, lang, width=120)
    told = re.search(r'<div class="chart" role="img" aria-label="([^"]*5–95%[^"]*)"><svg', page)
    assert told is not None
    last = [percent(value, signed=True) for value in (*fan.tilted[-1], *fan.untilted[-1])]
    assert set(last) <= set(re.findall(r"[−+]?\d+\.\d%", told[1]))
    assert {"2023-11-27", "2023-12-25"} == set(re.findall(r"\d{4}-\d\d-\d\d", told[1]))
    weeks = view.weekly_points(fan)
    assert weeks == (5, 10, 15, 20)
    for at in weeks:
        line = [str(fan.sessions[at]), *(percent(v, signed=True) for v in (*fan.tilted[at], *fan.untilted[at]))]
        assert any(text.split() == line for text in shown.splitlines())
    for word in {"en": ("median", "untilted 5–95%"), "zh": ("中位数", "未调权5–95%")}[lang]:
        assert word in visible(page)


@pytest.mark.parametrize("lang", LANGS)
def test_what_the_record_lacks_is_left_out(forecast: Forecast, lang: Lang) -> None:
    bare = without_scenarios(forecast)
    page = render_note(bare, lang)
    for text in (joined(visible(page)), joined(terminal(bare, lang))):
        for words in (SENTENCES[lang], {"en": "untilted", "zh": "未调权"}[lang], TERMS[lang][0]):
            assert joined(words) not in text
    assert page.count('role="img"') == 1
    assert "None" not in visible(page)
    tail = forecast.pair(forecast.headline, 4).tail
    assert tail is not None
    for some in (bare, replace(forecast, leverage=None), replace(forecast, fan=None)):
        shown = render_note(some, lang)
        assert percent(tail["es_975"], signed=True) in visible(shown)
        assert ("levered" in re.findall(r'<section class="(\w+)"', shown)) == (some.leverage is not None)
    half = replace(forecast, pairs=tuple(
        replace(row, tail_detail=None) if row.horizon_weeks == 1 else row for row in forecast.pairs
    ))  # fmt: skip
    minor = [row for row in table_rows(render_note(half, lang)) if row[0] in ("untilted", "未调权")]
    assert len(minor) == 2
    assert all(row[1:3] == ("–", "–") and "–" not in row[3:] for row in minor)


@pytest.mark.parametrize("lang", LANGS)
def test_the_scenario_driver_has_a_name_a_reason_and_no_value(forecast: Forecast, lang: Lang) -> None:
    page = render_note(forecast, lang)
    row = re.search(r'<tr><td class="name">(?:scenario_implied|情景隐含概率).*?</tr>', page, flags=re.DOTALL)
    assert row is not None
    cells = [visible(cell).strip() for cell in re.findall(r"<td[^>]*>.*?</td>", row[0], flags=re.DOTALL)]
    assert cells[0].split() == {"en": ["scenario_implied", "scenario"], "zh": ["情景隐含概率", "情景"]}[lang]
    why = {
        "en": "What volatility and the path alone imply, before any driver",
        "zh": "仅由波动、厚尾与路径得出，未计入任何因子",
    }
    assert cells[1] == why[lang]
    assert cells[2:4] == ["–", "–"]
    steps = view.bridge(forecast.pair(forecast.headline, 4).heads["switch"])
    assert steps[0].family == "scenario"
    assert steps[0].log_odds == pytest.approx(0.31)


@pytest.mark.parametrize(("sessions", "scale"), [(1, 1.0), (5, 0.1), (20, 1.0), (23, 1.0), (20, 25.0)])
def test_the_fan_is_drawn_for_any_length_and_width_without_words(sessions: int, scale: float) -> None:
    fan = make_fan("csi300-csi1000", sessions)
    wide = replace(
        fan,
        tilted=tuple(tuple(scale * value for value in row) for row in fan.tilted),
        untilted=tuple((scale * low, scale * high) for low, high in fan.untilted),
    )
    svg = fan_chart(wide)
    assert svg == fan_chart(wide)
    assert svg.startswith("<svg")
    assert "<metadata" not in svg
    labels = re.findall(r"<text[^>]*>([^<]*)</text>", svg)
    levels = [label for label in labels if label.endswith("%")]
    assert {"0%", "0.0%"} & set(levels)
    assert 3 <= len(levels) <= 7
    assert all(re.fullmatch(r"[−+]?\d+(\.\d)?%", label) for label in levels)
    assert [label for label in labels if not label.endswith("%")] == [
        f"{fan.sessions[at]:%m-%d}" for at in (0, *view.weekly_points(fan))
    ]


def test_a_fan_that_ends_where_it_begins_is_not_drawn(forecast: Forecast) -> None:
    alone = make_fan(forecast.headline, 0)
    assert fan_chart(alone) == ""
    for lang in LANGS:
        assert render_note(replace(forecast, fan=alone), lang).count('role="img"') == 1
        assert terminal(replace(forecast, fan=alone), lang) == terminal(replace(forecast, fan=None), lang)
