"""Every word of the note in English and Chinese, and the sentences of the call."""

from __future__ import annotations

import math
from collections.abc import Iterable

from features.contracts import CRASH_SIGMA, EVENTS, SWITCH_SIGMA, Event, Style
from features.errors import DataContractError
from models.validity import Reason, ReasonKind
from serving.record import AbsentInput, Driver, Forecast, PairForecast
from serving.report import glossary
from serving.report.figures import Lang, clean, percent
from serving.report.view import following_book, main_row, reasons, verdict

SIMULATED = "SIMULATED"
TAIL_ROWS = ("var_95", "es_95", "var_975", "es_975")

TEXT: dict[str, tuple[str, str]] = {
    "product": ("Size style weekly", "大小盘风格周报"),
    "simulated": ("SIMULATED · 模拟数据", "SIMULATED · 模拟数据"),
    "simulated_why": ("simulated market, not real prices: nothing on this page is a fact about any market",
                      "模拟市场，并非真实行情：本页任何数字均不代表真实市场"),
    "decision": ("Decision {0}", "决策日 {0}"),
    "small": ("Small caps", "小盘"), "large": ("Large caps", "大盘"),
    "above": ("{0} lead; the risk of a setback is above its base rate", "{0}占优；不利变动风险高于基准概率"),
    "near": ("{0} lead; the risk of a setback is near its base rate", "{0}占优；不利变动风险接近基准概率"),
    "below": ("{0} lead; the risk of a setback is below its base rate", "{0}占优；不利变动风险低于基准概率"),
    "none": ("No call this week: {0} lead, the model abstains", "本周不作判断：{0}占优，模型弃权"),
    "since": ("{pair}: {style} have led since {since} ({weeks})", "{pair}：{style}自{since}起占优（已{weeks}）"),
    "chance": ("; an adverse move of at least one sigma ({move}) against the style in force within {h} weeks has a "
               "probability of {p}, base rate {base}",
               "；未来{h}周内，对现行风格出现至少一个标准差（{move}）不利变动的概率为{p}，基准概率为{base}"),
    "no_chance": ("; no probability is given for the next {h} weeks. The base rate of an adverse move of at least one "
                  "sigma ({move}) against the style in force is {base}",
                  "；未来{h}周不给出概率。对现行风格出现至少一个标准差（{move}）不利变动的基准概率为{base}"),
    "cost_small": ("; long small, short large: 95% VaR {var}, expected shortfall {es}.",
                   "；做多小盘、做空大盘组合的95% VaR为{var}，预期损失（ES）为{es}。"),
    "cost_large": ("; long large, short small: 95% VaR {var}, expected shortfall {es}.",
                   "；做多大盘、做空小盘组合的95% VaR为{var}，预期损失（ES）为{es}。"),
    "cost_none": ("; the cost cannot be given (no tail).", "；损失幅度无法给出（缺少尾部估计）。"),
    "kpi_p": ("adverse move ≥ 1σ, {0} weeks", "不利变动 ≥ 1σ，{0}周"),
    "kpi_base": ("base rate {0}", "基准概率 {0}"),
    "kpi_only": ("base rate only, no probability", "仅为基准概率，无预测"),
    "kpi_var": ("95% VaR, {0} weeks", "95% VaR，{0}周"),
    "kpi_es": ("95% expected shortfall", "95% 预期损失 ES"),
    "kpi_book_small": ("long small, short large", "多小盘、空大盘"),
    "kpi_book_large": ("long large, short small", "多大盘、空小盘"),
    "flips": ("Of {n} past adverse moves of at least one sigma within {h} weeks, {k} ({share}) were followed by a flip "
              "of the state within 13 weeks.",
              "历史上{n}次{h}周内至少一个标准差的不利变动中，{k}次（{share}）在13周内出现风格翻转。"),
    "no_flips": ("No adverse move of at least one sigma within {h} weeks is on record yet.",
                 "历史上尚无{h}周内至少一个标准差的不利变动。"),
    "probabilities": ("Probabilities", "概率"),
    "switch": ("Adverse move", "不利变动"),
    "switch_long": ("at least one sigma against the style in force", "对现行风格至少一个标准差"),
    "large_event": ("Large beats small", "大盘跑赢小盘"),
    "large_event_long": ("from entry to exit", "自入场至离场"),
    "crash": ("Small-cap crash", "小盘急跌"),
    "crash_long": ("small minus large at −{0} sigma or worse", "小盘减大盘跌至−{0}个标准差或以下"),
    "week": ("1 week", "1周"), "weeks": ("{0} weeks", "{0}周"),
    "window": ("{0} → {1}", "{0} → {1}"), "base": ("base", "基准"), "band": ("band", "区间"),
    "band_80": ("80% band", "80%区间"), "vintage": ("Vintage", "版本"), "trigger": ("trigger", "触发"),
    "strip": ("Dot: probability. Bar: 80% band. Tick: base rate. Axis 0 to {0}. Trigger: small minus large, at a "
              "weekly point, that sets the event off; one sigma: {1} a week, by root time.",
              "圆点：概率；横条：80%区间；竖线：基准概率；横轴0至{0}。触发：周度时点上小盘减大盘达到此幅度；每周一个标准差为{1}，按时间平方根放大。"),
    "line": ("Relative strength, small over large", "相对强弱（小盘／大盘）"),
    "line_key": ("{0}, log scale", "{0}，对数坐标"),
    "key_large": ("large caps in force", "大盘占优"), "key_small": ("small caps in force", "小盘占优"),
    "key_flip": ("last flip {0}", "最近翻转 {0}"), "no_line": ("No history to draw.", "暂无历史可绘。"),
    "line_alt": ("Line of relative strength from {0} to {1}", "{0}至{1}的相对强弱曲线"),
    "tail": ("Tail", "尾部风险"),
    "tail_key": ("Log return of small minus large over the period", "区间内小盘减大盘对数收益"),
    "tail_down": ("small loses", "小盘跑输"), "tail_up": ("small gains", "小盘跑赢"),
    "var_95": ("VaR 95%", "VaR 95%"), "es_95": ("ES 95%", "ES 95%"),
    "var_975": ("VaR 97.5%", "VaR 97.5%"), "es_975": ("ES 97.5%", "ES 97.5%"),
    "untilted": ("untilted", "未调权"),
    "tail_detail": ("Untilted: same paths, equally weighted. Level-corrected, unlike the fan: the 5% tail "
                    "over {0} is read at {1} (loses) and {2} (gains). {3} effective paths.",
                    "未调权：同一批路径等权。水平已校正（扇形图未校正）：{0}的5%尾部读于{1}（跑输）与{2}（跑赢）。"
                    "有效路径{3}条。"),
    "fan": ("Range ahead, small minus large", "未来区间（小盘减大盘）"),
    "fan_key": ("{0}, log return", "{0}，对数收益"),
    "fan_alt": ("Fan of the log return of small minus large from {0} to {1}, at the end: 5–95% {2} to {3}, 25–75% {4} "
                "to {5}, median {6}, untilted 5–95% {7} to {8}",
                "{0}至{1}小盘减大盘对数收益扇形图，期末：5–95%为{2}至{3}，25–75%为{4}至{5}，中位数{6}，未调权5–95%为{7}至{8}"),
    "median": ("median", "中位数"), "key_untilted": ("untilted 5–95%", "未调权5–95%"),
    "levered": ("Levered neutral book", "杠杆中性组合"),
    "book": ("long {0}, short {1} futures", "做多{0}，做空{1}期货"),
    "told": ("At {times} times leverage a book long {long} against {hedge} futures loses more than {loss} of its "
             "equity in {weeks} with probability {p}.",
             "{times}倍杠杆下，做多{long}、做空{hedge}期货的组合{weeks}内亏损超过权益{loss}的概率为{p}。"),
    "in_week": ("{0} week", "{0}周"), "in_weeks": ("{0} weeks", "{0}周"), "times": ("{0}×", "{0}倍"),
    "times_head": ("Leverage", "杠杆"), "called": ("margin call", "追保概率"), "sold": ("force-sold", "强平比例"),
    "terms": ("Return on equity at entry. Financing {0} a year; {1}; margin call below {2} of long notional. A call "
              "closes the book, without slippage: read losses and calls together.",
              "相对入场权益的收益。融资年利率{0}；{1}；权益低于多头市值{2}即追保。"
              "追保即全部平仓，未计冲击成本：亏损与追保概率须一并看。"),
    "discount": ("futures discount {0} a year", "期货贴水每年{0}"),
    "discount_unknown": ("futures discount not known, not counted", "期货贴水未知，未计入"),
    "no_tail": ("No tail: {0}", "无尾部估计：{0}"), "few_closes": ("too few daily closes", "日收盘价太少"),
    "no_reason": ("no reason was recorded", "未记录原因"),
    "drivers": ("Why: adverse move within {0}", "驱动因素：{0}内不利变动"),
    "up": ("Raise the risk", "推高风险"), "down": ("Lower the risk", "压低风险"),
    "driver": ("Driver", "因子"), "reason": ("Why it may matter", "含义"), "value": ("Value", "取值"),
    "percentile": ("Pct.", "分位"), "known": ("Known", "获知日"),
    "points": ("pp", "百分点"), "log_odds": ("Log-odds", "对数几率"),
    "drivers_key": ("Pct.: place in its own past. Known: exchange day the newest input appeared.",
                    "分位：在自身历史中的位置。获知日：最新输入公布的交易所当地日期。"),
    "no_drivers": ("No drivers: without a probability there is nothing to explain.",
                   "无驱动因素：未给出概率，无从解释。"),
    "stop": (".", "。"), "comma": (", ", "，"), "semicolon": ("; ", "；"),
    "current": ("today's vintage", "今日版本"), "computed": ("recomputed", "回算"),
    "first_print": ("first print", "初值"),
    "bridge": ("By family, from base rate to probability: percentage points (pp) and log-odds.",
               "按因子族，从基准概率到预测概率：上为百分点，下为对数几率。"),
    "start": ("base rate", "基准概率"), "end": ("probability", "预测概率"),
    "macro": ("macro", "宏观"), "flows": ("flows", "资金流"), "rates": ("rates", "利率"),
    "turnover": ("turnover", "成交"),
    "crowding": ("crowding", "拥挤度"), "leverage": ("leverage", "杠杆"), "style": ("style", "风格"),
    "calendar": ("calendar", "日历"), "intercept": ("intercept", "截距"), "calibration": ("calibration", "校准"),
    "coherence": ("coherence", "一致性"), "scenario": ("scenario", "情景"),
    "others": ("Other pairs", "其他组合"),
    "others_key": ("beside base rates; tail: small loses",
                   "附基准概率；尾部：小盘跑输"),
    "pair": ("Pair", "组合"), "leads": ("In force since", "占优方及起始"), "validity": ("Validity", "有效性"),
    "validated": ("Validated", "已验证"), "stress_supported": ("Stress history only", "仅有压力时期样本"),
    "out_of_support": ("Outside experience", "超出历史经验"),
    "abstain_stale": ("Abstains: stale", "弃权：数据过期"), "abstain_missing": ("Abstains: missing", "弃权：数据缺失"),
    "all_good": ("No reservation.", "无保留意见。"), "see_top": ("See the box above.", "见上方说明框。"),
    "absent": ("Absent inputs ({0})", "缺失输入（{0}项）"), "nothing_absent": ("None.", "无。"),
    "not_in_data": ("{0}: not in the data", "{0}：数据中没有"), "ended": ("{0}: ended {1}", "{0}：已于{1}终止"),
    "stale": ("{0}: stale, newest value of {1}", "{0}：已过期，最新值为{1}"),
    "too_short": ("history too short or inputs without a common date", "历史过短，或各输入无共同日期"),
    "more": ("and {0} more", "另有{0}项"),
    "next": ("Next releases that could change the call", "可能改变判断的后续数据"),
    "none_next": ("None expected before the next decisions.", "下次决策前无预期发布。"), "estimated": ("est.", "估计"),
    "provenance": ("Provenance", "出处"), "bundle": ("bundle cut", "模型截止"), "snapshot": ("snapshot", "数据快照"),
    "config": ("config", "配置"), "code": ("code", "代码"), "decided": ("decided", "决策时间"),
    "basis": ("Nothing was used that was not knowable at the decision time.", "仅使用决策时点可获知的信息。"),
}  # fmt: skip
_REASONS_ZH: dict[ReasonKind, str] = {
    "missing": "{names}类因子全部缺失",
    "stale": "{names}类因子全部缺失：输入数据已过期",
    "unseen": "超出训练期见过的全部取值：{names}",
    "unusual": "{of}个因子中有{count}个处于最外侧2%",
    "no_tail": "无尾部估计：日收盘价太少",
    "untilted": "尾部取自未加权调整的情景集",
    "few_paths": "情景路径过少：{names}",
    "stretched": "情景集过度调整：有效路径仅{count}条",
}


