"""The commands `style` and `eligible` as a user meets them, and that nothing known later moves their answers."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from features.dataset import decision_times, market_calendar
from features.errors import DataContractError, StaleDataError
from features.frames import OBSERVATION_COLUMNS
from features.market import MarketSpec, load_market
from features.store import Store
from models.correlation import Estimate
from models.eligibility import EligibilityRule
from models.style_analysis import StyleSettings, verdict_of
from serving import cli
from serving.eligible import eligible_report
from serving.output import store_path
from serving.segments import closes_as_of, find_segment, size_ladder
from serving.style import style_report
from tests.features.real import LAST_DECISION, real_observations
from tests.models.ladder import FIFTH_MICRO, ONLY_2000, fund_of, ladder

Run = tuple[int, str, str]
SPEC = load_market("sample")
FRIDAY = "2021-06-25"
"""The last decision with prices."""
SESSIONS = market_calendar(SPEC, np.datetime64("2021-06-30", "us")).sessions
DAYS = SESSIONS[np.searchsorted(SESSIONS, np.datetime64("2019-06-03")) :]
DAYS = DAYS[: np.searchsorted(DAYS, np.datetime64(FRIDAY)) + 1]
RETURNS = ladder(3, len(DAYS)).set_axis(pd.DatetimeIndex(DAYS, name="date")).set_axis(size_ladder(SPEC), axis=1)


def day_text(place: int) -> str:
    return str(DAYS[place])[:10]


def price_rows(returns: pd.DataFrame, spec: MarketSpec = SPEC) -> pd.DataFrame:
    """Turn returns of the segments into observations that are known at 15:00 of their day."""
    known = decision_times(spec, returns.index.to_numpy("datetime64[us]")) - np.timedelta64(30, "m")
    closes = 1000 * (1 + returns).cumprod()
    frames = [
        pd.DataFrame(
            {"series": spec.segments[name].price, "period": returns.index, "known_at": known, "value": closes[name]}
        )
        for name in returns
    ]
    rows = pd.concat(frames, ignore_index=True).assign(estimated=False, revision=False)
    return rows.astype({"period": "datetime64[us]", "known_at": "datetime64[us]"})[list(OBSERVATION_COLUMNS)]


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("artifacts")
    Store(store_path(folder)).append("sample", price_rows(RETURNS), np.datetime64("2021-07-01", "us"))
    return folder


@pytest.fixture
def run(artifacts: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Call the command line in this process, with the store; returns exit code, standard output and standard error."""

    def call(*words: str, folder: Path = artifacts) -> Run:
        monkeypatch.setattr(sys, "argv", ["capshift", *words, "--artifacts", str(folder)])
        code = 0
        try:
            cli.main()
        except SystemExit as stop:
            code = int(stop.code or 0)
        return code, *capsys.readouterr()

    return call


def fund_frame(weights: list[float] = ONLY_2000, days: int = 130, seed: int = 1) -> pd.DataFrame:
    fund = fund_of(RETURNS, weights, seed)[-days:]
    return pd.DataFrame({"date": RETURNS.index[-days:].strftime("%Y-%m-%d"), "return": fund.round(8)})


def save(frame: pd.DataFrame, folder: Path, name: str = "fund.csv") -> str:
    path = folder / name
    frame.to_csv(path, index=False)
    return str(path)


