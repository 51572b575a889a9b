"""Trees as tables against LightGBM and shap, on the set-up of 20 boosters of 100 trees of 5 leaves over 60 features.

Peers are `Booster.predict` for scores and, for contributions, its ``pred_contrib`` and `shap.TreeExplainer`, once on
one thread and once on as many as there are cores; the tables always use one thread. Rows lie in memory and some values
are missing. The methods take turns, and the median of the rounds' ratios counts, so that a busy machine slows all of
them alike. Compiling is timed apart: a process pays for it once.

Run alone, ``python tests/bench/additive.py`` needs a minute; ``make bench`` runs it with the rest.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence

import lightgbm as lgb
import numpy as np
import shap
from threadpoolctl import threadpool_limits

from models.additive import AdditiveTrees

BOOSTERS, ROUNDS, LEAVES, FEATURES = 20, 100, 5, 60
GAPS = 0.05
SEED = 7
_TURNS = 7

Method = Callable[[np.ndarray], np.ndarray]


def _rows(rng: np.random.Generator, n: int) -> np.ndarray:
    rows = rng.normal(size=(n, FEATURES))
    rows[rng.random(rows.shape) < GAPS] = np.nan
    return rows


def _train(rng: np.random.Generator) -> list[lgb.Booster]:
    rows = _rows(rng, 3000)
    known = np.nan_to_num(rows)
    y = (known[:, 0] + known[:, 1] * known[:, 2] + rng.normal(size=len(rows)) > 0).astype(np.float64)
    data = lgb.Dataset(rows, y, params={"verbose": -1})
    settings = {
        "objective": "cross_entropy", "num_leaves": LEAVES, "learning_rate": 0.05, "feature_fraction": 0.4,
        "bagging_fraction": 0.7, "bagging_freq": 1, "num_threads": 1, "verbose": -1,
    }  # fmt: skip
    return [lgb.train({**settings, "seed": seed}, data, ROUNDS) for seed in range(BOOSTERS)]


def _compare(what: str, ours: Method, peers: dict[str, Method], rows: np.ndarray, few: np.ndarray) -> None:
    """Print rows a second, and ratios; peers, which are slow, get fewer rows."""
    rates: dict[str, list[float]] = {name: [] for name in ("", *peers)}
    gap = 0.0
    mine = ours(few)
    for _ in range(_TURNS):
        for name, method in {"": ours, **peers}.items():
            used = few if name else rows
            start = time.perf_counter()
            found = method(used)
            rates[name].append(len(used) / (time.perf_counter() - start))
            if name:
                gap = max(gap, float(np.abs(found - mine).max()))
    print(f"{what:<46}{np.median(rates['']):9,.0f} rows/s on one thread; equal to {gap:.0e}")
    for name in peers:
        ratio = np.median(np.array(rates[""]) / rates[name])
        print(f"{'':<58}{ratio:8.1f} x faster than {name} ({np.median(rates[name]):,.0f} rows/s)", flush=True)


def _mean(boosters: Sequence[lgb.Booster], threads: int, **kind: bool) -> Method:
    return lambda rows: np.mean([booster.predict(rows, num_threads=threads, **kind) for booster in boosters], axis=0)


def _explainers(boosters: Sequence[lgb.Booster], threads: int) -> Method:
    explainers = [shap.TreeExplainer(booster) for booster in boosters]

    def explain(rows: np.ndarray) -> np.ndarray:
        with threadpool_limits(threads, "openmp"):
            return np.mean([explainer.shap_values(rows) for explainer in explainers], axis=0)

    return explain


def bench_additive() -> None:
    """Rows a second of scores and contributions, and ratios to each peer."""
    rng = np.random.default_rng(SEED)
    boosters = _train(rng)
    start = time.perf_counter()
    trees = AdditiveTrees(boosters)
    built = time.perf_counter() - start
    few = _rows(rng, 10)
    trees.scores(few), trees.contributions(few)
    compiled = time.perf_counter() - start - built
    name = f"tables of {BOOSTERS * ROUNDS:,} trees"
    print(f"{name:<46}{built:9.3f} s   and {compiled:.1f} s to compile, once a process", flush=True)
    counts = sorted({1, os.cpu_count() or 1})
    peers = {f"Booster.predict, {n} thread(s)": _mean(boosters, n, raw_score=True) for n in counts}
    _compare("scores", lambda rows: trees.scores(rows).mean(axis=0), peers, _rows(rng, 40_000), _rows(rng, 4000))
    peers = {f"pred_contrib, {n} thread(s)": _mean(boosters, n, pred_contrib=True) for n in counts}
    rows, few = _rows(rng, 20_000), _rows(rng, 200)
    _compare("contributions", trees.contributions, peers, rows, few)
    peers = {f"shap.TreeExplainer, {n} thread(s)": _explainers(boosters, n) for n in counts}
    _compare("the same without the expected value", lambda rows: trees.contributions(rows)[:, :-1], peers, rows, few)


if __name__ == "__main__":
    bench_additive()
