"""The bundle that made a forecast, found below the artefacts folder and kept in memory while its files stay."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from features.errors import BundleError
from serving.api.file_cache import FileCache
from serving.record import Forecast

if TYPE_CHECKING:
    from models.bundle import Bundle

_KEPT = 6
_SAFE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,99}")


class BundleShelf:
    """Bundles by the forecast that they made.

    Parameters
    ----------
    artifacts : Path
    """

    def __init__(self, artifacts: Path) -> None:
        self._root = artifacts / "bundles"
        self._cache: FileCache[Bundle] = FileCache(_KEPT)

    def folders(self, forecast: Forecast) -> list[Path]:
        """Return the folders that may hold the bundle of a forecast, the newest first.

        There is more than one where the same cut was trained on two snapshots of the data.

        Raises
        ------
        BundleError
            If there is none.
        """
        version = f"{forecast.config_hash}-{forecast.code_version}"
        if not all(_SAFE.fullmatch(part) for part in (forecast.market, version)):
            raise BundleError(f"a forecast of {forecast.market!r} names bundle {version!r}, which is no folder's name")
        root = self._root / forecast.market / version
        found = [
            path for path in root.glob(f"{forecast.bundle_cut.isoformat()}-*") if (path / "manifest.json").exists()
        ]
        if not found:
            raise BundleError(f"{root}: no bundle of cut {forecast.bundle_cut}; copy it there, or run `capshift train`")
        return sorted(found, key=lambda path: (path / "manifest.json").stat().st_mtime_ns, reverse=True)

    def load(self, folder: Path) -> Bundle:
        """Read a bundle, checksums verified, or return the one in memory.

        Raises
        ------
        BundleError
            If it is missing or damaged.
        """
        from models.bundle import Bundle

        try:
            return self._cache.get(folder, folder / "manifest.json", lambda: Bundle.load(folder))
        except OSError as error:
            raise BundleError(f"{folder}: cannot be read: {error.strerror}; train the bundle again") from error
