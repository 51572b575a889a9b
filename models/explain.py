"""Why a probability is what it is: contributions in log-odds that add up to the published number.

Linear parts are exact; tree parts are LightGBM's own TreeSHAP values (Lundberg et al. 2020). A composite column's
contribution is handed down to its features: the linear part exactly, the tree part in proportion to each member's size.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import expit

from features.contracts import EVENTS, Dataset, Event, FloatArray
from models.bundle import Bundle
from models.design import STYLE_FEATURE
from models.hand_down import SCENARIO_FEATURE as SCENARIO_FEATURE
from models.hand_down import driver_names, hand_down
from models.predict import HeadScores, head_scores


@dataclass(frozen=True, eq=False)
class Explanation:
    """Contributions of one head at some rows.

    Parameters
    ----------
    base, published : array, shape (n,)
        Log-odds of the climatology and of the published probability.
    names, families : tuple of str, length m
        Features and their families; ``scenario_implied`` of family scenario; then the pseudo features ``intercept``,
        ``calibration`` and ``coherence``.
    contributions : array, shape (n, m)
        Log-odds; base + sum over m = published.
    """

    base: FloatArray
    published: FloatArray
    names: tuple[str, ...]
    families: tuple[str, ...]
    contributions: FloatArray


def explain(
    bundle: Bundle, dataset: Dataset, rows: pd.MultiIndex, base: pd.DataFrame, horizon: int
) -> dict[Event, Explanation]:
    """Explain every event at one horizon; arguments as `models.predict.head_scores`."""
    scores = head_scores(bundle, dataset, rows, base, horizon)
    return {event: explain_head(bundle, scores[event], event, horizon) for event in EVENTS}


def probability_points(base: FloatArray, published: FloatArray, contributions: FloatArray) -> FloatArray:
    """Turn log-odds contributions into probability points: (p - p0) c / (L - L0), in the limit p0 (1 - p0) c."""
    move = published - base
    p0, p = expit(base), expit(published)
    small = np.abs(move) < 1e-9
    rate: FloatArray = np.where(small, p0 * (1 - p0), (p - p0) / np.where(small, 1.0, move))
    return contributions * rate[:, None]


def explain_head(bundle: Bundle, score: HeadScores, event: Event, horizon: int) -> Explanation:
    """Explain what `models.predict.head_scores` or `models.whatif.rescored` says of one head."""
    head = bundle.heads[event, horizon]
    design = score.design
    layout = design.layout
    family_of = {info.name: info.family for info in bundle.features}
    shap = np.mean(
        [booster.predict(design.columns, pred_contrib=True, num_threads=1) for booster in head.boosters], axis=0
    )
    trees = head.slope * head.pool * shap
    summed = hand_down(design, head, trees)
    names = driver_names(layout)
    intercept = head.slope * head.linear.intercept + trees[:, -1]
    pseudo = np.column_stack(
        [score.start - score.level, intercept, score.level - score.base, score.published - score.calibrated]
    )
    families = [family_of.get(name, "style" if name == STYLE_FEATURE else "") for name in names]
    return Explanation(
        base=score.base,
        published=score.published,
        names=(*names, SCENARIO_FEATURE, "intercept", "calibration", "coherence"),
        families=(*families, "scenario", "intercept", "calibration", "coherence"),
        contributions=np.column_stack([summed, pseudo]),
    )
