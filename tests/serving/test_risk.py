"""Risk of a table of books as a user meets it: numbers, chunks, kill and resume, lock, and every bad input."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features.errors import DataContractError
from features.market import load_market
from models.scenarios import ScenarioSet, weighted_tail
from models.stress import Stress
from serving import cli, risk
from serving.book_table import open_table
from serving.lock import output_lock
from serving.output import scenario_path
from serving.risk import RiskJob, run_risk, sessions_per_year
from serving.stress_table import load_stress

DAY = "2023-11-24"
SEGMENTS = ("s300", "s500", "s1000", "s2000", "micro")
NUMBERS = ("var_95", "es_95", "var_975", "es_975")
Run = tuple[int, str, str]


def make_set(paths: int = 300, seed: int = 0) -> ScenarioSet:
    """Return joint paths of the sample market's segments from 2023-11-27 on."""
    rng = np.random.default_rng(seed)
    daily = 0.01 * rng.standard_normal((20, 1, paths)) + 0.01 * rng.standard_normal((20, 5, paths))
    weights = rng.random(paths) + 0.1
    return ScenarioSet(
        SEGMENTS,
        np.datetime64("2023-11-28", "us") + np.arange(20) * np.timedelta64(1, "D"),
        {1: 5, 4: 20},
        np.concatenate([np.zeros((1, 5, paths)), daily.cumsum(axis=0)]).astype(np.float32),
        weights / weights.sum(),
    )


def make_frame(count: int = 50, seed: int = 0) -> pd.DataFrame:
    """Return neutral and long-only books of three of the five segments."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "book_id": [f"book-{number}" for number in range(count)],
            "as_of": pd.Timestamp(DAY).date(),
            "gross_leverage": rng.uniform(1, 5, count),
            "financing_rate": 0.045,
            "basis": 0.06,
        }
    )
    frame[["long_s2000", "long_micro"]] = rng.dirichlet([1, 1], count)
    frame["hedge_s300"] = rng.integers(0, 2, count).astype(float)
    return frame


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with a scenario set of the sample market and a table of 50 books."""
    path = scenario_path(tmp_path / "artifacts", "sample", DAY)
    path.parent.mkdir(parents=True)
    make_set().save(path)
    make_frame().to_parquet(tmp_path / "books.parquet", index=False)
    return tmp_path


@pytest.fixture
def run(place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Run]:
    """Call `capshift risk` on the folder in this process; returns exit code, standard output and standard error."""

    def call(*options: str, book: str = "books.parquet") -> Run:
        arguments = ["risk", "--market", "sample", "--artifacts", str(place / "artifacts")]
        arguments += ["--book", str(place / book), "--out", str(place / "risk.parquet")]
        if "--as-of" not in options:
            arguments += ["--as-of", DAY]
        monkeypatch.setattr(sys, "argv", ["capshift", *arguments, *options])
        code = 0
        try:
            cli.main()
        except SystemExit as stop:
            code = int(stop.code or 0)
        out, err = capsys.readouterr()
        return code, out, err

    return call


def job_of(place: Path, **changes: object) -> RiskJob:
    """Return a job on the folder with chunks of seven books."""
    job = RiskJob(
        market="sample",
        simulated=True,
        day=np.datetime64(DAY, "us"),
        books=place / "books.parquet",
        scenarios=scenario_path(place / "artifacts", "sample", DAY),
        out=place / "risk.parquet",
        chunk_rows=7,
    )
    return replace(job, **changes)  # type: ignore[arg-type]


def left(place: Path) -> set[str]:
    """Return the names of everything in the folder beside the inputs."""
    return {path.name for path in place.iterdir()} - {"artifacts", "books.parquet"}


