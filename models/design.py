"""The design matrix: from the panel to the few columns a head learns from. The only builder, used to train and serve.

Columns are of three kinds. A *composite* is the sum of a family's standardised features, each times its expected sign,
over the root of how many are live; a *state* is one causal state of the pair; a *single* is a feature on whose sign the
sources conflict. Every column is a sum of member parts, one per feature, so that a column's contribution can be handed
down to features.

Orientation: direction composites are turned so that a positive value speaks for the event: for "large wins" and the
crash against small caps, for the switch against the style in force.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from features.contracts import FAMILIES, Event, Family, FeatureInfo, FloatArray, IntArray, TimeArray
from features.errors import BundleError

STYLE_FEATURE = "style_in_force"
DRIVERS = "drivers"
"""Name of the composites over all driver families: what the drivers say together."""
DRIVER_FAMILIES: tuple[Family, ...] = ("macro", "flows", "rates", "turnover", "crowding", "leverage")
_KINDS = ("direction", "tail")
"""What a composite speaks of; the direction heads have no use for the second."""
_MIN_WEEKS = 52
_STATE_COLUMNS: dict[Event, tuple[tuple[str, bool], ...]] = {
    # (state, times the style in force)
    "switch": (
        ("vol_ratio", False), ("sigma_percentile", False), ("age", False), ("distance", False),
        ("style_momentum_4w", False), ("style_momentum_13w", False), (STYLE_FEATURE, False),
    ),
    "large": (
        ("vol_ratio", False), ("age", True), ("distance", True), ("style_momentum_4w", True),
        ("style_momentum_13w", True), (STYLE_FEATURE, False),
    ),
    "crash": (
        ("vol_ratio", False), ("sigma_percentile", False), ("age", True), ("distance", True),
        ("style_momentum_4w", True), ("style_momentum_13w", True), (STYLE_FEATURE, False),
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Member:
    """One feature's place in one column: `part = sign * z / sqrt(live members of the column)`."""

    column: int
    feature: str
    sign: int
    times_style: bool


@dataclass(frozen=True)
class Layout:
    """Columns and members of one event's design.

    The first `signed` columns carry a declared orientation and enter the linear part; the rest are single features on
    whose sign the sources conflict, left to the trees.
    """

    event: Event
    columns: tuple[str, ...]
    members: tuple[Member, ...]
    signed: int


def build_layout(event: Event, features: Sequence[FeatureInfo]) -> Layout:
    """Lay out the columns of an event for a feature catalogue."""
    columns: list[str] = []
    members: list[Member] = []
    names = {info.name for info in features}
    groups = [(DRIVERS, [info for info in features if info.family in DRIVER_FAMILIES])]
    groups += [(family, [info for info in features if info.family == family]) for family in FAMILIES]
    for group, infos in groups:
        for kind in _KINDS if event != "large" else _KINDS[:1]:
            signs = {info.name: info.sign if kind == "direction" else info.tail_sign for info in infos}
            signs = {name: sign for name, sign in signs.items() if sign}
            if not signs:
                continue
            columns.append(f"{group}_{kind}")
            orientation = -1 if kind == "direction" else 1
            times_style = kind == "direction" and event == "switch"
            members += [Member(len(columns) - 1, name, orientation * sign, times_style) for name, sign in signs.items()]
    for state, times_style in _STATE_COLUMNS[event]:
        if state in names or state == STYLE_FEATURE:
            columns.append(state)
            members.append(Member(len(columns) - 1, state, 1, times_style))
    signed = len(columns)
    used = {member.feature for member in members}
    for info in features:
        if info.name not in used:
            columns.append(info.name)
            members.append(Member(len(columns) - 1, info.name, 1, False))
    return Layout(event, tuple(columns), tuple(members), signed)


def is_composite(column: str) -> bool:
    """Tell composites of families from states and single features by the column's name."""
    return column.endswith(tuple(f"_{kind}" for kind in _KINDS))


def live_features(values: pd.DataFrame) -> list[str]:
    """Name the features of panel rows that have a value in at least 52 weeks, whichever pairs have it."""
    weeks = values.notna().groupby(level="decision_date").any().sum()
    return [str(name) for name in values.columns if weeks[name] >= _MIN_WEEKS]