class TestStyle:
    @pytest.mark.parametrize(
        ("weights", "verdict", "word"),
        [(ONLY_2000, "no_micro", "No micro-caps seen"), (FIFTH_MICRO, "micro", "Micro-cap:")],
    )
    def test_table_json_and_file_say_the_same(
        self, run, tmp_path: Path, weights: list[float], verdict: str, word: str
    ) -> None:
        returns, out = save(fund_frame(weights), tmp_path), tmp_path / "new" / "style.json"
        code, text, err = run("style", "--returns", returns, "--json", "--out", str(out))
        assert code == 0, err
        content = json.loads(text)
        assert content == json.loads(out.read_text(encoding="utf-8"))
        assert content["verdict"] == content["window"]["verdict"] == verdict
        assert content["simulated"] is True
        assert (content["window"]["days"], content["whole"]["days"], len(content["rolling"])) == (120, 130, 11)
        assert [tier["segment"] for tier in content["window"]["tiers"]] == size_ladder(SPEC)
        assert content["window"]["last"] == content["decision_date"] == FRIDAY
        code, table, _ = run("style", "--returns", returns)
        assert code == 0
        assert " ".join(table.split()).find(content["conclusion"]) > 0
        assert content["conclusion"].startswith(word)
        assert "SIMULATED" in table
        assert all(SPEC.segments[name].name in table for name in size_ladder(SPEC))

    def test_nav_and_parquet_give_the_same_as_returns_in_csv(self, run, tmp_path: Path) -> None:
        frame = fund_frame()
        expected = json.loads(run("style", "--returns", save(frame, tmp_path), "--json")[1])
        before = {"date": [DAYS[-131].astype(str)[:10]], "nav": [1.5]}
        nav = pd.DataFrame({"date": frame["date"], "nav": 1.5 * (1 + frame["return"]).cumprod()})
        path = tmp_path / "fund.parquet"
        nav = pd.concat([pd.DataFrame(before), nav], ignore_index=True)
        for dates in (nav["date"], pd.to_datetime(nav["date"]), pd.to_datetime(nav["date"]).dt.date):
            nav.assign(date=dates).to_parquet(path)
            got = json.loads(run("style", "--returns", str(path), "--json")[1])
            assert got["conclusion"] == expected["conclusion"]
            assert got["whole"]["days"] == 130
            assert got["whole"]["r_squared"] == pytest.approx(expected["whole"]["r_squared"], abs=1e-6)

    def test_a_byte_order_mark_spaces_and_other_columns_do_no_harm(self, run, tmp_path: Path) -> None:
        frame = fund_frame()
        plain = run("style", "--returns", save(frame, tmp_path), "--json")
        text = "\ufeff" + frame.assign(name="A fund").rename(columns={"date": " date"}).to_csv(index=False)
        path = tmp_path / "excel.csv"
        path.write_text(text, encoding="utf-8")
        assert run("style", "--returns", str(path), "--json") == plain

    def test_an_earlier_decision_and_a_shorter_window(self, run, tmp_path: Path) -> None:
        returns = save(fund_frame(), tmp_path)
        content = json.loads(run("style", "--returns", returns, "--as-of", "2021-05-28", "--window", "60", "--json")[1])
        assert content["window"]["last"] == content["decision_date"] == "2021-05-28"
        assert content["window"]["days"] == 60
        assert "after the decision" in content["notes"][0]

    def test_a_fund_that_is_an_index_has_null_for_what_is_not_there(self, run, tmp_path: Path) -> None:
        frame = fund_frame().assign(**{"return": RETURNS["s2000"].to_numpy()[-130:]})
        code, text, err = run("style", "--returns", save(frame, tmp_path), "--json")
        assert code == 0, err
        assert json.loads(text)["window"]["partial"] == {"value": None, "low": None, "high": None}
        assert run("style", "--returns", save(frame, tmp_path))[0] == 0

    def test_days_without_a_price_are_left_out_and_named(self) -> None:
        rows = price_rows(RETURNS)
        hole = (rows["series"] == "micro.close") & rows["period"].isin(DAYS[-50:-48])
        fund = pd.Series(fund_of(RETURNS, ONLY_2000, 1), RETURNS.index)[-130:]
        report = style_report(SPEC, rows[~hole], np.datetime64(FRIDAY, "us"), fund, StyleSettings(draws=2))
        assert report.analysis.whole.days == 127
        assert "3 day(s)" in report.notes[0]

    @pytest.mark.parametrize(
        ("exposure", "words"),
        [
            (Estimate(0.25, 0.15, 0.35), ("Micro-cap:", "carries 25%", "15% to 35%")),
            (Estimate(0.06, 0.02, 0.10), ("Some micro-caps, less than 20%", "2% to 10%")),
            (Estimate(0.02, -0.06, 0.10), ("No micro-caps seen", "covers zero and rules out 20%", "−6% to 10%")),
            (Estimate(-0.2, -0.3, -0.1), ("No micro-caps seen", "lies below zero and rules out 20%")),
            (Estimate(0.001, 0.0005, 0.0015), ("No micro-caps seen", "trace below one percent")),
            (Estimate(0.10, -0.05, 0.25), ("Undecided", "covers zero but does not rule out 20%")),
        ],
    )
    def test_sentence_of_every_verdict(self, exposure: Estimate, words: tuple[str, ...]) -> None:
        fund = pd.Series(fund_of(RETURNS, ONLY_2000, 1), RETURNS.index)[-70:]
        report = style_report(
            SPEC, price_rows(RETURNS), np.datetime64(FRIDAY, "us"), fund, StyleSettings(window=60, draws=2)
        )
        fit = report.analysis.window
        fit = replace(fit, exposure=(*fit.exposure[:-1], exposure), verdict=verdict_of(exposure, 0.20))
        sentence = replace(report, analysis=replace(report.analysis, window=fit)).conclusion
        assert all(word in sentence for word in words), sentence


