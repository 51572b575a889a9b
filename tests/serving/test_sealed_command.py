"""`capshift evaluate freeze` and `sealed` as the examiner meets them, on SIMULATED factors in French's format."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import features.markets
from serving import cli
from serving.sealed_data import data_hash, sealed_data
from serving.sealed_register import LookRecord, Register
from serving.steps import market_spec, training_plan
from tests.features.french import simulated_factors, write_french
from training.frozen import in_force, load_frozen
from training.sealed_run import sealed_weeks

Run = tuple[int, str, str]
LAST = "1995-03-31"
FILE = "europe/returns/Europe_3_Factors_Daily.csv"


@pytest.fixture(scope="module")
def call() -> Callable[..., Run]:
    """Call the command line in this process; returns exit code, standard output and standard error."""
    import contextlib
    import io

    def run(*arguments: object) -> Run:
        out, err, code = io.StringIO(), io.StringIO(), 0
        before = sys.argv
        sys.argv = ["capshift", "evaluate", *map(str, arguments)]
        try:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                cli.main()
        except SystemExit as stop:
            code = int(stop.code or 0)
        finally:
            sys.argv = before
        return code, out.getvalue(), err.getvalue()

    return run


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Europe with an early first forecast, so that one refit is enough."""
    text = (Path(features.markets.__path__[0]) / "europe.toml").read_text(encoding="utf-8")
    for name, day in (("first_decision", "1994-10-28"), ("scored_until", "1994-10-21")):
        text = re.sub(rf"(?m)^{name} = .*$", f"{name} = {day}", text)
    path = tmp_path_factory.mktemp("market") / "europe.toml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("root")
    write_french(simulated_factors("europe", LAST), root / FILE)
    return root


