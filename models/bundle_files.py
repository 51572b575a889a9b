"""A folder of text files under a manifest with checksums; a crash in mid-write leaves the old or the new, never a mix.

A file's name on disk carries its checksum, so new files never overwrite old ones, and the manifest, replaced in one
step, says which of them count.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Mapping
from pathlib import Path

from features.errors import BundleError, DataContractError

FORMAT = 4
MANIFEST = "manifest.json"
MAX_BYTES = 64 * 1024 * 1024
"""Of a file."""
MAX_FILES = 64
MAX_TOTAL = 4 * MAX_BYTES


def write_files(folder: Path, texts: Mapping[str, str]) -> None:
    """Write texts under their names; what the folder held before is replaced.

    Raises
    ------
    DataContractError
        If the folder cannot be written.
    """
    try:
        if not folder.exists():
            folder.parent.mkdir(parents=True, exist_ok=True)
            work = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
            try:
                _write(work, texts)
                work.chmod(0o755)
                os.rename(work, folder)
            except OSError:
                shutil.rmtree(work, ignore_errors=True)
                # Another process may have been faster; then its folder is replaced.
                if not folder.exists():
                    raise
            else:
                return
        _write(folder, texts)
    except OSError as error:
        raise DataContractError(f"{folder}: cannot be written: {error.strerror}; choose another place") from error


def read_files(folder: Path) -> dict[str, str]:
    """Return the texts by name, checksums verified.

    Raises
    ------
    BundleError
        If a file is missing, too large, of another format or does not match its checksum.
    """
    try:
        manifest = json.loads(_read(folder / MANIFEST))
        declared, files = manifest["format"], {str(name): str(checksum) for name, checksum in manifest["files"].items()}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise BundleError(f"{folder / MANIFEST}: not the manifest of a bundle; train the bundle again") from error
    if declared != FORMAT:
        raise BundleError(f"{folder}: bundle of format {declared!r}, this version reads {FORMAT}; train it again")
    if len(files) > MAX_FILES:
        raise BundleError(f"{folder}: {len(files)} files, more than {MAX_FILES}; this is no bundle of capshift")
    texts: dict[str, str] = {}
    for name, checksum in files.items():
        if sum(len(text) for text in texts.values()) > MAX_TOTAL:
            raise BundleError(f"{folder}: larger than {MAX_TOTAL} bytes; this is no bundle of capshift")
        if Path(name).name != name or not checksum.isalnum():
            raise BundleError(f"{folder}: file name {name!r} or its checksum {checksum!r} points outside the bundle")
        path = folder / _stored_name(name, checksum)
        texts[name] = _read(path)
        if _checksum(texts[name]) != checksum:
            raise BundleError(f"{path}: checksum differs from the manifest; the file was changed or cut")
    return texts


def _write(folder: Path, texts: Mapping[str, str]) -> None:
    checksums = {name: _checksum(text) for name, text in texts.items()}
    names = {_stored_name(name, checksum): texts[name] for name, checksum in checksums.items()}
    manifest = json.dumps({"format": FORMAT, "files": checksums}, sort_keys=True, indent=1)
    for name, text in (*names.items(), (MANIFEST, manifest)):
        handle, work = tempfile.mkstemp(prefix=".", dir=folder)
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as stream:
            stream.write(text)
        os.chmod(work, 0o644)
        os.replace(work, folder / name)
    for path in folder.iterdir():
        if path.name not in names and path.name != MANIFEST and path.is_file():
            path.unlink(missing_ok=True)


def _stored_name(name: str, checksum: str) -> str:
    stem, dot, suffix = name.rpartition(".")
    return f"{stem}-{checksum[:12]}{dot}{suffix}"


def _checksum(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _read(path: Path) -> str:
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            # A pipe would keep the reader waiting for ever.
            raise BundleError(f"{path}: cannot be read, it is no file; train the bundle again")
        if found.st_size > MAX_BYTES:
            raise BundleError(f"{path}: larger than {MAX_BYTES} bytes; this is no bundle of capshift")
        return path.read_bytes().decode("utf-8")
    except (OSError, ValueError) as error:
        raise BundleError(f"{path}: cannot be read; train the bundle again") from error
