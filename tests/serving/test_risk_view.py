"""The levered book of the note: which discount counts, and what the view says where there is none."""

from __future__ import annotations

from datetime import date

import numpy as np
import pandas as pd
import pytest

from features.dataset import decision_times
from features.market import MarketSpec
from serving.risk_view import TOLD_LOSS, leverage_view
from tests import small
from tests.models.test_scenarios import make_set

DAY = small.LAST


def market(**changes: object) -> MarketSpec:
    """Return the sample market whose book is long and short the segments of the hand-made set."""
    spec = small.market()
    segments = {**spec.segments, **dict.fromkeys(("small", "mid"), spec.segments["micro"])}
    assert spec.leverage is not None
    assert spec.leverage.discount is not None
    name = spec.leverage.discount
    series = {**spec.series, name: spec.series[name].model_copy(update=changes)}
    book = spec.leverage.model_copy(update={"long": "small", "hedge": "mid"})
    return spec.model_copy(update={"segments": segments, "series": series, "leverage": book})


def discount(spec: MarketSpec, rows: pd.DataFrame) -> float | None:
    view = leverage_view(spec, rows, make_set(), DAY)
    assert view is not None
    assert view.told_loss == TOLD_LOSS
    return view.discount


def test_the_newest_discount_known_at_the_decision_counts() -> None:
    spec, rows = market(), small.observations()
    at = pd.Timestamp(decision_times(spec, np.array([DAY]))[0])
    own = rows[(rows["series"] == "futures_basis") & (rows["known_at"] <= at)].sort_values(["period", "known_at"])
    newest = float(own["value"].iloc[-1])
    assert discount(spec, rows) == pytest.approx(-newest / 100)
    # Later rows do not reach it; the control: an earlier clock would.
    late = rows["series"].eq("futures_basis") & (rows["known_at"] > at)
    assert late.any()
    assert discount(spec, rows.assign(value=rows["value"].where(~late, 99.0))) == pytest.approx(-newest / 100)


def test_a_discount_that_is_stale_dead_or_absent_is_not_counted() -> None:
    rows = small.observations()
    assert discount(market(), rows[rows["series"] != "futures_basis"]) is None
    assert discount(market(died=date(2010, 11, 25)), rows) is None
    assert discount(market(died=date(2010, 11, 26)), rows) is not None
    old = rows["series"].eq("futures_basis") & (rows["period"] > pd.Timestamp("2010-11-01"))
    assert discount(market(stale_days=15), rows[~old]) is None


def test_a_leg_without_paths_has_no_view() -> None:
    spec = small.market()
    assert leverage_view(spec, small.observations(), make_set(), DAY) is None
