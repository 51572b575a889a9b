"""Nested events get nested probabilities: a projection of the calibrated log-odds.

With small caps in force a crash is an adverse move, and within one week an adverse move means that large wins. With
large caps in force and one week, a crash means that large wins, and an adverse move excludes it. Every case is a chain
a <= b <= c in log-odds, and the nearest chain is an isotonic regression.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy.special import expit

from features.contracts import EVENTS, STYLE_SMALL, Event, FloatArray, IntArray

_CHAINS: dict[tuple[bool, bool], tuple[tuple[Event, int], ...]] = {
    # (small in force, one week): events with the sign of their log-odds, ascending
    (True, True): (("crash", 1), ("switch", 1), ("large", 1)),
    (True, False): (("crash", 1), ("switch", 1)),
    (False, True): (("crash", 1), ("large", 1), ("switch", -1)),
    (False, False): (),
}


def project(log_odds: Mapping[Event, FloatArray], style: IntArray, horizon: int) -> dict[Event, FloatArray]:
    """Return the nearest log-odds (least squares) that respect the nesting of events.

    Parameters
    ----------
    log_odds : mapping of event to array, shape (n,)
    style : array of int, shape (n,)
        Style in force at each row.
    horizon : int
        Weeks.
    """
    result = {event: np.array(log_odds[event], dtype=np.float64) for event in EVENTS}
    for small in (True, False):
        chain = _CHAINS[small, horizon == 1]
        rows = np.flatnonzero((style == STYLE_SMALL) == small)
        if not chain or not len(rows):
            continue
        nearest = _isotonic(np.column_stack([sign * result[event][rows] for event, sign in chain]))
        for place, (event, sign) in enumerate(chain):
            result[event][rows] = sign * nearest[:, place]
    return result


def _isotonic(block: FloatArray) -> FloatArray:
    """Row-wise isotonic regression of two or three columns, by the min-max formula; ascending rows stay as they are."""
    k = block.shape[1]
    fitted = np.empty_like(block)
    for place in range(k):
        lower = [
            np.min([block[:, start:stop].mean(axis=1) for stop in range(place + 1, k + 1)], axis=0)
            for start in range(place + 1)
        ]
        fitted[:, place] = np.max(lower, axis=0)
    ascending = np.diff(block, axis=1).min(axis=1) >= 0
    return np.where(ascending[:, None], block, fitted)


def probabilities(log_odds: Mapping[Event, FloatArray], style: IntArray, horizon: int) -> dict[Event, FloatArray]:
    """Return probabilities whose nesting holds in floating point, too."""
    p = {event: expit(log_odds[event]) for event in EVENTS}
    small = style == STYLE_SMALL
    p["crash"] = np.where(small, np.minimum(p["crash"], p["switch"]), p["crash"])
    if horizon == 1:
        p["switch"] = np.where(small, np.minimum(p["switch"], p["large"]), np.minimum(p["switch"], 1 - p["large"]))
        p["crash"] = np.minimum(p["crash"], np.where(small, p["switch"], p["large"]))
    return p
