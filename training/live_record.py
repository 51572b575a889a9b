"""The record of recorded calls: skill against what a forecast must beat, live and backfilled calls apart.

A short record says nothing, so below a number of decision weeks no skill is given at all; above it every skill comes
with its interval and with the noise floor.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from features.contracts import EVENTS, HORIZONS, Event
from features.errors import DataContractError
from training.score_tables import SEED, matured_sample
from training.scores import log_loss, noise_floor, skill, skill_interval

RIVALS: tuple[str, ...] = ("climatology", "persistence", "momentum")
_KEY = ["pair", "decision_date", "horizon_weeks"]


def needed_weeks(horizon_weeks: int) -> int:
    """Return how many matured decision weeks a skill needs: a year, and 26 outcomes that do not overlap."""
    return max(52, 26 * horizon_weeks)


def live_record(calls: pd.DataFrame, baselines: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Score recorded calls against climatology, persistence and momentum.

    Parameters
    ----------
    calls : pandas.DataFrame
        `pair, decision_date, horizon_weeks, backfilled` and, for every event, `p_X, p_X_base, y_X`; one call of each
        pair, decision and horizon among the live ones, one among the backfilled ones.
    baselines : mapping of str to pandas.DataFrame
        "persistence" and "momentum" of `training.baselines.baseline_forecasts`, as far as there are any; climatology
        is the base rate that was published with each call.

    Returns
    -------
    pandas.DataFrame
        One row for each `kind` ("live", "backfilled"), `horizon_weeks` and `event`: `n` rows and `n_weeks` decision
        weeks with call and outcome, `needed_weeks`, `base_rate`, `noise_floor`, and for each rival its
        `RIVAL_skill, RIVAL_low, RIVAL_high`: log-loss skill on the rows that the rival has, with its 90% interval,
        fractions. All but the counts are missing while there are fewer weeks than needed.

    Raises
    ------
    DataContractError
        If a call is there twice.

    Information set: matured outcomes.
    """
    twice = calls.duplicated([*_KEY, "backfilled"], keep=False)
    if twice.any():
        raise DataContractError(
            f"{int(twice.sum())} calls share pair, date and horizon with another; score the first ones only",
            calls.loc[twice, _KEY],
        )
    rows = []
    for kind, backfilled in (("live", False), ("backfilled", True)):
        of_kind = calls[calls["backfilled"] == backfilled]
        for horizon in HORIZONS:
            block = of_kind[of_kind["horizon_weeks"] == horizon]
            for event in EVENTS:
                scores = _scores(block, event, horizon, baselines)
                rows.append({"kind": kind, "horizon_weeks": horizon, "event": event, **scores})
    return pd.DataFrame(rows)


def _scores(
    calls: pd.DataFrame, event: Event, horizon: int, baselines: Mapping[str, pd.DataFrame]
) -> dict[str, float | int]:
    sample = matured_sample(calls, event)
    weeks, needed = len(np.unique(sample.dates)), needed_weeks(horizon)
    nan = float("nan")
    result: dict[str, float | int] = {"n": len(sample.p), "n_weeks": weeks, "needed_weeks": needed}
    result |= {"base_rate": nan, "noise_floor": nan}
    result |= {f"{rival}_{part}": nan for rival in RIVALS for part in ("skill", "low", "high")}
    if weeks < needed:
        return result
    result |= {"base_rate": float(sample.y.mean()), "noise_floor": noise_floor(sample, horizon)}
    index = pd.MultiIndex.from_frame(calls[_KEY])
    for rival in RIVALS:
        if rival == "climatology":
            told = calls[f"p_{event}_base"].to_numpy(np.float64)
        elif rival in baselines:
            told = baselines[rival][f"p_{event}"].reindex(index).to_numpy(np.float64)
        else:
            continue
        # The sample's own base rate is the rival: rows that it lacks drop out.
        p, base, y, dates, _ = matured_sample(calls.assign(**{f"p_{event}_base": told}), event)
        if len(np.unique(dates)) < needed:
            continue
        ours, theirs = log_loss(p, y), log_loss(base, y)
        low, high = skill_interval(ours, theirs, dates, seed=SEED)
        result |= {f"{rival}_skill": skill(ours, theirs), f"{rival}_low": low, f"{rival}_high": high}
    return result
