"""Jobs that are killed in the middle of an append, and jobs that append at once: nothing lost, doubled or forked."""

from __future__ import annotations

import multiprocessing as mp
import time
from pathlib import Path

import numpy as np
import pytest

from serving.ledger import Ledger
from serving.ledger_read import recorded_forecasts
from serving.ledger_record import KEY_FIELDS
from serving.ledger_verify import verify
from tests.serving.ledger_toy import on_time, toy_entries
from tests.serving.ledger_worker import MANY, append_and_die, append_forever, append_weeks, append_without_room

ROWS = len(toy_entries(0))
KILLED = -9


def whole(ledger: Ledger, weeks: int) -> None:
    """Require each of the first weeks once, and a chain that verifies."""
    result = verify(ledger)
    assert result.finding is None
    assert result.head_state == "matches"
    recorded = recorded_forecasts(ledger)
    assert not recorded.duplicated(list(KEY_FIELDS)).any()
    assert len(recorded) == weeks * ROWS
    assert set(recorded["decision_date"]) == {
        day for week in range(weeks) for day in toy_entries(week)["decision_date"]
    }
    assert (recorded["revision"] == 0).all()


def killed_at(processes: mp.context.ForkServerContext, ledger: Ledger, place: str, week: int, step: int) -> None:
    """Kill the append of a week at a step, and publish it again: what is there then is the whole week."""
    child = processes.Process(
        target=append_and_die, args=(place, ledger.head_path.parent, week, step, processes.Pipe()[1])
    )
    child.start()
    child.join()
    assert child.exitcode == KILLED
    if week:
        # What the killed job left verifies as it is.
        assert verify(ledger).finding is None
    # All rows of its week, or none.
    assert ledger.append(toy_entries(week), on_time(week)).added in (0, ROWS)


def steps_of_append(processes: mp.context.ForkServerContext, ledger: Ledger, place: str, week: int) -> int:
    """Append a week and return how many statements, commits and file operations that took."""
    ours, theirs = processes.Pipe()
    child = processes.Process(target=append_and_die, args=(place, ledger.head_path.parent, week, -1, theirs))
    child.start()
    child.join()
    assert child.exitcode == 0
    count = ours.recv()
    assert isinstance(count, int)
    return count


class TestKilled:
    @pytest.mark.parametrize("kills", [5, pytest.param(100, marks=pytest.mark.fault)])
    def test_at_steps_of_an_append(self, processes, location: str, tmp_path: Path, kills: int) -> None:
        ledger = Ledger(location, tmp_path)
        ledger.append(toy_entries(0), on_time(0))
        count = steps_of_append(processes, ledger, location, 1)
        # From the first look at the head file to the new one in its place; 100 kills are more than there are steps.
        steps = np.unique(np.linspace(1, count, kills).round().astype(int)).tolist()
        assert len(steps) == min(kills, count)
        for week, step in enumerate(steps, start=2):
            killed_at(processes, ledger, location, week, step)
        whole(ledger, len(steps) + 2)

    @pytest.mark.slow
    def test_at_every_step_of_the_first_append(self, processes, tmp_path: Path) -> None:
        dry = tmp_path / "dry" / "ledger.db"
        for step in range(1, steps_of_append(processes, Ledger(str(dry), dry.parent), str(dry), 0) + 1):
            place = tmp_path / str(step) / "ledger.db"
            ledger = Ledger(str(place), place.parent)
            killed_at(processes, ledger, str(place), 0, step)
            whole(ledger, 1)

    @pytest.mark.parametrize("kills", [5, pytest.param(20, marks=pytest.mark.fault)])
    def test_at_random_times(self, processes, tmp_path: Path, kills: int) -> None:
        rng = np.random.default_rng(kills)
        for number in range(kills):
            folder = tmp_path / str(number)
            location, started = str(folder / "ledger.db"), processes.Event()
            child = processes.Process(target=append_forever, args=(location, folder, started))
            child.start()
            assert started.wait(30)
            time.sleep(rng.uniform(0, 0.08))
            child.kill()
            child.join()
            ledger = Ledger(location, folder)
            before = len(recorded_forecasts(ledger))
            assert before % ROWS == 0
            assert verify(ledger).finding is None
            weeks = before // ROWS + 1
            for week in range(weeks):
                ledger.append(toy_entries(week), on_time(weeks))
            whole(ledger, weeks)


def test_a_full_disk_is_one_sentence_and_costs_nothing(processes, tmp_path: Path) -> None:
    place = str(tmp_path / "ledger.db")
    ledger = Ledger(place, tmp_path)
    ledger.append(toy_entries(0), on_time(0))
    size = (tmp_path / "ledger.db").stat().st_size
    # Room for nothing, for a part of the journal, for all but the new pages.
    for limit in (0, 512, 8192, size):
        ours, theirs = processes.Pipe()
        child = processes.Process(target=append_without_room, args=(place, tmp_path, 9, limit, theirs))
        child.start()
        child.join()
        kind, said = ours.recv()
        assert kind == "DataContractError"
        assert said.startswith(place)
        assert verify(ledger).finding is None
    assert ledger.append(toy_entries(9, MANY), on_time(9)).added == 2 * len(MANY)
    assert verify(ledger).head_state == "matches"
    assert len(recorded_forecasts(ledger)) == ROWS + 2 * len(MANY)


def test_two_writers_at_once_do_not_fork_the_chain(processes, location: str, tmp_path: Path) -> None:
    # Every process begins the ledger, and half of its weeks are also those of its neighbour.
    start = processes.Event()
    weeks = [list(range(2 * writer, 2 * writer + 4)) for writer in range(4)]
    writers = [processes.Process(target=append_weeks, args=(location, tmp_path, own, start)) for own in weeks]
    for writer in writers:
        writer.start()
    start.set()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0] * 4
    whole(Ledger(location, tmp_path), 10)


def test_a_writer_waits_for_another_and_then_says_who_is_in_the_way(
    location: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from features.errors import LockedError

    monkeypatch.setattr("serving.ledger_database.WAIT_SECONDS", 0.2)
    ledger = Ledger(location, tmp_path)
    ledger.append(toy_entries(0), on_time(0))
    with ledger.database.writing(), pytest.raises(LockedError, match="another process holds the ledger"):
        ledger.append(toy_entries(1), on_time(1))
    assert ledger.append(toy_entries(1), on_time(1)).added == ROWS