class TestEligible:
    def test_one_flag_takes_several_hedges_in_every_spelling(self, run) -> None:
        code, text, err = run("eligible", "--long", "micro", "--hedge", "s500", "s1000", "--as-of", FRIDAY, "--json")
        assert code == 0, err
        assert [hedge["segment"] for hedge in json.loads(text)["hedges"]] == ["s500", "s1000"]
        for words in (
            ["--hedge", "s500", "--hedge", "s1000", "--long", "micro"], ["--hedge=s500", "s1000", "--long", "mi"],
            ["--json", "--hedge", "s5", "s1", "--long=micro"],
        ):  # fmt: skip
            assert run("eligible", *words, "--as-of", FRIDAY, "--json") == (0, text, "")

    def test_numbers_are_those_of_log_returns(self, run, tmp_path: Path) -> None:
        out = tmp_path / "eligible.json"
        code, text, _ = run("eligible", "--long", "micro", "--hedge", "s300", "s2000", "--json", "--out", str(out))
        content = json.loads(text)
        assert code == 0
        assert content == json.loads(out.read_text(encoding="utf-8"))
        returns = (1 + RETURNS).transform(np.log).iloc[1:]
        for hedge in content["hedges"]:
            expected = returns["micro"][-252:].corr(returns[hedge["segment"]][-252:])
            assert hedge["correlation"]["value"] == pytest.approx(expected, abs=1e-9)
            assert hedge["eligible"] == (expected >= 0.8)
            assert hedge["path"][-1] == {"date": FRIDAY, "correlation": pytest.approx(expected, abs=1e-9)}
            assert hedge["share_days"] == len(returns) - 251
        assert "excess returns" in content["note"]

    def test_table_says_it_in_a_sentence(self, run) -> None:
        code, text, _ = run("eligible", "--long", "micro", "--hedge", "s300", "s2000")
        words = " ".join(text.split())
        assert code == 0
        assert "SIMULATED" in words
        assert "Micro caps is eligible against S2000 small caps (0." in words
        assert "not eligible against S300 large caps (0." in words
        assert "excess returns" in words

    def test_names_of_segments(self) -> None:
        cn = load_market("cn")
        found = {text: find_segment(cn, text, "--long") for text in ("micro", "micro400", "csi500", "csi1", "cni")}
        assert found == {
            "micro": "micro400",
            "micro400": "micro400",
            "csi500": "csi500",
            "csi1": "csi1000",
            "cni": "cni2000",
        }
        for text in ("csi", "c", "", "MICRO", "2000"):
            with pytest.raises(DataContractError, match="csi300, csi500, csi1000, cni2000, micro400"):
                find_segment(cn, text, "--long")

    def test_a_close_that_is_not_known_yet_is_stale(self) -> None:
        rows = price_rows(RETURNS)
        late = (rows["series"] == "micro.close") & (rows["period"] == pd.Timestamp(FRIDAY))
        rows.loc[late, "known_at"] += pd.Timedelta(hours=6)
        with pytest.raises(StaleDataError, match="micro"):
            eligible_report(SPEC, rows, np.datetime64(FRIDAY, "us"), "micro", ["s500"])


