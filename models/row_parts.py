"""Two ways to the same numbers of many rows: compiled tables, and LightGBM with numpy as the reference.

The tables need numba and some seconds to compile, once a process; then they are many times faster. Both agree to 1e-12.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Protocol

import numpy as np
import pandas as pd

from features.contracts import EVENTS, HORIZONS, Event, FloatArray, IntArray
from models.additive import AdditiveTrees
from models.bundle import Bundle
from models.design import Design, build_design, build_layout
from models.hand_down import hand_down
from models.heads import Head, RawScores, linear_columns, raw_scores
from models.row_plan import Summary, column_weights, plan_design, plan_scale

Key = tuple[Event, int]


class Parts(Protocol):
    """What a scorer needs of some rows, a few thousand at a time."""

    def designs(self, values: FloatArray, style: IntArray) -> Mapping[Event, Design]:
        """Return every event's design; `values` has shape (n, features)."""

    def raw(self, key: Key, design: Design) -> RawScores:
        """Return the parts of a head's log-odds."""

    def trees(self, key: Key, design: Design) -> FloatArray:
        """Return the calibrated contributions of the trees by column, shape (n, columns + 1)."""

    def summarise(self, key: Key, design: Design, trees: FloatArray, scenario: FloatArray, out: Summary) -> None:
        """Add contributions up by family and find the largest; `scenario`, shape (n,), is the scenario set's."""


class ReferenceParts:
    """LightGBM itself, and the same functions that make the weekly forecast."""

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle
        self._layouts = {event: build_layout(event, bundle.features) for event in EVENTS}
        self._names = [info.name for info in bundle.features]

    def designs(self, values: FloatArray, style: IntArray) -> Mapping[Event, Design]:
        """See `Parts`."""
        frame = pd.DataFrame(values, columns=self._names)
        return {
            event: build_design(layout, self._bundle.scaler, frame, style) for event, layout in self._layouts.items()
        }

    def raw(self, key: Key, design: Design) -> RawScores:
        """See `Parts`."""
        return raw_scores(self._bundle.heads[key], design)

    def trees(self, key: Key, design: Design) -> FloatArray:
        """See `Parts`."""
        head = self._bundle.heads[key]
        found = [booster.predict(design.columns, pred_contrib=True, num_threads=1) for booster in head.boosters]
        mean: FloatArray = np.mean(found, axis=0)
        mean *= head.slope * head.pool
        return mean

    def summarise(self, key: Key, design: Design, trees: FloatArray, scenario: FloatArray, out: Summary) -> None:
        """See `Parts`."""
        drivers = np.column_stack([hand_down(design, self._bundle.heads[key], trees), scenario])
        out.families[:] = 0.0
        for place, number in enumerate(out.family):
            out.families[number] += drivers[:, place]
        order = np.argsort(-np.abs(drivers), axis=1, kind="stable")[:, : len(out.top)]
        out.top[:] = order.T
        out.size[:] = np.take_along_axis(drivers, order, axis=1).T


class TableParts:
    """Trees as tables and compiled loops.

    Parameters
    ----------
    bundle : Bundle

    Attributes
    ----------
    slow : str
        Why LightGBM computes some trees after all; empty where the tables hold all.
    """

    def __init__(self, bundle: Bundle) -> None:
        self._heads = bundle.heads
        self._layouts = {event: build_layout(event, bundle.features) for event in EVENTS}
        names = [info.name for info in bundle.features]
        self._scale = plan_scale(bundle.scaler, names)
        self._plans = {event: plan_design(layout, names) for event, layout in self._layouts.items()}
        self._tables = {key: AdditiveTrees(head.boosters) for key, head in bundle.heads.items()}
        self._weights = {key: column_weights(self._layouts[key[0]], head) for key, head in bundle.heads.items()}
        self.slow = next((held.slow_contributions for held in self._tables.values() if held.slow_contributions), "")

    def designs(self, values: FloatArray, style: IntArray) -> Mapping[Event, Design]:
        """See `Parts`."""
        from models.row_kernel import lay_columns, standardise

        z = _columnwise(len(values), values.shape[1] + 1)
        standardise(values, style, self._scale, z)
        found = {}
        for event, layout in self._layouts.items():
            columns, parts = (_columnwise(len(z), len(of)) for of in (layout.columns, layout.members))
            lay_columns(z, self._plans[event], columns, parts)
            found[event] = Design(layout, columns, parts)
        return found

    def raw(self, key: Key, design: Design) -> RawScores:
        """See `Parts`."""
        head = self._heads[key]
        trees = self._tables[key].scores(design.columns)
        mean = trees.mean(axis=0)
        error = np.zeros(len(mean))
        if len(trees) > 1:
            trees -= mean
            error = np.sqrt(np.einsum("bn,bn->n", trees, trees) / (len(trees) - 1) / len(trees))
        columns = linear_columns(design)
        return RawScores(head.linear.decision_function(columns), _standard_error(head, columns), mean, error)

    def trees(self, key: Key, design: Design) -> FloatArray:
        """See `Parts`."""
        head = self._heads[key]
        found = self._tables[key].contributions(design.columns)
        found *= head.slope * head.pool
        return found

    def summarise(self, key: Key, design: Design, trees: FloatArray, scenario: FloatArray, out: Summary) -> None:
        """See `Parts`."""
        from models.row_kernel import share_out

        share_out(design.parts, trees, scenario, self._weights[key], self._plans[key[0]], out)


def _columnwise(n: int, width: int) -> FloatArray:
    return np.empty((n, width), order="F")


def _standard_error(head: Head, columns: FloatArray) -> FloatArray:
    """Return the same as `RidgeLogit.standard_error` by matrix products, whose sums run in another order."""
    design = np.column_stack([np.ones(len(columns)), columns])
    spread = design @ head.linear.covariance
    variance: FloatArray = np.einsum("ij,ij->i", spread, design)
    return np.sqrt(np.maximum(variance, 0.0))


def can_compile() -> bool:
    """Whether there is numba; says in the log that there is none."""
    try:
        import numba  # noqa: F401
    except ImportError as error:
        logging.getLogger(__name__).warning("LightGBM itself scores the rows: numba cannot be imported (%s)", error)
        return False
    return True


HEADS: tuple[Key, ...] = tuple((event, horizon) for horizon in HORIZONS for event in EVENTS)
"""Every head, in the order of columns."""
