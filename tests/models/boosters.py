"""Small LightGBM boosters of many kinds, and rows that sit on their thresholds."""

from __future__ import annotations

from typing import Any

import lightgbm as lgb
import numpy as np
from hypothesis import strategies as st

from features.contracts import FloatArray

FEATURES = 5
TINY = float(np.float32(1e-35))
"""LightGBM reads values up to this as zero."""

parameters = st.fixed_dictionaries(
    {
        "num_leaves": st.integers(2, 9),
        "max_depth": st.sampled_from([-1, 1, 2, 3]),
        "learning_rate": st.sampled_from([0.02, 0.3, 1.0]),
        "min_data_in_leaf": st.sampled_from([1, 5, 40]),
        "min_gain_to_split": st.sampled_from([0.0, 2.0, 1e9]),
        "use_missing": st.booleans(),
        "zero_as_missing": st.booleans(),
        "boosting": st.sampled_from(["gbdt", "gbdt", "rf"]),
        "boost_from_average": st.booleans(),
        "path_smooth": st.sampled_from([0.0, 20.0]),
        "lambda_l2": st.sampled_from([0.0, 10.0]),
        "feature_fraction": st.sampled_from([0.4, 1.0]),
        "objective": st.sampled_from(["binary", "cross_entropy", "regression"]),
    }
)


def training_rows(rng: np.random.Generator, n: int = 200) -> FloatArray:
    """Draw a plain column, one with gaps, a coarse one with zeros, an indicator with gaps, and a constant."""
    columns = np.column_stack(
        [
            rng.normal(size=n),
            np.where(rng.random(n) < 0.4, np.nan, rng.normal(size=n)),
            np.round(2 * rng.normal(size=n)),
            np.where(rng.random(n) < 0.1, np.nan, rng.integers(0, 2, n)),
            np.full(n, 3.0),
        ]
    )
    return columns


def train(seed: int, rounds: int = 6, x: FloatArray | None = None, **options: Any) -> lgb.Booster:
    """Train on noise with some structure; missing values matter."""
    rng = np.random.default_rng(seed)
    x = training_rows(rng) if x is None else x
    known = np.nan_to_num(x)
    score = known[:, 0] * known[:, 1] + known[:, -3] - 2 * np.isnan(x[:, 1]) + rng.normal(size=len(x))
    fixed = {"verbose": -1, "num_threads": 1, "seed": seed, "bagging_fraction": 0.7, "bagging_freq": 1}
    settings = {"objective": "binary", "num_leaves": 5, "min_data_in_leaf": 5, **fixed, **options}
    target = score if settings["objective"] == "regression" else (score > 0).astype(np.float64)
    data = lgb.Dataset(x, target, params={"verbose": -1})
    return lgb.train(settings, data, rounds)


def awkward_rows(boosters: list[lgb.Booster], rng: np.random.Generator, n: int = 150) -> FloatArray:
    """Draw rows of ordinary values, gaps, both infinities, zeros of every size, thresholds and their neighbours."""
    width = boosters[0].num_feature()
    edges = [0.0]
    for booster in boosters:
        for line in booster.model_to_string().splitlines():
            if line.startswith("threshold="):
                edges += [float(word) for word in line.partition("=")[2].split()]
    near = np.array(edges)
    near = np.concatenate([near, np.nextafter(near, np.inf), np.nextafter(near, -np.inf)])
    zeros = [0.0, -0.0, TINY, -TINY, np.nextafter(TINY, 1), -np.nextafter(TINY, 1), 1e-36, 5e-324, np.inf, -np.inf]
    rows = rng.normal(size=(n, width))
    kind = rng.integers(0, 4, (n, width))
    rows = np.where(kind == 1, rng.choice(near, (n, width)), rows)
    rows = np.where(kind == 2, rng.choice(zeros, (n, width)), rows)
    return np.where((kind == 3) & (rng.random((n, width)) < 0.7), np.nan, rows)
