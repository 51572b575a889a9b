"""The trials behind a result: what was tried on which years before, as the shipped list says."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from datetime import date
from pathlib import Path

from pydantic import Field, ValidationError

from features.errors import DefinitionError
from features.series import Frozen
from training.verdicts import CONFIGS


class Trial(Frozen):
    """One entry of ``configs/trials.toml``: one configuration that was run, or several of the same kind.

    Parameters
    ----------
    date : date
        When it was run.
    change : str
        What was changed against the configuration in force, in a sentence.
    window : str
        Which outcomes were looked at.
    verdict : str
        What became of it.
    configurations : int
        How many were run.
    number, name : int, str, optional
        Place and name in a search whose candidates were written down before they were run.
    complexity : int
        What the change adds to what is fitted; below zero it takes away.
    cn, us : mapping of head to float
        Log-loss skill against climatology in the window, a fraction; by head, e.g. "switch 4w".
    gain, gain_error : float, optional
        Sum of the skills of all heads and markets less that of the configuration in force, and its standard error.
    """

    date: date
    change: str
    window: str
    verdict: str
    configurations: int = 1
    number: int | None = None
    name: str = ""
    complexity: int = 0
    cn: Mapping[str, float] = Field(default_factory=dict)
    us: Mapping[str, float] = Field(default_factory=dict)
    gain: float | None = None
    gain_error: float | None = None


def logged_trials(path: Path | None = None) -> tuple[Trial, ...]:
    """Return the trials in the order of the list; none where there is no list.

    Raises
    ------
    DefinitionError
        If the list does not validate.
    """
    path = path or CONFIGS / "trials.toml"
    if not path.is_file():
        return ()
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
        return tuple(Trial.model_validate(entry) for entry in table.get("trial", ()))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, ValidationError) as error:
        raise DefinitionError(f"{path}: {error}") from error


def configurations(trials: tuple[Trial, ...]) -> int:
    """Return how many configurations were run."""
    return sum(trial.configurations for trial in trials)
