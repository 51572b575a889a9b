"""Claims against figures: the verdict, each kind of figure by hand, nothing later, and claims that have not moved."""

import hashlib
import json
import tomllib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from features.calendar import TradingCalendar
from features.errors import DataContractError, DefinitionError
from features.market import load_market
from serving import cli
from serving.article import article_markdown, check_claims, verdict_of
from serving.article_data import ArticleData
from serving.article_figures import figure_of
from serving.article_units import Figure
from serving.claim_spec import ClaimSet, Near, Side, load_claims
from tests.conftest import ROOT

DAY = np.datetime64("2023-11-24", "us")
MARKET = load_market("cn")
SESSIONS = pd.DatetimeIndex(TradingCalendar.build("XSHG", "2019-01-01", "2023-11-30").sessions)
PRICES = ("csi300.close", "csi500.close", "csi1000.close", "cni2000.close", "micro400.close")
# Digest of the claims in the commit "Claims of late 2023 with their tolerances, before any figure".
COMMITTED = "8eaea20791578d5ef9d2dfe077573ee4b9cfe31c89f3b5552ce108ff728ee12f"


def _rows(name: str, value: np.ndarray, period: pd.DatetimeIndex = SESSIONS) -> pd.DataFrame:
    known = (period + pd.Timedelta(hours=7, minutes=15)).astype("datetime64[us]")
    return pd.DataFrame({"series": name, "period": period.astype("datetime64[us]"), "known_at": known, "value": value})


def _observations() -> pd.DataFrame:
    rng = np.random.default_rng(3)
    market = rng.normal(0, 0.01, len(SESSIONS))
    frames = []
    for rank, name in enumerate(PRICES):
        moves = market + rng.normal(0, 0.002 * (1 + rank), len(SESSIONS)) + 0.0004 * rank
        frames.append(_rows(name, 1000 * np.exp(np.cumsum(moves))))
    frames.append(_rows("basis_ic", np.where(SESSIONS.year == 2022, -7.0, -4.0)))
    frames.append(_rows("northbound_net_flow", rng.normal(0, 50, len(SESSIONS))))
    return pd.concat(frames, ignore_index=True)


OBSERVATIONS = _observations()


def _stock_file(folder: Path, until: str = "2023-11-30", shift: float = 0.0) -> Path:
    """Thirty stocks that trade every session; `shift` moves the price of the smallest ten after the day."""
    sessions = SESSIONS[(SESSIONS >= "2021-01-04") & (until >= SESSIONS)]
    rng = np.random.default_rng(5)
    frames = []
    for number in range(30):
        ret = rng.normal(0.0005, 0.01, len(sessions)).round(5)
        if number < 10:
            ret[sessions > pd.Timestamp(DAY)] += shift
        frames.append(
            pd.DataFrame({
                "date": sessions, "code": f"{600000 + number}", "close": 10 * np.cumprod(1 + ret), "ret": ret,
                "is_st": False, "total_shares_10k": 1000.0 * 1.3**number,
            })
        )  # fmt: skip
    path = folder / "stocks.parquet"
    pd.concat(frames, ignore_index=True).to_parquet(path, index=False)
    return path


def _data(observations: pd.DataFrame = OBSERVATIONS, stocks: Path | None = None) -> ArticleData:
    return ArticleData(MARKET, observations, DAY, stocks)


def _claims(*figures: dict[str, object]) -> ClaimSet:
    entries = []
    for number, figure in enumerate(figures):
        kind = figure["kind"]
        expect: dict[str, object] | None = {"kind": "above", "value": 0.0, "tolerance": 0.0}
        if kind == "state_gap":
            expect = {"kind": "negative", "level": 0.9}
        entry = {"id": str(number), "says": "x", "figure": figure, "unit": "return"}
        entries.append(entry if kind == "none" else entry | {"expect": expect})
    return ClaimSet.model_validate({"as_of": "2023-11-24", "source": "test", "claims": entries})


def _figure(data: ArticleData | None = None, **spec: object) -> Figure:
    (claim,) = _claims(spec).claims
    return figure_of(claim.figure, _data() if data is None else data)


def _close(name: str) -> pd.Series:
    rows = OBSERVATIONS[OBSERVATIONS["series"] == name]
    return rows.set_index("period")["value"].loc[: pd.Timestamp(DAY)]


