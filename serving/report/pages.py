"""The templates of the pages, one environment for all."""

from __future__ import annotations

from functools import lru_cache

from jinja2 import Environment, PackageLoader, StrictUndefined, Template


@lru_cache(maxsize=1)
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("serving.report", "."), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True,
    )  # fmt: skip


def page_template(name: str) -> Template:
    """Return a template of this folder; what it prints is escaped, and a name that is not given is an error."""
    return _environment().get_template(name)
