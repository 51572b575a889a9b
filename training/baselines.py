"""Baselines on the rows of the walk-forward: what a forecast must beat beside the base rate itself.

All are forecast walk-forward at the cuts of the heads with their purge, on the same rows and information. Save for the
two that are shown as they are (`scenario_set`, `lightgbm_default`) each is read through one shrunk logit that starts
from the base rate, see `training.baseline_logit`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd

from features.contracts import EVENTS, Dataset, TimeArray
from features.errors import DataContractError
from training.baseline_columns import MOMENTUM, PERSISTENCE, RIDGE, forecast_columns, forecast_valuation
from training.baseline_logit import Inputs
from training.baseline_scenario import forecast_scenario_logit, forecast_scenario_set
from training.baseline_states import HMM, JUMP, SWITCHING, forecast_states
from training.baseline_trees import forecast_default_trees
from training.baseline_vote import forecast_vote

CLIMATOLOGY = "climatology"
_INDEX = ["pair", "decision_date", "horizon_weeks"]


@dataclass(frozen=True)
class Baseline:
    """One baseline: its name, what it is in a line, where it comes from, and its forecast.

    `forecast` gives `p_switch, p_large, p_crash` indexed like `Inputs.base`, or None where it lacks its input.
    """

    name: str
    about: str
    source: str
    forecast: Callable[[Inputs], pd.DataFrame | None]


def _climatology(inputs: Inputs) -> pd.DataFrame:
    names = {f"p_{event}_base": f"p_{event}" for event in EVENTS}
    return inputs.base[list(names)].rename(columns=names).astype(np.float64)


REGISTRY: tuple[Baseline, ...] = (
    Baseline(CLIMATOLOGY, "the base rate, updated weekly with every matured outcome", "Murphy 1973", _climatology),
    Baseline(
        "persistence", "one tilt per style in force", "METHODS 4",
        partial(forecast_columns, columns=PERSISTENCE),
    ),
    Baseline(
        "momentum", "relative momentum of 4 and 13 weeks", "METHODS 4; Jegadeesh and Titman 1993",
        partial(forecast_columns, columns=MOMENTUM),
    ),
    Baseline("valuation_spread", "how dear small caps are against large ones", "METHODS 8", forecast_valuation),
    Baseline("eight_signal_vote", "equal vote of eight broker-style signals", "METHODS 4", forecast_vote),
    Baseline(
        "ridge_logit", "volatility ratio, momentum, age of the style and distance to a flip", "METHODS 1",
        partial(forecast_columns, columns=RIDGE),
    ),
    Baseline(
        "hmm_filtered", "two Gaussian states of daily changes, filtered online", "Hamilton 1989; Rabiner 1989",
        partial(forecast_states, model=HMM),
    ),
    Baseline(
        "jump_online", "two clusters of drift with a price per jump, value gap online",
        "Nystrup et al. 2020; Shu and Mulvey 2024", partial(forecast_states, model=JUMP),
    ),
    Baseline(
        "markov_switching", "switching drift and spread of weekly changes with one lag, filtered online",
        "Hamilton 1989; Kim and Nelson 1999", partial(forecast_states, model=SWITCHING),
    ),
    Baseline(
        "scenario_set", "what the untilted scenario set implies, as it is", "Barone-Adesi et al. 1999; DESIGN 5",
        forecast_scenario_set,
    ),
    Baseline(
        "scenario_logit", "the same, its log-odds beyond the base rate shrunk", "Platt 1999", forecast_scenario_logit
    ),
    Baseline(
        "lightgbm_default", "LightGBM with library defaults on every feature, as it is", "Ke et al. 2017",
        forecast_default_trees,
    ),
)  # fmt: skip
"""Every baseline in the order of the tables."""
NAMES: tuple[str, ...] = tuple(baseline.name for baseline in REGISTRY)


def baseline_forecasts(
    dataset: Dataset,
    base: pd.DataFrame,
    cuts: TimeArray,
    *,
    implied: pd.DataFrame | None = None,
    names: Collection[str] = NAMES,
    progress: Callable[[str, int, int], None] = lambda stage, done, total: None,
) -> dict[str, pd.DataFrame]:
    """Forecast every event with every baseline, walk-forward.

    Parameters
    ----------
    dataset : Dataset
        Of which `rows` (style and states), `values`, `lines`, `clock` and `outcomes` are read.
    base : pandas.DataFrame, indexed by (pair, decision_date, horizon_weeks)
        `p_switch_base, p_large_base, p_crash_base` as known at each decision. Rows before the first cut belong here
        too: they are what the first fits learn from.
    cuts : array of datetime64, shape (c,)
        Refits. A row uses the newest cut that is not after its decision.
    implied : pandas.DataFrame, optional
        `EVENT_implied` of `models.implied`; may hold fewer rows. Without it the two scenario baselines are left out.
    names : collection of str
        Baselines wanted; all by default.
    progress : callable
        Told (stage, done, total).

    Returns
    -------
    dict of str to pandas.DataFrame
        In the order of `REGISTRY`, each with the index of `base` and columns `p_switch, p_large, p_crash`; missing
        where the base rate is and, for what is learned, before the first cut. A baseline that lacks an input at a row,
        or at a cut has fewer than 104 matured dates, says the base rate: all are scored on the same rows.

    Raises
    ------
    DataContractError
        If `base` lacks a column, a row has no states, or a name is unknown.

    Information set: states, features, closes and base rate known at the row's decision; for all that is learned,
    outcomes with matured_at < the cut and rows and closes known before it.
    """
    if missing := [name for name in (*_INDEX, *_base_columns()) if name not in base.reset_index().columns]:
        raise DataContractError(f"`base` lacks {', '.join(missing)}")
    if unknown := sorted(set(names) - set(NAMES)):
        raise DataContractError(f"`names` must be among {', '.join(NAMES)}; got {', '.join(unknown)}")
    keys = pd.MultiIndex.from_arrays([base.index.get_level_values(name) for name in _INDEX[:2]], names=_INDEX[:2])
    stateless = ~keys.isin(dataset.rows.index)
    if stateless.any():
        raise DataContractError(f"{int(stateless.sum())} rows of `base` have no states", base.loc[stateless])
    inputs = Inputs(
        dataset=dataset,
        base=base,
        cuts=np.sort(np.asarray(cuts, "datetime64[us]")),
        implied=None if implied is None else implied[[f"{event}_implied" for event in EVENTS]].reindex(base.index),
    )
    wanted = [one for one in REGISTRY if one.name in names]
    forecasts: dict[str, pd.DataFrame] = {}
    for done, one in enumerate(wanted):
        progress("baselines", done, len(wanted))
        frame = one.forecast(inputs)
        if frame is not None:
            forecasts[one.name] = frame
    progress("baselines", len(wanted), len(wanted))
    return forecasts


def with_probabilities(forecasts: pd.DataFrame, baseline: pd.DataFrame) -> pd.DataFrame:
    """Return the walk-forward's rows with a baseline's probabilities in place of its own, ready for the score table.

    Parameters
    ----------
    forecasts : pandas.DataFrame
        With columns `pair, decision_date, horizon_weeks`.
    baseline : pandas.DataFrame
        One of `baseline_forecasts`. Where the forecast itself abstained the baseline is left out too, so that both
        are scored on the same rows.
    """
    index = pd.MultiIndex.from_frame(forecasts[_INDEX])
    aligned = baseline.reindex(index)
    replaced = {
        f"p_{event}": np.where(forecasts[f"p_{event}"].isna(), np.nan, aligned[f"p_{event}"].to_numpy(np.float64))
        for event in EVENTS
    }
    return forecasts.assign(**replaced)


def _base_columns() -> list[str]:
    return [f"p_{event}_base" for event in EVENTS]
