"""The comparison of two runs: what differs stands there, what is equal is said to be, and the page stands alone."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from features.contracts import EVENTS
from features.errors import DataContractError
from serving.run_compare import compare_runs
from tests.training.gate_toy import told, world
from tests.training.study_toy import study
from training.run_differences import loss_differences
from training.score_tables import score_table, yearly_table
from training.study import Study
from training.tracking import log_study


def scored(folder: Path, forecasts: pd.DataFrame, **changes: object) -> Study:
    """The toy study with other forecasts and what follows from them."""
    made = replace(study(folder), forecasts=forecasts, scores=score_table(forecasts), yearly=yearly_table(forecasts))
    folds = made.folds.assign(**{f"log_loss_{event}_model": [0.5, 0.6] for event in EVENTS})
    return replace(made, folds=folds, contributions={}, **changes)


def written(study: Study, folder: Path) -> Path:
    """The files of a study as `write_study` names them, with a dot for every figure."""
    folder.mkdir()
    study.forecasts.to_parquet(folder / "forecasts.parquet")
    for name, table in (("scores", study.scores), ("yearly", study.yearly), ("folds", study.folds)):
        table.to_csv(folder / f"{name}.csv", index=False)
    for name in ("reliability_1w", "reliability_4w", "yearly_1w", "yearly_4w"):
        (folder / f"{name}.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    return folder


@pytest.fixture(scope="module")
def logged(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str], list[pd.DataFrame]]:
    """Two studies of one market, of which the second knows more and has another penalty; and a run without files."""
    root = tmp_path_factory.mktemp("runs")
    uri = f"sqlite:///{root}/artifacts/mlflow.db"
    rows = world(0, 0.4, weeks=150)
    frames = [told(rows, 0.1, 0.2), told(rows, 0.9)]
    first = scored(root / "one", frames[0])
    second = scored(
        root / "two", frames[1], config={**first.config, "ridge_penalty": 5.0}, config_hash="beef", cut="2023-12-29"
    )
    runs = [log_study(one, uri, written(one, root / f"key{number}")) for number, one in enumerate((first, second))]
    files = root / "elsewhere-key"
    files.mkdir()
    runs.append(log_study(replace(first, market="other"), uri, files))
    return root / "artifacts", runs, frames


@pytest.fixture(autouse=True)
def _own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@pytest.fixture(scope="module")
def told_text(logged: tuple[Path, list[str], list[pd.DataFrame]]) -> str:
    artifacts, runs, _ = logged
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        return compare_runs(f"run:{runs[0]}", f"run:{runs[1][:8]}", artifacts)


def section(text: str, title: str) -> str:
    return text.split(f"## {title}")[1].split("\n## ")[0]


def test_what_on_which_data_against_which_champion(told_text: str, logged) -> None:
    _, runs, _ = logged
    context = section(told_text, "What, on which data, against which champion")
    assert f"| run | {runs[0]} | {runs[1]} | differs |" in context
    assert "| configuration | c0ffee | beef | differs |" in context
    assert "| data snapshot | 5eed | 5eed |  |" in context
    assert "| commit | 0123abc | 0123abc |  |" in context
    assert "| champion at the time | none | version 1, cut 2023-06-30, configuration c0ffee | differs |" in context
    assert "| trial count | 1 | 2 | differs |" in context
    assert "SIMULATED" in told_text.splitlines()[0]


def test_parameters_that_differ_and_no_other(told_text: str) -> None:
    table = section(told_text, "Parameters that differ")
    assert [row for row in table.splitlines() if row.startswith("| ")][2:] == ["| ridge_penalty | 20.0 | 5.0 |"]


def test_differences_are_those_of_the_forecasts(told_text: str, logged) -> None:
    _, _, (first, second) = logged
    expected = loss_differences(first, second, None)
    lines = section(told_text, "Difference of log loss on common rows").splitlines()
    for row in expected.to_dict("records"):
        numbers = " | ".join(f"{1000 * row[name]:.2f}" for name in ("difference", "low", "high"))
        begin = f"| {row['event']} {row['horizon_weeks']}w | {row['pair']} | {row['n']} | {row['n_dates']} | "
        assert f"{begin}{numbers} | {row['p_value']:.3f} |" in lines
    pooled = expected[(expected["pair"] == "pooled") & (expected["p_value"] < 0.1)]
    assert len(pooled)
    assert (pooled["difference"] < 0).all()
    better = ", ".join(f"{row.event} {row.horizon_weeks}w" for row in pooled.itertuples())
    assert f"B is better than A at {better}" in told_text


def test_skills_and_folds_stand_side_by_side(told_text: str, logged) -> None:
    _, _, frames = logged
    table = section(told_text, "Skill")
    for frame in frames:
        row = score_table(frame).query("event == 'switch' and horizon_weeks == 4 and pair == 'pooled'").iloc[0]
        numbers = [f"{100 * row[name]:+.1f}" for name in ("skill_log_loss", "skill_low", "skill_high")]
        assert f"{numbers[0]} [{numbers[1]}, {numbers[2]}]" in table
    assert "| 2012-10-05 | 0.5000 | 0.5000 | 0.5000 | 0.5000 | 0.5000 | 0.5000 |" in section(told_text, "Folds")


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.images: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        if tag == "img":
            self.images.append(found["src"] or "")
        elif found.get("href") or found.get("src"):
            self.links.append(found.get("href") or found.get("src") or "")


def test_the_page_needs_no_other_file(told_text: str, logged) -> None:
    artifacts, runs, _ = logged
    page = artifacts / f"compare-{runs[0][:8]}-{runs[1][:8]}.html"
    assert told_text.rstrip().endswith(f"page: {page}")
    text = page.read_text(encoding="utf-8")
    parsed = _Page()
    parsed.feed(text)
    # Reliability and years at two horizons, of both runs.
    assert len(parsed.images) == 8
    assert all(image.startswith("data:image/png;base64,") for image in parsed.images)
    assert set(parsed.links) == {"data:,"}
    assert not re.search(r"<script|https?://", text)
    assert text.count("SIMULATED") >= 2
    assert "champion at the time" in text


def test_a_run_with_itself(logged) -> None:
    artifacts, runs, _ = logged
    text = compare_runs(runs[0], "sample@1", artifacts)
    assert "All 4 parameters are equal." in text
    assert "the two are not told apart at" in text
    assert "differs" not in section(text, "What, on which data, against which champion")


@pytest.mark.parametrize("reference", ["run:feedbeef", "cn@champion", "run:"])
def test_runs_that_are_not_there(logged, reference: str) -> None:
    artifacts, runs, _ = logged
    with pytest.raises(DataContractError, match=r"run .* must be|has no model"):
        compare_runs(runs[0], reference, artifacts)


def test_runs_of_two_markets_and_runs_that_are_no_study(logged) -> None:
    artifacts, runs, _ = logged
    with pytest.raises(DataContractError, match=r"no whole study: it lacks forecasts\.parquet, scores\.csv"):
        compare_runs(runs[0], runs[2], artifacts)


def test_what_the_market_definition_hides_stays_hidden(logged, tmp_path: Path) -> None:
    """Rows after `scored_until` do not enter, whatever they say."""
    rows = world(0, 0.4, weeks=120)
    frame = told(rows, 0.5)
    late = frame["decision_date"] > pd.Timestamp("2008-06-27")
    spoiled = frame.copy()
    for event in EVENTS:
        spoiled[f"p_{event}"] = np.where(late, 0.999, frame[f"p_{event}"])
    artifacts, runs = logged[0], []
    for number, one in enumerate((frame, spoiled)):
        shown = one[~late]
        made = scored(tmp_path / str(number), shown, config={"scored_until": "2008-06-27"}, market="hidden")
        made = replace(made, forecasts=one, scored_until=pd.Timestamp("2008-06-27").date())
        uri = f"sqlite:///{artifacts}/mlflow.db"
        runs.append(log_study(made, uri, written(made, tmp_path / f"hidden{number}")))
    text = compare_runs(runs[0], runs[1], artifacts)
    assert "the two are not told apart at switch 1w, large 1w, crash 1w, switch 4w, large 4w, crash 4w" in text
