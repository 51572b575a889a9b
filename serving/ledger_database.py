"""Where a ledger lives: a SQLite file or a PostgreSQL database, read as one snapshot, written by one writer at a time.

SQLite takes its write lock when the transaction begins, PostgreSQL an advisory lock that lives as long as the
transaction: a second writer waits, then sees what the first one wrote. What fails becomes one sentence; passwords are
in none of them.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from features.errors import CapshiftError, DataContractError, LedgerError, LockedError

WAIT_SECONDS = 30
"""How long a writer waits for another one."""
_LOCK = int.from_bytes(hashlib.sha256(b"capshift ledger").digest()[:8], "big", signed=True)
_BUSY = ("55P03", "40001", "40P01")
"""PostgreSQL: lock not available, serialization failure, deadlock."""


class LedgerDatabase:
    """The database of a ledger.

    Parameters
    ----------
    location : str
        Path of a SQLite file, ``sqlite:///PATH`` or ``postgresql://USER@HOST/DATABASE``.

    Attributes
    ----------
    name : str
        What messages call it: the path, or host and database; never user or password.
    path : Path or None
        The SQLite file.
    digest : str
        Tells places apart, whoever logs in.

    Raises
    ------
    DataContractError
        If the location is none of these.
    """

    def __init__(self, location: str) -> None:
        self.path: Path | None = None
        self._engines: dict[bool, Engine] = {}
        if "://" not in location:
            location = f"sqlite:///{location}"
        try:
            self._url: URL = make_url(location)
        except (ArgumentError, ValueError):
            # The text may hold a password.
            raise _no_location("a URL that cannot be read") from None
        kind = self._url.get_backend_name()
        if kind == "sqlite" and self._url.database not in (None, "", ":memory:") and not self._url.query:
            self.path = Path(str(self._url.database))
            self.name = str(self.path)
        elif kind == "postgresql" and self._url.database:
            self._url = self._url.set(drivername="postgresql+psycopg")
            port = f":{self._url.port}" if self._url.port else ""
            host = self._url.host or self._url.query.get("host") or "localhost"
            self.name = f"postgresql://{host}{port}/{self._url.database}"
        else:
            raise _no_location(f"one of {kind!r} without a place")
        place = self._url._replace(username=None, password=None).render_as_string()
        self.digest = hashlib.sha256(place.encode()).hexdigest()[:8]

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Read one snapshot.

        Raises
        ------
        DataContractError, LockedError, LedgerError
            If there is no ledger, it cannot be reached, it is busy, or it is damaged.
        """
        if self.path is not None and not self.path.is_file():
            raise DataContractError(
                f"{self.name}: no ledger here; `capshift forecast` begins one with the first forecast that it publishes"
            )
        with self._transaction(write=False) as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Write as the only writer; commit at the end, roll back on an error.

        Raises
        ------
        DataContractError, LockedError, LedgerError
            As `reading`.
        """
        if self.path is not None:
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise DataContractError(
                    f"{self.name}: cannot be written: {error.strerror}; choose another place"
                ) from error
        with self._transaction(write=True) as connection:
            yield connection

    def check(self, connection: Connection) -> None:
        """Make sure that the indexes of a SQLite file, by which rows are looked up, say what its tables say.

        Raises
        ------
        LedgerError
            If they do not.
        """
        if self.path is not None:
            said = str(connection.exec_driver_sql("PRAGMA integrity_check(1)").scalar())
            if said != "ok":
                raise self._damaged(said.splitlines()[0])

    @contextmanager
    def _transaction(self, *, write: bool) -> Iterator[Connection]:
        if write not in self._engines:
            self._engines[write] = self._engine(write)
        try:
            with self._engines[write].begin() as connection:
                if write and self.path is None:
                    connection.execute(text(f"SET LOCAL lock_timeout = '{WAIT_SECONDS}s'"))
                    connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
                yield connection
        except DBAPIError as error:
            raise self._failure(error) from error
        except (SQLAlchemyError, sqlite3.Error, UnicodeError) as error:
            # A damaged file may even spoil the text of the complaint.
            raise self._damaged(type(error).__name__) from error

    def _engine(self, write: bool) -> Engine:
        """Return an engine that keeps its compiled statements and no connection."""
        if self.path is not None:
            return self._sqlite(self.path, write)
        try:
            return self._postgresql(write)
        except ModuleNotFoundError as error:
            raise DataContractError(
                f"{self.name}: the driver {error.name!r} is missing; install capshift with its extra `postgres`"
            ) from error

    @staticmethod
    def _sqlite(path: Path, write: bool) -> Engine:
        # Not even a reader opens read-only: the first one after a crash rolls the journal back. Only a writer creates.
        place = f"file:{quote(str(path.absolute()))}?mode={'rwc' if write else 'rw'}"

        def connect() -> sqlite3.Connection:
            connection = sqlite3.connect(place, uri=True, timeout=WAIT_SECONDS, isolation_level=None)
            # Text that is no UTF-8 was put there by somebody else: read it, so that its record can be named.
            connection.text_factory = lambda raw: raw.decode("utf-8", "surrogateescape")
            return connection

        engine = create_engine("sqlite://", creator=connect, poolclass=NullPool, hide_parameters=True)

        @event.listens_for(engine, "begin")
        def begin(connection: Connection) -> None:
            connection.exec_driver_sql("PRAGMA synchronous = FULL")
            connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")

        return engine

    def _postgresql(self, write: bool) -> Engine:
        # A writer must see what was committed while it waited, a reader the same rows in every statement.
        return create_engine(
            self._url,
            poolclass=NullPool,
            hide_parameters=True,
            isolation_level="READ COMMITTED" if write else "REPEATABLE READ",
            connect_args={"connect_timeout": 10},
        )

    def _failure(self, error: DBAPIError) -> CapshiftError:
        """Say in one sentence what the database complains about."""
        said = str(error.orig).splitlines()[0] if str(error.orig) else type(error.orig).__name__
        if self._url.password:
            said = said.replace(str(self._url.password), "***")
        code = str(getattr(error.orig, "sqlite_errorname", None) or getattr(error.orig, "sqlstate", None) or "")
        if code in _BUSY or code.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
            return LockedError(f"{self.name}: another process holds the ledger; wait for it to finish and run again")
        # Class 42 of PostgreSQL: a table or column that should be there; 42501 is a missing privilege.
        shape = code == "SQLITE_ERROR" or (code.startswith("42") and code != "42501")
        if shape or code.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_CONSTRAINT", "23", "P0001", "XX")):
            return self._damaged(said)
        return DataContractError(f"{self.name}: the ledger cannot be used: {said}; mend that and run again")

    def _damaged(self, said: str) -> LedgerError:
        return LedgerError(
            f"{self.name}: damaged, or no ledger: {said}; restore a backup, or name another ledger with `--ledger`"
        )


def _no_location(got: str) -> DataContractError:
    return DataContractError(f"`ledger` must be a file, sqlite:///PATH or postgresql://USER@HOST/DATABASE; got {got}")
