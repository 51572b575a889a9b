"""Fitting one bundle at a cut, and the chain of bundles up to a date: the only training path there is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from scipy.special import logit
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from features.contracts import EVENTS, HORIZONS, Dataset, Event, FloatArray, TimeArray
from features.errors import BundleError, DataContractError
from models.bundle import Bundle, Support
from models.climatology import climatology
from models.design import Scaler, build_design, build_layout
from models.heads import Head, calibrate, fit_head
from models.predict import head_scores
from models.schedule import Plan, bundle_folder, day_text, forecast_rows
from models.tail import fit_tail

_RECENT_WEEKS = 52


def fit_uncalibrated(dataset: Dataset, base: pd.DataFrame, cut: np.datetime64, plan: Plan) -> Bundle:
    """Fit scaler, linear parts, trees and tails at a cut; pool and calibration stay at their start.

    Information set: rows with a decision before the cut, outcomes with matured_at before the cut's decision time.

    Raises
    ------
    DataContractError
        If fewer than 52 outcomes have matured.
    """
    # Sums in another order would be other bytes: the result must not depend on the number of threads.
    with threadpool_limits(1, "blas"):
        return _fit(dataset, base, cut, plan)


def _fit(dataset: Dataset, base: pd.DataFrame, cut: np.datetime64, plan: Plan) -> Bundle:
    dates = dataset.rows.index.get_level_values("decision_date").to_numpy("datetime64[us]")
    if cut not in dataset.clock.index:
        raise DataContractError(f"`cut` must be a decision day of market {dataset.market!r}; got {day_text(cut)}")
    cut_at = cut_time(dataset, cut)
    before = dataset.values[dates < cut]
    scaler = Scaler.fit(before, plan.settings.winsor)
    heads: dict[tuple[Event, int], Head] = {}
    for horizon in HORIZONS:
        for event in EVENTS:
            rows, y, offset = matured_rows(dataset, base, event, horizon, cut_at)
            if len(rows) < _RECENT_WEEKS:
                raise DataContractError(
                    f"market {dataset.market!r}: only {len(rows)} outcomes had matured by {day_text(cut)}"
                )
            design = build_design(
                build_layout(event, dataset.features),
                scaler,
                dataset.values.loc[rows],
                dataset.rows.loc[rows, "style"].to_numpy(np.int64),
            )
            when = rows.get_level_values("decision_date").to_numpy("datetime64[us]")
            heads[event, horizon] = fit_head(design, y, offset, when, horizon, cut, plan.settings)
    tails = {}
    for pair in dataset.pairs:
        line_dates, line = dataset.lines[pair.name].as_of(cut_at)
        tails[pair.name] = fit_tail(line_dates, line[:, 0], plan.settings.tail) if len(line) else None
    year_ago = cut - np.timedelta64(7 * _RECENT_WEEKS, "D")
    recent = dataset.values[(dates < cut) & (dates >= year_ago)].notna().any()
    live = [info.family for info in dataset.features if info.name in scaler.mean and recent[info.name]]
    return Bundle(
        market=dataset.market,
        simulated=dataset.simulated,
        cut=cut,
        snapshot_id=snapshot_of(dataset, cut),
        config_hash=plan.config_hash,
        code_version=plan.code_version,
        features=dataset.features,
        families=tuple(dict.fromkeys(live)),
        settings=plan.settings,
        scaler=scaler,
        support=Support.fit(before),
        heads=heads,
        tails=tails,
    )


def cut_time(dataset: Dataset, cut: np.datetime64) -> np.datetime64:
    """Return the UTC time of a cut's decision."""
    at: np.datetime64 = dataset.clock["decision_at"].to_numpy("datetime64[us]")[dataset.clock.index == cut][0]
    return at


def snapshot_of(dataset: Dataset, cut: np.datetime64) -> str:
    """Return the digest of everything that was known at a cut's decision."""
    return str(dataset.clock["snapshot_id"].loc[pd.Timestamp(cut)])


def matured_rows(
    dataset: Dataset, base: pd.DataFrame, event: Event, horizon: int, cut_at: np.datetime64
) -> tuple[pd.MultiIndex, FloatArray, FloatArray]:
    """Return rows whose outcome matured before a time, their outcome and the log-odds from which the heads start.

    Information set: outcomes with matured_at < cut_at.
    """
    outcomes = dataset.outcomes.xs(horizon, level="horizon_weeks")
    y = outcomes[f"y_{event}"].to_numpy(np.float64)
    matured = (outcomes["matured_at"].to_numpy("datetime64[us]") < cut_at) & np.isfinite(y)
    offset = logit(base[f"{event}_shared"].xs(horizon, level="horizon_weeks").to_numpy(np.float64)[matured])
    return cast(pd.MultiIndex, outcomes.index[matured]), y[matured], offset


