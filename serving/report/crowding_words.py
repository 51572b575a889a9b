"""Words of the crowding page in both languages, from ``crowding_words.toml``."""

from __future__ import annotations

import tomllib
from functools import lru_cache
from importlib import resources

from serving.crowding import CrowdRow
from serving.report import glossary
from serving.report.figures import Lang, clean


@lru_cache(maxsize=1)
def _words() -> dict[str, dict[str, list[str]]]:
    text = (resources.files("serving.report") / "crowding_words.toml").read_text(encoding="utf-8")
    words: dict[str, dict[str, list[str]]] = tomllib.loads(text)
    return words


def say(lang: Lang, key: str, *values: str) -> str:
    """Return a phrase with its values filled in."""
    return _words()["say"][key][lang == "zh"].format(*values)


def measure_words(row: CrowdRow, lang: Lang) -> tuple[str, str]:
    """Return name and reason of a measure; a feature without Chinese words is shown by its key and English reason."""
    held = _words()["measures"].get(row.name) if row.origin == "stocks" else None
    if held is not None:
        return (held[2], held[3]) if lang == "zh" else (held[0], held[1])
    if lang == "zh" and (name := glossary.feature_name(row.name)):
        return name, glossary.feature_reason(row.name) or clean(row.why, 90)
    return clean(row.name.replace("_", " "), 40), clean(row.why, 90)
