"""Every stock-level measure at given decision days, in one pass over the panel."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from features.contracts import Float32Array, FloatArray, IntArray, TimeArray
from features.crowding.comomentum import comomentum
from features.crowding.comovement import comovement
from features.crowding.cross_section import dispersion
from features.crowding.flow import decile_returns, serial_correlation, small_less_middle
from features.crowding.liquidity import tier_turnover
from features.crowding.members import counted_returns, size_deciles
from features.crowding.settings import CrowdSettings
from features.errors import DataContractError
from features.stock_panel import StockPanel

MEASURES: tuple[str, ...] = (
    "residual_correlation", "residual_correlation_excess", "absorption", "absorption_excess", "comomentum",
    "dispersion", "dispersion_excess", "serial_correlation", "momentum_gap", "turnover",
)  # fmt: skip
"""Columns of `crowd_measures`; `turnover` only where the panel has `amount`."""


def crowd_measures(
    panel: StockPanel,
    decisions: TimeArray,
    settings: CrowdSettings | None = None,
    *,
    after: np.datetime64 | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> pd.DataFrame:
    """Measure the smallest decile at each decision day.

    Windows end with the decision day and hold sessions of the panel; members are those of the close before the window
    begins, never later.

    Parameters
    ----------
    panel : StockPanel
    decisions : array of datetime64[us], ascending
        Decision days; they also bound the weeks of comomentum. Those that are no session of the panel have no row.
    settings : CrowdSettings, optional
    after : datetime64[us], optional
        Return only decisions after it; they come out as in the full run, from the rows that they need alone.
    progress : callable, optional
        Called with weeks done and weeks in all.

    Returns
    -------
    pandas.DataFrame, indexed by decision_date
        Columns `MEASURES`; missing where a window is not full, e.g. in the panel's first year.

    Raises
    ------
    DataContractError
        If decisions are not ascending.

    Information set: rows of the panel up to the decision day.
    """
    settings = settings or CrowdSettings()
    if (np.diff(decisions) <= np.timedelta64(0, "us")).any():
        raise DataContractError("`decisions` must be ascending, each day once; sort them")
    ends = _rows(panel, decisions)
    wanted = ends if after is None else ends[panel.dates[ends] > after]
    if len(wanted) == 0:
        return pd.DataFrame(columns=list(MEASURES), index=pd.DatetimeIndex([], name="decision_date"), dtype=np.float64)
    first = _first_row(ends, wanted, settings)
    work = _Work(panel.between(panel.dates[first], panel.dates[wanted[-1]]), ends[ends >= first] - first, settings)
    rows = []
    for done, end in enumerate(wanted, start=1):
        rows.append(work.week(int(end) - first))
        if progress is not None:
            progress(done, len(wanted))
    index = pd.DatetimeIndex(panel.dates[wanted], name="decision_date")
    return pd.DataFrame(rows, columns=list(MEASURES), index=index, dtype=np.float64)


def _rows(panel: StockPanel, decisions: TimeArray) -> IntArray:
    row = np.searchsorted(panel.dates, decisions)
    found = row < len(panel.dates)
    found[found] = panel.dates[row[found]] == decisions[found]
    return row[found].astype(np.int64)


def _first_row(ends: IntArray, wanted: IntArray, settings: CrowdSettings) -> int:
    """Return the first row that the earliest wanted week needs: its longest window, the close before, the seasoning."""
    place = int(np.searchsorted(ends, wanted[0]))
    year_ago = ends[max(place - settings.weeks, 0)]
    # The first row of a panel has no counted return, hence one more.
    start = min(int(year_ago), int(wanted[0]) - settings.window - 1, int(wanted[0]) - settings.short_window - 1)
    return max(start - settings.seasoning - 1, 0)


class _Work:
    """The panel cut to what is needed, and what all weeks share of it."""

    def __init__(self, panel: StockPanel, ends: IntArray, settings: CrowdSettings) -> None:
        self.panel, self.settings = panel, settings
        self.ends = ends[ends < len(panel.dates)]
        self.decile = size_deciles(panel, settings)
        self.returns = counted_returns(panel)
        self.gap = small_less_middle(decile_returns(self.returns, self.decile))
        self.weekly = _weekly_returns(self.returns, self.ends)

    def week(self, end: int) -> list[float]:
        """Return one row of `MEASURES`."""
        settings = self.settings
        out = dict.fromkeys(MEASURES, float("nan"))
        start = end - settings.window
        if start >= 0:
            out.update(comovement(self._window(start, end), self.decile[start], settings)._asdict())
            gap = self.gap[start + 1 : end + 1]
            out["serial_correlation"], out["momentum_gap"] = serial_correlation(gap), float(gap.sum())
        start = end - settings.short_window
        if start >= 0:
            out.update(dispersion(self._window(start, end), self.decile[start], settings)._asdict())
            if self.panel.amount is not None:
                out["turnover"] = tier_turnover(self.panel.amount[start + 1 : end + 1], self.decile[start])
        place = int(np.searchsorted(self.ends, end))
        if place >= settings.weeks:
            begin = place - settings.weeks
            decile = self.decile[self.ends[begin]]
            member = decile >= 0
            weeks = self.weekly[begin + 1 : place + 1, member].astype(np.float64)
            out["comomentum"] = comomentum(weeks, decile[member], settings)
        return list(out.values())

    def _window(self, start: int, end: int) -> FloatArray:
        return self.returns[start + 1 : end + 1].astype(np.float64)


def _weekly_returns(returns: Float32Array, ends: IntArray) -> Float32Array:
    """Compound daily returns between decision days, shape (len(ends), n_codes); a week with a gap is missing.

    Row j is the week that ends with `ends[j]`; the first has no beginning and is missing.
    """
    weekly = np.full((len(ends), returns.shape[1]), np.nan, dtype=np.float32)
    for place in range(1, len(ends)):
        days = returns[ends[place - 1] + 1 : ends[place] + 1]
        weekly[place] = np.prod(1 + days, axis=0) - 1
    return weekly
