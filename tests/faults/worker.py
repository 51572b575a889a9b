"""What the processes of the kill tests run; importable, so that a fork server can start them."""

from __future__ import annotations

import os
import sys


def command(arguments: list[str]) -> None:
    """Run `capshift` with its output thrown away; `main` itself ends the process with its exit code."""
    sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: SIM115
    from serving.cli import main

    sys.argv = ["capshift", *arguments]
    main()