class TestBadInput:
    """One sentence, the exit code, the rows, the remedy; nothing is written."""

    def refused(self, result: Run, *words: str, code: int = 2) -> None:
        got, out, err = result
        assert (got, out) == (code, ""), err
        assert err.startswith("error:")
        assert "Traceback" not in err
        for word in words:
            assert word in err

    @pytest.mark.parametrize(
        ("spoil", "words"),
        [
            (lambda f: f.drop(index=[70, 71]), ("leaves out 2 session(s)", f"{day_text(-60)} to {day_text(-59)};")),
            (
                lambda f: f.drop(index=[1, 70, 128]),
                ("out 3 session(s)", f"{day_text(-129)}, {day_text(-60)}, {day_text(-2)};", "missing"),
            ),
            (lambda f: f.iloc[-59:], ("at least 60", "got 59")),
            (lambda f: f.iloc[:0], ("at least 60", "got 0")),
            (lambda f: pd.concat([f, f.iloc[-1:]]), ("repeat", "2 such row(s)", FRIDAY)),
            (lambda f: f.iloc[::-1], ("ascend", "sort")),
            (lambda f: f.assign(**{"return": f["return"].astype(str).where(f.index != 3, "n/a")}), ("number", "n/a")),
            (lambda f: f.assign(**{"return": (100 * f["return"]).astype(str) + "%"}), ("number", "percent signs")),
            (lambda f: f.assign(**{"return": 100 * f["return"]}), ("fractions", "divide by 100")),
            (lambda f: f.assign(**{"return": 15 * f["return"]}), ("fractions",)),
            (lambda f: f.assign(**{"return": f["return"].where(f.index != 3)}), ("missing", "line")),
            (lambda f: f.assign(**{"return": f["return"].where(f.index != 3, np.inf)}), ("finite",)),
            (lambda f: f.assign(date=f["date"].where(f.index != 129, "2021-06-26")), ("sessions", "2021-06-26")),
            (lambda f: f.assign(date=f["date"].where(f.index != 3, "3/9/2020")), ("YYYY-MM-DD", "3/9/2020")),
            (lambda f: f.assign(date=f["date"].where(f.index != 3, "")), ("YYYY-MM-DD",)),
            (lambda f: f.rename(columns={"return": "ret"}), ("date, ret", "`return`", "`nav`")),
            (lambda f: f.assign(nav=1.0), ("date, return, nav",)),
            (lambda f: f.rename(columns={"return": "nav"}).assign(nav=0.0), ("`nav` must be positive",)),
            (lambda f: f.assign(**{"return": 0.0}), ("constant",)),
            (lambda f: f.iloc[-100:], ("`window` must be at most the 100 days",)),
        ],
        ids=[
            "gap", "gaps", "short", "empty", "duplicate", "unsorted", "text", "percent signs", "percent", "wild", "nan",
            "infinite", "weekend", "american date", "no date", "no column", "both columns", "nav of zero", "still",
            "window",
        ],
    )  # fmt: skip
    def test_returns_file(
        self, run, tmp_path: Path, spoil: Callable[[pd.DataFrame], pd.DataFrame], words: tuple[str, ...]
    ) -> None:
        path, out = save(spoil(fund_frame()), tmp_path), tmp_path / "out.json"
        self.refused(run("style", "--returns", path, "--out", str(out)), *words)
        assert not out.exists()

    def test_files_that_are_no_tables(self, run, tmp_path: Path) -> None:
        self.refused(run("style", "--returns", str(tmp_path / "nowhere.csv")), "no such file", "`return`")
        self.refused(run("style", "--returns", str(tmp_path)), "cannot be read")
        for name, content in [("a.csv", b""), ("b.csv", b"\xff\xfe\x00\x01" * 50), ("c.parquet", b"no parquet" * 20)]:
            path = tmp_path / name
            path.write_bytes(content)
            self.refused(run("style", "--returns", str(path)), name, "`return`")

    def test_no_overlap_with_the_prices(self, run, tmp_path: Path) -> None:
        days = SESSIONS[: np.searchsorted(SESSIONS, np.datetime64("2018-01-01"))][-100:]
        frame = fund_frame(days=100).assign(date=pd.DatetimeIndex(days).strftime("%Y-%m-%d"))
        self.refused(run("style", "--returns", save(frame, tmp_path)), "share 0 day(s)", "--as-of")
        self.refused(
            run("style", "--returns", save(fund_frame(), tmp_path), "--as-of", "2020-09-25"), "share", "at least 60"
        )

    def test_options(self, run, tmp_path: Path) -> None:
        returns = save(fund_frame(), tmp_path)
        self.refused(run("style", "--returns", returns, "--window", "59"), "`window` must be at least 60")
        self.refused(run("style", "--returns", returns, "--window", "131"), "at most the 130 days")
        self.refused(run("style", "--returns", returns, "--as-of", "2021-06-23"), "decision day")
        self.refused(run("style", "--returns", returns, "--market", "mars"), "mars")
        self.refused(run("style", "--returns", returns, "--out", str(tmp_path)), "must be a file")
        self.refused(run("style"), "--returns")
        self.refused(run("eligible", "--long", "micro"), "--hedge")
        self.refused(run("eligible", "--long", "micro", "--hedge"), "--hedge")
        self.refused(run("eligible", "--hedge", "s500"), "--long")
        self.refused(run("eligible", "--long", "s", "--hedge", "s500"), "s300, s500", "could be")
        self.refused(run("eligible", "--long", "micro", "--hedge", "s500", "moon"), "moon", "s300, s500")
        self.refused(run("eligible", "--long", "micro", "--hedge", "s500", "micro"), "micro twice")
        self.refused(run("eligible", "--long", "micro", "s500", "--hedge", "s1000"), "s500")
        self.refused(run("eligible", "--long", "micro", "--hedge", "s500", "--window", "2000"), "2000 sessions")

    def test_no_store_and_no_prices(self, run, tmp_path: Path) -> None:
        returns = save(fund_frame(), tmp_path)
        empty = tmp_path / "empty"
        self.refused(run("style", "--returns", returns, folder=empty), "capshift ingest")
        self.refused(run("eligible", "--long", "micro", "--hedge", "s500", folder=empty), "capshift ingest")
        assert not empty.exists()
        rows = price_rows(RETURNS)
        Store(store_path(empty)).append(
            "sample", rows[rows["series"] != "micro.close"], np.datetime64("2021-07-01", "us")
        )
        self.refused(
            run("eligible", "--long", "micro", "--hedge", "s500", folder=empty), "micro.close", "capshift ingest"
        )

    def test_help_says_what_is_read_and_written(self, run) -> None:
        for command in ("style", "eligible"):
            code, out, _ = run(command, "--help")
            assert code == 0
            assert "Reads" in out
            assert "writes" in out


