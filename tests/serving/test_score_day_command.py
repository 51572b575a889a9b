"""`capshift score` of a day from the command line: its exit code, its files, and that it never trains."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

import serving.market_score
from features.errors import DataContractError
from serving.cli import app


def test_what_the_job_returns_is_the_exit_code(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    seen: list[tuple[object, ...]] = []

    def abstains(market: str, as_of: str | None, out: Path, artifacts: Path, *, ledger: str | None = None) -> int:
        seen.append((market, as_of, out, artifacts, ledger))
        return 5

    monkeypatch.setattr(serving.market_score, "score_market", abstains)
    monkeypatch.delenv("CAPSHIFT_LEDGER", raising=False)
    options = ["--market", "cn", "--as-of", "2023-11-24", "--out", str(tmp_path), "--artifacts", str(tmp_path / "a")]
    assert CliRunner().invoke(app, ["score", *options]).exit_code == 5
    assert seen == [("cn", "2023-11-24", tmp_path, tmp_path / "a", None)]


def test_without_a_store_it_says_so(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["score", "--out", str(tmp_path / "out"), "--artifacts", str(tmp_path / "a")])
    with pytest.raises(DataContractError, match="capshift ingest"):
        raise done.exception or AssertionError(done.output)
    assert not list((tmp_path / "out").rglob("*.json"))
