"""Causal states of a pair: spread volatility, style in force and what follows from them.

All states are read on decision closes of the line x_t = log(small) - log(large).
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from features.contracts import STYLE_LARGE, STYLE_SMALL, FloatArray, IntArray

SIGMA_HALFLIFE = 26
SIGMA_MIN_WEEKS = 26
FLIP_WEEKS = 13
"""An adverse move of sigma times the root of this many weeks flips the style in force."""

STATE_FEATURES = (
    "age", "distance", "style_momentum_4w", "style_momentum_13w", "vol_ratio", "reversal_1w", "sigma_percentile",
    "seasonal",
)  # fmt: skip
"""Names that a ``state:NAME`` formula may use."""

_PERCENTILE_WINDOW = 156
_PERCENTILE_MIN = 52
_VOL_HALFLIFE_DAYS = 5
_SEASONAL_SHRINKAGE = 40.0
"""Pseudo-weeks of a zero mean in the seasonal prior."""


def weekly_sigma(x: FloatArray, halflife: float = SIGMA_HALFLIFE) -> FloatArray:
    """Root of the exponentially weighted mean square of weekly changes (adjusted, not demeaned).

    Parameters
    ----------
    x : array, shape (n,)
        The line on decision closes.
    halflife : float
        Weeks.

    Returns
    -------
    array, shape (n,)
        Weekly log units; missing before 26 changes and where the line has never moved. Information set: row i uses
        rows up to i.
    """
    squared = pd.Series(np.diff(x, prepend=np.nan) ** 2)
    weighted = squared.ewm(halflife=halflife, adjust=True, min_periods=SIGMA_MIN_WEEKS).mean()
    mean_square = weighted.to_numpy(np.float64)
    return np.sqrt(np.where(mean_square > 0, mean_square, np.nan))


def style_in_force(x: FloatArray, sigma: FloatArray) -> tuple[IntArray, FloatArray, IntArray]:
    """Run the flip rule forward: the style flips when the adverse move from the extreme reaches sigma sqrt(13).

    Before the first flip both extremes are watched, from the first row on; should one row lie that far from both, small
    caps lead.

    Parameters
    ----------
    x, sigma : array, shape (n,)
        Line and its weekly sigma; rows with missing sigma are before the first state.

    Returns
    -------
    style : array of int, shape (n,)
        +1 small caps lead, -1 large caps lead, 0 before the first crossing.
    extreme : array, shape (n,)
        Running extreme since the last flip; missing before the first crossing.
    flipped : array of int, shape (n,)
        Row of the last flip; -1 before the first.

    Information set: row i uses rows up to i.
    """
    n = len(x)
    style = np.zeros(n, dtype=np.int64)
    extreme = np.full(n, np.nan)
    flipped = np.full(n, -1, dtype=np.int64)
    state, best, since = 0, np.nan, -1
    low = high = np.nan
    for row in range(n):
        threshold = sigma[row] * np.sqrt(FLIP_WEEKS)
        if state == 0:
            low, high = np.fmin(low, x[row]), np.fmax(high, x[row])
            if x[row] - low >= threshold:
                state, best, since = STYLE_SMALL, x[row], row
            elif high - x[row] >= threshold:
                state, best, since = STYLE_LARGE, x[row], row
        elif state * (best - x[row]) >= threshold:
            state, best, since = -state, x[row], row
        else:
            best = max(best, x[row]) if state == STYLE_SMALL else min(best, x[row])
        style[row], extreme[row], flipped[row] = state, best, since
    return style, extreme, flipped


def state_frame(x: FloatArray, daily_vol: FloatArray, month: IntArray, entry_change: FloatArray) -> pd.DataFrame:
    """Compute every state of one pair on its decision days.

    Parameters
    ----------
    x : array, shape (n,)
        The line on decision closes.
    daily_vol : array, shape (n,)
        Short-run volatility of the line at each decision, see `short_volatility`.
    month : array of int, shape (n,)
        Calendar month (1 to 12) of each decision's entry week.
    entry_change : array, shape (n,)
        Spread of the week entered two decisions ago, which matured at or before each decision; missing where none did.

    Returns
    -------
    pandas.DataFrame, n rows
        `x, sigma, style` and the columns `STATE_FEATURES`. Information set: row i uses rows up to i.
    """
    sigma = weekly_sigma(x)
    style, extreme, flipped = style_in_force(x, sigma)
    rows = np.arange(len(x))
    usable = style != 0
    lead = np.where(usable, style, np.nan)
    # A frame is built once from its columns: price corrections make many short frames.
    out: dict[str, FloatArray | IntArray] = {"x": x, "sigma": sigma, "style": style}
    out["age"] = np.where(usable, np.log1p(rows - flipped), np.nan)
    out["distance"] = lead * (extreme - x) / (sigma * np.sqrt(FLIP_WEEKS))
    for weeks in (4, 13):
        past = np.full(len(x), np.nan)
        past[weeks:] = x[:-weeks] if weeks < len(x) else []
        out[f"style_momentum_{weeks}w"] = lead * (x - past) / (sigma * np.sqrt(weeks))
    out["reversal_1w"] = np.diff(x, prepend=np.nan) / sigma
    out["vol_ratio"] = np.log(np.where(daily_vol > 0, daily_vol, np.nan) * np.sqrt(5.0) / sigma)
    ranked = pd.Series(sigma).rolling(_PERCENTILE_WINDOW, min_periods=_PERCENTILE_MIN).rank(pct=True)
    out["sigma_percentile"] = ranked.to_numpy()
    entry_sigma = np.concatenate([[np.nan, np.nan], sigma[:-2]])[: len(x)]
    out["seasonal"] = _seasonal_prior(month, entry_change / entry_sigma)
    return pd.DataFrame(out)


def short_volatility(x: FloatArray) -> FloatArray:
    """Exponentially weighted daily volatility of a line (halflife 5 days), shape (n,); row i uses rows up to i."""
    squared = pd.Series(np.diff(x, prepend=np.nan) ** 2)
    weighted = squared.ewm(halflife=_VOL_HALFLIFE_DAYS, min_periods=10).mean()
    return np.asarray(np.sqrt(weighted.to_numpy(np.float64)))


def _seasonal_prior(month: IntArray, entry_change: FloatArray) -> FloatArray:
    """Shrunk mean of matured one-week outcomes of the same calendar month, in sigma."""
    prior = np.full(len(month), np.nan)
    total = np.zeros(13)
    count = np.zeros(13)
    for row in range(len(month)):
        # The outcome that matures at this decision was entered two decisions earlier.
        if row >= 2 and np.isfinite(entry_change[row]):
            total[month[row - 2]] += entry_change[row]
            count[month[row - 2]] += 1
        prior[row] = total[month[row]] / (count[month[row]] + _SEASONAL_SHRINKAGE)
    return prior
