"""What the evidence says of each target that was written down beforehand: reached or not, with the figure."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from pydantic import Field, ValidationError

from features.errors import DefinitionError
from features.series import Frozen
from training.score_tables import POOLED
from training.stability import RANK_TARGET

CONFIGS = Path(__file__).parents[1] / "configs"
"""The pre-registered files; a checkout has them, an installed wheel does not."""
SLOPE = (0.7, 1.3)
DM_LEVEL = 0.10
LEAK_SKILL = 0.08
LEAK_AUC = 0.65
"""Weekly figures above these are a leak until proven otherwise (METHODS 1)."""
BEATEN = ("ridge_logit", "scenario_set")
"""Rivals that the heads must beat by Diebold and Mariano's test."""


class Target(Frozen):
    """What one head must reach; log-loss skill against the base rate, fractions."""

    pooled: float
    above_zero: bool = False
    every_pair: float | None = None
    pairs: Mapping[str, float] = Field(default_factory=dict)


def load_targets(market: str, path: Path | None = None) -> dict[str, Target]:
    """Return the targets of a market by head, e.g. "switch 4w"; none for a market without any or without the file.

    Raises
    ------
    DefinitionError
        If the file does not validate.
    """
    path = path or CONFIGS / "targets.toml"
    if not path.is_file():
        return {}
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8")).get(market, {})
        return {str(head): Target.model_validate(target) for head, target in table.items()}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, ValidationError) as error:
        raise DefinitionError(f"{path}: {error}") from error


def verdict_table(
    scores: pd.DataFrame,
    comparisons: pd.DataFrame,
    stability: pd.DataFrame | None,
    targets: Mapping[str, Target],
) -> pd.DataFrame:
    """Hold every claim against its figure.

    Parameters
    ----------
    scores : pandas.DataFrame
        `training.score_tables.score_table` of the heads.
    comparisons : pandas.DataFrame
        `training.compare.comparison_table` of every head with `event, horizon_weeks, model`.
    stability : pandas.DataFrame or None
        `training.explained.Explained.table`; without it nothing is said of explanations.
    targets : mapping of str to Target

    Returns
    -------
    pandas.DataFrame
        `head, claim, figure` (words) and `reached` (bool; missing where there is no figure).

    Information set: matured outcomes.
    """
    rows: list[tuple[str, str, str, bool | None]] = []
    for (event, horizon), group in scores.groupby(["event", "horizon_weeks"], sort=False):
        head = f"{event} {horizon}w"
        by_pair = group.set_index("pair")
        if head in targets:
            rows += [(head, *line) for line in _skills(by_pair, targets[head])]
        slope = _number(by_pair, POOLED, "slope_vs_base")
        rows.append((head, f"calibration slope in [{SLOPE[0]}, {SLOPE[1]}]", f"{slope:.2f}", _inside(slope)))
        mine = comparisons[(comparisons["event"] == event) & (comparisons["horizon_weeks"] == horizon)]
        rows += [(head, *line) for line in _rivals(mine.set_index("model"))]
        if stability is None:
            continue
        seeds = stability.set_index(["event", "horizon_weeks"])["seeds"].get((event, horizon), np.nan)
        claim = f"order of drivers over seeds {RANK_TARGET} or more"
        rows.append((head, claim, f"{seeds:.2f}", None if np.isnan(seeds) else bool(seeds >= RANK_TARGET)))
    return pd.DataFrame(rows, columns=["head", "claim", "figure", "reached"]).astype({"reached": object})


def suspicions(scores: pd.DataFrame, noise: pd.DataFrame) -> list[str]:
    """Return a line for each weekly figure that looks too good: a leak until proven otherwise.

    Parameters
    ----------
    scores : pandas.DataFrame
        As `verdict_table`.
    noise : pandas.DataFrame
        `training.noise.noise_table`, whose figure `auc` is read.
    """
    found = []
    for row in scores[scores["skill_log_loss"] > LEAK_SKILL].to_dict("records"):
        found.append(
            f"{row['event']} {row['horizon_weeks']}w, {row['pair']}: skill {100 * row['skill_log_loss']:+.1f}%"
        )
    for row in noise[(noise["figure"] == "auc") & (noise["value"] > LEAK_AUC)].to_dict("records"):
        found.append(f"{row['event']} {row['horizon_weeks']}w, {row['pair']}: AUC {row['value']:.2f}")
    return found


def _skills(by_pair: pd.DataFrame, target: Target) -> Iterator[tuple[str, str, bool]]:
    skill, low, high = (_number(by_pair, POOLED, name) for name in ("skill_log_loss", "skill_low", "skill_high"))
    words = f"{_percent(skill)} [{_percent(low)}, {_percent(high)}]"
    yield f"pooled skill {_percent(target.pooled)} or more", words, skill >= target.pooled
    if target.above_zero:
        yield "its 90% interval above 0", f"from {_percent(low)}", low > 0
    alone = by_pair["skill_log_loss"].drop(POOLED).astype(np.float64)
    if target.every_pair is not None and len(alone):
        least = str(alone.idxmin())
        words = f"{_percent(float(alone.min()))} on {least}"
        yield f"every pair at {_percent(target.every_pair)} or more", words, bool(alone.min() >= target.every_pair)
    for pair, wanted in target.pairs.items():
        if pair in alone.index:
            got = float(alone[pair])
            yield f"{pair} at {_percent(wanted)} or more", _percent(got), got >= wanted


def _rivals(models: pd.DataFrame) -> Iterator[tuple[str, str, bool]]:
    for rival in BEATEN:
        if rival in models.index:
            gap, p = (_number(models, rival, name) for name in ("difference", "dm_p_value"))
            words = f"{'lower' if gap < 0 else 'not lower'} loss, p {p:.2f}"
            yield f"better than {rival} (p < {DM_LEVEL:.2f})", words, gap < 0 and p < DM_LEVEL
    inside = bool(_number(models, "heads", "mcs_included"))
    yield "in the 90% model confidence set", f"p {_number(models, 'heads', 'mcs_p_value'):.2f}", inside


def _number(table: pd.DataFrame, row: str, column: str) -> float:
    return float(table[column].astype(np.float64).to_dict()[row])


def _inside(slope: float) -> bool | None:
    return None if np.isnan(slope) else SLOPE[0] <= slope <= SLOPE[1]


def _percent(share: float) -> str:
    return f"{100 * share:+.1f}%"
