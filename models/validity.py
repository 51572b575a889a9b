"""What a forecast may be trusted with: whether it must abstain, and how far its inputs lie from what training saw."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from features.contracts import BoolArray, FloatArray, IntArray, Validity

if TYPE_CHECKING:
    import pandas as pd

    from features.contracts import Dataset
    from models.bundle import Bundle
    from models.tails import RowTail

_STRESS_SHARE = 0.15
"""Share of live features outside the training quantiles from which a forecast is called a stress forecast."""
_OUTSIDE_SHARE = 0.05
"""Share of live features outside everything seen in training from which a forecast is out of support."""

MIN_EFFECTIVE = 500
"""Effective number of paths below which a forecast says that its scenario set is stretched."""

ReasonKind = Literal["missing", "stale", "unseen", "unusual", "no_tail", "untilted", "few_paths", "stretched"]


@dataclass(frozen=True)
class Reason:
    """Why a forecast is not simply valid.

    Parameters
    ----------
    kind : str
        ``missing``, ``stale``: a family has no live feature, or none because its inputs are stale; ``unseen``: features
        beyond everything seen in training; ``unusual``: features in their outer 2%; ``no_tail``: too few daily closes;
        ``untilted``: the tail is that of the equally weighted paths; ``few_paths``: events that too few paths show;
        ``stretched``: the tilt leaves few effective paths.
    names : tuple of str
        The families, features or events; empty where only their number counts.
    count, of : int
        How many of how many live features or paths; 0 where names are given.
    """

    kind: ReasonKind
    names: tuple[str, ...] = ()
    count: int = 0
    of: int = 0

    @property
    def text(self) -> str:
        """The reason in English, as the column `reasons` holds it.

        Examples
        --------
        >>> Reason("stale", ("leverage", "flows")).text
        'no live feature in leverage, flows: inputs are stale'
        """
        names = ", ".join(self.names)
        return {
            "missing": f"no live feature in {names}",
            "stale": f"no live feature in {names}: inputs are stale",
            "unseen": f"beyond everything seen in training: {names}",
            "unusual": f"{self.count} of {self.of} features in their outer 2%",
            "no_tail": "no tail: too few daily closes",
            "untilted": "tail of the untilted scenario set",
            "few_paths": f"too few paths show {names}",
            "stretched": f"scenario set stretched: {self.count} effective paths",
        }[self.kind]


@dataclass(frozen=True)
class Judgement:
    """The validity of one row and its reasons; a validated row may still lack a tail."""

    validity: Validity
    reasons: tuple[Reason, ...]

    @property
    def text(self) -> str:
        """All reasons in English, empty where there is none."""
        return "; ".join(reason.text for reason in self.reasons)


def judge(bundle: Bundle, dataset: Dataset, rows: pd.MultiIndex) -> list[Judgement]:
    """Judge each row by what is missing and by its distance from what training saw.

    Parameters
    ----------
    bundle : Bundle
    dataset : Dataset
    rows : pandas.MultiIndex of (pair, decision_date)

    Returns
    -------
    list of Judgement
        One per row. A trained family without a live feature makes the row abstain: ``abstain_stale`` where at least one
        feature of such a family is stale, else ``abstain_missing``.

    Information set: of each row, what was known at its decision; of the bundle, what matured before its cut.
    """
    return judge_inputs(bundle, dataset.values.loc[rows], dataset.stale.loc[rows])


def judge_inputs(bundle: Bundle, values: pd.DataFrame, stale: pd.DataFrame) -> list[Judgement]:
    """Judge rows of feature values; `values` and `stale` as in `features.contracts.Dataset`."""
    names = judged_features(bundle)
    found, which = judge_values(bundle, values[names].to_numpy(np.float64), stale[names].to_numpy(np.bool_))
    return [found[place] for place in which]


def judged_features(bundle: Bundle) -> list[str]:
    """Name the features whose range the bundle knows."""
    return [info.name for info in bundle.features if info.name in bundle.support.low]


def judge_values(bundle: Bundle, values: FloatArray, stale: BoolArray) -> tuple[list[Judgement], IntArray]:
    """Judge rows given as arrays; see `judge`.

    Parameters
    ----------
    bundle : Bundle
    values : array, shape (n, k)
        Values of the features that `judged_features` names; missing ones are NaN.
    stale : array of bool, shape (n, k)

    Returns
    -------
    judgements : list of Judgement
        Each that occurs, once.
    which : array of int, shape (n,)
        Place of each row's judgement.
    """
    if not len(values):
        return [], np.zeros(0, dtype=np.int64)
    known = {info.name: info.family for info in bundle.features if info.name in bundle.support.low}
    low, high, least, most = (
        np.array([bound[name] for name in known], dtype=np.float64)
        for bound in (bundle.support.low, bundle.support.high, bundle.support.least, bundle.support.most)
    )
    margin = 0.1 * (most - least)
    live = ~np.isnan(values)
    unusual = ((values < low) | (values > high)).sum(axis=1)
    unseen: BoolArray = np.logical_or(values < least - margin, values > most + margin)
    count = live.sum(axis=1)
    of = [np.array([family == trained for family in known.values()], dtype=np.bool_) for trained in bundle.families]
    shape = (len(of), len(values))
    gone = np.array([~live[:, members].any(axis=1) for members in of], dtype=np.bool_).reshape(shape).T
    old = np.array([stale[:, members].any(axis=1) for members in of], dtype=np.bool_).reshape(shape).T
    old = np.logical_and(old, gone)
    absent: BoolArray = np.any(gone, axis=1)
    unseen &= (~absent & (unseen.sum(axis=1) / np.maximum(count, 1) > _OUTSIDE_SHARE))[:, None]
    counted = ~absent & ~unseen.any(axis=1) & (unusual / np.maximum(count, 1) > _STRESS_SHARE)
    marks = np.packbits(np.concatenate([gone, old, unseen], axis=1), axis=1)
    numbers = np.column_stack([unusual, count]) * counted[:, None]
    keys = np.concatenate([marks, numbers.astype("<u2").view(np.uint8)], axis=1)
    packed = np.ascontiguousarray(keys).view([("", np.void, keys.shape[1])]).ravel()
    _, first, which = np.unique(packed, return_index=True, return_inverse=True)
    names, judgements = np.array(list(known), dtype=object), []
    families = np.array(bundle.families, dtype=object)
    for row in first:
        if absent[row]:
            missing = (gone & ~old)[row]
            validity, reasons = _absent(tuple(families[old[row]]), tuple(families[missing]))
        else:
            seen = (int(unusual[row]), int(count[row])) if counted[row] else (0, 0)
            validity, reasons = _distance(tuple(names[unseen[row]]), *seen)
        judgements.append(Judgement(validity, tuple(reasons)))
    return judgements, which.astype(np.int64).ravel()


def with_tail(judgement: Judgement, tail: RowTail | None) -> Judgement:
    """Return a row's judgement with what must be known of its tail; None says that there is none."""
    if tail is None:
        return replace(judgement, reasons=(*judgement.reasons, Reason("no_tail")))
    reasons = list(judgement.reasons)
    validity = judgement.validity
    if np.isnan(tail.residual).any():
        reasons.append(Reason("untilted"))
    if tail.too_few:
        reasons.append(Reason("few_paths", tail.too_few))
    if tail.effective_size < MIN_EFFECTIVE:
        reasons.append(Reason("stretched", count=round(tail.effective_size)))
        validity = validity if validity.startswith("abstain") else "out_of_support"
    return Judgement(validity, tuple(reasons))


def _absent(old: tuple[str, ...], missing: tuple[str, ...]) -> tuple[Validity, list[Reason]]:
    """Judge a row by the trained families that have no live feature, those with stale inputs first."""
    reasons = [Reason("stale", old)] if old else []
    reasons += [Reason("missing", missing)] if missing else []
    return "abstain_stale" if old else "abstain_missing", reasons


def _distance(unseen: tuple[str, ...], unusual: int, live: int) -> tuple[Validity, list[Reason]]:
    """Judge a row by those of its features, or how many, that lie too far from what training saw."""
    if unseen:
        return "out_of_support", [Reason("unseen", unseen)]
    if unusual:
        return "stress_supported", [Reason("unusual", count=unusual, of=live)]
    return "validated", []
