"""The design of an event as arrays of numbers, for the loops of `models.row_kernel`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from features.contracts import BoolArray, FloatArray, IntArray
from models.design import STYLE_FEATURE, Layout, Scaler
from models.hand_down import SCENARIO_FEATURE, driver_names
from models.heads import Head


class ScalePlan(NamedTuple):
    """How values become z-scores; `live` says which features have a scale at all. All have shape (features,)."""

    mean: FloatArray
    std: FloatArray
    live: BoolArray
    winsor: float


class DesignPlan(NamedTuple):
    """Members of a design, column by column: those of column c are ``start[c]:start[c + 1]``.

    A member's value is the z-score `feature` (the style in force behind all features), times `sign` and, if `turn`,
    times the style. It hands down to the driver `driver`.
    """

    feature: IntArray
    sign: FloatArray
    turn: BoolArray
    driver: IntArray
    start: IntArray


class Drivers(NamedTuple):
    """Names of an event's drivers, the scenario set last, and the place of each one's family among all families."""

    names: tuple[str, ...]
    family: IntArray


class ColumnWeights(NamedTuple):
    """Coefficient of every column, 0 for those that the linear part does not see, and the slope of the calibration."""

    coef: FloatArray
    slope: float


class Summary(NamedTuple):
    """Where contributions of n rows go.

    `family` holds the place of each driver's family; `families`, shape (families, n), their sums; `top` and `size`,
    shape (top, n), the largest drivers by absolute value and their contributions.
    """

    family: IntArray
    families: FloatArray
    top: IntArray
    size: FloatArray


def plan_scale(scaler: Scaler, features: Sequence[str]) -> ScalePlan:
    """Lay out the scaler for features in their order."""
    live = np.array([name in scaler.mean for name in features], dtype=np.bool_)
    mean = np.array([scaler.mean.get(name, 0.0) for name in features], dtype=np.float64)
    std = np.array([scaler.std.get(name, 1.0) for name in features], dtype=np.float64)
    return ScalePlan(mean, std, live, float(scaler.winsor))


def plan_design(layout: Layout, features: Sequence[str]) -> DesignPlan:
    """Lay out the members of an event's design."""
    place = {name: number for number, name in enumerate([*features, STYLE_FEATURE])}
    drivers = {name: number for number, name in enumerate(driver_names(layout))}
    column = np.array([member.column for member in layout.members], dtype=np.int64)
    return DesignPlan(
        np.array([place[member.feature] for member in layout.members], dtype=np.int64),
        np.array([member.sign for member in layout.members], dtype=np.float64),
        np.array([member.times_style for member in layout.members], dtype=np.bool_),
        np.array([drivers[member.feature] for member in layout.members], dtype=np.int64),
        np.searchsorted(column, np.arange(len(layout.columns) + 1)).astype(np.int64),
    )


def plan_drivers(layout: Layout, family_of: Mapping[str, str], families: Sequence[str]) -> Drivers:
    """Name an event's drivers and find their families."""
    names = (*driver_names(layout), SCENARIO_FEATURE)
    held = {**family_of, STYLE_FEATURE: "style", SCENARIO_FEATURE: "scenario"}
    return Drivers(names, np.array([families.index(held[name]) for name in names], dtype=np.int64))


def column_weights(layout: Layout, head: Head) -> ColumnWeights:
    """Return the weights of a head's columns."""
    return ColumnWeights(np.append(head.linear.coef, np.zeros(len(layout.columns) - layout.signed)), float(head.slope))
