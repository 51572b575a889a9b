"""How long a bundle may stay in force: past one missed refit it is said, past the limit it is refused."""

from __future__ import annotations

import numpy as np

from features.contracts import Dataset
from features.errors import BundleError
from features.market import MarketSpec
from models.schedule import bundle_age, day_text


def age_warning(market: MarketSpec, dataset: Dataset, cut: np.datetime64, day: np.datetime64) -> str:
    """Return what to say of a bundle's age on a day; empty where it is in its time.

    Raises
    ------
    BundleError
        If the bundle is older than the market definition allows.

    Information set: the calendar up to `day`.
    """
    (warn, refuse), age = market.schedule.age_limits, bundle_age(dataset, cut, day)
    if age <= warn:
        return ""
    remedy = f"run `capshift train --market {market.name}`"
    if age > refuse:
        raise BundleError(
            f"the bundle of cut {day_text(cut)} is {age} weeks old on {day_text(day)}, and "
            f"`refuse_after_weeks` of market {market.name!r} is {refuse}; {remedy}"
        )
    return (
        f"the bundle of cut {day_text(cut)} is {age} weeks old on {day_text(day)}: a refit is missing, and after "
        f"{refuse} weeks it is refused; {remedy}"
    )
