"""The frozen configuration: what is written is read back, an edit is refused, and a difference is named."""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import date
from pathlib import Path

import hypothesis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.errors import DataContractError, DefinitionError, FrozenError
from features.market import MarketSpec, load_market
from models.schedule import Plan
from serving.steps import training_plan
from training.code_digest import HOUSE, PACKAGES, code_hash, code_modules
from training.freeze import RIVALS, Declared, differences, freeze
from training.frozen import FROZEN, FrozenEntry, frozen_text, in_force, load_frozen

TODAY = date(2026, 11, 28)
DECLARED = Declared(TODAY)


@pytest.fixture(scope="module")
def market() -> MarketSpec:
    return load_market("us")


@pytest.fixture(scope="module")
def plan(market: MarketSpec) -> Plan:
    return training_plan(market)


@pytest.fixture(scope="module")
def entry(market: MarketSpec, plan: Plan) -> FrozenEntry:
    return freeze(market, plan, DECLARED, ())


def written(folder: Path, *entries: FrozenEntry) -> Path:
    path = folder / "frozen.toml"
    path.write_text(frozen_text(entries), encoding="utf-8")
    return path


def test_what_is_frozen_is_the_present(market: MarketSpec, plan: Plan, entry: FrozenEntry) -> None:
    assert differences(entry, market, plan) == []
    assert (entry.number, entry.previous, entry.rivals) == (1, "", RIVALS)
    assert (entry.design, entry.confirmation) == ("2005-01-07 to 2018-12-28", "none logged")
    assert (entry.sealed_after, entry.window) == (date(2023, 11, 30), "decisions after 2023-11-30")
    assert entry.rules["switch 1w"].pooled == 0.01


@pytest.mark.parametrize("name", ["europe", "japan"])
def test_a_market_nobody_has_seen_is_sealed_as_a_whole(name: str) -> None:
    market = load_market(name)
    entry = freeze(market, training_plan(market), DECLARED, ())
    assert entry.sealed_after is None
    assert (entry.window, entry.confirmation) == ("all decisions", "none")
    assert entry.rules


def test_the_file_holds_every_entry(tmp_path: Path, market: MarketSpec, plan: Plan, entry: FrozenEntry) -> None:
    with pytest.raises(DataContractError, match=r"frozen on 2026-11-28 \(entry 1\); `--again`"):
        freeze(market, plan, DECLARED, [entry])
    looks = Declared(TODAY, ("2023-11-24",), ("ridge_logit",))
    second = freeze(market, plan, looks, [entry], again=True)
    path = written(tmp_path, entry, second)
    assert load_frozen(path) == (entry, second)
    assert in_force(load_frozen(path)) == {"us": second}
    assert (second.number, second.previous, second.confirmation) == (2, entry.hash, "2023-11-24")
    assert load_frozen(tmp_path / "none.toml") == ()


VALUES = st.one_of(
    st.booleans(), st.integers(-(2**40), 2**40), st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(codec="utf-8", exclude_characters="\x7f"), max_size=12),
)  # fmt: skip
SETTINGS = st.dictionaries(
    st.text(st.characters(codec="utf-8", exclude_characters="\x7f"), max_size=8),
    st.one_of(VALUES, st.lists(VALUES, max_size=3), st.dictionaries(st.sampled_from(["a", "b c"]), VALUES)),
    max_size=4,
)


@hypothesis.settings(max_examples=50)
@given(values=SETTINGS, version=st.text("abc", min_size=1, max_size=5))
def test_any_settings_come_back(
    tmp_path_factory: pytest.TempPathFactory, entry: FrozenEntry, values: dict[str, object], version: str
) -> None:
    own = entry.model_copy(update={"settings": values, "code_version": version}).sealed()
    assert load_frozen(written(tmp_path_factory.getbasetemp(), own)) == (own,)


