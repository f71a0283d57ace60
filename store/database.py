"""The database: SQLite or PostgreSQL, one code for both."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from sqlalchemy import event, exc, make_url, text
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine

from settings import waits
from store import sqlite

# Of PostgreSQL: no connection, no room, interrupted by an operator, trouble with its machine.
_AWAY = ("08", "53", "57", "58")


Session: TypeAlias = AsyncSession
"""What `Database.read` and `Database.write` give. Others hand it on to functions of the store, and ask it nothing."""

Taken: TypeAlias = exc.IntegrityError
"""Raised when a row is written whose key somebody else has taken, or which names one that is not there."""


class DatabaseUnavailable(Exception):
    """The database did not carry out what it was asked: it is away, full, or busy for too long. `why` is its own word
    for it. No error for a user by itself: activities that meet it are tried again."""

    def __init__(self, why: str):
        super().__init__(f"The database cannot be used: {why}")
        self.why = why


@dataclass
class CommittedWrites:
    """What was written since `noting` began: `kept` is how many transactions were committed; `unclear`: the answer to a
    COMMIT was lost, so that nobody knows whether that one was."""

    kept: int = 0
    unclear: bool = False


_written: ContextVar[CommittedWrites | None] = ContextVar("written", default=None)


@contextmanager
def noting() -> Iterator[CommittedWrites]:
    """Notes what the code inside, and whatever it calls, writes to databases."""
    written = CommittedWrites()
    token = _written.set(written)
    try:
        yield written
    finally:
        _written.reset(token)


class Database:
    """`url` is an SQLAlchemy URL: `sqlite+aiosqlite:///path` or `postgresql+asyncpg://...`."""

    def __init__(self, url: str, *, pool_size: int = 10):
        parsed = make_url(url)
        if parsed.drivername in ("postgresql", "postgres"):
            parsed = parsed.set(drivername="postgresql+asyncpg")
        self.is_sqlite = parsed.get_backend_name() == "sqlite"
        of_sqlite = {"connect_args": {"async_creator_fn": sqlite.connect}}
        idle = {"idle_in_transaction_session_timeout": str(int(waits.IDLE_TRANSACTION_SECONDS * 1000))}
        of_postgresql = {"pool_pre_ping": True, "connect_args": {"server_settings": idle}}
        more: dict[str, Any] = of_sqlite if self.is_sqlite else of_postgresql
        if self.is_sqlite and parsed.database:
            Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
        self.engine = create_async_engine(parsed, pool_size=pool_size, max_overflow=pool_size, **more)
        if self.is_sqlite:
            _prepare_sqlite(self.engine.sync_engine)
        _name_refusals(self.engine.sync_engine)
        self._sessions = async_sessionmaker(self.engine, expire_on_commit=False)
        self._writing = asyncio.Lock()

    @asynccontextmanager
    async def read(self) -> AsyncIterator[Session]:
        """Raises `DatabaseUnavailable`, at the first statement or later."""
        with _named():
            async with self._sessions() as session:
                yield session

    @asynccontextmanager
    async def write(self) -> AsyncIterator[Session]:
        """A transaction: committed at the end, rolled back on an error. Raises `DatabaseUnavailable`. SQLite takes one
        at a time: inside of one none is begun."""
        with _named():
            async with self._turn(), self._sessions() as session:
                # SQLite: take the write lock at once, so that two writers wait instead of failing half way.
                with _named(OSError):
                    await session.connection(execution_options={"penstock_write": True})
                yield session
                await session.flush()
                with _named(OSError):
                    await self._commit(session)

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        """SQLite has one writer at a time, and who waits for it looks again after up to 100 ms. Those of one process
        wait for each other here, in order, and without a connection and its thread."""
        if not self.is_sqlite:
            yield
            return
        try:
            async with asyncio.timeout(waits.DATABASE_BUSY_SECONDS):
                await self._writing.acquire()
        except TimeoutError as error:
            raise DatabaseUnavailable("others write to it for too long") from error
        try:
            yield
        finally:
            self._writing.release()

    async def _commit(self, session: Session) -> None:
        written = _written.get()
        try:
            await session.commit()
        except BaseException:
            # A COMMIT of SQLite that fails has written nothing; of PostgreSQL only the answer may be lost.
            if written is not None and not self.is_sqlite:
                written.unclear = True
            raise
        if written is not None:
            written.kept += 1

    async def ping(self) -> None:
        """Raises `DatabaseUnavailable` when it does not answer, or takes no writes: SQLite's file is locked, PostgreSQL
        is a standby."""
        async with self.write() as session:
            if self.is_sqlite:
                await session.execute(text("SELECT 1"))
            elif await session.scalar(text("SHOW transaction_read_only")) != "off":
                raise DatabaseUnavailable("it takes no writes")

    async def close(self) -> None:
        """Close all connections."""
        await self.engine.dispose()


@contextmanager
def _named(*also: type[Exception]) -> Iterator[None]:
    """Errors of SQLAlchemy that say that the database is away become ours; `also` are others that, inside, can mean
    nothing else."""
    try:
        yield
    except exc.TimeoutError as error:
        raise DatabaseUnavailable("all connections to it are in use") from error
    except exc.StatementError as error:
        if not _is_away(error):
            raise
        raise DatabaseUnavailable(_words(error.orig or error)) from error
    except also as error:
        raise DatabaseUnavailable(_words(error)) from error


def _is_away(error: exc.StatementError) -> bool:
    if isinstance(error, exc.OperationalError | exc.InterfaceError) or isinstance(error.orig, OSError):
        return True
    if isinstance(error, exc.DBAPIError) and error.connection_invalidated:
        return True
    return str(getattr(error.orig, "sqlstate", None) or "").startswith(_AWAY)


def _words(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]


def _name_refusals(engine: Any) -> None:
    """The driver of PostgreSQL raises what the operating system says when it cannot connect (`OSError`, and time-outs
    are some): only here it is certain that it was the database."""

    @event.listens_for(engine, "do_connect")
    def connect(dialect: Any, _: Any, arguments: Any, named: Any) -> Any:
        try:
            return dialect.connect(*arguments, **named)
        except OSError as error:
            raise DatabaseUnavailable(_words(error)) from error


def _prepare_sqlite(engine: Any) -> None:
    @event.listens_for(engine, "connect")
    def connect(connection: Any, _: Any) -> None:
        connection.isolation_level = None
        cursor = connection.cursor()
        for pragma in (
            "journal_mode=WAL",
            "synchronous=NORMAL",
            "foreign_keys=ON",
            f"busy_timeout={waits.DATABASE_BUSY_SECONDS * 1000:.0f}",
        ):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def begin(connection: Any) -> None:
        write = connection.get_execution_options().get("penstock_write")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")
