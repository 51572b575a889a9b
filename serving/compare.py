"""Why the call of one decision day differs from that of another: what is exchanged between them, step by step."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from features.contracts import STYLE_SMALL
from features.dataset import build_dataset
from features.errors import CapshiftError, DataContractError
from features.revisions import revised_values, without_revisions
from models.change import EventChange, State, decompose, recalibrated_as
from models.schedule import day_text, forecast_rows
from models.validity import judge
from serving.opened_market import OpenedMarket
from serving.output import read_forecast


@dataclass(frozen=True)
class Comparison:
    """Two decision days of a market and what lies between.

    Parameters
    ----------
    market : str
    simulated : bool
    headline : str
    first, second : str
        The days.
    cuts : tuple of str
        Cuts of the two bundles in force.
    new, revised : int
        Observations that became known in between, and values that were known at the first day and changed.
    revised_series : tuple of str
    styles : mapping of pair to (style, style)
        Style in force at both days.
    changes : tuple of EventChange
        Of the pairs that have a probability on both days.
    left_out : mapping of pair to str
        Why a pair has none.
    warnings : tuple of str
        Stored forecasts that are not what the store says now.
    """

    market: str
    simulated: bool
    headline: str
    first: str
    second: str
    cuts: tuple[str, str]
    new: int
    revised: int
    revised_series: tuple[str, ...]
    styles: dict[str, tuple[str, str]]
    changes: tuple[EventChange, ...]
    left_out: dict[str, str]
    warnings: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON types; log-odds and probabilities as fractions."""
        return asdict(self)


def compare_days(opened: OpenedMarket, first: np.datetime64) -> Comparison:
    """Split the change of every probability between an earlier decision and the last one of an opened market.

    Data *moved* is what became known of new periods, data *revised* what changed of old ones, both seen through the
    earlier bundle; then the later bundle, first with the earlier calibration, then with its own.

    Raises
    ------
    DataContractError
        If `first` is not the earlier of the two, a bundle is missing, or no pair has both probabilities.
    StaleDataError, BundleError
        If a day has no close, or a bundle is damaged or of another catalogue.

    Information set: of each day, rows with known_at <= its decision.
    """
    spec, second = opened.spec, opened.last
    if first >= second:
        raise DataContractError(
            f"the first day must be earlier than the second; got {day_text(first)} and {day_text(second)}"
        )
    since, until = opened.at(first), opened.at(second)
    old, new = opened.bundle(first), opened.bundle(second)
    before = State(old, opened.until(first))
    revised = revised_values(opened.observations, since, until)
    after = State(old, opened.dataset)
    moved = after
    if len(revised):
        unrevised = without_revisions(opened.observations, since, until)
        moved = State(old, build_dataset(unrevised, spec, second))
    retrained = final = after
    if new.cut != old.cut:
        retrained, final = State(recalibrated_as(new, old), opened.dataset), State(new, opened.dataset)
    left_out = {
        pair: why for pair in spec.pairs if (why := _why_not(opened, pair, (before, final)) or _no_row(moved, pair))
    }
    pairs = [pair for pair in spec.pairs if pair not in left_out]
    if not pairs:
        raise DataContractError(f"no pair has a probability on both days: {'; '.join(left_out.values())}")
    known_at = opened.observations["known_at"]
    between = int(((known_at > pd.Timestamp(since)) & (known_at <= pd.Timestamp(until))).sum())
    changes = decompose((before, moved, after, retrained, final), pairs)
    return Comparison(
        market=spec.name,
        simulated=spec.simulated,
        headline=spec.headline,
        first=day_text(first),
        second=day_text(second),
        cuts=(day_text(old.cut), day_text(new.cut)),
        new=between,
        revised=len(revised),
        revised_series=tuple(sorted(revised["series"].unique())),
        styles={pair: (_style(before, pair), _style(final, pair)) for pair in pairs},
        changes=tuple(changes),
        left_out=left_out,
        warnings=tuple(_stored_differs(opened, changes, (day_text(first), day_text(second)))),
    )


def _why_not(opened: OpenedMarket, pair: str, states: tuple[State, State]) -> str | None:
    """Say why a pair has no probability on one of the days; None where it has both."""
    for state in states:
        rows = forecast_rows(state.dataset, opened.plan, state.day, None)
        if pair not in rows.get_level_values("pair"):
            return f"{pair} is not forecast on {day_text(state.day)}"
        own = rows[rows.get_level_values("pair") == pair]
        judged = judge(state.bundle, state.dataset, own)[0]
        if judged.validity.startswith("abstain"):
            return f"{pair} abstains on {day_text(state.day)}: {judged.text}"
    return None


def _no_row(state: State, pair: str) -> str | None:
    """Say that the unrevised record gives a pair no row; None where it does."""
    if (pair, pd.Timestamp(state.day)) in state.dataset.rows.index:
        return None
    return f"{pair} has no row on {day_text(state.day)} without the revisions"


def _style(state: State, pair: str) -> str:
    style = state.dataset.rows["style"].loc[[(pair, pd.Timestamp(state.day))]].to_numpy(np.int64)[0]
    return "small" if style == STYLE_SMALL else "large"


def _stored_differs(opened: OpenedMarket, changes: list[EventChange], days: tuple[str, str]) -> list[str]:
    """Name the days whose stored forecast says something else than the ends of the comparison."""
    warnings = []
    for end, day in enumerate(days):
        try:
            stored = read_forecast(opened.artifacts, opened.spec.name, day)
        except CapshiftError:
            continue
        told = {(row.pair, row.horizon_weeks): row.heads for row in stored.pairs}
        for change in changes:
            head = told.get((change.pair, change.horizon_weeks), {}).get(change.event)
            mine = (change.before, change.after)[end]
            if head is None or head.probability is None or abs(head.probability - mine) > 1e-9:
                warnings.append(f"the stored forecast of {day} is not what the store says now; see `capshift replay`")
                break
    return warnings
