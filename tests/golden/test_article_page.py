"""docs/article.md is what `capshift article` writes from the real data, figure for figure."""

import json
from pathlib import Path

import pytest

from serving import cli

pytestmark = pytest.mark.real


def test_the_page_is_what_the_command_writes(
    root: Path, real_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["article", "--market", "cn", "--source", str(real_data), "--out", "article.md", "--json"]
    monkeypatch.setattr("sys.argv", ["capshift", *words])
    cli.main()
    content = json.loads(capsys.readouterr().out)
    kept = (root / "docs" / "article.md").read_text(encoding="utf-8")
    written = (tmp_path / "article.md").read_text(encoding="utf-8")
    typed = "--source ../shared/data --out docs/article.md"
    assert written.replace(f"--source {real_data} --out article.md", typed) == kept
    assert content["as_of"] == "2023-11-24"
    # Facts of METHODS section 9, to the digits it prints.
    figure = {row["id"]: row["figure"] for row in content["claims"]}
    assert figure["1b"] == pytest.approx(0.419 + 0.050, abs=0.001)
    assert figure["1a"] == pytest.approx(0.484 + 0.050, abs=0.001)
    assert 0.08 <= figure["2"] <= 0.09
    assert figure["6b"] == pytest.approx(0.72, abs=0.005)
    assert figure["6c"] == pytest.approx(0.78, abs=0.005)
