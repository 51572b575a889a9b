"""Random books on the scenario set of `test_scenarios`."""

from __future__ import annotations

import numpy as np

from models.books import Books

SEGMENTS = ("large", "mid", "small")


def make_books(count: int = 40, seed: int = 0, *, free: bool = False) -> Books:
    """Return neutral, long-only and half-hedged books; `free` ones have no costs."""
    rng = np.random.default_rng(seed)
    ratio = rng.choice([0.0, 0.5, 1.0], count)
    cost = 0.0 if free else 1.0
    return Books(
        segments=SEGMENTS,
        long=rng.dirichlet(np.ones(3), count),
        hedge=ratio[:, None] * rng.dirichlet(np.full(3, 0.4), count),
        gross_leverage=rng.uniform(0.5, 5.0, count),
        financing_rate=cost * rng.uniform(0.02, 0.07, count),
        basis=cost * rng.uniform(-0.02, 0.12, count),
        hedge_ratio=ratio,
    )
