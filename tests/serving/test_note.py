"""The note as page, terminal table and printed sheet: same numbers everywhere, nothing from outside, one page of A4."""

from __future__ import annotations

import html
import re
import shutil
import subprocess
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, get_args

import pytest

from features.contracts import FAMILIES
from features.errors import DataContractError
from models.validity import Reason, ReasonKind
from serving.record import AbsentInput, Forecast
from serving.report import view
from serving.report.charts import line_chart
from serving.report.figures import Lang, amount, clean, fixed, percent
from serving.report.note import render_note
from serving.report.terminal import render_table
from serving.report.wording import absent_words, call, flip_record, headline, reason_words
from tests.serving.factory import abstain, crowded, make_forecast, make_leverage
from tests.serving.rendered import LANGS, terminal, visible

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
HOSTILE = "<script>alert(1)</script> & \"quoted\" 'x' [bold red]markup[/] \x1b[31mred\x07 {{ 7 * 7 }}"


def probabilities(plain: dict[str, Any], keys: tuple[str, ...] = ("probability", "base")) -> list[float]:
    heads = [head for row in plain["pairs"] for head in row["heads"].values()]
    return [head[key] for head in heads for key in keys if head[key] is not None]


@pytest.fixture(scope="module")
def forecast() -> Forecast:
    return make_forecast()


@pytest.mark.parametrize("lang", LANGS)
def test_simulated_is_said_wherever_it_is_true_and_nowhere_else(forecast: Forecast, lang: Lang) -> None:
    simulated = make_forecast(simulated=True)
    page = render_note(simulated, lang)
    title = re.search(r"<title>(.*?)</title>", page)
    assert title is not None
    assert "SIMULATED" in title[1]
    assert 'class="watermark"' in page
    assert "SIMULATED · 模拟数据" in visible(page)
    assert "SIMULATED · 模拟数据" in terminal(simulated, lang)
    renamed = replace(simulated, title="Plain name", title_zh="普通名称")
    assert "<title>SIMULATED" in render_note(renamed, lang)
    assert "SIMULATED" not in render_note(forecast, lang)
    assert "SIMULATED" not in terminal(forecast, lang)


@pytest.mark.parametrize("lang", LANGS)
def test_every_probability_of_the_json_is_on_the_page_and_in_the_terminal(forecast: Forecast, lang: Lang) -> None:
    numbers = probabilities(forecast.to_json())
    assert len(numbers) == 4 * 2 * 3 * 2
    for text in (visible(render_note(forecast, lang)), terminal(forecast, lang)):
        missing = [number for number in numbers if f"{100 * number:.1f}%" not in text]
        assert not missing


def test_both_languages_and_the_terminal_hold_the_same_numbers(forecast: Forecast) -> None:
    def numbers(text: str) -> set[str]:
        return set(re.findall(r"[−+]?\d+\.\d+%?", text))

    zh, en = (numbers(visible(render_note(forecast, lang))) for lang in LANGS)
    assert zh == en
    for lang in LANGS:
        assert {n for n in numbers(terminal(forecast, lang)) if n.endswith("%")} >= {
            percent(x, signed=True) for x in (forecast.pair(forecast.headline, 4).tail or {}).values()
        }
        # Log-odds and points of the ten drivers, dates of knowledge among them.
        shown, page = terminal(forecast, lang), visible(render_note(forecast, lang))
        for side in view.top_drivers(forecast.pair(forecast.headline, 4).heads["switch"]):
            assert len(side) == view.SHOWN_DRIVERS
            for driver in side:
                assert fixed(driver.log_odds, 3, signed=True) in shown
                assert fixed(driver.log_odds, 3, signed=True) in page


