"""Studies that are not in MLflow yet, kept on disk whole: tables, figures, forecasts and the bundle.

Every study is kept before it is logged and dropped afterwards, so that a server that is down, slow or gone in the
middle, and a job that is killed, lose nothing. Its key finds the run again, so that nothing is logged twice.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pandas as pd

from features.errors import DataContractError
from training.study import Study, write_study
from training.tracking import log_study
from training.tracking_server import TrackingError

_STUDY, _BUNDLE, _FILES, _TABLES = "study.json", "bundle", "files", "tables"
_KEPT = ("scores", "yearly", "folds")
_TEXTS = ("market", "config_hash", "snapshot_id", "git_commit", "cut")


def pending_folder(artifacts: Path, market: str) -> Path:
    """Return where a market's studies wait."""
    return artifacts / market / "pending"


def keep_study(study: Study, artifacts: Path, key: str) -> Path:
    """Write a study where it waits for MLflow, atomically, and return its folder.

    Parameters
    ----------
    study : Study
    artifacts : Path
    key : str
        Names the study for ever; sorts by time, since studies are logged in order.

    Raises
    ------
    TrackingError
        If the folder cannot be written.
    """
    home = pending_folder(artifacts, study.market)
    work = None
    try:
        home.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=".", dir=home))
        # The innermost folder carries the key: it is what `log_study` is given.
        write_study(study, work / _FILES / key)
        (work / _TABLES).mkdir()
        for name in (*_KEPT, "baselines"):
            if (table := getattr(study, name)) is not None:
                table.to_parquet(work / _TABLES / f"{name}.parquet")
        shutil.copytree(study.bundle_dir, work / _BUNDLE / study.bundle_dir.name)
        facts = {name: getattr(study, name) for name in _TEXTS}
        facts |= {"simulated": study.simulated, "bundle": study.bundle_dir.name}
        facts["scored_until"] = None if study.scored_until is None else study.scored_until.isoformat()
        (work / _STUDY).write_text(json.dumps(facts, indent=1), encoding="utf-8")
        os.replace(work, home / key)
    except OSError as error:
        if work is not None:
            shutil.rmtree(work, ignore_errors=True)
        raise TrackingError(
            f"{home}: the study cannot be kept there: {error.strerror}; make room and run again"
        ) from error
    return home / key


def kept_studies(artifacts: Path, market: str) -> list[Path]:
    """Return the folders of the studies that wait, oldest first."""
    home = pending_folder(artifacts, market)
    return sorted(path.parent for path in home.glob(f"[!.]*/{_STUDY}"))


def load_study(folder: Path) -> Study:
    """Read a kept study; what only its figures needed is not kept.

    Raises
    ------
    DataContractError
        If a file is missing or damaged.
    """
    try:
        facts = json.loads((folder / _STUDY).read_text(encoding="utf-8"))
        files = folder / _FILES / folder.name
        scores, yearly, folds = (pd.read_parquet(folder / _TABLES / f"{name}.parquet") for name in _KEPT)
        until, baselines = facts["scored_until"], folder / _TABLES / "baselines.parquet"
        return Study(
            market=str(facts["market"]),
            config_hash=str(facts["config_hash"]),
            snapshot_id=str(facts["snapshot_id"]),
            git_commit=str(facts["git_commit"]),
            cut=str(facts["cut"]),
            simulated=bool(facts["simulated"]),
            config=json.loads((files / "config.json").read_text(encoding="utf-8")),
            forecasts=pd.read_parquet(files / "forecasts.parquet"),
            tails=pd.DataFrame(),
            scores=scores,
            yearly=yearly,
            folds=folds,
            bundle_dir=folder / _BUNDLE / str(facts["bundle"]),
            scored_until=None if until is None else date.fromisoformat(until),
            baselines=pd.read_parquet(baselines) if baselines.is_file() else None,
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataContractError(
            f"{folder}: no kept study: {type(error).__name__}: {error}; remove the folder and run `capshift backtest`"
        ) from error


def upload_kept(artifacts: Path, market: str, uri: str) -> Iterator[tuple[str, str]]:
    """Log every study that waits, oldest first, and drop it; yields its key and the run's id.

    Raises
    ------
    TrackingError
        If MLflow does not take one; that one and the later ones stay.
    DataContractError
        If one is damaged.
    """
    for folder in kept_studies(artifacts, market):
        run_id = log_study(load_study(folder), uri, folder / _FILES / folder.name)
        _drop(folder)
        yield folder.name, run_id


def _drop(folder: Path) -> None:
    """Remove a folder in a way that never leaves half a study where one waits."""
    gone = folder.with_name(f".{folder.name}")
    os.replace(folder, gone)
    shutil.rmtree(gone, ignore_errors=True)
