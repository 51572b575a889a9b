"""A figure of the article and how its number is printed."""

from __future__ import annotations

from typing import NamedTuple

from serving.claim_spec import Unit
from serving.report.figures import fixed, percent


class Figure(NamedTuple):
    """A number that checks a claim.

    Parameters
    ----------
    value : float
        In the unit of the claim; fractions, not percent.
    detail : str
        What the number is made of.
    low, high : float, optional
        Its interval, where it has one.
    """

    value: float
    detail: str
    low: float | None = None
    high: float | None = None


def shown(value: float, unit: Unit, *, signed: bool = False) -> str:
    """Return a number as the article prints it.

    Examples
    --------
    >>> shown(0.4, "points"), shown(0.7, "correlation"), shown(-0.0123, "log a month", signed=True)
    ('40.0 points', '0.70', '−1.2% a month')
    """
    if unit == "points":
        return fixed(100.0 * value, 1, signed=signed) + " points"
    if unit in ("correlation", "ratio", "state"):
        return fixed(value, 2, signed=signed)
    suffix = {"a year": " a year", "log a month": " a month"}.get(unit, "")
    return percent(value, signed=signed) + suffix
