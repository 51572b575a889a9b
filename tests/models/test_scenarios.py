"""The scenario set: its tail against a brute-force oracle, its checks, its file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.errors import DataContractError
from models.scenarios import PairLevel, ScenarioSet, weighted_tail


def make_set(paths: int = 500, steps: int = 20, seed: int = 0) -> ScenarioSet:
    """Return random joint paths of three segments with uneven weights."""
    rng = np.random.default_rng(seed)
    daily = 0.01 * rng.standard_normal((steps, 3, paths)) + 0.01 * rng.standard_normal((steps, 1, paths))
    cumulated = np.concatenate([np.zeros((1, 3, paths)), daily.cumsum(axis=0)]).astype(np.float32)
    weights = rng.random(paths) + 0.1
    return ScenarioSet(
        segments=("large", "mid", "small"),
        sessions=np.datetime64("2023-11-28", "us") + np.arange(steps) * np.timedelta64(1, "D"),
        exits={1: 5, 4: steps},
        paths=cumulated,
        weights=weights / weights.sum(),
    )


@given(st.lists(st.tuples(st.integers(-50, 50), st.integers(1, 9)), min_size=1, max_size=40), st.integers(1, 19))
def test_the_tail_is_that_of_the_sample_with_each_value_repeated(rows: list[tuple[int, int]], twentieth: int) -> None:
    values = np.array([value for value, _ in rows], dtype=np.float64)
    counts = np.array([count for _, count in rows])
    repeated = np.sort(np.repeat(values, counts))
    mass = twentieth / 20 * len(repeated)
    rank = int(np.ceil(round(mass, 9)))
    expected = (repeated[: rank - 1].sum() + (mass - (rank - 1)) * repeated[rank - 1]) / mass
    (tail,) = weighted_tail(values, counts / counts.sum(), [twentieth / 20])
    assert tail.var == repeated[rank - 1]
    assert tail.es == pytest.approx(expected, abs=1e-9)


def test_a_set_survives_its_file(tmp_path: Path) -> None:
    held = replace(make_set(), levels=(PairLevel("large-small", "small", 4, 0.04, 0.06),))
    held.save(tmp_path / "set.npz")
    read = ScenarioSet.load(tmp_path / "set.npz")
    assert read.levels == held.levels
    assert read.segments == held.segments
    assert dict(read.exits) == dict(held.exits)
    for name in ("paths", "weights", "sessions"):
        np.testing.assert_array_equal(getattr(read, name), getattr(held, name))
    assert read.paths.dtype == np.float32


@pytest.mark.parametrize("damage", ["missing", "empty", "text", "cut"])
def test_a_bad_file_is_one_sentence(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "set.npz"
    make_set().save(path)
    match damage:
        case "missing":
            path.unlink()
        case "empty":
            path.write_bytes(b"")
        case "text":
            path.write_text("paths,weights")
        case _:
            path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(DataContractError, match=r"set\.npz: "):
        ScenarioSet.load(path)


def test_what_does_not_fit_is_refused() -> None:
    held = make_set()
    with pytest.raises(DataContractError, match="`paths` must have shape"):
        replace(held, weights=np.ones(3) / 3)
    with pytest.raises(DataContractError, match="`weights` must be positive"):
        replace(held, weights=held.weights * 2)
    with pytest.raises(DataContractError, match="`exits` must lie"):
        replace(held, exits={4: 21})
    with pytest.raises(DataContractError, match="`segment` must be one of large, mid, small; got 'micro'"):
        held.spread("large", "micro")
    with pytest.raises(DataContractError, match="`horizon` must be one of"):
        held.simple_returns(2)


def test_spread_and_returns_are_read_off_the_same_paths() -> None:
    held = make_set()
    np.testing.assert_allclose(held.spread("large", "small"), held.paths[:, 2] - held.paths[:, 0])
    np.testing.assert_allclose(held.simple_returns(4)[1], np.exp(held.paths[20, 1].astype(np.float64)) - 1)
    assert 1 < held.effective_size < 500
