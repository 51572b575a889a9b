"""Markets, forecast and drivers: what the files say, the newest of them, and no name leads out."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from datetime import date, timedelta

import pytest

from serving.output import forecast_path
from serving.record import Forecast
from tests.serving.api.conftest import Api, Home, Serve, problem, write_forecast
from tests.serving.factory import abstain, make_forecast


def stored(forecast: Forecast) -> dict[str, object]:
    return json.loads(json.dumps(forecast.to_json()))


class TestForecast:
    def test_it_is_the_object_in_the_file(self, api: Api, built: Home) -> None:
        for market in ("cn", "sample"):
            got = api.client.get(f"/v1/forecast/{market}").json()
            notice = got.pop("notice")
            (path,) = forecast_path(built.artifacts, market, "x", "json").parent.glob("*.json")
            assert got == json.loads(path.read_text(encoding="utf-8"))
            assert got["simulated"] == (market == "sample")
            assert (notice is not None and "SIMULATED" in notice) == (market == "sample")

    def test_pair_and_horizon_leave_rows_out_and_nothing_else(self, api: Api) -> None:
        whole = api.client.get("/v1/forecast/cn").json()
        part = api.client.get("/v1/forecast/cn", params={"pair": "csi300-csi500", "horizon": 4}).json()
        wanted = [r for r in whole["pairs"] if (r["pair"], r["horizon_weeks"]) == ("csi300-csi500", 4)]
        assert part == {**whole, "pairs": wanted}
        assert len(wanted) == 1
        assert len(api.client.get("/v1/forecast/cn?horizon=1").json()["pairs"]) == 4

    def test_the_newest_by_default_and_an_older_one_by_name(self, home: Home, serve: Serve) -> None:
        api, newest = serve(home.artifacts), make_forecast()
        older = replace(newest, decision_date=newest.decision_date - timedelta(days=7), snapshot_id="older")
        write_forecast(home.artifacts, older)
        assert api.client.get("/v1/forecast/cn").json()["snapshot_id"] == newest.snapshot_id
        assert api.client.get("/v1/forecast/cn?as_of=2023-11-17").json()["snapshot_id"] == "older"
        problem(api.client.get("/v1/forecast/cn?as_of=2023-11-20"), 404, "no forecast of 2023-11-20", "2023-11-17")

    def test_a_new_forecast_appears_without_restart(self, home: Home, serve: Serve) -> None:
        api, first = serve(home.artifacts), make_forecast()
        assert api.client.get("/v1/forecast/cn").json()["snapshot_id"] == first.snapshot_id
        write_forecast(home.artifacts, replace(first, snapshot_id="again"))
        assert api.client.get("/v1/forecast/cn").json()["snapshot_id"] == "again"
        write_forecast(home.artifacts, replace(first, decision_date=date(2023, 12, 1), snapshot_id="next"))
        assert api.client.get("/v1/forecast/cn").json()["snapshot_id"] == "next"

    def test_unknown_market_pair_and_horizon(self, api: Api) -> None:
        problem(api.client.get("/v1/forecast/us"), 404, "'us'", "/v1/markets")
        problem(api.client.get("/v1/forecast/cn?pair=a-b"), 404, "'a-b'", "csi300-csi1000")
        problem(api.client.get("/v1/forecast/cn?horizon=2"), 422, "`horizon`: input should be 1 or 4")
        problem(api.client.get("/v1/forecast/cn?as_of=2023-02-30"), 422, "`as_of`: must be a date")
        problem(api.client.get("/v1/forecast/cn?as_of=today"), 422, "`as_of`")
        problem(api.client.get("/v1/forecast/cn?pairs=csi300-csi500"), 422, "`pairs`")

    @pytest.mark.parametrize("name", ["..", "%2e%2e", "..%2fcn", "cn%00", "bundles", ".hidden", "a" * 65, "cn%0a"])
    def test_no_name_leads_out_of_the_folder(self, api: Api, name: str) -> None:
        assert api.client.get(f"/v1/forecast/{name}").status_code in (404, 422)

    def test_a_damaged_file_is_an_error_not_an_older_forecast(self, home: Home, serve: Serve) -> None:
        api = serve(home.artifacts)
        path = forecast_path(home.artifacts, "cn", "2023-11-24", "json")
        text = path.read_text(encoding="utf-8")
        numbers = [text.replace('"sigma": 0.', f'"sigma": {none}, "x": 0.', 1) for none in ("NaN", "1e999", "null")]
        for broken in (text[:5000], "[]", "", "[" * 10_000, *numbers):
            path.write_text(broken, encoding="utf-8")
            said = problem(api.client.get("/v1/forecast/cn"), 503, "log")
            assert str(path) in api.log.of("request")[-1]["reason"]
            assert said["id"] == api.log.of("request")[-1]["id"]
        path.write_text(text, encoding="utf-8")
        assert api.client.get("/v1/forecast/cn").status_code == 200

    def test_a_forecast_under_another_name_is_refused(self, home: Home, serve: Serve) -> None:
        path = forecast_path(home.artifacts, "cn", "2023-11-24", "json")
        os.rename(path, path.with_name("2023-12-01.json"))
        problem(serve(home.artifacts).client.get("/v1/forecast/cn"), 503)


class TestDrivers:
    def test_every_driver_has_its_number_place_and_date(self, api: Api, built: Home) -> None:
        got = api.client.get(f"/v1/drivers/sample?pair={built.sample.headline}&horizon=4&event=crash").json()
        assert (got["simulated"], "SIMULATED" in got["notice"]) == (True, True)
        (head,) = got["heads"]
        said = built.sample.pair(built.sample.headline, 4).heads["crash"]
        assert head["probability"] == said.probability
        assert len(head["drivers"]) == len(said.drivers)
        for mine, theirs in zip(head["drivers"], said.drivers, strict=True):
            assert (mine["feature"], mine["value"], mine["percentile"]) == (
                theirs.feature, theirs.value, theirs.percentile,
            )  # fmt: skip
            assert (mine["known_at"] is None) == (theirs.known_at is None)
        total = head["base_log_odds"] + sum(row["log_odds"] for row in head["drivers"])
        assert total == pytest.approx(head["log_odds"], abs=1e-9)

    def test_all_heads_by_default(self, api: Api) -> None:
        assert len(api.client.get("/v1/drivers/cn").json()["heads"]) == 4 * 2 * 3

    def test_an_abstaining_forecast_has_none(self, home: Home, serve: Serve) -> None:
        write_forecast(home.artifacts, abstain(make_forecast()))
        heads = serve(home.artifacts).client.get("/v1/drivers/cn").json()["heads"]
        assert all(head["drivers"] == [] and head["probability"] is None for head in heads)
        assert {head["validity"] for head in heads} == {"abstain_stale"}


class TestMarkets:
    def test_what_is_stored(self, api: Api) -> None:
        cn, sample = api.client.get("/v1/markets").json()["markets"]
        assert (cn["market"], cn["simulated"], cn["notice"], cn["newest"]) == ("cn", False, None, "2023-11-24")
        assert cn["age_days"] == pytest.approx(3 + 1.5 / 24)
        assert (sample["market"], sample["simulated"]) == ("sample", True)
        assert "SIMULATED" in sample["notice"]

    def test_a_damaged_market_says_so(self, home: Home, serve: Serve) -> None:
        forecast_path(home.artifacts, "cn", "2023-11-24", "json").write_text("{}", encoding="utf-8")
        cn, sample = serve(home.artifacts).client.get("/v1/markets").json()["markets"]
        assert cn["problem"] == "the newest forecast cannot be read"
        assert cn["simulated"] is None
        assert sample["problem"] is None

    def test_an_empty_folder(self, tmp_path, serve: Serve) -> None:
        assert serve(tmp_path / "nothing").client.get("/v1/markets").json() == {"markets": []}