@pytest.mark.parametrize("lang", LANGS)
def test_text_from_outside_has_no_effect(forecast: Forecast, lang: Lang) -> None:
    reasons = (Reason("unseen", (HOSTILE,)), Reason("missing", ("{{ 7 * 7 }}",)))
    pairs = tuple(replace(row, reasons=reasons, validity="out_of_support") for row in forecast.pairs)
    evil = replace(
        forecast, pairs=pairs, title=HOSTILE, title_zh=HOSTILE, code_version=HOSTILE,
        leverage=replace(make_leverage(), long_name=(HOSTILE, HOSTILE), hedge_name=(HOSTILE, HOSTILE)),
        absent={HOSTILE: (AbsentInput("not_in_data", HOSTILE),)}, pair_names={forecast.headline: (HOSTILE, HOSTILE)},
    )  # fmt: skip
    page = render_note(evil, lang)
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert "{{ 7 * 7 }}" in html.unescape(page)
    shown = terminal(evil, lang, width=200)
    assert "[bold red]markup[/]" in shown
    assert "\x1b" not in shown + page
    assert "\x07" not in shown + page


@pytest.mark.parametrize("lang", LANGS)
def test_the_page_asks_nothing_of_the_network_and_runs_nothing(forecast: Forecast, lang: Lang) -> None:
    page = render_note(forecast, lang)
    urls = re.findall(r"""(?:https?:)?//[^\s"'<>]+""", page)
    assert {url for url in urls if not url.startswith("http://www.w3.org/")} == set()
    assert not re.findall(
        r"@import|url\((?!#)|<script|<link(?! rel=\"icon\" href=\"data:,\")|<img|\ssrc=|\son\w+=", page
    )
    assert f'<html lang="{"zh-CN" if lang == "zh" else "en"}">' in page


@pytest.mark.parametrize("lang", LANGS)
def test_same_forecast_same_bytes(lang: Lang) -> None:
    assert render_note(make_forecast(), lang) == render_note(make_forecast(), lang)
    assert terminal(make_forecast(), lang) == terminal(make_forecast(), lang)


@pytest.mark.parametrize("lang", LANGS)
def test_an_abstained_forecast_says_so_and_shows_base_rates_only(forecast: Forecast, lang: Lang) -> None:
    silent = abstain(forecast)
    expected = {"en": "No call this week", "zh": "本周不作判断"}[lang]
    why = {"en": "no live feature in rates, flows: inputs are stale", "zh": "利率、资金流类因子全部缺失"}[lang]
    for text in (visible(render_note(silent, lang)), terminal(silent, lang)):
        assert expected in text
        assert why in text
        for number in probabilities(silent.to_json(), ("base",)):
            assert percent(number) in text
        for number in probabilities(forecast.to_json(), ("lo", "hi")):
            assert f"{percent(number)}–" not in text


@pytest.mark.parametrize("seed", [33, 12])
def test_the_call_names_leader_probability_base_and_cost(seed: int) -> None:
    forecast = make_forecast(seed=seed)
    row = forecast.pair(forecast.headline, 4)
    head, tail = row.heads["switch"], row.tail
    assert tail is not None
    # The book that follows the style in force loses on the lower side with small caps, on the upper with large caps.
    var, es = (
        (tail["var_95"], tail["es_95"]) if row.style_in_force == "small" else (-tail["var_95_up"], -tail["es_95_up"])
    )
    assert var < 0
    assert es < var
    for lang in LANGS:
        text = call(forecast, lang)
        for fact in (str(row.style_since), percent(head.probability), percent(head.base), percent(var), percent(es)):
            assert fact in text
    leader = "Small caps" if row.style_in_force == "small" else "Large caps"
    assert headline(forecast, "en").startswith(leader)
    assert "an adverse move of at least one sigma" in call(forecast, "en")
    assert "43" in flip_record(forecast, "zh")
    assert "39.5%" in flip_record(forecast, "en")
    none_yet = replace(forecast, history=replace(forecast.history, adverse_moves=0, followed_by_flip=0))
    assert "No adverse move" in flip_record(none_yet, "en")