class TestNumbers:
    def test_every_book_and_horizon_equals_its_plain_tail(self, place: Path, run) -> None:
        code, out, err = run("--stress", "unwind", "--margin")
        assert code == 0, err
        assert "SIMULATED sample 2023-11-24: 50 book(s)" in out
        assert left(place) == {"risk.parquet"}
        rows, frame, held = pd.read_parquet(place / "risk.parquet"), make_frame(), make_set()
        assert rows["book_id"].tolist() == np.repeat(frame["book_id"], 2).tolist()
        assert rows["horizon_weeks"].tolist() == [1, 4] * 50
        assert set(map(str, rows["as_of"])) == {DAY}
        yearly = sessions_per_year(load_market("sample"), np.datetime64(DAY, "us"))
        for (_, book), (one, four) in zip(
            frame.iterrows(), zip(*[iter(rows.itertuples())] * 2, strict=True), strict=True
        ):
            for row, horizon, sessions in ((one, 1, 5), (four, 4, 20)):
                s300, _, _, s2000, micro = held.simple_returns(horizon)
                gross = book["long_s2000"] * s2000 + book["long_micro"] * micro - book["hedge_s300"] * s300
                cost = (0.045 + 0.06 * book["hedge_s300"]) * sessions / yearly
                wanted = np.ravel(weighted_tail(book["gross_leverage"] * (gross - cost), held.weights, [0.05, 0.025]))
                np.testing.assert_allclose([getattr(row, name) for name in NUMBERS], wanted, rtol=1e-10)
                spread = -0.217 - -0.092 * book["hedge_s300"]
                assert row.stress == pytest.approx(book["gross_leverage"] * spread)
                assert 0 <= row.forced_share <= row.p_margin_call <= 1
        for level in ("95", "975"):
            parts = rows[[f"es_{level}_{segment}" for segment in ("s300", "s2000", "micro")]].sum(axis=1)
            np.testing.assert_allclose(parts + rows["carry"], rows[f"es_{level}"], rtol=0, atol=1e-12)
        assert "es_95_s500" not in rows

    def test_the_file_says_where_it_comes_from(self, place: Path, run) -> None:
        assert run("--horizon", "4")[0] == 0
        said = json.loads(pq.read_schema(place / "risk.parquet").metadata[b"capshift"])
        assert (said["market"], said["simulated"], said["as_of"]) == ("sample", "SIMULATED", DAY)
        assert said["horizons"] == [4]
        assert said["stress"] is None
        rows = pd.read_parquet(place / "risk.parquet")
        assert not {"stress", "p_margin_call", "forced_share"} & set(rows.columns)
        assert set(rows["horizon_weeks"]) == {4}

    def test_csv_other_types_and_the_newest_day_give_the_same(self, place: Path, run) -> None:
        assert run()[0] == 0
        wanted = pd.read_parquet(place / "risk.parquet")
        frame = make_frame()
        frame["book_id"] = [f"{number:03d}" for number in range(50)]
        frame.to_csv(place / "books.csv", index=False)
        frame["book_id"] = frame["book_id"].astype("category")
        frame["as_of"] = frame["as_of"].astype(str)
        frame["hedge_s300"] = frame["hedge_s300"].astype(int)
        frame.to_parquet(place / "typed.parquet", index=False)
        for book in ("books.csv", "typed.parquet"):
            code, _, err = run(book=book)
            assert code == 0, err
            rows = pd.read_parquet(place / "risk.parquet")
            assert rows["book_id"].iloc[2] == "001"
            pd.testing.assert_frame_equal(rows.drop(columns="book_id"), wanted.drop(columns="book_id"), rtol=1e-12)

    def test_a_declared_hedge_ratio(self, place: Path, run) -> None:
        make_frame().assign(hedge_s300=0.4, hedge_ratio=0.4).to_parquet(place / "books.parquet")
        code, _, err = run()
        assert code == 0, err

    def test_day_count_is_that_of_the_exchange(self) -> None:
        # exchange_calendars: XSHG had 242 sessions in 2022, XNYS 251; means of ten years lie close by.
        assert sessions_per_year(load_market("cn"), np.datetime64("2022-12-30", "us")) == pytest.approx(243.5, abs=0.7)
        assert sessions_per_year(load_market("us"), np.datetime64("2022-12-30", "us")) == pytest.approx(251.7, abs=0.7)


