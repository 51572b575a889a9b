"""Tails of forecast rows: what is tilted and what not, the level in force, and what a reader is told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from features.contracts import EVENTS, HORIZONS, TAIL_COLUMNS, Dataset
from models.conformal import corrected_levels
from models.curve import ALPHA, GRID, LEVELS, read_curve
from models.implied import Refits, pair_states, untilted
from models.memory import Key, Memory, settle
from models.scenarios import weighted_tail
from models.simulate import path_events, spread_returns
from models.tails import RowTail, tail_frame, tilted
from models.validity import MIN_EFFECTIVE, Judgement, Reason, with_tail
from models.volatility import ScenarioSettings
from tests.models.closes import PARAMS, toy_dataset, toy_days

SETTINGS = ScenarioSettings(paths=600, min_days=150, window_days=400)
TARGET = np.array([0.35, 0.6, 0.2]), np.array([0.04, 0.05, 0.03])
VALID = Judgement("validated", ())
KEY = ["pair", "decision_date", "horizon_weeks"]


def refits(dataset: Dataset) -> Refits:
    return {toy_days(dataset)[0]: dict.fromkeys(dataset.segments, PARAMS)}


def keys(dataset: Dataset, day: np.datetime64) -> list[Key]:
    return [(pair, pd.Timestamp(day), horizon) for pair in pair_states(dataset, day) for horizon in HORIZONS]


def test_all_rows_are_read_off_one_set_that_says_what_the_targets_say() -> None:
    dataset = toy_dataset()
    day = toy_days(dataset)[-1]
    targets = dict.fromkeys(keys(dataset, day), TARGET)
    found = tilted(dataset, refits(dataset), day, targets, SETTINGS)
    drawn = untilted(dataset, refits(dataset), day, SETTINGS)
    assert found is not None
    assert drawn is not None
    scenarios, rows = found
    np.testing.assert_array_equal(scenarios.paths, drawn[0].paths)
    assert set(rows) == set(targets)
    assert scenarios.effective_size < SETTINGS.paths
    for (pair, _, horizon), row in rows.items():
        state = pair_states(dataset, day)[pair]
        happened = path_events(scenarios, state, drawn[1].points, horizon)
        said = np.array([scenarios.weights @ happened[event] for event in EVENTS])
        plain = np.array([happened[event].mean() for event in EVENTS])
        np.testing.assert_allclose(row.residual, said - TARGET[0], atol=1e-12)
        assert (np.abs(said - TARGET[0]) < np.abs(plain - TARGET[0]) + 0.02).all()
        assert row.effective_size == pytest.approx(scenarios.effective_size)
        assert row.too_few == ()
        values = spread_returns(scenarios, state, horizon)
        for curves, weights in ((row.curves, scenarios.weights), (row.untilted, drawn[0].weights)):
            for side, sign in enumerate((1.0, -1.0)):
                direct = weighted_tail(sign * values, weights, LEVELS.tolist())
                np.testing.assert_allclose(curves[side].T, direct, atol=1e-12)
        assert (row.curves != row.untilted).any()


def test_a_row_without_target_is_read_off_the_untilted_set() -> None:
    dataset = toy_dataset()
    day = toy_days(dataset)[-1]
    aimed = [key for key in keys(dataset, day) if key[0] == "large-small"]
    found = tilted(dataset, refits(dataset), day, dict.fromkeys(aimed, TARGET), SETTINGS)
    assert found is not None
    scenarios, rows = found
    assert scenarios.effective_size < SETTINGS.paths
    for key, row in rows.items():
        silent = key not in aimed
        assert np.array_equal(row.curves, row.untilted) == silent
        assert np.isnan(row.residual).all() == silent
        assert (row.effective_size == pytest.approx(SETTINGS.paths)) == silent
        assert (Reason("untilted") in with_tail(VALID, row).reasons) == silent


def test_without_any_target_nothing_is_tilted() -> None:
    dataset = toy_dataset()
    day = toy_days(dataset)[-1]
    found = tilted(dataset, refits(dataset), day, {}, SETTINGS)
    assert found is not None
    assert (found[0].weights == 1 / SETTINGS.paths).all()
    assert all(np.array_equal(row.curves, row.untilted) for row in found[1].values())


def test_targets_of_other_days_and_pairs_outside_of_the_set_do_not_count() -> None:
    dataset = toy_dataset()
    day = toy_days(dataset)[-1]
    only: Refits = {toy_days(dataset)[0]: {"large": PARAMS, "small": PARAMS, "micro": None}}
    mine = dict.fromkeys([key for key in keys(dataset, day) if key[0] == "large-small"], TARGET)
    wild = np.array([0.01, 0.99, 0.99]), np.full(3, 1e-3)
    others = {("large-micro", pd.Timestamp(day), 4): wild, ("large-small", pd.Timestamp("2015-01-09"), 4): wild}
    one, other = (tilted(dataset, only, day, targets, SETTINGS) for targets in (mine, {**mine, **others}))
    assert one is not None
    assert other is not None
    assert {key[0] for key in other[1]} == {"large-small"}
    np.testing.assert_array_equal(one[0].weights, other[0].weights)


def test_no_set_no_tail() -> None:
    dataset = toy_dataset()
    assert tilted(dataset, {}, toy_days(dataset)[-1], {}, SETTINGS) is None


def test_events_that_too_few_paths_show_are_named() -> None:
    dataset = toy_dataset()
    day = toy_days(dataset)[-1]
    calm = replace(dataset, rows=dataset.rows.assign(sigma=1.0))
    found = tilted(calm, refits(dataset), day, dict.fromkeys(keys(calm, day), TARGET), SETTINGS)
    assert found is not None
    for row in found[1].values():
        assert row.too_few == ("switch", "crash")
        assert Reason("few_paths", ("switch", "crash")) in with_tail(VALID, row).reasons
        np.testing.assert_allclose(row.residual[[0, 2]], -TARGET[0][[0, 2]], atol=1e-12)


def plain(**changes: object) -> RowTail:
    curve = np.stack([LEVELS - 0.2, LEVELS / 2 - 0.2])
    values: dict[str, object] = {
        "curves": np.stack([curve, 2 * curve]), "untilted": np.stack([1.5 * curve, 3 * curve]),
        "quantiles": np.stack([GRID, 2 * GRID]), "effective_size": 900.0,
        "residual": np.array([0.01, -0.01, 0.0]), "too_few": (),
    }  # fmt: skip
    return RowTail(**{**values, **changes})  # type: ignore[arg-type]


def test_what_must_be_known_of_a_tail_joins_what_is_known_of_the_features() -> None:
    known = Judgement("stress_supported", (Reason("unusual", count=4, of=20),))
    for row in (plain(), plain(effective_size=float(MIN_EFFECTIVE))):
        assert with_tail(known, row) == known
    assert with_tail(known, None) == Judgement("stress_supported", (*known.reasons, Reason("no_tail")))
    stretched = with_tail(known, plain(effective_size=MIN_EFFECTIVE - 1.2))
    assert stretched == Judgement("out_of_support", (*known.reasons, Reason("stretched", count=MIN_EFFECTIVE - 1)))
    everything = plain(effective_size=3.0, residual=np.full(3, np.nan), too_few=("crash",))
    assert [reason.kind for reason in with_tail(VALID, everything).reasons] == ["untilted", "few_paths", "stretched"]
    # Whatever the tail, a row that abstains abstains.
    silent = Judgement("abstain_stale", (Reason("stale", ("flows",)),))
    assert with_tail(silent, everything).validity == "abstain_stale"
    assert with_tail(silent, None).validity == "abstain_stale"


def rows_of(dataset: Dataset, first: int, last: int | None = None) -> dict[Key, RowTail]:
    """Return made-up tails of the headline pair, of the width of each row's sigma."""
    found = {}
    sigma = dataset.rows["sigma"].xs("large-small").to_dict()
    for day in toy_days(dataset)[first:last]:
        width = sigma.get(pd.Timestamp(day), 0.0)
        for horizon in HORIZONS if width else ():
            curve = width * np.sqrt(horizon) * np.stack([LEVELS**0.4 - 1.0, LEVELS**0.4 - 1.1])
            curves = np.stack([curve, 1.2 * curve])
            found["large-small", pd.Timestamp(day), horizon] = plain(curves=curves, untilted=2 * curves)
    return found


