"""Times of the main jobs on the SIMULATED sample market, and ratios against a peer in the same run.

Run by ``make bench``. Times depend on the machine; the ratios are what to compare.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from unittest import mock

import numpy as np
from additive import bench_additive
from books import bench_books
from crowding import bench_crowding
from rows import bench_rows, bench_tracking
from stocks import bench_stocks

from features.contracts import HORIZONS, Dataset, FloatArray, History, IntArray, TimeArray
from features.dataset import build_dataset
from features.market import load_market
from features.pointintime import evaluate_at, newest_rows
from features.sources.simulated import simulate
from features.transforms import evaluate, parse_formula
from models.implied import Refits, pair_states, untilted
from models.schedule import Plan
from models.settings import HeadSettings
from models.simulate import timing
from models.tails import tilted
from models.volatility import components, filter_volatility
from training.heads_walk import heads_walk, prepare
from training.volatility import fit_volatilities
from training.walkforward import walk_forward

SEED = 7
WEEKS = 104


def timed(work: Callable[[], object]) -> float:
    """Return how long a call takes, in seconds."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def report(name: str, seconds: float, peer: str = "", peer_seconds: float = float("nan")) -> None:
    """Print one line."""
    ratio = f"   {peer_seconds / seconds:8.2f} x faster than {peer} ({peer_seconds:.3f} s)" if peer else ""
    print(f"{name:<46}{seconds:9.3f} s{ratio}", flush=True)


def naive(history: History, times: TimeArray, function: Callable[[FloatArray, IntArray], FloatArray]) -> FloatArray:
    """Rebuild the as-of history at every decision."""
    values = np.full(len(times), np.nan)
    for row, at in enumerate(times):
        _, rows = history.as_of(at)
        if len(rows):
            values[row] = function(rows, np.array([len(rows) - 1]))[0]
    return values


def bench_point_in_time() -> None:
    """Sixty monthly and daily series with revisions, a thousand decisions."""
    rng = np.random.default_rng(SEED)
    decisions = np.datetime64("2003-01-03", "us") + np.arange(1000) * np.timedelta64(7, "D")
    raw, histories = [], []
    for number in range(60):
        step, count = (30, 260) if number < 20 else (1, 7000)
        period = np.datetime64("2003-01-01", "us") + np.arange(count) * np.timedelta64(step, "D")
        known, value = period + np.timedelta64(12, "D"), rng.normal(size=count).cumsum()
        if number < 20:
            late = rng.choice(count, 20, replace=False)
            period, value = np.append(period, period[late]), np.append(value, value[late] + 0.1)
            known = np.append(known, known[late] + np.timedelta64(60, "D"))
        raw.append((period, known, value))
        histories.append(History.of(period, known, value))
    bench_matrix(raw, decisions)
    stages = parse_formula("change(12) | z(36, 12)", 1)

    def function(rows: FloatArray, wanted: IntArray) -> FloatArray:
        return evaluate(stages, rows, wanted)

    fast = timed(lambda: [evaluate_at(history, decisions, function) for history in histories])
    few = histories[:1] + histories[20:21]
    slow = timed(lambda: [naive(history, decisions, function) for history in few])
    monthly = timed(lambda: naive(few[0], decisions, function))
    report(
        "point-in-time features, 60 series x 1,000 weeks", fast, "week by week", 20 * monthly + 40 * (slow - monthly)
    )


def bench_matrix(raw: list[tuple[TimeArray, TimeArray, FloatArray]], decisions: TimeArray) -> None:
    """The newest known value of each series at each decision, against a plain as-of join and against a loop."""

    def matrix() -> FloatArray:
        columns = []
        for period, known, value in raw:
            history = History.of(period, known, value)
            columns.append(np.append(history.value[:, 0], np.nan)[newest_rows(history, decisions)])
        return np.column_stack(columns)

    def plain() -> FloatArray:
        # Wrong with revisions: what came last wins, whatever its period.
        columns = []
        for _, known, value in raw:
            order = np.argsort(known, kind="stable")
            found = np.searchsorted(known[order], decisions, side="right") - 1
            columns.append(np.append(value[order], np.nan)[found])
        return np.column_stack(columns)

    def loop(numbers: range) -> FloatArray:
        columns = []
        for period, known, value in (raw[number] for number in numbers):
            history, column = History.of(period, known, value), np.full(len(decisions), np.nan)
            for row, at in enumerate(decisions):
                _, seen = history.as_of(at)
                if len(seen):
                    column[row] = seen[-1, 0]
            columns.append(column)
        return np.column_stack(columns)

    few = range(19, 21)
    np.testing.assert_array_equal(matrix()[:, few], loop(few))
    fast, joined = (min(timed(work) for _ in range(5)) for work in (matrix, plain))
    name = "point-in-time matrix, 60 series x 1,000 weeks"
    print(f"{name:<46}{fast:9.3f} s   {fast / joined:8.2f} x a sort and searchsorted")
    monthly, daily = (timed(lambda at=at: loop(range(at, at + 1))) for at in few)
    report("the same", fast, "week by week", 20 * monthly + 40 * daily)


