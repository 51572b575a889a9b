"""Ingestion: a source's observations, checked, into the store."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from features.checks import Finding, check_batch, check_stored, findings_frame
from features.errors import DataContractError
from features.market import MarketSpec
from features.series import in_current_unit
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
        In strict mode, with the bad rows; if the definition does not declare a series; whatever `Store.append` raises.
        Nothing is written then.
    """
    findings, bad = check_batch(observations, market)
    errors = [finding for finding in findings if finding.severity == "error"]
    if strict and errors:
        first = errors[0]
        raise DataContractError(
            f"{first.series}: {len(errors)} bad point(s), the first on {first.period:%Y-%m-%d}: {first.message}; "
            "correct the source or ingest without `--strict` to quarantine bad points",
            findings_frame(errors),
        )
    held = observations.loc[bad, ["series", "period", "known_at", "value"]]
    reasons = {(finding.series, finding.period): finding for finding in findings if finding.quarantined}
    keys = zip(held["series"], held["period"], strict=True)
    why = [reasons[str(series), pd.Timestamp(period)] for series, period in keys]
    held = held.assign(check=[finding.check for finding in why], reason=[finding.message for finding in why])
    appended = store.append(market.name, observations[~bad], now, held)
    return IngestReport(appended, tuple(findings))


def audit(store: Store, market: MarketSpec, as_of: np.datetime64 | None = None) -> list[Finding]:
    """List everything known to be wrong with what the store holds of a market.

    Points in quarantine come first, marked `quarantined`, unless the source has sent a good value since. Stored points
    are checked again, beside those in quarantine, against the definition as it is now: what it finds bad among them
    was served until now and is an error that is not quarantined.

    Parameters
    ----------
    store : Store
    market : MarketSpec
    as_of : datetime64[us], optional
        UTC; by default the time at which the newest price of the headline pair became known.

    Raises
    ------
    DataContractError
        If the store holds nothing of the market.
    """
    stored = store.observations(market.name)
    if stored.empty:
        raise DataContractError(f"{store.path}: no observation of market {market.name!r}; run `capshift ingest` first")
    if as_of is None:
        pair = market.pairs[market.headline]
        prices = {market.segments[pair.large].price, market.segments[pair.small].price}
        newest = stored.loc[stored["series"].isin(prices), "known_at"]
        as_of = (newest if len(newest) else stored["known_at"]).max().to_datetime64()
    return audit_rows(stored, store.quarantined(market.name), market, as_of)


def audit_rows(
    stored: pd.DataFrame, quarantined: pd.DataFrame, market: MarketSpec, as_of: np.datetime64
) -> list[Finding]:
    """Audit rows that were read before; arguments as `Store.observations` and `Store.quarantined` return them.

    Information set: rows with known_at <= as_of.
    """
    declared = stored["series"].isin(list(market.series))
    findings = [
        Finding(str(name), "undeclared", "warning", None, None, False, "stored, but the definition does not declare it")
        for name in sorted(stored.loc[~declared, "series"].unique())
    ]
    stored = stored[declared & (stored["known_at"] <= pd.Timestamp(as_of))]
    held = _still_wrong(quarantined, stored)
    held = held[held["series"].isin(list(market.series)) & (held["known_at"] <= pd.Timestamp(as_of))]
    for row in held.to_dict("records"):
        name, period = str(row["series"]), pd.Timestamp(row["period"])
        value = in_current_unit(market.series[name], np.array([period], "datetime64[us]"), np.array([row["value"]]))
        findings.append(Finding(name, str(row["check"]), "error", period, float(value[0]), True, str(row["reason"])))
    known = {(finding.series, finding.period) for finding in findings}
    columns = ["series", "period", "known_at", "value"]
    again, _ = check_batch(pd.concat([stored[columns], held[columns]], ignore_index=True), market)
    findings += [
        replace(found, quarantined=False)
        for found in again
        if not (found.quarantined and (found.series, found.period) in known)
    ]
    return findings + check_stored(stored, market, as_of)


def _still_wrong(held: pd.DataFrame, stored: pd.DataFrame) -> pd.DataFrame:
    """Leave out rows in quarantine whose period has had a good value written later."""
    newest = stored.groupby(["series", "period"])["recorded_at"].max().rename("replaced_at")
    joined = held.join(newest, on=["series", "period"])
    return held[~(joined["replaced_at"] > joined["recorded_at"]).to_numpy()]
