"""Chinese names of features and series and why a feature may matter, from ``zh.toml`` beside this file."""

from __future__ import annotations

import re
import tomllib
from functools import lru_cache
from importlib.resources import files
from typing import Any

_WINDOW = re.compile(r"_(\d+)([dw])$")
_UNITS = {"d": "日", "w": "周"}


@lru_cache(maxsize=1)
def _words() -> dict[str, Any]:
    return tomllib.loads(files("serving.report").joinpath("zh.toml").read_text(encoding="utf-8"))


def feature_name(feature: str) -> str | None:
    """Return a feature's Chinese name; None when the glossary has none.

    A trailing window is read off the name.

    Examples
    --------
    >>> feature_name("valuation_spread"), feature_name("northbound_flow_20d"), feature_name("unheard_of")
    ('大小盘估值差', '北向净流入20日', None)
    """
    known = _words()["features"]
    if feature in known:
        return str(known[feature][0])
    window = _WINDOW.search(feature)
    stem = known.get(feature[: window.start()]) if window else None
    return f"{stem[0]}{window[1]}{_UNITS[window[2]]}" if stem and window else None


def feature_reason(feature: str) -> str | None:
    """Return in Chinese why a feature may matter; None when the glossary does not say."""
    known = _words()["features"]
    found = known.get(feature, known.get(_WINDOW.sub("", feature)))
    return None if found is None else str(found[1])


def series_name(series: str) -> str | None:
    """Return a series' Chinese name; None when the glossary has none.

    Examples
    --------
    >>> series_name("cn_pmi_mfg.actual"), series_name("cn_pmi_mfg.forecast"), series_name("csi1000.pe")
    ('制造业PMI', '制造业PMI一致预期', '中证1000市盈率')
    """
    words = _words()
    stem, _, column = series.removeprefix("cn_").partition(".")
    if stem in words["series"] and column in ("", "actual", "forecast"):
        return str(words["series"][stem]) + ("一致预期" if column == "forecast" else "")
    if stem in words["segments"] and column in words["fields"]:
        return str(words["segments"][stem]) + str(words["fields"][column])
    found = words["series"].get(series)
    return None if found is None else str(found)