Report = Callable[[pd.DataFrame, pd.Series, np.datetime64], str]


class TestTruncation:
    """Thirty decisions on noisy vintages: what becomes known later, and later rows of the fund, change nothing."""

    def rows(self) -> pd.DataFrame:
        """Every close is first printed with an error and corrected ten days later."""
        final = price_rows(RETURNS)
        error = 1 + 0.004 * np.random.default_rng(9).standard_normal(len(final))
        first = final.assign(value=final["value"] * error)
        late = final.assign(known_at=final["known_at"] + pd.Timedelta(days=10))
        return pd.concat([first, late], ignore_index=True)

    def moves(self, report: Report) -> bool:
        """Whether the report of any decision changes when everything known later is cut off."""
        rows, fund = self.rows(), pd.Series(fund_of(RETURNS, FIFTH_MICRO, 5), RETURNS.index)
        decisions = market_calendar(SPEC, np.datetime64(FRIDAY, "us")).decisions()
        days = decisions[decisions <= np.datetime64(FRIDAY)][-33:-3]
        assert len(days) == 30
        for day in days:
            at = decision_times(SPEC, np.array([day]))[0]
            here = int(fund.index.searchsorted(day)) + 1
            full = report(rows, fund.iloc[here - 66 : here + 15], day)
            if full != report(rows[rows["known_at"] <= at], fund.iloc[here - 66 : here], day):
                return True
        return False

    @staticmethod
    def style(rows: pd.DataFrame, fund: pd.Series, day: np.datetime64) -> str:
        content = style_report(SPEC, rows, day, fund, StyleSettings(window=60, draws=5)).to_json()
        # The count of unused rows is meant to differ.
        return json.dumps({**content, "notes": None})

    @staticmethod
    def eligible(rows: pd.DataFrame, _: pd.Series, day: np.datetime64) -> str:
        rule = EligibilityRule(window=100)
        return json.dumps(eligible_report(SPEC, rows, day, "micro", ["s1000"], rule).to_json())

    @staticmethod
    def with_final_values(rows: pd.DataFrame) -> pd.DataFrame:
        """Give every vintage the value that came last: the mistake of a table without publication times."""
        return rows.assign(value=rows.groupby(["series", "period"])["value"].transform("last"))

    def test_nothing_known_later_moves_an_answer(self) -> None:
        assert not self.moves(self.style)
        assert not self.moves(self.eligible)

    def test_leaking_twins_are_caught(self) -> None:
        assert self.moves(lambda rows, fund, day: self.style(self.with_final_values(rows), fund, day))
        assert self.moves(lambda rows, fund, day: self.eligible(self.with_final_values(rows), fund, day))


