"""Whether the parts of a bundle that was read fit together and are numbers at all."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from features.contracts import EVENTS, HORIZONS, FeatureInfo
from models.design import build_layout
from models.settings import HeadSettings

if TYPE_CHECKING:
    from models.bundle import Bundle
    from models.linear import RidgeLogit


_FEATURE = FeatureInfo("", "macro", "pair", 0, 0, "", "real", "")


def bundle_problems(bundle: Bundle) -> list[str]:
    """Say what of a bundle is damaged, and where heads and design do not fit together."""
    problems = []
    if not all(_alike(info, _FEATURE) for info in bundle.features):
        return ["a feature is damaged"]
    if not _alike(bundle.settings, HeadSettings()):
        problems.append("settings are damaged")
    texts = (bundle.market, bundle.snapshot_id, bundle.config_hash, bundle.code_version, *bundle.families)
    if not all(isinstance(text, str) for text in texts) or np.isnat(bundle.cut) or not bundle.settings.trees.seeds > 0:
        problems.append("names, cut or settings are damaged")
    bounds = (bundle.support.low, bundle.support.high, bundle.support.least, bundle.support.most)
    scales = (bundle.scaler.mean, bundle.scaler.std)
    if any(set(held) != set(kept[0]) for kept in (bounds, scales) for held in kept) or not all(
        _finite(number) for held in (*bounds, *scales) for number in held.values()
    ):
        problems.append("scaler or support are damaged")
    elif not (_finite(bundle.scaler.winsor) and min(bundle.scaler.std.values(), default=1.0) > 0):
        problems.append("the scaler is damaged")
    if not _finite(bundle.settings.band):
        problems.append("the band is damaged")
    for event in EVENTS:
        layout = build_layout(event, bundle.features)
        for horizon in HORIZONS:
            head = bundle.heads.get((event, horizon))
            if head is None:
                problems.append(f"no head for {event} at {horizon} week(s)")
            elif not _finite(head.prior, head.pool, head.slope, *_numbers(head.linear), *_numbers(head.scenario)):
                problems.append(f"{event} at {horizon} week(s) has numbers that are not finite")
            elif head.linear.coef.shape != (layout.signed,) or head.linear.covariance.shape != (layout.signed + 1,) * 2:
                problems.append(f"coefficients of {event} at {horizon} week(s) do not fit the features")
            elif head.scenario.coef.shape != (1,) or head.scenario.covariance.shape != (2, 2):
                problems.append(f"the scenario part of {event} at {horizon} week(s) is damaged")
            elif any(booster.num_feature() != len(layout.columns) for booster in head.boosters):
                problems.append(f"trees of {event} at {horizon} week(s) do not fit the features")
    return problems


def _alike(found: Any, like: Any) -> bool:
    """Whether the fields of a dataclass hold what those of another one hold; a whole number may stand for any."""
    pairs = [(getattr(found, field.name), getattr(like, field.name)) for field in fields(like)]
    return all(
        _alike(one, other)
        if is_dataclass(other)
        else type(one) in ({int, float} if type(other) is float else {type(other)})
        for one, other in pairs
    )


def _numbers(fit: RidgeLogit) -> tuple[float, ...]:
    return fit.intercept, float(fit.coef.sum()), float(fit.covariance.sum())


def _finite(*numbers: object) -> bool:
    return all(isinstance(number, int | float) and np.isfinite(number) for number in numbers)
