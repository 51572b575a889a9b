"""Every feature, state, label and base rate, recomputed at thirty cuts and more from what was known then."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from features.dataset import build_dataset
from features.market import MarketSpec, load_market
from features.sources.simulated import simulate
from tests.features.real import LAST_DECISION, real_observations
from tests.features.toy import last_decision, toy_market, toy_observations
from tests.leak.audit import audit, spread_cuts

CUTS = 31
"""Thirty cuts and the last decision, to which everything is compared."""
SEED = 20151
SAMPLE = pd.Timestamp("2014-06-02"), np.datetime64("2020-12-25", "us")
"""A window of the simulated market that holds its definition break and the death of a series."""


def assert_clean(market: MarketSpec, observations: pd.DataFrame, last: np.datetime64, *, live: float) -> None:
    """Audit; `live` is the share of features that must say something, or the audit would be of nothing."""
    full = build_dataset(observations, market, last)
    cuts = spread_cuts(full, CUTS)
    assert len(cuts) == CUTS
    assert full.values.notna().any().mean() >= live
    assert not (full.stale & full.values.notna()).any(axis=None)
    leaks = audit(market, observations, cuts)
    assert not leaks, "\n".join(str(leak) for leak in leaks[:10])


def test_toy_market_with_revised_late_and_missing_closes() -> None:
    """Twelve of its thirteen features; `unheard` is never published, and `rate` is stale for a while."""
    assert build_dataset(toy_observations(1), toy_market(), last_decision()).stale["rate_level"].any()
    assert_clean(toy_market(), toy_observations(1), last_decision(), live=12 / 13)


def two_pairs(market: MarketSpec) -> MarketSpec:
    """Return the definition with its headline pair and the pair of the smallest segment."""
    ranked = sorted(market.pairs, key=lambda pair: market.segments[market.pairs[pair].small].rank)
    kept = dict.fromkeys((market.headline, ranked[-1]))
    return market.model_copy(update={"pairs": {pair: market.pairs[pair] for pair in kept}})


def sample_window(market: MarketSpec, seed: int, start: pd.Timestamp) -> pd.DataFrame:
    observations = simulate(market, seed).observations
    return observations.loc[observations["period"] >= start, ["series", "period", "known_at", "value"]]


@pytest.mark.deep
def test_simulated_market() -> None:
    market = two_pairs(load_market("sample"))
    assert_clean(market, sample_window(market, SEED, SAMPLE[0]), SAMPLE[1], live=0.9)


@pytest.mark.real
@pytest.mark.parametrize(
    ("name", "start", "live"),
    # Two pairs of A-shares and the US one, in the years after the last births of inputs.
    [("cn", "2015-01-01", 0.8), ("us", "2016-01-01", 0.9)],
)
def test_real_market_in_recent_years(name: str, start: str, live: float, real_data: Path) -> None:
    market = two_pairs(load_market(name))
    observations = real_observations(name, real_data)
    used = {source for spec in market.features.values() for source in spec.inputs}
    columns = {source.rpartition(".")[2] for source in used if "{" in source}
    segments = {segment for pair in market.pairs.values() for segment in (pair.large, pair.small)}
    used |= {f"{segment}.{column}" for segment in segments for column in columns}
    observations = observations[observations["series"].isin(used) & (observations["period"] >= start)]
    assert_clean(market, observations, LAST_DECISION, live=live)


@pytest.mark.slow
@pytest.mark.real
@pytest.mark.parametrize("name", ["cn", "us"])
def test_real_market_in_full(name: str, real_data: Path) -> None:
    """All pairs, all series, all years."""
    assert_clean(load_market(name), real_observations(name, real_data), LAST_DECISION, live=0.8)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [SEED + 1, SEED + 2, SEED + 3])
def test_simulated_market_in_full(seed: int) -> None:
    market = load_market("sample")
    assert_clean(
        market, sample_window(market, seed, pd.Timestamp("1999-01-01")), np.datetime64("2023-12-22", "us"), live=0.9
    )
