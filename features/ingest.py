"""Ingestion: a source's observations, checked, into the store."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from features.checks import Finding, check_batch, check_stored
from features.errors import DataContractError
from features.market import MarketSpec
from features.store import Appended, Store


@dataclass(frozen=True)
class IngestReport:
    """What an ingestion did and found."""

    appended: Appended
    findings: tuple[Finding, ...]


def ingest(
    store: Store, market: MarketSpec, observations: pd.DataFrame, now: np.datetime64, *, strict: bool = False
) -> IngestReport:
    """Check a batch, quarantine its bad points and append the rest, all or nothing.

    Parameters
    ----------
    store : Store
    market : MarketSpec
    observations : pandas.DataFrame
        Columns `features.store.OBSERVATION_COLUMNS`.
    now : datetime64[us]
        UTC.
    strict : bool
        Refuse the batch if any point is bad instead of quarantining it.

    Raises
    ------
    DataContractError
        In strict mode, with the bad rows.
    """
    findings, bad = check_batch(observations, market)
    if strict and bad.any():
        rows = observations[bad]
        first = next(finding for finding in findings if finding.quarantined)
        raise DataContractError(
            f"{first.series}: {int(bad.sum())} bad point(s), the first on {first.period:%Y-%m-%d}: {first.message}; "
            "correct them or ingest without `--strict` to quarantine them",
            rows,
        )
    held = observations.loc[bad, ["series", "period", "known_at", "value"]]
    reasons = {(finding.series, finding.period): finding for finding in findings if finding.quarantined}
    keyed = [reasons[str(series), pd.Timestamp(period)] for series, period in zip(held["series"], held["period"], strict=True)]
    held = held.assign(check=[finding.check for finding in keyed], reason=[finding.message for finding in keyed])
    appended = store.append(market.name, observations[~bad], now, held)
    return IngestReport(appended, tuple(findings))


def audit(store: Store, market: MarketSpec, as_of: np.datetime64 | None = None) -> list[Finding]:
    """List everything known to be wrong with what the store holds of a market.

    Parameters
    ----------
    store : Store
    market : MarketSpec
    as_of : datetime64[us], optional
        UTC; by default the time at which the newest price of the headline pair became known.
    """
    observations = store.observations(market.name)
    if observations.empty:
        raise DataContractError(f"{store.path}: no observation of market {market.name!r}; run `capshift ingest` first")
    if as_of is None:
        pair = market.pairs[market.headline]
        prices = {market.segments[pair.large].price, market.segments[pair.small].price}
        as_of = observations.loc[observations["series"].isin(prices), "known_at"].max().to_datetime64()
    observations = observations[observations["known_at"] <= pd.Timestamp(as_of)]
    findings = [
        Finding(row.series, row.check, "error", row.period, row.value, True, row.reason)
        for row in store.quarantined(market.name).itertuples()
    ]
    batch = observations.assign(revision=False)
    again, _ = check_batch(batch, market)
    findings += [
        Finding(found.series, found.check, found.severity, found.period, found.value, False, found.message)
        for found in again
    ]
    return findings + check_stored(observations, market, as_of)
