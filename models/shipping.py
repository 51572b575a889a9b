"""What travels with a registered model: its bundle, the code that reads it, requirements and the shape of its tables.

Nothing here imports MLflow: the two modules that may, `training.tracking` and `serving.registry`, hand it in.
"""

from __future__ import annotations

import ast
import json
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from models.bundle import Bundle
from models.pyfunc import REJECTED
from models.row_contract import KEYS, STALE, RowContract
from models.row_scores import DRIVER_COLUMNS, NUMBER_COLUMNS

LOADER = "models.pyfunc"
BUNDLE = "bundle"
"""Name of the bundle's folder among the data of a model."""
MODEL_DATA = "data"
"""Folder of a model where MLflow puts its data."""
_PACKAGES = ("features", "models")
_LIBRARIES = ("mlflow", "lightgbm", "numba", "numpy", "pandas", "scipy", "threadpoolctl")
"""All that the code imports; numba may be left out, at the price of speed."""
_LEFT_BEHIND = ("models.garch",)
"""Imported to fit, never to score; it needs `arch`."""


@dataclass(frozen=True)
class Shipment:
    """Arguments of ``mlflow.pyfunc.save_model``, and the signature as plain types.

    Parameters
    ----------
    arguments : dict
        ``loader_module, data_path, code_paths, pip_requirements``.
    signature : dict
        ``inputs`` and ``outputs`` as lists of columns, as ``mlflow.types.Schema.to_dict`` writes them.
    """

    arguments: dict[str, Any]
    signature: dict[str, list[dict[str, Any]]]


@contextmanager
def shipped(folder: Path) -> Iterator[Shipment]:
    """Lay out a bundle's folder, with the code it needs, for MLflow; the copies are gone afterwards.

    Raises
    ------
    BundleError
        If the bundle is damaged.
    """
    contract = RowContract.of(Bundle.load(folder))
    with tempfile.TemporaryDirectory(prefix="capshift-") as work:
        data = Path(work) / BUNDLE
        shutil.copytree(folder, data)
        for name in shipped_modules():
            target = Path(work) / Path(*name.split(".")).with_suffix(".py")
            target.parent.mkdir(exist_ok=True)
            shutil.copyfile(_source(name), target)
        for package in _PACKAGES:
            shutil.copyfile(_ROOT / package / "__init__.py", Path(work) / package / "__init__.py")
        yield Shipment(
            {
                "loader_module": LOADER,
                "data_path": str(data),
                "code_paths": [str(Path(work) / package) for package in _PACKAGES],
                "pip_requirements": requirements(),
            },
            signature(contract),
        )


def save_shipped(bundle: Path, folder: Path, mlflow: Any) -> None:
    """Write a bundle as an MLflow pyfunc model with explicit requirements: nothing is inferred.

    Parameters
    ----------
    bundle, folder : Path
        Where the bundle lies, and where the model goes.
    mlflow : module
        With ``mlflow.pyfunc`` imported.

    Raises
    ------
    BundleError
        If the bundle is damaged.
    """
    read = mlflow.types.Schema.from_json
    with shipped(bundle) as shipment, warnings.catch_warnings():
        # It misses an example of the input, which the signature makes up for.
        warnings.simplefilter("ignore", UserWarning)
        inputs, outputs = (read(json.dumps(shipment.signature[side])) for side in ("inputs", "outputs"))
        tables = mlflow.models.ModelSignature(inputs, outputs)
        mlflow.pyfunc.save_model(folder, signature=tables, **shipment.arguments)


def bundle_of(model: Path) -> Path:
    """Return the folder of the bundle inside a model's folder; a folder that is no model is the bundle itself."""
    return model / MODEL_DATA / BUNDLE if (model / "MLmodel").is_file() else model


def requirements() -> list[str]:
    """Pin the libraries that the shipped code imports, at the versions of this machine."""
    pins = []
    for name in _LIBRARIES:
        try:
            pins.append(f"{name}=={version(name)}")
        except PackageNotFoundError:
            continue
    return pins


def signature(contract: RowContract) -> dict[str, list[dict[str, Any]]]:
    """Return the columns of the tables that go in and come out."""

    def column(name: str, kind: str, required: bool = True) -> dict[str, Any]:
        return {"type": kind, "name": name, "required": required}

    pair, day, style = KEYS
    texts = ("validity", "reasons")
    return {
        "inputs": [
            column(pair, "string"), column(day, "datetime"), column(style, "string"), column(STALE, "string", False),
            *(column(name, "double") for name in (*contract.features, *contract.starts)),
        ],
        "outputs": [
            *(column(name, "string", False) for name in texts),
            *(column(name, "double", False) for name in NUMBER_COLUMNS),
            *(column(name, "string", False) for name in DRIVER_COLUMNS),
            column(REJECTED, "string"),
        ],
    }  # fmt: skip


_ROOT = Path(__file__).resolve().parents[1]


@lru_cache(maxsize=1)
def shipped_modules() -> tuple[str, ...]:
    """Name the modules of this project that the loader imports, itself included, directly or through others."""
    found: list[str] = []
    ahead = [LOADER]
    while ahead:
        name = ahead.pop()
        if name not in found:
            found.append(name)
            ahead += _imports(_source(name))
    return tuple(sorted(found))


def _source(name: str) -> Path:
    return _ROOT.joinpath(*name.split(".")).with_suffix(".py")


def _imports(source: Path) -> list[str]:
    """Name the modules of this project that a file imports, wherever; those for types only count for nothing."""
    tree = ast.parse(source.read_text(encoding="utf-8"))
    typing_only = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    names = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and id(node) not in typing_only and node.module and not node.level:
            names.append(node.module)
    return [name for name in names if name.split(".")[0] in _PACKAGES and name not in _LEFT_BEHIND]
