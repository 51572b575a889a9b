"""What is found before a day is scored, and what follows from it."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from features.dataset import build_dataset
from features.errors import DataContractError
from features.market import MarketSpec
from features.series import Break
from models.bundle import Bundle
from serving import opened_market
from serving.opened_market import OpenedMarket
from serving.output import forecast_path
from serving.preflight import EXIT_CODES, Preflight, preflight, series_read
from serving.preflight_command import preflight as preflight_command
from serving.steps import Choice, publish
from tests import small
from tests.serving.small_market import LAST

DAY = np.datetime64(LAST, "us")


def opened(
    rows: pd.DataFrame | None = None,
    market: MarketSpec | None = None,
    quarantined: pd.DataFrame | None = None,
    artifacts: Path = Path("nowhere"),
) -> Trained:
    """Return the market of some rows; the bundle in force is the one trained on the original ones."""
    spec = market or small.market()
    shown = (small.observations() if rows is None else rows).assign(recorded_at=pd.Timestamp("2011-06-01"))
    held = in_quarantine().head(0) if quarantined is None else quarantined
    data = small.dataset() if rows is None and market is None else build_dataset(shown, spec, DAY)
    return Trained(spec, artifacts, shown, held, data, small.plan())


def look(
    rows: pd.DataFrame | None = None, market: MarketSpec | None = None, quarantined: pd.DataFrame | None = None
) -> Preflight:
    """Check the day on some rows."""
    return preflight(opened(rows, market, quarantined), DAY)


class Trained(OpenedMarket):
    """A market with its bundle in memory."""

    def bundle(self, day: np.datetime64) -> Bundle:
        return small.walked().bundles[-1]


def in_quarantine() -> pd.DataFrame:
    """Return one point as the store keeps it."""
    return pd.DataFrame(
        {
            "series": ["pmi"], "period": [pd.Timestamp("2010-11-30")], "known_at": [pd.Timestamp("2010-11-25")],
            "value": [500.0], "check": ["out_of_range"], "reason": ["outside"],
            "recorded_at": [pd.Timestamp("2011-06-01")],
        }
    )  # fmt: skip


def found(result: Preflight, check: str, series: str) -> str:
    """Return the severity of the one finding of a check on a series."""
    [finding] = [one for one in result.findings if (one.check, one.series) == (check, series)]
    return finding.severity


@lru_cache(maxsize=1)
def clean() -> Preflight:
    return look()


def of_family(family: str) -> set[str]:
    return {name for one in small.market().features.values() if one.family == family for name in one.inputs}


def test_a_clean_week_goes_on() -> None:
    assert clean().decision == "go"
    assert clean().exit_code == 0
    assert clean().refusal == ""
    clean().require()
    assert clean().line().startswith(f"preflight sample {LAST}: go; 0 error(s)")


def test_findings_come_the_gravest_first_and_as_json() -> None:
    order = [("error", "warning", "info").index(one.severity) for one in clean().findings]
    assert order == sorted(order)
    told = clean().to_json()
    assert (told["market"], told["day"], told["decision"]) == ("sample", LAST, "go")
    assert len(told["findings"]) == len(clean().findings) > 0


def test_a_series_that_the_bundle_learned_from_and_the_store_lacks_refuses() -> None:
    result = look(small.observations().query("series != 'pmi'"))
    assert found(result, "missing", "pmi") == "error"
    assert (result.decision, result.exit_code) == ("refuse", 2)
    with pytest.raises(DataContractError, match="the bundle learned from it, and the store holds nothing") as error:
        result.require()
    assert error.value.rows is not None
    assert "pmi" in error.value.rows["series"].tolist()


def test_a_refused_day_is_not_published(tmp_path: Path) -> None:
    broken = opened(small.observations().query("series != 'pmi'"), artifacts=tmp_path)
    with pytest.raises(DataContractError, match="is refused for 1 error"):
        publish(broken, Choice("en"))
    assert list(tmp_path.rglob("*")) == []
    publish(opened(artifacts=tmp_path), Choice("en"))
    assert forecast_path(tmp_path, "sample", LAST, "json").exists()


def test_a_series_that_no_bundle_knows_is_a_note() -> None:
    spec = small.market()
    new = spec.series["pmi"].model_copy(update={"name": "brand_new"})
    result = look(market=spec.model_copy(update={"series": {**spec.series, "brand_new": new}}))
    assert found(result, "missing", "brand_new") == "info"
    assert result.decision == "go"


def test_a_family_that_fell_silent_abstains() -> None:
    rows = small.observations()
    silent = rows["series"].isin(of_family("leverage")) & (rows["period"] > pd.Timestamp("2010-03-01"))
    result = look(rows[~silent])
    assert (result.decision, result.exit_code) == ("abstain", 5)
    assert found(result, "abstains", small.market().headline) == "error"
    for name in of_family("leverage"):
        assert found(result, "stale", name) == "warning"
    result.require()


def test_one_stale_series_is_judged_by_its_own_cadence() -> None:
    rows = small.observations()
    # Twenty-five days without a monthly figure are nothing, without a daily one they are.
    monthly, daily = "pmi", "turnover_rate"
    spec = small.market()
    assert (spec.series[monthly].frequency, spec.series[daily].frequency) == ("monthly", "daily")
    cut = rows["series"].isin([monthly, daily]) & (rows["period"] > pd.Timestamp(LAST) - pd.Timedelta(days=25))
    result = look(rows[~cut])
    assert found(result, "stale", daily) == "warning"
    assert not [one for one in result.findings if (one.check, one.series) == ("stale", monthly)]
    assert result.decision == "go"


def test_a_series_that_died_is_a_warning_while_the_bundle_reads_it() -> None:
    spec = small.market()
    ended = spec.series["pmi"].model_copy(update={"died": pd.Timestamp("2010-10-31").date()})
    result = look(market=spec.model_copy(update={"series": {**spec.series, "pmi": ended}}))
    assert found(result, "dead", "pmi") == "warning"


@pytest.mark.parametrize(
    ("day", "severity"), [("2010-11-24", "warning"), ("2009-11-24", "info"), ("2012-01-04", "info")]
)
def test_a_declared_break_is_news_in_its_week_only(day: str, severity: str) -> None:
    spec = small.market()
    broken = spec.series["pmi"].model_copy(update={"breaks": (Break(date=pd.Timestamp(day).date(), factor=1.0),)})
    result = look(market=spec.model_copy(update={"series": {**spec.series, "pmi": broken}}))
    assert found(result, "definition_break", "pmi") == severity
    assert result.decision == "go"


def test_a_level_that_jumps_and_stays_without_a_declared_break_refuses() -> None:
    rows, spec = small.observations(), small.market()
    assert "pmi" in series_read(small.walked().bundles[-1], spec)
    calm = spec.series["pmi"].model_copy(update={"range": (0.0, 200.0), "max_jump": 30.0})
    market = spec.model_copy(update={"series": {**spec.series, "pmi": calm}})
    assert look(market=market).decision == "go"
    later = (rows["series"] == "pmi") & (rows["period"] > pd.Timestamp("2010-06-01"))
    result = look(rows.assign(value=rows["value"] + 60.0 * later), market)
    assert {one.severity for one in result.findings if (one.check, one.series) == ("unit_jump", "pmi")} == {"error"}
    assert result.decision == "refuse"


def test_a_served_point_outside_its_range_refuses_and_one_in_quarantine_does_not() -> None:
    spec = small.market()
    strict = spec.series["pmi"].model_copy(update={"range": (30.0, 50.0)})
    result = look(market=spec.model_copy(update={"series": {**spec.series, "pmi": strict}}))
    assert result.decision == "refuse"
    quiet = look(quarantined=in_quarantine())
    assert found(quiet, "out_of_range", "pmi") == "info"
    assert quiet.decision == "go"


def test_revisions_of_the_week_are_reported_one_line_a_series() -> None:
    rows = small.observations()
    at = small.dataset().clock["decision_at"].loc[LAST]
    week = pd.Timedelta(days=2)
    old = rows[(rows["series"] == "pmi") & (rows["known_at"] < at - pd.Timedelta(days=10))].tail(3)
    assert len(old) == 3
    changed = old.assign(value=old["value"] + 0.5, known_at=at - week)
    result = look(pd.concat([rows, changed], ignore_index=True))
    assert found(result, "revised", "pmi") == "info"
    [finding] = [one for one in result.findings if (one.check, one.series) == ("revised", "pmi")]
    assert finding.message.startswith("3 of ")
    assert f"to {changed['value'].iloc[-1]:g}" in finding.message
    # What becomes known after the decision is not reported.
    future = look(pd.concat([rows, changed.assign(known_at=at + week)], ignore_index=True))
    assert not [one for one in future.findings if (one.check, one.series) == ("revised", "pmi")]


def test_a_history_that_was_rewritten_is_a_warning() -> None:
    rows = small.observations()
    at = small.dataset().clock["decision_at"].loc[LAST]
    old = rows[(rows["series"] == "pmi") & (rows["known_at"] < at - pd.Timedelta(days=10))]
    old = old.drop_duplicates("period", keep="last")
    rebased = old.assign(value=old["value"] + 0.1, known_at=at - pd.Timedelta(days=1))
    result = look(pd.concat([rows, rebased], ignore_index=True))
    assert found(result, "revised", "pmi") == "warning"


def test_support_names_feature_value_and_distance() -> None:
    bundle = small.walked().bundles[-1]
    dataset = small.dataset()
    headline = (small.market().headline, pd.Timestamp(LAST))
    [wide] = [one for one in clean().findings if one.check == "support" and one.severity == "warning"]
    value = float(dataset.values.loc[headline, wide.series])
    least, most = bundle.support.least[wide.series], bundle.support.most[wide.series]
    assert value > most or value < least
    beyond = max(value - most, least - value) / (most - least)
    assert f"{beyond:.2f} widths beyond the training range" in wide.message
    named = {one.series for one in clean().findings if one.check == "support"}
    for name in bundle.support.low:
        values = dataset.values.loc[dataset.values.index.get_level_values(1) == pd.Timestamp(LAST), name].dropna()
        outside = ((values < bundle.support.low[name]) | (values > bundle.support.high[name])).any()
        assert (name in named) == bool(outside)


def test_a_pair_without_a_close_is_named() -> None:
    rows = small.observations()
    price = small.market().segments["micro"].price
    gone = (rows["series"] == price) & (rows["period"] == pd.Timestamp(LAST))
    result = look(rows[~gone])
    assert found(result, "no_close", "s300-micro") == "warning"
    assert result.decision == "go"


def test_the_exit_codes_are_those_of_the_design() -> None:
    assert EXIT_CODES == {"go": 0, "abstain": 5, "refuse": 2}


def test_the_command_prints_lines_and_json(
    small_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(opened_market, "training_plan", lambda spec: small.plan())
    preflight_command("sample", small_folder, LAST, False)
    out = capsys.readouterr().out
    assert out.rstrip().endswith(clean().line())
    preflight_command("sample", small_folder, LAST, True)
    assert f'"decision": "{clean().decision}"' in capsys.readouterr().out