@pytest.mark.real
def test_micro_caps_against_two_hedges_on_2023_11_24(real_data: Path) -> None:
    """METHODS 9: micro-caps stay below 0.80 against CSI 500 and CSI 1000."""
    market = load_market("cn")
    report = eligible_report(
        market, real_observations("cn", real_data), LAST_DECISION, "micro400", ["csi500", "csi1000"]
    )
    values = [hedge.result.correlation.value for hedge in report.hedges]
    assert values == pytest.approx([0.72, 0.78], abs=0.01)
    assert not any(hedge.result.eligible for hedge in report.hedges)
    assert "not eligible against CSI 500 (0.72) and CSI 1000 (0.78)" in report.conclusion


@pytest.mark.real
def test_a_real_2000_tier_fund_is_no_micro_cap_fund(real_data: Path) -> None:
    market, observations = load_market("cn"), real_observations("cn", real_data)
    returns = closes_as_of(market, observations, LAST_DECISION, size_ladder(market)).pct_change()["2022-01-01":]
    for weights, verdict in ((ONLY_2000, "no_micro"), (FIFTH_MICRO, "micro")):
        fund = pd.Series(fund_of(returns, weights, 1), returns.index)
        report = style_report(market, observations, LAST_DECISION, fund, StyleSettings(draws=50))
        assert report.analysis.whole.verdict == verdict
        assert report.analysis.whole.correlations[-1].value > 0.85