@dataclass(eq=False)
class History:
    """Out-of-sample raw scores of earlier bundles, from which later ones learn their calibration."""

    frames: list[pd.DataFrame]

    def add(self, bundle: Bundle, dataset: Dataset, rows: pd.MultiIndex, base: pd.DataFrame) -> None:
        """Score a bundle's own block of weeks."""
        for horizon in HORIZONS:
            for event, score in head_scores(bundle, dataset, rows, base, horizon).items():
                self.frames.append(
                    pd.DataFrame(
                        {"event": event, "horizon": horizon, "linear": score.raw.linear, "trees": score.raw.trees},
                        index=rows,
                    )
                )

    def calibrate(self, bundle: Bundle, dataset: Dataset, base: pd.DataFrame) -> Bundle:
        """Return the bundle with pool and calibration learned from scores whose outcome matured before its cut."""
        if not self.frames:
            return bundle
        scores = pd.concat(self.frames)
        cut_at = cut_time(dataset, bundle.cut)
        heads = {}
        for (event, horizon), head in bundle.heads.items():
            mine = scores[(scores["event"] == event) & (scores["horizon"] == horizon)]
            rows, y, offset = matured_rows(dataset, base, event, horizon, cut_at)
            place = rows.get_indexer(mine.index)
            known = place >= 0
            chosen, place = mine[known], place[known]
            when = chosen.index.get_level_values("decision_date").to_numpy("datetime64[us]")
            heads[event, horizon] = calibrate(
                head,
                (chosen["linear"].to_numpy(np.float64), chosen["trees"].to_numpy(np.float64)),
                y[place],
                offset[place],
                when,
                bundle.cut,
                bundle.settings,
            )
        return replace(bundle, heads=heads)


def bundle_chain(
    dataset: Dataset,
    plan: Plan,
    cuts: Sequence[np.datetime64] | TimeArray,
    root: Path | None,
    *,
    jobs: int = 2,
    progress: Callable[[str], None] = lambda message: None,
) -> list[Bundle]:
    """Return the bundles of consecutive cuts, trained or, where `root` has them, loaded.

    Calibration needs the out-of-sample scores of all earlier bundles, so the chain starts at the first cut. A bundle
    on disk is used only if its snapshot and configuration are those of the data at hand.

    Parameters
    ----------
    dataset : Dataset
    plan : Plan
    cuts : array of datetime64[us], ascending
        From the first decision on.
    root : Path, optional
        Folder of finished bundles; written as soon as each is done, so that an interrupted run resumes.
    jobs : int
        Processes.
    progress : callable
        Told the cut of each bundle when it is ready.
    """
    base = climatology(dataset)
    found: dict[np.datetime64, Bundle] = {}
    for cut in cuts:
        bundle = _load(bundle_folder(root, cut, snapshot_of(dataset, cut))) if root else None
        if bundle is not None and bundle.config_hash == plan.config_hash and bundle.features == dataset.features:
            found[cut] = bundle
    missing = [cut for cut in cuts if cut not in found]
    workers = Parallel(n_jobs=min(jobs, max(len(missing), 1)), return_as="generator")
    fitted = workers(delayed(fit_uncalibrated)(dataset, base, cut, plan) for cut in missing)
    history = History([])
    chain = []
    for position, cut in enumerate(cuts):
        if cut in found:
            bundle = found[cut]
        else:
            with threadpool_limits(1, "blas"):
                bundle = history.calibrate(next(fitted), dataset, base)
            if root is not None:
                bundle.save(bundle_folder(root, cut, bundle.snapshot_id))
        stop = cuts[position + 1] if position + 1 < len(cuts) else None
        if stop is not None:
            with threadpool_limits(1, "blas"):
                history.add(bundle, dataset, forecast_rows(dataset, plan, cut, stop), base)
        chain.append(bundle)
        progress(day_text(cut))
    return chain


def _load(folder: Path) -> Bundle | None:
    if not folder.exists():
        return None
    try:
        return Bundle.load(folder)
    except BundleError:
        return None
