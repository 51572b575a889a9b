"""A market's store, read once, and the calls that are made from it: of any decision day, by the bundle in force."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd

from features.contracts import Dataset
from features.dataset import decision_times, market_calendar
from features.errors import BundleError, DataContractError, StaleDataError
from features.market import MarketSpec
from features.truncated import dataset_until
from models.bundle import Bundle
from models.bundle_files import MANIFEST, read_files
from models.schedule import Plan, bundle_folder, bundle_root, day_text, last_cut
from serving.forecast import Call, dataset_for, make_forecast
from serving.steps import decision_of, open_store, training_plan


@dataclass(frozen=True, eq=False)
class OpenedMarket:
    """Everything a call of a day up to `last` needs, in memory.

    Parameters
    ----------
    spec : MarketSpec
    artifacts : Path
        Holds store and bundles.
    observations : pandas.DataFrame
        As `Store.observations`.
    quarantined : pandas.DataFrame
        As `Store.quarantined`.
    dataset : Dataset
        Up to `last`.
    plan : Plan
    """

    spec: MarketSpec
    artifacts: Path
    observations: pd.DataFrame
    quarantined: pd.DataFrame
    dataset: Dataset
    plan: Plan

    @property
    def last(self) -> np.datetime64:
        """The last decision day that can be forecast."""
        day: np.datetime64 = self.dataset.clock.index.to_numpy("datetime64[us]")[-1]
        return day

    def at(self, day: np.datetime64) -> np.datetime64:
        """Return the UTC time of a day's decision."""
        time: np.datetime64 = decision_times(self.spec, np.array([day]))[0]
        return time

    def before(self, day: np.datetime64) -> np.datetime64:
        """Return the decision day before; the day itself where there is none."""
        days = self.dataset.clock.index.to_numpy("datetime64[us]")
        earlier: np.datetime64 = days[max(int(np.searchsorted(days, day)) - 1, 0)]
        return earlier

    def snapshot(self, day: np.datetime64) -> str:
        """Return the digest of everything known at a day's decision."""
        return str(self.dataset.clock["snapshot_id"].loc[pd.Timestamp(day)])

    def was_decision(self, day: np.datetime64) -> bool:
        """Return whether a day was the last session of its week as far as was known on it.

        Where sessions are as realised, a day that turned out to be closed was expected until then: the day before it
        became the last session of its week with hindsight only, and nobody could have decided on it.

        Information set: rows with known_at <= the decision of `day`.
        """
        sessions = self.spec.schedule.sessions
        if sessions is None:
            return True
        seen = self.observations["series"] == sessions
        seen &= self.observations["known_at"] <= pd.Timestamp(self.at(day))
        periods = self.observations.loc[seen, "period"].to_numpy("datetime64[us]")
        return bool(day in market_calendar(self.spec, day).realised(periods).decisions())

    def until(self, day: np.datetime64) -> Dataset:
        """Return the dataset up to a day, sure that the headline pair has a row for it.

        Raises
        ------
        StaleDataError
            If its close was not known at the decision, or the day was no decision day as far as was known then.
        """
        if day == self.last:
            return self.dataset
        if self.spec.schedule.sessions is not None:
            if not self.was_decision(day):
                raise StaleDataError(
                    f"{day_text(day)} was no decision day as far as was known then: the market was expected to open "
                    "once more in its week; there is no forecast of it"
                )
            # Sessions as realised: a later dataset knows of closed days that this one could not.
            return dataset_for(self.spec, self.observations, day)
        if (self.spec.headline, pd.Timestamp(day)) not in self.dataset.rows.index:
            # Says what is missing, in the words of a forecast.
            return dataset_for(self.spec, self.observations, day)
        return dataset_until(self.dataset, self.spec, day)

    def cut(self, day: np.datetime64) -> np.datetime64:
        """Return the cut of the bundle in force on a day."""
        return last_cut(self.dataset, self.plan, day)

    def folder(self, cut: np.datetime64) -> Path:
        """Return where the bundle of a cut lies that was trained on this data and configuration."""
        return bundle_folder(bundle_root(self.artifacts, self.spec.name, self.plan), cut, self.snapshot(cut))

    def bundle(self, day: np.datetime64) -> Bundle:
        """Return the bundle in force on a day.

        Raises
        ------
        DataContractError
            If it was not trained yet.
        BundleError
            If it is damaged.
        """
        cut = self.cut(day)
        folder = self.folder(cut)
        if not folder.exists():
            raise DataContractError(
                f"no bundle of cut {day_text(cut)} for this data and configuration; run `capshift train --market "
                f"{self.spec.name}` or `capshift weekly`"
            )
        return _loaded(folder)

    def call(self, day: np.datetime64, headline: str | None = None) -> Call:
        """Forecast a day with the bundle in force.

        Raises
        ------
        StaleDataError, DataContractError, BundleError
            As `until`, `bundle` and `serving.forecast.make_forecast`.

        Information set: rows with known_at <= the decision.
        """
        return make_forecast(self.spec, self.observations, self.until(day), self.bundle(day), self.plan, headline)


def open_market(
    market: MarketSpec, artifacts: Path, as_of: str | None = None, plan: Plan | None = None
) -> OpenedMarket:
    """Read a market's store and build its dataset up to a decision day, by default the newest with prices.

    `plan` says which bundles count; by default those of the default settings.

    Raises
    ------
    DataContractError, LockedError
        If the store is missing, empty, damaged or in use, or the day is no decision day.
    StaleDataError
        If the close of the day is not known.
    """
    store = open_store(artifacts)
    observations = store.observations(market.name)
    day = decision_of(market, observations, as_of)
    dataset = dataset_for(market, observations, day)
    quarantined = store.quarantined(market.name)
    return OpenedMarket(market, artifacts, observations, quarantined, dataset, plan or training_plan(market))


def missing_bundles(opened: OpenedMarket, days: np.ndarray) -> list[np.datetime64]:
    """Return the cuts in force on some days whose bundle is not there, or damaged."""
    missing = []
    for cut in np.unique([opened.cut(day) for day in days]):
        try:
            # Files and checksums are enough; boosters are for the processes that forecast.
            read_files(opened.folder(cut))
        except BundleError:
            missing.append(cut)
    return missing


def _loaded(folder: Path) -> Bundle:
    """Load a bundle, from memory where this process did so before and its manifest is still the same."""
    manifest = folder / MANIFEST
    return _load(folder, manifest.stat().st_mtime_ns if manifest.exists() else 0)


@lru_cache(maxsize=2)
def _load(folder: Path, written: int) -> Bundle:
    return Bundle.load(folder)
