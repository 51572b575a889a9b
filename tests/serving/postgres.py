"""A PostgreSQL server for tests: the one that CAPSHIFT_POSTGRES_URL names, or a cluster in a temporary folder.

The cluster listens on a socket in that folder only. `initdb` refuses root, so root starts it as `postgres` or `nobody`.
"""

from __future__ import annotations

import itertools
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import make_url

MakePlace = Callable[[], str]


@contextmanager
def postgres_places() -> Iterator[MakePlace]:
    """Give a function that makes an empty schema and returns its URL; schemas and cluster go at the end."""
    psycopg = pytest.importorskip("psycopg", reason="PostgreSQL: the driver psycopg is not installed")
    with _server() as url:
        plain, made = make_url(url), itertools.count()

        def make() -> str:
            name = f"capshift_test_{os.getpid()}_{next(made)}"
            with psycopg.connect(url, autocommit=True) as connection:
                connection.execute(f"CREATE SCHEMA {name}")
            place = plain.update_query_dict({"options": f"-csearch_path={name}"})
            return place.render_as_string(hide_password=False)

        try:
            yield make
        finally:
            if "CAPSHIFT_POSTGRES_URL" in os.environ:
                with psycopg.connect(url, autocommit=True) as connection:
                    for number in range(next(made)):
                        connection.execute(f"DROP SCHEMA capshift_test_{os.getpid()}_{number} CASCADE")


@contextmanager
def _server() -> Iterator[str]:
    if url := os.environ.get("CAPSHIFT_POSTGRES_URL"):
        yield url
        return
    initdb, pg_ctl = _tool("initdb"), _tool("pg_ctl")
    if initdb is None or pg_ctl is None:
        pytest.skip("PostgreSQL: CAPSHIFT_POSTGRES_URL is not set, and initdb and pg_ctl are not here")
    who = _unprivileged()
    folder = Path(tempfile.mkdtemp(prefix="capshift-pg-"))
    try:
        if who:
            shutil.chown(folder, who["user"], who["group"])
        run = {"cwd": folder, "check": True, "stdout": subprocess.DEVNULL, **who}
        data = folder / "data"
        subprocess.run(
            [initdb, "-D", data, "-U", "capshift", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"], **run
        )
        options = f"-c listen_addresses='' -c unix_socket_directories='{folder}' -c fsync=off -c max_connections=50"
        subprocess.run([pg_ctl, "-D", data, "-w", "-l", folder / "log", "-o", options, "start"], **run)
        try:
            yield f"postgresql://capshift@/postgres?host={folder}"
        finally:
            subprocess.run([pg_ctl, "-D", data, "-w", "-m", "immediate", "stop"], **run)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _tool(name: str) -> str | None:
    """Return a program of the server; Debian keeps them off the path."""
    versions = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda path: int(path.parts[-3]))
    return shutil.which(name) or (str(versions[-1]) if versions else None)


def _unprivileged() -> dict[str, Any]:
    """Return whom root becomes."""
    if os.geteuid() != 0:
        return {}
    known = {user.pw_name: user for user in pwd.getpwall()}
    user = known.get("postgres") or known.get("nobody")
    if user is None:
        pytest.skip("PostgreSQL: initdb refuses root, and there is no user `postgres` or `nobody`")
    return {"user": user.pw_name, "group": user.pw_gid, "extra_groups": []}
