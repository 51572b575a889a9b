"""The fixed schedule of refits, and which rows each bundle forecasts."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import pandas as pd

from features.contracts import Dataset, TimeArray
from features.errors import DataContractError
from models.settings import HeadSettings


@dataclass(frozen=True)
class Plan:
    """What to train: settings, schedule and the identity that goes into every bundle.

    `first_decision` is the first decision that is forecast; refits follow every `refit_weeks` weeks; a pair enters
    `min_weeks` weeks after its first features.
    """

    settings: HeadSettings
    first_decision: np.datetime64
    refit_weeks: int
    min_weeks: int
    market_hash: str
    code_version: str

    @property
    def config_hash(self) -> str:
        """Digest of everything but the code: market definition, settings and schedule."""
        schedule = f"{day_text(self.first_decision)}/{self.refit_weeks}/{self.min_weeks}"
        return hashlib.sha256(f"{self.market_hash}/{self.settings.config_hash}/{schedule}".encode()).hexdigest()[:16]


def refit_cuts(dataset: Dataset, plan: Plan) -> TimeArray:
    """Return the refit schedule: the first decision and every `refit_weeks` weeks after it, up to the last decision.

    Raises
    ------
    DataContractError
        If no decision lies on or after the first one that is forecast.
    """
    weeks = dataset.clock.index.to_numpy("datetime64[us]")
    first = np.searchsorted(weeks, plan.first_decision)
    if first == len(weeks):
        raise DataContractError(
            f"market {dataset.market!r}: the data end before the first decision, {day_text(plan.first_decision)}"
        )
    return weeks[first :: plan.refit_weeks]


def last_cut(dataset: Dataset, plan: Plan, day: np.datetime64) -> np.datetime64:
    """Return the newest cut of the schedule that is not later than `day`.

    Raises
    ------
    DataContractError
        If `day` lies before the first decision.
    """
    cuts = refit_cuts(dataset, plan)
    if day < cuts[0]:
        raise DataContractError(
            f"`as_of` {day_text(day)} is before the first decision of market {dataset.market!r}, {day_text(cuts[0])}"
        )
    newest: np.datetime64 = cuts[cuts <= day][-1]
    return newest


def forecast_rows(dataset: Dataset, plan: Plan, start: np.datetime64, stop: np.datetime64 | None) -> pd.MultiIndex:
    """Return the rows with start <= decision_date < stop of pairs that have been observed for `min_weeks` weeks."""
    index = cast(pd.MultiIndex, dataset.rows.index)
    dates = index.get_level_values("decision_date").to_numpy("datetime64[us]")
    age = dataset.rows.groupby(level="pair").cumcount().to_numpy()
    chosen = (dates >= start) & (age >= plan.min_weeks) & (dates >= plan.first_decision)
    if stop is not None:
        chosen &= dates < stop
    return index[chosen].remove_unused_levels()


def forecast_blocks(
    dataset: Dataset, plan: Plan, cuts: Sequence[np.datetime64] | TimeArray, stop: np.datetime64 | None = None
) -> list[pd.MultiIndex]:
    """Return the rows that the bundle of each cut forecasts: up to the next cut and, after the last, before `stop`."""
    stops = [*cuts[1:], stop][: len(cuts)]
    return [forecast_rows(dataset, plan, cut, end) for cut, end in zip(cuts, stops, strict=True)]


def bundle_age(dataset: Dataset, cut: np.datetime64, day: np.datetime64) -> int:
    """Return how many decision weeks lie between a bundle's cut and a day.

    Information set: the calendar up to `day`.
    """
    weeks = dataset.clock.index.to_numpy("datetime64[us]")
    return int(np.searchsorted(weeks, day) - np.searchsorted(weeks, cut))


def bundle_root(artifacts: Path, market: str, plan: Plan) -> Path:
    """Return the folder of the bundles that one version of the code trained with one configuration."""
    return artifacts / "bundles" / market / f"{plan.config_hash}-{plan.code_version}"


def bundle_folder(root: Path, cut: np.datetime64, snapshot_id: str) -> Path:
    """Return where the bundle of a cut, trained on a snapshot, lives."""
    return root / f"{day_text(cut)}-{snapshot_id}"


def day_text(time: np.datetime64) -> str:
    """Return a date as YYYY-MM-DD."""
    return str(time.astype("datetime64[D]"))
