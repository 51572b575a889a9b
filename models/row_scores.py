"""Scores of many rows of features: probabilities, bands, validity, contributions by family and top drivers.

One path for the bundle's folder, the registered model and Spark: the numbers of the weekly forecast, without its tail.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from scipy.special import expit, logit
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from features.contracts import EVENTS, FAMILIES, HORIZONS, FloatArray, IntArray
from models.bundle import Bundle
from models.coherence import probabilities, project
from models.design import build_layout
from models.heads import variance
from models.row_contract import RowContract, Rows
from models.row_parts import HEADS, Key, Parts, ReferenceParts, TableParts, can_compile
from models.row_plan import Summary, plan_drivers
from models.validity import Judgement, judge_values, judged_features

Method = Literal["auto", "tables", "reference"]

TOP = 3
"""Drivers that are named for each head."""
FEW = 2000
"""Rows from which compiling pays, in a process that has not compiled yet."""
PSEUDO = ("intercept", "calibration", "coherence")
"""What no feature explains: see `models.explain`."""
GROUPS: tuple[str, ...] = (*FAMILIES, *PSEUDO)
_SLICE = 8192
_PLAIN = 6
"""Numbers of a head before its contributions: probability, base rate, band, log-odds and those of the base rate."""


def head_columns(key: Key) -> tuple[str, ...]:
    """Return the columns of numbers of one head.

    ``p_switch_1w`` with ``_base``, ``_lo`` and ``_hi``; the published log-odds ``log_odds_switch_1w``; its parts
    ``_base`` and one for each family and pseudo family, which sum to it; the contributions of the top drivers,
    ``driver_switch_1w_1_log_odds`` and so on.

    Examples
    --------
    >>> head_columns(("switch", 4))[:3]
    ('p_switch_4w', 'p_switch_4w_base', 'p_switch_4w_lo')
    """
    tag = _tag(key)
    numbers = (
        f"p_{tag}",
        *(f"p_{tag}_{end}" for end in ("base", "lo", "hi")),
        f"log_odds_{tag}",
        f"log_odds_{tag}_base",
    )
    return (
        *numbers,
        *(f"log_odds_{tag}_{group}" for group in GROUPS),
        *(f"{driver}_log_odds" for driver in driver_columns(key)),
    )


def driver_columns(key: Key) -> tuple[str, ...]:
    """Return the columns that name the top drivers of one head."""
    return tuple(f"driver_{_tag(key)}_{rank}" for rank in range(1, TOP + 1))


def _tag(key: Key) -> str:
    return f"{key[0]}_{key[1]}w"


NUMBER_COLUMNS: tuple[str, ...] = tuple(name for key in HEADS for name in head_columns(key))
DRIVER_COLUMNS: tuple[str, ...] = tuple(name for key in HEADS for name in driver_columns(key))
_SILENT = np.flatnonzero([not name.endswith("_base") for name in NUMBER_COLUMNS])


@dataclass(frozen=True, eq=False)
class RowScores:
    """Scores of n rows.

    Parameters
    ----------
    numbers : array, shape (len(NUMBER_COLUMNS), n)
        In the order of `NUMBER_COLUMNS`. A row that abstains has its base rates and nothing else.
    drivers : array of int, shape (len(DRIVER_COLUMNS), n)
        Places in `names`; -1 for a row that abstains.
    names : tuple of str
    which : array of int, shape (n,)
        Place of each row's judgement.
    judgements : tuple of Judgement
    """

    numbers: FloatArray
    drivers: IntArray
    names: tuple[str, ...]
    which: IntArray
    judgements: tuple[Judgement, ...]


class RowScorer:
    """Scores rows with one bundle.

    Parameters
    ----------
    bundle : Bundle
    method : {"auto", "tables", "reference"}
        ``reference`` lets LightGBM itself score; ``tables`` compiles first; ``auto`` chooses the tables from 2,000 rows
        on, and stays with them. Numbers agree to 1e-12. Without numba every method is the reference.

    Attributes
    ----------
    contract : RowContract
    """

    def __init__(self, bundle: Bundle, method: Method = "auto") -> None:
        self.bundle = bundle
        self.contract = RowContract.of(bundle)
        self.method: Method = method if can_compile() else "reference"
        self._tables: TableParts | None = None
        self._reference = ReferenceParts(bundle)
        family_of = {info.name: str(info.family) for info in bundle.features}
        events = {event: plan_drivers(build_layout(event, bundle.features), family_of, GROUPS) for event in EVENTS}
        names = tuple(dict.fromkeys(name for drivers in events.values() for name in drivers.names))
        self._names = names
        self._family = {event: drivers.family for event, drivers in events.items()}
        self._place = {
            event: np.array([names.index(name) for name in drivers.names], dtype=np.int64)
            for event, drivers in events.items()
        }
        self._judged = [self.contract.features.index(name) for name in judged_features(bundle)]

    def score(self, rows: Rows, threads: int = 1) -> RowScores:
        """Score rows.

        Parameters
        ----------
        rows : Rows
            As `RowContract.read` returns them.
        threads : int
            Of the tables; the numbers are the same to the bit with any number.

        Information set: the rows themselves; of the bundle, what matured before its cut.
        """
        n = len(rows)
        numbers = np.zeros((len(NUMBER_COLUMNS), n))
        drivers = np.zeros((len(DRIVER_COLUMNS), n), dtype=np.int64)
        judgements: dict[Judgement, int] = {}
        which = np.zeros(n, dtype=np.int64)
        # Sums in another order would be other bytes: they must not depend on the number of threads.
        with threadpool_limits(1, "blas"):
            self._fill(rows, numbers, drivers, (which, judgements), threads)
        return RowScores(numbers, drivers, self._names, which, tuple(judgements))

    def _fill(
        self,
        rows: Rows,
        numbers: FloatArray,
        drivers: IntArray,
        judged: tuple[IntArray, dict[Judgement, int]],
        threads: int,
    ) -> None:
        """Fill every column, some thousand rows at a time."""
        parts, (which, judgements) = self._parts(len(rows)), judged

        def fill(part: slice) -> list[Judgement]:
            values = np.asfortranarray(rows.values[part])
            found, which[part] = judge_values(self.bundle, values[:, self._judged], rows.stale[part][:, self._judged])
            self._score(parts, rows, part, values, numbers[:, part], drivers[:, part])
            abstains = np.array([one.validity.startswith("abstain") for one in found], dtype=np.bool_)[which[part]]
            if abstains.any():
                _silence(numbers[:, part], drivers[:, part], abstains)
            return found

        slices = [slice(first, min(first + _SLICE, len(rows))) for first in range(0, len(rows), _SLICE)]
        with ThreadPoolExecutor(threads if parts is self._tables else 1) as pool:
            for part, found in zip(slices, pool.map(fill, slices), strict=True):
                known = np.array([judgements.setdefault(one, len(judgements)) for one in found], dtype=np.int64)
                which[part] = known[which[part]]

    def _parts(self, n: int) -> Parts:
        if self.method == "reference" or (self.method == "auto" and self._tables is None and n < FEW):
            return self._reference
        if self._tables is None:
            self._tables = TableParts(self.bundle)
        return self._tables

    def _score(
        self, parts: Parts, rows: Rows, part: slice, values: FloatArray, numbers: FloatArray, drivers: IntArray
    ) -> None:
        """Fill the columns of a slice of rows."""
        style = rows.style[part]
        designs = parts.designs(values, style)
        width = len(NUMBER_COLUMNS) // len(HEADS)
        for horizon in HORIZONS:
            held = {}
            for event in EVENTS:
                key = (event, horizon)
                head, start = self.bundle.heads[key], rows.starts[key]
                base, level, implied = (logit(of[part]) for of in (start.base, start.shared, start.implied))
                raw = parts.raw(key, designs[event])
                begin, error = head.start(level, implied), head.start_error(level, implied)
                n = np.maximum(start.n[part] / horizon, 1.0)
                half = self.bundle.settings.band * np.sqrt(variance(head, expit(base), n, error, raw))
                held[event] = base, level, begin, half, begin + head.deviation(raw.linear, raw.trees)
            published = project({event: one[4] for event, one in held.items()}, style, horizon)
            p = probabilities(published, style, horizon)
            for event in EVENTS:
                key = (event, horizon)
                base, level, begin, half, calibrated = held[event]
                place = HEADS.index(key)
                out, size = np.split(numbers[place * width : (place + 1) * width], [width - TOP])
                out[0], out[1] = p[event], expit(base)
                out[2] = np.minimum(expit(published[event] - half), p[event])
                out[3] = np.maximum(expit(published[event] + half), p[event])
                out[4], out[5] = published[event], base
                trees = parts.trees(key, designs[event])
                head = self.bundle.heads[key]
                top = drivers[place * TOP : (place + 1) * TOP]
                families = out[_PLAIN:]
                out_of = Summary(self._family[event], families, top, size)
                parts.summarise(key, designs[event], trees, begin - level, out_of)
                top[:] = self._place[event][top]
                families[-3] = head.slope * head.linear.intercept + trees[:, -1]
                families[-2], families[-1] = level - base, published[event] - calibrated


def _silence(numbers: FloatArray, drivers: IntArray, abstains: np.ndarray) -> None:
    """Take the numbers of rows that abstain back, but for the base rates."""
    rows = np.flatnonzero(abstains)
    numbers[np.ix_(_SILENT, rows)] = np.nan
    drivers[:, rows] = -1


def scores_frame(scores: RowScores, index: pd.Index | None = None, **extra: np.ndarray) -> pd.DataFrame:
    """Return scores as a table with the columns `all_columns`, and further ones behind them."""
    columns: dict[str, object] = dict(judgement_columns(scores))
    columns |= {name: scores.numbers[place] for place, name in enumerate(NUMBER_COLUMNS)}
    # No null among texts: Spark would make the word "nan" of it.
    names = np.array([*scores.names, ""], dtype=object)
    columns |= {name: names[scores.drivers[place]] for place, name in enumerate(DRIVER_COLUMNS)}
    return pd.DataFrame({**columns, **extra}, index=index, copy=False)


def judgement_columns(scores: RowScores) -> dict[str, np.ndarray]:
    """Return the texts `validity` and `reasons` of every row."""
    validity, reasons = (
        np.array([getattr(one, name) for one in scores.judgements] or [""], dtype=object)
        for name in ("validity", "text")
    )
    return {"validity": validity[scores.which], "reasons": reasons[scores.which]}


def all_columns(extra: Sequence[str] = ()) -> tuple[str, ...]:
    """Name the columns of `scores_frame`, and further ones behind them."""
    return ("validity", "reasons", *NUMBER_COLUMNS, *DRIVER_COLUMNS, *extra)
