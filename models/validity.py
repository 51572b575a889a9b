"""What a forecast may be trusted with: whether it must abstain, and how far its inputs lie from what training saw."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pandas as pd

from features.contracts import Dataset, Validity
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
    known = [info for info in bundle.features if info.name in bundle.support.low]
    names = [info.name for info in known]
    raw = values[names].to_numpy(np.float64)
    old = stale[names].to_numpy(np.bool_)
    live = ~np.isnan(raw)
    low, high, least, most = (
        np.array([bound[name] for name in names])
        for bound in (bundle.support.low, bundle.support.high, bundle.support.least, bundle.support.most)
    )
    margin = 0.1 * (most - least)
    unusual = live & ((raw < low) | (raw > high))
    unseen = live & ((raw < least - margin) | (raw > most + margin))
    count = live.sum(axis=1)
    families = np.array([info.family for info in known])
    judgements = []
    for row in range(len(values)):
        validity, reasons = _absent(bundle.families, set(families[live[row]]), set(families[old[row]]))
        if not reasons:
            outside = tuple(name for name, far in zip(names, unseen[row], strict=True) if far)
            validity, reasons = _distance(outside, int(unusual[row].sum()), int(count[row]))
        judgements.append(Judgement(validity, tuple(reasons)))
    return judgements


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


def _absent(trained: tuple[str, ...], live: set[str], stale: set[str]) -> tuple[Validity, list[Reason]]:
    """Judge a row by the trained families that have no live feature, those with stale inputs first."""
    gone = [family for family in trained if family not in live]
    old = tuple(family for family in gone if family in stale)
    missing = tuple(family for family in gone if family not in stale)
    reasons = [Reason("stale", old)] if old else []
    reasons += [Reason("missing", missing)] if missing else []
    return "abstain_stale" if old else "abstain_missing", reasons


def _distance(unseen: tuple[str, ...], unusual: int, live: int) -> tuple[Validity, list[Reason]]:
    """Judge a row by how many of its live features lie outside of what training saw."""
    if len(unseen) / max(live, 1) > _OUTSIDE_SHARE:
        return "out_of_support", [Reason("unseen", unseen)]
    if unusual / max(live, 1) > _STRESS_SHARE:
        return "stress_supported", [Reason("unusual", count=unusual, of=live)]
    return "validated", []
