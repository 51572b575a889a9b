"""A short SIMULATED market with its store, and a forecaster without a model that is right a little too often."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

import features.markets
from features.contracts import EVENTS, FORECAST_COLUMNS, TAIL_COLUMNS, Dataset
from features.market import MarketSpec
from models.climatology import climatology


def short_market(folder: Path, history_start: str, first_decision: str) -> Path:
    """Write the sample market's definition with a shorter history."""
    text = (Path(features.markets.__path__[0]) / "sample.toml").read_text(encoding="utf-8")
    for name, day in (("history_start", history_start), ("first_decision", first_decision)):
        line = next(row for row in text.splitlines() if row.startswith(name))
        text = text.replace(line, f"{name} = {day}")
    path = folder / "short.toml"
    path.write_text(text, encoding="utf-8")
    return path


def published_rows(market: MarketSpec, dataset: Dataset) -> pd.DataFrame:
    """Return a call for every row since the first decision: the base rate, moved towards what happened."""
    first = pd.Timestamp(market.schedule.first_decision)
    table = dataset.outcomes.reset_index()
    table = table[table["decision_date"] >= first].reset_index(drop=True)
    keys = pd.MultiIndex.from_frame(table[["pair", "decision_date"]])
    states = dataset.rows.reindex(keys).reset_index(drop=True)
    base = climatology(dataset).reindex(pd.MultiIndex.from_frame(table[["pair", "decision_date", "horizon_weeks"]]))
    rows = table[["pair", "decision_date", "entry_date", "exit_date", "horizon_weeks"]].assign(
        market=market.name, style_in_force=np.where(states["style"] > 0, "small", "large"), sigma=states["sigma"],
        validity="validated", reasons="", bundle_cut=first, snapshot_id=states["snapshot_id"].astype(str),
        config_hash="c0ffee", code_version="1", spread_realised=np.nan,
    )  # fmt: skip
    for event in EVENTS:
        rate, happened = base[event].to_numpy(), table[f"y_{event}"].fillna(0).to_numpy(np.float64)
        rows[f"p_{event}_base"], rows[f"y_{event}"] = rate, np.nan
        # Nested as the contract wants it: a tenth of the way towards the outcome, which is nested.
        p = np.clip(0.9 * rate.min() + 0.1 * happened if event == "crash" else rate, 0, 1)
        rows[f"p_{event}"], rows[f"p_{event}_lo"], rows[f"p_{event}_hi"] = p, p, p
    rows["p_crash"] = rows[["p_crash", "p_switch", "p_large"]].min(axis=1)
    rows[["p_crash_lo", "p_crash_hi"]] = rows[["p_crash", "p_crash"]].to_numpy()
    _nest(rows)
    rows[list(TAIL_COLUMNS)] = np.nan
    rows["exit_date"] = rows["exit_date"].fillna(rows["entry_date"] + pd.to_timedelta(7 * rows["horizon_weeks"], "D"))
    return rows[list(FORECAST_COLUMNS)]


def _nest(rows: pd.DataFrame) -> None:
    """Project switch onto what the other two allow."""
    week, small = rows["horizon_weeks"] == 1, rows["style_in_force"] == "small"
    switch = rows["p_switch"].mask(small, np.maximum(rows["p_switch"], rows["p_crash"]))
    switch = switch.mask(week & small, np.minimum(switch, rows["p_large"]))
    switch = switch.mask(week & ~small, np.minimum(switch, 1 - rows["p_large"]))
    for suffix in ("", "_lo", "_hi"):
        rows[f"p_switch{suffix}"] = switch