@pytest.mark.parametrize(
    ("kind", "value", "verdict"),
    [("about", 0.3, "agrees"), ("about", 0.5, "agrees"), ("about", 0.501, "differs"), ("about", 0.299, "differs"),
     ("above", 0.301, "agrees"), ("above", 0.3, "differs"), ("below", 0.499, "agrees"), ("below", 0.5, "differs")],
)  # fmt: skip
def test_verdict_of_a_number(kind: str, value: float, verdict: str) -> None:
    expect = Near.model_validate({"kind": kind, "value": 0.4, "tolerance": 0.1})
    assert verdict_of(expect, Figure(value, "")) == (verdict, "")


@pytest.mark.parametrize(
    ("kind", "low", "high", "verdict"),
    [("positive", 0.1, 0.2, "agrees"), ("positive", -0.2, -0.1, "differs"), ("negative", -0.2, -0.1, "agrees"),
     ("negative", 0.1, 0.2, "differs"), ("negative", -0.2, 0.1, "cannot be checked"),
     ("positive", 0.0, 0.1, "cannot be checked"), ("positive", None, None, "cannot be checked")],
)  # fmt: skip
def test_verdict_of_an_influence(kind: str, low: float | None, high: float | None, verdict: str) -> None:
    expect = Side.model_validate({"kind": kind, "level": 0.9})
    said, why = verdict_of(expect, Figure(0.0, "", low, high))
    assert said == verdict
    assert bool(why) == (verdict == "cannot be checked")


def test_the_claims_are_those_committed_before_the_figures() -> None:
    text = (ROOT / "serving" / "claims" / "cn.toml").read_text(encoding="utf-8")
    entries = [entry for entry in tomllib.loads(text)["claims"] if not entry.get("added")]
    plain = [{key: entry.get(key) for key in ("id", "says", "figure", "expect", "unit")} for entry in entries]
    assert len(plain) == 31
    assert hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest() == COMMITTED
    kept = [claim for claim in load_claims("cn").claims if not claim.added]
    # The rule of the file: a quarter of what is claimed, nothing for an order.
    for claim in kept:
        if isinstance(claim.expect, Near) and claim.expect.kind == "about" and claim.expect.value:
            assert claim.expect.tolerance == pytest.approx(claim.expect.value / 4)


def test_gain_since_the_year_began() -> None:
    found = _figure(kind="gain", series="micro400.close", less="csi500.close", since="year")
    micro, mid = (_close(name) for name in ("micro400.close", "csi500.close"))
    expected = micro.iloc[-1] / micro.loc["2022-12-30"] - mid.iloc[-1] / mid.loc["2022-12-30"]
    assert found.value == pytest.approx(expected)


def test_order_is_the_smallest_step() -> None:
    names = ("csi300.close", "cni2000.close", "micro400.close")
    total = [_close(name).iloc[-1] / _close(name).loc["2021-11-24"] - 1 for name in names]
    assert _figure(kind="order", series=names, since="2y").value == pytest.approx(min(np.diff(total)))


def test_correlation_of_excess_returns() -> None:
    found = _figure(kind="correlation", a="cni2000.close", b="micro400.close", less="csi300.close", since="1y")
    large, mid, small = (np.log(_close(n)).diff() for n in ("csi300.close", "cni2000.close", "micro400.close"))
    after = mid.index > pd.Timestamp("2022-11-24")
    assert found.value == pytest.approx(np.corrcoef((mid - large)[after], (small - large)[after])[0, 1])
    assert found.low is not None
    assert found.high is not None
    assert found.low < found.value < found.high


def test_means_of_windows() -> None:
    assert _figure(kind="mean", series="basis_ic", window="previous_year", scale=-0.01).value == pytest.approx(0.07)
    change = _figure(kind="mean_change", series="basis_ic", before="previous_year", after="60_sessions", scale=-0.01)
    assert change.value == pytest.approx(-0.03)


def test_best_week_of_a_levered_book() -> None:
    found = _figure(kind="best_week", long="micro400.close", hedge="csi500.close", leverage=4.0, since="year")
    ends = _data().decisions()
    weekly = pd.DataFrame({name: _close(name).reindex(ends) for name in ("micro400.close", "csi500.close")})
    moves = weekly.pct_change().loc["2023-01-01":]
    assert found.value == pytest.approx(4 * (moves["micro400.close"] - moves["csi500.close"]).max())