def test_the_frame_reads_the_curves_at_the_level_in_force() -> None:
    dataset = toy_dataset()
    rows = rows_of(dataset, -50)
    frame = tail_frame(dataset, Memory.empty(), rows)
    assert set(frame.index) == set(rows)
    assert frame.index.names == KEY
    reached = settle({key: row.curves[:, 0] for key, row in rows.items()}, dataset)
    for horizon in HORIZONS:
        mine = [key for key in rows if key[2] == horizon]
        at = dataset.clock["decision_at"].loc[[key[1] for key in mine]].to_numpy("datetime64[us]")
        due = dataset.outcomes["matured_at"].reindex(pd.MultiIndex.from_tuples(mine)).to_numpy("datetime64[us]")
        for side, name in enumerate(("level_lower", "level_upper")):
            levels = corrected_levels(
                np.array([reached.get(key, (np.nan, np.nan))[side] for key in mine]), at, due, horizon
            )
            np.testing.assert_allclose(frame.loc[mine, name], levels, atol=1e-15)
    assert frame["level_lower"].nunique() > 5
    for key, row in rows.items():
        shown = frame.loc[key]
        for side, end, sign in ((0, "", 1.0), (1, "_up", -1.0)):
            level = shown["level_upper" if side else "level_lower"]
            for name, share in (("95", 1.0), ("975", 0.5)):
                for prefix, curves, at_level in (
                    ("", row.curves, level), ("raw_", row.curves, ALPHA), ("untilted_", row.untilted, ALPHA),
                ):  # fmt: skip
                    var, es = read_curve(curves[side], at_level * share)
                    assert shown[f"{prefix}var_{name}{end}"] == sign * var
                    assert shown[f"{prefix}es_{name}{end}"] == sign * es
        assert shown["effective_size"] == row.effective_size
        assert [shown[f"residual_{event}"] for event in EVENTS] == row.residual.tolist()


