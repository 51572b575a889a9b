"""The bundle: everything a forecast needs from training, as text boosters and JSON with verified checksums."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import lightgbm as lgb
import numpy as np
import pandas as pd

from features.contracts import Event, FeatureInfo
from features.errors import BundleError, CapshiftError
from models.booster_text import check_booster_text
from models.bundle_files import read_files, write_files
from models.bundle_problems import bundle_problems
from models.design import Scaler, live_features
from models.heads import Head
from models.linear import RidgeLogit
from models.memory import Memory
from models.schedule import day_text
from models.settings import HeadSettings, TreeSettings
from models.volatility import ScenarioSettings, VolatilityParams

_MODEL = "model.json"
_SPLIT = "\n=== next seed ===\n"
_MAX_SEEDS = 1000


@dataclass(frozen=True)
class Support:
    """Range of each feature over the training rows: 1% and 99% quantile, minimum and maximum."""

    low: Mapping[str, float]
    high: Mapping[str, float]
    least: Mapping[str, float]
    most: Mapping[str, float]

    @staticmethod
    def fit(values: pd.DataFrame) -> Support:
        """Learn from the rows known before the cut; a feature that is live in less than 52 weeks is left out."""
        seen = values[live_features(values)]
        parts = (seen.quantile(0.01), seen.quantile(0.99), seen.min(), seen.max())
        return Support(*({str(name): float(bound) for name, bound in part.items()} for part in parts))


@dataclass(frozen=True, eq=False)
class Bundle:
    """A fitted model of one market, keyed by its cut.

    Parameters
    ----------
    market, simulated : str, bool
    cut : datetime64[us]
        Decision day before which every training outcome matured.
    snapshot_id, config_hash, code_version : str
    features : tuple of FeatureInfo
        The feature contract.
    families : tuple of str
        Families with a live feature over the last year before the cut; a forecast without one abstains.
    settings : HeadSettings
    scaler : Scaler
    support : Support
    heads : mapping of (event, horizon) to Head
    volatility : mapping of segment to VolatilityParams or None
        None while the segment's history is too short.
    memory : Memory
        What the level correction remembers of earlier bundles' forecasts.
    pairs : tuple of str
        Pairs of the market.
    """

    market: str
    simulated: bool
    cut: np.datetime64
    snapshot_id: str
    config_hash: str
    code_version: str
    features: tuple[FeatureInfo, ...]
    families: tuple[str, ...]
    settings: HeadSettings
    scaler: Scaler
    support: Support
    heads: Mapping[tuple[Event, int], Head]
    volatility: Mapping[str, VolatilityParams | None]
    memory: Memory
    pairs: tuple[str, ...]

    def save(self, folder: Path) -> Path:
        """Write the bundle atomically; what the folder held before is replaced.

        Raises
        ------
        DataContractError
            If the folder cannot be written.
        """
        texts = {_MODEL: json.dumps(self._document(), sort_keys=True, indent=1, allow_nan=False)}
        for (event, horizon), head in self.heads.items():
            texts[f"{event}-{horizon}w.txt"] = _SPLIT.join(booster.model_to_string() for booster in head.boosters)
        write_files(folder, texts)
        return folder

    def _document(self) -> dict[str, Any]:
        return {
            "market": self.market,
            "simulated": self.simulated,
            "cut": day_text(self.cut),
            "snapshot_id": self.snapshot_id,
            "config_hash": self.config_hash,
            "code_version": self.code_version,
            "features": [asdict(info) for info in self.features],
            "families": list(self.families),
            "pairs": list(self.pairs),
            "settings": asdict(self.settings),
            "scaler": asdict(self.scaler),
            "support": asdict(self.support),
            "heads": [
                {
                    "event": event,
                    "horizon": horizon,
                    "scenario": _linear_document(head.scenario),
                    "prior": head.prior,
                    "linear": _linear_document(head.linear),
                    "pool": head.pool,
                    "slope": head.slope,
                }
                for (event, horizon), head in self.heads.items()
            ],
            "volatility": {
                segment: None if params is None else asdict(params) for segment, params in self.volatility.items()
            },
            "memory": self.memory.to_json(),
        }

    @staticmethod
    def load(folder: Path) -> Bundle:
        """Read a bundle and verify every checksum.

        Raises
        ------
        BundleError
            If a file is missing, too large, of another format or does not match its checksum.
        """
        texts = read_files(folder)
        try:
            bundle = _build(json.loads(texts[_MODEL], parse_constant=_refuse), texts)
            problems = bundle_problems(bundle)
        except (
            CapshiftError, LookupError, TypeError, ValueError, ArithmeticError, AttributeError, RecursionError,
            lgb.basic.LightGBMError,
        ) as error:  # fmt: skip
            raise BundleError(f"{folder}: incomplete bundle ({error}); train it again") from error
        if problems:
            raise BundleError(f"{folder}: {problems[0]}; train it again")
        return bundle


def _linear_document(fit: RidgeLogit) -> dict[str, Any]:
    return {"coef": fit.coef.tolist(), "intercept": fit.intercept, "covariance": fit.covariance.tolist()}


def _linear(data: Mapping[str, Any]) -> RidgeLogit:
    coef, covariance = (np.array(data[name], dtype=np.float64) for name in ("coef", "covariance"))
    return RidgeLogit(coef, float(data["intercept"]), covariance)


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant} is no number")


def _boosters(text: str) -> tuple[lgb.Booster, ...]:
    parts = text.split(_SPLIT)
    if len(parts) > _MAX_SEEDS:
        raise ValueError(f"a head must have at most {_MAX_SEEDS} boosters; got {len(parts)}")
    for part in parts:
        check_booster_text(part)
    return tuple(lgb.Booster(model_str=part) for part in parts)


def _build(document: dict[str, Any], texts: Mapping[str, str]) -> Bundle:
    settings = dict(document["settings"])
    heads = {}
    for row in document["heads"]:
        text = texts[f"{row['event']}-{row['horizon']}w.txt"]
        boosters = _boosters(text)
        key = (cast(Event, row["event"]), int(row["horizon"]))
        scenario, linear = (_linear(row[name]) for name in ("scenario", "linear"))
        heads[key] = Head(
            *key, scenario, float(row["prior"]), linear, boosters, float(row["pool"]), float(row["slope"])
        )
    return Bundle(
        market=document["market"],
        simulated=document["simulated"],
        cut=np.datetime64(document["cut"], "us"),
        snapshot_id=document["snapshot_id"],
        config_hash=document["config_hash"],
        code_version=document["code_version"],
        features=tuple(FeatureInfo(**info) for info in document["features"]),
        families=tuple(document["families"]),
        settings=HeadSettings(
            **{
                **settings,
                "trees": TreeSettings(**settings["trees"]),
                "scenarios": ScenarioSettings(**settings["scenarios"]),
            }
        ),
        scaler=Scaler(**document["scaler"]),
        support=Support(**document["support"]),
        heads=heads,
        volatility={
            segment: None if params is None else VolatilityParams.from_json(params)
            for segment, params in document["volatility"].items()
        },
        memory=Memory.from_json(document["memory"]),
        pairs=tuple(str(pair) for pair in document["pairs"]),
    )