def test_the_headline_claims_no_more_than_the_band_allows(forecast: Forecast) -> None:
    head = forecast.pair(forecast.headline, 4).heads["switch"]
    p = head.probability
    assert p is not None
    assert view.verdict(replace(head, base=p - 0.01, lo=p - 0.05, hi=p + 0.05)) == "near"
    assert view.verdict(replace(head, base=p - 0.06, lo=p - 0.05, hi=p + 0.05)) == "above"
    assert view.verdict(replace(head, base=p + 0.06, lo=p - 0.05, hi=p + 0.05)) == "below"


def test_family_steps_lead_from_base_to_probability(forecast: Forecast) -> None:
    head = forecast.pair(forecast.headline, 4).heads["switch"]
    steps = view.bridge(head)
    assert head.probability is not None
    assert sum(step.points for step in steps) == pytest.approx(head.probability - head.base, abs=1e-12)
    for step in steps:
        points = sum(driver.points for driver in head.drivers if driver.family == step.family)
        assert step.points == pytest.approx(points, abs=1e-12)
    up, down = view.top_drivers(head, count=100)
    assert {driver.family for driver in (*up, *down)} <= set(FAMILIES)
    flat = replace(head, probability=head.base, log_odds=head.base_log_odds)
    expected = head.base * (1 - head.base) * head.families["scenario"]
    assert view.bridge(flat)[0].points == pytest.approx(expected)


def test_dates_of_knowledge_are_the_exchanges(forecast: Forecast) -> None:
    zone = view.exchange_zone(forecast)
    assert view.local_date(datetime(2023, 11, 23, 17, 0, tzinfo=UTC), zone) == date(2023, 11, 24)
    assert view.local_date(datetime(2023, 11, 23, 17, 0), zone) == date(2023, 11, 24)
    assert "2023-11-24 15:30 Asia/Shanghai (UTC+08:00)" in render_note(forecast, "en")


def test_what_is_not_a_real_vintage_is_flagged(forecast: Forecast) -> None:
    def flagged(vintage: str) -> Forecast:
        def mark(row: Any) -> Any:
            heads = {
                e: replace(h, drivers=tuple(replace(d, vintage=vintage) for d in h.drivers))
                for e, h in row.heads.items()
            }
            return replace(row, heads=heads)

        return replace(forecast, pairs=tuple(mark(row) for row in forecast.pairs))

    with_value = 2 * view.SHOWN_DRIVERS - 1  # what the scenarios imply has no past values to doubt
    assert html.unescape(render_note(flagged("current"), "en")).count("today's vintage") == with_value
    assert terminal(flagged("current"), "zh").count("今日版本") == with_value
    assert "vintage" not in visible(render_note(flagged("real"), "en"))


def test_a_missing_tail_gives_its_reason(forecast: Forecast) -> None:
    pairs = tuple(replace(row, tail=None, reasons=(Reason("no_tail"),)) for row in forecast.pairs)
    bare = replace(forecast, pairs=pairs)
    assert "the cost cannot be given" in visible(render_note(bare, "en"))
    for lang, line in (("en", "No tail: too few daily closes"), ("zh", "无尾部估计：日收盘价太少")):
        for text in (visible(render_note(bare, lang)), terminal(bare, lang)):
            assert line in text
    silent = replace(forecast, pairs=tuple(replace(row, tail=None) for row in forecast.pairs))
    assert "No tail: no reason was recorded" in terminal(silent, "en")


