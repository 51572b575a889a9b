"""Fitting one bundle at a cut, and its calibration on what earlier bundles forecast."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import numpy as np
import pandas as pd
from scipy.special import logit
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from features.contracts import EVENTS, HORIZONS, Dataset, Event, FloatArray
from features.errors import BundleError, DataContractError
from models.bundle import Bundle, Support
from models.design import Scaler, build_design, build_layout
from models.heads import Head, Labels, calibrate, fit_head, soft_direction
from models.memory import Memory
from models.predict import head_scores
from models.schedule import Plan, bundle_folder, day_text
from models.volatility import VolatilityParams

_RECENT_WEEKS = 52

Volatility = Mapping[str, VolatilityParams | None]


def fit_uncalibrated(
    dataset: Dataset, base: pd.DataFrame, volatility: Volatility, cut: np.datetime64, plan: Plan
) -> Bundle:
    """Fit scaler, starts, linear parts and trees at a cut; pool, calibration and memory stay at their start.

    Information set: rows with a decision before the cut, outcomes with matured_at before the cut's decision time.

    Raises
    ------
    DataContractError
        If fewer than 52 outcomes have matured.
    """
    # Sums in another order would be other bytes: the result must not depend on the number of threads.
    with threadpool_limits(1, "blas"):
        return _fit(dataset, base, volatility, cut, plan)


def _fit(dataset: Dataset, base: pd.DataFrame, volatility: Volatility, cut: np.datetime64, plan: Plan) -> Bundle:
    dates = dataset.rows.index.get_level_values("decision_date").to_numpy("datetime64[us]")
    if cut not in dataset.clock.index:
        raise DataContractError(f"`cut` must be a decision day of market {dataset.market!r}; got {day_text(cut)}")
    cut_at = cut_time(dataset, cut)
    before = dataset.values[dates < cut]
    scaler = Scaler.fit(before, plan.settings.winsor)
    heads: dict[tuple[Event, int], Head] = {}
    for horizon in HORIZONS:
        for event in EVENTS:
            rows, labels = matured_rows(dataset, base, event, horizon, cut_at)
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
            if event == "large" and plan.settings.soft_direction:
                labels = replace(labels, y=_clearness(dataset, rows, horizon))
            heads[event, horizon] = fit_head(design, labels, horizon, cut, plan.settings)
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
        volatility=volatility,
        memory=Memory.empty(),
        pairs=tuple(pair.name for pair in dataset.pairs),
    )


def _clearness(dataset: Dataset, rows: pd.MultiIndex, horizon: int) -> FloatArray:
    """Return the soft labels of the direction at rows whose outcome has matured."""
    spread = dataset.outcomes.xs(horizon, level="horizon_weeks").loc[rows, "spread_realised"].to_numpy(np.float64)
    return soft_direction(spread, dataset.rows.loc[rows, "sigma"].to_numpy(np.float64), horizon)


def cut_time(dataset: Dataset, cut: np.datetime64) -> np.datetime64:
    """Return the UTC time of a cut's decision."""
    at: np.datetime64 = dataset.clock["decision_at"].to_numpy("datetime64[us]")[dataset.clock.index == cut][0]
    return at


def snapshot_of(dataset: Dataset, cut: np.datetime64) -> str:
    """Return the digest of everything that was known at a cut's decision."""
    return str(dataset.clock["snapshot_id"].loc[pd.Timestamp(cut)])


def stored_bundle(dataset: Dataset, plan: Plan, roots: Sequence[Path], cut: np.datetime64) -> Bundle | None:
    """Return the bundle of a cut that one of the folders holds for this data, catalogue and configuration."""
    for root in roots:
        try:
            bundle = Bundle.load(bundle_folder(root, cut, snapshot_of(dataset, cut)))
        except BundleError:
            continue
        if bundle.config_hash == plan.config_hash and bundle.features == dataset.features:
            return bundle
    return None


def matured_rows(
    dataset: Dataset, base: pd.DataFrame, event: Event, horizon: int, cut_at: np.datetime64
) -> tuple[pd.MultiIndex, Labels]:
    """Return rows whose outcome matured before a time, and what the heads learn from them.

    Information set: outcomes with matured_at < cut_at.
    """
    outcomes = dataset.outcomes.xs(horizon, level="horizon_weeks")
    y = outcomes[f"y_{event}"].to_numpy(np.float64)
    matured = (outcomes["matured_at"].to_numpy("datetime64[us]") < cut_at) & np.isfinite(y)
    rows = cast(pd.MultiIndex, outcomes.index[matured])
    start = base.xs(horizon, level="horizon_weeks")[matured]
    level, implied = (logit(start[f"{event}_{name}"].to_numpy(np.float64)) for name in ("shared", "implied"))
    dates = rows.get_level_values("decision_date").to_numpy("datetime64[us]")
    return rows, Labels(y[matured], level, implied, dates)


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
                        {
                            "event": event,
                            "horizon": horizon,
                            "start": score.start,
                            "linear": score.raw.linear,
                            "trees": score.raw.trees,
                        },
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
            rows, labels = matured_rows(dataset, base, event, horizon, cut_at)
            place = rows.get_indexer(mine.index)
            known = place >= 0
            chosen, place = mine[known], place[known]
            start, linear, trees = (chosen[name].to_numpy(np.float64) for name in ("start", "linear", "trees"))
            past = Labels(labels.y[place], start, labels.implied[place], labels.dates[place])
            heads[event, horizon] = calibrate(head, (linear, trees), past, bundle.cut, bundle.settings)
        return replace(bundle, heads=heads)