def say(lang: Lang, key: str, *values: str, **named: str) -> str:
    """Return the words of a key; a `lang` other than zh and en is a `DataContractError`."""
    if lang not in ("zh", "en"):
        raise DataContractError(f"`lang` must be zh or en; got {lang}")
    return TEXT[key][lang == "zh"].format(*values, **named)


def word(lang: Lang, name: str) -> str:
    """Return the word for a family, vintage or validity; an unknown one stands for itself."""
    return say(lang, name) if name in TEXT else clean(name)


def pair_name(forecast: Forecast, pair: str, lang: Lang) -> str:
    """Return a pair's name in the language, else its key."""
    return clean(forecast.pair_names.get(pair, ("", ""))[lang == "zh"] or pair, 48)


def market_title(forecast: Forecast, lang: Lang) -> str:
    """Return the market's title in the language."""
    return clean(forecast.title_zh if lang == "zh" else forecast.title, 60)


def page_title(forecast: Forecast, lang: Lang) -> str:
    """Return the title of the page or table, the word SIMULATED first where it is due."""
    title = f"{market_title(forecast, lang)} · {say(lang, 'product')} · {forecast.decision_date}"
    return f"{SIMULATED} · {title}" if forecast.simulated and SIMULATED not in title else title


def series_name(name: str, lang: Lang) -> str:
    """Return the name of a series or feature as the reader knows it; the key itself where no other is known."""
    chinese = (glossary.series_name(name) or glossary.feature_name(name)) if lang == "zh" else None
    return chinese or clean(name, 40)


