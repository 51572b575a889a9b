"""Damage on the way to the registry is one sentence: its tables, and the registry itself."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from features.errors import BundleError, DataContractError
from serving.registry import Registry, champion_bundle
from serving.study_files import study_forecasts, study_table
from tests.serving.ledger_toy import toy_rows

RUN = "da59b70d"


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_a_truncated_table(tmp_path: Path, share: float) -> None:
    path = tmp_path / "forecasts.parquet"
    toy_rows(0).to_parquet(path)
    whole = path.read_bytes()
    pd.testing.assert_frame_equal(study_forecasts(path, RUN), toy_rows(0), check_dtype=False)
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(DataContractError, match=r"forecasts\.parquet of run da59b70d is damaged .*capshift backtest"):
        study_forecasts(path, RUN)


def test_a_table_without_a_column(tmp_path: Path) -> None:
    path = tmp_path / "forecasts.parquet"
    toy_rows(0).drop(columns=["decision_date", "p_crash"]).to_parquet(path)
    with pytest.raises(DataContractError, match=r"lacks decision_date and 1 more column"):
        study_forecasts(path, RUN)


@pytest.mark.parametrize("content", [b"", b'a,b\n"x', b"\xff\xfe\x00\x01", b"a\n1,2,3\n4\n1,2,3,4,5\n"])
def test_text_that_is_no_table(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "scores.csv"
    path.write_bytes(content)
    with pytest.raises(DataContractError, match=r"scores\.csv of run da59b70d is damaged"):
        study_table(path, RUN)


def test_a_damaged_registry(tmp_path: Path) -> None:
    path = tmp_path / "mlflow.db"
    path.write_bytes(b"SQLite format 3\x00" + b"\x07" * 4000)
    uri = f"sqlite:///{path}"
    for error, use in (
        (DataContractError, lambda: Registry(uri).versions("sample")),
        (DataContractError, lambda: Registry(uri).intent("sample")),
        (BundleError, lambda: champion_bundle("sample", uri)),
    ):
        with pytest.raises(error) as caught:
            use()
        assert "\n" not in str(caught.value)
        assert str(path) in str(caught.value)
