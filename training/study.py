"""What one experiment leaves behind, and the same as plain files: tables, figures, forecasts."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from features.contracts import HORIZONS, Event
from training.plots import Contributions, contribution_figure, reliability_figure, yearly_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, eq=False)
class Study:
    """One walk-forward with its scores and the bundle of its last refit.

    Parameters
    ----------
    market, simulated : str, bool
    config : mapping
        The resolved configuration; nested mappings become dotted parameters.
    config_hash, snapshot_id, git_commit : str
        Digest of the configuration, of the data known at the last decision, and the code's commit.
    forecasts : pandas.DataFrame
        Rows of the walk-forward, all of them.
    scores, yearly : pandas.DataFrame
        `score_table` and `yearly_table` of the rows up to `scored_until`.
    tails : pandas.DataFrame
        What the tails were before tilt and level correction, see `models.tails.tail_frame`.
    folds : pandas.DataFrame
        One row per refit up to `scored_until`: `cut` and numbers such as `n_train`, `log_loss_in`, `log_loss_out`.
    cut : str
        Cut of the last refit, YYYY-MM-DD.
    bundle_dir : Path
        Folder of the bundle of the last refit.
    contributions : mapping of event to Contributions
        Of the last refit that may be shown; may be empty.
    implied : pandas.DataFrame, optional
        `EVENT_implied` of every row, what the untilted scenario set says (`models.implied`).
    scored_until : date, optional
        Last decision that tables and figures may show; until a configuration is frozen nobody looks at later years.
    baselines : pandas.DataFrame, optional
        The score table of the heads and of every baseline, see `training.experiment.baseline_table`.
    """

    market: str
    simulated: bool
    config: Mapping[str, Any]
    config_hash: str
    snapshot_id: str
    git_commit: str
    forecasts: pd.DataFrame
    tails: pd.DataFrame
    scores: pd.DataFrame
    yearly: pd.DataFrame
    folds: pd.DataFrame
    cut: str
    bundle_dir: Path
    contributions: Mapping[Event, Contributions] = field(default_factory=dict)
    implied: pd.DataFrame | None = None
    scored_until: date | None = None
    baselines: pd.DataFrame | None = None

    @property
    def shown(self) -> pd.DataFrame:
        """The forecasts that tables and figures may show."""
        return shown_rows(self.forecasts, self.scored_until)


def shown_rows(forecasts: pd.DataFrame, scored_until: date | None) -> pd.DataFrame:
    """Return the forecasts that tables and figures may show."""
    return forecasts if scored_until is None else forecasts[forecasts["decision_date"] <= pd.Timestamp(scored_until)]


def write_study(study: Study, folder: Path) -> None:
    """Write a study's tables, figures and forecasts into a folder; the bundle has its own.

    ``config.json``, ``scores.csv``, ``yearly.csv``, ``folds.csv`` (also ``.json`` and ``.md``), ``forecasts.parquet``,
    ``reliability_Hw.png``, ``yearly_Hw.png`` and ``shap_EVENT.png``; ``implied.parquet`` and ``baselines.csv`` where
    the study has them. Files that are there are replaced.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name, table in (("scores", study.scores), ("yearly", study.yearly), ("folds", study.folds)):
        table.to_csv(folder / f"{name}.csv", index=False)
    (folder / "folds.md").write_text(_markdown(study.folds, study.simulated), encoding="utf-8")
    study.folds.to_json(folder / "folds.json", orient="records", date_format="iso", indent=1)
    text = json.dumps(study.config, indent=1, sort_keys=True, default=str, ensure_ascii=False)
    (folder / "config.json").write_text(text, encoding="utf-8")
    study.forecasts.to_parquet(folder / "forecasts.parquet")
    if study.implied is not None:
        study.implied.to_parquet(folder / "implied.parquet")
    if study.baselines is not None:
        study.baselines.to_csv(folder / "baselines.csv", index=False)
    for name, figure in _figures(study):
        figure.savefig(folder / f"{name}.png", dpi=110)


def _figures(study: Study) -> Iterator[tuple[str, Figure]]:
    for horizon in HORIZONS:
        if (study.scores["horizon_weeks"] == horizon).any():
            yield f"reliability_{horizon}w", reliability_figure(study.shown, study.scores, horizon, study.simulated)
            yield f"yearly_{horizon}w", yearly_figure(study.yearly, horizon, study.simulated)
    for event, contributions in study.contributions.items():
        # The first weeks of a market may have no live feature yet.
        if np.isfinite(contributions.values).any():
            yield f"shap_{event}", contribution_figure(event, contributions, study.simulated)


def _markdown(table: pd.DataFrame, simulated: bool) -> str:
    """Return a table in markdown, headed SIMULATED where it is."""
    rows = [[_cell(value) for value in row] for row in table.itertuples(index=False)]
    lines = [[str(name) for name in table.columns], ["---"] * len(table.columns), *rows]
    head = "SIMULATED\n\n" if simulated else ""
    return head + "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def _cell(value: object) -> str:
    if isinstance(value, pd.Timestamp):
        return str(value.date())
    return f"{value:.4f}" if isinstance(value, float | np.floating) else str(value)
