"""All backtests of one tail at once, each beside its power: what a row of the table of tail scores says of coverage."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from features.contracts import FloatArray
from training.tail_dynamic import dynamic_quantile
from training.tail_es_tests import acerbi_szekely, es_intercept
from training.tail_null import null_pits
from training.tail_phases import by_phase
from training.tail_power import power
from training.tail_tests import (
    TESTS,
    TailTest,
    breaches,
    conditional_coverage,
    independence,
    kupiec,
)

MIN_WEEKS = 52
"""Weeks with forecast and outcome below which nothing is tested."""
PHASED = ("kupiec", "independence", "conditional_coverage", "dynamic_quantile")
"""Tests that are also run phase by phase where horizons overlap."""
_ROUND = 26
"""Power is computed for the nearest multiple of so many weeks, so that pairs share it."""


@dataclass(frozen=True, eq=False)
class TailPanel:
    """Outcomes and forecasts of one horizon, level and side as lower tails, weeks down and pairs across.

    `y`, `var`, `es`, `instrument`, shape (n, m), on consecutive weeks; missing where there is none. `correlation` of
    weekly outcomes across pairs, shape (m, m).
    """

    y: FloatArray
    var: FloatArray
    es: FloatArray
    level: float
    horizon: int
    correlation: FloatArray
    instrument: FloatArray | None = None

    @property
    def weeks(self) -> int:
        """Rows of which any pair has forecast and outcome."""
        return int(np.isfinite(self.y + self.es).any(axis=1).sum())

    def phase(self, rows: slice) -> TailPanel:
        """Return some rows as consecutive forecasts that do not overlap."""
        instrument = None if self.instrument is None else self.instrument[rows]
        return TailPanel(self.y[rows], self.var[rows], self.es[rows], self.level, 1, self.correlation, instrument)


def backtests(panel: TailPanel) -> dict[str, TailTest]:
    """Run every test on a panel; for horizons beyond a week some again phase by phase, under `<test>_phases`.

    Empty below 52 weeks. P-values are simulated under independent weeks with overlap and the pairs' correlation.

    Information set: matured outcomes; the correlation of the null only widens it.
    """
    if panel.weeks < MIN_WEEKS:
        return {}
    found = {name: run(panel) for name, run in _RUNS.items()}
    found["es_intercept"] = es_intercept(panel.y, panel.var, panel.es, panel.level, horizon=panel.horizon)
    if panel.horizon > 1 and panel.weeks >= MIN_WEEKS * panel.horizon:
        for name in PHASED:
            run = _RUNS[name]
            found[f"{name}_phases"] = by_phase(lambda rows, run=run: run(panel.phase(rows)), panel.horizon)  # type: ignore[misc]
    return found


def powers(panel: TailPanel) -> dict[str, float]:
    """Return the power of every test of `TESTS` at the panel's size, level, horizon and mean correlation."""
    if panel.weeks < MIN_WEEKS:
        return {}
    pairs = panel.correlation.shape[0]
    mean = (panel.correlation.sum() - pairs) / (pairs * (pairs - 1)) if pairs > 1 else 0.0
    known = int(np.isfinite(panel.y + panel.es).sum())
    n = max(round(known / pairs / _ROUND), 2) * _ROUND
    return {
        test: power(test, n, panel.level, horizon=panel.horizon, pairs=pairs, correlation=round(float(mean) * 10) / 10)
        for test in TESTS
    }


def _null(panel: TailPanel) -> FloatArray:
    return null_pits(len(panel.y), panel.horizon, panel.correlation)


def _kupiec(panel: TailPanel) -> TailTest:
    return kupiec(breaches(panel.y, panel.var), panel.level, null=_null(panel))


def _independence(panel: TailPanel) -> TailTest:
    return independence(breaches(panel.y, panel.var), panel.level, lag=panel.horizon, null=_null(panel))


def _conditional(panel: TailPanel) -> TailTest:
    return conditional_coverage(breaches(panel.y, panel.var), panel.level, lag=panel.horizon, null=_null(panel))


def _dynamic(panel: TailPanel) -> TailTest:
    return dynamic_quantile(
        breaches(panel.y, panel.var),
        panel.var,
        panel.level,
        instrument=panel.instrument,
        lag=panel.horizon,
        null=_null(panel),
    )


def _acerbi(panel: TailPanel) -> TailTest:
    return acerbi_szekely(panel.y, panel.var, panel.es, panel.level, null=_null(panel))


_RUNS: dict[str, Callable[[TailPanel], TailTest]] = {
    "kupiec": _kupiec,
    "independence": _independence,
    "conditional_coverage": _conditional,
    "dynamic_quantile": _dynamic,
    "acerbi_szekely": _acerbi,
}
