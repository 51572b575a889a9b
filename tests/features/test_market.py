"""Market definitions: what ships loads and is complete; what is wrong is named with file and key."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from features.contracts import Dataset
from features.dataset import build_dataset
from features.errors import DefinitionError
from features.ingest import ingest
from features.market import MarketSpec, builtin_markets, load_market
from features.sources.folder import read_folder
from features.store import Store

NAMES = ("cn", "us", "sample")
FACTORS = ("europe", "japan")
"""Markets made of factors, which have fewer features."""
TINY = """
name = "tiny"
title = "Tiny"
title_zh = "小"

[schedule]
calendar = "XSHG"
timezone = "Asia/Shanghai"
decision_time = "15:30"
history_start = 2014-01-06
first_decision = 2014-06-06

[segments]
big = { name = "Big", name_zh = "大", price = "big.close", rank = 0 }
small = { name = "Small", name_zh = "小", price = "small.close", rank = 1 }

[pairs]
big-small = { large = "big", small = "small", headline = true }

[rules]
close = { kind = "sessions", time = "15:15" }
mid_month = { kind = "month", day = 16 }

[bars]
big = { file = "big.csv", known = "close", unit = "points", family = "style", stale_days = 16, columns = { close = {} } }
small = { file = "small.csv", known = "close", unit = "points", family = "style", stale_days = 16, columns = { close = {} } }

[series]
cpi = { file = "cpi.csv", shape = "monthly", frequency = "monthly", unit = "%", family = "macro", known = "mid_month", stale_days = 75 }
plot = { file = "plot.csv", frequency = "daily", unit = "%", family = "macro", known = "close", stale_days = 16, label_only = true }

