"""Tables of scores: event by horizon by pair, overall and by calendar year."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from features.contracts import EVENTS, Event, FloatArray
from features.errors import DataContractError
from training.scores import (
    Sample,
    brier,
    log_loss,
    noise_floor,
    reliability_slope,
    reliability_slope_vs_base,
    sharpness,
    skill,
    skill_interval,
)

POOLED = "pooled"
"""Name of the group that holds all pairs."""
SEED = 20120106
"""Seed of the intervals: a table of the same forecasts is the same table."""
_KEYS = ("pair", "decision_date", "horizon_weeks")
_COLUMNS = (
    "event", "horizon_weeks", "pair", "n", "n_dates", "n_unmatured", "n_abstained", "base_rate", "mean_p",
    "skill_log_loss", "skill_low", "skill_high", "skill_brier", "slope", "slope_error", "slope_vs_base",
    "slope_vs_base_error", "sharpness", "noise_floor",
)  # fmt: skip


def matured_sample(forecasts: pd.DataFrame, event: Event) -> Sample:
    """Return the rows of an event that can be scored: outcome matured, probability and base rate there."""
    p, base, y = (_numbers(forecasts, name) for name in (f"p_{event}", f"p_{event}_base", f"y_{event}"))
    kept = np.isfinite(p) & np.isfinite(base) & np.isfinite(y)
    dates = forecasts["decision_date"].to_numpy("datetime64[us]")[kept]
    # The codes only tell pairs apart.
    pair = np.unique(forecasts["pair"].to_numpy(dtype=str), return_inverse=True)[1].astype(np.int64)[kept]
    return Sample(p[kept], base[kept], y[kept], dates, pair)


def score_table(forecasts: pd.DataFrame) -> pd.DataFrame:
    """Score every event, horizon and pair, and all pairs pooled.

    Parameters
    ----------
    forecasts : pandas.DataFrame
        Rows of the walk-forward with `pair, decision_date, horizon_weeks` and, for every event, `p_X, p_X_base, y_X`.

    Returns
    -------
    pandas.DataFrame
        `event, horizon_weeks, pair` ("pooled" for all), `n` rows scored, `n_dates`, `n_unmatured` (no outcome yet) and
        `n_abstained` (outcome but no probability) rows skipped, `base_rate` and `mean_p`, `skill_log_loss` with its
        90% interval `skill_low, skill_high`, `skill_brier`, `slope` (all of logit p) and `slope_vs_base` (only the
        deviation from the base rate) with their errors, `sharpness` (log-odds), `noise_floor` (of the log-loss skill).
        Skills are fractions; numbers that do not exist are missing.

    Raises
    ------
    DataContractError
        If a column is missing or a key is there twice.

    Information set: matured outcomes.
    """
    return pd.DataFrame([_scores(*group) for group in scored_groups(forecasts)], columns=list(_COLUMNS))


def yearly_table(forecasts: pd.DataFrame) -> pd.DataFrame:
    """Score every event, horizon and pair, and all pairs pooled, by calendar year of the decision.

    Returns
    -------
    pandas.DataFrame
        `event, horizon_weeks, pair, year, n, n_dates, base_rate, skill_log_loss, skill_brier`; years without a scored
        row are left out. Information set: matured outcomes.
    """
    rows: list[dict[str, object]] = []
    for event, horizon, pair, group in scored_groups(forecasts):
        sample = matured_sample(group, event)
        year = sample.dates.astype("datetime64[Y]").astype(np.int64) + 1970
        for value in np.unique(year):
            part = Sample(*(column[year == value] for column in sample))
            rows.append(
                {
                    "event": event,
                    "horizon_weeks": horizon,
                    "pair": pair,
                    "year": int(value),
                    "n": len(part.p),
                    "n_dates": len(np.unique(part.dates)),
                    "base_rate": float(part.y.mean()),
                    "skill_log_loss": skill(log_loss(part.p, part.y), log_loss(part.base, part.y)),
                    "skill_brier": skill(brier(part.p, part.y), brier(part.base, part.y)),
                }
            )
    columns = ["event", "horizon_weeks", "pair", "year", "n", "n_dates", "base_rate", "skill_log_loss", "skill_brier"]
    return pd.DataFrame(rows, columns=columns)


def _scores(event: Event, horizon: int, pair: str, group: pd.DataFrame) -> dict[str, object]:
    """One row of the score table."""
    sample = matured_sample(group, event)
    p, base, y, dates, _ = sample
    matured = np.isfinite(_numbers(group, f"y_{event}"))
    loss, loss_base = log_loss(p, y), log_loss(base, y)
    low, high = skill_interval(loss, loss_base, dates, seed=SEED)
    slope, against_base = reliability_slope(p, y, dates), reliability_slope_vs_base(p, y, base, dates)
    return {
        "event": event,
        "horizon_weeks": horizon,
        "pair": pair,
        "n": len(p),
        "n_dates": len(np.unique(dates)),
        "n_unmatured": int((~matured).sum()),
        "n_abstained": int(matured.sum()) - len(p),
        "base_rate": float(y.mean()) if len(y) else float("nan"),
        "mean_p": float(p.mean()) if len(p) else float("nan"),
        "skill_log_loss": skill(loss, loss_base),
        "skill_low": low,
        "skill_high": high,
        "skill_brier": skill(brier(p, y), brier(base, y)),
        "slope": slope.value,
        "slope_error": slope.error,
        "slope_vs_base": against_base.value,
        "slope_vs_base_error": against_base.error,
        "sharpness": sharpness(p, base),
        "noise_floor": noise_floor(sample, horizon),
    }


def scored_groups(forecasts: pd.DataFrame) -> Iterator[tuple[Event, int, str, pd.DataFrame]]:
    """Yield event, horizon, pair ("pooled" for all) and rows of everything that is scored on its own.

    Events are innermost, so that groups of equal dates follow each other.

    Raises
    ------
    DataContractError
        If a column is missing or a key is there twice.
    """
    _check(forecasts)
    weeks = forecasts["horizon_weeks"].to_numpy(np.int64)
    for horizon in np.unique(weeks):
        block = forecasts[weeks == horizon]
        pairs = [(POOLED, block), *((str(name), rows) for name, rows in block.groupby("pair", sort=True))]
        for pair, rows in pairs:
            for event in EVENTS:
                yield event, int(horizon), pair, rows


def _check(forecasts: pd.DataFrame) -> None:
    wanted = [*_KEYS, *(name for event in EVENTS for name in (f"p_{event}", f"p_{event}_base", f"y_{event}"))]
    if missing := [name for name in wanted if name not in forecasts.columns]:
        raise DataContractError(f"the forecasts lack {', '.join(missing)}; score the frame of a walk-forward")
    twice = forecasts.duplicated(list(_KEYS), keep=False)
    if twice.any():
        raise DataContractError(
            f"{int(twice.sum())} forecasts share pair, date and horizon with another; score one model at a time",
            forecasts.loc[twice, list(_KEYS)],
        )


def _numbers(frame: pd.DataFrame, name: str) -> FloatArray:
    return frame[name].to_numpy(dtype=np.float64, na_value=np.nan)
