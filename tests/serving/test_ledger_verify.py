"""What verification finds, record by record, on SQLite and PostgreSQL; and what it cannot find."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.errors import DataContractError, LedgerError
from serving.ledger import Ledger
from serving.ledger_read import recorded_forecasts
from serving.ledger_record import Chain, record_hash
from serving.ledger_tables import CHAINS
from serving.ledger_verify import verify
from tests.serving.ledger_toy import Hand, filled, finding, on_time, tampering, toy_entries

WEEKS = 6
COUNTS: dict[Chain, int] = {"forecast": 24, "outcome": 14}
BOTH: list[Chain] = ["forecast", "outcome"]


@pytest.fixture
def ledger(location: str, tmp_path: Path) -> Ledger:
    return filled(location, tmp_path, WEEKS)


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pristine")
    filled(str(folder / "ledger.db"), folder, WEEKS)
    return folder


@pytest.fixture
def file(pristine: Path, tmp_path: Path) -> Ledger:
    """The same on SQLite only, for what no database can make a difference to."""
    shutil.copytree(pristine, tmp_path, dirs_exist_ok=True)
    return Ledger(str(tmp_path / "ledger.db"), tmp_path)


def test_an_untouched_ledger(ledger: Ledger) -> None:
    result = verify(ledger)
    assert result.finding is None
    assert result.head_state == "matches"
    assert {chain: mark.count for chain, mark in result.head.marks.items()} == COUNTS


def other_value(value: Any) -> Any:
    """The smallest change of a stored value."""
    if value is None:
        return 0.5
    if isinstance(value, float):
        return float(np.nextafter(value, np.inf))
    if isinstance(value, int):
        return value + 1000
    return value[:-1] + ("1" if value[-1:] == "0" else "0")


@pytest.mark.parametrize("chain", BOTH)
def test_any_edited_field_names_its_record(ledger: Ledger, chain: Chain) -> None:
    number = 6
    with tampering(ledger) as hand:
        row = hand.row(chain, number)
    for name, value in row.items():
        with tampering(ledger) as hand:
            hand.edit(chain, number, **{name: other_value(value)})
        found = finding(ledger)
        assert (found.chain, found.sequence) == (chain, number), name
        with tampering(ledger) as hand:
            hand.edit(chain, number + 1000 if name == "sequence" else number, **{name: value})
    assert verify(ledger).finding is None


@pytest.mark.parametrize("number", [1, 24])
def test_a_number_made_missing_and_a_missing_one_filled(ledger: Ledger, number: int) -> None:
    with tampering(ledger) as hand:
        hand.edit("forecast", number, p_crash=None)
    assert finding(ledger).sequence == number


@pytest.mark.parametrize("chain", BOTH)
class TestRecords:
    @pytest.mark.parametrize("number", [1, 5])
    def test_removed(self, ledger: Ledger, chain: Chain, number: int) -> None:
        with tampering(ledger) as hand:
            hand.remove(chain, number, number)
        found = finding(ledger)
        assert (found.chain, found.sequence) == (chain, number)
        assert "is gone" in found.message

    def test_removed_and_the_rest_renumbered(self, file: Ledger, chain: Chain) -> None:
        with tampering(file) as hand:
            hand.remove(chain, 5, 5)
            for number in range(6, COUNTS[chain] + 1):
                hand.edit(chain, number, sequence=number - 1)
        assert finding(file).sequence == 5

    @pytest.mark.parametrize(("one", "other"), [(4, 5), (1, 14)])
    def test_reordered(self, ledger: Ledger, chain: Chain, one: int, other: int) -> None:
        with tampering(ledger) as hand:
            hand.edit(chain, one, sequence=999)
            hand.edit(chain, other, sequence=one)
            hand.edit(chain, 999, sequence=other)
        assert finding(ledger).sequence == one

    @pytest.mark.parametrize("number", [0, 15, 25])
    def test_inserted_with_a_hash_of_its_own(self, file: Ledger, chain: Chain, number: int) -> None:
        with tampering(file) as hand:
            row = hand.row(chain, 14)
            if number == 15 and chain == "forecast":
                for moved in range(COUNTS[chain], 14, -1):
                    hand.edit(chain, moved, sequence=moved + 1)
            row |= {"sequence": number, "previous_hash": "f" * 64, "snapshot_id": "forged"}
            row["forecast_hash" if chain == "outcome" else "pair"] = "forged"
            hand.insert(chain, row | {"hash": record_hash(chain, row)})
        found = finding(file)
        assert found.chain == chain
        assert found.sequence == {0: 1, 15: 15}.get(number, COUNTS[chain] + 1)

    def test_edited_with_its_hash_made_to_fit(self, file: Ledger, chain: Chain) -> None:
        with tampering(file) as hand:
            hand.edit(chain, 5, snapshot_id="forged")
            hand.rechain(chain, 5, 5)
        found = finding(file)
        assert (found.chain, found.sequence) == (chain, 6)
        assert "does not follow record 5" in found.message

    def test_written_anew_to_the_end_shows_against_the_head(self, ledger: Ledger, chain: Chain) -> None:
        with tampering(ledger) as hand:
            hand.edit(chain, 5, snapshot_id="forged")
            hand.rechain(chain, 5)
            if chain == "forecast":
                _follow(hand)
        found = finding(ledger)
        assert found.chain == "head"
        assert "written anew" in found.message
        with pytest.raises(LedgerError, match="written anew"):
            ledger.append(toy_entries(WEEKS), on_time(WEEKS))

    def test_cut_off_the_end_shows_against_the_head(self, ledger: Ledger, chain: Chain) -> None:
        last = COUNTS[chain]
        with tampering(ledger) as hand:
            if chain == "forecast":
                hand.remove("outcome", 1, 14)
            hand.remove(chain, last - 1, last)
        found = finding(ledger)
        assert found.chain == "head"
        assert f"{chain} records {last - 1} to {last} were there and are gone" in found.message
        # Nor does the next append cover it up.
        head = ledger.head_path.read_bytes()
        with pytest.raises(LedgerError, match="are gone"):
            ledger.append(toy_entries(WEEKS), on_time(WEEKS))
        assert ledger.head_path.read_bytes() == head

    def test_an_edited_end_is_not_built_upon(self, file: Ledger, chain: Chain) -> None:
        with tampering(file) as hand:
            hand.edit(chain, COUNTS[chain], snapshot_id="forged")
        with pytest.raises(LedgerError, match="the last one, was edited"):
            file.append(toy_entries(WEEKS), on_time(WEEKS))


def _follow(hand: Hand) -> None:
    """Point outcomes to the forecasts whose hashes were made anew: their order is the same."""
    hashes = [row[0] for row in hand.run("SELECT hash FROM capshift_forecast ORDER BY sequence")]
    taken = hand.run("SELECT sequence, forecast_hash FROM capshift_outcome ORDER BY sequence")
    orphans = [number for number, told in taken if told not in hashes]
    free = [told for told in hashes if told not in {told for _, told in taken}]
    for number, told in zip(orphans, free, strict=False):
        hand.edit("outcome", number, forecast_hash=told)
    hand.rechain("outcome", 1)


class TestMeaning:
    """Chains that hold together but say what cannot be."""

    def test_a_backfilled_call_called_live(self, tmp_path: Path) -> None:
        ledger = Ledger(None, tmp_path)
        ledger.append(toy_entries(0), on_time(8))
        with tampering(ledger) as hand:
            hand.edit("forecast", 2, backfilled=0)
            hand.rechain("forecast", 2)
        found = finding(ledger)
        assert found.sequence == 2
        assert "says live against its own times" in found.message

    def test_a_record_dated_back(self, file: Ledger) -> None:
        with tampering(file) as hand:
            hand.edit("forecast", 9, recorded_at="2023-01-07T00:00:00.000000Z")
            hand.rechain("forecast", 9)
        assert "was recorded before record 8" in finding(file).message

    def test_an_outcome_before_its_time(self, file: Ledger) -> None:
        with tampering(file) as hand:
            hand.edit("outcome", 3, matured_at="2099-01-01T00:00:00.000000Z")
            hand.rechain("outcome", 3)
        assert "before it matured" in finding(file).message

    def test_an_outcome_without_its_forecast(self, file: Ledger) -> None:
        with tampering(file) as hand:
            hand.edit("outcome", 3, forecast_hash="0" * 64)
            hand.rechain("outcome", 3)
        found = finding(file)
        assert (found.chain, found.sequence) == ("outcome", 3)
        assert "resolves no recorded forecast" in found.message

    @pytest.mark.parametrize("name", ["ledger_id", "created_at"])
    def test_the_ledgers_own_row(self, file: Ledger, name: str) -> None:
        with tampering(file) as hand:
            hand.run(f"UPDATE capshift_ledger SET {name} = 'forged'")
        assert finding(file).sequence == 1

    def test_the_head_of_another_ledger(self, file: Ledger, tmp_path: Path) -> None:
        other = filled(str(tmp_path / "other" / "ledger.db"), tmp_path, 1)
        assert "belongs to another ledger" in finding(file, other.head_path).message


class TestHeadFile:
    def test_a_copy_kept_elsewhere_finds_who_edits_both(self, file: Ledger, tmp_path: Path) -> None:
        copy = tmp_path / "elsewhere.json"
        shutil.copy(file.head_path, copy)
        with tampering(file) as hand:
            hand.remove("outcome", 1, 14)
            hand.remove("forecast", 21, 24)
        file.head_path.unlink()
        file.append(toy_entries(WEEKS), on_time(WEEKS))
        assert verify(file).finding is None
        assert finding(file, copy).chain == "head"

    def test_what_cannot_be_found(self, file: Ledger) -> None:
        # Without any copy of the head a chain that was cut or written anew is as good as the true one; it is said.
        with tampering(file) as hand:
            hand.remove("outcome", 1, 14)
            hand.remove("forecast", 23, 24)
            hand.edit("forecast", 5, snapshot_id="forged")
            hand.rechain("forecast", 5)
        file.head_path.unlink()
        result = verify(file)
        assert result.finding is None
        assert result.head_state == "missing"

    def test_a_copy_of_earlier_is_behind_and_fine(self, file: Ledger, tmp_path: Path) -> None:
        copy = tmp_path / "earlier.json"
        shutil.copy(file.head_path, copy)
        file.append(toy_entries(WEEKS), on_time(WEEKS))
        assert verify(file, copy).head_state == "behind"
        assert verify(file, copy).finding is None

    def test_a_copy_that_is_not_there(self, file: Ledger, tmp_path: Path) -> None:
        with pytest.raises(DataContractError, match="no head file here"):
            verify(file, tmp_path / "nowhere.json")

    def test_a_ledger_that_is_gone_is_not_begun_anew(self, tmp_path: Path) -> None:
        ledger = filled(str(tmp_path / "ledger.db"), tmp_path, 1)
        (tmp_path / "ledger.db").unlink()
        with pytest.raises(LedgerError, match=r"no ledger here, but .* knows of one with"):
            ledger.append(toy_entries(1), on_time(1))
        with pytest.raises(LedgerError, match=r"no ledger here, but .* knows of one"):
            verify(ledger)


MOVES = st.lists(
    st.tuples(
        st.sampled_from(BOTH), st.sampled_from(["edit", "remove", "swap", "copy"]), st.integers(1, 14),
        st.integers(1, 14), st.booleans(),
    ),
    min_size=1, max_size=3,
)  # fmt: skip


@settings(max_examples=20)
@given(moves=MOVES)
def test_whatever_is_done_to_the_records_is_found(
    pristine: Path, tmp_path_factory: pytest.TempPathFactory, moves: list[tuple[Chain, str, int, int, bool]]
) -> None:
    folder = tmp_path_factory.mktemp("tampered")
    shutil.copytree(pristine, folder, dirs_exist_ok=True)
    ledger = Ledger(str(folder / "ledger.db"), folder)
    with tampering(ledger) as hand:
        before = _content(hand)
        for chain, move, one, other, forge in moves:
            # Even without its guards the database refuses what its unique columns do not allow.
            with contextlib.suppress(sqlite3.IntegrityError):
                _do(hand, chain, move, one, other)
            if forge and move != "remove":
                _forge(hand, chain, one)
        changed = _content(hand) != before
    assert (verify(ledger).finding is not None) == changed
    shutil.rmtree(folder)


def _content(hand: Hand) -> list[Any]:
    return [hand.run(f"SELECT * FROM {table.name} ORDER BY sequence") for table in CHAINS.values()]


def _do(hand: Hand, chain: Chain, move: str, one: int, other: int) -> None:
    if move == "remove":
        hand.remove(chain, one, one)
    elif move == "edit":
        hand.edit(chain, one, snapshot_id=f"forged{other}")
    elif move == "swap" and one != other:
        hand.edit(chain, one, sequence=10**6)
        hand.edit(chain, other, sequence=one)
        hand.edit(chain, 10**6, sequence=other)
    elif move == "copy":
        names = ", ".join(column.name for column in CHAINS[chain].columns)
        values = names.replace("sequence", "100 + max(sequence)", 1).replace("snapshot_id", "'copied'")
        key = "forecast_hash" if chain == "outcome" else "hash"
        for name in {key, "hash", "previous_hash"}:
            values = f", {values},".replace(f", {name},", f", {name} || 'x',")[2:-1]
        hand.run(f"INSERT INTO {CHAINS[chain].name} ({names}) SELECT {values} FROM {CHAINS[chain].name}")


def _forge(hand: Hand, chain: Chain, number: int) -> None:
    """Give one record the hash of its content."""
    if hand.run(f"SELECT 1 FROM {CHAINS[chain].name} WHERE sequence = ?", number):
        row = hand.row(chain, number)
        hand.edit(chain, number, hash=record_hash(chain, row))


class TestDamagedFile:
    @pytest.mark.parametrize("damage", ["empty", "text", "truncated", "zeroed", "noise", "mlflow"])
    def test_is_one_sentence(self, pristine: Path, tmp_path: Path, damage: str) -> None:
        path = tmp_path / "ledger.db"
        shutil.copytree(pristine, tmp_path, dirs_exist_ok=True)
        raw = bytearray(path.read_bytes())
        if damage == "empty":
            raw.clear()
        elif damage == "text":
            raw[:] = b"not a database" * 500
        elif damage == "truncated":
            del raw[len(raw) // 2 :]
        elif damage == "zeroed":
            raw[4096:] = bytes(len(raw) - 4096)
        elif damage == "noise":
            raw[4096:] = np.random.default_rng(1).bytes(len(raw) - 4096)
        path.write_bytes(raw)
        if damage == "mlflow":
            path.unlink()
            with sqlite3.connect(path) as connection:
                connection.execute("CREATE TABLE runs (a)")
            connection.close()
        ledger = Ledger(str(path), tmp_path)
        for use in (
            lambda: verify(ledger),
            lambda: recorded_forecasts(ledger),
            lambda: ledger.append(toy_entries(9), on_time(9)),
        ):
            with pytest.raises((LedgerError, DataContractError)) as caught:
                use()
            assert str(path) in str(caught.value)
            assert "\n" not in str(caught.value)

    @pytest.mark.parametrize(
        "values", [{"p_switch": "much"}, {"revision": "first"}, {"hash": b"\x00\xff"}, {"market": "\udcff"}]
    )
    def test_a_value_that_no_record_holds_is_one_sentence(self, file: Ledger, values: dict[str, object]) -> None:
        raw = {name: value.encode("utf-8", "surrogateescape") if name == "market" else value
               for name, value in values.items()}  # fmt: skip
        with tampering(file) as hand:
            hand.edit("forecast", 3, **raw)
            hand.run("UPDATE capshift_forecast SET market = CAST(market AS TEXT) WHERE sequence = 3")
        assert finding(file).sequence == 3
        with pytest.raises(LedgerError, match="holds what no record holds"):
            recorded_forecasts(file)

    def test_one_flipped_byte_never_passes_for_another_record(self, pristine: Path, tmp_path: Path) -> None:
        path = tmp_path / "ledger.db"
        shutil.copytree(pristine, tmp_path, dirs_exist_ok=True)
        ledger = Ledger(str(path), tmp_path)
        good = recorded_forecasts(ledger)
        raw = path.read_bytes()
        rng = np.random.default_rng(3)
        found = 0
        for at in rng.integers(0, len(raw), 60):
            flipped = bytearray(raw)
            flipped[at] ^= 1 << int(rng.integers(8))
            path.write_bytes(flipped)
            try:
                bad = verify(ledger).finding is not None
            except (LedgerError, DataContractError):
                bad = True
            # What passes says what the true one says: the byte was in an index, in free space or in the header.
            assert bad or recorded_forecasts(ledger).equals(good)
            found += bad
        assert found > 5
