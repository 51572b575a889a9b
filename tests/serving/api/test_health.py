"""Alive, ready, and the metrics."""

from __future__ import annotations

import shutil
from datetime import timedelta

from prometheus_client.parser import text_string_to_metric_families

from features.store import Store
from serving.output import forecast_path, store_path
from tests.serving.api.conftest import NOW, Api, Home, Serve, problem, write_forecast
from tests.serving.factory import abstain, make_forecast


def checks(api: Api) -> dict[tuple[str, str | None], bool]:
    return {(row["check"], row["market"]): row["ok"] for row in api.client.get("/readyz").json()["checks"]}


def only_sample(home: Home) -> None:
    shutil.rmtree(home.artifacts / "cn")


class TestReady:
    def test_alive(self, api: Api) -> None:
        assert api.client.get("/healthz").json() == {"status": "ok"}

    def test_ready_where_everything_is_there(self, home: Home, serve: Serve) -> None:
        only_sample(home)
        got = serve(home.artifacts).client.get("/readyz")
        assert got.status_code == 200, got.text
        assert got.json()["ready"]
        assert any("SIMULATED" in row["detail"] for row in got.json()["checks"])

    def test_every_missing_part_is_named(self, home: Home, serve: Serve) -> None:
        found = checks(serve(home.artifacts))
        # No bundle made the forecast of `cn`.
        assert [key for key, ok in found.items() if not ok] == [("bundle", "cn")]
        only_sample(home)
        store_path(home.artifacts).write_bytes(b"no store")
        assert not checks(serve(home.artifacts))["store", None]
        next(home.folder.glob("switch-4w-*.txt")).unlink()
        assert not checks(serve(home.artifacts))["bundle", "sample"]
        (home.artifacts / "ledger.db").write_bytes(b"x" * 5000)
        assert not checks(serve(home.artifacts))["ledger", None]
        path = forecast_path(home.artifacts, "sample", home.sample.decision_date.isoformat(), "json")
        path.write_text("{}", encoding="utf-8")
        assert not checks(serve(home.artifacts))["forecast", "sample"]
        path.unlink()
        got = serve(home.artifacts).client.get("/readyz")
        assert got.status_code == 503
        assert not got.json()["ready"]

    def test_an_old_forecast_of_a_real_market_is_not_ready(self, home: Home, serve: Serve) -> None:
        key = ("forecast", "cn")
        assert checks(serve(home.artifacts))[key]
        assert not checks(serve(home.artifacts, now=NOW + timedelta(days=10)))[key]
        assert checks(serve(home.artifacts, now=NOW + timedelta(days=10), max_age_days=30.0))[key]

    def test_it_says_nothing_of_this_machine(self, home: Home, serve: Serve) -> None:
        assert str(home.artifacts) not in serve(home.artifacts).client.get("/readyz").text

    def test_a_writer_of_the_store_is_not_kept_out_nor_in_the_way(self, home: Home, serve: Serve) -> None:
        api = serve(home.artifacts)
        with Store(store_path(home.artifacts))._connect(write=True):
            assert checks(api)["store", None]
            assert api.client.get("/v1/forecast/sample").status_code == 200


class TestMetrics:
    def test_what_is_counted(self, home: Home, serve: Serve) -> None:
        write_forecast(home.artifacts, abstain(make_forecast()))
        api = serve(home.artifacts)
        api.client.get("/v1/forecast/sample")
        api.client.get("/v1/forecast/sample?horizon=3")
        for name in ("x", "y", "z"):
            api.client.get(f"/nothing/{name}")
            api.client.get(f"/v1/forecast/{name}")
        api.client.request("BREW", "/healthz")
        got = api.client.get("/metrics")
        assert got.headers["content-type"].startswith("text/plain")
        samples = {
            (sample.name, *sorted(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(got.text)
            for sample in family.samples
        }

        def requests(method: str, route: str, status: str) -> float:
            return samples["capshift_http_requests_total", ("method", method), ("route", route), ("status", status)]

        assert requests("GET", "/v1/forecast/{market}", "200") == 1
        assert requests("GET", "/v1/forecast/{market}", "422") == 1
        assert requests("GET", "/v1/forecast/{market}", "404") == 3
        assert requests("GET", "unmatched", "404") == 3
        assert requests("other", "/healthz", "405") == 1
        assert samples["capshift_http_request_seconds_count", ("route", "/v1/forecast/{market}")] == 5
        assert samples["capshift_forecast_age_seconds", ("market", "cn")] == (3 * 24 + 1.5) * 3600
        assert samples["capshift_forecast_abstentions", ("market", "cn")] == 8
        assert samples["capshift_forecast_abstentions", ("market", "sample")] == 0
        assert samples["capshift_forecast_rows", ("market", "cn"), ("validity", "abstain_stale")] == 8
        assert samples["capshift_http_in_flight",] == 1
        # The registry is the service's own: nothing of the process or of another one.
        assert all(name.startswith("capshift_") for name, *_ in samples)

    def test_a_forecast_that_cannot_be_read(self, home: Home, serve: Serve) -> None:
        forecast_path(home.artifacts, "cn", "2023-11-24", "json").write_text("{}", encoding="utf-8")
        text = serve(home.artifacts).client.get("/metrics").text
        assert 'capshift_forecast_unreadable{market="cn"} 1.0' in text
        assert 'capshift_forecast_age_seconds{market="cn"}' not in text

    def test_off(self, built: Home, serve: Serve) -> None:
        api = serve(built.artifacts, metrics="off")
        problem(api.client.get("/metrics"), 404)
        assert "/metrics" not in api.client.get("/openapi.json").json()["paths"]
