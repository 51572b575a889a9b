"""The word that stands beside numbers which no market made."""

from __future__ import annotations

SIMULATED = "SIMULATED data: made up by a program, not observed in any market"


def notice_of(simulated: bool) -> str | None:
    """Return what has to be said beside the numbers of a market; None where they are real."""
    return SIMULATED if simulated else None
