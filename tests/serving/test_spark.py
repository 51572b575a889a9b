"""Spark scores the same numbers; without it one sentence says what is missing.

Marked `spark`: `make spark` runs it in the second environment.
"""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from features.errors import DataContractError
from models.bundle import Bundle
from models.pyfunc import RowModel
from models.row_contract import RowContract
from models.row_scores import DRIVER_COLUMNS, NUMBER_COLUMNS, RowScorer
from serving.job_log import JobLog
from serving.spark_engine import score_on_spark
from tests.models import row_toy

SILENT = JobLog("test", lambda *_: None)
HERE = importlib.util.find_spec("pyspark") is not None and shutil.which("java") is not None


@pytest.mark.spark
@pytest.mark.skipif(not HERE, reason="needs pyspark and Java")
def test_spark_scores_the_same_numbers(tmp_path: Path) -> None:
    frame = row_toy.many(1200, seed=4)
    frame.loc[[1, 700], "crash_1w_base"] = 2.0
    frame.loc[900, "pair"] = None
    (tmp_path / "rows").mkdir()
    frame.head(700).to_parquet(tmp_path / "rows" / "a.parquet", index=False)
    frame.tail(500).to_parquet(tmp_path / "rows" / "b.parquet", index=False)
    bundle = row_toy.bundle().save(tmp_path / "bundle")
    out = tmp_path / "out.parquet"
    for _ in range(2):  # again replaces
        counts = score_on_spark(str(tmp_path / "rows"), str(out), bundle, "local[2]", SILENT)
    assert (counts.rows, counts.scored, counts.rejected) == (1200, 1197, 3)
    keys = ["pair", "decision_date", "style_in_force", "p_switch_1w_base"]
    wanted = RowModel(RowScorer(row_toy.bundle(), "reference")).predict(frame)
    wanted = pd.concat([frame[keys[:3]], wanted], axis=1).drop(index=[1, 700, 900]).sort_values(keys)
    found = pd.read_parquet(out).sort_values(keys)
    np.testing.assert_allclose(found[list(NUMBER_COLUMNS)], wanted[list(NUMBER_COLUMNS)], rtol=0, atol=1e-12)
    for column in ("pair", "validity", "reasons", *DRIVER_COLUMNS):
        assert list(found[column].fillna("")) == list(wanted[column].fillna(""))
    rejects = pd.read_parquet(tmp_path / "out.rejects.parquet")
    assert sorted(rejects["reason"]) == ["crash_1w_base is missing or no probability inside (0, 1)"] * 2 + [
        "pair is no text"
    ]
    assert {path.name for path in tmp_path.iterdir()} == {"rows", "bundle", "out.parquet", "out.rejects.parquet"}
    frame.assign(style_momentum_4w="much").to_parquet(tmp_path / "wrong.parquet", index=False)
    with pytest.raises(DataContractError, match="style_momentum_4w must hold numbers; got string"):
        score_on_spark(str(tmp_path / "wrong.parquet"), str(out), bundle, "local[2]", SILENT)
    for place, words in ((tmp_path, "holds the rows that are read"), (bundle, "is there already and no result")):
        with pytest.raises(DataContractError, match=words):
            score_on_spark(str(tmp_path / "rows"), str(place), bundle, "local[2]", SILENT)
    assert len(pd.read_parquet(tmp_path / "rows")) == 1200
    assert RowContract.of(Bundle.load(bundle)).pairs
    with pytest.raises(DataContractError, match="Spark could not score"):
        score_on_spark(str(tmp_path / "nowhere.parquet"), str(out), bundle, "local[2]", SILENT)


@pytest.mark.skipif(importlib.util.find_spec("pyspark") is not None, reason="pyspark is installed")
def test_without_pyspark_one_sentence(tmp_path: Path) -> None:
    bundle = row_toy.bundle().save(tmp_path / "bundle")
    with pytest.raises(DataContractError, match=r"needs pyspark, which is not installed; install the extra") as raised:
        score_on_spark("rows.parquet", str(tmp_path / "out.parquet"), bundle, "local[2]", SILENT)
    assert raised.value.exit_code == 2