EXAMPLES: dict[ReasonKind, tuple[Reason, str]] = {
    "missing": (Reason("missing", ("macro", "flows")), "宏观、资金流类因子全部缺失"),
    "stale": (Reason("stale", ("leverage",)), "杠杆类因子全部缺失：输入数据已过期"),
    "unseen": (
        Reason("unseen", ("valuation_spread", "unheard_of")),
        "超出训练期见过的全部取值：大小盘估值差、unheard_of",
    ),
    "unusual": (Reason("unusual", count=9, of=44), "44个因子中有9个处于最外侧2%"),
    "no_tail": (Reason("no_tail"), "无尾部估计：日收盘价太少"),
    "untilted": (Reason("untilted"), "尾部取自未加权调整的情景集"),
    "few_paths": (Reason("few_paths", ("crash", "large")), "情景路径过少：大盘跑赢小盘、小盘急跌"),
    "stretched": (Reason("stretched", count=412), "情景集过度调整：有效路径仅412条"),
}


@pytest.mark.parametrize("kind", get_args(ReasonKind))
def test_every_reason_is_worded_in_both_languages(kind: ReasonKind) -> None:
    reason, zh = EXAMPLES[kind]
    assert reason.kind == kind
    assert reason_words(reason, "zh") == zh
    assert reason_words(reason, "en") == reason.text


@pytest.mark.parametrize(
    ("absent", "en", "zh"),
    [
        (AbsentInput("not_in_data", "csi1000.pe"), "csi1000.pe: not in the data", "中证1000市盈率：数据中没有"),
        (
            AbsentInput("ended", "northbound_net_flow", date(2024, 8, 16)),
            "northbound_net_flow: ended 2024-08-16",
            "北向净流入：已于2024-08-16终止",
        ),
        (
            AbsentInput("stale", "own_series", date(2023, 6, 30)),
            "own_series: stale, newest value of 2023-06-30",
            "own_series：已过期，最新值为2023-06-30",
        ),
        (
            AbsentInput("too_short"),
            "history too short or inputs without a common date",
            "历史过短，或各输入无共同日期",
        ),
    ],
)
def test_every_absence_is_worded_in_both_languages(absent: AbsentInput, en: str, zh: str) -> None:
    assert absent_words(absent, "en") == en
    assert absent_words(absent, "zh") == zh


def test_no_english_sentence_about_absence_is_left_in_the_chinese_note(forecast: Forecast) -> None:
    silent = abstain(forecast)
    texts = (visible(render_note(silent, "zh")), terminal(silent, "zh", width=200))
    english = (visible(render_note(silent, "en")), terminal(silent, "en", width=200))
    assert "not in the data" in english[0]
    for words in ("not in the data", "newest value", "ended 20", "history too short", "no live feature", "No tail"):
        assert words in english[1]
        assert not any(words in text for text in texts)


def test_wrong_input_is_refused_in_one_sentence(forecast: Forecast) -> None:
    with pytest.raises(DataContractError, match="`lang` must be zh or en; got fr"):
        render_note(forecast, "fr")  # type: ignore[arg-type]
    with pytest.raises(DataContractError, match="must carry a time zone"):
        render_note(replace(forecast, decision_at=datetime(2023, 11, 24, 15, 30)), "en")
    with pytest.raises(DataContractError, match="must hold csi300-csi1000 at 4w"):
        render_table(replace(forecast, pairs=tuple(row for row in forecast.pairs if row.horizon_weeks == 1)), "en")


def test_small_forecasts_render(forecast: Forecast) -> None:
    alone = replace(
        forecast,
        pairs=tuple(row for row in forecast.pairs if row.pair == forecast.headline),
        history=replace(forecast.history, dates=(), line=(), style=(), adverse_moves=0, followed_by_flip=0),
        absent={}, next_releases=(), pair_names={},
    )  # fmt: skip
    for lang in LANGS:
        assert "csi300-csi1000" in visible(render_note(alone, lang))
        assert "csi300-csi1000" in terminal(alone, lang)


@pytest.mark.parametrize("weeks", [2, 30, 120, 400, 1500])
def test_the_line_is_drawn_for_any_length_without_words_or_metadata(forecast: Forecast, weeks: int) -> None:
    history = forecast.history
    start = max(len(history.dates) - weeks, 0)
    svg = line_chart(
        replace(history, dates=history.dates[start:], line=history.line[start:], style=history.style[start:])
    )
    assert svg.startswith("<svg")
    assert "<metadata" not in svg
    assert all(re.fullmatch(r"[\d.−-]+", text) for text in re.findall(r"<text[^>]*>([^<]*)</text>", svg))