@dataclass(frozen=True)
class Scaler:
    """Mean and standard deviation of each feature, learned on the rows before a cut; values are winsorised."""

    mean: Mapping[str, float]
    std: Mapping[str, float]
    winsor: float

    @staticmethod
    def fit(values: pd.DataFrame, winsor: float) -> Scaler:
        """Learn from rows known before the cut; a feature that never moves or has less than 52 weeks is left out."""
        seen = values[live_features(values)]
        mean, std = seen.mean(), seen.std()
        moves = [str(name) for name in seen.columns if std[name] > 0]
        return Scaler({name: float(mean[name]) for name in moves}, {name: float(std[name]) for name in moves}, winsor)

    def transform(self, values: pd.DataFrame, features: Sequence[str]) -> FloatArray:
        """Return z-scores, shape (n, len(features)); missing where the value or the scale is."""
        z = np.full((len(values), len(features)), np.nan)
        scaled = [column for column, name in enumerate(features) if name in self.mean]
        names = [features[column] for column in scaled]
        mean, std = (np.array([of[name] for name in names], dtype=np.float64) for of in (self.mean, self.std))
        raw = (values[names].to_numpy(np.float64) - mean) / std
        z[:, scaled] = np.clip(raw, -self.winsor, self.winsor)
        return z


@dataclass(frozen=True, eq=False)
class Design:
    """One event's design at some rows.

    Parameters
    ----------
    columns : array, shape (n, k)
        Missing where no member of the column is live.
    parts : array, shape (n, m)
        Each member's part of its column; 0 where the feature is missing.
    """

    layout: Layout
    columns: FloatArray
    parts: FloatArray


def build_design(layout: Layout, scaler: Scaler, values: pd.DataFrame, style: IntArray) -> Design:
    """Build the design of an event.

    Parameters
    ----------
    layout : Layout
    scaler : Scaler
    values : pandas.DataFrame
        Panel rows, one column per feature.
    style : array of int, shape (n,)
        Style in force.

    Raises
    ------
    BundleError
        If the panel lacks a feature of the layout.

    Information set: the rows themselves and the scaler.
    """
    wanted = [member.feature for member in layout.members]
    missing = sorted({name for name in wanted if name != STYLE_FEATURE} - set(values.columns))
    if missing:
        raise BundleError(f"the panel lacks {', '.join(missing)}; the bundle was trained with another catalogue")
    features = list(dict.fromkeys(wanted))
    z = scaler.transform(values, [name for name in features if name != STYLE_FEATURE])
    if STYLE_FEATURE in features:
        z = np.insert(z, features.index(STYLE_FEATURE), style.astype(np.float64), axis=1)
    column_of = np.array([member.column for member in layout.members])
    sign = np.array([member.sign for member in layout.members], dtype=np.float64)
    turn = np.where(np.array([member.times_style for member in layout.members])[None, :], style[:, None], 1)
    signed = z[:, [features.index(name) for name in wanted]] * sign * turn
    live = np.isfinite(signed)
    # Members come column by column.
    starts = np.searchsorted(column_of, np.arange(len(layout.columns)))
    count = np.add.reduceat(live.astype(np.int64), starts, axis=1)
    # Averages of n noisy scores shrink like 1 / sqrt(n); dividing by the root keeps columns on one scale.
    parts = np.where(live, signed, 0.0) / np.sqrt(np.maximum(count, 1))[:, column_of]
    columns = np.add.reduceat(parts, starts, axis=1)
    return Design(layout, np.where(count > 0, columns, np.nan), parts)


def training_weights(decision_date: TimeArray, horizon: int, cut: np.datetime64, halflife_years: float) -> FloatArray:
    """Weight rows by uniqueness and age, shape (n,).

    A row counts 1 / horizon, because outcomes of neighbouring weeks overlap, and 1 / root of the number of pairs on
    its date, because their spreads move together; older rows decay exponentially.
    """
    _, inverse, counts = np.unique(decision_date, return_inverse=True, return_counts=True)
    age = (cut - decision_date).astype("timedelta64[D]").astype(np.float64) / 365.25
    weight: FloatArray = 0.5 ** (age / halflife_years) / (horizon * np.sqrt(counts[inverse]))
    return weight
