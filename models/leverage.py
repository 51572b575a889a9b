"""What leverage does to a neutral book: losses, margin calls, forced sales, read off the weighted paths."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from features.contracts import BoolArray, FloatArray
from features.errors import DataContractError
from models.curve import ALPHA
from models.levered_book import BookRun, run_books
from models.reading import reading_levels
from models.scenarios import ScenarioSet, weighted_tail
from models.swap_terms import SwapTerms

_LEVELS = {"95": 0.05, "975": 0.025}


def leverage_table(
    scenarios: ScenarioSet,
    long: Mapping[str, float],
    hedge: Mapping[str, float],
    terms: SwapTerms,
    leverages: Sequence[float] = (1, 2, 3, 4, 5),
) -> pd.DataFrame:
    """Tabulate what leverage does to one neutral book.

    Read losses and calls together. A call closes the book, and the higher the leverage, the smaller the loss at which
    it comes: where calls are more likely than 5%, `var_95` may look better at five times than at four.

    Parameters
    ----------
    scenarios, long, hedge, terms
        As in `run_book`.
    leverages : sequence of float

    Returns
    -------
    pandas.DataFrame
        A row for each leverage and horizon, with `leverage`, `horizon_weeks`; `var_95`, `es_95`, `var_975`, `es_975`,
        lower tail of the return on equity (negative numbers are losses) at the corrected level of the worst pair the
        book holds, and `raw_` before each of them at the nominal level; `level`, what stands for 5%; `p_margin_call`
        and `p_wipe_out`, the probability of a close within the horizon at which the book is called, or has no equity
        left; `share_force_sold`, the expected share of the book at entry sold by force. All fractions.

    Raises
    ------
    DataContractError
        As in `run_book`.

    Information set: that of the scenario set.
    """
    weights = scenarios.weights
    net = np.array([[long.get(segment, 0.0) - hedge.get(segment, 0.0) for segment in scenarios.segments]])
    rows = []
    for run in run_books(scenarios, long, hedge, leverages, terms):
        for horizon, end in sorted(scenarios.exits.items()):
            row: dict[str, float] = {"leverage": float(run.leverage), "horizon_weeks": horizon}
            level = float(reading_levels(scenarios, scenarios.segments, net, horizon)[0])
            asked = {
                (prefix, name): factor * share
                for prefix, factor in (("", level / ALPHA), ("raw_", 1.0))
                for name, share in _LEVELS.items()
            }
            tails = weighted_tail(run.returns(horizon), weights, list(asked.values()))
            for (prefix, name), tail in zip(asked, tails, strict=True):
                row |= {f"{prefix}var_{name}": tail.var, f"{prefix}es_{name}": tail.es}
            row["level"] = level
            row["p_margin_call"] = _mass(weights, run.called_on <= end)
            row["share_force_sold"] = min(float(weights @ (1.0 - run.kept[end])), 1.0)
            row["p_wipe_out"] = _mass(weights, run.wiped_on <= end)
            rows.append(row)
    return pd.DataFrame(rows)


def loss_probability(run: BookRun, horizon: int, loss: float) -> float:
    """Return the probability that the book loses more than a fraction of its equity over a horizon.

    Parameters
    ----------
    run : BookRun
    horizon : int
        Weeks.
    loss : float
        Fraction of the equity at entry, 0.3 for thirty percent; negative for "gains less than".

    Raises
    ------
    DataContractError
        If the set has no such horizon or `loss` is not finite.
    """
    if not math.isfinite(loss):
        raise DataContractError(f"`loss` must be finite; got {loss}")
    return _mass(run.weights, run.returns(horizon) < -loss)


def loss_at(run: BookRun, horizon: int, probability: float) -> float:
    """Return the loss which the book exceeds with at most a given probability: its value at risk, as a positive loss.

    The smallest such loss that is a path's own, so that `loss_probability` of it is at most `probability`, and of
    anything less is at least that.

    Parameters
    ----------
    run : BookRun
    horizon : int
        Weeks.
    probability : float
        Inside (0, 1).

    Raises
    ------
    DataContractError
        If the set has no such horizon or `probability` is out of range.
    """
    if not 0 < probability < 1:
        raise DataContractError(f"`probability` must be inside (0, 1); got {probability}")
    return -weighted_tail(run.returns(horizon), run.weights, [probability])[0].var


def _mass(weights: FloatArray, happened: BoolArray) -> float:
    return min(float(weights[happened].sum()), 1.0)
