"""Checks of a stock panel against its exchange: what cannot be goes into quarantine, all else is said."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pandas as pd

from features.calendar import TradingCalendar
from features.checks import Severity
from features.stock_findings import cell_findings, join_findings
from features.stock_limits import limits_of, narrowest_limit
from features.stock_panel import StockPanel
from features.stock_rules import StockRules

_DAY = np.timedelta64(1, "D")
_VANISHED = 60
"""Sessions without a row at the end of the panel that count as the end of a stock."""
_ATTRITION = 0.002
"""Share of its stocks that a complete source loses in a year at the very least."""


def check_stocks(panel: StockPanel, rules: StockRules, exchange: str | None = None) -> StockPanel:
    """Check returns, sessions and survival of a panel.

    Parameters
    ----------
    panel : StockPanel
        As `read_stocks` returns it.
    rules : StockRules
        Price limits of the exchange.
    exchange : str, optional
        Name in `exchange_calendars`; without it sessions are not checked.

    Returns
    -------
    StockPanel
        A copy whose impossible returns are missing, with all that was found added to `findings`: severity ``error``
        for cells that went into quarantine, ``warning`` and ``info`` for what a reader should know.

    Raises
    ------
    DataContractError
        If the exchange is unknown.

    Information set: a return is judged by its own row and earlier ones. Which codes vanish is known at the end of the
    panel only; nothing is taken out for it.
    """
    ret = panel.ret.copy()
    age = panel.age()
    parts = [panel.findings]
    for name, (day, code) in _judge(panel, rules, age).items():
        severity, message = _VERDICTS[name]
        value = panel.ret[day, code].astype(np.float64)
        parts.append(cell_findings(panel.codes[code], panel.dates[day], value, name, severity, message))
        if severity == "error":
            ret[day, code] = np.nan
    if exchange is not None:
        parts += _sessions(panel, exchange)
    parts += _survival(panel)
    return replace(panel, ret=ret, findings=join_findings(parts))


_VERDICTS: dict[str, tuple[Severity, str]] = {
    "impossible_return": ("error", "no stock loses all it is worth in a day, or moves this far without being new or "
                          "coming out of a suspension"),
    "beyond_limit": ("error", "further than the price limit of the stock's board lets it trade"),
    "beyond_st_limit": ("warning", "further than the limit of special treatment, within that of the board: the flag "
                        "may be wrong; the return stays"),
    "missing_return": ("warning", "a row without a return, and not the stock's first"),
}  # fmt: skip


def _judge(
    panel: StockPanel, rules: StockRules, age: npt.NDArray[np.int32]
) -> dict[str, tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]]:
    """Return the cells of each verdict; only returns beyond the narrowest limit are looked at one by one."""
    with np.errstate(invalid="ignore"):
        day, code = np.nonzero(np.abs(panel.ret) > min(narrowest_limit(rules), rules.impossible, 1.0 - 1e-6))
    moved, rows = panel.ret[day, code].astype(np.float64), age[day, code]
    # The first row of a part of a file may come out of a suspension.
    before = (day > 0) & panel.traded[day - 1, code]
    limit, free = limits_of(panel, rules, day, code)
    board, _ = limits_of(panel, rules, day, code, special=False)
    size = np.abs(moved)
    with np.errstate(invalid="ignore"):
        tick = rules.tick * (1.0 + moved) / panel.close[day, code]
    room = np.where(np.isfinite(tick), tick, 0.0) + rules.slack
    impossible = (moved <= -1.0) | (before & (rows > rules.new_rows) & (size > rules.impossible))
    bound = before & (rows > free) & ~impossible
    past_board = bound & (size > board + room)
    past_special = bound & ~past_board & (size > limit + room)
    cells = [(day[wrong], code[wrong]) for wrong in (impossible, past_board, past_special)]
    missing = panel.traded & np.isnan(panel.ret) & (age > 1)
    missing[:1] = False
    missing_day, missing_code = np.nonzero(missing)
    return dict(zip(_VERDICTS, [*cells, (missing_day, missing_code)], strict=True))


def _sessions(panel: StockPanel, exchange: str) -> Iterator[pd.DataFrame]:
    """Yield days of the panel that are no sessions, and sessions on which no stock has a row."""
    first, last = panel.dates[0] - 10 * _DAY, panel.dates[-1] + 10 * _DAY
    sessions = TradingCalendar.build(exchange, first, last).sessions
    inside = sessions[(sessions >= panel.dates[0]) & (sessions <= panel.dates[-1])]
    for days, name, message in (
        (panel.dates[~np.isin(panel.dates, sessions)], "no_session", f"{exchange} was closed on this day"),
        (inside[~np.isin(inside, panel.dates)], "missing_session", f"no stock has a row on this session of {exchange}"),
    ):
        nobody = np.full(len(days), "", dtype=panel.codes.dtype)
        yield cell_findings(nobody, days, np.full(len(days), np.nan), name, "warning", message)


def _survival(panel: StockPanel) -> Iterator[pd.DataFrame]:
    """Yield codes whose rows end before the panel does, and whether so few do that the source holds survivors only."""
    some = panel.traded.any(axis=0)
    last = len(panel.dates) - 1 - np.argmax(panel.traded[::-1], axis=0)
    silent = len(panel.dates) - 1 - last
    ended = some & (silent > 0)
    yield cell_findings(
        panel.codes[ended], panel.dates[last[ended]], silent[ended].astype(np.float64), "ends_early", "info",
        "the last row of the code lies before the last day of the panel by so many sessions: suspended or gone",
    )  # fmt: skip
    years = float((panel.dates[-1] - panel.dates[0]) / _DAY) / 365.25
    gone = int((some & (silent >= _VANISHED)).sum())
    rate = gone / max(int(some.sum()) * years, 1e-9)
    if years >= 1 and rate < _ATTRITION:
        yield cell_findings(
            np.array([""]), panel.dates[-1:], np.array([float(gone)]), "survivors_only", "warning",
            f"only {gone} of {int(some.sum())} codes end in {years:.0f} years: stocks that were delisted are missing, "
            "which flatters whatever holds small ones",
        )  # fmt: skip
