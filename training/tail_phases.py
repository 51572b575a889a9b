"""Tests of overlapping forecasts phase by phase, and one p-value for all phases.

Of forecasts of h weeks made every week, those h weeks apart do not overlap: the textbook's tests hold inside each of
the h phases. Phases share weeks, so their p-values are dependent and must not be combined as if they were not (the
sum of the logarithms, or of the statistics).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from features.contracts import FloatArray
from features.errors import DataContractError
from training.tail_tests import TailTest

_LARGEST = 0.9
"""P-values near one would outweigh small ones in the Cauchy sum; coarse counts give such values often."""


def combine_p_values(p: FloatArray) -> float:
    """Return one p-value for dependent tests by the Cauchy combination (Liu and Xie 2020).

    The mean of tan((1/2 - p) pi) has nearly the Cauchy law whatever the dependence, exactly so in the limit of small
    p-values. Missing values are left out.

    Raises
    ------
    DataContractError
        If no p-value is there or one is outside [0, 1].

    Examples
    --------
    >>> round(combine_p_values(np.array([0.02, 0.02, 0.02, 0.02])), 4)
    0.02
    >>> round(combine_p_values(np.array([0.01, 0.5, 0.5, 0.5])), 3)
    0.04
    """
    known = np.asarray(p, dtype=np.float64)[np.isfinite(p)]
    if len(known) == 0 or known.min() < 0 or known.max() > 1:
        raise DataContractError(f"`p` must hold p-values in [0, 1]; got {p}")
    clipped = np.clip(known, 1e-15, _LARGEST)
    return float(0.5 - np.arctan(np.mean(np.tan((0.5 - clipped) * np.pi))) / np.pi)


def by_phase(run: Callable[[slice], TailTest], horizon: int) -> TailTest:
    """Run a test on each non-overlapping phase and combine the p-values.

    Parameters
    ----------
    run : callable
        Given the rows of a phase, slice(k, None, horizon), tests them as consecutive forecasts.
    horizon : int
        Weeks, and phases.

    Returns
    -------
    TailTest
        With the largest statistic (in size) of a phase, and rows and breaches of all phases.
    """
    if horizon < 1:
        raise DataContractError(f"`horizon` must be at least 1; got {horizon}")
    found = [run(slice(phase, None, horizon)) for phase in range(horizon)]
    return TailTest(
        name=found[0].name,
        statistic=max((test.statistic for test in found), key=abs),
        p_value=combine_p_values(np.array([test.p_value for test in found])),
        n=sum(test.n for test in found),
        breaches=sum(test.breaches for test in found),
        note=f"{horizon} phases, Cauchy combination; each {found[0].note}",
    )