def reason_words(reason: Reason, lang: Lang) -> str:
    """Return why a row is not simply valid; in English as the column `reasons` has it."""
    if lang == "en":
        return clean(reason.text)
    if reason.kind in ("missing", "stale"):
        names = [word(lang, name) for name in reason.names]
    elif reason.kind == "few_paths":
        names = [event_name(event, lang)[0] for event in EVENTS if event in reason.names]
    else:
        names = [glossary.feature_name(name) or clean(name) for name in reason.names]
    return _REASONS_ZH[reason.kind].format(names="、".join(names), count=reason.count, of=reason.of)


def no_tail(rows: Iterable[PairForecast], lang: Lang) -> str:
    """Return that there is no tail, and why."""
    why = [say(lang, "few_closes") if r.kind == "no_tail" else reason_words(r, lang) for r in reasons(rows)]
    return say(lang, "no_tail", clean(say(lang, "semicolon").join(why), 330) or say(lang, "no_reason"))


def absent_words(absent: AbsentInput, lang: Lang) -> str:
    """Return why a feature has no value, its series named as the reader knows it."""
    return say(lang, absent.kind, series_name(absent.series or "", lang), str(absent.day))


def driver_words(driver: Driver, lang: Lang) -> tuple[str, str]:
    """Return name and reason of a driver, in Chinese where the glossary has it; else its key and the English reason."""
    key, why = clean(driver.feature, 36), clean(driver.why, 90)
    if lang == "en":
        return key, why
    return glossary.feature_name(driver.feature) or key, glossary.feature_reason(driver.feature) or why


