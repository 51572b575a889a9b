"""The bundle: everything a forecast needs from training, as text boosters and JSON with verified checksums."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import lightgbm as lgb
import numpy as np
import pandas as pd

from features.contracts import Event, FeatureInfo
from features.errors import BundleError
from models.design import Scaler
from models.heads import Head
from models.linear import RidgeLogit
from models.schedule import day_text
from models.settings import HeadSettings, TreeSettings
from models.tail import TailParams, TailSettings

_FORMAT = 1
_MANIFEST = "manifest.json"
_MODEL = "model.json"
_MAX_BYTES = 64 * 1024 * 1024
_SPLIT = "\n=== next seed ===\n"


@dataclass(frozen=True)
class Support:
    """Range of each feature over the training rows: 1% and 99% quantile, minimum and maximum."""

    low: Mapping[str, float]
    high: Mapping[str, float]
    least: Mapping[str, float]
    most: Mapping[str, float]

    @staticmethod
    def fit(values: pd.DataFrame) -> Support:
        """Learn from the rows known before the cut."""
        usable = values.loc[:, values.notna().sum() >= 52]
        parts = (usable.quantile(0.01), usable.quantile(0.99), usable.min(), usable.max())
        return Support(*(part.to_dict() for part in parts))


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
    tails : mapping of pair to TailParams or None
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
    tails: Mapping[str, TailParams | None]

    def save(self, folder: Path) -> Path:
        """Write the bundle atomically; an existing folder of that name is replaced."""
        folder.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
        files = {_MODEL: json.dumps(self._document(), sort_keys=True, indent=1, allow_nan=False)}
        for (event, horizon), head in self.heads.items():
            files[f"{event}-{horizon}w.txt"] = _SPLIT.join(booster.model_to_string() for booster in head.boosters)
        checksums = {name: hashlib.sha256(text.encode()).hexdigest() for name, text in files.items()}
        for name, text in files.items():
            (work / name).write_text(text, encoding="utf-8")
        manifest = {"format": _FORMAT, "cut": day_text(self.cut), "files": checksums}
        (work / _MANIFEST).write_text(json.dumps(manifest, sort_keys=True, indent=1), encoding="utf-8")
        work.chmod(0o755)
        if folder.exists():
            shutil.rmtree(folder)
        os.replace(work, folder)
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
            "settings": asdict(self.settings),
            "scaler": asdict(self.scaler),
            "support": asdict(self.support),
            "heads": [
                {
                    "event": event,
                    "horizon": horizon,
                    "coef": head.linear.coef.tolist(),
                    "intercept": head.linear.intercept,
                    "covariance": head.linear.covariance.tolist(),
                    "pool": head.pool,
                    "slope": head.slope,
                    "shift": head.shift,
                }
                for (event, horizon), head in self.heads.items()
            ],
            "tails": {pair: None if tail is None else tail.to_json() for pair, tail in self.tails.items()},
        }

    @staticmethod
    def load(folder: Path) -> Bundle:
        """Read a bundle and verify every checksum.

        Raises
        ------
        BundleError
            If a file is missing, too large, of another format or does not match its checksum.
        """
        manifest = json.loads(_read(folder, _MANIFEST))
        if not isinstance(manifest, dict) or manifest.get("format") != _FORMAT:
            raise BundleError(f"{folder}: not a bundle of format {_FORMAT}; train it again")
        texts = {}
        for name, checksum in manifest["files"].items():
            if Path(name).name != name:
                raise BundleError(f"{folder}: file name {name!r} points outside the bundle")
            texts[name] = _read(folder, name)
            if hashlib.sha256(texts[name].encode()).hexdigest() != checksum:
                raise BundleError(f"{folder / name}: checksum differs from the manifest; the file was changed or cut")
        try:
            return _build(json.loads(texts[_MODEL]), texts)
        except (KeyError, TypeError, ValueError, lgb.basic.LightGBMError) as error:
            raise BundleError(f"{folder}: incomplete bundle ({error}); train it again") from error


def _read(folder: Path, name: str) -> str:
    path = folder / name
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise BundleError(f"{path}: larger than {_MAX_BYTES} bytes; this is no bundle of capshift")
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BundleError(f"{path}: cannot be read; train the bundle again") from error


def _build(document: dict[str, Any], texts: Mapping[str, str]) -> Bundle:
    settings = dict(document["settings"])
    heads = {}
    for row in document["heads"]:
        linear = RidgeLogit(np.array(row["coef"]), row["intercept"], np.array(row["covariance"]))
        text = texts[f"{row['event']}-{row['horizon']}w.txt"]
        boosters = tuple(lgb.Booster(model_str=part) for part in text.split(_SPLIT))
        key = (cast(Event, row["event"]), int(row["horizon"]))
        heads[key] = Head(*key, linear, boosters, row["pool"], row["slope"], row["shift"])
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
            **{**settings, "trees": TreeSettings(**settings["trees"]), "tail": TailSettings(**settings["tail"])}
        ),
        scaler=Scaler(**document["scaler"]),
        support=Support(**document["support"]),
        heads=heads,
        tails={
            pair: None if tail is None else TailParams.from_json(tail) for pair, tail in document["tails"].items()
        },
    )
