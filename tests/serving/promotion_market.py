"""A store, a champion and challengers of the small market, for the commands that move models."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import expit, logit

import features.markets
from features.contracts import EVENTS
from features.ingest import ingest
from features.market import load_market
from features.store import Store
from models.climatology import climatology
from models.schedule import bundle_folder
from serving.output import store_path
from tests import small
from training.experiment import rival_forecasts
from training.score_tables import score_table, yearly_table
from training.study import Study
from training.tracking import log_study

NOW = np.datetime64("2011-06-01", "us")


def definition(folder: Path, first: str) -> Path:
    """Write the sample market's definition with another first decision; returns its path."""
    text = (Path(features.markets.__path__[0]) / "sample.toml").read_text(encoding="utf-8")
    line = next(row for row in text.splitlines() if row.startswith("first_decision"))
    path = folder / "small.toml"
    path.write_text(text.replace(line, f"first_decision = {first}"), encoding="utf-8")
    return path


def stored_market(artifacts: Path, market: Path) -> None:
    """Put the small market's observations into the store."""
    ingest(Store(store_path(artifacts)), load_market(str(market)), small.observations(), NOW)


def real_study(folder: Path) -> Study:
    """The study of the small walk-forward, its last bundle on disk."""
    walked = small.walked()
    last = walked.bundles[-1]
    home = last.save(bundle_folder(folder, last.cut, last.snapshot_id))
    rows = walked.forecasts
    return Study(
        market="sample", simulated=True, config={"note": "small"}, config_hash=last.config_hash,
        snapshot_id=last.snapshot_id, git_commit="0123abc", cut=str(last.cut)[:10], forecasts=rows,
        tails=pd.DataFrame(), scores=score_table(rows), yearly=yearly_table(rows), folds=pd.DataFrame(),
        bundle_dir=home, implied=walked.base[[f"{event}_implied" for event in EVENTS]],
    )  # fmt: skip


def planted(study: Study, market: Path, push: float, name: str) -> Study:
    """A configuration that adds a little of the outcome to what the valuation spread says, in the weeks before its cut.

    That baseline knows something of the simulated market: whoever adds to it beats it week by week. Over one week
    nobody knows the direction: more would be taken for a leak. What the bundle itself forecast stays as it is, so that
    the study replays.
    """
    spec, dataset = load_market(str(market)), small.dataset()
    cut, first = pd.Timestamp(study.cut), pd.Timestamp(spec.schedule.first_decision)
    frame = climatology(dataset)[list(EVENTS)].add_prefix("p_").add_suffix("_base").reset_index()
    rows = frame[(frame["decision_date"] >= first) & (frame["decision_date"] < cut)].reset_index(drop=True)
    plan = small.plan(first_decision=first.to_datetime64().astype("datetime64[us]"))
    spread = rival_forecasts(rows, dataset, plan, names=("valuation_spread",))["valuation_spread"]
    keys = pd.MultiIndex.from_frame(rows[["pair", "decision_date", "horizon_weeks"]])
    for event in EVENTS:
        base = rows[f"p_{event}_base"].to_numpy(np.float64)
        known = dataset.outcomes[f"y_{event}"].reindex(keys).to_numpy(np.float64, na_value=np.nan)
        told = np.clip(spread[f"p_{event}"].reindex(keys).to_numpy(np.float64), 0.01, 0.99)
        blind = (event == "large") & (rows["horizon_weeks"] == 1).to_numpy()
        rows[f"y_{event}"] = known
        rows[f"p_{event}"] = np.where(blind, base, expit(logit(told) + push * (known - told)))
    rows = rows.dropna(subset=[f"p_{event}" for event in EVENTS]).assign(bundle_cut=pd.Timestamp("2000-01-07"))
    rows = pd.concat([rows, study.forecasts[study.forecasts["bundle_cut"] == cut]], ignore_index=True)
    return replace(study, config_hash=name, forecasts=rows, scores=score_table(rows), yearly=yearly_table(rows))


def log(study: Study, artifacts: Path, key: str) -> str:
    """Log a study with its frames and no figure."""
    files = artifacts / "files" / key
    files.mkdir(parents=True)
    study.forecasts.to_parquet(files / "forecasts.parquet")
    if study.implied is not None:
        study.implied.to_parquet(files / "implied.parquet")
    return log_study(study, f"sqlite:///{artifacts}/mlflow.db", files)
