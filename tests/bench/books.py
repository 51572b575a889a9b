"""Tails of many books against the least that any method must do: the returns of every book and a selection.

The peer is the float32 matrix product of exposures and returns and `np.partition` at the two ranks of equal weights,
one thread, in the fastest form we know: into memory that is there already, and one rank at a time, which numpy does
with vector instructions. It yields two order statistics; the kernel weighs scenarios, averages the tail and splits it
by segment. The two take turns, and the best of several rounds counts, so that a busy machine slows both alike.

Run alone, ``python tests/bench/books.py`` needs seconds; ``make bench`` runs it with the rest.
"""

from __future__ import annotations

import time

import numpy as np

from models.book_kernel import book_tails

BOOKS, SEGMENTS, SCENARIOS = 2000, 5, 20_000
LEVELS = (0.05, 0.025)
SEED = 7
_BATCH = 40
_ROUNDS = 7


def _peer(exposures: np.ndarray, returns: np.ndarray, room: np.ndarray) -> None:
    for start in range(0, BOOKS, _BATCH):
        np.matmul(exposures[start : start + _BATCH], returns, out=room)
        values = room
        for level in LEVELS:
            rank = round(level * SCENARIOS) - 1
            values.partition(rank, axis=1)
            values = values[:, : rank + 1]


def bench_books() -> None:
    """Books a second at one and two threads, and how long one thread takes in units of its peer."""
    rng = np.random.default_rng(SEED)
    common = 0.05 * rng.standard_t(5, (1, SCENARIOS))
    returns = np.expm1(common + 0.02 * rng.standard_t(5, (SEGMENTS, SCENARIOS)))
    weights = np.exp(0.7 * rng.standard_normal(SCENARIOS))
    weights /= weights.sum()
    exposures = rng.uniform(1, 5, (BOOKS, 1)) * (
        rng.dirichlet(np.ones(SEGMENTS), BOOKS)
        - rng.integers(0, 2, (BOOKS, 1)) * rng.dirichlet(np.full(SEGMENTS, 0.4), BOOKS)
    )
    room = np.empty((_BATCH, SCENARIOS), dtype=np.float32)
    narrow = exposures.astype(np.float32), returns.astype(np.float32), room
    book_tails(exposures[:1], returns, weights, LEVELS)
    best = {"peer": np.inf, "one": np.inf, "two": np.inf}
    used = dict(best)
    for _ in range(_ROUNDS):
        for name in best:
            start, before = time.perf_counter(), time.process_time()
            if name == "peer":
                _peer(*narrow)
            else:
                book_tails(exposures, returns, weights, LEVELS, threads=1 if name == "one" else 2)
            best[name] = min(best[name], time.perf_counter() - start)
            used[name] = min(used[name], time.process_time() - before)
    print(
        f"{f'tails of {BOOKS:,} books x {SCENARIOS:,} scenarios':<46}{best['one']:9.3f} s   "
        f"{used['one'] / used['peer']:8.2f} x product and partition in processor time ({used['peer']:.3f} s); "
        f"{BOOKS / best['one']:,.0f} books/s, {BOOKS / best['two']:,.0f} on two threads",
        flush=True,
    )


if __name__ == "__main__":
    bench_books()
