"""A Markov switching autoregression: drift and spread of the changes switch, their first lag does not.

Fitted on the past by statsmodels; given the lag, what is left is a hidden Markov chain, filtered online.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from statsmodels.tools.sm_exceptions import ModelWarning
from statsmodels.tsa.regime_switching.markov_regression import MarkovRegression

from features.contracts import FloatArray
from features.errors import DataContractError
from models.gaussian_hmm import HmmParams, filter_hmm, fit_hmm

_STEPS = 100
_EDGE = 1e-5
"""Transition probabilities are kept this far from 0 and 1, so that the chain can leave every state."""


@dataclass(frozen=True, eq=False)
class SwitchingParams:
    """A fitted switching autoregression: y_t = lag * y_{t-1} + a change drawn from `chain`."""

    lag: float
    chain: HmmParams


def fit_switching(changes: FloatArray) -> SwitchingParams:
    """Fit y_t = c(S_t) + lag y_{t-1} + s(S_t) e_t by maximum likelihood (Hamilton 1989; Kim and Nelson 1999).

    Parameters
    ----------
    changes : array, shape (n,)
        Changes of a line in order.

    Raises
    ------
    DataContractError
        If there are fewer than 27 changes, one is missing, or they never move.

    Information set: all of `changes`, so pass only rows known at the refit.
    """
    changes = np.asarray(changes, dtype=np.float64)
    if not np.isfinite(changes).all():
        raise DataContractError("`changes` must be finite; leave out days without a close")
    start = fit_hmm(changes[1:])
    scale = float(changes[1:].std())
    z = changes / scale
    model = MarkovRegression(z[1:], 2, exog=z[:-1, None], switching_exog=False, switching_variance=True)
    first = [*start.move[:, 0], *(start.mean / scale), 0.0, *np.square(start.std / scale)]
    # An optimum at the edge, and a search that stops early, are both better than the start.
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore", ModelWarning)
        fit = model.fit(start_params=np.array(first), em_iter=0, maxiter=_STEPS, cov_type="none", disp=False)
    stay, fall, low, high, lag, *variance = (float(value) for value in fit.params)
    found = np.array([low, high, lag, *variance])
    if not (np.isfinite(found).all() and min(variance) > 0 and fit.llf >= model.loglike(np.array(first))):
        return SwitchingParams(0.0, start)
    to_low = np.clip([stay, fall], _EDGE, 1 - _EDGE)
    order = np.argsort([low, high], kind="stable")
    chain = HmmParams(
        mean=found[:2][order] * scale,
        std=np.sqrt(found[3:][order]) * scale,
        move=np.column_stack([to_low, 1 - to_low])[np.ix_(order, order)],
        log_likelihood=float(fit.llf - (len(z) - 1) * np.log(scale)),
    )
    return SwitchingParams(lag, chain)


def filter_switching(changes: FloatArray, params: SwitchingParams) -> FloatArray:
    """Return the filtered probability of the state with the higher drift.

    Parameters
    ----------
    changes : array, shape (n,)
    params : SwitchingParams

    Returns
    -------
    array, shape (n,)
        The first change has no lag and counts as it is. Information set: row i uses rows up to i, and parameters of an
        earlier refit.

    Raises
    ------
    DataContractError
        If a change is missing.
    """
    changes = np.asarray(changes, dtype=np.float64)
    before = np.concatenate([[0.0], changes[:-1]])
    return filter_hmm(changes - params.lag * before[: len(changes)], params.chain)
