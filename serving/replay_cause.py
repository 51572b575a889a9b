"""Why a forecast cannot be rebuilt as it was: other data, another configuration, another version of the code."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from features.snapshot import snapshot_ids
from models.schedule import Plan
from serving.published import Provenance

_LOOK_BACK = 60
"""How many batches of late rows are taken away before the search ends; each costs a digest of the store."""


@dataclass(frozen=True, eq=False)
class LateBatch:
    """Rows that were written after a forecast was made, but say that they were known before.

    Parameters
    ----------
    before : pandas.DataFrame
        The rows of the store without them.
    told : str
        How many, of which series, written when.
    """

    before: pd.DataFrame
    told: str


def causes(made: Provenance, rebuilt: Provenance | None, plan: Plan) -> Iterator[str]:
    """Yield what differs between what a forecast was made from and what it is rebuilt from now."""
    if rebuilt is not None and made.snapshot_id != rebuilt.snapshot_id:
        yield f"snapshot differs: published from {made.snapshot_id}, the store now gives {rebuilt.snapshot_id}"
    if made.config_hash != plan.config_hash:
        yield f"configuration differs: published under {made.config_hash}, now {plan.config_hash}"
    if made.code_version != plan.code_version:
        yield f"code version differs: published by {made.code_version}, now {plan.code_version}"
    now = (plan.config_hash, plan.code_version)
    if rebuilt is not None and made == rebuilt and (made.config_hash, made.code_version) == now:
        yield (
            "data, configuration and code version are the same: the published numbers were edited, the bundle was "
            "trained again, or a library differs"
        )


def batch_of(observations: pd.DataFrame, at: np.datetime64, snapshot: str) -> LateBatch | None:
    """Find the rows that were not yet in the store when a snapshot was taken, by the time of their writing.

    Parameters
    ----------
    observations : pandas.DataFrame
        As `features.store.Store.observations`, known at `at`.
    at : datetime64[us]
        UTC time of the decision.
    snapshot : str
        Digest that the forecast names.

    Returns
    -------
    LateBatch or None
        None where no earlier state of the store has that digest.

    Information set: rows with known_at <= at.
    """
    times = np.unique(observations["recorded_at"].to_numpy("datetime64[us]"))[::-1]
    for written in times[:_LOOK_BACK]:
        before = observations[observations["recorded_at"] < pd.Timestamp(written)]
        if len(before) and snapshot_ids(before, np.array([at]))[0] == snapshot:
            late = observations[observations["recorded_at"] >= pd.Timestamp(written)]
            names = [str(name) for name in late["series"].value_counts().index]
            more = f" and {len(names) - 5} more" if len(names) > 5 else ""
            since = f"{pd.Timestamp(written):%Y-%m-%d %H:%M} UTC"
            told = (
                f"{len(late)} row(s) of {', '.join(names[:5])}{more} were written to the store from {since} on, dated "
                "before the decision"
            )
            return LateBatch(before, told)
    return None
