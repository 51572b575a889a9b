"""A column's contribution handed down to its features: the linear part exactly, the trees' in proportion to size."""

from __future__ import annotations

import numpy as np

from features.contracts import FloatArray
from models.design import Design, Layout
from models.heads import Head

SCENARIO_FEATURE = "scenario_implied"
"""Name under which the drivers show what the untilted scenario set implies."""


def driver_names(layout: Layout) -> list[str]:
    """Name the features of a layout, each once, in order of their first column."""
    return list(dict.fromkeys(member.feature for member in layout.members))


def hand_down(design: Design, head: Head, trees: FloatArray) -> FloatArray:
    """Return the contribution of every feature, shape (n, number of `driver_names`), in log-odds.

    Parameters
    ----------
    design : Design
    head : Head
    trees : array, shape (n, columns + 1)
        Calibrated contributions of the trees by column; the last, their expected value, is not handed down.
    """
    layout = design.layout
    column_of = np.array([member.column for member in layout.members])
    size = np.abs(design.parts)
    total = size @ np.eye(len(layout.columns))[column_of]
    share = np.where(total[:, column_of] > 0, size / np.where(total > 0, total, 1.0)[:, column_of], 0.0)
    # Members that are all zero (every live member sits at its mean) share their column's contribution equally.
    members = np.bincount(column_of, minlength=len(layout.columns))
    share = np.where(total[:, column_of] > 0, share, 1.0 / members[column_of])
    coef = np.append(head.linear.coef, np.zeros(len(layout.columns) - layout.signed))
    part = head.slope * design.parts * coef[column_of] + trees[:, :-1][:, column_of] * share
    names = driver_names(layout)
    summed = np.zeros((len(part), len(names)))
    for place, member in enumerate(layout.members):
        summed[:, names.index(member.feature)] += part[:, place]
    return summed
