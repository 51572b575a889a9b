"""What differs between two forecasts, why, and which files are evidence at all; without a rebuild."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from features.errors import BundleError, DataContractError
from features.snapshot import snapshot_ids
from serving.forecast import Call, make_forecast
from serving.output import backfill_folder, forecast_path, forecast_text, parquet_bytes
from serving.published import Provenance, read_files
from serving.replay_cause import batch_of, causes
from serving.replay_diff import differing_rows, differing_texts
from tests import small

DAY = "2010-11-26"


@lru_cache(maxsize=1)
def call() -> Call:
    return make_forecast(
        small.market(), small.observations(), small.dataset(), small.walked().bundles[-1], small.plan()
    )


def text() -> str:
    return forecast_text(call().forecast)


def edited(change: Callable[[dict[str, Any]], object]) -> bytes:
    document = json.loads(text())
    change(document)
    return json.dumps(document, ensure_ascii=False, indent=1).encode()


class TestDifferences:
    def test_none_between_equal_ones(self) -> None:
        assert differing_texts(text().encode(), text()) == []
        assert differing_rows(small.market(), call().rows, call().rows.sample(frac=1, random_state=0)) == []

    def test_a_driver_is_named_by_its_feature(self) -> None:
        def change(document: dict[str, Any]) -> None:
            document["pairs"][1]["heads"]["large"]["drivers"][2]["log_odds"] = 9.0

        [found] = differing_texts(edited(change), text())
        row = call().forecast.pairs[1]
        feature = row.heads["large"].drivers[2].feature
        assert (found.pair, found.horizon_weeks) == (row.pair, row.horizon_weeks)
        assert (found.field, found.old) == (f"heads.large.drivers[{feature}].log_odds", 9.0)
        assert found.new == row.heads["large"].drivers[2].log_odds

    @pytest.mark.parametrize(
        ("change", "field"),
        [
            (lambda d: d.update(code_version="9"), "code_version"),
            (lambda d: d.pop("fan"), "fan"),
            (lambda d: d["history"]["line"].pop(), "history.line"),
            (lambda d: d.update(more=1), "more"),
            (lambda d: d.update(pairs="none"), "pairs"),
            (lambda d: d["pairs"].reverse(), "pair"),
        ],
    )
    def test_a_field_of_the_whole(self, change: Callable[[dict[str, Any]], object], field: str) -> None:
        assert field in {found.field for found in differing_texts(edited(change), text())}

    def test_another_layout_is_not_the_same_bytes(self) -> None:
        [found] = differing_texts(json.dumps(json.loads(text())).encode(), text())
        assert found.field == "bytes"

    def test_the_last_bit_of_a_number(self) -> None:
        rows = call().rows.copy()
        rows.loc[5, "es_95"] = np.nextafter(rows.loc[5, "es_95"], -1)
        [found] = differing_rows(small.market(), rows, call().rows)
        assert (found.pair, found.horizon_weeks, found.field) == (
            rows.loc[5, "pair"],
            rows.loc[5, "horizon_weeks"],
            "es_95",
        )

    def test_outcomes_are_no_part_of_a_call(self) -> None:
        assert differing_rows(small.market(), call().rows.assign(y_switch=1.0), call().rows) == []

    def test_a_row_that_is_missing(self) -> None:
        [found] = differing_rows(small.market(), call().rows.iloc[1:], call().rows)
        assert (found.field, found.old, found.new) == ("row", "not there", "there")


class TestCauses:
    made = Provenance("2010-07-23", "a" * 12, small.plan().config_hash, "test")

    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            ({"snapshot_id": "b" * 12}, "snapshot differs: published from bbbbbbbbbbbb, the store now gives aaaaaaaa"),
            ({"config_hash": "c0ffee"}, "configuration differs: published under c0ffee"),
            ({"code_version": "0.0.1"}, "code version differs: published by 0.0.1, now test"),
            ({}, "the published numbers were edited, the bundle was trained again, or a library differs"),
        ],
    )
    def test_each_is_told(self, changes: dict[str, str], words: str) -> None:
        made = Provenance(**{**vars(self.made), **changes})
        [told] = causes(made, self.made if not changes or "snapshot_id" in changes else made, small.plan())
        assert words in told

    def test_rows_of_later_batches_are_found_by_taking_them_away(self) -> None:
        rng = np.random.default_rng(5)
        at = np.datetime64("2020-06-01", "us")
        rows = pd.DataFrame(
            {
                "series": rng.choice(["a", "b", "c"], 90),
                "period": pd.Timestamp("2020-01-01") + pd.to_timedelta(np.arange(90), "D"),
                "known_at": pd.Timestamp("2020-01-02") + pd.to_timedelta(np.arange(90), "D"),
                "value": rng.standard_normal(90),
                "recorded_at": pd.to_datetime(np.repeat(["2020-05-01", "2020-07-01", "2020-08-01"], 30)),
            }
        )
        first = rows[rows["recorded_at"] < pd.Timestamp("2020-07-01")]
        found = batch_of(rows, at, snapshot_ids(first, np.array([at]))[0])
        assert found is not None
        assert len(found.before) == 30
        assert found.told.startswith("60 row(s) of ")
        assert "from 2020-07-01 00:00 UTC on" in found.told
        assert batch_of(rows, at, "f" * 12) is None


class TestFiles:
    def read(self, folder: Path, **files: bytes) -> list[str]:
        for suffix, content in files.items():
            (folder / f"{DAY}.{suffix}").write_bytes(content)
        return [one.damage for one in read_files(folder, small.market(), DAY, folder)]

    def test_what_is_there_is_read(self, tmp_path: Path) -> None:
        assert self.read(tmp_path) == []
        assert self.read(tmp_path, json=text().encode()) == [""]
        assert self.read(tmp_path, parquet=parquet_bytes(call().rows)) == ["", ""]
        path = forecast_path(tmp_path, "sample", DAY, "json")
        path.parent.mkdir(parents=True)
        path.write_text(text(), encoding="utf-8")
        [found] = read_files(tmp_path, small.market(), DAY, None)
        assert found.provenance == Provenance.of(call().rows.iloc[0])
        assert found.headline == small.market().headline
        backfilled = backfill_folder(tmp_path) / "sample" / f"{DAY}.json"
        backfilled.parent.mkdir(parents=True)
        backfilled.write_text(text(), encoding="utf-8")
        assert [one.origin for one in read_files(tmp_path, small.market(), DAY, None)] == [str(path), str(backfilled)]

    @pytest.mark.parametrize("share", [0.0, 0.3, 0.999])
    def test_a_truncated_one_is_told(self, tmp_path: Path, share: float) -> None:
        whole, table = text().encode(), parquet_bytes(call().rows)
        told = self.read(tmp_path, json=whole[: int(share * len(whole))], parquet=table[: int(share * len(table))])
        assert len(told) == 2
        assert all("not a readable forecast" in one for one in told)

    def test_one_that_is_no_file_is_told(self, tmp_path: Path) -> None:
        (tmp_path / f"{DAY}.json").mkdir()
        [told] = self.read(tmp_path)
        assert told.startswith("not a readable forecast: [Errno 21] Is a directory")

    @pytest.mark.parametrize("mutations", [150, pytest.param(1000, marks=pytest.mark.slow)])
    def test_mutations_are_read_or_told_without_a_traceback(self, tmp_path: Path, mutations: int) -> None:
        rng = np.random.default_rng(11)
        sources = {"json": edited(lambda d: d.update(history=None, pairs=d["pairs"][:1])), "parquet": b""}
        sources["parquet"] = parquet_bytes(call().rows.head(2))
        for number in range(mutations):
            suffix = ("json", "parquet")[number % 2]
            content = bytearray(sources[suffix])
            for place in rng.integers(0, len(content), rng.integers(1, 6)):
                content[place] = rng.integers(0, 256)
            found = self.read(tmp_path, **{suffix: bytes(content)})
            assert len(found) <= 2
        odd = [b"[]", b"null", b"1", b"[" * 100_000, b'{"bundle_cut": 1}', b"\xff\xfe"]
        for content in odd:
            assert "not a readable forecast" in self.read(tmp_path, json=content)[0]

    @pytest.mark.parametrize("name", ["bundle_cut", "config_hash", "code_version", "snapshot_id"])
    @pytest.mark.parametrize("value", ["../../etc", "/etc/passwd", "", "..", "2010-99-99x/.."])
    def test_provenance_that_is_no_name_of_a_folder_is_refused(self, name: str, value: str) -> None:
        with pytest.raises(DataContractError, match="no provenance of a forecast"):
            Provenance.of({**vars(TestCauses.made), name: value})

    def test_a_bundle_is_looked_for_under_the_name_it_had(self, tmp_path: Path) -> None:
        made = TestCauses.made
        with pytest.raises(BundleError, match="the bundle of cut 2010-07-23 is gone; restore a backup"):
            made.folder(tmp_path, "sample", "a" * 12)
        root = tmp_path / "bundles" / "sample" / f"{made.config_hash}-{made.code_version}"
        for snapshot in ("a", "b"):
            (root / f"2010-07-23-{snapshot * 12}").mkdir(parents=True)
        assert made.folder(tmp_path, "sample", "a" * 12).name == f"2010-07-23-{'a' * 12}"
        assert made.folder(tmp_path, "sample", "c" * 12).name == f"2010-07-23-{'b' * 12}"
