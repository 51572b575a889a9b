"""A cell that pandas cannot take must reject its row, not end the job; those that it can take stay as they are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from serving.job_log import JobLog
from serving.row_cells import safe_rows, shown
from serving.score_rows import ScoreJob, rejects_path, score_rows
from tests.models import row_toy

DAY = 20_000
"""2024-10-04."""
NO_TEXT = b"\xff\xfe"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return row_toy.bundle().save(tmp_path_factory.mktemp("bundle") / "bundle")


def broken(*cells: bytes) -> pa.Array:
    """Return an array of texts that are no UTF-8, as a damaged file holds them."""
    raw = pa.array(cells, pa.binary())
    return pa.Array.from_buffers(pa.string(), len(cells), raw.buffers())


SPOILT: dict[str, tuple[str, pa.Array, str]] = {
    "lists of pairs": ("pair", pa.array([["a"]] * 3), "pair is no text"),
    "structs of styles": ("style_in_force", pa.array([{"a": 1}] * 3), "style_in_force is neither small nor large"),
    "lists of stale names": ("stale", pa.array([["a"]] * 3), "stale is no text"),
    "pairs that are no UTF-8": ("pair", broken(*[NO_TEXT] * 3), "pair is not of the bundle's market"),
    "stale names that are no UTF-8": ("stale", broken(*[NO_TEXT] * 3), "stale names \ufffd\ufffd"),
    "far times": ("decision_date", pa.array([2**62] * 3, pa.timestamp("us")), "decision_date is no day"),
    "far days": ("decision_date", pa.array([2**31 - 1] * 3, pa.date32()), "decision_date is no day"),
    "a nanosecond after midnight": (
        "decision_date",
        pa.array([DAY * 86_400 * 10**9 + 1] * 3, pa.timestamp("ns")),
        "decision_date is no day",
    ),
    "times where numbers are due": (
        "style_momentum_4w",
        pa.array([-(2**63)] * 3, pa.timestamp("us")),
        "style_momentum_4w is no number",
    ),
}


@pytest.mark.parametrize("case", SPOILT)
def test_a_spoilt_column_rejects_its_rows_and_the_others_are_scored(bundle: Path, tmp_path: Path, case: str) -> None:
    name, cells, reason = SPOILT[case]
    good = pa.Table.from_pandas(row_toy.many(3, seed=4), preserve_index=False)
    spoilt = good.set_column(good.schema.get_field_index(name), name, cells)
    (tmp_path / "rows").mkdir()
    pq.write_table(good, tmp_path / "rows" / "a.parquet")
    pq.write_table(spoilt, tmp_path / "rows" / "b.parquet")
    out = tmp_path / "out.parquet"
    counts = score_rows(ScoreJob(tmp_path / "rows", out, bundle), JobLog("test", lambda *_: None))
    assert (counts.rows, counts.scored, counts.rejected) == (6, 3, 3)
    rejects = pd.read_parquet(rejects_path(out))
    assert list(rejects["source"]) == ["b.parquet"] * 3
    assert all(found.startswith(reason) for found in rejects["reason"])


def test_keys_that_were_an_index_are_columns(bundle: Path, tmp_path: Path) -> None:
    row_toy.many(5, seed=5).set_index(["pair", "decision_date"]).to_parquet(tmp_path / "rows.parquet")
    job = ScoreJob(tmp_path / "rows.parquet", tmp_path / "out.parquet", bundle)
    assert score_rows(job, JobLog("test", lambda *_: None)).scored == 5


@pytest.mark.parametrize("kind", [pa.date32(), pa.date64(), *map(pa.timestamp, ("s", "ms", "us", "ns"))])
def test_days_of_every_type_stay_the_same_day(kind: pa.DataType) -> None:
    days = pa.array([DAY, None, -3], pa.int32()).cast(pa.date32()).cast(kind)
    found = safe_rows(pa.table({"decision_date": days}))["decision_date"].to_numpy()
    wanted = np.array(["2024-10-04", "NaT", "1969-12-29"], dtype="datetime64[us]")
    np.testing.assert_array_equal(found, wanted)


def test_texts_of_every_type_stay_the_same_text() -> None:
    texts = ["s300-s500", None, ""]
    for array in (pa.array(texts), pa.array(texts, pa.large_string()), pa.array(texts).dictionary_encode()):
        assert safe_rows(pa.table({"pair": array}))["pair"].to_pylist() == texts


def test_whatever_a_cell_holds_it_can_be_shown() -> None:
    far = pa.chunked_array([pa.array([2**62, None], pa.timestamp("us"))])
    assert shown(far) == [f"timestamp[us] {2**62}", None]
    assert shown(pa.chunked_array([broken(b"ab\xff")])) == ["ab\ufffd"]
    assert shown(pa.chunked_array([pa.array([[1], None])])) == ["[1]", None]