def test_worst_window_is_its_least_harmful_part() -> None:
    found = _figure(
        kind="worst_window", long="micro400.close", hedge="csi500.close", discount="basis_ic", leverage=4.0,
        sessions=20, financing=0.045,
    )  # fmt: skip
    assert found.value == pytest.approx(-3 * 0.045 * 20 / 242)


def test_change_of_yearly_gains() -> None:
    found = _figure(
        kind="gain_change", series="csi500.close", less="csi300.close", recent="1y", before_years=2
    )  # fmt: skip
    years = []
    for first, last in (("2022-11-24", "2023-11-24"), ("2021-11-24", "2022-11-24"), ("2020-11-24", "2021-11-24")):
        mid, large = (_close(name) for name in ("csi500.close", "csi300.close"))
        years.append(mid.loc[last] / mid.loc[first] - large.loc[last] / large.loc[first])
    assert found.value == pytest.approx(years[0] - np.mean(years[1:]))


def test_gap_between_months() -> None:
    found = _figure(
        kind="state_gap", long="micro400.close", less="csi300.close", state="northbound_net_flow", reduce="sum",
        when="above",
    )  # fmt: skip
    excess = np.log(_close("micro400.close")) - np.log(_close("csi300.close"))
    monthly = excess.groupby(excess.index.to_period("M")).last().diff().dropna().loc[:"2023-10"]
    flow = _close("northbound_net_flow")
    state = flow.groupby(flow.index.to_period("M")).sum().reindex(monthly.index)
    above = state > state.median()
    assert found.value == pytest.approx(monthly[above].mean() - monthly[~above].mean())
    # The month that is not over is not counted.
    assert found.detail.endswith("2023-10")


def test_style_in_force_is_that_of_the_dataset() -> None:
    from features.dataset import build_dataset

    rows = build_dataset(OBSERVATIONS, MARKET, DAY).rows
    style = rows.xs(pd.Timestamp(DAY), level="decision_date")["style"]
    assert len(style) == 4
    assert _figure(kind="style_in_force").value == pytest.approx(float((style > 0).mean()))


def test_figures_of_single_stocks(tmp_path: Path) -> None:
    data = _data(stocks=_stock_file(tmp_path))
    assert data.members("smallest:10") == [f"{600000 + number}" for number in range(10)]
    same = _figure(data, kind="overlap", small="smallest:10", large="band:11-25", review="half-yearly")
    # Shares differ by 30% from one stock to the next: ranks hardly move, and bands from both ends share five stocks.
    assert same.value == pytest.approx(0.5, abs=0.11)
    assert same.detail.endswith("review in force since 2023-07-03")
    gap = _figure(data, kind="value_gap", pair=["largest:10", "smallest:10"], against=["largest:10", "band:11-20"],
                  **{"as": "multiple"})  # fmt: skip
    panel = data.panel()
    cap = dict(zip(panel.codes.tolist(), panel.cap[-1].tolist(), strict=True))
    mean = [np.mean([cap[code] for code in data.members(rule)]) for rule in ("band:11-20", "smallest:10")]
    assert gap.value == pytest.approx(mean[0] / mean[1])
    assert panel.dates[-1] == DAY
    moved = _figure(data, kind="rebalance_gap", rule="smallest:10", often="daily", seldom="half-yearly", since="year")
    often, seldom = (
        data.index("smallest:10", how).frame.set_index("date")["level"] for how in ("daily", "half-yearly")
    )
    assert moved.value == pytest.approx(
        often.iloc[-1] / often.loc["2022-12-30"] - seldom.iloc[-1] / seldom.loc["2022-12-30"]
    )
    fund = {"fund": "band:11-20", "rebalance": "half-yearly", "since": "1y"}
    assert abs(_figure(data, kind="fund_correlation", **fund, **{"with": "micro400.close"}).value) < 0.3
    assert abs(_figure(data, kind="fund_exposure", **fund).value) < 0.3


