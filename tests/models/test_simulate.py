"""Joint paths: against a slow loop with the same draws, and against history where volatility stands still."""

from __future__ import annotations

import zlib
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from features.contracts import EVENTS, HORIZONS, STYLE_LARGE, STYLE_SMALL, FloatArray
from features.errors import DataContractError
from models.scenarios import ScenarioSet
from models.simulate import PairState, Timing, path_events, simulate, spread_returns, timing
from models.volatility import Component, ScenarioSettings
from tests import small
from tests.models.closes import PARAMS, SEGMENTS, constant, filtered, held, weekdays

SETTINGS = ScenarioSettings(paths=100, min_days=250, window_days=300)
DAY = np.datetime64("2023-11-24", "us")
VOLATILITY = dict.fromkeys(SEGMENTS, PARAMS)


def when(gap: int = 1, points: tuple[int, ...] = (5, 10, 14, 19)) -> Timing:
    sessions = weekdays(gap + points[-1], "2024-01-31")
    return Timing(DAY, gap, points, sessions[gap:])


def simulated(**changes: object) -> ScenarioSet:
    arguments = {"held": held(), "volatility": VOLATILITY, "when": when(), "settings": SETTINGS, **changes}
    found = simulate(**arguments)  # type: ignore[arg-type]
    assert found is not None
    return found


