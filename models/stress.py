"""Named stress scenarios: one shock for each segment, all at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from features.contracts import FloatArray
from features.errors import DataContractError
from models.books import Books, Fault


@dataclass(frozen=True)
class Stress:
    """A named stress: one simple return for each segment, all at once, before any carry.

    Parameters
    ----------
    name : str
    shocks : mapping of str to float
        Simple return of each segment, above -1.
    """

    name: str
    shocks: Mapping[str, float]

    def __post_init__(self) -> None:
        if wrong := [name for name, shock in self.shocks.items() if not -1 < shock < np.inf]:
            raise DataContractError(
                f"`shocks` of stress {self.name!r} must be simple returns above -1; "
                f"got {self.shocks[wrong[0]]} for {wrong[0]!r}"
            )

    def faults(self, books: Books) -> list[Fault]:
        """Return one fault for each segment that a book holds, long or short, and the stress does not shock."""
        held = (books.long != 0) | (books.hedge != 0)
        return [
            Fault(f"stress {self.name!r} must have a shock for segment {segment!r}", held[:, place])
            for place, segment in enumerate(books.segments)
            if segment not in self.shocks and held[:, place].any()
        ]

    def returns(self, books: Books) -> FloatArray:
        """Return each book's return under the stress per unit of equity, shape (books,); losses are negative.

        Raises
        ------
        DataContractError
            If a book holds a segment that has no shock.
        """
        if found := self.faults(books):
            raise DataContractError(f"{found[0].rule}; row {int(np.argmax(found[0].rows))} of `books` holds it")
        shocks = np.array([self.shocks.get(segment, 0.0) for segment in books.segments])
        lost: FloatArray = books.exposures @ shocks
        return lost