def test_figures_round_the_same_everywhere() -> None:
    assert [percent(x) for x in (0.12345, 0.0, None, float("nan"))] == ["12.3%", "0.0%", "–", "–"]
    assert percent(-0.0004, signed=True) == "0.0%"
    assert percent(-0.051, signed=True) == "−5.1%"
    assert amount(-12345.6, "100m CNY", "zh") == "−12,346 亿元"
    assert amount(0.5, "<unit>", "en") == "0.50 <unit>"
    assert clean("a\x1b[0m\nb" + "c" * 50, 10) == "a [0m bcc…"


def run_chromium(folder: Path, *arguments: str) -> str:
    if CHROMIUM is None:
        pytest.skip("no chromium on PATH (apt-get install chromium fonts-noto-cjk)")
    quiet = ("disable-gpu", "disable-quic", "no-first-run", "disable-background-networking", "disable-component-update",
             "disable-sync", "no-sandbox", "headless", f"user-data-dir={folder / 'profile'}")  # fmt: skip
    command = [CHROMIUM, *(f"--{flag}" for flag in quiet), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=180).stdout


@pytest.mark.parametrize(
    ("kind", "lang"),
    [
        pytest.param("plain", "zh", marks=pytest.mark.deep),
        ("plain", "en"),
        pytest.param("simulated", "zh", marks=pytest.mark.deep),
        ("crowded", "zh"),
        pytest.param("crowded", "en", marks=pytest.mark.deep),
    ],
)
def test_it_prints_on_exactly_one_sheet_of_a4(forecast: Forecast, tmp_path: Path, kind: str, lang: Lang) -> None:
    shown = forecast if kind == "plain" else make_forecast(simulated=True)
    shown = crowded(shown) if kind == "crowded" else shown
    page, sheet = tmp_path / "note.html", tmp_path / "note.pdf"
    page.write_text(render_note(shown, lang), encoding="utf-8")
    run_chromium(tmp_path, "--no-pdf-header-footer", f"--print-to-pdf={sheet}", page.as_uri())
    content = sheet.read_bytes()
    boxes = re.findall(rb"/MediaBox\s*\[\s*0\s+0\s+([\d.]+)\s+([\d.]+)\s*\]", content)
    assert len(re.findall(rb"/Type\s*/Page\b", content)) == 1
    # A4 is 210 x 297 mm, 72 points to the inch of 25.4 mm.
    assert [tuple(map(float, box)) for box in boxes] == [pytest.approx((210 / 25.4 * 72, 297 / 25.4 * 72), abs=1.0)]


def test_it_fits_a_phone_360_pixels_wide(forecast: Forecast, tmp_path: Path) -> None:
    frames = "".join(
        f'<iframe style="width:360px;height:800px;border:0" srcdoc="{html.escape(render_note(shown, lang))}"></iframe>'
        for lang in LANGS
        for shown in (forecast, crowded(forecast), abstain(forecast), replace(forecast, fan=None))
    )
    script = (
        "<script>onload = () => document.title = [...document.querySelectorAll('iframe')]"
        ".map(f => f.contentDocument.documentElement.scrollWidth).join()</script>"
    )
    wrapper = tmp_path / "phone.html"
    wrapper.write_text(f"<!DOCTYPE html><meta charset=utf-8><title></title>{frames}{script}", encoding="utf-8")
    title = re.search(r"<title>([\d,]+)</title>", run_chromium(tmp_path, "--dump-dom", wrapper.as_uri()))
    assert title is not None
    assert [int(width) <= 360 for width in title[1].split(",")] == [True] * 8
