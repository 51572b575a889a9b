"""What the heads' own explanations look like over a walk-forward: signs, orders of drivers, shares of families."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from features.contracts import EVENTS, HORIZONS, Dataset, Event, FloatArray
from models.bundle import Bundle
from models.explain import Explanation, explain
from training.plots import Contributions
from training.stability import (
    declared_signs,
    family_shares,
    importance,
    rank_over_refits,
    rank_over_seeds,
    sign_agreement,
)

_PSEUDO = ("intercept", "calibration", "coherence")


@dataclass(frozen=True, eq=False)
class Explained:
    """Stability of the explanation.

    Parameters
    ----------
    table : pandas.DataFrame
        One row per event and horizon: `sign_agreement` (features weighted by the size of their contributions),
        `seeds, seeds_lowest` and `refits, refits_lowest` (rank correlations of importances, see `training.stability`).
    families : pandas.DataFrame
        `event, horizon_weeks, year` and one column per family: shares of what moved the log-odds.
    """

    table: pd.DataFrame
    families: pd.DataFrame


def explained(
    dataset: Dataset, bundles: Sequence[Bundle], blocks: Sequence[pd.MultiIndex], base: pd.DataFrame
) -> Explained:
    """Explain every bundle on the weeks that it forecast.

    Seeds are compared on the last bundle's weeks, each with its own trees in place of the average; refits on their own
    weeks, one after the other.

    Parameters
    ----------
    dataset : Dataset
    bundles : sequence of Bundle
    blocks : sequence of pandas.MultiIndex
        As `models.schedule.forecast_blocks`.
    base : pandas.DataFrame
        As `models.base.base_frame`.

    Information set: that of each forecast; no outcome.
    """
    held = [(bundle, rows) for bundle, rows in zip(bundles, blocks, strict=True) if len(rows)]
    table, shares = [], []
    for horizon in HORIZONS:
        told = [explain(bundle, dataset, rows, base, horizon) for bundle, rows in held]
        seeds = [explain(one, dataset, held[-1][1], base, horizon) for one in _seeds(held[-1][0])]
        for event in EVENTS:
            parts = [each[event] for each in told]
            names, families = _drivers(parts[0])
            amounts = [_amounts(part, names) for part in parts]
            over_seeds = rank_over_seeds(np.array([importance(_amounts(each[event], names)) for each in seeds]))
            over_refits = rank_over_refits(np.array([importance(each) for each in amounts]))
            table.append(
                {
                    "event": event,
                    "horizon_weeks": horizon,
                    "sign_agreement": _agreement(dataset, held, amounts, names, event),
                    "seeds": over_seeds.mean,
                    "seeds_lowest": over_seeds.lowest,
                    "refits": over_refits.mean,
                    "refits_lowest": over_refits.lowest,
                }
            )
            dates = np.concatenate([rows.get_level_values("decision_date").to_numpy() for _, rows in held])
            yearly = family_shares(families, np.concatenate(amounts), dates).reset_index()
            shares.append(yearly.assign(event=event, horizon_weeks=horizon))
    return Explained(pd.DataFrame(table), pd.concat(shares, ignore_index=True))


def _seeds(bundle: Bundle) -> list[Bundle]:
    """Return the bundle with the trees of one seed at a time."""
    seeds = min(len(head.boosters) for head in bundle.heads.values())
    return [
        replace(
            bundle, heads={key: replace(head, boosters=(head.boosters[seed],)) for key, head in bundle.heads.items()}
        )
        for seed in range(seeds)
    ]


def _drivers(explanation: Explanation) -> tuple[list[str], list[str]]:
    kept = [place for place, name in enumerate(explanation.names) if name not in _PSEUDO]
    return [explanation.names[place] for place in kept], [explanation.families[place] for place in kept]


def _amounts(explanation: Explanation, names: Sequence[str]) -> FloatArray:
    """Return the contributions of named drivers; 0 where this refit has none of that name."""
    place = {name: column for column, name in enumerate(explanation.names)}
    result = np.zeros((len(explanation.base), len(names)))
    for column, name in enumerate(names):
        if name in place:
            result[:, column] = explanation.contributions[:, place[name]]
    return result


def _agreement(
    dataset: Dataset,
    held: Sequence[tuple[Bundle, pd.MultiIndex]],
    amounts: Sequence[FloatArray],
    names: Sequence[str],
    event: Event,
) -> float:
    """Agreement of contributions with the declared signs; values deviate from the mean that their bundle learned."""
    infos = [info for info in dataset.features if info.name in set(names)]
    place = [names.index(info.name) for info in infos]
    moved, signs = [], []
    for bundle, rows in held:
        mean = np.array([bundle.scaler.mean.get(info.name, np.nan) for info in infos])
        moved.append(dataset.values.loc[rows, [info.name for info in infos]].to_numpy(np.float64) - mean)
        signs.append(declared_signs(infos, event, dataset.rows.loc[rows, "style"].to_numpy(np.int64)))
    shown = Contributions(tuple(info.name for info in infos), np.concatenate(moved), np.concatenate(amounts)[:, place])
    table = sign_agreement(shown, np.concatenate(signs), np.zeros(len(infos)))
    if not table["size"].sum() > 0:
        return float("nan")
    return float(np.average(table["agreement_size"], weights=table["size"]))
