"""The process: a socket, uvicorn on it, and a quiet end when it is told to stop."""

from __future__ import annotations

import logging
import signal
import socket
from dataclasses import dataclass

import uvicorn

from features.errors import DataContractError
from serving.api.app import create_app
from serving.api.log import JsonHandler, JsonLog
from serving.api.settings import ApiSettings, is_loopback
from serving.api.slow_clients import impatient

_GRACE = 20
"""Seconds that requests at work get when the process is told to stop."""
_BACKLOG = 2048
"""Connections that may wait to be taken; as uvicorn has it."""


@dataclass(frozen=True)
class Address:
    """Where the service listens; port 0 takes any that is free."""

    host: str
    port: int


def run_server(settings: ApiSettings, address: Address) -> None:
    """Serve until SIGTERM or SIGINT; requests at work are finished first.

    Raises
    ------
    DataContractError
        If the address cannot be bound.
    """
    log = JsonLog()
    for name in ("uvicorn", "asyncio"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [JsonHandler(log)], False
    listening = _bind(address)
    app = create_app(settings, log)
    config = uvicorn.Config(
        app,
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        lifespan="on",
        ws="none",
        timeout_keep_alive=10,
        timeout_graceful_shutdown=_GRACE,
        h11_max_incomplete_event_size=16 * 1024,
        http=impatient(settings.limits.seconds),
    )
    # uvicorn raises the signal again when it is done; being told to stop is no failure.
    signal.signal(signal.SIGTERM, lambda *_: None)
    host, port = listening.getsockname()[:2]
    log("started", host=host, port=port, token=settings.token is not None, metrics=settings.metrics)
    if settings.token is None and not is_loopback(str(host)):
        log("warning", message="listening to other machines without a token; give one with --token-file")
    uvicorn.Server(config).run(sockets=[listening])
    log("stopped")


def _bind(address: Address) -> socket.socket:
    try:
        family, kind, _, _, place = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)[0]
        # The protocol is named because asyncio sends small answers without delay only where it is.
        listening = socket.socket(family, kind, socket.IPPROTO_TCP)
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(place)
            # Who reads that the service has started may connect: what comes early waits.
            listening.listen(_BACKLOG)
        except OSError:
            listening.close()
            raise
        return listening
    except (OSError, UnicodeError, OverflowError) as error:
        said = getattr(error, "strerror", None) or str(error)
        raise DataContractError(
            f"`host` {address.host} and `port` {address.port} cannot be listened on: {said}; choose others"
        ) from error