def test_levels_go_on_from_what_is_remembered() -> None:
    dataset = toy_dataset()
    whole = tail_frame(dataset, Memory.empty(), rows_of(dataset, -50))
    until = dataset.clock["decision_at"].loc[pd.Timestamp(toy_days(dataset)[-20])].to_datetime64()
    earlier = {key: row.curves[:, 0] for key, row in rows_of(dataset, -50, -20).items()}
    memory = Memory.empty().extended(earlier, dataset, until)
    assert memory.pending
    later = tail_frame(dataset, memory, rows_of(dataset, -20))
    pd.testing.assert_frame_equal(later, whole.loc[later.index], check_exact=True)
    forgetful = tail_frame(dataset, Memory.empty(), rows_of(dataset, -20))
    assert (forgetful["level_lower"] != later["level_lower"]).any()


def test_later_outcomes_do_not_move_the_level() -> None:
    dataset = toy_dataset()
    rows = rows_of(dataset, -50)
    whole = tail_frame(dataset, Memory.empty(), rows)
    names = [*TAIL_COLUMNS, "level_lower", "level_upper"]

    def until(frame: pd.DataFrame, day: np.datetime64) -> pd.DataFrame:
        return frame.loc[frame.index.get_level_values("decision_date") <= pd.Timestamp(day), names]

    caught = 0
    for day in toy_days(dataset)[-45:-5:2]:
        at = dataset.clock["decision_at"].loc[pd.Timestamp(day)]
        twins = []
        # The second is the positive control: what matured on the day itself is turned, too.
        for later in (dataset.outcomes["matured_at"] > at, dataset.outcomes["matured_at"] > at - pd.Timedelta(days=7)):
            outcomes = dataset.outcomes.copy()
            outcomes.loc[later, "spread_realised"] = np.where(outcomes.loc[later, "spread_realised"] < -0.01, 9.0, -9.0)
            twins.append(tail_frame(replace(dataset, outcomes=outcomes), Memory.empty(), rows))
        pd.testing.assert_frame_equal(until(twins[0], day), until(whole, day), check_exact=True)
        caught += not until(twins[1], day).equals(until(whole, day))
    assert caught >= 15


@pytest.mark.parametrize("settled", [{}, {("large-small", pd.Timestamp("2016-01-08"), 1): (0.5, 0.5)}])
def test_no_rows_give_the_same_columns(settled: Mapping[Key, tuple[float, float]]) -> None:
    dataset, memory = toy_dataset(), Memory(settled, {})
    nothing: Mapping[Key, RowTail] = {}
    frame, empty = tail_frame(dataset, memory, rows_of(dataset, -2)), tail_frame(dataset, memory, nothing)
    assert list(empty.columns) == list(frame.columns)
    assert empty.index.names == KEY
    assert len(empty) == 0
    assert len(pd.concat([empty, frame])) == len(frame)