class TestChunks:
    @pytest.mark.parametrize("rows", [1, 7, 50, 1000])
    def test_neither_chunks_nor_threads_change_the_numbers(self, place: Path, rows: int) -> None:
        run_risk(job_of(place, chunk_rows=13))
        wanted = pd.read_parquet(place / "risk.parquet")
        job = job_of(place, chunk_rows=rows)
        done = run_risk(replace(job, settings=replace(job.settings, threads=1)))
        assert done == (50, -(-50 // rows), 0)
        pd.testing.assert_frame_equal(pd.read_parquet(place / "risk.parquet"), wanted)

    @pytest.mark.parametrize("suffix", [".parquet", ".csv"])
    def test_no_more_than_a_chunk_is_held_whatever_the_file_looks_like(self, place: Path, suffix: str) -> None:
        path = place / f"many{suffix}"
        frame = make_frame(5000)
        if suffix == ".csv":
            frame.to_csv(path, index=False)
        else:
            frame.to_parquet(path, index=False, row_group_size=3333)
        sizes = [len(chunk) for chunk in open_table(path, SEGMENTS).chunks(700)]
        assert sizes == [700] * 7 + [100]

    def test_scoring_sees_one_chunk_at_a_time(self, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        make_frame(5000).to_parquet(place / "books.parquet", index=False)
        seen, score = [], risk.score_chunk

        def counted(job, held, table, chunk):
            seen.append(len(chunk))
            return score(job, held, table, chunk)

        monkeypatch.setattr(risk, "score_chunk", counted)
        run_risk(job_of(place, chunk_rows=900))
        assert seen == [900] * 5 + [500]
        assert pq.read_metadata(place / "risk.parquet").num_row_groups == 6

    def test_progress_ends_where_it_should(self, place: Path) -> None:
        last = {}
        run_risk(job_of(place), lambda stage, done, total: last.update({stage: (done, total)}))
        assert last == {"check books": (50, 50), "score books": (50, 50), "write": (8, 8)}


def stop_after(chunks: int) -> Callable[[str, int, int], None]:
    """Return a progress callback that interrupts the job once so many chunks are written."""

    def report(stage: str, done: int, total: int) -> None:
        if stage == "score books" and done >= 7 * chunks:
            raise KeyboardInterrupt

    return report


class TestResume:
    def test_an_interrupted_job_goes_on_and_gives_the_same_bytes(self, place: Path) -> None:
        run_risk(job_of(place))
        wanted = (place / "risk.parquet").read_bytes()
        (place / "risk.parquet").unlink()
        with pytest.raises(KeyboardInterrupt):
            run_risk(job_of(place), stop_after(3))
        assert left(place) == {".risk.parquet.work"}
        assert run_risk(job_of(place)) == (50, 8, 3)
        assert (place / "risk.parquet").read_bytes() == wanted
        assert left(place) == {"risk.parquet"}

    @pytest.mark.parametrize("change", ["books", "scenarios", "options"])
    def test_other_inputs_start_anew(self, place: Path, change: str) -> None:
        with pytest.raises(KeyboardInterrupt):
            run_risk(job_of(place), stop_after(3))
        job = job_of(place)
        if change == "books":
            make_frame(seed=9).to_parquet(job.books, index=False)
        elif change == "scenarios":
            make_set(seed=9).save(job.scenarios)
        else:
            job = replace(job, stress=load_stress("unwind", "sample"))
        assert run_risk(job).resumed == 0
        assert left(place) == {"risk.parquet"}

    def test_a_damaged_chunk_is_scored_again(self, place: Path) -> None:
        with pytest.raises(KeyboardInterrupt):
            run_risk(job_of(place), stop_after(3))
        next((place / ".risk.parquet.work").glob("*/000001.parquet")).write_bytes(b"")
        assert run_risk(job_of(place)).resumed == 2

    def test_the_old_product_stays_until_the_new_one_is_whole(self, place: Path) -> None:
        (place / "risk.parquet").write_bytes(b"old")
        with pytest.raises(KeyboardInterrupt):
            run_risk(job_of(place), stop_after(7))
        assert (place / "risk.parquet").read_bytes() == b"old"

    def test_books_that_change_meanwhile_are_refused(self, place: Path) -> None:
        def touch(stage: str, done: int, total: int) -> None:
            if stage == "score books":
                os.utime(place / "books.parquet", (1, 1))

        with pytest.raises(DataContractError, match="changed while it was read"):
            run_risk(job_of(place), touch)
        assert not (place / "risk.parquet").exists()

    @pytest.mark.deep
    def test_a_killed_process_leaves_no_product_and_its_chunks_are_used(self, place: Path, run) -> None:
        # Uncompiled, so that the process starts at once and takes its time; the numbers may differ in the last digit.
        make_frame(400).to_parquet(place / "books.parquet", index=False)
        options = ["--chunk-rows", "7"]
        command = [sys.executable, "-m", "serving.cli", "risk", "--artifacts", str(place / "artifacts"), "--as-of", DAY]
        command += ["--book", str(place / "books.parquet"), "--out", str(place / "risk.parquet"), *options]
        with subprocess.Popen(
            command, env={**os.environ, "NUMBA_DISABLE_JIT": "1"}, stderr=subprocess.DEVNULL
        ) as process:
            work = place / ".risk.parquet.work"
            deadline = time.monotonic() + 120
            while (
                len(list(work.glob("*/??????.parquet"))) < 2 and process.poll() is None and time.monotonic() < deadline
            ):
                time.sleep(0.01)
            locked = run(*options)
            process.send_signal(signal.SIGKILL)
        assert locked[0] == 6
        assert "another job is writing it" in locked[2]
        assert not (place / "risk.parquet").exists()
        code, out, err = run(*options)
        assert code == 0, err
        assert "parts kept from an interrupted job" in out
        resumed = pd.read_parquet(place / "risk.parquet")
        run_risk(job_of(place, settings=replace(job_of(place).settings, sessions_per_year=_yearly())))
        pd.testing.assert_frame_equal(resumed, pd.read_parquet(place / "risk.parquet"), rtol=1e-9)


def _yearly() -> float:
    return sessions_per_year(load_market("sample"), np.datetime64(DAY, "us"))


class TestLock:
    def test_a_second_job_for_the_same_output_is_told(self, place: Path, run) -> None:
        with output_lock(place / "risk.parquet"):
            code, _, err = run()
            assert code == 6
            assert "another job is writing it" in err
            with output_lock(place / "other.parquet"):
                pass
        assert run()[0] == 0
        assert left(place) == {"risk.parquet"}


BAD_ROWS: dict[str, tuple[dict[str, object], str]] = {
    "sum of long weights": ({"long_micro": 0.9}, "long weights must sum to 1"),
    "sum of hedge weights": ({"hedge_s300": 0.7}, "hedge weights must sum to 1 (neutral) or 0"),
    "missing weight": ({"hedge_s300": np.nan}, "weights must be finite"),
    "infinite weight": ({"long_s2000": np.inf}, "weights must be finite"),
    "negative weight": ({"long_s2000": -0.5, "long_micro": 1.5}, "weights must lie in [0, 1]"),
    "negative leverage": ({"gross_leverage": -2.0}, "`gross_leverage` must be a multiple"),
    "missing leverage": ({"gross_leverage": np.nan}, "`gross_leverage` must be a multiple"),
    "rate in percent": ({"financing_rate": 4.5}, "must be yearly fractions"),
    "missing basis": ({"basis": np.nan}, "must be yearly fractions"),
    "another day": ({"as_of": pd.Timestamp("2023-11-17").date()}, "`as_of` must be 2023-11-24 in every row"),
    "no day": ({"as_of": None}, "`as_of` must be 2023-11-24 in every row"),
    "repeated book": ({"book_id": "book-3"}, "`book_id` must be unique"),
    "no book": ({"book_id": None}, "`book_id` must be given"),
    "blank book": ({"book_id": ""}, "`book_id` must be given"),
}


class TestBadInput:
    """One sentence, the exit code, no traceback, nothing written."""

    def refused(self, place: Path, result: Run, *words: str, code: int = 2) -> None:
        got, out, err = result
        assert got == code, (out, err)
        errors = err[err.index("error:") :]
        assert "Traceback" not in err
        for word in words:
            assert word in errors
        assert not {"risk.parquet", ".risk.parquet.work", ".risk.parquet.lock"} & left(place)

    @pytest.mark.parametrize("case", BAD_ROWS)
    @pytest.mark.parametrize("suffix", [".parquet", ".csv"])
    def test_bad_rows_are_listed(self, place: Path, run, case: str, suffix: str) -> None:
        change, rule = BAD_ROWS[case]
        frame = make_frame()
        for column, value in change.items():
            frame.loc[[17, 41], column] = value
        book = f"bad{suffix}"
        if suffix == ".csv":
            frame.to_csv(place / book, index=False)
        else:
            frame.to_parquet(place / book, index=False)
        self.refused(place, run("--chunk-rows", "9", book=book), "2 of 50 row(s) are wrong, first row 17", rule, "41")

    def test_an_infinite_long_weight_beside_its_negative(self, place: Path, run) -> None:
        make_frame().assign(long_micro=np.inf, long_s2000=-np.inf).to_parquet(place / "books.parquet")
        self.refused(place, run(), "50 of 50", "weights must be finite")

    def test_all_faults_of_a_table_are_counted_and_few_are_shown(self, place: Path, run) -> None:
        make_frame(5000).assign(book_id="same", gross_leverage=-1.0).to_parquet(place / "books.parquet")
        result = run("--chunk-rows", "900")
        self.refused(place, result, "5000 of 5000 row(s)")
        assert len(result[2].splitlines()) < 12

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            (lambda f: f.drop(columns="basis"), ["lacks the column(s) basis"]),
            (lambda f: f.rename(columns={"long_micro": "long_nano"}), ["names segment 'nano'", "s300, s500"]),
            (lambda f: f.assign(desk="a"), ["unknown column 'desk'"]),
            (lambda f: f.assign(gross_leverage="four"), ["gross_leverage"]),
            (lambda f: f.assign(long_micro=f["long_micro"] > 2), ["long_micro"]),
            (lambda f: f.assign(as_of="soon"), ["soon"]),
            (lambda f: f.head(0), ["empty"]),
        ],
    )
    @pytest.mark.parametrize("suffix", [".parquet", ".csv"])
    def test_wrong_columns(self, place: Path, run, change, words: list[str], suffix: str) -> None:
        frame, book = change(make_frame()), f"bad{suffix}"
        if suffix == ".csv":
            frame.to_csv(place / book, index=False)
        else:
            frame.to_parquet(place / book, index=False)
        self.refused(place, run(book=book), book, *words)

    def test_no_weights_at_all(self, place: Path, run) -> None:
        frame = make_frame()[["book_id", "as_of", "gross_leverage", "financing_rate", "basis"]]
        frame.to_parquet(place / "books.parquet")
        self.refused(place, run(), "lacks a column long_SEGMENT")

    def test_column_types_and_repeats(self, place: Path, run) -> None:
        make_frame().assign(book_id=1.5).to_parquet(place / "books.parquet")
        self.refused(place, run(), "column 'book_id' must hold text or an integer")
        make_frame().assign(as_of=3).to_parquet(place / "books.parquet")
        self.refused(place, run(), "column 'as_of' must hold a date")
        table = pa.Table.from_pandas(make_frame())
        pq.write_table(table.append_column("basis", table["basis"]), place / "books.parquet")
        self.refused(place, run(), "column 'basis' is there twice")

    @pytest.mark.parametrize("name", ["bad.parquet", "bad.csv", "bad.txt"])
    @pytest.mark.parametrize(
        "content", [b"", b"not a table", b"\xff\xfe\x00PAR1", b"PAR1" + 40 * b"\0" + b"PAR1", None]
    )
    def test_no_table(self, place: Path, run, name: str, content: bytes | None) -> None:
        if content is not None:
            (place / name).write_bytes(content)
        self.refused(place, run(book=name), name)

    def test_a_cut_parquet_file_and_a_folder(self, place: Path, run) -> None:
        whole = (place / "books.parquet").read_bytes()
        (place / "books.parquet").write_bytes(whole[: len(whole) // 2])
        self.refused(place, run(), "not a table of books in parquet")
        self.refused(place, run(book="artifacts"), "artifacts")

    def test_pages_damaged_inside(self, place: Path, run) -> None:
        whole = bytearray((place / "books.parquet").read_bytes())
        whole[4:400] = 396 * b"\xff"
        (place / "books.parquet").write_bytes(bytes(whole))
        self.refused(place, run(), "books.parquet: cannot be read")

    def test_a_day_without_a_forecast(self, place: Path, run) -> None:
        self.refused(place, run("--as-of", "2023-11-17"), "no scenario set of 2023-11-17 (stored: 2023-11-24)")
        self.refused(place, run("--as-of", "soon"), "YYYY-MM-DD")
        scenario_path(place / "artifacts", "sample", DAY).unlink()
        self.refused(place, run(), "none is stored", "capshift forecast")

    def test_a_set_that_is_damaged_or_of_another_day(self, place: Path, run) -> None:
        path = scenario_path(place / "artifacts", "sample", DAY)
        late = path.with_name("2023-12-29.npz")
        late.write_bytes(path.read_bytes())
        self.refused(place, run("--as-of", "2023-12-29"), "not a scenario set of 2023-12-29")
        path.write_bytes(b"npz")
        self.refused(place, run(), "not a scenario set")

    def test_stress_that_does_not_fit(self, place: Path, run) -> None:
        self.refused(place, run("--stress", "doom"), "`stress` of market 'sample' must be one of unwind", "'doom'")
        own = place / "own.toml"
        own.write_text('what = "part"\n[shocks]\ns300 = -0.1\ns2000 = -0.2\n', encoding="utf-8")
        self.refused(place, run("--stress", str(own)), "stress 'own' must have a shock for segment 'micro'", "book-0")

    def test_options(self, place: Path, run) -> None:
        self.refused(place, run("--horizon", "2"), "`horizon` must be one of 1, 4 weeks; got 2")
        assert run("--chunk-rows", "0")[0] == 2
        with pytest.raises(DataContractError, match="name another output"):
            run_risk(job_of(place, out=place / "books.parquet"))
        with pytest.raises(DataContractError, match="name another output"):
            run_risk(job_of(place, out=place / "artifacts"))
        with pytest.raises(DataContractError, match="cannot be written"):
            run_risk(job_of(place, out=place / "books.parquet" / "risk.parquet"))


class TestStressTable:
    @pytest.mark.parametrize("market", ["cn", "us", "sample"])
    def test_built_in_stresses_cover_every_segment(self, market: str) -> None:
        import tomllib

        text = (Path(risk.__file__).parent / "stresses.toml").read_text(encoding="utf-8")
        for name in tomllib.loads(text)[market]:
            assert set(load_stress(name, market).shocks) == set(load_market(market).segments)

    @pytest.mark.parametrize(
        "text",
        [
            "shocks = 3",
            'what = "x"\n[shocks]',
            'what = "x"\n[shocks]\na = "b"',
            'what = "x"\nodd = 1\n[shocks]\na = 0',
            "][",
        ],
    )
    def test_a_file_of_another_form(self, tmp_path: Path, text: str) -> None:
        path = tmp_path / "own.toml"
        path.write_text(text, encoding="utf-8")
        with pytest.raises(DataContractError, match=r"own\.toml: "):
            load_stress(str(path), "cn")
        with pytest.raises(DataContractError, match="cannot be read"):
            load_stress(str(tmp_path / "none.toml"), "cn")

    def test_a_file_of_ones_own(self, tmp_path: Path) -> None:
        path = tmp_path / "own.toml"
        path.write_text('what = "flat"\nshocks = { a = 0, b = -0.5 }', encoding="utf-8")
        stress = load_stress(str(path), "anything")
        assert isinstance(stress, Stress)
        assert (stress.name, dict(stress.shocks)) == ("own", {"a": 0.0, "b": -0.5})

    @pytest.mark.real
    @pytest.mark.parametrize("name", ["rotation_2014", "crash_2015", "slide_2018"])
    def test_historical_shocks_are_those_of_the_data(self, real_data: Path, name: str) -> None:
        import tomllib

        text = (Path(risk.__file__).parent / "stresses.toml").read_text(encoding="utf-8")
        first, _, last = tomllib.loads(text)["cn"][name]["what"].split(":")[0].split(" ")
        for segment, shock in load_stress(name, "cn").shocks.items():
            file = {"micro400": "microcap400_monthly"}.get(segment, segment)
            close = pd.read_csv(real_data / "cn" / "bars" / f"{file}.csv", index_col="date")["close"]
            assert close[last] / close[first] - 1 == pytest.approx(shock, abs=6e-4)
