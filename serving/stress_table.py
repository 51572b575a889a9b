"""Finds a named stress: in the table of the package, or in a file of the user's."""

from __future__ import annotations

import tomllib
from importlib import resources
from pathlib import Path
from typing import Any

from features.errors import DataContractError
from models.stress import Stress


def load_stress(name: str, market: str) -> Stress:
    """Return a stress by its name in ``serving/stresses.toml``, or from a path that ends in ``.toml``.

    Parameters
    ----------
    name : str
        E.g. ``unwind``, or a file with the keys `what` (a sentence) and `shocks` (simple return by segment).
    market : str
        Built-in stresses are those of this market.

    Raises
    ------
    DataContractError
        If there is none of that name, the file does not have that form, or a shock is no simple return.
    """
    if name.endswith(".toml"):
        path = Path(name)
        try:
            return _stress(path.stem, tomllib.loads(path.read_text(encoding="utf-8")), str(path))
        except OSError as error:
            raise DataContractError(f"{path}: cannot be read: {error.strerror}") from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise DataContractError(f"{path}: not valid TOML: {error}") from error
    text = (resources.files("serving") / "stresses.toml").read_text(encoding="utf-8")
    known = tomllib.loads(text).get(market, {})
    if name not in known:
        have = f"one of {', '.join(known)}" if known else "a path; no stress is built in for this market"
        raise DataContractError(f"`stress` of market {market!r} must be {have}, or a file (.toml); got {name!r}")
    return _stress(name, known[name], "serving/stresses.toml")


def _stress(name: str, table: dict[str, Any], place: str) -> Stress:
    shocks = table.get("shocks")
    numbers = isinstance(shocks, dict) and all(type(shock) in (int, float) for shock in shocks.values())
    if set(table) != {"what", "shocks"} or not numbers or not shocks:
        raise DataContractError(
            f"{place}: stress {name!r} must have the keys `what` (a sentence) and `shocks` (a number for each segment)"
        )
    return Stress(name, {str(segment): float(shock) for segment, shock in shocks.items()})
