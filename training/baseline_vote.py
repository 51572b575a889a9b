"""An equal vote of eight signals of the kind that brokers publish for size rotation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from features.contracts import Dataset
from training.baseline_logit import Column, Inputs, laid_out, walk_logit

_MIN_WEEKS = 26
"""Weeks of its own history before a signal votes."""


@dataclass(frozen=True)
class Signal:
    """One voter.

    Parameters
    ----------
    name : str
    features : tuple of str
        Features of the catalogue that measure it, one of them in each market; the first that is there votes.
    sign : int
        What brokers say of a high value: +1 small caps lead, -1 large caps lead. Where the market's catalogue declares
        a sign, that one holds.
    why : str
    """

    name: str
    features: tuple[str, ...]
    sign: int
    why: str


SIGNALS: tuple[Signal, ...] = (
    Signal("momentum, 20 days", ("relative_momentum_4w",), 1, "Relative strength goes on for some weeks"),
    Signal("momentum, 60 days", ("relative_momentum_13w",), 1, "Relative strength of a quarter goes on"),
    Signal("valuation spread", ("valuation_spread",), -1, "Dear small caps disappoint"),
    Signal("turnover share", ("residual_share", "small_share_residual"), -1, "A crowded segment is bought already"),
    Signal("PMI trend", ("pmi_trend", "ism_impulse_3m"), -1, "A recovery brings money back to large caps"),
    Signal("M1-M2 scissors", ("m1_m2_scissors",), 1, "Money turning from saving to spending seeks small caps"),
    Signal("margin growth", ("margin_growth", "margin_debt_growth_12m"), 1, "Borrowed money buys small caps"),
    Signal("US 10y change", ("us10y_change", "yield_change_60d"), -1, "Dearer money weighs on long-dated small caps"),
)  # fmt: skip
"""The credit impulse is left out: beside the scissors it would vote twice on one story, money and credit."""


def votes(dataset: Dataset) -> pd.DataFrame:
    """Let every signal vote at every row.

    A signal votes for small caps (+1) or large ones (-1) by the side of its own expanding median on which it stands,
    times its sign; on the median itself 0.

    Parameters
    ----------
    dataset : Dataset

    Returns
    -------
    pandas.DataFrame, indexed like `dataset.rows`
        One column per signal of `SIGNALS`; missing where the market has no such feature, the cell is missing, or fewer
        than 26 weeks of the pair had a value.

    Information set: features of the pair's rows up to the row itself.
    """
    declared = {info.name: info.sign for info in dataset.features}
    panel = dataset.values.assign(**_momentum(dataset))
    result: dict[str, pd.Series[float]] = {}
    for signal in SIGNALS:
        name = next((name for name in signal.features if name in panel), None)
        if name is None:
            result[signal.name] = pd.Series(np.nan, index=panel.index)
            continue
        value = panel[name].astype(np.float64)
        median = value.groupby(level="pair", group_keys=False).apply(lambda own: own.expanding(_MIN_WEEKS).median())
        above = np.sign((value - median.reindex(value.index)).to_numpy())
        result[signal.name] = pd.Series(above * (declared.get(name, 0) or signal.sign), index=panel.index)
    return pd.DataFrame(result)


def forecast_vote(inputs: Inputs) -> pd.DataFrame:
    """Forecast with the shrunk logit on the mean vote of the signals that a pair has; see `walk_logit`."""
    mean = votes(inputs.dataset).mean(axis=1).to_frame("vote")
    laid = laid_out(inputs, mean, (Column("vote", "small"),))
    return walk_logit(inputs, lambda cut: laid)


def _momentum(dataset: Dataset) -> dict[str, pd.Series]:
    """Relative momentum of small over large, in sigma, which the states hold along the style in force."""
    rows = dataset.rows
    return {f"relative_momentum_{weeks}w": rows["style"] * rows[f"style_momentum_{weeks}w"] for weeks in (4, 13)}
