"""What a service may be told, validated where it is defined."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from features.errors import DataContractError

MIN_TOKEN = 16
"""Characters below which a token is refused: it can be guessed."""
MetricsAccess = Literal["token", "open", "off"]


@dataclass(frozen=True)
class Limits:
    """What one request, one client and all of them together may take.

    Parameters
    ----------
    body_bytes, target_bytes, query_bytes : int
        Longest body, longest path with query, longest query.
    seconds : float
        Longest time for one answer.
    concurrent : int
        Requests that are worked on at once; more are told to come back.
    workers : int
        Threads that compute.
    per_minute, burst : int
        Requests that one client may send in the long run, and at once; `per_minute` 0 for no limit.
    """

    body_bytes: int = 64 * 1024
    target_bytes: int = 4096
    query_bytes: int = 1024
    seconds: float = 15.0
    concurrent: int = 32
    workers: int = 4
    per_minute: int = 600
    burst: int = 120

    def __post_init__(self) -> None:
        for name in ("body_bytes", "target_bytes", "query_bytes", "concurrent", "workers", "burst"):
            if getattr(self, name) < 1:
                raise DataContractError(f"`{name}` must be at least 1; got {getattr(self, name)}")
        if not self.seconds > 0:
            raise DataContractError(f"`seconds` must be positive; got {self.seconds}")
        if self.per_minute < 0:
            raise DataContractError(f"`per_minute` must be at least 0; got {self.per_minute}")


@dataclass(frozen=True)
class ApiSettings:
    """How the service runs.

    Parameters
    ----------
    artifacts : Path
        Folder of forecasts, bundles, store and ledger.
    ledger : str, optional
        As `serving.ledger.Ledger`.
    token : str, optional
        What a client must show; None lets everybody in.
    metrics : str
        Whether ``/metrics`` asks for the token, is open, or is not there.
    max_age_days : float
        Age of the newest forecast of a real market from which the service is not ready, days since the decision.
    limits : Limits
    """

    artifacts: Path
    ledger: str | None = None
    token: str | None = field(default=None, repr=False)
    metrics: MetricsAccess = "token"
    max_age_days: float = 10.0
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        if not self.max_age_days > 0:
            raise DataContractError(f"`max_age_days` must be positive; got {self.max_age_days}")
        if self.token is not None:
            _check_token(self.token)


def read_token(path: Path) -> str:
    """Read a token from a file that holds nothing else.

    Raises
    ------
    DataContractError
        If the file cannot be read or holds no token.
    """
    try:
        text = path.read_bytes()[:4096].decode("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise DataContractError(f"{path}: `token_file` must hold one line of ASCII; name another file") from error
    _check_token(text)
    return text


def is_loopback(host: str) -> bool:
    """Return whether a host is reached from this machine only."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _check_token(token: str) -> None:
    plain = token.isascii() and token.isprintable() and " " not in token
    if not plain or len(token) < MIN_TOKEN:
        # The message must not tell the token.
        raise DataContractError(
            f"`token` must be at least {MIN_TOKEN} printable ASCII characters without spaces; got one of "
            f"{len(token)}; make one with `openssl rand -hex 32`"
        )
