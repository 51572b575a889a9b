"""The crowding monitor: what is measured, what is absent and why, page and table, nothing from after the decision."""

from __future__ import annotations

import io
import itertools
import json
from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
from rich.console import Console

from features.errors import DataContractError
from features.market import CrowdingSpec, MarketSpec, load_market
from serving.crowding import SETTINGS, CrowdingReport, Leaving, UnwindScenes, crowding_report
from serving.report.crowding_page import EXTREME, HIGH, LOW, crowding_table, headline, render_crowding
from serving.report.figures import percent
from tests import small
from tests.serving.rendered import LANGS, joined, visible


def market() -> MarketSpec:
    """Return the small market with what a crowding page needs."""
    spec = small.market()
    crowding = spec.crowding
    assert crowding is not None
    return spec.model_copy(
        update={"crowding": crowding.model_copy(update={"features": dict.fromkeys(kept(spec), 1), "notional": 1e9})}
    )


def kept(spec: MarketSpec) -> list[str]:
    """Return the features of the page that the small market has."""
    assert spec.crowding is not None
    return [name for name in spec.crowding.features if name in small.dataset().values.columns]


@lru_cache(maxsize=1)
def made() -> CrowdingReport:
    return crowding_report(market(), small.observations(), small.dataset(), small.LAST)


def test_built_in_markets_name_features_that_they_have() -> None:
    for name in ("cn", "us", "sample"):
        spec = load_market(name)
        assert spec.crowding is not None
        assert set(spec.crowding.features) <= set(spec.features)
        assert any(spec.crowding.features.values())


def test_a_row_says_level_place_and_change_of_the_headline_pair() -> None:
    report, data = made(), small.dataset()
    assert [row.name for row in report.rows] == kept(small.market())
    for row in report.rows:
        past = data.values.xs(market().headline, level="pair")[row.name].reindex(data.clock.index).to_numpy()
        if not np.isfinite(past[-1]):
            assert (row.level, row.reason) == (None, "no_value")
            continue
        assert row.level == past[-1]
        assert row.change == pytest.approx(past[-1] - past[-1 - SETTINGS.change])
        window = past[-SETTINGS.window :]
        known = window[np.isfinite(window)]
        place = np.mean(known < past[-1]) + 0.5 * np.mean(known == past[-1])
        assert row.percentile == pytest.approx(place, abs=0.5 / len(known) + 1e-12)
        assert row.history[-1] == row.level
    known = [row.percentile for row in report.rows if row.percentile is not None]
    assert report.composite == pytest.approx(np.mean(known))
    assert report.counted == len(known)


def test_rows_known_later_change_nothing() -> None:
    day = small.LAST - np.timedelta64(28, "D")
    data = small.dataset(day)
    rows = small.observations()
    late = rows["known_at"] > data.clock["decision_at"].iloc[-1]
    twin = rows.assign(value=np.where(late, 1e6, rows["value"]))
    first, second = (crowding_report(market(), some, data, day) for some in (rows, twin))
    assert late.sum() > 100
    assert first == second


def test_a_market_that_says_nothing_of_crowding_is_refused() -> None:
    spec = small.market().model_copy(update={"crowding": None})
    with pytest.raises(DataContractError, match=r"crowding\.features"):
        crowding_report(spec, small.observations(), small.dataset(), small.LAST)


def test_a_feature_that_does_not_exist_is_refused_by_the_definition() -> None:
    spec = small.market()
    crowding = CrowdingSpec(features={"nonsense": 1})
    with pytest.raises(ValueError, match="crowding names the unknown feature nonsense"):
        MarketSpec.model_validate({**spec.model_dump(by_alias=True), "crowding": crowding.model_dump()})


def test_excess_runs_down_the_ladder() -> None:
    report = made()
    ladder = sorted(market().segments, key=lambda name: market().segments[name].rank)
    assert [(row.larger, row.smaller) for row in report.decay] == list(itertools.pairwise(ladder))


def test_json_is_plain_and_whole() -> None:
    text = json.dumps(made().to_json(), allow_nan=False)
    assert json.loads(text)["simulated"] is True
    assert len(json.loads(text)["rows"]) == len(made().rows)


@pytest.mark.parametrize("lang", LANGS)
def test_the_page_shows_what_the_report_says(lang) -> None:
    leaving = Leaving(74.0, 6.8e9, 1e11, 0.2, ("notional", "tier_share"))
    scene = {
        "depth": "storm", "size": 5e10, "leverage": 4.0, "shock": -0.08, "tier_return": -0.211, "squeeze": 0.034,
        "share_liquidated": 0.77, "equity_low": 0.12, "days": 9, "rebound": float("nan"), "converged": False,
    }  # fmt: skip
    segment = made().decay[0]
    scenes = (UnwindScenes(segment.smaller, segment.larger, "sizes", (scene,), ""),
              UnwindScenes(segment.smaller, segment.larger, "sizes", (), "no turnover <is> known"))  # fmt: skip
    report = replace(made(), leaving=leaving, unwinds=scenes, survivors_only=True)
    page = render_crowding(report, lang)
    assert page == render_crowding(report, lang)
    words = visible(page)
    assert "SIMULATED" in words
    assert headline(report, lang) in words
    assert "<script" not in page
    assert "http" not in page.replace("http-equiv", "").replace("http://www.w3.org", "")
    for number in (percent(-0.211, signed=True), percent(0.77), "74", percent(0.034, signed=True)):
        assert number in words
    assert "no turnover &lt;is&gt; known" in page
    console = Console(width=110, file=io.StringIO(), color_system=None, record=True)
    console.print(crowding_table(report, lang))
    told = console.export_text()
    assert told.startswith("SIMULATED")
    for row in report.rows:
        if row.percentile is not None:
            assert f"P{100 * row.percentile:.0f}" in told
    assert joined(headline(report, lang)) in joined(told)


def test_the_headline_follows_the_composite() -> None:
    told = [headline(replace(made(), composite=value), "en") for value in (None, LOW, 0.5, HIGH, EXTREME)]
    assert told[3] == told[4]
    assert len(set(told)) == 4


def test_a_page_without_any_measure_says_so() -> None:
    weeks = made().weeks
    empty = replace(made(), composite=None, composite_change=None, composite_history=(None,) * len(weeks), counted=0)
    assert headline(empty, "en") in visible(render_crowding(empty, "en"))
