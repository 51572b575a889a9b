"""`capshift serve`: forecasts over HTTP. Everything heavy waits until it is called."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal

import typer

from serving.options import DEFAULT_ARTIFACTS, Artifacts, LedgerPlace


def serve(
    port: Annotated[
        int, typer.Option(envvar="CAPSHIFT_PORT", min=0, max=65535, help="Port; 0 takes any that is free.")
    ] = 8000,
    host: Annotated[
        str, typer.Option(envvar="CAPSHIFT_HOST", help="Address to listen on; by default this machine only.")
    ] = "127.0.0.1",
    artifacts: Artifacts = DEFAULT_ARTIFACTS,
    ledger: LedgerPlace = None,
    token_file: Annotated[
        Path | None,
        typer.Option(
            envvar="CAPSHIFT_TOKEN_FILE",
            help="File with the token that clients must send; or CAPSHIFT_TOKEN holds it.",
            show_default=False,
        ),
    ] = None,
    metrics: Annotated[
        Literal["token", "open", "off"],
        typer.Option(envvar="CAPSHIFT_METRICS", help="Whether /metrics asks for the token, is open, or is not there."),
    ] = "token",
    max_age: Annotated[
        float, typer.Option(envvar="CAPSHIFT_MAX_AGE", help="Days after which a forecast is too old to be ready.")
    ] = 10.0,
    rate: Annotated[
        int, typer.Option(envvar="CAPSHIFT_RATE", min=0, help="Requests a minute of one client; 0 for no limit.")
    ] = 600,
    timeout: Annotated[float, typer.Option(envvar="CAPSHIFT_TIMEOUT", help="Seconds that one answer may take.")] = 15.0,
) -> None:
    """Serve stored forecasts, drivers, what-if and the ledger over HTTP until SIGTERM.

    Reads ARTIFACTS and LEDGER, never opens the store; writes JSON lines to standard output, nothing else.
    """
    from serving.api.server import Address, run_server
    from serving.api.settings import ApiSettings, Limits, is_loopback, read_token

    token = read_token(token_file) if token_file is not None else os.environ.get("CAPSHIFT_TOKEN") or None
    limits = Limits(seconds=timeout, per_minute=rate)
    settings = ApiSettings(artifacts, ledger, token, metrics, max_age, limits)
    if token is None and not is_loopback(host):
        typer.echo(
            f"warning: anybody who reaches {host} can read everything; give a token with `--token-file`", err=True
        )
    run_server(settings, Address(host, port))
