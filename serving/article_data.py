"""What the figures of the article read: series as known on its day, and tiers out of the file of stocks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from features.dataset import market_calendar
from features.errors import DataContractError
from features.market import MarketSpec
from features.stock_checks import check_stocks
from features.stock_index import IndexRule, Rebalance, StockIndex, build_index
from features.stock_panel import StockPanel, read_stocks
from features.stock_selection import Selection
from serving.known_series import is_fresh, series_as_of
from serving.segments import size_ladder

_PANEL_YEARS = 2
"""Years of stocks before the year of the article: every rule has then traded, and the file is read in seconds."""
_LONGEST_GAP = np.timedelta64(16, "D")
"""A window may begin on a holiday, the longest of which last ten days."""


@dataclass(eq=False)
class ArticleData:
    """Data of a market as known at one decision; keeps what it has read and notes which files that was.

    Parameters
    ----------
    market : MarketSpec
    observations : pandas.DataFrame
        As `Store.observations`.
    day : datetime64[us]
        The decision day.
    stocks : Path, optional
        Parquet file of stocks; None where there is none.

    Information set: rows with known_at <= the decision; rows of stocks dated up to it.
    """

    market: MarketSpec
    observations: pd.DataFrame
    day: np.datetime64
    stocks: Path | None = None
    used: set[str] = field(default_factory=set)
    _series: dict[str, pd.Series] = field(default_factory=dict)
    _indices: dict[tuple[str, str], StockIndex] = field(default_factory=dict)
    _panel: StockPanel | None = None

    def series(self, name: str) -> pd.Series:
        """Return a series; it must reach the day.

        Raises
        ------
        DataContractError
            If nothing is known, or the newest value is stale.
        """
        if name not in self._series:
            self._series |= series_as_of(self.market, self.observations, self.day, [name])
        values = self._series[name]
        self.used.add(self.market.series[name].file or name)
        if not is_fresh(self.market, values, self.day):
            newest = f"the newest value is of {values.index[-1]:%Y-%m-%d}" if len(values) else "nothing is known"
            raise DataContractError(f"{name} must be known on {self.text}; {newest}; ingest it")
        return values

    def closes(self, names: Sequence[str]) -> pd.DataFrame:
        """Return closes on the sessions that all series share."""
        return pd.DataFrame({name: self.series(name) for name in names}).dropna()

    def decisions(self) -> pd.DatetimeIndex:
        """Return the decision days up to the day."""
        decisions = market_calendar(self.market, self.day).decisions()
        return pd.DatetimeIndex(decisions[decisions <= self.day])

    def ladder(self) -> list[str]:
        """Return the price series of the segments, from the largest to the smallest."""
        return [self.market.segments[name].price for name in size_ladder(self.market)]

    @property
    def text(self) -> str:
        """The day, YYYY-MM-DD."""
        return str(np.datetime_as_string(self.day, unit="D"))

    def start(self, since: str, end: pd.Timestamp | None = None) -> pd.Timestamp:
        """Return the day a window begins: the last of the year before, or some years before its end."""
        last = pd.Timestamp(self.day) if end is None else end
        if since == "year":
            return pd.Timestamp(last.year - 1, 12, 31)
        return last - pd.DateOffset(years=int(since[0]))

    def panel(self) -> StockPanel:
        """Return checked stocks of the last years.

        Raises
        ------
        DataContractError
            If there is no file of stocks, the market does not describe one, or it ends before the day.
        """
        rules = self.market.stocks
        if self.stocks is None or rules is None:
            raise DataContractError("the figure needs a file of stocks; name one by `--stocks` or `--source`")
        self.used.add("stocks" if rules.file is None else rules.file)
        if self._panel is None:
            first = np.datetime64(f"{pd.Timestamp(self.day).year - _PANEL_YEARS}-01-01", "us")
            panel = check_stocks(read_stocks(self.stocks, first, self.day), rules, self.market.schedule.calendar)
            if panel.dates[-1] < self.day:
                newest = np.datetime_as_string(panel.dates[-1], unit="D")
                raise DataContractError(f"the file of stocks must reach {self.text}; its newest row is of {newest}")
            self._panel = panel
        return self._panel

    def index(self, rule: str, rebalance: Rebalance) -> StockIndex:
        """Return a tier with equal weights and without frictions, as published indices are computed."""
        panel, rules = self.panel(), self.market.stocks
        if (rule, rebalance) not in self._indices and rules is not None:
            how = IndexRule(Selection.parse(rule), rebalance, "equal", 0.0, limits=False)
            self._indices[rule, rebalance] = build_index(panel, rules, how, members=rebalance != "daily")
        return self._indices[rule, rebalance]

    def members(self, rule: str) -> list[str]:
        """Return the codes that a tier chosen anew every day holds on the day, chosen at the close before."""
        panel, rules = self.panel(), self.market.stocks
        if rules is None:
            return []
        how = IndexRule(Selection.parse(rule), "daily", "equal", 0.0, limits=False)
        last = panel.between(since=panel.dates[-2])
        return sorted(build_index(last, rules, how, members=True).members["code"])


def gains(closes: pd.DataFrame, first: pd.Timestamp, last: pd.Timestamp) -> pd.Series:
    """Return simple returns from the last close on or before one day to the last on or before another.

    Raises
    ------
    DataContractError
        If there is no close near the first day.
    """
    before, within = closes.loc[:first], closes.loc[:last]
    if before.empty or first - before.index[-1] > _LONGEST_GAP:
        raise DataContractError(
            f"closes must reach back to {first:%Y-%m-%d}; the first is of {closes.index[0]:%Y-%m-%d}"
        )
    result: pd.Series = within.iloc[-1] / before.iloc[-1] - 1.0
    return result
