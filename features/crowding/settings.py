"""Windows and thresholds of the crowding measures."""

from __future__ import annotations

from dataclasses import dataclass

from features.errors import DataContractError

DECILES = 10
SMALLEST = 0
MIDDLE = (4, 5)
"""Deciles are counted from 0, the smallest; the two in the middle are what the smallest is compared with."""


@dataclass(frozen=True)
class CrowdSettings:
    """How the measures are taken.

    Parameters
    ----------
    window : int
        Sessions of residual correlation, absorption, serial correlation and momentum gap.
    short_window : int
        Sessions of dispersion and turnover.
    weeks : int
        Weeks of comomentum; Lou and Polk (2022) take 52.
    absorbed : float
        Share of the eigenvectors that counts as absorbing; Kritzman et al. (2011) take a fifth.
    coverage : float
        Least share of a window on which a member must have a return.
    seasoning : int
        Sessions before the window's start on at least half of which a member must have traded: a stock that was listed
        yesterday or has just come back from a long halt belongs to no crowd.
    least : int
        Fewest members of a decile; with fewer its measures are absent.
    """

    window: int = 60
    short_window: int = 20
    weeks: int = 52
    absorbed: float = 0.2
    coverage: float = 0.8
    seasoning: int = 60
    least: int = 20

    def __post_init__(self) -> None:
        for name, fewest in (("window", 10), ("short_window", 2), ("weeks", 10), ("seasoning", 1), ("least", 3)):
            value = getattr(self, name)
            if value < fewest:
                raise DataContractError(f"`{name}` must be at least {fewest}; got {value}")
        for name in ("absorbed", "coverage"):
            value = getattr(self, name)
            if not 0 < value <= 1:
                raise DataContractError(f"`{name}` must be inside (0, 1]; got {value:g}")
