"""The store against oracles that share no code with it: idempotent, append-only, exact as-of, safe when killed."""

from __future__ import annotations

import itertools
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from features.errors import DataContractError, LockedError
from features.snapshot import snapshot_ids
from features.store import Appended, Store
from features.vintages import create_tables, write_new
from tests.features.definitions import Row, batch, tiny_market, utc

DAY = np.timedelta64(1, "D")
SERIES = ("large.close", "flow", "ended")
PERIODS = [utc("2014-01-06") + n * DAY for n in range(5)]
NEVER = utc("2200-01-01")
MANY = settings(max_examples=15, suppress_health_check=[HealthCheck.too_slow])
FEW = settings(max_examples=6, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
MARKET = tiny_market(
    flow={
        "born": "2014-01-07",
        "breaks": [{"date": "2014-01-08", "factor": 10.0}, {"date": "2014-01-09", "factor": 0.5}],
    },
    ended={"died": "2014-01-09"},
)
MIDNIGHT = utc("2014-01-09T16:00")
"""In Shanghai, when the last day of `ended` is over."""


@pytest.fixture
def fresh(tmp_path: Path) -> Callable[[], Store]:
    """Return a factory of empty stores."""
    numbers = itertools.count()
    return lambda: Store(tmp_path / f"{next(numbers)}" / "store.duckdb")


_RAW = "SELECT * EXCLUDE market FROM observations {} ORDER BY recorded_at, series, period, known_at, revision"


def raw(store: Store) -> list[tuple[object, ...]]:
    """Every stored row, read past the code under test."""
    with duckdb.connect(str(store.path), read_only=True) as connection:
        return connection.execute(_RAW.format("")).fetchall()


class Ledger:
    """The statements of an append on a database in memory: one for many examples, which are markets of their own."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self.connection = connection
        self.market = 0

    def empty(self) -> Ledger:
        self.market += 1
        return self

    def append(self, rows: list[Row], now: np.datetime64) -> int:
        self.connection.begin()
        added, _ = write_new(self.connection, str(self.market), batch(rows), now, pd.DataFrame())
        self.connection.commit()
        return added

    def raw(self) -> list[tuple[object, ...]]:
        return self.connection.execute(_RAW.format(f"WHERE market = '{self.market}'")).fetchall()


@pytest.fixture(scope="module")
def ledger() -> Iterator[Ledger]:
    with duckdb.connect() as connection:
        create_tables(connection)
        yield Ledger(connection)


def visible(rows: list[tuple[object, ...]], at: np.datetime64) -> dict[tuple[str, pd.Timestamp], float]:
    """Oracle of what counts at a time: a loop over stored rows."""
    seen: dict[tuple[str, pd.Timestamp], tuple[tuple[object, ...], float]] = {}
    for series, period, known_at, value, _, revision, recorded_at in rows:
        if np.datetime64(known_at, "us") <= at:
            rank = (known_at, recorded_at, revision)
            key = str(series), pd.Timestamp(period)
            if key not in seen or rank > seen[key][0]:
                seen[key] = rank, float(value)
    return {key: value for key, (_, value) in seen.items()}


# ------------------------------------------------------------------------------------------------ a source that changes
@dataclass
class Source:
    """A folder as the world sees it: per period a value with its date, and dated revisions."""

    plain: dict[tuple[str, np.datetime64], tuple[np.datetime64, float]] = field(default_factory=dict)
    revisions: dict[tuple[str, np.datetime64, np.datetime64], float] = field(default_factory=dict)

    def rows(self) -> list[Row]:
        plain = [(s, str(p), str(k), v, False, False) for (s, p), (k, v) in self.plain.items()]
        return plain + [(s, str(p), str(k), v, False, True) for (s, p, k), v in self.revisions.items()]

    def claims(self) -> dict[tuple[str, pd.Timestamp], float]:
        """What the source says is the number of each period: its last dated revision, else the value."""
        latest = {key: (known, value) for key, (known, value) in self.plain.items()}
        for (s, p, k), value in sorted(self.revisions.items(), key=lambda item: item[0][2]):
            if k >= latest[s, p][0]:
                latest[s, p] = k, value
        return {(s, pd.Timestamp(p)): value for (s, p), (_, value) in latest.items()}


VALUES = st.sampled_from([1.0, 2.0, 3.0])


@st.composite
def stories(draw: st.DrawFn) -> list[tuple[np.datetime64, list[Row], dict[tuple[str, pd.Timestamp], float]]]:
    """Draw what a folder holds at each of some ingestions: rows are added, changed and revised, none is taken away."""
    source, now, story = Source(), utc("2014-01-20"), []
    for _ in range(draw(st.integers(2, 4))):
        last, now = now, now + draw(st.integers(1, 9)) * DAY
        for key in draw(st.lists(st.tuples(st.sampled_from(SERIES), st.sampled_from(PERIODS)), max_size=5)):
            if key in source.plain:
                source.plain[key] = source.plain[key][0], draw(VALUES)
            else:
                source.plain[key] = key[1] + draw(st.integers(0, 3)) * DAY, draw(VALUES)
                for late in draw(st.lists(st.integers(4, 12), max_size=2, unique=True)):
                    source.revisions[(*key, key[1] + late * DAY)] = draw(VALUES)
        if source.plain:
            for key in draw(st.lists(st.sampled_from(sorted(source.plain)), max_size=2)):
                source.revisions[(*key, draw(st.sampled_from([last + np.timedelta64(1, "h"), now])))] = draw(VALUES)
        story.append((now, draw(st.permutations(source.rows())), source.claims()))
    return story


REVERT = [
    (
        utc("2014-02-01"),
        [("flow", "2014-01-08", "2014-01-08", value, False, False)],
        {("flow", pd.Timestamp("2014-01-08")): value},
    )
    for value in (1.0, 2.0, 1.0)
]
"""A value changes and goes back to what it was, all at the same `now`."""


@MANY
@given(stories())
@example(REVERT)
def test_every_ingestion_of_a_changing_source(ledger: Ledger, story: list) -> None:
    """The same batch again adds nothing; earlier rows stay and no past view changes; now is what the source says."""
    ledger, before = ledger.empty(), []
    for now, rows, claims in story:
        ledger.append(rows, now)
        after = ledger.raw()
        assert ledger.append(random.Random(0).sample(rows, len(rows)), now + 30 * DAY) == 0
        assert ledger.raw() == after
        assert set(before) <= set(after)
        assert visible(after, NEVER) == claims
        # What could be read before is left alone, save for a period that the store had not heard of, and from the
        # date on at which the source dates a revision.
        known = {(str(row[0]), pd.Timestamp(row[1])) for row in before}
        for at in {np.datetime64(row[2], "us") for row in after} | {now - np.timedelta64(1, "us")}:
            if at < now:
                dated = {(s, pd.Timestamp(p)) for s, p, k, _, _, revision in rows if revision and utc(k) <= at}
                old, new = visible(before, at), visible(after, at)
                assert [old.get(key) for key in known - dated] == [new.get(key) for key in known - dated]
        before = after


@FEW
@given(stories(), st.randoms(use_true_random=False))
def test_the_order_of_rows_is_irrelevant(ledger: Ledger, story: list, shuffler: random.Random) -> None:
    written = []
    for reorder in (list, lambda rows: shuffler.sample(rows, len(rows))):
        ledger.empty()
        for now, rows, _ in story:
            ledger.append(reorder(rows), now)
        written.append(ledger.raw())
    # Writing times differ, because both share one database.
    one, other = ([row[:-1] for row in rows] for rows in written)
    assert one == other


@FEW
@given(stories(), st.lists(st.integers(0, 45 * 24), min_size=1, max_size=2))
@example(REVERT, [24 * 40])
def test_as_of_equals_a_loop_over_rows(fresh: Callable[[], Store], story: list, hours: list[int]) -> None:
    """Latest vintage, lifetime and definition breaks, row by row."""
    store = fresh()
    for now, rows, _ in story:
        store.append("tiny", batch(rows), now)
    stored = raw(store)
    hour = np.timedelta64(1, "h")
    for at in [MIDNIGHT - np.timedelta64(1, "us"), MIDNIGHT, *(PERIODS[0] + count * hour for count in hours)]:
        expected = {}
        for (series, period), value in visible(stored, at).items():
            day = f"{period:%Y-%m-%d}"
            unborn = series == "flow" and day < "2014-01-07"
            dead = series == "ended" and (at >= MIDNIGHT or day > "2014-01-09")
            if unborn or dead:
                continue
            factor = {"2014-01-07": 5.0, "2014-01-08": 0.5}.get(day, 1.0) if series == "flow" else 1.0
            expected[series, period] = factor * value
        served = store.as_of(MARKET, at)
        keys = zip(served["series"], served["period"], strict=True)
        assert dict(zip(keys, served["value"], strict=True)) == expected
        assert (served["known_at"] <= pd.Timestamp(at)).all()
        rows_of = {(str(row[0]), pd.Timestamp(row[1]), pd.Timestamp(row[2])) for row in stored}
        assert set(zip(served["series"], served["period"], served["known_at"], strict=True)) <= rows_of


CELLS = st.tuples(
    st.sampled_from(SERIES), st.integers(0, 4), st.integers(0, 9), st.sampled_from([0.0, 1.0, -2.5])
)  # fmt: skip


@settings(max_examples=25)
@given(st.lists(CELLS, max_size=12), st.lists(CELLS, max_size=3), st.randoms(use_true_random=False))
def test_snapshot_ids_are_equal_exactly_when_visible_rows_are(
    rows: list[tuple[str, int, int, float]], more: list[tuple[str, int, int, float]], shuffler: random.Random
) -> None:
    def frame(parts: list[tuple[str, int, int, float]]) -> pd.DataFrame:
        return batch([(s, str(PERIODS[p]), str(PERIODS[0] + k * DAY), v) for s, p, k, v in parts])

    times = np.array([PERIODS[0] + k * DAY for k in range(0, 10, 2)])
    ids = snapshot_ids(frame(rows), times)
    assert snapshot_ids(frame(shuffler.sample(rows, len(rows))), times) == ids
    other = snapshot_ids(frame(rows + more), times)
    for at, k in enumerate(range(0, 10, 2)):
        seen, and_more = (sorted(row for row in part if row[2] <= k) for part in (rows, rows + more))
        assert (ids[at] == other[at]) == (seen == and_more)
        assert snapshot_ids(frame(seen), times[at : at + 1]) == ids[at : at + 1]


# ---------------------------------------------------------------------------------------------------------- by example
def test_a_changed_value_is_known_from_now_on_and_the_first_print_stays(fresh: Callable[[], Store]) -> None:
    store, day = fresh(), "2014-02-06"
    first, now = utc("2014-02-06T07:15"), utc("2014-03-01T10:00")
    store.append("tiny", batch([("large.close", day, str(first), 1.0)]), utc("2014-02-07"))
    assert store.append("tiny", batch([("large.close", day, str(first), 2.0)]), now) == Appended(1, 0, 0)

    def value(at: np.datetime64) -> list[float]:
        return store.as_of(MARKET, at)["value"].tolist()

    tick = np.timedelta64(1, "us")
    assert value(first - tick) == []
    assert value(first) == value(now - tick) == [1.0]
    assert value(now) == [2.0]
    assert store.as_of(MARKET, now)["known_at"].tolist() == [pd.Timestamp(now)]


def test_a_changed_value_is_not_known_before_its_rule_says(fresh: Callable[[], Store]) -> None:
    """An estimated date lies ahead; the value changes before it and a clock that runs backwards makes no difference."""
    store, rule = fresh(), utc("2014-03-20T10:00")
    for now, value in (("2014-03-01", 1.0), ("2014-03-02", 2.0), ("2014-02-01", 3.0)):
        rows = batch([("large.close", "2014-02-28", str(rule), value)])
        assert store.append("tiny", rows, utc(now)).added == 1
        assert store.append("tiny", rows, utc(now)).added == 0
    assert store.as_of(MARKET, rule - np.timedelta64(1, "us")).empty
    assert store.as_of(MARKET, rule)["value"].tolist() == [3.0]
    recorded = store.observations("tiny")["recorded_at"]
    assert recorded.is_monotonic_increasing
    assert recorded.is_unique


def test_a_clock_that_runs_backwards_cannot_hide_a_change(fresh: Callable[[], Store]) -> None:
    store, day = fresh(), ("large.close", "2014-02-06", "2014-02-06")
    for now, value in (("2014-02-07", 1.0), ("2014-03-09", 2.0), ("2014-03-01", 3.0)):
        assert store.append("tiny", batch([(*day, value)]), utc(now)).added == 1
        assert store.append("tiny", batch([(*day, value)]), utc(now)).added == 0
    assert store.as_of(MARKET, utc("2014-03-08"))["value"].tolist() == [1.0]
    assert store.as_of(MARKET, utc("2014-03-09"))["value"].tolist() == [3.0]


def test_a_corrected_first_print_does_not_undo_a_dated_revision(fresh: Callable[[], Store]) -> None:
    store = fresh()
    first = ("large.close", "2014-02-28", "2014-03-10")
    revision = ("large.close", "2014-02-28", "2014-04-10", 9.8, False, True)
    store.append("tiny", batch([(*first, 10.0), revision]), utc("2014-04-11"))
    assert store.append("tiny", batch([(*first, 10.1), revision]), utc("2014-05-01")).added == 0
    assert store.as_of(MARKET, utc("2014-06-01"))["value"].tolist() == [9.8]
    assert store.as_of(MARKET, utc("2014-04-01"))["value"].tolist() == [10.0]


def test_a_value_that_replaces_one_in_quarantine_is_known_from_now_on(fresh: Callable[[], Store]) -> None:
    store = fresh()
    held = batch([("large.close", "2014-02-06", "2014-02-06T07:15", -5.0), ("flow", "2014-01-08", "2014-01-08", 7.0)])
    held = held.drop(columns=["estimated", "revision"]).assign(check="out_of_range", reason="negative")
    now = utc("2014-02-07")
    assert store.append("tiny", batch([]), now, held) == Appended(0, 0, 2)
    assert store.append("tiny", batch([]), now, held) == Appended(0, 0, 0)
    assert store.as_of(MARKET, NEVER).empty
    later = utc("2014-03-01")
    good = batch([("large.close", "2014-02-06", "2014-02-06T07:15", 5.0), ("flow", "2014-01-08", "2014-01-08", 7.0)])
    store.append("tiny", good, later)
    known = store.observations("tiny").set_index("series")["known_at"]
    assert known["large.close"] == pd.Timestamp(later), "a correction that nobody could read before"
    assert known["flow"] == pd.Timestamp("2014-01-08"), "the same value, let through by a wider range"


def test_markets_share_a_file_and_nothing_else(fresh: Callable[[], Store]) -> None:
    store = fresh()
    rows = batch([("large.close", "2014-02-06", "2014-02-06T07:15", 1.0)])
    assert store.append("tiny", rows, utc("2014-03-01")).added == 1
    assert store.append("other", rows, utc("2014-03-01")).added == 1
    assert len(store.observations("tiny")) == 1
    assert store.observations("third").empty


# ----------------------------------------------------------------------------------------------------------- bad input
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"value": np.nan}, "'value'.*finite number.*'large.close'"),
        ({"value": np.inf}, "'value'.*finite number"),
        ({"known_at": pd.NaT}, "'known_at'.*UTC time"),
        ({"known_at": pd.Timestamp("2014-02-06", tz="UTC")}, "'known_at'.*without a zone"),
        ({"period": "2014-02-06"}, "'period'.*a time"),
        ({"revision": "no"}, "'revision'.*true or false"),
    ],
)
def test_a_batch_of_the_wrong_type_is_refused(
    fresh: Callable[[], Store], change: dict[str, object], message: str
) -> None:
    store = fresh()
    rows = batch([("large.close", "2014-02-06", "2014-02-06T07:15", 1.0)]).assign(**change)
    with pytest.raises(DataContractError, match=message) as caught:
        store.append("tiny", rows, utc("2014-03-01"))
    assert caught.value.rows is not None
    assert not store.path.exists()
    with pytest.raises(DataContractError, match=r"lacks the column\(s\) value"):
        store.append("tiny", rows.drop(columns="value"), utc("2014-03-01"))


@pytest.mark.parametrize("revision", [False, True])
def test_a_repeated_row_is_refused_and_shown(fresh: Callable[[], Store], revision: bool) -> None:
    rows = [("flow", "2014-01-08", "2014-01-09", value, False, revision) for value in (1.0, 2.0)]
    with pytest.raises(DataContractError, match="flow: period 2014-01-08 appears more than once") as caught:
        fresh().append("tiny", batch([("flow", "2014-01-07", "2014-01-09", 0.0), *rows]), utc("2014-03-01"))
    assert caught.value.rows is not None
    assert caught.value.rows["value"].tolist() == [1.0, 2.0]


def test_a_store_that_is_not_there_names_the_remedy(fresh: Callable[[], Store]) -> None:
    store = fresh()
    with pytest.raises(DataContractError, match=r"store\.duckdb: no observation store here; run `capshift ingest`"):
        store.observations("tiny")
    assert not store.path.parent.exists()


def filled(store: Store, rows: int = 20_000) -> bytes:
    """Fill a store and return its file."""
    days = np.datetime64("1900-01-01") + np.arange(rows)
    store.append("tiny", batch([]), utc("2014-01-01"))
    frame = pd.DataFrame({"series": "large.close", "period": days.astype("datetime64[us]")})
    frame = frame.assign(known_at=frame["period"], value=np.sqrt(np.arange(rows)), estimated=False, revision=False)
    store.append("tiny", frame, utc("2014-01-01"))
    return store.path.read_bytes()


WRECKS: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda content: b"",
    "text": lambda content: b"date,close\n" * 500,
    "short": lambda content: content[: len(content) // 2],
    "first bytes": lambda content: _NOISE + content[len(_NOISE) :],
    "header": lambda content: content[:4096] + _NOISE + content[4096 + len(_NOISE) :],
    # DuckDB notices these only when it reads the block.
    "third": lambda content: content[: len(content) // 3] + _NOISE + content[len(content) // 3 + len(_NOISE) :],
    "half": lambda content: content[: len(content) // 2] + _NOISE + content[len(content) // 2 + len(_NOISE) :],
}
_NOISE = np.random.default_rng(1).bytes(2048)


@pytest.fixture(scope="module")
def intact(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return filled(Store(tmp_path_factory.mktemp("intact") / "store.duckdb"))


@pytest.mark.parametrize("wreck", WRECKS)
def test_a_corrupt_file_is_a_contract_error(tmp_path: Path, intact: bytes, wreck: str) -> None:
    store = Store(tmp_path / "store.duckdb")
    store.path.write_bytes(intact)
    assert len(store.observations("tiny")) == 20_000
    store.path.write_bytes(WRECKS[wreck](intact))
    with pytest.raises(DataContractError, match=r"store\.duckdb: .*move it away and run `capshift ingest` again"):
        store.observations("tiny")


def test_a_file_of_another_program_is_refused_and_left_alone(fresh: Callable[[], Store]) -> None:
    for tables in (["ledger (id INTEGER)"], ["observations (a INTEGER)", "quarantine (b INTEGER)"]):
        store = fresh()
        store.path.parent.mkdir()
        with duckdb.connect(str(store.path)) as connection:
            for table in tables:
                connection.execute(f"CREATE TABLE {table}")
        content = store.path.read_bytes()
        for action in (lambda s: s.observations("tiny"), lambda s: s.append("tiny", batch([]), utc("2014-01-01"))):
            with pytest.raises(DataContractError, match=f"not an observation store.*{tables[0].split()[0]}"):
                action(store)
        assert store.path.read_bytes() == content


def test_a_folder_in_the_place_of_the_store(tmp_path: Path) -> None:
    with pytest.raises(DataContractError, match=r"directory"):
        Store(tmp_path).observations("tiny")


# -------------------------------------------------------------------------------------------------- crashes and crowds
def test_an_exception_inside_an_append_leaves_the_old_state(fresh: Callable[[], Store]) -> None:
    store = fresh()
    store.append("tiny", batch([("flow", "2014-01-08", "2014-01-08", 1.0)]), utc("2014-01-09"))
    before = raw(store)
    held = pd.DataFrame(
        {"series": "flow", "period": pd.Timestamp("2014-01-07"), "known_at": pd.Timestamp("2014-01-07"), "value": 1.0,
         "check": "out_of_range", "reason": [None]}
    )  # fmt: skip
    with pytest.raises(DataContractError, match="NOT NULL"):
        store.append("tiny", batch([("flow", "2014-01-08", "2014-01-08", 2.0)]), utc("2014-02-01"), held)
    assert raw(store) == before
    assert store.append("tiny", batch([("flow", "2014-01-08", "2014-01-08", 2.0)]), utc("2014-02-01")).added == 1


_CHILD = """
import sys
import numpy as np, pandas as pd
from pathlib import Path
from features.frames import check_observations
from features.store import Store

rows = int(sys.argv[2])
period = (np.datetime64("1900-01-01") + np.arange(rows) % 50_000).astype("datetime64[us]")
frame = pd.DataFrame({"series": np.char.add("s", (np.arange(rows) // 50_000).astype(str)), "period": period})
frame = frame.assign(known_at=frame["period"], value=np.sqrt(np.arange(rows)), estimated=False, revision=False)
frame["series"] = frame["series"].astype("str")
check_observations(frame.iloc[:1])
print("go", flush=True)
Store(Path(sys.argv[1])).append("big", frame, np.datetime64("2014-01-01", "us"))
print("done", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def child() -> Iterator[Callable[[Path, int], subprocess.Popen[str]]]:
    """Start processes that append a big batch and then wait; they end with the test."""
    started: list[subprocess.Popen[str]] = []

    def start(path: Path, rows: int) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", _CHILD, str(path), str(rows)]
        started.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.mark.deep
def test_a_killed_append_leaves_the_old_state(
    fresh: Callable[[], Store], child: Callable[[Path, int], subprocess.Popen[str]]
) -> None:
    """Killed while rows go to the file and at random moments: all of the batch or nothing, and the next one works."""
    store, rows = fresh(), 400_000
    store.append("tiny", batch([("flow", "2014-01-08", "2014-01-08", 1.0)]), utc("2014-01-09"))
    before, small = store.observations("tiny"), store.path.stat().st_size
    torn = 0
    for delay in (None, random.Random(5).uniform(0.02, 0.2), random.Random(6).uniform(0.02, 0.2)):
        process = child(store.path, rows)
        assert process.stdout is not None
        assert process.stdout.readline() == "go\n"
        if delay is None:
            while store.path.stat().st_size == small and process.poll() is None:
                time.sleep(0.001)
        else:
            time.sleep(delay)
        process.kill()
        finished = "done" in process.communicate()[0]
        found = len(store.observations("big"))
        assert found in ((rows,) if finished else (0, rows))
        torn += found == 0
        pd.testing.assert_frame_equal(store.observations("tiny"), before)
        if found:
            break
    assert torn, "no process was killed in mid-append: the batch is too small for this machine"
    assert store.append("big", batch([("s0", "2050-01-01", "2050-01-01", 1.0)]), utc("2050-01-01")).added == 1


def test_a_second_process_is_told_that_the_store_is_locked(fresh: Callable[[], Store], tmp_path: Path) -> None:
    """Whatever the path is called: a message with `block` or `lock` in it is not a lock."""
    store = fresh()
    store.append("tiny", batch([("flow", "2014-01-08", "2014-01-08", 1.0)]), utc("2014-01-09"))
    hold = "import duckdb, sys; c = duckdb.connect(sys.argv[1]); print('held', flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", hold, str(store.path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == "held\n"
        for action in (lambda: store.observations("tiny"), lambda: store.append("tiny", batch([]), utc("2014-01-10"))):
            with pytest.raises(LockedError, match="in use by another process") as caught:
                action()
            assert caught.value.exit_code == 6
        process.stdin.close()
    assert len(store.observations("tiny")) == 1
    damaged = tmp_path / "unlocked-block.duckdb"
    damaged.write_bytes(b"nonsense")
    with pytest.raises(DataContractError, match="not a valid DuckDB"):
        Store(damaged).observations("tiny")
