"""What-if over HTTP: the numbers of `serving.whatif`, flags, refusals, and not one byte written."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from serving.whatif import what_if
from tests.serving.api.conftest import Api, Home, Serve, problem, write_forecast
from tests.serving.factory import abstain


def one(home: Home) -> str:
    """A feature that the bundle was trained on."""
    return next(iter(home.bundle.scaler.mean))


def ask(api: Api, pair: str, changes: dict[str, Any], market: str = "sample") -> Any:
    return api.client.post(f"/v1/whatif/{market}", json={"pair": pair, "changes": changes})


def files(folder: Path) -> dict[str, tuple[int, int]]:
    return {str(p): (p.stat().st_size, p.stat().st_mtime_ns) for p in folder.rglob("*") if p.is_file()}


def test_the_numbers_are_those_of_the_bundle_and_nothing_is_written(api: Api, built: Home) -> None:
    name, pair, before = one(built), built.sample.headline, files(built.artifacts)
    value = built.bundle.support.high[name]
    got = ask(api, pair, {name: value}).json()
    expected = what_if(built.sample, built.bundle, pair, {name: value})
    assert "SIMULATED" in got["notice"]
    assert got["bundle_cut"] == built.sample.bundle_cut.isoformat()
    for mine, theirs in zip(got["what_if"]["heads"], expected.heads, strict=True):
        assert (mine["event"], mine["horizon_weeks"], mine["before"], mine["after"]) == (
            theirs.event, theirs.horizon_weeks, pytest.approx(theirs.before), pytest.approx(theirs.after),
        )  # fmt: skip
        assert len(mine["contributions"]) == len(theirs.contributions)
    assert files(built.artifacts) == before


def test_out_of_support_is_flagged(api: Api, built: Home) -> None:
    name = one(built)
    got = ask(api, built.sample.headline, {name: 1e8}).json()["what_if"]
    assert got["out_of_support"]
    assert got["moves"][0]["place"]["out_of_support"]
    assert got["moves"][0]["place"]["clipped"]
    assert got["validity_after"] == "out_of_support"


def test_refusals(api: Api, built: Home) -> None:
    name, pair = one(built), built.sample.headline
    problem(ask(api, pair, {"nope": 1.0}), 422, "'nope'", "/v1/drivers")
    problem(ask(api, "a-b", {name: 1.0}), 404, "'a-b'")
    problem(ask(api, pair, {name: 1.0}, "us"), 404, "'us'")
    problem(ask(api, pair, {}), 422, "`changes`")
    problem(ask(api, pair, {name: "1.0"}), 422, "valid number")
    problem(ask(api, pair, {name: None}), 422, "valid number")
    problem(ask(api, pair, {name: 1e300}), 422, "less than or equal")
    problem(ask(api, pair, {f"f{i}": 1.0 for i in range(101)}), 422, "`changes`")
    for body in ('{"pair"', "[]", "null", "", '{"pair": "a-b", "changes": {"x": NaN}}', '{"a": Infinity}'):
        headers = {"content-type": "application/json"}
        problem(api.client.post("/v1/whatif/sample", content=body, headers=headers), 422)
    for body in (b"[" * 9000, b"\xff\xfe"):
        headers = {"content-type": "application/json"}
        problem(api.client.post("/v1/whatif/sample", content=body, headers=headers), 422, "no JSON")


def test_no_bundle_a_damaged_one_and_a_wrong_one(home: Home, serve: Serve) -> None:
    api, name, pair = serve(home.artifacts), one(home), home.sample.headline
    problem(ask(api, "csi300-csi500", {name: 1.0}, "cn"), 503, "bundle")
    assert ask(api, pair, {name: 1.0}).status_code == 200
    model = next(home.folder.glob("model-*.json"))
    model.write_text(model.read_text(encoding="utf-8").replace("0.", "1.", 1), encoding="utf-8")
    manifest = home.folder / "manifest.json"
    manifest.write_text(manifest.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    problem(ask(api, pair, {name: 1.0}), 503, "bundle")
    assert "checksum" in api.log.of("request")[-1]["reason"]


def test_of_two_bundles_of_one_cut_the_one_that_repeats_the_forecast_answers(home: Home, serve: Serve) -> None:
    heads = {key: replace(head, slope=head.slope + 0.1) for key, head in home.bundle.heads.items()}
    replace(home.bundle, heads=heads).save(home.folder.with_name(f"{home.sample.bundle_cut}-retrained"))
    got = ask(serve(home.artifacts), home.sample.headline, {one(home): 1.0}).json()["what_if"]["heads"][0]
    said = home.sample.pair(home.sample.headline, got["horizon_weeks"]).heads[got["event"]]
    assert got["before"] == pytest.approx(said.probability)


def test_an_abstaining_forecast_is_no_place_to_start(home: Home, serve: Serve) -> None:
    write_forecast(home.artifacts, abstain(home.sample))
    problem(ask(serve(home.artifacts), home.sample.headline, {one(home): 1.0}), 409, "abstains")


def test_a_forecast_that_names_a_path_as_its_bundle(home: Home, serve: Serve) -> None:
    write_forecast(home.artifacts, replace(home.sample, config_hash="../../.."))
    problem(ask(serve(home.artifacts), home.sample.headline, {one(home): 1.0}), 503, "bundle")