def naive_paths(dataset: Dataset, volatility: Refits, day: np.datetime64, paths: int) -> None:
    """The straightforward way: each segment on its own, path by path, day by day."""
    at = dataset.clock["decision_at"].to_numpy("datetime64[us]")[-1]
    held, steps = components(dataset.closes, dataset.segments, at, day), timing(dataset.sessions, day).points[-1]
    rng = np.random.default_rng(0)
    for segment, part in held.items():
        params = volatility[day][segment]
        if params is None:
            continue
        level = filter_volatility(params, part.changes)
        residuals = part.changes / level[:-1]
        for _ in range(paths):
            sigma, reached = level[-1], np.zeros(steps + 1)
            for step in range(steps):
                if step % 5 == 0:
                    start = rng.integers(len(residuals) - 5)
                z = residuals[start + step % 5]
                reached[step + 1] = reached[step] + sigma * z
                shock = (params.alpha + params.gamma * (z < 0)) * abs(z)
                sigma = params.omega / 100 + (shock + params.beta) * sigma


def bench_scenarios(dataset: Dataset, plan: Plan) -> None:
    """One decision: volatility, joint paths, tilt and tails, against as many normal numbers and plain sorts."""
    settings, day = plan.settings.scenarios, dataset.clock.index[-1].to_datetime64()
    fit = timed(lambda: fit_volatilities(dataset, np.array([day]), settings, jobs=1))
    print(f"{f'volatility of {len(dataset.segments)} segments, one cut':<46}{fit:9.3f} s")
    volatility = fit_volatilities(dataset, np.array([day]), settings, jobs=1)
    states = pair_states(dataset, day)
    targets = {
        (pair, dataset.clock.index[-1], horizon): (np.array([0.3, 0.5, 0.2]), np.full(3, 0.05))
        for pair in states
        for horizon in HORIZONS
    }
    shape = (timing(dataset.sessions, day).points[-1], len(dataset.segments), settings.paths)
    normal = min(timed(lambda: np.random.default_rng(0).standard_normal(shape)) for _ in range(3))
    drawn = min(timed(lambda: untilted(dataset, volatility, day, settings)) for _ in range(3))
    report(f"scenario set, {settings.paths} paths", drawn, "normal numbers alone", normal)
    part = 100
    loop = timed(lambda: naive_paths(dataset, volatility, day, part)) * settings.paths / part
    report("the same", drawn, "a loop over paths and days, one call a segment", loop)
    whole = min(timed(lambda: tilted(dataset, volatility, day, targets, settings)) for _ in range(3))
    ordered = min(timed(lambda: np.sort(np.random.default_rng(0).standard_normal(shape[2]))) for _ in range(3))
    report("its tilt and tails", whole - drawn, "one sort for each tail", len(targets) * ordered)


def bench_walk_forward(dataset: Dataset, plan: Plan) -> None:
    """Heads alone, and all of it, against the sum of their LightGBM training calls; sets are thinner than usual."""
    thinner = replace(plan.settings, scenarios=replace(plan.settings.scenarios, paths=2000))
    plan = replace(plan, settings=thinner)
    import lightgbm

    trained = 0.0
    train = lightgbm.train

    def counted(*args: object, **kwargs: object) -> object:
        nonlocal trained
        start = time.perf_counter()
        booster = train(*args, **kwargs)  # type: ignore[arg-type]
        trained += time.perf_counter() - start
        return booster

    start = prepare(dataset, plan, jobs=1)
    for name, work in (
        ("walk-forward of the heads, one process", lambda: heads_walk(dataset, plan, start, jobs=1)),
        ("walk-forward, one process", lambda: walk_forward(dataset, plan, None, jobs=1)),
    ):
        trained = 0.0
        with mock.patch("lightgbm.train", counted):
            total = timed(work)
        print(f"{name:<46}{total:9.3f} s   {total / trained:8.2f} x its LightGBM training ({trained:.3f} s)")


def bench_commands(folder: Path) -> None:
    """A weekly run with a trained bundle, and the start of the command line."""
    command = [sys.executable, "-m", "serving.cli"]
    weekly = [*command, "weekly", "--market", "sample", "--artifacts", str(folder)]
    subprocess.run(weekly, check=True, capture_output=True)
    report("weekly run with a trained bundle", timed(lambda: subprocess.run(weekly, check=True, capture_output=True)))
    bare = min(timed(lambda: subprocess.run([sys.executable, "-c", "pass"], check=True)) for _ in range(5))
    start = min(timed(lambda: subprocess.run([*command, "--help"], check=True, capture_output=True)) for _ in range(5))
    print(f"{'capshift --help':<46}{start:9.3f} s   {start / bare:8.2f} x bare Python ({bare:.3f} s)")


def main() -> None:
    """Run every bench; that of the stock file comes first, because it also tells the peak of memory."""
    bench_stocks()
    market = load_market("sample")
    observations = simulate(market, SEED).observations
    last = np.datetime64("2023-12-22", "us")
    report("panel, states and outcomes of the sample market", timed(lambda: build_dataset(observations, market, last)))
    bench_point_in_time()
    bench_books()
    bench_crowding()
    bench_additive()
    bench_rows()
    bench_tracking()
    dataset = build_dataset(observations, market, last)
    weeks = dataset.clock.index.to_numpy("datetime64[us]")
    plan = Plan(HeadSettings(), weeks[-WEEKS], 26, 104, "bench", "bench")
    bench_scenarios(dataset, plan)
    bench_walk_forward(dataset, plan)
    with tempfile.TemporaryDirectory() as folder:
        bench_commands(Path(folder))


if __name__ == "__main__":
    main()
