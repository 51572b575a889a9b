"""Where the excess return of smaller tiers has gone, and whether it decays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from scipy.special import stdtrit
from statsmodels.regression.linear_model import OLS
from statsmodels.stats.sandwich_covariance import S_hac_simple

from features.contracts import FloatArray, TimeArray
from features.errors import DataContractError
from models.correlation import Estimate, newey_west_lags

Verdict = Literal["decays", "grows", "undecided"]
ROLLING: tuple[str, ...] = (
    "excess", "excess_low", "excess_high", "volatility", "hit_rate", "hit_rate_low", "hit_rate_high",
)  # fmt: skip
"""Columns of `DecayStep.rolling`, fractions; excess and volatility a year."""


@dataclass(frozen=True)
class DecaySettings:
    """Windows in weeks.

    Parameters
    ----------
    window : int
        Of the rolling figures; two years.
    trend : int
        Last weeks in which the slope is sought; five years.
    level : float
        Coverage of the intervals, a fraction.
    weeks_a_year : int
        To annualise.
    """

    window: int = 104
    trend: int = 260
    level: float = 0.95
    weeks_a_year: int = 52

    def __post_init__(self) -> None:
        for name, fewest in (("window", 26), ("trend", 52), ("weeks_a_year", 1)):
            value = getattr(self, name)
            if value < fewest:
                raise DataContractError(f"`{name}` must be at least {fewest} weeks; got {value}")
        if not 0 < self.level < 1:
            raise DataContractError(f"`level` must be inside (0, 1); got {self.level:g}")


@dataclass(frozen=True, eq=False)
class DecayStep:
    """One step down the size ladder: the smaller tier over the next larger one.

    Parameters
    ----------
    larger, smaller : str
    weeks : int
        Weeks with both tiers.
    rolling : pandas.DataFrame, indexed by the window's last week
        Columns `ROLLING`; empty with fewer weeks than the window.
    slope : Estimate
        Change of the yearly excess return from one year to the next, a fraction, over the last `trend` weeks; missing
        with fewer weeks.
    """

    larger: str
    smaller: str
    weeks: int
    rolling: pd.DataFrame
    slope: Estimate

    @property
    def verdict(self) -> Verdict:
        """Whether the interval of the slope lies on one side of zero."""
        if self.slope.high < 0:
            return "decays"
        return "grows" if self.slope.low > 0 else "undecided"


def alpha_decay(
    closes: FloatArray, weeks: TimeArray, tiers: Sequence[str], settings: DecaySettings | None = None
) -> tuple[DecayStep, ...]:
    """Follow the excess return of each tier over the next larger one.

    Excess is the weekly log return of the smaller less that of the larger tier. Intervals of means and of the slope are
    those of Newey and West (1987), Bartlett kernel, lag by the rule of 1994, small-sample correction and Student's t; a
    hit is a week with positive excess. The slope is that of the weekly excess on time, not of rolling means, which
    overlap.

    Parameters
    ----------
    closes : array, shape (n, k)
        Log closes on decision days, the largest tier first, k >= 2; missing where a tier has none.
    weeks : array of datetime64[us], shape (n,)
        Decision days, ascending.
    tiers : sequence of str, length k
    settings : DecaySettings, optional

    Returns
    -------
    tuple of DecayStep, length k - 1
        Total return matters where tiers pay different dividends: with price indices the excess of smaller tiers is
        flattered by the yield they do not pay, and survivorship flatters a tier computed from stocks still listed.

    Raises
    ------
    DataContractError
        If shapes do not fit, weeks are not ascending or a close is infinite.

    Information set: the rows passed; row i of `rolling` uses rows up to i.
    """
    settings = settings or DecaySettings()
    if closes.ndim != 2 or closes.shape != (len(weeks), len(tiers)) or len(tiers) < 2:
        raise DataContractError(
            f"`closes` must have one row a week and one column a tier, two or more; got {closes.shape} for "
            f"{len(weeks)} weeks and {len(tiers)} tiers"
        )
    if (np.diff(weeks) <= np.timedelta64(0, "us")).any():
        raise DataContractError("`weeks` must be ascending, each once; sort them")
    if np.isinf(closes).any():
        raise DataContractError("`closes` must be finite or missing; a price of zero has no logarithm")
    steps = []
    for at in range(len(tiers) - 1):
        excess = np.diff(closes[:, at + 1] - closes[:, at])
        both = np.isfinite(excess)
        steps.append(_step(excess[both], weeks[1:][both], (tiers[at], tiers[at + 1]), settings))
    return tuple(steps)


def mean_estimate(x: FloatArray, level: float = 0.95) -> Estimate:
    """Return the mean of a series with its Newey-West interval.

    Parameters
    ----------
    x : array, shape (n,)
        Finite, in order of time, n >= 2.
    level : float
        Coverage, a fraction.

    Information set: the rows passed.
    """
    n, mean = len(x), float(x.mean())
    # The sum over the kernel; n / (n - 1) is the correction for the one mean that was estimated.
    total = float(S_hac_simple(x - mean, newey_west_lags(n))[0, 0])
    half = float(stdtrit(n - 1, (1 + level) / 2)) * np.sqrt(max(total, 0.0) / (n * (n - 1)))
    return Estimate(mean, mean - half, mean + half)


def _step(excess: FloatArray, weeks: TimeArray, pair: tuple[str, str], settings: DecaySettings) -> DecayStep:
    year, rows = settings.weeks_a_year, []
    for end in range(settings.window, len(excess) + 1):
        part = excess[end - settings.window : end]
        mean, hit = (mean_estimate(x, settings.level) for x in (part, (part > 0).astype(np.float64)))
        low, high = np.clip(hit[1:], 0.0, 1.0)
        rows.append([year * value for value in mean] + [part.std(ddof=1) * np.sqrt(year), hit.value, low, high])
    index = pd.DatetimeIndex(weeks[settings.window - 1 :] if rows else weeks[:0], name="decision_date")
    rolling = pd.DataFrame(rows, columns=list(ROLLING), index=index, dtype=np.float64)
    return DecayStep(*pair, len(excess), rolling, _slope(excess[-settings.trend :], settings))


def _slope(excess: FloatArray, settings: DecaySettings) -> Estimate:
    n = len(excess)
    if n < settings.trend:
        return Estimate(np.nan, np.nan, np.nan)
    time = np.arange(n) / settings.weeks_a_year
    covariance = {"maxlags": newey_west_lags(n), "use_correction": True}
    design = np.column_stack([np.ones(n), time - time.mean()])
    fit = OLS(settings.weeks_a_year * excess, design).fit(cov_type="HAC", cov_kwds=covariance, use_t=True)
    value, half = float(fit.params[1]), float(stdtrit(n - 2, (1 + settings.level) / 2) * fit.bse[1])
    return Estimate(value, value - half, value + half)