def reference(parts: dict[str, Component], at: Timing, settings: ScenarioSettings) -> FloatArray:
    """Draw the same days and walk each path of each component by itself, in percent."""
    days = settings.window_days
    moves = {name: 100 * part.changes[-days:] for name, part in parts.items()}
    levels = {name: filtered(PARAMS, each) for name, each in moves.items()}
    length = at.gap + at.points[-1]
    rng = np.random.Generator(np.random.PCG64([settings.seed, zlib.crc32(b"2023-11-24")]))
    starts = rng.integers(days, size=(-(-length // settings.block), settings.paths))
    result = np.zeros((at.points[-1] + 1, len(parts), settings.paths))
    for place, name in enumerate(parts):
        residual = moves[name] / levels[name][:-1]
        for path in range(settings.paths):
            level, reached = levels[name][-1], 0.0
            for day in range(length):
                z = residual[(starts[day // settings.block, path] + day % settings.block) % days]
                move = level * z
                if day >= at.gap:
                    reached += move / 100
                    result[day - at.gap + 1, place, path] = reached
                level = PARAMS.omega + (PARAMS.alpha + PARAMS.gamma * (z < 0)) * abs(move) + PARAMS.beta * level
    # Components after the first are spreads to it.
    result[:, 1:] += result[:, :1]
    return result


@pytest.mark.parametrize(("gap", "block"), [(1, 5), (3, 5), (1, 1), (2, 7)])
def test_paths_are_those_of_a_slow_loop_with_the_same_draws(gap: int, block: int) -> None:
    settings = replace(SETTINGS, block=block)
    found = simulated(when=when(gap), settings=settings)
    np.testing.assert_allclose(found.paths, reference(held(), when(gap), settings), atol=1e-6)
    assert found.paths.dtype == np.float32
    assert (found.paths[0] == 0).all()
    assert (found.weights == 1 / SETTINGS.paths).all()
    assert (found.segments, dict(found.exits)) == (SEGMENTS, {1: 5, 4: 19})


@pytest.mark.parametrize("gap", [1, 2])
def test_where_volatility_stands_still_history_repeats_itself_in_circular_blocks(gap: int) -> None:
    # Every residual times the same volatility is the day's own change: each path is a patchwork of past days.
    parts = held(300)
    found = simulated(held=parts, volatility=dict.fromkeys(SEGMENTS, constant(1.0)), when=when(gap))
    moved = np.diff(found.paths.astype(np.float64), axis=0)
    past = np.column_stack([part.changes for part in parts.values()])
    past[:, 1:] += past[:, :1]
    wrapped = 0
    for path in range(SETTINGS.paths):
        gaps = np.abs(moved[:, :, path][:, None] - past[None]).max(axis=2)
        drawn = gaps.argmin(axis=1)
        # The same day for all segments, and the days that carry profit or loss begin after the gap.
        assert gaps.min(axis=1).max() < 1e-6
        for session in range(1, len(drawn)):
            if (session + gap) % SETTINGS.block:
                assert drawn[session] == (drawn[session - 1] + 1) % len(past)
                wrapped += drawn[session] == 0
    assert wrapped > 0


def test_a_gap_moves_the_volatility_and_carries_no_profit_or_loss() -> None:
    # What a burst on the last day did to the volatility fades while nobody can trade.
    stirred = {name: Component(part.dates, np.append(part.changes[:-1], 0.2)) for name, part in held().items()}
    fading = dict.fromkeys(SEGMENTS, replace(PARAMS, alpha=0.1, gamma=0.0, beta=0.7))
    found = [simulated(held=stirred, volatility=fading, when=when(gap)) for gap in (1, 5, 11)]
    for each in found:
        assert (each.paths[0] == 0).all()
        assert each.paths.shape[0] == 20
    # At the first day of a block and five days into it the residuals differ; volatility differs by far more.
    first = [float(np.std(each.paths[1, 0])) for each in found]
    assert first[0] > 1.5 * first[1] > 1.5 * 1.5 * first[2] > 0


def test_same_input_same_bytes_and_another_day_or_seed_other_draws() -> None:
    one = simulated()
    assert one.paths.tobytes() == simulated().paths.tobytes()
    other_seed = simulated(settings=replace(SETTINGS, seed=1))
    assert not np.array_equal(one.paths, other_seed.paths)
    sooner = {name: Component(part.dates - np.timedelta64(7, "D"), part.changes) for name, part in held().items()}
    earlier = simulated(held=sooner, when=replace(when(), day=DAY - np.timedelta64(7, "D")))
    assert not np.array_equal(one.paths, earlier.paths)


def test_inputs_are_not_changed() -> None:
    parts = held()
    kept = {name: part.changes.copy() for name, part in parts.items()}
    simulated(held=parts)
    assert all(np.array_equal(parts[name].changes, kept[name]) for name in parts)


def test_only_the_window_counts() -> None:
    # But for the start of the recursion, which arch and we take from the window's first 75 days.
    parts = held()
    older = {name: Component(part.dates[50:], part.changes[50:]) for name, part in parts.items()}
    np.testing.assert_array_equal(simulated(held=parts).paths, simulated(held=older).paths)


@pytest.mark.parametrize("case", ["short", "stale", "unfitted"])
@pytest.mark.parametrize("name", ["mid", "small"])
def test_a_segment_that_cannot_enter_stays_out_and_the_others_go_on(case: str, name: str) -> None:
    parts, volatility = held(), {**VOLATILITY, name: PARAMS if case != "unfitted" else None}
    part = parts[name]
    if case == "short":
        parts[name] = Component(part.dates[-249:], part.changes[-249:])
    elif case == "stale":
        parts[name] = Component(part.dates[:-1], part.changes[:-1])
    found = simulated(held=parts, volatility=volatility)
    others = tuple(each for each in SEGMENTS if each != name)
    assert found.segments == others
    without = {each: held()[each] for each in others}
    np.testing.assert_array_equal(found.paths, simulated(held=without).paths)


@pytest.mark.parametrize("gone", [("large",), ("mid", "small"), SEGMENTS])
def test_without_the_largest_or_without_all_others_there_is_no_set(gone: tuple[str, ...]) -> None:
    volatility = {name: None if name in gone else PARAMS for name in SEGMENTS}
    assert simulate(held(), volatility, when(), SETTINGS) is None
    assert simulate({}, VOLATILITY, when(), SETTINGS) is None


def test_segments_that_have_too_few_days_in_common_lose_the_youngest() -> None:
    # Each long enough by itself; holes on different days leave 240 in common, 250 are asked for.
    parts = held(300)
    holes = {"mid": np.arange(300) % 10 != 0, "small": np.arange(300) % 8 != 1}
    for name, kept in holes.items():
        parts[name] = Component(parts[name].dates[kept], parts[name].changes[kept])
    found = simulated(held=parts)
    assert found.segments == ("large", "mid")
    # With fewer asked for, all three enter, on their common days.
    assert simulated(held=parts, settings=replace(SETTINGS, min_days=230)).segments == SEGMENTS


def test_more_sessions_than_allowed_are_refused() -> None:
    with pytest.raises(DataContractError, match="`max_steps` must be at least 20 sessions; got 19"):
        simulated(settings=replace(SETTINGS, max_steps=19))
    simulated(settings=replace(SETTINGS, max_steps=20))


def test_timing_is_that_of_the_outcomes() -> None:
    dataset = small.dataset()
    sessions = pd.DatetimeIndex(dataset.sessions)
    outcomes = dataset.outcomes.reset_index().drop_duplicates(["decision_date", "horizon_weeks"])
    lengths = set()
    for day, rows in list(outcomes.groupby("decision_date"))[::4]:
        found = timing(dataset.sessions, day.to_datetime64())
        entry = rows["entry_date"].iloc[0]
        assert found.gap == ((sessions > day) & (sessions <= entry)).sum() == 1
        assert found.sessions[0] == sessions[sessions > entry][0]
        for horizon, exit_date in zip(rows["horizon_weeks"], rows["exit_date"], strict=True):
            assert found.sessions[found.exits[horizon] - 1] == exit_date
        entries = dataset.clock["entry_date"].loc[day:].iloc[1:5]
        if len(entries) == 4:
            assert [found.sessions[point - 1] for point in found.points] == list(entries)
        lengths.add(found.points[-1])
    # Holidays set the number of sessions.
    assert min(lengths) < 19 < max(lengths) <= 20
    assert set(found.exits) == set(HORIZONS)


def test_no_decision_day_and_no_future_are_refused() -> None:
    sessions = weekdays(100)
    for day in ("2023-09-14", "2023-09-16", "2023-11-17", "2023-11-24", "2030-01-04"):
        with pytest.raises(DataContractError, match=f"{day} is no decision day with 4 weeks"):
            timing(sessions, np.datetime64(day, "us"))
    # The last entry is a Monday: with one more session the fourth week ends.
    assert timing(weekdays(100, "2023-11-27"), np.datetime64("2023-10-20", "us")).points == (5, 10, 15, 20)
    # A week without sessions does not exist.
    holiday = sessions[(sessions < np.datetime64("2023-10-02")) | (sessions > np.datetime64("2023-10-06"))]
    found = timing(holiday, np.datetime64("2023-09-29", "us"))
    assert found.sessions[0] == np.datetime64("2023-10-10")
    assert found.points == (5, 10, 15, 20)


def drawn(n: int = 400) -> ScenarioSet:
    return simulated(settings=replace(SETTINGS, paths=n))


@pytest.mark.parametrize("style", [STYLE_SMALL, STYLE_LARGE])
@pytest.mark.parametrize("horizon", HORIZONS)
def test_events_are_read_at_the_weekly_entries_of_each_path(style: int, horizon: int) -> None:
    found, points = drawn(), when().points
    state = PairState("large", "small", 0.02, style)
    happened = path_events(found, state, points, horizon)
    limit = 0.02 * np.sqrt(horizon)
    expected: dict[str, list[bool]] = {event: [] for event in EVENTS}
    for path in range(found.paths.shape[2]):
        line = [float(found.paths[p, 2, path]) - float(found.paths[p, 0, path]) for p in points[:horizon]]
        expected["switch"].append(any(style * value < -limit for value in line))
        expected["large"].append(line[-1] < 0)
        expected["crash"].append(any(value < -1.25 * limit for value in line))
    for event in EVENTS:
        assert happened[event].tolist() == expected[event]
        assert 0.02 < happened[event].mean() < 0.98
    np.testing.assert_array_equal(
        spread_returns(found, state, horizon), found.spread("large", "small")[points[horizon - 1]].astype(np.float64)
    )
