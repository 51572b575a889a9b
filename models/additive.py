"""A few thousand tiny LightGBM trees as tables: the same numbers as LightGBM, many times faster on many rows.

LightGBM itself stays the reference, and takes over wherever the tables cannot: without numba, and for categorical
splits, linear leaves, several outputs or large trees. `AdditiveTrees` says so and goes on with equal numbers.

The first scores in a process wait some seconds for the compiler, the first contributions a little longer: for a few
hundred rows LightGBM is the quicker way.

This file and its neighbours `tree_text`, `additive_codes`, `additive_plan`, `additive_kernel`, `additive_contributions`
and `compiled` need numpy and LightGBM, and numba if it is there, but no other file of capshift: a registered model can
carry them along. Errors are therefore plain ``ValueError``.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from models.additive_codes import Codes, lay_out
from models.additive_plan import PatternPlan, ScorePlan, expected_value, plan_patterns, plan_scores
from models.tree_text import FloatArray, TreeModel, UnsupportedTreesError, read_trees

if TYPE_CHECKING:
    import lightgbm as lgb

_SLICE = 8192
"""Rows that are worked on at a time: bounds the memory of copies, and is what a thread takes."""


class _Tables(NamedTuple):
    """Contributions by pattern, and what they start from."""

    plan: PatternPlan
    values: FloatArray
    expected: float


class AdditiveTrees:
    """Boosters with one output over the same features, evaluated together.

    Parameters
    ----------
    boosters : sequence of lightgbm.Booster
        At least one. They are read once; what changes in them later is not seen.

    Attributes
    ----------
    boosters : tuple of lightgbm.Booster
    features : int
        Columns of the rows.
    slow_scores, slow_contributions : str
        Why LightGBM itself computes them; empty while the tables do. A reason also goes to the log, as a warning.

    Raises
    ------
    ValueError
        If there is no booster, or they differ in their number of features.
    """

    def __init__(self, boosters: Sequence[lgb.Booster]) -> None:
        self.boosters = tuple(boosters)
        counts = {booster.num_feature() for booster in self.boosters}
        if len(counts) != 1:
            raise ValueError(f"`boosters` must be one or more with the same number of features; got {sorted(counts)}")
        self.features = counts.pop()
        self.slow_scores = self.slow_contributions = _no_numba()
        self._tables: _Tables | None = None
        if self.slow_scores:
            return
        try:
            models = [read_trees(booster.model_to_string()) for booster in self.boosters]
            layout = lay_out([tree for model in models for tree in model.trees])
            self._codes: Codes = layout.codes
            self._scores: ScorePlan = plan_scores(models, layout)
        except UnsupportedTreesError as error:
            self.slow_scores = self.slow_contributions = str(error)
            _log("scores and contributions", str(error))
            return
        try:
            self._patterns: PatternPlan = plan_patterns(models, layout)
            self._models: tuple[TreeModel, ...] = tuple(models)
        except UnsupportedTreesError as error:
            self.slow_contributions = str(error)
            _log("contributions", str(error))

    def scores(self, rows: FloatArray, threads: int = 1) -> FloatArray:
        """Return the raw score of each booster, as ``Booster.predict(rows, raw_score=True)``.

        Parameters
        ----------
        rows : array, shape (n, features)
            Missing values are NaN.
        threads : int
            A row's numbers do not depend on it.

        Returns
        -------
        array, shape (boosters, n)
            Log-odds, say; equal to LightGBM's up to rounding (1e-12). Boosters with several outputs, which LightGBM
            computes, add a last axis.

        Raises
        ------
        ValueError
            If `rows` has another shape.
        """
        self._check(rows)
        if self.slow_scores:
            return np.array([booster.predict(rows, raw_score=True, num_threads=threads) for booster in self.boosters])
        from models.additive_kernel import score

        out = np.empty((len(self.boosters), len(rows)))

        def work(first: int, last: int) -> None:
            part = np.empty((len(out), last - first))
            score(_slice(rows, first, last), self._codes, self._scores, part)
            out[:, first:last] = part

        _in_slices(work, len(rows), threads)
        return out

    def contributions(self, rows: FloatArray, threads: int = 1) -> FloatArray:
        """Return what each feature adds to the mean raw score, as ``Booster.predict(rows, pred_contrib=True)``.

        These are the path-dependent TreeSHAP values of Lundberg et al. (2020), averaged over the boosters.

        Parameters
        ----------
        rows : array, shape (n, features)
            Missing values are NaN.
        threads : int
            A row's numbers do not depend on it.

        Returns
        -------
        array, shape (n, features + 1)
            The last column is the expected value; a row sums to its mean raw score. Equal to LightGBM's up to
            rounding (1e-10).

        Raises
        ------
        ValueError
            If `rows` has another shape.
        """
        self._check(rows)
        if self.slow_contributions:
            total: FloatArray = np.mean(
                [booster.predict(rows, pred_contrib=True, num_threads=threads) for booster in self.boosters], axis=0
            )
            return total
        from models.additive_contributions import contribute

        tables = self._tables if self._tables is not None else self._fill()
        out = np.zeros((len(rows), self.features + 1), order=_order(rows))
        out[:, -1] = tables.expected

        def work(first: int, last: int) -> None:
            # In Fortran order some rows of many are scattered, and are worked on as a copy.
            part = _slice(out, first, last)
            contribute(_slice(rows, first, last), self._codes, tables.plan, tables.values, part)
            if part.base is not out:
                out[first:last] = part

        _in_slices(work, len(rows), threads)
        return out

    def _fill(self) -> _Tables:
        from models.additive_contributions import fill_tables

        values = np.zeros(int(self._patterns.place[-1]))
        fill_tables(self._patterns, values)
        self._tables = _Tables(self._patterns, values, expected_value(self._models))
        return self._tables

    def _check(self, rows: FloatArray) -> None:
        if rows.ndim != 2 or rows.shape[1] != self.features:
            raise ValueError(f"`rows` must have shape (n, {self.features}); got {rows.shape}")


def _no_numba() -> str:
    """Say why there are no compiled loops, or nothing."""
    try:
        import numba  # noqa: F401
    except ImportError as error:
        _log("scores and contributions", str(error))
        return f"numba cannot be imported ({error})"
    return ""


def _log(what: str, reason: str) -> None:
    logging.getLogger(__name__).warning("LightGBM itself computes %s of the trees: %s", what, reason)


def _order(rows: FloatArray) -> Literal["C", "F"]:
    """Return the order of rows for which the loops are compiled: Fortran's, the quicker one, if they have it."""
    return "F" if rows.flags.f_contiguous and not rows.flags.c_contiguous else "C"


def _slice(rows: FloatArray, first: int, last: int) -> FloatArray:
    """Return some rows in one of two forms, for each of which the loops are compiled once; most often no copy."""
    return np.require(rows[first:last], np.float64, [_order(rows), "W"])


def _in_slices(work: Callable[[int, int], None], count: int, threads: int) -> None:
    slices = [(first, min(first + _SLICE, count)) for first in range(0, count, _SLICE)]
    if threads == 1:
        for first, last in slices:
            work(first, last)
        return
    with ThreadPoolExecutor(threads) as pool:
        for done in [pool.submit(work, *bounds) for bounds in slices]:
            done.result()