ALL = (
    {"kind": "gain", "series": "micro400.close", "less": "csi500.close", "since": "year"},
    {"kind": "correlation", "a": "micro400.close", "b": "csi500.close", "since": "1y"},
    {"kind": "mean", "series": "basis_ic", "window": "60_sessions", "scale": -0.01},
    {"kind": "best_week", "long": "micro400.close", "hedge": "csi500.close", "leverage": 4.0, "since": "year"},
    {"kind": "state_gap", "long": "micro400.close", "less": "csi300.close", "state": "northbound_net_flow",
     "reduce": "sum", "when": "above"},
    {"kind": "style_in_force"},
    {"kind": "overlap", "small": "smallest:10", "large": "band:11-25", "review": "half-yearly"},
    {"kind": "value_gap", "pair": ["largest:10", "smallest:10"], "against": ["largest:10", "band:11-20"],
     "as": "multiple"},
    {"kind": "rebalance_gap", "rule": "smallest:10", "often": "daily", "seldom": "half-yearly", "since": "year"},
)  # fmt: skip


def test_nothing_later_is_read(tmp_path: Path) -> None:
    claims = _claims(*ALL)
    before = check_claims(claims, _data(stocks=_stock_file(tmp_path)))
    late = OBSERVATIONS["known_at"] > pd.Timestamp("2023-11-24 07:30")
    shaken = OBSERVATIONS.assign(value=OBSERVATIONS["value"].where(~late, OBSERVATIONS["value"] * 3))
    after = check_claims(claims, _data(shaken, _stock_file(tmp_path, shift=0.03)))
    assert all(row.figure is not None for row in before.rows), [row.why for row in before.rows]
    assert before.rows == after.rows
    # Positive control: the day itself counts.
    day = OBSERVATIONS["period"] == pd.Timestamp(DAY)
    other = check_claims(claims, _data(OBSERVATIONS.assign(value=OBSERVATIONS["value"].where(~day, 900.0))))
    assert other.rows[0] != before.rows[0]


def test_what_is_missing_leaves_its_claim_unchecked() -> None:
    none = {"kind": "none", "why": "nobody knows"}
    stale = OBSERVATIONS[(OBSERVATIONS["series"] != "basis_ic") | (OBSERVATIONS["period"] < pd.Timestamp("2023-10-01"))]
    article = check_claims(_claims(*ALL, none), _data(stale))
    why = {row.claim.figure.kind: row.why for row in article.rows if row.verdict == "cannot be checked"}
    assert why["none"] == "nobody knows"
    assert "basis_ic must be known on 2023-11-24" in why["mean"]
    assert "needs a file of stocks" in why["overlap"]
    assert "gain" not in why


def test_a_stock_file_that_ends_early_is_said(tmp_path: Path) -> None:
    data = _data(stocks=_stock_file(tmp_path, until="2023-11-20"))
    with pytest.raises(DataContractError, match="must reach 2023-11-24"):
        data.panel()


def test_page_and_json_say_the_same(tmp_path: Path) -> None:
    article = check_claims(_claims(*ALL[:3]), _data())
    page = article_markdown(article, "capshift article")
    content = article.to_json()
    assert page.count("| **agrees** |") == sum(row["verdict"] == "agrees" for row in content["claims"])
    assert content["conclusion"] in page
    assert "`cn/bars/microcap400_monthly.csv`" in page
    json.dumps(content, allow_nan=False)


@pytest.mark.parametrize(
    ("change", "message"),
    [({"expect": None}, "a figure needs `expect`"), ({"expect": {"kind": "positive", "level": 0.9}}, "gap of states"),
     ({"figure": {"kind": "guess"}}, "guess"), ({"unit": "furlongs"}, "unit")],
)  # fmt: skip
def test_a_claim_that_makes_no_sense_is_refused(change: dict[str, object], message: str) -> None:
    claim = {"id": "1", "says": "x", "figure": ALL[0], "unit": "points",
             "expect": {"kind": "about", "value": 1.0, "tolerance": 0.1}}  # fmt: skip
    with pytest.raises(ValueError, match=message):
        ClaimSet.model_validate({"as_of": "2023-11-24", "source": "x", "claims": [claim | change]})
    with pytest.raises(ValueError, match="stands there twice"):
        ClaimSet.model_validate({"as_of": "2023-11-24", "source": "x", "claims": [claim, claim]})


def test_a_market_without_claims_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert issubclass(DefinitionError, DataContractError)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["capshift", "article", "--market", "us"])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code == 2
    assert "`market` must be one with claims: cn" in capsys.readouterr().err
