"""How much the mean of a series differs between two states, with an interval that holds for dependent rows."""

from __future__ import annotations

import numpy as np
from scipy.special import stdtrit
from statsmodels.regression.linear_model import OLS

from features.contracts import BoolArray, FloatArray
from features.errors import DataContractError
from models.correlation import Estimate, newey_west_lags

MIN_ROWS = 24
"""Fewer rows say nothing about the mean of a state."""


def mean_gap(values: FloatArray, state: BoolArray, level: float = 0.90) -> Estimate:
    """Return the mean of the rows in a state less that of the others, with a Newey-West interval.

    The gap is the slope on the state's indicator; its interval is that of Newey and West (1987) with small-sample
    correction and Student's t.

    Parameters
    ----------
    values : array, shape (n,)
        In order of time.
    state : array of bool, shape (n,)
    level : float
        Coverage, a fraction.

    Raises
    ------
    DataContractError
        If the lengths differ, a value is not finite, there are fewer than `MIN_ROWS` rows or fewer than 3 in a state.

    Information set: the rows passed.
    """
    if values.shape != state.shape or values.ndim != 1:
        raise DataContractError(
            f"`values` and `state` must have the same shape (n,); got {values.shape} and {state.shape}"
        )
    if not np.isfinite(values).all():
        raise DataContractError("`values` must be finite")
    n, inside = len(values), int(state.sum())
    if n < MIN_ROWS or min(inside, n - inside) < 3:
        raise DataContractError(
            f"a gap of means needs {MIN_ROWS} rows, 3 of each state; got {n}, of which {inside} in the state"
        )
    covariance = {"maxlags": newey_west_lags(n), "use_correction": True}
    design = np.column_stack([np.ones(n), state.astype(np.float64)])
    fit = OLS(values, design).fit(cov_type="HAC", cov_kwds=covariance, use_t=True)
    gap, half = float(fit.params[1]), float(stdtrit(n - 2, (1 + level) / 2) * fit.bse[1])
    return Estimate(gap, gap - half, gap + half)