def event_name(event: Event, lang: Lang) -> tuple[str, str]:
    """Return the short and the long name of an event; "large" is also a style, so its key differs."""
    key = "large_event" if event == "large" else event
    return say(lang, key), say(lang, f"{key}_long", f"{CRASH_SIGMA:g}")


def threshold(row: PairForecast, event: Event) -> float | None:
    """Return the move that sets an event off, as log return of small minus large; None for "large"."""
    scale = row.sigma * math.sqrt(row.horizon_weeks)
    if event == "crash":
        return -CRASH_SIGMA * scale
    return None if event == "large" else (-SWITCH_SIGMA if row.style_in_force == "small" else SWITCH_SIGMA) * scale


def tail_cells(rows: Iterable[PairForecast], key: str) -> list[str]:
    """Return one line of the tail table: lower and upper side of each row, a dash without a tail."""
    tails = [row.tail or {} for row in rows]
    return [percent(tail.get(name), signed=True) for tail in tails for name in (key, f"{key}_up")]


def horizon(weeks: int, lang: Lang) -> str:
    """Return "1 week" or "4 weeks"."""
    return say(lang, "week") if weeks == 1 else say(lang, "weeks", str(weeks))


def headline(forecast: Forecast, lang: Lang) -> str:
    """Return the message in a few words: who leads, and where the risk stands against its base rate."""
    row = main_row(forecast)
    style = say(lang, row.style_in_force)
    key = verdict(row.heads["switch"])
    return say(lang, key, style.lower() if key == "none" else style)


