"""A digest of the code that decides what is forecast and how it is scored: the modules a few roots import, no others.

A commit is no use here: writing the frozen configuration makes one. A digest of everything would break with each new
figure.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

HOUSE = Path(__file__).parents[1]
PACKAGES = ("features", "models", "training")
ROOTS = (
    "features.ingest", "features.sources.folder", "features.sources.stocks", "features.dataset",
    "training.walkforward", "training.heads_walk", "training.baselines", "training.sealed_run",
    "training.score_tables", "training.compare_heads", "training.tail_models", "training.tail_table",
)  # fmt: skip
"""From data root to verdict."""


def code_hash(house: Path = HOUSE, roots: tuple[str, ...] = ROOTS) -> str:
    """Return the digest of every module that the roots import, directly or not, inside a function or not.

    Parameters
    ----------
    house : Path
        The folder that holds the packages.
    roots : tuple of str
        Modules to start from.
    """
    digest = hashlib.sha256()
    for name, path in sorted(code_modules(house, roots).items()):
        # Line ends as git may have changed them are no difference.
        digest.update(f"{name}\n".encode() + path.read_bytes().replace(b"\r\n", b"\n"))
    return digest.hexdigest()[:16]


@lru_cache(maxsize=4)
def code_modules(house: Path = HOUSE, roots: tuple[str, ...] = ROOTS) -> dict[str, Path]:
    """Return the modules of our packages that some modules import, themselves included, by name.

    Parameters
    ----------
    house : Path
    roots : tuple of str
        Where to start; a name that is no module of ours is left out.
    """
    found: dict[str, Path] = {}
    waiting = list(roots)
    while waiting:
        name = waiting.pop()
        path = _file(house, name)
        if path is None or name in found:
            continue
        found[name] = path
        # A package runs before its module does.
        waiting += [name.rpartition(".")[0], *_imports(path)]
    return found


def _file(house: Path, name: str) -> Path | None:
    if name.split(".")[0] not in PACKAGES:
        return None
    place = house.joinpath(*name.split("."))
    return next((path for path in (place.with_suffix(".py"), place / "__init__.py") if path.is_file()), None)


def _imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            yield node.module
            # `from package import module` names modules, too.
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
