"""The scenario set: joint weighted paths of all size segments, off which every risk number is read.

Simple tools only: what a set is, its tail, its file. `models.simulate` makes the paths, `models.tilt` the weights.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from features.contracts import FloatArray, TimeArray
from features.errors import DataContractError

PathArray = npt.NDArray[np.float32]


class Tail(NamedTuple):
    """Quantile and expected shortfall of the lower tail at one level, in the unit of the values."""

    var: float
    es: float


class PairLevel(NamedTuple):
    """The levels at which one pair's 5% tails are read over one horizon, after the level correction; fractions.

    `lower` is the side on which the small segment loses against the large one.
    """

    pair: str
    small: str
    horizon: int
    lower: float
    upper: float


def weighted_tail(values: npt.NDArray[np.floating], weights: FloatArray, levels: Sequence[float]) -> list[Tail]:
    """Read the lower tail of a weighted sample.

    The quantile at level a is the smallest value whose cumulative weight reaches a; expected shortfall is the mean of
    the lowest mass a, the value at the quantile counting with what is left of a (Acerbi and Tasche 2002).

    Parameters
    ----------
    values : array, shape (n,)
        Finite.
    weights : array, shape (n,)
        Positive, of sum one.
    levels : sequence of float
        Inside (0, 1), fractions.

    Returns
    -------
    list of Tail
        One for each level, in order.

    Examples
    --------
    >>> weighted_tail(np.array([-3.0, -1.0, 2.0]), np.array([0.25, 0.25, 0.5]), [0.5])
    [Tail(var=-1.0, es=-2.0)]
    """
    order = np.argsort(values, kind="stable")
    read = ordered_tail(np.asarray(values, dtype=np.float64)[order], weights[order], levels)
    return [Tail(*row) for row in read.T.tolist()]


def ordered_tail(values: FloatArray, weights: FloatArray, levels: Sequence[float] | FloatArray) -> FloatArray:
    """Read the lower tail of a weighted sample in ascending order: quantiles and shortfalls, shape (2, len(levels))."""
    mass = np.cumsum(weights)
    area = np.cumsum(weights * values)
    target = np.asarray(levels, dtype=np.float64) * mass[-1]
    # A rounding error of the sum must not move the quantile by a whole scenario.
    rank = np.minimum(np.searchsorted(mass, target * (1 - 1e-12)), len(mass) - 1)
    before = np.maximum(rank - 1, 0)
    mass_before, area_before = (np.where(rank > 0, part[before], 0.0) for part in (mass, area))
    shortfall = (area_before + (target - mass_before) * values[rank]) / target
    return np.stack([values[rank], shortfall])


@dataclass(frozen=True, eq=False)
class ScenarioSet:
    """Joint paths of all size segments from one entry on, and how much each path weighs.

    Parameters
    ----------
    segments : tuple of str, length k
        In the order of the second axis of `paths`.
    sessions : array of datetime64[us], shape (steps,)
        Exchange sessions after the entry day.
    exits : mapping of int to int
        For each horizon in weeks the number of sessions after entry at which it ends, at most `steps`.
    paths : array of float32, shape (steps + 1, k, n)
        Cumulative log return of each segment since the close of the entry day; row 0 is zero.
    weights : array of float64, shape (n,)
        Positive, of sum one.
    levels : tuple of PairLevel
        Where the correction says that tails are to be read; without them at their nominal level.

    Information set: rows with known_at <= the decision.
    """

    segments: tuple[str, ...]
    sessions: TimeArray
    exits: Mapping[int, int]
    paths: PathArray
    weights: FloatArray
    levels: tuple[PairLevel, ...] = ()

    def __post_init__(self) -> None:
        steps, k, n = self.paths.shape
        if (steps - 1, k, n) != (len(self.sessions), len(self.segments), len(self.weights)):
            raise DataContractError(
                f"`paths` must have shape {(len(self.sessions) + 1, len(self.segments), len(self.weights))}; "
                f"got {self.paths.shape}"
            )
        if any(not 1 <= step < steps for step in self.exits.values()):
            raise DataContractError(f"`exits` must lie within {steps - 1} sessions; got {dict(self.exits)}")
        if not (self.weights > 0).all() or not math.isclose(float(self.weights.sum()), 1.0, rel_tol=1e-9):
            raise DataContractError(f"`weights` must be positive and sum to one; got {float(self.weights.sum())}")
        if not all(0 < level < 1 for held in self.levels for level in (held.lower, held.upper)):
            raise DataContractError(f"`levels` must lie inside (0, 1); got {self.levels}")

    @property
    def effective_size(self) -> float:
        """Kish's effective number of paths, 1 / sum of squared weights."""
        return float(1.0 / np.sum(self.weights**2))

    def position(self, segment: str) -> int:
        """Return a segment's place on the second axis.

        Raises
        ------
        DataContractError
            If the set has no such segment.
        """
        if segment not in self.segments:
            raise DataContractError(f"`segment` must be one of {', '.join(self.segments)}; got {segment!r}")
        return self.segments.index(segment)

    def spread(self, large: str, small: str) -> PathArray:
        """Return small minus large, log return since entry, shape (steps + 1, n)."""
        difference: PathArray = self.paths[:, self.position(small)] - self.paths[:, self.position(large)]
        return difference

    def simple_returns(self, horizon: int) -> FloatArray:
        """Return each segment's simple return over a horizon, shape (k, n)."""
        if horizon not in self.exits:
            raise DataContractError(f"`horizon` must be one of {sorted(self.exits)} weeks; got {horizon}")
        returns: FloatArray = np.expm1(self.paths[self.exits[horizon]].astype(np.float64))
        return returns

    def save(self, path: Path) -> None:
        """Write the set as one ``.npz`` file of plain arrays."""
        horizons = np.array(sorted(self.exits), dtype=np.int64)
        with path.open("wb") as file:
            np.savez(
                file,
                segments=np.array(self.segments, dtype=np.str_),
                sessions=self.sessions.astype("datetime64[us]").astype(np.int64),
                horizons=horizons,
                exits=np.array([self.exits[int(h)] for h in horizons], dtype=np.int64),
                paths=self.paths,
                weights=self.weights,
                level_names=np.array([(held.pair, held.small) for held in self.levels], dtype=np.str_).reshape(-1, 2),
                level_horizons=np.array([held.horizon for held in self.levels], dtype=np.int64),
                level_sides=np.array([(held.lower, held.upper) for held in self.levels], dtype=np.float64),
            )

    @staticmethod
    def load(path: Path) -> ScenarioSet:
        """Read what `save` wrote; nothing in the file can execute.

        Raises
        ------
        DataContractError
            If the file is missing, damaged, or not a scenario set.
        """
        try:
            with np.load(path, allow_pickle=False) as held:
                sides = held["level_sides"].reshape(-1, 2)
                read = zip(held["level_names"], held["level_horizons"], sides, strict=True)
                return ScenarioSet(
                    segments=tuple(str(name) for name in held["segments"]),
                    sessions=held["sessions"].astype("datetime64[us]"),
                    exits={int(h): int(step) for h, step in zip(held["horizons"], held["exits"], strict=True)},
                    paths=held["paths"],
                    weights=held["weights"],
                    levels=tuple(
                        PairLevel(str(pair), str(small), int(horizon), float(lower), float(upper))
                        for (pair, small), horizon, (lower, upper) in read
                    ),
                )
        except FileNotFoundError as error:
            raise DataContractError(f"{path}: no scenario set; run `capshift forecast` for that day") from error
        except Exception as error:
            # A damaged archive makes numpy say many things, from its zip reader to its parser of headers.
            raise DataContractError(f"{path}: not a scenario set ({error}); forecast the day again") from error
