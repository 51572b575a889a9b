"""Artefacts of the small SIMULATED market, as a folder of a user holds them: store and bundles of its walk-forward."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from features.frames import OBSERVATION_COLUMNS
from features.ingest import ingest
from features.store import Store
from models.schedule import bundle_folder, bundle_root
from serving.opened_market import OpenedMarket, open_market
from serving.output import store_path
from tests import small

INGESTED = np.datetime64("2011-06-01T09:00", "us")
LAST = "2010-11-26"


def small_artifacts(folder: Path, observations: pd.DataFrame | None = None) -> Path:
    """Ingest what was published before June 2011, or other rows, and save the four bundles."""
    rows = small.observations() if observations is None else observations
    ingest(Store(store_path(folder)), small.market(), rows[list(OBSERVATION_COLUMNS)], INGESTED)
    save_bundles(folder)
    return folder


def save_bundles(folder: Path) -> None:
    """Save the bundles of the small walk-forward where serving looks for them."""
    root = bundle_root(folder, small.market().name, small.plan())
    for bundle in small.walked().bundles:
        bundle.save(bundle_folder(root, bundle.cut, bundle.snapshot_id))


def opened(artifacts: Path, day: str = LAST) -> OpenedMarket:
    """Open the market up to a day, with the small plan."""
    return open_market(small.market(), artifacts, day, small.plan())
