"""Command lines in files, and whether the command line of this version would take them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from pathlib import Path

import typer

from serving import cli


def parse_command(arguments: Sequence[str]) -> str:
    """Parse a command line without running it; return the names of its commands.

    Raises
    ------
    typer.TyperException
        If a command, an option or a value is none.
    """
    command = typer.main.get_command(cli.app)
    context, names, rest = None, [], list(arguments)
    name = "capshift"
    while True:
        context = command.make_context(name, rest, parent=context)
        if not hasattr(command, "commands"):
            return " ".join(names)
        rest = [*getattr(context, "_protected_args", []), *context.args]
        found, command, rest = command.resolve_command(context, rest)
        name = str(found)
        names.append(name)


def shell_lines(text: str) -> list[list[str]]:
    """Return the lines of a text that call ``capshift``, split as a shell would, without redirections."""
    joined = text.replace("\\\n", " ")
    found = []
    for line in joined.splitlines():
        match = re.match(r"^\s+(?:\.venv/bin/|/opt/capshift/bin/)?capshift (.*)$", line)
        if match:
            found.append(_plain(shlex.split(match.group(1), comments=True)))
    return found


def inline_lines(text: str) -> list[list[str]]:
    """Return what stands between backticks and calls ``capshift``."""
    return [_plain(shlex.split(found)) for found in re.findall(r"`capshift ([^`]+)`", text)]


def docker_lines(text: str, image: str) -> list[list[str]]:
    """Return what ``docker run`` gives to an image."""
    lines = [shlex.split(line, comments=True) for line in text.splitlines() if "docker run" in line]
    return [line[line.index(image) + 1 :] for line in lines if image in line]


def _plain(words: Sequence[str]) -> list[str]:
    end = next((place for place, word in enumerate(words) if word in (">", ">>", "|", "&&")), len(words))
    return list(words[:end])


def unit_commands(path: Path) -> list[list[str]]:
    """Return the ``ExecStart`` lines of a unit, without the program."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return [shlex.split(line.partition("=")[2])[1:] for line in lines if line.startswith("ExecStart=")]
