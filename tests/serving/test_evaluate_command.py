"""Looks beyond the design years are counted by every command that takes one, before it is taken."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import numpy as np
import pytest

from features.market import MarketSpec, load_market
from serving import evaluate_command
from serving.registry import tracking_uri
from training.tracking_evaluation import earlier_looks

BEYOND = np.datetime64("2023-11-24", "us")


@pytest.fixture(scope="module")
def cn() -> MarketSpec:
    market = load_market("cn")
    assert market.schedule.scored_until == date(2018, 12, 28)
    return market


def test_inside_the_design_years_nothing_is_counted(cn: MarketSpec, tmp_path: Path) -> None:
    evaluate_command._count_look(cn, np.datetime64("2018-12-28", "us"), tmp_path, "labels")
    assert not list(tmp_path.iterdir())


def test_each_look_beyond_them_is_a_run(cn: MarketSpec, tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    for number, what in enumerate(("labels", "tail"), start=1):
        evaluate_command._count_look(cn, BEYOND, tmp_path, what)
        assert f"This is look {number} at outcomes after 2018-12-28." in capsys.readouterr().err
    assert earlier_looks("cn", tracking_uri(tmp_path)) == ("2023-11-24", "2023-11-24")


def test_a_look_that_cannot_be_counted_is_said(cn: MarketSpec, tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://nobody:secret@127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    evaluate_command._count_look(cn, BEYOND, tmp_path, "alarms")
    err = capsys.readouterr().err
    assert err.startswith("warning: this look is not counted: ")
    assert "secret" not in err


@pytest.mark.parametrize("command", ["tail", "ablation", "labels", "alarms"])
def test_every_command_counts_before_it_computes(
    command: str, cn: MarketSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class CountedError(Exception):
        pass

    def count(spec: MarketSpec, last: np.datetime64, artifacts: Path, what: str) -> None:
        assert (spec, last, artifacts, what) == (cn, BEYOND, tmp_path, command)
        raise CountedError

    monkeypatch.setattr(evaluate_command, "_opened", lambda *_: (cn, None, BEYOND))
    monkeypatch.setattr(evaluate_command, "_count_look", count)
    with pytest.raises(CountedError):
        getattr(evaluate_command, command)(market="cn", artifacts=tmp_path)
