"""Appending and resolving, on SQLite and PostgreSQL."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sqlalchemy.exc import DBAPIError

from features.contracts import FORECAST_COLUMNS
from features.errors import DataContractError, LedgerError
from serving.ledger import Ledger
from serving.ledger_database import LedgerDatabase
from serving.ledger_read import RECORDED_COLUMNS, first_calls, recorded_forecasts
from serving.ledger_record import FORECAST_FIELDS, OUTCOME_COLUMNS
from serving.ledger_tables import CHAINS
from serving.ledger_verify import verify
from tests.serving.ledger_toy import (
    FRIDAY,
    WEEK,
    filled,
    on_time,
    tampering,
    toy_entries,
    toy_outcomes,
    toy_rows,
)

DEADLINE = FRIDAY + np.timedelta64(3, "D") + np.timedelta64(450, "m")


@pytest.fixture
def ledger(location: str, tmp_path: Path) -> Ledger:
    return Ledger(location, tmp_path)


class TestAppend:
    def test_every_number_comes_back_as_it_was(self, ledger: Ledger) -> None:
        rows = toy_rows(0)
        # The awkward ones: the last bit, a denormal, a huge one, text beyond ASCII, quotes.
        rows.loc[0, ["p_switch_lo", "p_crash_lo", "var_95"]] = [0.1 + 0.2, 5e-324, -1.7976931348623157e308]
        rows.loc[1, "reasons"] = "融资 'stale'; \"x\" \\ \n%s ?"
        entries = toy_entries(0).assign(**rows[["p_switch_lo", "p_crash_lo", "var_95", "reasons"]])
        done = ledger.append(entries, on_time(0))
        assert (done.added, done.unchanged, done.revised, done.backfilled) == (4, 0, 0, 0)
        back = recorded_forecasts(ledger)
        assert tuple(back.columns) == RECORDED_COLUMNS
        assert RECORDED_COLUMNS[: len(FORECAST_COLUMNS)] == FORECAST_COLUMNS
        names = list(FORECAST_FIELDS)
        pd.testing.assert_frame_equal(back[names], entries[names], check_exact=True)
        assert back[["matured_at", "outcome_recorded_at", *OUTCOME_COLUMNS]].isna().all(axis=None)
        assert (back["recorded_at"] == pd.Timestamp(on_time(0))).all()
        assert verify(ledger).finding is None

    def test_again_adds_nothing_whenever_and_in_whatever_order(self, ledger: Ledger) -> None:
        first = ledger.append(toy_entries(0), on_time(0))
        again = ledger.append(toy_entries(0).iloc[::-1].reset_index(drop=True), on_time(9))
        assert (again.added, again.unchanged) == (0, 4)
        assert again.head == first.head

    def test_what_is_new_of_a_batch_is_added(self, ledger: Ledger) -> None:
        ledger.append(toy_entries(0, ("big-mid",)), on_time(0))
        done = ledger.append(pd.concat([toy_entries(0), toy_entries(1)], ignore_index=True), on_time(1))
        assert (done.added, done.unchanged) == (6, 2)
        assert verify(ledger).finding is None

    def test_other_numbers_for_the_same_key_are_a_revision_that_says_so(self, ledger: Ledger) -> None:
        ledger.append(toy_entries(0), on_time(0))
        other = toy_entries(0)
        other.loc[2, "p_switch"] = np.nextafter(other.loc[2, "p_switch"], 1)
        done = ledger.append(other, on_time(0))
        assert (done.added, done.unchanged, done.revised) == (1, 3, 1)
        # Neither of the two is news any more.
        assert ledger.append(other, on_time(1)).added == 0
        assert ledger.append(toy_entries(0), on_time(1)).added == 0
        upgraded = ledger.append(toy_entries(0, code_version="2"), on_time(1))
        assert (upgraded.added, upgraded.revised) == (4, 4)
        recorded = recorded_forecasts(ledger)
        assert recorded["revision"].tolist() == [0, 0, 0, 0, 1, 1, 1, 2, 1]
        assert verify(ledger).revisions == 5
        # The first call is the one that counts.
        names = list(FORECAST_FIELDS)
        pd.testing.assert_frame_equal(first_calls(recorded)[names], toy_entries(0)[names], check_exact=True)

    def test_other_data_or_configuration_is_another_call_but_not_the_first(self, ledger: Ledger) -> None:
        ledger.append(toy_entries(0), on_time(0))
        for changes in ({"snapshot_id": "other"}, {"config_hash": "other"}, {"bundle_cut": FRIDAY}):
            done = ledger.append(toy_entries(0, **changes), on_time(0))
            assert (done.added, done.revised) == (4, 0)
        recorded = recorded_forecasts(ledger)
        assert len(recorded) == 16
        assert first_calls(recorded)["sequence"].tolist() == [1, 2, 3, 4]

    def test_abstaining_calls_are_recorded_without_numbers(self, ledger: Ledger) -> None:
        silent = toy_entries(0, validity="abstain_stale", reasons="stale")
        missing = [name for name in silent.columns if name.startswith(("p_", "var_", "es_")) and "_base" not in name]
        silent[missing] = np.nan
        assert ledger.append(silent, on_time(0)).added == 4
        assert ledger.append(silent, on_time(0)).added == 0
        assert recorded_forecasts(ledger)[missing].isna().all(axis=None)
        assert verify(ledger).finding is None

    def test_all_or_nothing(self, ledger: Ledger) -> None:
        ledger.append(toy_entries(0), on_time(0))
        broken = pd.concat([toy_entries(1), toy_entries(2)], ignore_index=True)
        broken.loc[7, "sigma"] = np.nan
        with pytest.raises(DataContractError, match="`sigma` must be there"):
            ledger.append(broken, on_time(2))
        broken.loc[7, "sigma"] = np.inf
        with pytest.raises(DataContractError, match="`sigma` must be finite"):
            ledger.append(broken, on_time(2))
        assert len(recorded_forecasts(ledger)) == 4
        assert verify(ledger).head_state == "matches"

    def test_inputs_are_left_alone(self, ledger: Ledger) -> None:
        entries = toy_entries(0)
        ledger.append(entries, on_time(0))
        pd.testing.assert_frame_equal(entries, toy_entries(0))

    def test_frames_without_times_are_refused(self, ledger: Ledger) -> None:
        with pytest.raises(DataContractError, match="lack simulated, decision_at, live_until"):
            ledger.append(toy_rows(0), on_time(0))

    def test_the_database_refuses_changes(self, ledger: Ledger) -> None:
        from sqlalchemy import text

        ledger.append(toy_entries(0), on_time(0))
        for statement in (
            "UPDATE capshift_forecast SET p_switch = 1", "DELETE FROM capshift_forecast", "DELETE FROM capshift_ledger",
        ):  # fmt: skip
            with pytest.raises(LedgerError, match="append-only"), ledger.database.writing() as connection:
                connection.execute(text(statement))
        assert verify(ledger).finding is None


class TestBackfilled:
    def test_live_until_the_close_of_the_entry_day_is_known(self, ledger: Ledger) -> None:
        tick = np.timedelta64(1, "us")
        assert ledger.append(toy_entries(0, ("big-mid",)), DEADLINE).backfilled == 0
        assert ledger.append(toy_entries(0, ("big-small",)), DEADLINE + tick).backfilled == 2
        assert recorded_forecasts(ledger)["backfilled"].tolist() == [False, False, True, True]
        assert verify(ledger).backfilled == 2

    def test_after_the_next_decision_and_after_the_exit(self, ledger: Ledger) -> None:
        for week, late in ((0, 1), (20, 8)):
            now = FRIDAY + (week + late) * WEEK + np.timedelta64(8, "h")
            assert ledger.append(toy_entries(week), now).backfilled == 4

    def test_live_and_backfilled_calls_never_stand_in_for_each_other(self, ledger: Ledger) -> None:
        ledger.append(toy_entries(0), on_time(0))
        ledger.append(toy_entries(0, snapshot_id="other"), on_time(30))
        firsts = first_calls(recorded_forecasts(ledger))
        assert firsts["backfilled"].tolist() == [False] * 4 + [True] * 4
        # A late revision of a live call is neither.
        ledger.append(toy_entries(0, code_version="2"), on_time(30))
        assert len(first_calls(recorded_forecasts(ledger))) == 8


class TestClock:
    def test_before_the_decision_is_refused(self, ledger: Ledger) -> None:
        with pytest.raises(DataContractError, match="before the decision"):
            ledger.append(toy_entries(1), on_time(0))

    def test_put_back_a_little_writes_the_time_of_the_last_record(self, ledger: Ledger) -> None:
        ledger.append(toy_entries(1), on_time(1))
        ledger.append(toy_entries(0), on_time(1) - np.timedelta64(59, "m"))
        assert (recorded_forecasts(ledger)["recorded_at"] == pd.Timestamp(on_time(1))).all()
        assert verify(ledger).finding is None

    def test_put_back_far_is_refused(self, ledger: Ledger) -> None:
        ledger.append(toy_entries(1), on_time(1))
        with pytest.raises(DataContractError, match=r"far behind the last record.*set the clock"):
            ledger.append(toy_entries(0), on_time(1) - np.timedelta64(61, "m"))

    def test_put_back_behind_an_outcome_is_refused_too(self, ledger: Ledger) -> None:
        """Or a call could be recorded as live after the time of its outcome."""
        ledger.append(toy_entries(0), on_time(0))
        ledger.resolve(toy_outcomes(recorded_forecasts(ledger)), on_time(5))
        with pytest.raises(DataContractError, match=r"far behind the last record.*set the clock"):
            ledger.append(toy_entries(1), on_time(1))
        assert ledger.append(toy_entries(1), on_time(5)).backfilled == 4

    def test_time_zone_of_the_machine_does_not_matter(self, ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
        import time

        try:
            for week, zone in enumerate(("Asia/Shanghai", "America/New_York", "UTC")):
                monkeypatch.setenv("TZ", zone)
                time.tzset()
                ledger.append(toy_entries(week), on_time(week))
        finally:
            monkeypatch.undo()
            time.tzset()
        recorded = recorded_forecasts(ledger)
        assert recorded["recorded_at"].unique().tolist() == [pd.Timestamp(on_time(week)) for week in range(3)]
        assert verify(ledger).finding is None


class TestResolve:
    def test_matured_outcomes_once(self, ledger: Ledger) -> None:
        ledger.append(toy_entries(0), on_time(0))
        outcomes = toy_outcomes(recorded_forecasts(ledger))
        assert ledger.resolve(outcomes, on_time(0)).added == 0
        done = ledger.resolve(outcomes, on_time(2))
        assert done.added == 2
        assert done.head.marks["outcome"].count == 2
        # What is there stays, whatever a later run says.
        again = ledger.resolve(outcomes.assign(spread_realised=9.0), on_time(8))
        assert (again.added, again.unchanged) == (2, 2)
        recorded = recorded_forecasts(ledger)
        week, month = recorded["horizon_weeks"] == 1, recorded["horizon_weeks"] == 4
        names = ["exit_date", "matured_at", *OUTCOME_COLUMNS]
        pd.testing.assert_frame_equal(recorded.loc[week, names], outcomes.loc[week, names], check_exact=True)
        assert (recorded.loc[month, "spread_realised"] == 9).all()
        assert recorded["outcome_recorded_at"].notna().all()
        assert verify(ledger).finding is None

    def test_of_a_forecast_that_is_not_recorded(self, ledger: Ledger) -> None:
        ledger.append(toy_entries(0), on_time(0))
        outcomes = toy_outcomes(recorded_forecasts(ledger)).assign(forecast_hash="0" * 64).head(1)
        with pytest.raises(LedgerError, match="no forecast 0000"):
            ledger.resolve(outcomes, on_time(9))

    def test_an_outcome_never_changes_the_forecast_chain(self, ledger: Ledger) -> None:
        before = ledger.append(toy_entries(0), on_time(0)).head.marks["forecast"]
        after = ledger.resolve(toy_outcomes(recorded_forecasts(ledger)), on_time(9)).head.marks["forecast"]
        assert after == before


class TestSchema:
    def test_of_another_version_is_refused_with_the_remedy(self, location: str, tmp_path: Path) -> None:
        ledger = filled(location, tmp_path, 1)
        with tampering(ledger) as hand:
            hand.run("UPDATE capshift_ledger SET schema_version = 99")
        for use in (lambda: ledger.append(toy_entries(1), on_time(1)), lambda: verify(ledger)):
            with pytest.raises(LedgerError, match="version 99; this capshift knows 1; install the capshift"):
                use()
        with pytest.raises(LedgerError, match="version 99"):
            recorded_forecasts(ledger)

    @pytest.mark.parametrize("statement", ["DELETE FROM capshift_ledger", "DROP TABLE capshift_outcome"])
    def test_without_its_row_or_a_table(self, location: str, tmp_path: Path, statement: str) -> None:
        ledger = filled(location, tmp_path, 1)
        with tampering(ledger) as hand:
            hand.run(statement)
        with pytest.raises(LedgerError, match="restore a backup"):
            ledger.append(toy_entries(1), on_time(1))
        with pytest.raises(LedgerError, match="restore a backup"):
            verify(ledger)

    def test_tables_of_both_databases_hold_the_hashed_fields(self) -> None:
        from serving.ledger_record import FIELDS

        for chain, table in CHAINS.items():
            assert [column.name for column in table.columns] == [*FIELDS[chain], "hash"]


class TestHead:
    def test_file_follows_every_append_and_names_no_secret(self, ledger: Ledger) -> None:
        for week in range(3):
            done = ledger.append(toy_entries(week), on_time(week))
            told = json.loads(ledger.head_path.read_text(encoding="utf-8"))
            assert told["forecast"] == {"count": 4 * (week + 1), "hash": done.head.marks["forecast"].hash}
        assert sorted(told) == ["forecast", "ledger_id", "outcome"]

    def test_that_is_gone_is_said_when_it_is_written_anew(self, ledger: Ledger) -> None:
        assert not ledger.append(toy_entries(0), on_time(0)).headless
        ledger.head_path.unlink()
        assert ledger.append(toy_entries(1), on_time(1)).headless
        assert not ledger.append(toy_entries(2), on_time(2)).headless

    def test_a_slower_writer_does_not_put_it_back(self, ledger: Ledger) -> None:
        from serving.ledger_head import advance_head, read_head

        early = ledger.append(toy_entries(0), on_time(0)).head
        late = ledger.append(toy_entries(1), on_time(1)).head
        advance_head(ledger.head_path, early)
        assert read_head(ledger.head_path) == late

    def test_that_lags_is_caught_up_by_the_next_run(self, ledger: Ledger) -> None:
        ledger.append(toy_entries(0), on_time(0))
        old = ledger.head_path.read_bytes()
        ledger.append(toy_entries(1), on_time(1))
        ledger.head_path.write_bytes(old)
        assert verify(ledger).head_state == "behind"
        assert ledger.append(toy_entries(1), on_time(1)).added == 0
        assert verify(ledger).head_state == "matches"

    @pytest.mark.parametrize("text", ["", "{}", "[]", "null", '{"ledger_id": 1, "forecast": 2}', "\x00", "[" * 100000])
    def test_that_is_none_stops_everything(self, ledger: Ledger, text: str) -> None:
        ledger.append(toy_entries(0), on_time(0))
        ledger.head_path.write_text(text, encoding="utf-8")
        self.refused(ledger)

    def test_that_counts_beyond_every_database_is_none(self, ledger: Ledger) -> None:
        ledger.append(toy_entries(0), on_time(0))
        told = json.loads(ledger.head_path.read_bytes())
        told["forecast"]["count"] = 10**30
        ledger.head_path.write_text(json.dumps(told), encoding="utf-8")
        self.refused(ledger)

    @staticmethod
    def refused(ledger: Ledger) -> None:
        with pytest.raises(LedgerError, match="not the head of a ledger"):
            ledger.append(toy_entries(1), on_time(1))
        with pytest.raises(LedgerError, match="not the head of a ledger"):
            verify(ledger)


def test_messages_name_neither_user_nor_password(tmp_path: Path) -> None:
    database = LedgerDatabase(f"postgresql://strategist:s3cret@/nowhere?host={tmp_path}")
    assert "s3cret" not in database.name
    assert "strategist" not in database.name
    with pytest.raises(DataContractError) as caught, database.reading():
        pass
    assert "s3cret" not in str(caught.value)
    assert not isinstance(caught.value, DBAPIError)