@pytest.fixture(scope="module")
def frozen(call: Callable[..., Run], market: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("frozen")
    arguments = ("--frozen", folder / "frozen.toml", "--artifacts", folder, "--rival", "ridge_logit")
    code, out, err = call("freeze", "--market", market, *arguments)
    assert code == 0, err
    assert "entry 1" in out
    return folder / "frozen.toml"


@pytest.fixture(scope="module")
def first(
    call: Callable[..., Run], market: Path, root: Path, frozen: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Run, Path]:
    """The first look, and its artefacts."""
    folder = tmp_path_factory.mktemp("art")
    run = call("sealed", "--root", root, "--market", market, "--frozen", frozen, "--artifacts", folder, "--jobs", 1)
    return run, folder


def registered(folder: Path) -> list[dict[str, object]]:
    path = folder / "sealed" / "register.jsonl"
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


@pytest.mark.slow
def test_the_first_look(first: tuple[Run, Path], frozen: Path) -> None:
    (code, out, err), folder = first
    assert code == 0, err
    assert out.startswith("# Sealed exam of market europe")
    assert "SECOND" not in out
    assert "No file for: ff_mom, DGS10" in out
    assert "Without any data, so they abstain: macro, flows, rates." in out
    assert re.search(r"\d+ of \d+ claims reached", out)
    page = folder / "sealed" / "europe" / "look-1"
    assert {path.name for path in page.iterdir()} == {
        "sealed.md", "scores.csv", "comparisons.csv", "verdicts.csv", "validity.csv",
    }  # fmt: skip
    scores = pd.read_csv(page / "scores.csv")
    assert set(scores["model"]) == {"heads", "ridge_logit"}
    assert (scores["n"] >= 15).all()
    opened, shown = registered(folder)
    assert (opened["event"], shown["event"], opened["number"]) == ("opened", "shown", 1)
    assert str(opened["hash"]) in out
    assert str(opened["frozen_hash"]) in frozen.read_text(encoding="utf-8")


@pytest.mark.slow
def test_a_second_look_says_so(
    call: Callable[..., Run], first: tuple[Run, Path], market: Path, root: Path, frozen: Path
) -> None:
    (_, out, _), folder = first
    before = registered(folder)
    arguments = ("sealed", "--root", root, "--market", market, "--frozen", frozen, "--artifacts", folder, "--jobs", 1)
    code, nothing, err = call(*arguments)
    assert (code, nothing) == (2, "")
    assert f"run 1, registered {before[0]['at']} as {before[0]['hash']}" in err
    assert registered(folder) == before
    code, again, err = call(*arguments, "--again")
    assert code == 0, err
    assert again.startswith("# SECOND LOOK (run 2)")
    assert [record["number"] for record in registered(folder)] == [1, 1, 2, 2]
    tables = list((folder / "sealed" / "europe" / "look-2").glob("*.csv"))
    assert len(tables) == 4
    assert all((pd.read_csv(path)["look"] == "SECOND LOOK (run 2)").all() for path in tables)
    # The same data and code: the same numbers.
    assert out.split("## Verdicts")[1].split("page and tables")[0] in again
    # Without its register MLflow still knows.
    (folder / "sealed" / "register.jsonl").unlink()
    code, _, err = call(*arguments)
    assert code == 2
    assert "europe sealed 1, which MLflow knows and the register does not" in err


@pytest.mark.slow
def test_an_exam_that_was_cut_off_goes_on_as_the_same_look(
    call: Callable[..., Run], market: Path, root: Path, frozen: Path, tmp_path: Path
) -> None:
    opened = earlier_look(market, root, frozen, tmp_path, "opened")
    code, out, err = call("sealed", "--root", root, "--market", market, "--frozen", frozen, "--artifacts", tmp_path)
    assert code == 0, err
    assert "SECOND" not in out
    assert opened.hash in out
    assert [(record["event"], record["number"]) for record in registered(tmp_path)] == [("opened", 1), ("shown", 1)]


def earlier_look(market: Path, root: Path, frozen: Path, folder: Path, *events: str) -> LookRecord:
    """Write an earlier look into a register, as the command would; return its first record."""
    entry, register = in_force(load_frozen(frozen))["europe"], Register(folder / "sealed" / "register.jsonl")
    look = {"at": "2026-11-28T10:00:00Z", "market": "europe", "window": entry.window, "number": 1}
    look |= {"data_hash": data_hash(market_spec(str(market)), [root]), "frozen_hash": entry.hash}
    records = [register.append(LookRecord.model_validate({"event": event, **look})) for event in events]
    return records[0]


def test_a_second_look_is_refused(
    call: Callable[..., Run], market: Path, root: Path, frozen: Path, tmp_path: Path
) -> None:
    opened = earlier_look(market, root, frozen, tmp_path, "opened", "shown")
    code, out, err = call("sealed", "--root", root, "--market", market, "--frozen", frozen, "--artifacts", tmp_path)
    assert (code, out) == (2, "")
    assert f"run 1, registered 2026-11-28T10:00:00Z as {opened.hash}" in err
    assert "`--again`" in err
    assert len(registered(tmp_path)) == 2


def test_other_data_do_not_take_up_a_look_that_was_cut_off(
    call: Callable[..., Run], market: Path, root: Path, frozen: Path, tmp_path: Path
) -> None:
    earlier_look(market, root, frozen, tmp_path, "opened")
    write_french(simulated_factors("europe", LAST, seed=8), tmp_path / "root" / FILE)
    code, out, err = call(
        "sealed", "--root", tmp_path / "root", "--market", market, "--frozen", frozen, "--artifacts", tmp_path
    )
    assert (code, out) == (2, "")
    assert "were looked at before: run 1" in err


@pytest.mark.parametrize(
    ("old", "new", "code", "said"),
    [
        ("min_weeks = 104", "min_weeks = 52", 4, "the schedule"),
        ("small_market_correlation = 1\n", "small_market_correlation = 0\n", 4, "the market definition"),
        ("corr(60)", "corr(50)", 4, "the catalogue of features"),
    ],
)
def test_another_configuration_is_refused(
    call: Callable[..., Run], market: Path, root: Path, frozen: Path, tmp_path: Path, old: str, new: str, code: int,
    said: str,
) -> None:  # fmt: skip
    text = market.read_text(encoding="utf-8")
    assert old in text
    other = tmp_path / "other.toml"
    other.write_text(text.replace(old, new, 1), encoding="utf-8")
    got, out, err = call("sealed", "--root", root, "--market", other, "--frozen", frozen, "--artifacts", tmp_path)
    assert (got, out) == (code, "")
    assert "is not what was frozen on" in err
    assert said in err
    assert not registered(tmp_path)


def test_an_edited_frozen_file_is_refused(
    call: Callable[..., Run], market: Path, root: Path, frozen: Path, tmp_path: Path
) -> None:
    edited = tmp_path / "frozen.toml"
    edited.write_text(frozen.read_text(encoding="utf-8").replace("pooled = 0.01", "pooled = 0.0"), encoding="utf-8")
    code, _, err = call("sealed", "--root", root, "--market", market, "--frozen", edited, "--artifacts", tmp_path)
    assert code == 4
    assert "was edited after it was frozen" in err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--root", "{tmp}/none"), "no such folder"),
        (("--root", "{tmp}"), "prices of no frozen market (europe) are here"),
        (("--root", "{tmp}", "--market", "{market}"), "no prices of market 'europe' here; they are read from"),
        (("--root", "{root}", "--market", "us"), "market 'us' has no frozen configuration"),
        (("--root", "{root}", "--frozen", "{tmp}/none.toml"), "no frozen configuration; run"),
        (("--root", "{short}", "--market", "{market}"), "no outcome of a decision since 1994-10-28 has matured"),
        (("--root", "{late}", "--market", "{market}"), "name the one with the earlier years with `--history`"),
    ],
)
def test_what_is_not_there_gets_a_sentence_and_no_record(
    call: Callable[..., Run], market: Path, root: Path, frozen: Path, tmp_path: Path, arguments: tuple[str, ...],
    said: str,
) -> None:  # fmt: skip
    factors = simulated_factors("europe", LAST)
    places = {
        "tmp": tmp_path / "empty",
        "market": market,
        "root": root,
        "short": tmp_path / "s",
        "late": tmp_path / "l",
    }
    places["tmp"].mkdir()
    write_french(factors[:"1994-10-20"], places["short"] / FILE)
    write_french(factors["1994-01-03":], places["late"] / FILE)
    chosen = [argument.format(**places) for argument in arguments]
    if "--frozen" not in chosen:
        chosen += ["--frozen", str(frozen)]
    code, out, err = call("sealed", *chosen, "--artifacts", tmp_path / "art")
    assert (code, out) == (2, "")
    assert said in err
    assert not registered(tmp_path / "art")


def test_later_rows_join_an_older_root(market: Path, tmp_path: Path) -> None:
    """The years in two roots, with a day in both: a level that differs is not known before today, so nothing moves."""
    factors = simulated_factors("europe", LAST)
    spec = market_spec(str(market))
    plan = training_plan(spec)
    now = np.datetime64("2026-11-28", "us")
    write_french(factors, tmp_path / "whole" / FILE)
    write_french(factors[:"1994-12-30"], tmp_path / "early" / FILE)
    whole = sealed_data(spec, plan, [tmp_path / "whole"], tmp_path / "a", now).dataset
    both = sealed_data(spec, plan, [tmp_path / "early", tmp_path / "whole"], tmp_path / "b", now).dataset
    pd.testing.assert_frame_equal(whole.outcomes, both.outcomes)
    pd.testing.assert_frame_equal(whole.values, both.values)
    np.testing.assert_array_equal(sealed_weeks(whole, plan, None), sealed_weeks(both, plan, None))