@pytest.mark.parametrize(
    ("old", "new"),
    [("pooled = 0.01", "pooled = 0.001"), ("ridge_penalty = ", "ridge_penalty = 1"),
     ("2023-11-30", "2024-11-30"), ('"ridge_logit", ', "")],
)  # fmt: skip
def test_an_edited_entry_is_refused(tmp_path: Path, entry: FrozenEntry, old: str, new: str) -> None:
    path = written(tmp_path, entry)
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(FrozenError, match="entry 1 of market 'us' was edited") as caught:
        load_frozen(path)
    assert caught.value.exit_code == 4


def test_a_history_without_its_beginning_is_refused(
    tmp_path: Path, market: MarketSpec, plan: Plan, entry: FrozenEntry
) -> None:
    second = freeze(market, plan, DECLARED, [entry], again=True)
    with pytest.raises(FrozenError, match="does not follow the one before"):
        load_frozen(written(tmp_path, second))
    (tmp_path / "frozen.toml").write_text("[[frozen]]\nmarket = 1\n", encoding="utf-8")
    with pytest.raises(DefinitionError, match=r"frozen\.toml"):
        load_frozen(tmp_path / "frozen.toml")


def test_a_difference_is_named(market: MarketSpec, plan: Plan, entry: FrozenEntry) -> None:
    now = plan.settings
    trees = replace(now.trees, rounds=now.trees.rounds + 20)
    other = replace(plan, settings=replace(now, ridge_penalty=now.ridge_penalty / 2, trees=trees))
    (words,) = differences(entry, market, other)
    assert words == (
        f"the settings (ridge_penalty is {now.ridge_penalty / 2}, frozen {now.ridge_penalty}; "
        f"trees.rounds is {trees.rounds}, frozen {now.trees.rounds})"
    )
    assert "schedule" in differences(entry, market, replace(plan, refit_weeks=13))[0]
    fewer = market.model_copy(update={"features": dict(list(market.features.items())[:-1])})
    assert "catalogue of features" in differences(entry, fewer, replace(plan, market_hash=fewer.config_hash))[0]
    assert "market definition" in differences(entry, market, replace(plan, market_hash="other"))[0]
    stale = entry.model_copy(update={"code_hash": "0" * 16})
    assert "the code that forecasts or scores" in differences(stale, market, plan)[0]


def test_what_cannot_be_frozen(market: MarketSpec, plan: Plan) -> None:
    with pytest.raises(DataContractError, match="simulated"):
        freeze(load_market("sample"), plan, DECLARED, ())
    with pytest.raises(DataContractError, match="no rule for market 'mars'"):
        freeze(market.model_copy(update={"name": "mars"}), plan, DECLARED, ())
    with pytest.raises(DataContractError, match=r"`rival` must be one of .*; got 'oracle'"):
        freeze(market, plan, Declared(TODAY, rivals=("oracle",)), ())


def test_the_digest_follows_what_forecasts_and_nothing_else(tmp_path: Path) -> None:
    for package in PACKAGES:
        shutil.copytree(HOUSE / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    before = code_hash(tmp_path)
    assert before == code_hash()
    names = set(code_modules(tmp_path))
    # Reached directly, through others, and by an import inside a function.
    assert {"features.sources.factors", "models.heads", "models.garch", "training.fit", "training.scores"} <= names
    assert not {name for name in names if "plot" in name or "markdown" in name or "mlflow" in name}
    (tmp_path / "training" / "plots.py").write_text("# nothing\n", encoding="utf-8")
    assert code_hash(tmp_path) == before
    garch = tmp_path / "models" / "garch.py"
    garch.write_bytes(garch.read_bytes().replace(b"\n", b"\r\n"))
    assert code_hash(tmp_path) == before
    garch.write_bytes(garch.read_bytes() + b"\nEXTRA = 1\n")
    assert code_hash(tmp_path) != before


def test_the_frozen_file_of_this_checkout_is_whole() -> None:
    for entry in load_frozen(FROZEN):
        assert entry.rules
