"""At which level the tail of a book is read: the corrected level of the worst pair that it holds (DESIGN section 5)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from features.contracts import FloatArray
from models.books import BookRisk, Books, BookSettings, book_risk
from models.curve import ALPHA
from models.scenarios import ScenarioSet


class CorrectedRisk(NamedTuple):
    """Risk of books read at the corrected levels and at the nominal ones; `level` stands for 5%, shape (books,)."""

    corrected: BookRisk
    raw: BookRisk
    level: FloatArray


def reading_levels(scenarios: ScenarioSet, segments: Sequence[str], exposures: FloatArray, horizon: int) -> FloatArray:
    """Return the level that stands for 5% in each book.

    A book holds a pair when it is exposed to the pair's small segment: long, it loses on the lower side of the spread;
    short, on the upper side. Of several pairs the lowest level counts, which is the deepest tail. A book that holds no
    pair, or a set without levels, is read at 5% itself. Other levels move in proportion.

    Parameters
    ----------
    scenarios : ScenarioSet
    segments : sequence of str, length k
        Of the columns of `exposures`.
    exposures : array, shape (books, k)
        Net notional of each segment; only its sign matters.
    horizon : int
        Weeks.

    Returns
    -------
    array, shape (books,)
        Fractions.

    Information set: that of the scenario set.
    """
    read = np.full(len(exposures), np.inf)
    for level in scenarios.levels:
        if level.horizon == horizon and level.small in segments:
            held = exposures[:, list(segments).index(level.small)]
            read = np.minimum(read, np.where(held > 0, level.lower, np.where(held < 0, level.upper, np.inf)))
    return np.where(np.isfinite(read), read, ALPHA)


def corrected_risk(
    books: Books, held: ScenarioSet, horizon: int, settings: BookSettings | None = None
) -> CorrectedRisk:
    """Price the tail of many books at the level of the worst pair each of them holds.

    Parameters and errors as `models.books.book_risk`.

    Information set: that of the scenario set.
    """
    settings = settings or BookSettings()
    level = reading_levels(held, books.segments, books.exposures, horizon)
    nominal = len(settings.levels)
    shape = (len(books), 2 * nominal)
    carry = np.zeros(len(books))
    var, es, contributions = np.zeros(shape), np.zeros(shape), np.zeros((*shape, len(books.segments)))
    for value in np.unique(level):  # a handful: one for each pair and side
        rows = np.flatnonzero(level == value)
        asked = (*(value / ALPHA * share for share in settings.levels), *settings.levels)
        found = book_risk(books.take(rows), held, horizon, replace(settings, levels=asked))
        var[rows], es[rows], contributions[rows], carry[rows] = found.var, found.es, found.contributions, found.carry
    corrected, raw = (
        BookRisk(var[:, part], es[:, part], contributions[:, part], carry)
        for part in (slice(None, nominal), slice(nominal, None))
    )
    return CorrectedRisk(corrected, raw, level)