[features]
prices = { family = "macro", inputs = ["cpi"], formula = "change(12)", unit = "%", sign = 0, why = "a test" }
momentum = { family = "style", inputs = ["{small}.close", "{large}.close"], formula = "log_ratio | change(20)", unit = "log", sign = 1, why = "a test" }
"""  # noqa: E501


def load(tmp_path: Path, text: str) -> MarketSpec:
    path = tmp_path / "tiny.toml"
    path.write_text(text, encoding="utf-8")
    return load_market(str(path))


def test_a_definition_expands_bars_and_rules(tmp_path: Path) -> None:
    market = load(tmp_path, TINY)
    assert list(market.series) == ["cpi", "plot", "big.close", "small.close"]
    price = market.series["big.close"]
    assert (price.shape, price.column, price.frequency, price.known.time.isoformat()) == (
        "bars", "close", "daily", "15:15:00",
    )  # fmt: skip
    assert market.headline == "big-small"
    assert market.features["momentum"].scope == "pair"
    assert market.features["prices"].scope == "market"
    assert market.used_series() == {"cpi", "big.close", "small.close"}
    with pytest.raises(ValidationError, match="frozen"):
        market.series["cpi"].stale_days = 3  # type: ignore[misc]


def test_the_hash_follows_the_content_not_the_layout(tmp_path: Path) -> None:
    base = load(tmp_path, TINY).config_hash
    assert re.fullmatch(r"[0-9a-f]{16}", base)
    assert load(tmp_path, "# a comment\n" + TINY.replace('kind = "sessions", ', 'kind="sessions",')).config_hash == base
    assert load(tmp_path, TINY.replace("change(20)", "change(21)")).config_hash != base
    assert load(tmp_path, TINY.replace("day = 16", "day = 17")).config_hash != base


BAD = {
    "unknown key at the top": ('title = "Tiny"', 'title = "Tiny"\ncolour = "red"', "`colour`: Extra inputs"),
    "unknown key of a series": ("stale_days = 75 }", "stale_days = 75, lag = 3 }", "`series.cpi.lag`: Extra inputs"),
    "unknown key of bars": ("columns = { close = {} }", "columns = { close = { lag = 1 } }", "`series.big.close.lag`"),
    "unknown key of a rule that nothing uses": (
        "[rules]\n",
        '[rules]\nspare = { kind = "days", lagg = 1 }\n',
        "`rules.spare.lagg`: Extra inputs",
    ),
    "missing key": (', why = "a test" }\nmomentum', " }\nmomentum", "`features.prices.why`: Field required"),
    "unknown rule": ('known = "mid_month"', 'known = "midmonth"', "`series.cpi.known`: names the unknown rule"),
    "no rule": ('known = "mid_month", ', "", "`series.cpi.known`"),
    "unknown kind of rule": ('kind = "month"', 'kind = "moon"', "`rules.mid_month.kind`: Input should be 'sessions'"),
    "a month rule without a day": ("day = 16", "offset = 2", "`rules.mid_month`: a `month` rule needs either"),
    "day 0": ("day = 16", "day = 0", "`rules.mid_month`: a `month` rule needs either"),
    "a rule that looks back": ("day = 16", "day = 16, offset = -1", "`rules.mid_month.offset`"),
    "no time": ('time = "15:15"', 'time = "a quarter past"', "`rules.close.time`: Invalid isoformat"),
    "unknown series of a feature": ('["cpi"]', '["cpl"]', "feature prices names the unknown series cpl"),
    "unknown series of a pair feature": (
        "{small}.close",
        "{small}.clothes",
        r"feature momentum names the unknown series \{small\}.clothes",
    ),
    "unknown placeholder": ("{small}.close", "{smal}.close", r"feature momentum names the unknown series \{smal\}"),
    "unknown series of a segment": ('price = "big.close"', 'price = "big.open"', "segment big names the unknown"),
    "unknown segment of a pair": ('small = "small", headline', 'small = "tiny", headline', "pair big-small names"),
    "a pair upside down": (
        'large = "big", small = "small"',
        'large = "small", small = "big"',
        "rank of `large` must be smaller",
    ),
    "two headlines": (
        "[rules]",
        '[pairs.other]\nlarge = "big"\nsmall = "small"\nheadline = true\n[rules]',
        "exactly one pair must",
    ),
    "unknown segment of the levered book": (
        "[rules]",
        '[leverage]\nlong = "tiny"\nhedge = "big"\n[rules]',
        "leverage names the unknown segment tiny",
    ),
    "unknown discount of the levered book": (
        "[rules]",
        '[leverage]\nlong = "small"\nhedge = "big"\ndiscount = "basis"\n[rules]',
        "leverage names the unknown series basis",
    ),
    "a feature in the scenario set's family": (
        'prices = { family = "macro"',
        'prices = { family = "scenario"',
        "feature prices is of family scenario, which is the scenario set's own",
    ),
    "no headline": (", headline = true", "", "exactly one pair must be the headline"),
    "a label in a feature": ('["cpi"]', '["plot"]', "feature prices uses plot, which is for labels and plots only"),
    "a label in a pair feature": (
        "columns = { close = {} } }\nsmall",
        "columns = { close = { label_only = true } } }\nsmall",
        "feature momentum uses big.close, which is for labels",
    ),
    "unknown transform": ("change(12)", "derivative(12)", "feature prices has a bad formula 'derivative.12.': "),
    "a lag into the future": ("change(12)", "change(-1)", "feature prices has a bad formula"),
    "unknown state": ("change(12)", "state:mood", "feature prices reads the unknown state 'state:mood'; known: age"),
    "no inputs": ('["cpi"]', "[]", "feature prices has no `inputs`"),
    "sign": ("sign = 1", "sign = 2", "`features.momentum.sign`: Input should be -1, 0 or 1"),
    "range": ("stale_days = 75", "stale_days = 75, range = [5, 1]", r"`series.cpi`: `range` must be \[low, high\]"),
    "lifetime": ("stale_days = 75", "born = 2015-01-01, died = 2014-01-01, stale_days = 75", "lies before `born`"),
    "breaks": (
        "stale_days = 75",
        "stale_days = 75, breaks = [{ date = 2015-01-01, factor = 0 }]",
        "series.cpi.breaks.0",
    ),
    "breaks out of order": (
        "stale_days = 75",
        "stale_days = 75, breaks = [{ date = 2015-01-01, factor = 2 }, { date = 2014-01-01, factor = 2 }]",
        "`breaks` must be in the order",
    ),
    "staleness": ("stale_days = 75", "stale_days = 0", "`series.cpi.stale_days`: Input should be greater than 0"),
    "time zone": ("Asia/Shanghai", "Asia/Shanghigh", "`schedule.timezone`: no time zone is called 'Asia/Shanghigh'"),
    "declared twice": (
        "[series]",
        '[series]\n"big.close" = { file = "x.csv" }',
        "`bars.big`: the series big.close is declared twice",
    ),
    "releases without a key": ('shape = "monthly"', 'shape = "releases"', "the shape `releases` needs a `key`"),
    "no TOML": ("[features]", "[features", "tiny.toml: not valid TOML: .*line"),
    "old vintages of nothing": (
        "[features]",
        '[[vintage_files]]\nfiles = ["2020-01.csv"]\ndate_column = "d"\nknown = { kind = "days" }\n'
        'columns = { A = "a" }\n'
        "[features]",
        "vintage file 2020-01.csv names the unknown series a",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_definition_names_file_and_key(tmp_path: Path, case: str) -> None:
    old, new, message = BAD[case]
    assert old in TINY
    with pytest.raises(DefinitionError, match=message) as caught:
        load(tmp_path, TINY.replace(old, new, 1))
    assert str(caught.value).startswith(str(tmp_path / "tiny.toml"))
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    "text", ["pairs = 3", "series = { x = 3 }", "bars = { x = { columns = 3 } }", "features = 1", ""]
)
def test_a_definition_of_the_wrong_shape(tmp_path: Path, text: str) -> None:
    with pytest.raises(DefinitionError, match=r"tiny\.toml: `"):
        load(tmp_path, text)


def test_a_definition_in_another_encoding(tmp_path: Path) -> None:
    path = tmp_path / "tiny.toml"
    path.write_bytes(TINY.encode("gbk"))
    with pytest.raises(DefinitionError, match=r"tiny\.toml: not UTF-8 text.*save it as UTF-8"):
        load_market(str(path))


@pytest.mark.parametrize("name", ["cm", "nowhere/cn.toml", "README.md", ""])
def test_a_market_that_does_not_exist(name: str) -> None:
    with pytest.raises(
        DefinitionError, match=f"one of cn, europe, japan, sample, us or the path of a .toml file; got '{name}'"
    ):
        load_market(name)


# ------------------------------------------------------------------------------------------------------- what ships
def test_five_markets_ship() -> None:
    assert builtin_markets() == sorted(NAMES + FACTORS)


@pytest.mark.parametrize("name", FACTORS)
def test_a_market_of_factors(name: str) -> None:
    market = load_market(name)
    assert (market.name, market.headline, list(market.pairs), market.simulated) == (name, "smb", ["smb"], False)
    families = {feature.family for feature in market.features.values()}
    assert families == {"macro", "flows", "rates", "crowding", "leverage", "style", "calendar"}
    # Sealed as a whole: nothing that is shown reaches the first forecast.
    assert market.schedule.scored_until is not None
    assert market.schedule.scored_until < market.schedule.first_decision
    # What lies in another market's folder is optional; what the line is made of is not.
    for name_of, series in market.series.items():
        assert series.file is not None
        assert series.file.startswith((f"{name}/", "us/"))
        assert series.optional or name_of in ("market.index", "small.index", "ff_smb")


@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_definition(name: str) -> None:
    market = load_market(name)
    assert market.name == name
    assert market.simulated == (name == "sample")
    assert ("SIMULATED" in market.title) == market.simulated
    assert 40 <= len(market.features) <= 60
    families = pd.Series([feature.family for feature in market.features.values()]).value_counts()
    assert families["calendar"] == 1
    assert families.drop("calendar").min() >= 4
    assert len(families) == 8
    # Every input that a feature asks of each pair is declared, or the feature is absent for that pair only.
    for feature in market.features.values():
        assert feature.why
        assert feature.unit
    assert all(pair.large == next(iter(market.segments)) for pair in market.pairs.values())


def test_the_headline_and_pairs_of_china() -> None:
    market = load_market("cn")
    assert market.headline == "csi300-csi1000"
    assert sorted(market.pairs) == ["csi300-cni2000", "csi300-csi1000", "csi300-csi500", "csi300-micro400"]
    assert load_market("us").headline == "spy-iwm"


def test_what_users_have_and_the_shared_data_do_not_is_declared() -> None:
    market = load_market("cn")
    missing = {"fund_issuance", "private_fund_aum", "dma_balance", "aa_spread", "csi2000.close"}
    missing |= {f"{segment}.{ratio}" for segment in ("csi1000", "cni2000") for ratio in ("pe", "pb")}
    # Crowding is computed from a file of stocks, which the shared data have.
    apart = ("csi2000", "crowd.")
    optional = {name for name, spec in market.series.items() if spec.optional and not name.startswith(apart)}
    assert optional == missing - {"csi2000.close"}
    assert missing <= set(market.series)
    assert missing - {"csi2000.close"} <= market.used_series() | {"csi1000.pb", "cni2000.pb"}


def test_vintages_are_marked() -> None:
    cn, us = load_market("cn"), load_market("us")
    current = {name for name, spec in cn.series.items() if spec.vintage == "current"}
    assert current == {
        "m1_yoy", "m1_level", "rmb_loans_tsf_basis", "tsf_flow", "tsf_rmb_loans", "tsf_corp_bonds",
    }  # fmt: skip
    assert us.series["USREC"].label_only
    for name in ("cfnai", "conference_board_lei", "usslind"):
        assert us.series[name].label_only
    assert all(spec.vintage == "computed" for name, spec in cn.series.items() if name.startswith(("micro400", "size_")))


# ------------------------------------------------------------------------------------------------------- real data
TABLES = {"cn/policy_events.csv", "cn/index_futures_contracts.csv", "cn/stocks.parquet"}
"""Tables of their own: events for plots, all futures contracts, stocks."""


@pytest.mark.real
def test_every_file_of_the_shared_data_is_read_by_some_series(real_data: Path) -> None:
    declared = set()
    for name in ("cn", "us"):
        market = load_market(name)
        declared |= {spec.file for spec in market.series.values() if spec.file is not None}
        declared |= {file for group in market.vintage_files for file in group.files}
    there = {
        path.relative_to(real_data).as_posix() for path in real_data.rglob("*") if path.suffix in (".csv", ".parquet")
    }
    assert there - declared == TABLES
    optional = {spec.file for spec in load_market("cn").series.values() if spec.optional and spec.file is not None}
    assert declared - there == optional


@pytest.mark.real
def test_every_column_of_the_release_stream_and_the_deciles_is_read(real_data: Path) -> None:
    market = load_market("cn")
    keys = set(pd.read_csv(real_data / "cn" / "releases.csv")["series"])
    assert keys == {spec.key for spec in market.series.values() if spec.shape == "releases"}
    columns = set(pd.read_csv(real_data / "cn" / "size_deciles.csv", nrows=1)) - {"date"}
    assert columns == {spec.column for spec in market.series.values() if spec.file == "cn/size_deciles.csv"}


@pytest.fixture(scope="module", params=["cn", pytest.param("us", marks=pytest.mark.slow)])
def dataset(
    request: pytest.FixtureRequest, real_data: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[MarketSpec, Dataset]:
    """The panel of a real market, built once."""
    market, now = load_market(request.param), np.datetime64("2023-12-01", "us")
    store = Store(tmp_path_factory.mktemp("real") / "store.duckdb")
    ingest(store, market, read_folder(market, real_data, now).observations, now)
    return market, build_dataset(store.observations(market.name), market, np.datetime64("2023-11-24", "us"))


@pytest.mark.real
def test_four_features_of_every_family_are_live(dataset: tuple[MarketSpec, Dataset]) -> None:
    """At four decisions of five of each year, for every pair."""
    market, data = dataset
    family = {name: feature.family for name, feature in market.features.items() if feature.family != "calendar"}
    for pair in market.pairs:
        values = data.values.loc[pair, list(family)]
        live = values.notna().groupby(values.index.year).mean() > 0.8  # type: ignore[attr-defined]
        count = live.T.groupby(family).sum()
        for year in (*range(2012, 2019), 2023):
            assert count[year].min() >= 4, f"{pair} {year}: {count[year].to_dict()}"


@pytest.mark.real
def test_no_two_features_say_the_same(dataset: tuple[MarketSpec, Dataset]) -> None:
    market, data = dataset
    for pair in market.pairs:
        alike = data.values.loc[pair].corr(min_periods=104).abs().to_numpy(copy=True)
        np.fill_diagonal(alike, 0.0)
        row, column = np.unravel_index(np.nanargmax(alike), alike.shape)
        names = list(market.features)
        assert alike[row, column] <= 0.95, f"{pair}: {names[row]} and {names[column]}"