def call(forecast: Forecast, lang: Lang) -> str:
    """Return the call in a sentence: which style leads since when, how likely it breaks, what that would cost."""
    row = main_row(forecast)
    head = row.heads["switch"]
    style: Style = row.style_in_force
    age = horizon((row.decision_date - row.style_since).days // 7, lang)
    text = say(lang, "since", pair=pair_name(forecast, row.pair, lang), style=say(lang, style).lower(),
               since=str(row.style_since), weeks=age)  # fmt: skip
    named = {"h": str(row.horizon_weeks), "move": percent(threshold(row, "switch"), signed=True)}
    key = "no_chance" if head.probability is None else "chance"
    text += say(lang, key, p=percent(head.probability), base=percent(head.base), **named)
    book = following_book(row)
    if book is None:
        return text + say(lang, "cost_none")
    return text + say(lang, f"cost_{style}", var=percent(book[0], signed=True), es=percent(book[1], signed=True))


def flip_record(forecast: Forecast, lang: Lang) -> str:
    """Return how often adverse moves were followed by a flip of the state."""
    past, weeks = forecast.history, str(main_row(forecast).horizon_weeks)
    if past.adverse_moves == 0:
        return say(lang, "no_flips", h=weeks)
    share = percent(past.followed_by_flip / past.adverse_moves)
    return say(lang, "flips", h=weeks, n=str(past.adverse_moves), k=str(past.followed_by_flip), share=share)


def vintage_note(driver: Driver, lang: Lang) -> str:
    """Return what to know of a driver's past values: empty where they are real vintages, or where it has no value."""
    return "" if driver.vintage == "real" or driver.value is None else word(lang, driver.vintage)
