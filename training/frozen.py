"""The pre-registered configuration of a market: what was frozen, when, and what it must reach on data never seen."""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from features.errors import DefinitionError, FrozenError
from features.series import Frozen
from training.verdicts import CONFIGS, Target

FROZEN = CONFIGS / "frozen.toml"
"""Where a checkout keeps it; an installed wheel has none and is told with `--frozen`."""
_ABOUT = """\
# The configurations that were frozen before the sealed data were looked at, written by `capshift evaluate freeze`. The
# last entry of a market is in force; earlier ones stay. Every entry carries the hash of the one before and its own:
# an entry that is edited is refused.
"""


class FrozenEntry(Frozen):
    """One frozen configuration of one market.

    Parameters
    ----------
    market, number : str, int
        Whose, and the how manieth of this market.
    frozen_on : date
    code_version, git_commit : str
        For the reader; a commit that only adds this file has another one.
    code_hash, market_hash, features_hash, settings_hash : str
        Digests of the code that forecasts and scores (`training.code_digest`), of the market definition, of its
        catalogue of features alone, and of the settings of the heads.
    schedule : str
        First decision, weeks between refits, weeks before a pair enters.
    design, confirmation : str
        The years on which the configuration was chosen; the looks beyond them, as logged.
    sealed_after : date, optional
        Decisions after it are sealed; without it all are.
    rivals : tuple of str
        Baselines to be held against.
    rules : mapping of head to Target
        What must be reached, e.g. of "switch 4w".
    settings : mapping
        The settings themselves, so that a difference can be named.
    previous, hash : str
        Hash of the market's entry before, empty for the first; hash of all the rest.
    """

    market: str
    number: int = Field(ge=1)
    frozen_on: date
    code_version: str
    git_commit: str
    code_hash: str
    market_hash: str
    features_hash: str
    settings_hash: str
    schedule: str
    design: str
    confirmation: str
    sealed_after: date | None = None
    rivals: tuple[str, ...]
    rules: Mapping[str, Target]
    settings: Mapping[str, Any]
    previous: str = ""
    hash: str = ""

    @property
    def digest(self) -> str:
        """What `hash` must be."""
        text = json.dumps(self.model_dump(mode="json", exclude={"hash"}), sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def window(self) -> str:
        """The sealed decisions in words."""
        return "all decisions" if self.sealed_after is None else f"decisions after {self.sealed_after}"

    def sealed(self) -> FrozenEntry:
        """Return the entry with its hash."""
        return self.model_copy(update={"hash": self.digest})


def load_frozen(path: Path = FROZEN) -> tuple[FrozenEntry, ...]:
    """Return every entry of a file, oldest first; none where there is no file.

    Raises
    ------
    DefinitionError
        If the file does not validate.
    FrozenError
        If an entry was edited or one before it is gone.
    """
    if not path.is_file():
        return ()
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
        entries = tuple(FrozenEntry.model_validate(entry) for entry in table.get("frozen", ()))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, ValidationError) as error:
        raise DefinitionError(f"{path}: {error}") from error
    last: dict[str, FrozenEntry] = {}
    for entry in entries:
        before = last.get(entry.market)
        if entry.digest != entry.hash:
            raise FrozenError(
                f"{path}: entry {entry.number} of market {entry.market!r} was edited after it was frozen; take the "
                "file back from version control"
            )
        expected = ("", 1) if before is None else (before.hash, before.number + 1)
        if (entry.previous, entry.number) != expected:
            raise FrozenError(
                f"{path}: entry {entry.number} of market {entry.market!r} does not follow the one before; take the "
                "file back from version control"
            )
        last[entry.market] = entry
    return entries


def in_force(entries: Sequence[FrozenEntry]) -> dict[str, FrozenEntry]:
    """Return the last entry of each market."""
    return {entry.market: entry for entry in entries}


def frozen_text(entries: Sequence[FrozenEntry]) -> str:
    """Return entries as TOML that `load_frozen` reads back."""
    parts = [_ABOUT]
    for entry in entries:
        fields = entry.model_dump(mode="python", exclude_none=True)
        tables = {name: fields.pop(name) for name in ("rules", "settings")}
        tables["rules"] = {head: rule.model_dump(exclude_defaults=True) for head, rule in entry.rules.items()}
        parts.append("\n".join(["[[frozen]]", *(f"{name} = {_toml(value)}" for name, value in fields.items())]))
        for name, table in tables.items():
            parts.append("\n".join([f"[frozen.{name}]", *_lines(table)]))
    return "\n\n".join(parts) + "\n"


def _lines(table: Mapping[str, Any]) -> Iterator[str]:
    for name, value in table.items():
        yield f"{_key(name)} = {_toml(value)}"


def _key(name: str) -> str:
    return name if re.fullmatch(r"[\w-]+", name, re.ASCII) else json.dumps(name, ensure_ascii=False)


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        return f"{{ {', '.join(_lines(value))} }}" if value else "{}"
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, date):
        return value.isoformat()
    # A TOML string is quoted as JSON quotes it, save for what neither of us writes.
    return json.dumps(value, ensure_ascii=False)
