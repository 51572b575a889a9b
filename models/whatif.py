"""The same forecast with other inputs: what the heads of a bundle would have said."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from features.contracts import EVENTS, Event, FloatArray, IntArray
from models.bundle import Bundle
from models.coherence import project
from models.design import build_design, build_layout
from models.heads import raw_scores
from models.predict import HeadScores


@dataclass(frozen=True)
class Start:
    """Where a head starts, in log-odds: base rate, the level that pairs share, and the level with the scenario set."""

    base: float
    level: float
    start: float


@dataclass(frozen=True)
class Place:
    """Where a value lies in what a bundle was trained on.

    Parameters
    ----------
    trained : bool
        Whether the bundle knows the feature; one that it does not know moves nothing.
    low, high, least, most : float, optional
        1% and 99% quantile, minimum and maximum over the training rows.
    unusual : bool
        Whether the value lies in the outer 2%.
    out_of_support : bool
        Whether it lies beyond everything seen in training.
    clipped : bool
        Whether it lies beyond the point from which the bundle no longer tells values apart.
    """

    trained: bool
    low: float | None = None
    high: float | None = None
    least: float | None = None
    most: float | None = None
    unusual: bool = False
    out_of_support: bool = False
    clipped: bool = False


def rescored(
    bundle: Bundle, horizon: int, values: pd.DataFrame, style: IntArray, starts: Mapping[Event, Start]
) -> dict[Event, HeadScores]:
    """Score rows of feature values that share where they start.

    Parameters
    ----------
    bundle : Bundle
    horizon : int
        Weeks.
    values : pandas.DataFrame
        One column per feature, missing where there is no value.
    style : array of int, shape (n,)
        Style in force: +1 small, -1 large.
    starts : mapping of event to Start
        Base rate and scenario set are no inputs: they stay.

    Returns
    -------
    mapping of event to HeadScores
        As `models.predict.head_scores`, with a `start_error` of 0: what is asked here has no band.

    Information set: the rows themselves; of the bundle, what matured before its cut.
    """
    parts = {}
    for event in EVENTS:
        head = bundle.heads[event, horizon]
        design = build_design(build_layout(event, bundle.features), bundle.scaler, values, style)
        raw = raw_scores(head, design)
        at = starts[event]
        base, level, start = (np.full(len(values), number) for number in (at.base, at.level, at.start))
        parts[event] = (design, raw, base, level, start, start + head.deviation(raw.linear, raw.trees))
    published = project({event: part[5] for event, part in parts.items()}, style, horizon)
    nothing: FloatArray = np.zeros(len(values))
    return {
        event: HeadScores(design, raw, base, level, start, nothing, calibrated, published[event])
        for event, (design, raw, base, level, start, calibrated) in parts.items()
    }


def place_of(bundle: Bundle, feature: str, value: float) -> Place:
    """Say where a value lies in the training rows of a bundle."""
    support, scaler = bundle.support, bundle.scaler
    if feature not in support.low:
        return Place(trained=False)
    low, high, least, most = (bound[feature] for bound in (support.low, support.high, support.least, support.most))
    clipped = False
    if feature in scaler.mean:
        reach = scaler.winsor * scaler.std[feature]
        clipped = abs(value - scaler.mean[feature]) > reach
    return Place(
        trained=feature in scaler.mean,
        low=low,
        high=high,
        least=least,
        most=most,
        unusual=not low <= value <= high,
        out_of_support=not least <= value <= most,
        clipped=clipped,
    )
