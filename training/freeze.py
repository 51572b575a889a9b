"""Freezing a configuration, and saying how the present one differs from what was frozen."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any

from features.errors import DataContractError
from features.market import MarketSpec
from models.schedule import Plan, day_text
from training.baselines import NAMES
from training.code_digest import code_hash
from training.experiment import git_commit
from training.frozen import FrozenEntry, in_force
from training.verdicts import load_targets

RIVALS = ("ridge_logit", "hmm_filtered", "scenario_set", "scenario_logit")
"""The strongest baselines of the design years, each for some head."""
SEALED_AFTER = date(2023, 11, 30)
"""End of the data that anybody here has seen."""


@dataclass(frozen=True)
class Declared:
    """What the person who freezes says: the day, looks beyond the design years, baselines, the end of the seen years.

    `rivals` empty stands for `RIVALS`.
    """

    today: date
    looks: tuple[str, ...] = ()
    rivals: tuple[str, ...] = ()
    sealed_after: date = SEALED_AFTER


def wholly_sealed(market: MarketSpec) -> bool:
    """Say whether nothing of a market may be shown: its `scored_until` lies before its first forecast."""
    until = market.schedule.scored_until
    return until is not None and until < market.schedule.first_decision


def freeze(
    market: MarketSpec, plan: Plan, declared: Declared, entries: Sequence[FrozenEntry], *, again: bool = False
) -> FrozenEntry:
    """Return the entry that freezes the present configuration of a market.

    Parameters
    ----------
    market : MarketSpec
    plan : Plan
        Settings and schedule to freeze.
    declared : Declared
    entries : sequence of FrozenEntry
        What was frozen before.
    again : bool
        Whether a market that has an entry may get another.

    Raises
    ------
    DataContractError
        If the market is simulated, has no target, has an entry already, or a rival is unknown.
    """
    before = in_force(entries).get(market.name)
    if market.simulated:
        raise DataContractError(f"market {market.name!r} is simulated: there is nothing to seal")
    if before is not None and not again:
        raise DataContractError(
            f"market {market.name!r} was frozen on {before.frozen_on} (entry {before.number}); `--again` adds another "
            "entry and keeps that one"
        )
    rivals = declared.rivals or RIVALS
    if unknown := sorted(set(rivals) - set(NAMES)):
        raise DataContractError(f"`rival` must be one of {', '.join(NAMES)}; got {unknown[0]!r}")
    rules = load_targets(market.name)
    if not rules:
        raise DataContractError(f"configs/targets.toml has no rule for market {market.name!r}; write one, then freeze")
    sealed = wholly_sealed(market)
    until = market.schedule.scored_until
    now = _present(market, plan)
    return FrozenEntry(
        market=market.name,
        number=1 if before is None else before.number + 1,
        frozen_on=declared.today,
        code_version=plan.code_version,
        git_commit=git_commit(),
        **now,
        design="none: nothing of this market was seen" if sealed else f"{day_text(plan.first_decision)} to {until}",
        confirmation=", ".join(declared.looks) or ("none" if sealed else "none logged"),
        sealed_after=None if sealed else declared.sealed_after,
        rivals=rivals,
        rules=rules,
        settings=_plain(asdict(plan.settings)),
        previous="" if before is None else before.hash,
    ).sealed()


def differences(entry: FrozenEntry, market: MarketSpec, plan: Plan) -> list[str]:
    """Say what differs between the present configuration and a frozen one; nothing where it is the same."""
    now = _present(market, plan)
    found = []
    if now["settings_hash"] != entry.settings_hash:
        changed = dict(_changed(entry.settings, _plain(asdict(plan.settings))))
        words = "; ".join(f"{name} is {new}, frozen {old}" for name, (old, new) in changed.items())
        found.append(f"the settings ({words or 'their form'})")
    if now["schedule"] != entry.schedule:
        found.append(f"the schedule ({now['schedule']}, frozen {entry.schedule})")
    # The definition holds the catalogue: where only that differs it is what must be named.
    if now["features_hash"] != entry.features_hash:
        found.append(f"the catalogue of features ({now['features_hash']}, frozen {entry.features_hash})")
    elif now["market_hash"] != entry.market_hash:
        found.append(f"the market definition ({now['market_hash']}, frozen {entry.market_hash})")
    if now["code_hash"] != entry.code_hash:
        found.append(f"the code that forecasts or scores ({now['code_hash']}, frozen {entry.code_hash})")
    return found


def _present(market: MarketSpec, plan: Plan) -> dict[str, str]:
    catalogue = {name: spec.model_dump(mode="json") for name, spec in market.features.items()}
    text = json.dumps(catalogue, sort_keys=True, ensure_ascii=False)
    schedule = f"from {day_text(plan.first_decision)} every {plan.refit_weeks} weeks, pairs after {plan.min_weeks}"
    return {
        "code_hash": code_hash(),
        "market_hash": plan.market_hash,
        "features_hash": hashlib.sha256(text.encode()).hexdigest()[:16],
        "settings_hash": plan.settings.config_hash,
        "schedule": schedule,
    }


def _plain(value: Any) -> Any:
    """Return settings as TOML can hold them; it has no sign for nothing."""
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return "none" if value is None else value


def _changed(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, tuple[Any, Any]]]:
    for name in sorted(set(old) | set(new)):
        one, other = old.get(name), new.get(name)
        if isinstance(one, Mapping) and isinstance(other, Mapping):
            yield from _changed(one, other, f"{prefix}{name}.")
        elif one != other:
            yield f"{prefix}{name}", (one, other)
