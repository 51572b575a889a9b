"""Which ranks by market value an index holds: the n smallest, the n largest, or a band."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

import numpy as np

from features.contracts import BoolArray, Float32Array
from features.errors import DataContractError


@dataclass(frozen=True)
class Selection:
    """A band of ranks.

    Parameters
    ----------
    first, last : int
        Ranks, both included, counted from 1.
    from_smallest : bool
        Whether rank 1 is the smallest stock; else it is the largest.

    Raises
    ------
    DataContractError
        If the ranks are no band.
    """

    first: int
    last: int
    from_smallest: bool = False

    def __post_init__(self) -> None:
        if not 1 <= self.first <= self.last:
            raise DataContractError(
                f"ranks must be a band such as 1801-3800, counted from 1; got {self.first}-{self.last}"
            )

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``smallest:400``, ``largest:300`` or ``band:1801-3800`` (rank 1 is the largest).

        Raises
        ------
        DataContractError
            If the text is none of these.

        Examples
        --------
        >>> Selection.parse("smallest:400")
        Selection(first=1, last=400, from_smallest=True)
        """
        if match := re.fullmatch(r"(smallest|largest):(\d{1,6})", text):
            return cls(1, int(match[2]), match[1] == "smallest")
        if match := re.fullmatch(r"band:(\d{1,6})-(\d{1,6})", text):
            return cls(int(match[1]), int(match[2]))
        raise DataContractError(f"`rule` must be smallest:N, largest:N or band:FIRST-LAST; got {text!r}")

    def __str__(self) -> str:
        if self.from_smallest and self.first == 1:
            return f"smallest:{self.last}"
        return f"largest:{self.last}" if self.first == 1 else f"band:{self.first}-{self.last}"

    @property
    def needs(self) -> int:
        """How many stocks there must be for the band to be full."""
        return self.last

    def of(self, cap: Float32Array, eligible: BoolArray) -> BoolArray:
        """Return the chosen stocks; of equal ones the first code ranks as smaller.

        Parameters
        ----------
        cap : array of float32, shape (n_codes,)
            Market value, finite where `eligible`.
        eligible : array of bool, shape (n_codes,)

        Information set: the row it is given.
        """
        count = int(eligible.sum())
        values = np.where(eligible, cap, np.float32(np.inf))
        first, last = self.first, self.last
        if not self.from_smallest:
            first, last = count - last + 1, count - first + 1
        return _smallest(values, min(last, count)) & ~_smallest(values, first - 1)


def _smallest(values: Float32Array, count: int) -> BoolArray:
    """Return the `count` smallest of finite values; the partition finds the bound, ties go by position."""
    if count <= 0:
        return np.zeros(len(values), dtype=np.bool_)
    bound = np.partition(values, count - 1)[count - 1]
    chosen: BoolArray = values < bound
    ties = np.flatnonzero(values == bound)
    chosen[ties[: count - int(chosen.sum())]] = True
    return chosen
